"""Screenshot jobs from the configuration to the pictures, with a real Chromium."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from tests.fakes.grafana import FakeGrafana
from tests.fakes.grafana_pages import ROW_PANELS
from wxbridge.config.types import GrafanaSettings
from wxbridge.core.model import Picture, Text
from wxbridge.jobs import JobContext
from wxbridge.jobs.kinds.screenshot import ScreenshotJob, run

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOW = datetime(2026, 2, 3, 9, 0, tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def dashboard():
    async with FakeGrafana(anonymous=True) as dashboard:
        yield dashboard


@pytest_asyncio.fixture(loop_scope="session")
async def pictures(dashboard, renderer):
    async with renderer(grafana=GrafanaSettings(url=dashboard.url)) as pictures:
        yield pictures


@pytest_asyncio.fixture(loop_scope="session")
async def send(dashboard, pictures, tmp_path, keep_picture):
    """Run a job; gives its texts, and its pictures opened."""
    dashboard.queries.clear()
    dashboard.fail_for = ""

    async def keep(content: bytes, name: str) -> Picture:
        kept[name] = keep_picture("job-" + name.removesuffix(".png"), content)
        return Picture(file=name, name=name)

    kept = {}
    context = JobContext(now=NOW, language="zh", base=tmp_path, draw=pictures.draw, keep=keep, read=None, outbox=None)

    async def do(**keys):
        settings = {"kind": "screenshot", "to": "ops", "every": "1h", "width": 700} | keys
        bodies = await run(context, ScreenshotJob.model_validate(settings))
        return [body.text if isinstance(body, Text) else kept[body.name] for body in bodies]

    return do


async def test_a_dashboard_is_sent_row_by_row_for_each_host(send, dashboard):
    sent = await send(id="hosts", url="/d/hosts/scenes?from=now-1h", split="rows", variables={"host": ["a", "b"]})
    assert [each for each in sent if isinstance(each, str)] == ["host=a", "host=b"]
    assert len(sent) == 2 * (1 + 4)
    assert sorted(query["panel"] for query in dashboard.queries if query["var-host"] == "b") == sorted(ROW_PANELS)


async def test_a_dashboard_is_sent_beside_itself_a_day_before(send, dashboard):
    (both,) = await send(id="compared", url="/d/hosts/toggles?from=now-1h&to=now", compare="1d")
    assert both.width > 2 * 700
    begins = sorted({int(query["from"]) for query in dashboard.queries})
    assert [int(begin / 1000 - NOW.timestamp()) for begin in begins] == [-25 * 3600, -3600]
    assert len(dashboard.queries) == 2 * len(ROW_PANELS)


async def test_each_row_stands_beside_the_same_row_a_day_before(send):
    parts = await send(id="rows", url="/d/hosts/classic?from=now-6h&to=now", compare="1d", split="rows", width=900)
    assert len(parts) == 4
    assert all(part.width > 1800 for part in parts)


async def test_one_host_that_may_not_be_seen_keeps_no_other_away(send, dashboard):
    dashboard.fail_for = "b"
    sent = await send(id="some", url="/d/hosts/rows", variables={"host": ["a", "b"]}, deadline="20s")
    assert sent[0] == "host=a"
    assert sent[2].startswith("host=b：图片生成失败")
    assert "403" in sent[2]
