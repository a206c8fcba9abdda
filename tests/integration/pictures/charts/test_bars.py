"""What can be seen on a picture of bars: proved by its pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wxbridge.core.errors import PictureError
from wxbridge.core.model import PictureSpec
from wxbridge.pictures.charts.bars import draw_bars
from wxbridge.pictures.charts.chart import WIDTH
from wxbridge.pictures.renderer import PictureRenderer

RED, AMBER, BLUE, GREY = (209, 36, 47), (191, 135, 0), (0, 114, 178), (101, 109, 118)
START = 1_772_860_200.0


def timeline(*series: tuple[str, list[int]], **more: Any) -> dict[str, Any]:
    its = [{"name": colour, "colour": colour, "counts": counts} for colour, counts in series]
    return {"title": "New", "start": START, "step": 3600, "series": its} | more


def row(value: float, colour: str = "blue", name: str = "Disk") -> dict[str, Any]:
    return {"name": name, "value": value, "text": f"{value:g} s", "colour": colour}


def like(params: dict[str, Any], colour: tuple[int, int, int]) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(draw_bars({"title": "Day"} | params))).convert("RGB")).astype(int)
    assert image.shape[1] == WIDTH
    return np.abs(image - np.array(colour)).max(axis=2) <= 8


def below_legend(found: np.ndarray) -> np.ndarray:
    """What is not a key of the legend, which stands at the left above all bars."""
    found = found.copy()
    found[:200, :] = False
    return found


def heights(found: np.ndarray) -> list[int]:
    """How high each bar of a colour is, from left to right."""
    columns = found.sum(axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (columns > 0).astype(int), [0]))))
    return [int(columns[first:last].max()) for first, last in zip(edges[0::2], edges[1::2], strict=True)]


def test_a_bar_is_as_high_as_its_count_and_an_empty_hour_has_none() -> None:
    counts = [2, 0, 4, 8]
    found = heights(below_legend(like({"timeline": timeline(("blue", counts))}, BLUE)))
    assert len(found) == 3
    assert found[1] == pytest.approx(2 * found[0], abs=3)
    assert found[2] == pytest.approx(4 * found[0], abs=4)


def test_severities_stand_on_each_other_the_first_at_the_bottom() -> None:
    params = {"timeline": timeline(("red", [3, 0]), ("grey", [1, 2]))}
    red, grey = below_legend(like(params, RED)), below_legend(like(params, GREY))
    grey[:, :100] = False  # the axis is written in grey as well
    rows = np.flatnonzero(red.sum(axis=1) > 20)
    above = np.flatnonzero(grey.sum(axis=1) > 20)
    assert above.min() < rows.min()
    assert rows.max() - rows.min() == pytest.approx(3 * (rows.min() - above.min()), rel=0.15)


def test_the_longest_bar_takes_the_width_and_the_others_their_share() -> None:
    found = like({"ranking": {"title": "Time", "rows": [row(100), row(50), row(0.001), row(0)]}}, BLUE)
    lengths = [int(line.sum()) for line in found if line.sum()]
    assert max(lengths) == WIDTH - 56
    assert min(lengths) == 3, "what is nearly nothing is still to be seen"
    assert sorted(set(lengths))[1] == pytest.approx((WIDTH - 56) / 2, abs=2)


def test_nothing_but_zeros_chinese_and_endless_names_are_drawn_in_the_dark_too() -> None:
    params = {
        "title": "日报 " + "很长" * 100, "subtitle": "副标题", "theme": "dark", "timezone": "Asia/Shanghai",
        "timeline": timeline(("red", [0]), ("amber", [0])),
        "ranking": {"title": "告警时长", "note": "……另有 3 种", "rows": [row(0, "amber", "x" * 500)] * 40},
    }  # fmt: skip
    assert draw_bars(params).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"title": "a"},
        {"title": "a", "timezone": "Nowhere/At all"},
        {"title": "a", "timeline": timeline()},
        {"title": "a", "timeline": timeline(("red", []))},
        {"title": "a", "timeline": timeline(("red", [1]), ("blue", [1, 2]))},
        {"title": "a", "timeline": timeline(("mauve", [1]))},
        {"title": "a", "ranking": {"title": "a", "rows": [row(1)] * 41}},
        {"title": "a", "ranking": {"title": "a", "rows": [{}]}},
    ],
)
def test_broken_params_are_refused_in_words(params: dict[str, Any]) -> None:
    with pytest.raises(PictureError, match="a picture of kind bars has broken params"):
        draw_bars(params)


async def test_it_is_drawn_by_the_process_that_draws_charts(tmp_path: Path) -> None:
    params = {"title": "Day", "ranking": {"title": "Time", "rows": [row(3)]}}
    async with PictureRenderer() as pictures:
        assert await pictures.draw(PictureSpec("bars", params)) == draw_bars(params)
        with pytest.raises(PictureError, match="has broken params") as refused:
            await pictures.draw(PictureSpec("bars", {"title": "Day", "ranking": {"rows": 3}}))
        assert not refused.value.retry
