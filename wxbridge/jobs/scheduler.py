"""Runs the jobs on APScheduler, queues what they make, and says once when one begins or ceases to fail.

The settings that decide about trouble, and why:

- `coalesce`: after a suspended machine, ten missed hourly pictures are one picture.
- `max_instances=1`: a page that takes longer than its interval is not photographed by two at once.
- `misfire_grace_time`: a run that is later than the job's `misfire_grace` is skipped; the next one comes.
- The job store is in memory: jobs.yaml is the truth, and a bridge that was down does not catch up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import Connection

from wxbridge import compose, notify, outbox
from wxbridge.database import Database, job_runs
from wxbridge.errors import StorageError, WxbridgeError
from wxbridge.jobs import JobContext, JobKind
from wxbridge.model import Accepted, Notification, Picture, PictureSpec, Priority, Text
from wxbridge.notify import Destination
from wxbridge.settings import JobSettings

log = structlog.get_logger()

Put = Callable[[Sequence[Notification]], Awaitable[Accepted]]


@dataclass(frozen=True)
class JobRun:
    """How the last run of a job ended. `ok` is None while it is running. Times are seconds since the epoch."""

    job: str
    started_at: float
    seconds: float | None
    ok: bool | None
    error: str | None
    told: bool = False
    """Whether somebody was told that the job fails."""


@dataclass(frozen=True)
class JobSetting:
    """What jobs are run with."""

    jobs: Sequence[JobSettings]
    kinds: Mapping[str, JobKind]
    timezone: ZoneInfo
    language: compose.Language
    base: Path
    pictures_dir: Path
    destinations: Mapping[str, Destination]
    """By target."""
    on_error: tuple[str, ...]
    """Who is told where a job names nobody."""


Draw = Callable[[PictureSpec], Awaitable[bytes]]


class Jobs:
    """The scheduled jobs. Another configuration is taken over while they run (`take`)."""

    def __init__(
        self,
        setting: JobSetting,
        database: Database,
        *,
        put: Put,
        draw: Draw,
    ) -> None:
        self._setting = setting
        self._database = database
        self._put = put
        self._draw = draw
        self._scheduler: AsyncIOScheduler | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run every job at its times until cancelled."""
        scheduler = self._scheduler = AsyncIOScheduler(timezone=self._setting.timezone)
        for job in self._setting.jobs:
            self._schedule(scheduler, job)
        scheduler.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._scheduler = None
            scheduler.shutdown(wait=False)

    def _schedule(self, scheduler: AsyncIOScheduler, job: JobSettings) -> None:
        timezone = self._setting.timezone
        scheduler.add_job(
            self._scheduled,
            job.trigger(timezone, datetime.now(timezone)),
            args=[job.id],
            id=job.id,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=int(job.misfire_grace) or 1,
        )

    def take(self, setting: JobSetting, draw: Draw) -> None:
        """Go on with another configuration. A job whose times are the same keeps its next run; a running one finishes.

        From here on every run is made with the new settings; those that run now end as they began.
        """
        before, self._setting, self._draw = self._setting, setting, draw
        scheduler = self._scheduler
        if scheduler is None:
            return
        old, new = _by_id(before), _by_id(setting)
        for job_id in old.keys() - new.keys():
            # One that came only once has left the scheduler by itself.
            if scheduler.get_job(job_id):
                scheduler.remove_job(job_id)
        for job in setting.jobs:
            if job.id not in old:
                self._schedule(scheduler, job)
                continue
            same = _times(old[job.id], before) == _times(job, setting)
            if same and scheduler.get_job(job.id):
                scheduler.modify_job(job.id, misfire_grace_time=int(job.misfire_grace) or 1)
            elif not same:
                if scheduler.get_job(job.id):
                    scheduler.remove_job(job.id)
                self._schedule(scheduler, job)

    async def settled(self) -> None:
        """Wait until the runs that are under way now are over."""
        if running := set(self._running):
            await asyncio.wait(running)

    async def _scheduled(self, job_id: str) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await self.run_job(job_id)
        except WxbridgeError:
            log.debug("reported by run_job", job=job_id)
        except Exception:
            log.exception("a job failed in a way it should not", job=job_id)

    async def run_job(self, job_id: str) -> Accepted:
        """Run one job now and queue what it makes.

        Raises:
            WxbridgeError: there is no such job, or it failed; the failure was recorded and told.
        """
        setting, draw = self._setting, self._draw
        jobs = _by_id(setting)
        job = jobs.get(job_id)
        if job is None:
            raise WxbridgeError(f"there is no job {job_id!r}; there are {', '.join(jobs) or 'none'}")
        return await _Run(setting, job, self._database, self._put, draw).run()


def _by_id(setting: JobSetting) -> dict[str, JobSettings]:
    return {job.id: job for job in setting.jobs}


def _times(job: JobSettings, setting: JobSetting) -> tuple[object, ...]:
    """What says when a job runs."""
    return job.cron, job.every, job.at, setting.timezone


@dataclass(frozen=True)
class _Run:
    """One run of a job, with the settings as they were when it began."""

    setting: JobSetting
    job: JobSettings
    database: Database
    put: Put
    draw: Draw

    async def run(self) -> Accepted:
        """Do it and queue what it makes. Raises `WxbridgeError`; the failure was recorded and told then."""
        job = self.job
        started = time.time()
        clock = time.monotonic()
        log.info("job started", job=job.id, kind=job.kind)
        try:
            bodies = await self.setting.kinds[job.kind].run(self._context(), job)
            accepted = await self.put(self._notifications(bodies))
        except Exception as error:
            reason = str(error) if isinstance(error, WxbridgeError) else f"{type(error).__name__}: {error}"
            log.error("job failed", job=job.id, error=reason, exc_info=not isinstance(error, WxbridgeError))  # noqa: TRY400
            await self._record(JobRun(job.id, started, time.monotonic() - clock, ok=False, error=reason))
            raise WxbridgeError(reason) from error
        await self._record(JobRun(job.id, started, time.monotonic() - clock, ok=True, error=None))
        log.info("job done", job=job.id, seconds=round(time.monotonic() - clock, 2), messages=accepted.queued)
        return accepted

    def _context(self) -> JobContext:
        return JobContext(
            now=datetime.now(self.setting.timezone),
            language=self.setting.language,
            base=self.setting.base,
            draw=self.draw,
            keep=self._keep,
        )

    async def _keep(self, content: bytes, name: str) -> Picture:
        try:
            suffix = outbox.suffix_of(content)
            file = await asyncio.to_thread(outbox.save_picture, self.setting.pictures_dir, content, suffix)
        except OSError as error:
            raise StorageError(f"the picture could not be stored: {error}") from error
        return Picture(file=file, name=name)

    def _notifications(self, bodies: Sequence[Text | Picture]) -> list[Notification]:
        if not bodies:
            return []
        return [self._notification(name, bodies, Priority.ROUTINE) for name in self.job.to]

    def _notification(self, name: str, bodies: Sequence[Text | Picture], priority: Priority) -> Notification:
        destination = self.setting.destinations[name]
        return notify.notification(f"job:{self.job.id}", name, bodies, destination, self.setting.language, priority)

    async def _record(self, run: JobRun) -> None:
        """Tell of a change between working and failing, then store the outcome.

        In this order: a crash in between tells twice, and never not at all.
        """
        try:
            before = (await self.database.read(last_runs)).get(run.job)
            told = bool(before and before.told)
            if run.ok is told:
                told = not run.ok if await self._told_change(run) else told
            await self.database.run(lambda c: _store(c, replace(run, told=told)))
        except StorageError as error:
            log.error("the outcome of a job could not be stored", job=self.job.id, error=str(error))  # noqa: TRY400

    async def _told_change(self, run: JobRun) -> bool:
        key = "job_back" if run.ok else "job_failed"
        try:
            await self._tell(compose.say(key, self.setting.language, id=self.job.id, error=run.error))
        except StorageError as error:
            log.error("a job's trouble could not be told", job=self.job.id, error=str(error))  # noqa: TRY400
            return False
        return True

    async def _tell(self, line: str) -> None:
        names = self.job.on_error or self.setting.on_error
        await self.put([self._notification(name, [Text(line)], Priority.SYSTEM) for name in names])


def _store(connection: Connection, run: JobRun) -> None:
    connection.execute(sa.delete(job_runs).where(job_runs.c.job == run.job))
    connection.execute(sa.insert(job_runs).values(**vars(run)))


def last_runs(connection: Connection) -> dict[str, JobRun]:
    """The last run of each job, by id."""
    return {row.job: JobRun(**row._asdict()) for row in connection.execute(sa.select(job_runs))}
