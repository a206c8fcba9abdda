"""When jobs run, by a clock that people and NTP set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fakes.postgresql import database_url
from wxbridge import parts
from wxbridge.config.schema import Config
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.model import PictureSpec
from wxbridge.delivery.outbox import Outbox
from wxbridge.jobs import scheduler
from wxbridge.jobs.scheduler import JobScheduler
from wxbridge.testing import FakeClock

HOUR = 3600.0
MORNING = datetime(2026, 11, 10, 9, 58, 58, tzinfo=UTC)
CONFIG = """\
timezone: UTC
targets: {term: {channel: console}}
jobs:
  - {id: each5s, every: 5s, kind: text, text: x, to: term}
  - {id: minutely, cron: "* * * * *", kind: text, text: x, to: term}
  - {id: hourly, every: 1h, kind: text, text: x, to: term}
  - {id: daily, at: "10:00", kind: text, text: x, to: term}
  - {id: weekly, cron: {day_of_week: 2, hour: 10}, kind: text, text: x, to: term}
  - {id: once, at: "2026-11-10 10:00", kind: text, text: x, to: term}
"""


class NoPictures:
    async def draw(self, spec: PictureSpec) -> bytes:
        raise AssertionError(spec)


class Day:
    """A scheduler by a clock that the test moves, and which of its jobs ran."""

    def __init__(self, config: Config, database: Database) -> None:
        self.clock = FakeClock(wall_now=MORNING.timestamp())
        clock = SystemClock(self.clock.wall, self.clock.monotonic, self.clock.boot)
        self.jobs = JobScheduler(parts.scheduler_settings(config), database, Outbox(database), NoPictures(), clock)
        self.ran: list[str] = []
        self.jobs.run_scheduled = self._note  # type: ignore[method-assign]

    async def _note(self, job_id: str) -> None:
        self.ran.append(job_id)

    async def settle(self) -> None:
        """Let it look at the clock, several times."""
        await asyncio.sleep(0.05)

    async def runs_of(self, seconds: int, step: int = 1) -> dict[str, int]:
        """Let time pass, `step` by `step`; gives how often each job ran."""
        self.ran.clear()
        for _ in range(seconds // step):
            self.clock.advance(step)
            await asyncio.sleep(0.003)
        await self.settle()
        return {job: self.ran.count(job) for job in dict.fromkeys(self.ran)}

    async def runs_when_set(self, seconds: float) -> set[str]:
        """Set the clock; gives what ran at that moment."""
        self.ran.clear()
        self.clock.jump(seconds)
        await self.settle()
        assert len(self.ran) == len(set(self.ran)), "what was jumped over runs once"
        return set(self.ran)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(database_url(tmp_path / "state"))
    yield opened
    opened.close()


@pytest.fixture
async def day(read: Callable[..., Config], database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Day]:
    monkeypatch.setattr(scheduler, "MAX_PAUSE_SECONDS", 0.001)
    found = Day(read(CONFIG), database)
    async with running(found.jobs):
        await found.settle()
        yield found


@asynccontextmanager
async def running(jobs: JobScheduler) -> AsyncIterator[None]:
    task = asyncio.create_task(jobs.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_jobs_run_at_their_times(day: Day) -> None:
    ran = await day.runs_of(125)
    assert ran == {"each5s": 25, "minutely": 3, "hourly": 1, "daily": 1, "weekly": 1, "once": 1}


async def test_a_clock_that_is_set_back_holds_no_job_up_and_nothing_runs_twice_that_is_due_once_a_day(day: Day) -> None:
    await day.runs_of(125)
    assert await day.runs_when_set(-HOUR) == set()
    assert await day.runs_of(60) == {"each5s": 12, "minutely": 1}
    assert await day.runs_of(3500, step=5) == {"each5s": 700, "minutely": 58, "hourly": 1}
    next_runs = {job.id: job.next_run for job in await day.jobs.list_jobs()}
    assert next_runs["daily"] == datetime(2026, 11, 11, 10, tzinfo=UTC)
    assert next_runs["weekly"] == datetime(2026, 11, 17, 10, tzinfo=UTC)
    assert next_runs["once"] is None


async def test_what_has_not_run_when_the_clock_is_set_back_still_runs_at_its_time(day: Day) -> None:
    await day.runs_when_set(-120)
    assert await day.runs_of(182) == {"each5s": 37, "minutely": 4, "hourly": 1, "daily": 1, "weekly": 1, "once": 1}


async def test_what_a_clock_that_is_set_on_jumps_over_runs_once_and_at_once(day: Day) -> None:
    assert await day.runs_when_set(HOUR) == {"each5s", "minutely", "hourly", "daily", "weekly", "once"}
    assert await day.runs_of(60) == {"each5s": 12, "minutely": 1}
    assert await day.runs_when_set(-HOUR) == set()
    assert await day.runs_of(70) == {"each5s": 14, "minutely": 2}, "the hourly one has just run"


async def test_what_is_late_after_a_sleep_is_passed_over(day: Day) -> None:
    day.clock.sleep(30 * 86400.0)
    day.ran.clear()
    await day.settle()
    # A month of missed runs is one; the others are more than five minutes late.
    assert sorted(day.ran) == ["each5s", "minutely"]
