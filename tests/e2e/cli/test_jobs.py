from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from wxbridge import parts
from wxbridge.cli.jobs import app
from wxbridge.config.schema import Config
from wxbridge.config.types import Rate
from wxbridge.delivery.outbox import Outbox
from wxbridge.jobs import LaneBudget

CONFIG = """\
timezone: Asia/Shanghai
keep: 7d
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss, pace: {chat: 1/s, total: 30/min, day: 600}}
targets:
  ops: {channel: wechat, room: Ops}
  log: {channel: console}
jobs:
  - {id: hello, every: 1h, kind: text, text: "hello", to: [ops]}
  - {id: daily, cron: "0 9 * * *", kind: digest, period: 1d, to: [ops, log]}
"""

Run = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[..., Config]) -> Config:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WXBRIDGE_CONFIG", raising=False)
    return read(CONFIG)


@pytest.fixture
def run(config: Config) -> Run:
    runner = CliRunner()

    def command(*words: str) -> Result:
        return runner.invoke(app, words)

    return command


def listed(run: Run) -> dict[str, Any]:
    return {row["id"]: row for row in json.loads(run("list", "--json").stdout)}


def test_a_job_is_muted_and_unmuted_beside_a_running_bridge(run: Run, config: Config) -> None:
    assert run("mute", "hello", "2h", "--by", "me").exit_code == 0
    row = listed(run)["hello"]
    assert row["muted_by"] == "me"
    assert datetime.fromisoformat(row["muted_until"]).timestamp() == pytest.approx(time.time() + 7200, abs=60)
    assert listed(run)["daily"]["muted_until"] is None

    async def its_time() -> int:
        database = parts.open_database(config)

        async with parts.make_renderer(config) as pictures:
            jobs = parts.make_scheduler(config, database, Outbox(database), pictures)
            await asyncio.create_task(jobs.run_scheduled("hello"))
        count = len(await Outbox(database).list_messages())
        database.close()
        return count

    assert asyncio.run(its_time()) == 0
    assert run("run", "hello").exit_code == 0
    done = run("unmute", "hello")
    assert (done.exit_code, done.stderr) == (0, "hello: runs at its times again\n")
    assert run("unmute", "hello").stderr == "hello: was not muted\n"
    assert asyncio.run(its_time()) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("mute", "helo", "2h"), 1, "there is no job 'helo'; did you mean hello?"),
        (("mute", "zzz", "2h"), 1, "there is no job 'zzz'; see `wxbridge jobs list`"),
        (("unmute", "helo"), 1, "there is no job 'helo'; did you mean hello?"),
        (("mute", "hello", "tomorrow"), 2, "'tomorrow' is no duration"),
        (("mute", "hello", "0s"), 2, "`wxbridge jobs unmute ID` lets it run again"),
        (("mute", "hello"), 2, "Missing argument"),
    ],
)
def test_what_cannot_be_muted_is_said(run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    done = run(*words)
    assert done.exit_code == code
    assert said in done.stderr
    assert all(row["muted_until"] is None for row in listed(run).values())


def test_a_job_that_the_file_no_longer_has_can_be_unmuted(run: Run, read: Callable[..., Config]) -> None:
    run("mute", "hello", "2h")
    read(CONFIG.replace("id: hello", "id: other"))
    assert run("unmute", "hello").exit_code == 0


def test_a_digest_is_queued_for_each_of_its_targets(run: Run, config: Config) -> None:
    assert run("run", "daily").exit_code == 0

    async def read() -> list[Any]:
        database = parts.open_database(config)
        found = await Outbox(database).list_messages()
        database.close()
        return found

    messages = asyncio.run(read())
    assert sorted(each.target for each in messages) == ["log", "ops"]
    assert all(each.body.text.startswith("✅ Daily summary, ") for each in messages)


def test_jobs_know_how_much_each_target_may_send_and_how_long_runs_are_kept(config: Config) -> None:
    setting = parts.scheduler_settings(config)
    wechat = LaneBudget("wechat", (Rate(30, 60), Rate(600, 86400)))
    assert setting.budgets == {"ops": wechat, "master": wechat, "log": LaneBudget("console")}
    assert setting.keep == 7 * 86400
