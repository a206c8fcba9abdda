"""Where long pictures are cut, and what they look like side by side."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from wxbridge.core import imaging
from wxbridge.core.errors import PictureError
from wxbridge.pictures.pages.compare import side_by_side
from wxbridge.pictures.pages.parts import (
    MAX_PART_HEIGHT_IN_WIDTHS,
    MAX_PARTS,
    NO_MARKS,
    PageMarks,
    cut_picture,
    embed_marks,
    find_blank_band,
    make_marks,
    plan_cuts,
    read_marks,
)


def nowhere(_above: int, _below: int, _wanted: int) -> None:
    return None


def picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def striped(width: int = 200, height: int = 1000, colours: tuple[str, ...] = ("red", "green", "blue", "gold")) -> bytes:
    image = Image.new("RGB", (width, height))
    for number, colour in enumerate(colours):
        image.paste(colour, (0, number * height // len(colours), width, (number + 1) * height // len(colours)))
    return imaging.to_png(image)


# ---------------------------------------------------------------- marks


@given(
    st.lists(st.floats(0.001, 0.999), max_size=30),
    st.lists(st.floats(0.001, 0.999), max_size=30),
)
def test_marks_travel_in_the_picture_and_leave_it_as_it_is(rows: list[float], gaps: list[float]) -> None:
    found = make_marks(rows, [(gap, gap) for gap in gaps])
    png = striped()
    marked = embed_marks(png, found)
    with Image.open(io.BytesIO(marked)) as image:
        image.load()
        assert read_marks(image) == found
    assert picture(marked).tobytes() == picture(png).tobytes()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": 1}', '{"rows": ["x"]}', '{"rows": {"a": null}}'])
def test_a_broken_mark_is_no_mark(text: str) -> None:
    image = Image.new("RGB", (1, 1))
    image.text = {"wxbridge-marks": text}  # type: ignore[attr-defined]
    assert read_marks(image) == NO_MARKS


def test_a_row_is_cut_in_the_middle_of_the_space_above_it_and_panels_are_not_cut() -> None:
    assert make_marks([0.5], [(0.1, 0.4), (0.2, 0.46), (0.5, 0.9)]) == PageMarks(rows=(0.48,), gaps=(0.48,))


# ---------------------------------------------------------------- the plan


def test_every_row_is_a_part_of_its_own() -> None:
    assert plan_cuts((1000, 3000), [900, 2100], [], nowhere) == [900, 2100]


def test_a_heading_without_panels_stays_with_its_neighbour() -> None:
    # The dashboard's title above the first row, a row without panels, and another at the end.
    assert plan_cuts((1000, 3000), [60, 1000, 1050, 2960], [], nowhere) == [1000]


def test_a_row_that_is_too_tall_is_cut_between_its_panels() -> None:
    gaps = [500, 1000, 1500, 2000, 2500, 3000]
    assert plan_cuts((1000, 3500), [], gaps, nowhere) == [1500]


def test_a_page_without_marks_is_cut_where_it_is_blank() -> None:
    assert plan_cuts((1000, 3000), [], [], lambda _above, _below, _wanted: 1400) == [1400]


def test_what_is_only_a_little_too_tall_stays_whole() -> None:
    assert plan_cuts((1000, 2300), [], [], nowhere) == []


@given(
    st.integers(10, 3000),
    st.integers(1, 16000),
    st.lists(st.integers(-10, 17000), max_size=60),
    st.lists(st.integers(-10, 17000), max_size=60),
)
def test_parts_are_few_and_make_up_the_whole(width: int, height: int, rows: list[int], gaps: list[int]) -> None:
    cuts = plan_cuts((width, height), rows, gaps, nowhere)
    edges = [0, *cuts, height]
    assert all(above < below for above, below in pairwise(edges))
    assert len(edges) - 1 <= MAX_PARTS
    if len(edges) - 1 < MAX_PARTS:
        assert all(below - above <= width * MAX_PART_HEIGHT_IN_WIDTHS * 1.2 + 1 for above, below in pairwise(edges))


# ---------------------------------------------------------------- blank bands


def test_the_cut_goes_through_the_blank_band_and_not_through_a_plain_block() -> None:
    image = Image.new("RGB", (400, 600), "white")
    pen = ImageDraw.Draw(image)
    for line in range(0, 300, 4):
        pen.line((10, line, 300, line), fill="black")
    pen.rectangle((0, 330, 400, 600), fill="navy")  # it has no writing on it, but is no background
    pen.line((390, 0, 390, 600), fill="grey")  # a frame
    assert 300 <= (find_blank_band(image, 0, 600, 450) or 0) <= 330


def test_where_nothing_is_blank_there_is_no_band() -> None:
    image = Image.new("RGB", (400, 600), "white")
    pen = ImageDraw.Draw(image)
    for line in range(0, 600, 4):
        pen.line((10, line, 300, line), fill="black")
    assert find_blank_band(image, 0, 600, 300) is None


# ---------------------------------------------------------------- pictures


def test_the_parts_together_are_the_picture() -> None:
    png = embed_marks(striped(), PageMarks(rows=(0.25, 0.5, 0.75)))
    parts = [picture(part) for part in cut_picture(png)]
    assert [part.size for part in parts] == [(200, 250)] * 4
    assert [part.getpixel((100, 125)) for part in parts] == [(255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 215, 0)]


def test_a_short_picture_stays_the_same_bytes() -> None:
    png = striped(height=300)
    assert cut_picture(png) == [png]


def test_what_is_no_picture_cannot_be_cut() -> None:
    with pytest.raises(PictureError, match="is a web page"):
        cut_picture(b"<html>")


@pytest.mark.parametrize("background", ["#111217", "#f4f5f5"])
def test_two_pictures_stand_level_side_by_side_under_their_labels(background: str, keep_picture) -> None:
    left = Image.new("RGB", (600, 300), background)
    left.paste("red", (50, 50, 550, 250))
    right = Image.new("RGB", (600, 400), background)
    right.paste("blue", (50, 50, 550, 350))
    png = side_by_side([(imaging.to_png(left), "now"), (imaging.to_png(right), "1 day before")])
    both = keep_picture(f"beside-{background[1:]}", png)
    bar = both.height - 400
    assert both.width == 1205
    assert both.getpixel((60, bar + 60)) == (255, 0, 0)
    assert both.getpixel((605 + 60, bar + 60)) == (0, 0, 255)
    for start in (0, 605):  # there is a label above each, in another colour than the background
        assert len(both.crop((start, 0, start + 300, bar)).getcolors(9999)) > 5
    assert both.getpixel((60, both.height - 20)) == left.getpixel((0, 0))  # the shorter one is filled up


def test_a_label_that_is_too_long_becomes_smaller_and_chinese_ones_are_written(keep_picture) -> None:
    plain = imaging.to_png(Image.new("RGB", (300, 100), "white"))
    long = "1 天前 · 2026-02-03 04:05 – 2026-02-03 05:05 技术讨论群"
    both = keep_picture("beside-long", side_by_side([(plain, long), (plain, "现在")]))
    bar = both.height - 100
    assert both.crop((285, 0, 299, bar)).getcolors(9999)[0][1] == (255, 255, 255)
