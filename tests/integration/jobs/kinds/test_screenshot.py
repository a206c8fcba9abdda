"""What a screenshot job asks for and sends, without a browser: rows, variables, and the day before."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from PIL import Image
from pydantic import ValidationError

from wxbridge import registry
from wxbridge.config import schema
from wxbridge.core import imaging
from wxbridge.core.errors import ConfigError, PictureError
from wxbridge.core.model import Picture, PictureSpec, Text
from wxbridge.jobs import JobContext
from wxbridge.jobs.kinds.screenshot import ScreenshotJob, run
from wxbridge.pictures.pages.parts import PageMarks, embed_marks

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 2, 3, 9, 0, tzinfo=SHANGHAI)


def page(width: int = 200, height: int = 300, rows: tuple[float, ...] = (), colour: str = "navy") -> bytes:
    image = Image.new("RGB", (width, height), "white")
    image.paste(colour, (20, 20, width - 20, height - 20))
    return embed_marks(imaging.to_png(image), PageMarks(rows=rows))


class Studio:
    """Draws the same page for everybody but those in `faults`; remembers what it was asked for and what was kept."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.specs: list[PictureSpec] = []
        self.kept: dict[str, bytes] = {}
        self.pages: list[bytes] = [page()]
        self.faults: Mapping[str, PictureError] = {}

    async def draw(self, spec: PictureSpec) -> bytes:
        url = str(spec.params["url"])
        self.asked.append(url)
        self.specs.append(spec)
        for part, error in self.faults.items():
            if part in url:
                raise error
        return self.pages[(len(self.asked) - 1) % len(self.pages)]

    async def keep(self, content: bytes, name: str) -> Picture:
        self.kept[name] = content
        return Picture(file=name, name=name)

    def size(self, name: str) -> tuple[int, int]:
        return Image.open(io.BytesIO(self.kept[name])).size


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
def context(studio: Studio, tmp_path: Path) -> JobContext:
    return JobContext(now=NOW, language="en", base=tmp_path, draw=studio.draw, keep=studio.keep, read=None, outbox=None)


def job(**keys: object) -> ScreenshotJob:
    return ScreenshotJob.model_validate(
        {"id": "shot", "kind": "screenshot", "to": "ops", "every": "1h", "url": "/d/kafka?from=now-1h&to=now"} | keys
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


# ---------------------------------------------------------------- rows


async def test_each_row_is_a_picture_of_its_own(context: JobContext, studio: Studio) -> None:
    studio.pages = [page(rows=(0.25, 0.5))]
    bodies = await run(context, job(split="rows", text="inspection"))
    assert bodies[0] == Text("inspection")
    assert [body.name for body in bodies[1:]] == ["shot-1.png", "shot-2.png", "shot-3.png"]
    assert [studio.size(name)[1] for name in studio.kept] == [75, 75, 150]
    assert studio.specs[0].params["marks"] is True


async def test_without_rows_to_cut_at_there_is_one_picture(context: JobContext, studio: Studio) -> None:
    assert [body.name for body in await run(context, job(split="rows"))] == ["shot.png"]


async def test_what_a_dashboard_does_not_show_is_named_before_its_picture(context: JobContext, studio: Studio) -> None:
    studio.pages = [embed_marks(page(), PageMarks(missing=("Disk", "内存")))]
    texts = [body for body in await run(context, job(variables={"host": "a"})) if isinstance(body, Text)]
    assert texts == [Text("host=a\n⚠️ Not in the picture: Disk, 内存")]
    both = await run(context, job(compare="1d"))
    assert both[0] == Text("⚠️ Not in the picture: Disk, 内存")


async def test_rows_may_be_left_collapsed(context: JobContext, studio: Studio) -> None:
    await run(context, job(expand=False))
    assert studio.specs[0].params["expand"] is False


async def test_a_job_may_name_an_organisation_of_grafana(context: JobContext, studio: Studio) -> None:
    await run(context, job(org=2))
    assert studio.specs[0].params["org"] == "2"
    assert "orgId" not in studio.asked[0]


async def test_the_archive_keeps_the_whole(context: JobContext, studio: Studio, tmp_path: Path) -> None:
    studio.pages = [page(rows=(0.5,))]
    await run(context, job(split="rows", archive="res/%H.png"))
    assert (tmp_path / "res" / "09.png").read_bytes() == studio.pages[0]


# ---------------------------------------------------------------- variables


async def test_every_combination_of_variables_is_a_picture_with_its_caption(
    context: JobContext, studio: Studio
) -> None:
    bodies = await run(context, job(url="/d/x?var-host=old", variables={"host": ["a", "b/1"], "env": ["prod"]}))
    assert [query(url) for url in studio.asked] == [
        {"var-host": "a", "var-env": "prod"},
        {"var-host": "b/1", "var-env": "prod"},
    ]
    assert bodies == [
        Text("host=a, env=prod"),
        Picture(file="shot-a-prod.png", name="shot-a-prod.png"),
        Text("host=b/1, env=prod"),
        Picture(file="shot-b_1-prod.png", name="shot-b_1-prod.png"),
    ]


async def test_all_values_of_a_variable_are_called_so(context: JobContext, studio: Studio) -> None:
    made = await run(replace(context, language="zh"), job(variables={"host": ["$__all"]}))
    assert made[0] == Text("host=全部")
    assert query(studio.asked[0])["var-host"] == "$__all"


async def test_a_combination_that_fails_is_told_and_the_others_are_sent(context: JobContext, studio: Studio) -> None:
    studio.faults = {"host=b": PictureError("it is on fire")}
    bodies = await run(context, job(variables={"host": ["a", "b", "c"]}))
    assert [body for body in bodies if isinstance(body, Text)] == [
        Text("host=a"), Text("host=b: the picture could not be made: it is on fire"), Text("host=c"),
    ]  # fmt: skip
    assert len(studio.kept) == 2


async def test_where_all_combinations_fail_the_job_fails(context: JobContext, studio: Studio) -> None:
    studio.faults = {"/d/": PictureError("it is on fire")}
    with pytest.raises(PictureError, match="on fire"):
        await run(context, job(variables={"host": ["a", "b"]}))
    assert len(studio.asked) == 2


async def test_each_combination_is_archived_and_old_ones_go(
    context: JobContext, studio: Studio, tmp_path: Path
) -> None:
    old = tmp_path / "2026-01-01-a.png"
    old.write_bytes(b"x")
    before = (NOW - timedelta(days=40)).timestamp()
    os.utime(old, (before, before))
    await run(context, job(variables={"host": ["a", "50%Y"]}, archive="%Y-%m-%d.png"))
    assert names(tmp_path) == {"2026-02-03-50_Y.png", "2026-02-03-a.png"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("variables: {host: [a, b, c, d, e], env: [x, y, z]}", "these make 15 pictures, and at most 12"),
        ("variables: {var-host: [a]}", "without `var-`"),
        ("variables: {host: []}", "has no values"),
        ("split: columns", "rows"),
        ("compare: 5s", "at least a minute"),
        ("compare: 1d", "no `from=`"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "jobs.yaml"
    file.write_text(
        "targets:\n  ops: {channel: console}\njobs:\n  - id: shot\n    kind: screenshot\n    every: 1h\n    to: ops\n"
        f"    url: http://grafana/d/x\n    {line}\n"
    )
    with pytest.raises(ConfigError) as caught:
        schema.load(file, registry.plugin_settings())
    (problem,) = caught.value.problems
    assert problem.line == 9
    assert words in problem.text


def test_twelve_combinations_are_allowed() -> None:
    assert len(job(variables={"host": [1, 2, 3, 4], "env": ["x", "y", "z"]}).variables["host"]) == 4


def test_a_mistake_in_the_range_is_told_before_the_job_runs() -> None:
    with pytest.raises(ValidationError, match="ends before it begins"):
        job(url="/d/x?from=now&to=now-1h", compare="1d")


# ---------------------------------------------------------------- the day before


async def test_the_day_before_stands_beside_now_with_absolute_times(context: JobContext, studio: Studio) -> None:
    studio.pages = [page(colour="red"), page(colour="blue")]
    (body,) = await run(context, job(compare="1d"))
    asked = [query(url) for url in studio.asked]
    assert [datetime.fromtimestamp(int(each["from"]) / 1000, SHANGHAI) for each in asked] == [
        NOW - timedelta(hours=1), NOW - timedelta(hours=25),
    ]  # fmt: skip
    assert [datetime.fromtimestamp(int(each["to"]) / 1000, SHANGHAI) for each in asked] == [
        NOW, NOW - timedelta(days=1),
    ]  # fmt: skip
    assert isinstance(body, Picture)
    image = Image.open(io.BytesIO(studio.kept["shot.png"]))
    assert image.getpixel((100, image.height - 150)) == (255, 0, 0)
    assert image.getpixel((image.width - 100, image.height - 150)) == (0, 0, 255)


async def test_days_are_rounded_in_the_time_zone_of_the_page(context: JobContext, studio: Studio) -> None:
    await run(context, job(url="/d/x?from=now/d&to=now", compare="7d", timezone="Europe/Berlin"))
    first = datetime.fromtimestamp(int(query(studio.asked[1])["from"]) / 1000, ZoneInfo("Europe/Berlin"))
    assert first == datetime(2026, 1, 27, tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("language", "compare", "label"),
    [
        ("en", "1d", "1 day before · 02-02 08:00 – 09:00"),
        ("en", "7d", "7 days before · 01-27 08:00 – 09:00"),
        ("en", "90m", "1 h 30 min before · 02-03 06:30 – 07:30"),
        ("zh", "1d", "1 天前 · 02-02 08:00 – 09:00"),
    ],
)
async def test_both_are_labelled(
    context: JobContext, monkeypatch: pytest.MonkeyPatch, language: str, compare: str, label: str
) -> None:
    labels: list[str] = []

    def note(pictures: list[tuple[bytes, str]], _name: str) -> bytes:
        labels.extend(label for _, label in pictures)
        return page()

    monkeypatch.setattr("wxbridge.jobs.kinds.screenshot.side_by_side", note)
    await run(replace(context, language=language), job(compare=compare))  # type: ignore[arg-type]
    assert labels == [f"{'now' if language == 'en' else '现在'} · 02-03 08:00 – 09:00", label]


async def test_rows_are_compared_row_by_row(context: JobContext, studio: Studio) -> None:
    studio.pages = [page(rows=(0.5,)), page(rows=(0.5,))]
    bodies = await run(context, job(compare="1d", split="rows"))
    assert [body.name for body in bodies] == ["shot-1.png", "shot-2.png"]
    assert {studio.size(name)[0] for name in studio.kept} == {402}


async def test_where_the_rows_are_not_the_same_both_are_sent_whole(context: JobContext, studio: Studio) -> None:
    studio.pages = [page(rows=(0.5,)), page(rows=(0.3, 0.6))]
    assert [body.name for body in await run(context, job(compare="1d", split="rows"))] == ["shot.png"]


async def test_variables_rows_and_the_day_before_go_together(context: JobContext, studio: Studio) -> None:
    studio.pages = [page(rows=(0.5,))]
    bodies = await run(context, job(compare="1d", split="rows", variables={"host": ["a", "b"]}))
    assert [body.name if isinstance(body, Picture) else body.text for body in bodies] == [
        "host=a", "shot-a-1.png", "shot-a-2.png", "host=b", "shot-b-1.png", "shot-b-2.png",
    ]  # fmt: skip
    assert [query(url)["var-host"] for url in studio.asked] == ["a", "a", "b", "b"]
