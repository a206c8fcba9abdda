"""The job `host_report`: what it sends, and when it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.fakes.postgresql import database_url
from wxbridge.core.database import Database
from wxbridge.core.errors import PictureError, WxbridgeError
from wxbridge.core.model import Picture, PictureSpec, Text
from wxbridge.hosts import store
from wxbridge.hosts.samples import Sample
from wxbridge.jobs import JobContext
from wxbridge.jobs.kinds.host_report import KIND, HostReportJob
from wxbridge.pictures.charts.host_chart import charts_of
from wxbridge.pictures.renderer import PictureRenderer

NOW = 1_767_261_600.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database.open(database_url(tmp_path))
    yield found
    found.close()


async def fill(database: Database, name: str, hours: float = 6.0) -> None:
    count = int(hours * 360)
    samples = [
        Sample(NOW - (count - index) * 10, {"cpu": index % 90 + 1.5, "memory": 40.0, "disk:/": 50.0, "net_in": 1.5,
                                            "net_out": 2.5})
        for index in range(count)
    ]  # fmt: skip
    kept = store.KeptHost(10, {"cores": 4.0}, thresholds={"cpu": 80.0})
    await database.run(lambda c: store.save_host(c, name, samples, kept, NOW))


def job(**more: Any) -> HostReportJob:
    return HostReportJob.model_validate({"id": "hosts", "kind": "host_report", "every": "6h", "to": ["ops"], **more})


class Run:
    """One run of the job, with what it had drawn."""

    def __init__(self, database: Database, *, fails: bool = False) -> None:
        self.specs: list[PictureSpec] = []

        async def draw(spec: PictureSpec) -> bytes:
            self.specs.append(spec)
            if fails:
                raise PictureError("the chart was not drawn within 20 s")
            return b"png"

        async def keep(content: bytes, name: str) -> Picture:
            assert content == b"png"
            return Picture("kept.png", name=name)

        self.context = JobContext(
            now=datetime.fromtimestamp(NOW, UTC).astimezone(ZoneInfo("Asia/Shanghai")),
            language="en", base=Path(), draw=draw, keep=keep, read=database.read, outbox=None,
        )  # fmt: skip

    async def of(self, settings: HostReportJob) -> list[Text | Picture]:
        made = await KIND.run(self.context, settings)
        assert isinstance(made, list)
        return made


async def test_a_report_is_the_text_of_every_machine_and_their_charts(database: Database) -> None:
    await fill(database, "web-1")
    await fill(database, "db-1")
    run = Run(database)
    made = await run.of(job(network=True))
    text, *pictures = made
    assert isinstance(text, Text)
    assert "📊 db-1 · 12:00 – 18:00\n🔴 CPU 90.5 %" in text.text
    assert "📊 web-1" in text.text
    assert [picture.name for picture in pictures if isinstance(picture, Picture)] == ["db-1.png", "web-1.png"]
    assert [each.title for each in charts_of(run.specs[0].params)] == ["CPU", "Memory", "Network"]
    assert run.specs[0].params["start"] == NOW - 21600


async def test_a_days_report_tells_percentiles_and_time_above_the_level(database: Database) -> None:
    await fill(database, "web-1", hours=24)
    (text, _) = await Run(database).of(job(period="1d", hosts="web-1"))
    assert isinstance(text, Text)
    assert "p95" in text.text
    assert "≥ 80 % for" in text.text


async def test_levels_may_be_others(database: Database) -> None:
    await fill(database, "web-1")
    run = Run(database)
    (text, _) = await run.of(job(levels=[10, 35]))
    assert isinstance(text, Text)
    assert "🔴 memory 40 %" in text.text
    assert charts_of(run.specs[0].params)[0].levels == (10, 35)


async def test_a_chart_that_fails_keeps_no_figures_back(database: Database) -> None:
    await fill(database, "web-1")
    made = await Run(database, fails=True).of(job())
    assert len(made) == 1
    assert isinstance(made[0], Text)
    assert made[0].text.endswith("⚠️ the chart was not drawn within 20 s")


async def test_a_machine_that_nobody_measures_is_an_error_that_names_those_there_are(database: Database) -> None:
    with pytest.raises(WxbridgeError, match="is there a `host:` section"):
        await Run(database).of(job())
    await fill(database, "web-1")
    with pytest.raises(WxbridgeError, match="no machine is called 'db-1'; there are web-1"):
        await Run(database).of(job(hosts=["db-1"]))


@pytest.mark.parametrize("wrong", [{"period": "2d"}, {"levels": [80, 30]}, {"levels": [30]}, {"disk": True}])
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        job(**wrong)


async def test_the_chart_is_drawn_by_the_process_that_draws_charts(database: Database) -> None:
    await fill(database, "web-1")
    run = Run(database)
    await run.of(job(disks=True))
    async with PictureRenderer() as pictures:
        png = await pictures.draw(run.specs[0])
        with pytest.raises(PictureError, match="broken params"):
            await pictures.draw(PictureSpec("host_chart", {"panels": [{"title": "x"}]}))
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20]) == 1080
