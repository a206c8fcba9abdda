"""The job kind `digest`: what its text says of a period, and what its chart is given to draw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.fakes.postgresql import database_url
from wxbridge.config.types import Rate
from wxbridge.core.database import Database
from wxbridge.core.errors import PictureError
from wxbridge.core.model import MessageState, Notification, Picture, PictureSpec, Text
from wxbridge.core.schema import episodes, sends
from wxbridge.delivery.outbox import Outbox
from wxbridge.jobs import JobContext, LaneBudget
from wxbridge.jobs.kinds import digest
from wxbridge.jobs.kinds.digest import DigestJob, most_within, step_of
from wxbridge.jobs.store import JobRun, record_run

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=SHANGHAI)
END = NOW.timestamp()
HOUR, DAY = 3600.0, 86400.0
WECHAT = LaneBudget("wechat", (Rate(30, 60), Rate(600, 86400)))


class Desk:
    """A database to sum up, and a painter that remembers what it was asked for."""

    def __init__(self, database: Database, tmp_path: Path) -> None:
        self.database = database
        self.asked: list[PictureSpec] = []
        self.fault: Exception | None = None
        self.context = JobContext(
            now=NOW, language="en", base=tmp_path, draw=self.draw, keep=self.keep, read=database.read,
            outbox=Outbox(database), targets=("ops",), budgets={"ops": WECHAT, "boss": WECHAT},
        )  # fmt: skip

    async def draw(self, spec: PictureSpec) -> bytes:
        self.asked.append(spec)
        if self.fault:
            raise self.fault
        return b"png"

    async def keep(self, content: bytes, name: str) -> Picture:
        return Picture(file="kept.png", name=name)

    async def fired(self, name: str, severity: str, start: float, end: float | None) -> None:
        """Keep an episode; hours before now."""
        row = {"key": f"{name}{start}", "source": "am", "name": name, "severity": severity, "labels": {},
               "started_at": END - start * HOUR, "ended_at": None if end is None else END - end * HOUR}  # fmt: skip
        await self.database.run(lambda c: c.execute(sa.insert(episodes).values(row)))

    async def sent(self, target: str, state: MessageState, count: int, hours: float = 1) -> None:
        outbox = Outbox(self.database, clock=lambda: END)
        ids = (await outbox.put([Notification("a", target, (Text("x"),))] * count)).ids
        await outbox.close(ids, state, now=END - hours * HOUR, error="")

    async def ran(self, job: str, hours: float, error: str | None = None) -> None:
        run = JobRun(job, END - hours * HOUR, 1.0, error is None, error)
        await self.database.run(lambda c: record_run(c, run, before=0.0))

    async def made(self, **more: Any) -> Any:
        given: dict[str, Any] = {"id": "daily", "kind": "digest", "to": "ops", "every": "1d"} | more
        return await digest.run(self.context, DigestJob(**given))

    async def text(self, **more: Any) -> str:
        made = await self.made(**more)
        return str(made["ops"][0].text)


@pytest_asyncio.fixture
async def desk(each_database: str, tmp_path: Path) -> AsyncIterator[Desk]:
    database = Database.open(database_url(tmp_path))
    yield Desk(database, tmp_path)
    await asyncio.to_thread(database.close)


async def test_a_day_is_told_by_name_the_noisiest_first_beside_the_day_before(desk: Desk) -> None:
    await desk.fired("DiskFull", "warning", 30, 23)
    await desk.fired("DiskFull", "warning", 5, 4)
    await desk.fired("DiskFull", "warning", 2, 1.5)
    await desk.fired("Down", "critical", 1, None)
    await desk.fired("Swap", "", 8, 7.75)
    await desk.sent("ops", MessageState.SENT, 12)
    await desk.sent("ops", MessageState.UNKNOWN, 1)
    await desk.sent("ops", MessageState.DEAD, 2)
    await desk.sent("ops", MessageState.EXPIRED, 1)
    await desk.sent("ops", MessageState.SENT, 50, hours=25)
    await desk.sent("boss", MessageState.SENT, 5)
    await desk.ran("inspection", 3)
    await desk.ran("inspection", 2, "the page\ndid not load")
    await desk.ran("inspection", 30, "long ago")
    await desk.database.run(
        lambda c: c.execute(
            sa.insert(sends), [{"channel": "wechat", "chat": "x", "at": END - n * 40} for n in range(99)]
        )
    )
    assert await desk.text() == (
        "📊 Daily summary, 11-20 09:00 – 11-21 09:00\n"
        "\n"
        "🔔 Alerts: 5 (before: 1) – 1 critical, 3 warning, 1 without a severity\n"
        "⏱ Firing time, all added up: 3 h 45 min (before: 6 h)\n"
        "🔥 Still firing: 1\n"
        "1. DiskFull [warning] ×3 (before: 1), 2 h 30 min\n"
        "2. Down [critical] ×1 (new), 1 h, still firing\n"
        "3. Swap ×1 (new), 15 min\n"
        "\n"
        "🛠 Job runs: 2, failed: 1 – inspection ×1 (the page did not load)\n"
        "✉️ ops: 12 sent, 1 unknown, 3 dead\n"
        "🚦 Pace of wechat, at its busiest: 2 of 30/min, 99 of 600/d"
    )


async def test_the_same_in_chinese(desk: Desk) -> None:
    desk.context = replace(desk.context, language="zh")
    await desk.fired("磁盘", "warning", 2, 1)
    await desk.ran("巡检", 2, "超时")
    await desk.sent("ops", MessageState.FAILED_OVER, 2)
    assert await desk.text(period="7d") == (
        "📊 周报 11-14 09:00 – 11-21 09:00\n\n"
        "🔔 告警 1 次（此前 0）：警告 1\n⏱ 累计告警时长 1小时（此前 0秒）\n1. 磁盘 [警告] ×1，1小时\n\n"
        "🛠 任务运行 1 次，失败 1 次：巡检 ×1（超时）\n✉️ ops：已发送 0，结果未知 0，未送达 0，备用渠道代发 2\n"
        "🚦 wechat 发送配额峰值：0（上限 30/min），0（上限 600/d）（最近 2 天）"
    )


async def test_a_quiet_day_is_one_line_without_a_chart(desk: Desk) -> None:
    await desk.fired("DiskFull", "warning", 30, 25)
    await desk.ran("inspection", 3)
    await desk.sent("ops", MessageState.SENT, 7)
    made = await desk.made()
    assert made == {
        "ops": [
            Text(
                "✅ Daily summary, 11-20 09:00 – 11-21 09:00: nothing happened. No alerts (before: 1); "
                "job runs: 1, none failed; messages sent: 7."
            )
        ]
    }
    assert desk.asked == []


async def test_each_target_reads_of_its_own_messages(desk: Desk) -> None:
    desk.context = replace(desk.context, targets=("ops", "boss"))
    await desk.sent("ops", MessageState.DEAD, 1)
    made = await desk.made()
    assert "✉️ ops: 0 sent, 0 unknown, 1 dead" in made["ops"][0].text
    assert "🔔 No alerts (before: 0)" in made["ops"][0].text
    assert made["boss"][0].text.startswith("✅ ")


async def test_only_so_many_names_are_told_and_the_rest_is_counted(desk: Desk) -> None:
    for number in range(12):
        await desk.fired(f"Alert{number:02}", "warning", 5, 4)
    lines = (await desk.text(top=3)).splitlines()
    assert [line for line in lines if line[:1].isdigit()][-1].startswith("3. Alert02 ")
    assert "… and 9 more kinds, 9 alerts" in lines


async def test_the_chart_has_every_alert_of_the_period_in_its_hour(desk: Desk) -> None:
    await desk.fired("Down", "critical", 23.5, 20)
    await desk.fired("Down", "critical", 0.5, None)
    await desk.fired("Slow", "page", 0.2, None)
    await desk.fired("Old", "info", 30, None)
    made = await desk.made()
    assert made["ops"][1] == Picture(file="kept.png", name="daily.png")
    (spec,) = desk.asked
    assert spec.kind == "bars"
    timeline, ranking = spec.params["timeline"], spec.params["ranking"]
    assert (timeline["start"], timeline["step"]) == (END - DAY, 3600)
    (series,) = timeline["series"]
    assert (series["name"], series["colour"]) == ("critical", "red")
    assert series["counts"] == [1, *[0] * 22, 2]
    assert [(row["name"], row["value"], row["colour"]) for row in ranking["rows"]] == [
        ("Old [info]", DAY, "blue"), ("Down [critical]", 4 * HOUR, "red"),
        ("Slow [critical]", pytest.approx(720), "red"),
    ]  # fmt: skip
    assert ranking["rows"][0]["text"] == "1 d · ×1, still firing"
    assert await desk.made(chart=False) == {"ops": made["ops"][:1]}


async def test_without_its_chart_the_text_goes_and_the_chart_is_left_to_delivery(desk: Desk) -> None:
    desk.fault = PictureError("no memory")
    await desk.fired("Down", "critical", 2, 1)
    made = await desk.made()
    assert made["ops"][0].text.startswith("📊 ")
    assert made["ops"][1].file is None
    assert made["ops"][1].spec.kind == "bars"


async def test_yesterday_is_a_day_of_the_calendar_where_the_clock_is_changed(desk: Desk) -> None:
    berlin = datetime(2026, 10, 25, 9, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    desk.context = replace(desk.context, now=berlin)
    assert (await desk.text()).startswith("✅ Daily summary, 10-24 09:00 – 10-25 09:00:")
    facts = digest.Facts(digest._earlier(berlin, DAY), berlin, [], [], 0, [], {}, {})
    assert facts.period == 25 * HOUR


async def test_another_period_is_called_by_its_length(desk: Desk) -> None:
    assert "Summary of 6 h, 11-21 03:00 – 11-21 09:00" in await desk.text(period="6h")


@pytest.mark.parametrize("more", [{"period": "59m"}, {"top": 0}, {"period": "x"}])
def test_a_period_without_sense_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DigestJob.model_validate({"id": "a", "kind": "digest", "to": "ops", "every": "1d"} | more)


@given(st.lists(st.integers(0, 200).map(float), max_size=30).map(sorted), st.integers(1, 50).map(float))
def test_the_busiest_stretch_is_found(times: list[float], seconds: float) -> None:
    naive = max((sum(1 for at in times if last - seconds < at <= last) for last in times), default=0)
    assert most_within(times, seconds) == naive


@given(st.floats(3600, 92 * DAY))
def test_there_are_never_too_many_bars(period: float) -> None:
    assert 1 <= period / step_of(period) <= 28
