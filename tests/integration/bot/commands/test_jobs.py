"""Conversations about jobs and about the bridge itself: what is asked, what comes back, and what was done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
import sqlalchemy as sa

from tests.integration.bot.bot_harness import Asker, services
from wxbridge import parts
from wxbridge.bot.command import Permission
from wxbridge.bot.services import FailedDrawing
from wxbridge.config.schema import Config
from wxbridge.core.audit import AuditLog
from wxbridge.core.database import Database
from wxbridge.core.model import ChannelState, ChannelStatus, MessageState, Notification, PictureSpec, Text
from wxbridge.core.schema import messages
from wxbridge.core.text.i18n import has_text
from wxbridge.delivery.outbox import Outbox
from wxbridge.jobs.store import JobRun, JobStatus, Mute, record_run

SHANGHAI = ZoneInfo("Asia/Shanghai")
CONFIG = """\
timezone: Asia/Shanghai
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops}
  dev: {channel: wechat, room: Dev}
jobs:
  - {id: Inspection, cron: "5 9-18 * * *", kind: text, text: "all well", to: [ops, dev]}
  - {id: nightly backup, at: "02:30", kind: text, text: "saved", to: ops}
  - {id: past, at: "2020-01-01 09:30", kind: text, text: a, to: ops}
"""


class NoPictures:
    async def draw(self, _: PictureSpec) -> bytes:
        raise AssertionError


class Talk:
    """Jobs over a real database, and somebody who asks about them."""

    def __init__(self, config: Config, database: Database) -> None:
        self.database = database
        self.at = datetime.now(SHANGHAI).replace(microsecond=0)
        self.channels: dict[str, ChannelStatus] = {}
        self.budgets: dict[str, dict[str, int]] = {}
        self.jobs = parts.make_scheduler(config, database, Outbox(database), NoPictures())

    def asker(self) -> Asker:
        parts = services(
            database=self.database,
            outbox=Outbox(self.database),
            jobs=self.jobs,
            channels=SimpleNamespace(statuses=lambda: self.channels),
            lanes=SimpleNamespace(budgets=lambda: self.budgets),
            audit=AuditLog(self.database),
        )
        return Asker(parts, self.at)

    async def ask(self, line: str, target: str = "ops") -> str:
        try:
            return await self.asker().ask(line, target=target)
        finally:
            await self.jobs.wait_idle()

    async def sent(self) -> list[tuple[str, str]]:
        found = (await Outbox(self.database).list_messages())[::-1]
        return [(each.target, each.body.text) for each in found if isinstance(each.body, Text)]

    async def muted(self) -> list[str]:
        return [job.id for job in await self.jobs.list_jobs() if job.mute]


@pytest_asyncio.fixture
async def talk(read: Callable[..., Config]) -> AsyncIterator[Talk]:
    config = read(CONFIG)
    database = parts.open_database(config)
    yield Talk(config, database)
    await asyncio.to_thread(database.close)


# ---------------------------------------------------------------- jobs


def test_everybody_may_look_and_only_admins_may_do_something(talk: Talk) -> None:
    allowed = {each.name: each.permission for each in talk.asker().table.kinds}
    assert {name: allowed[name] for name in ("jobs", "status", "run", "mute", "unmute")} == {
        "jobs": Permission.EVERYONE, "status": Permission.EVERYONE,
        "run": Permission.ADMINS, "mute": Permission.ADMINS, "unmute": Permission.ADMINS,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("run inspection", "▶️ Running Inspection; the result goes to dev and here."),
        ("运行 Inspection", "▶️ 正在运行 Inspection，结果发往 dev 以及本会话。"),
        ("执行Inspection", "▶️ 正在运行 Inspection，结果发往 dev 以及本会话。"),
        ('run job "Inspection"', "▶️ Running Inspection; the result goes to dev and here."),
    ],
)
async def test_a_job_is_run_and_its_result_arrives_where_it_always_does(talk: Talk, line: str, answer: str) -> None:
    assert await talk.ask(line) == answer
    assert await talk.sent() == [("ops", "all well"), ("dev", "all well")]


async def test_who_runs_and_mutes_jobs_is_kept_for_the_console(talk: Talk) -> None:
    for line in ("run inspection", "mute inspection 2h", "unmute inspection", "unmute inspection", "jobs"):
        await talk.ask(line)
    done = (await AuditLog(talk.database).read()).entries
    who = {(each.by, each.via.value) for each in done}
    assert [(each.action, each.what) for each in done] == [
        ("unmuted", "Inspection"), ("muted", "Inspection"), ("ran", "Inspection"),
    ]  # fmt: skip
    assert who == {("张三", "chat")}


async def test_a_result_comes_to_who_asked_as_well(talk: Talk) -> None:
    assert await talk.ask("run nightly backup", "dev") == "▶️ Running nightly backup; the result goes to ops and here."
    assert await talk.sent() == [("ops", "saved"), ("dev", "saved")]
    assert await talk.ask("run nightly backup") == "▶️ Running nightly backup."


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("run inspecton", "✗ There is no job “inspecton”. Did you mean Inspection?"),
        ("运行 inspecton", "✗ 没有名为“inspecton”的任务。是不是 Inspection？"),
        ("run zzz", "✗ There is no job “zzz”. There are Inspection, nightly backup, past."),
        ("run", "✗ Say which job: Inspection, nightly backup, past"),
        ("恢复", "✗ 请写明任务：Inspection、nightly backup、past"),
        ("mute inspection", "✗ Say which job, and how long: `mute Inspection 2h`, `mute Inspection until 18:00`"),
        ("mute backup 2h", "✗ There is no job “backup”. Did you mean nightly backup?"),
        ("unmute inspection", "Inspection was not muted."),
        ("jobs zzz", "✗ No job has “zzz” in its id."),
    ],
)
async def test_what_cannot_be_done_is_said_with_what_may_be_meant(talk: Talk, line: str, answer: str) -> None:
    assert await talk.ask(line) == answer
    assert await talk.sent() == []
    assert await talk.muted() == []


@pytest.mark.parametrize("line", ["run", "jobs", "mute 2h", "unmute"])
async def test_what_somebody_wrote_is_not_repeated_at_length(talk: Talk, line: str) -> None:
    word, _, rest = line.partition(" ")
    assert len(await talk.ask(f"{word} {'z' * 1500} {rest}")) < 250


@pytest.mark.parametrize(
    ("line", "hours"),
    [
        ("mute inspection 2h", 2),
        ("mute Inspection 1h 30m", 1.5),
        ("暂停 inspection 2小时", 2),
        ("暂停 inspection 半小时", 0.5),
        ("mute job inspection 2 hours", 2),
    ],
)
async def test_a_job_is_muted_for_as_long_as_somebody_says(talk: Talk, line: str, hours: float) -> None:
    answer = await talk.ask(line)
    until = talk.at + timedelta(hours=hours)
    assert f"{until:%H:%M}" in answer
    (mute,) = [job.mute for job in await talk.jobs.list_jobs() if job.mute]
    assert (mute.job, mute.by) == ("Inspection", "张三")
    assert mute.until == pytest.approx(until.timestamp())


async def test_a_mute_is_listed_and_ended(talk: Talk) -> None:
    (before,) = [job.next_run for job in await talk.jobs.list_jobs() if job.id == "nightly backup"]
    assert before
    await talk.ask('mute "nightly backup" 40d')
    (line,) = (await talk.ask("jobs backup")).splitlines()
    assert line.startswith("• nightly backup (text) · next ")
    assert line.endswith("(张三)")
    assert "⏸ until " in line
    answer = await talk.ask("恢复 nightly backup")
    assert answer.startswith("▶️ nightly backup 已恢复，下次运行 ")
    assert f"{before:%H:%M}" in answer
    assert f"{talk.at + timedelta(days=40):%m-%d}" not in answer, "no longer the first after the mute"
    assert await talk.muted() == []


def status_of(job: str, **more: Any) -> JobStatus:
    return JobStatus(job, "text", ("ops",), **{"next_run": None, "last": None} | more)


async def test_jobs_are_listed_with_what_matters_of_each() -> None:
    at = datetime(2026, 11, 21, 12, 0, tzinfo=SHANGHAI)
    now = at.timestamp()
    failed = JobRun("b", now - 86400, 1.0, ok=False, error="the page\ndid not load " + "x" * 200)
    jobs = [
        status_of("a", next_run=at + timedelta(hours=1), last=JobRun("a", now - 60, 2.0, ok=True, error=None)),
        status_of("b", last=failed, mute=Mute("b", now + 7200, "", now)),
        status_of("c", running_since=now - 5),
        *(status_of(f"d{number}") for number in range(40)),
    ]

    class ListedJobs:
        async def list_jobs(self) -> list[JobStatus]:
            return jobs

    asker = Asker(services(jobs=ListedJobs()), at)
    lines = (await asker.ask("jobs")).splitlines()
    assert lines[0] == "1. a (text) · next 13:00 · ✅ 11:59"
    assert lines[1].startswith("2. b (text) · no run to come · ❌ 11-20 12:00: the page did not load xxx")
    assert lines[1].endswith("…" + " · ⏸ until 14:00")
    assert lines[2] == "3. c (text) · no run to come · not run yet · ⏳ running since 11:59"
    assert len(lines) == 31
    assert lines[-1] == "… and 13 more: `jobs WORD` finds them"
    assert await asker.ask("jobs a", "zh") == "• a (text) · 下次 13:00 · ✅ 11:59"
    jobs.clear()
    assert await asker.ask("jobs") == "There are no jobs in jobs.yaml."


async def test_a_job_that_is_running_is_not_begun_again(talk: Talk) -> None:
    talk.jobs.run_now("past")
    assert "past is running already, since " in await talk.asker().ask("run past")
    await talk.jobs.wait_idle()
    assert await talk.sent() == [("ops", "a")]


# ---------------------------------------------------------------- status


async def test_a_bridge_that_is_well_says_so_in_a_few_lines(talk: Talk) -> None:
    since = talk.at.replace(hour=0, minute=0)
    talk.channels = {"wechat": ChannelStatus(ChannelState.ONLINE, since.astimezone(UTC))}
    assert await talk.ask("status") == (
        "🟢 wechat: online since 00:00\n📭 Nothing waits.\n✉️ Today: 0 sent\nNo errors in the last 24 hours."
    )
    assert await talk.ask("状态") == (
        "🟢 wechat：在线（自 00:00）\n📭 无待发送消息。\n✉️ 今日：已发送 0\n24 小时内无错误。"
    )


async def test_what_is_wrong_and_what_waits_is_told_with_its_reason(talk: Talk) -> None:
    noon = talk.at = datetime(2026, 11, 21, 12, 0, tzinfo=SHANGHAI)
    now = noon.timestamp()
    talk.channels = {
        "wechat": ChannelStatus(ChannelState.WAITING_FOR_SCAN, noon - timedelta(days=1), "scan the code"),
        "dingtalk": ChannelStatus(ChannelState.CONNECTING, noon),
    }
    talk.budgets = {"wechat": {"30/min": 12, "600/d": 400}, "dingtalk": {}}

    # Created long ago: what expires does so a day after its creation.
    outbox = Outbox(talk.database, clock=lambda: now - 30 * 3600)

    async def put(target: str, state: MessageState, hours: float, error: str | None = None) -> None:
        (number,) = (await outbox.put([Notification("a", target, (Text("x"),))])).ids
        settled = None if state is MessageState.QUEUED else now - hours * 3600
        change = sa.update(messages).where(messages.c.id == number).values(state=state, settled_at=settled, error=error)
        await talk.database.run(lambda c: c.execute(change))

    for hours in (1, 2, 11.9, 12.1):
        await put("ops", MessageState.SENT, hours)
    await put("ops", MessageState.UNKNOWN, 3, "no answer within 20 s")
    await put("dev", MessageState.EXPIRED, 1)
    await put("dev", MessageState.DEAD, 25, "long ago")
    for number in range(10):
        await put(f"t{number}", MessageState.QUEUED, 0)
    assert await talk.ask("status") == (
        "🔴 wechat: waiting for a scan since 11-20 12:00 – scan the code\n"
        "🟡 dingtalk: connecting since 12:00\n"
        + "".join(f"📬 t{number}: 1 waiting, the oldest for 1 d 6 h\n" for number in range(8))
        + "📬 2 more targets: 2 waiting\n"
        "✉️ Today: 3 sent, 1 unknown, 1 dead\n"
        "🚦 wechat: 12 of 30/min, 400 of 600/d left\n"
        "⚠️ 11:00 dev, expired: no reason was given\n"
        "⚠️ 09:00 ops, unknown: no answer within 20 s"
    )
    chinese = await talk.ask("状态")
    assert "🔴 wechat：等待扫码（自 11-20 12:00） – “scan the code”\n" in chinese
    assert "🚦 wechat：配额剩余 12（上限 30/min），400（上限 600/d）\n" in chinese


async def test_jobs_and_pictures_that_failed_are_counted_and_told(talk: Talk) -> None:
    talk.at = datetime(2026, 11, 21, 12, 0, tzinfo=SHANGHAI)
    now = talk.at.timestamp()
    outbox = Outbox(talk.database, clock=lambda: now - 60)
    (number,) = (await outbox.put([Notification("a", "ops", (Text("x"),))])).ids
    why = "Prometheus at http://prometheus:9090 cannot be reached: Connection refused"
    missing = {"state": MessageState.NO_PICTURE, "settled_at": now - 30, "error": why}
    change = sa.update(messages).where(messages.c.id == number).values(missing)
    await talk.database.run(lambda c: c.execute(change))
    for seconds in (90, 120):
        run = JobRun("inspection", now - seconds, 1.0, ok=False, error="the panel shows an error")
        await talk.database.run(lambda c, run=run: record_run(c, run, before=0.0))
    asker = talk.asker()
    asker.services.failed_drawings.append(FailedDrawing(now - 10, "graph kafka", "Grafana has no dashboard kfk"))
    answer = (await asker.ask("status")).splitlines()
    assert answer[-4:] == [
        "✉️ Today: 0 sent, failed job runs: 2, missing pictures: 2",
        "⚠️ 11:59 graph kafka, picture missing: Grafana has no dashboard kfk",
        f"⚠️ 11:59 ops, picture missing: {why}",
        "⚠️ 11:58 inspection, job failed: the panel shows an error",
    ]
    answer = (await asker.ask("状态")).splitlines()
    assert answer[-4].endswith("，任务失败 2 次，图片缺失 2 张")
    assert "任务失败：面板显示错误" in answer[-1]


def test_every_state_has_its_words() -> None:
    assert all(has_text(f"bot.status.channel.{state.value}") for state in ChannelState)


async def test_the_commands_are_of_use_after_a_restart(talk: Talk) -> None:
    run = JobRun("past", talk.at.timestamp() - 60, 1.0, ok=False, error="no disk")
    await talk.database.run(lambda c: record_run(c, run, before=0.0))
    assert "❌ " in await talk.ask("jobs past")
