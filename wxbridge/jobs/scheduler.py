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


class Jobs:
    """The scheduled jobs of one configuration."""

    def __init__(
        self,
        setting: JobSetting,
        database: Database,
        *,
        put: Put,
        draw: Callable[[PictureSpec], Awaitable[bytes]],
    ) -> None:
        self._setting = setting
        self._database = database
        self._put = put
        self._draw = draw
        self._by_id = {job.id: job for job in setting.jobs}

    async def run(self) -> None:
        """Run every job at its times until cancelled."""
        scheduler = AsyncIOScheduler(timezone=self._setting.timezone)
        now = datetime.now(self._setting.timezone)
        for job in self._setting.jobs:
            scheduler.add_job(
                self._scheduled,
                job.trigger(self._setting.timezone, now),
                args=[job.id],
                id=job.id,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=int(job.misfire_grace) or 1,
            )
        scheduler.start()
        try:
            await asyncio.Event().wait()
        finally:
            scheduler.shutdown(wait=False)

    async def _scheduled(self, job_id: str) -> None:
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
        job = self._by_id.get(job_id)
        if job is None:
            raise WxbridgeError(f"there is no job {job_id!r}; there are {', '.join(self._by_id) or 'none'}")
        started = time.time()
        clock = time.monotonic()
        log.info("job started", job=job.id, kind=job.kind)
        try:
            bodies = await self._setting.kinds[job.kind].run(self._context(), job)
            accepted = await self._put(self._notifications(job, bodies))
        except Exception as error:
            reason = str(error) if isinstance(error, WxbridgeError) else f"{type(error).__name__}: {error}"
            log.error("job failed", job=job.id, error=reason, exc_info=not isinstance(error, WxbridgeError))  # noqa: TRY400
            await self._record(job, JobRun(job.id, started, time.monotonic() - clock, ok=False, error=reason))
            raise WxbridgeError(reason) from error
        await self._record(job, JobRun(job.id, started, time.monotonic() - clock, ok=True, error=None))
        log.info("job done", job=job.id, seconds=round(time.monotonic() - clock, 2), messages=accepted.queued)
        return accepted

    def _context(self) -> JobContext:
        return JobContext(
            now=datetime.now(self._setting.timezone),
            language=self._setting.language,
            base=self._setting.base,
            draw=self._draw,
            keep=self._keep,
        )

    async def _keep(self, content: bytes, name: str) -> Picture:
        try:
            suffix = outbox.suffix_of(content)
            file = await asyncio.to_thread(outbox.save_picture, self._setting.pictures_dir, content, suffix)
        except OSError as error:
            raise StorageError(f"the picture could not be stored: {error}") from error
        return Picture(file=file, name=name)

    def _notifications(self, job: JobSettings, bodies: Sequence[Text | Picture]) -> list[Notification]:
        if not bodies:
            return []
        return [self._notification(job, name, bodies, Priority.ROUTINE) for name in job.to]

    def _notification(
        self, job: JobSettings, name: str, bodies: Sequence[Text | Picture], priority: Priority
    ) -> Notification:
        destination = self._setting.destinations[name]
        return notify.notification(f"job:{job.id}", name, bodies, destination, self._setting.language, priority)

    async def _record(self, job: JobSettings, run: JobRun) -> None:
        """Tell of a change between working and failing, then store the outcome.

        In this order: a crash in between tells twice, and never not at all.
        """
        try:
            before = (await self._database.read(last_runs)).get(run.job)
            told = bool(before and before.told)
            if run.ok is told:
                told = not run.ok if await self._told_change(job, run) else told
            await self._database.run(lambda c: _store(c, replace(run, told=told)))
        except StorageError as error:
            log.error("the outcome of a job could not be stored", job=job.id, error=str(error))  # noqa: TRY400

    async def _told_change(self, job: JobSettings, run: JobRun) -> bool:
        key = "job_back" if run.ok else "job_failed"
        try:
            await self._tell(job, compose.say(key, self._setting.language, id=job.id, error=run.error))
        except StorageError as error:
            log.error("a job's trouble could not be told", job=job.id, error=str(error))  # noqa: TRY400
            return False
        return True

    async def _tell(self, job: JobSettings, line: str) -> None:
        names = job.on_error or self._setting.on_error
        await self._put([self._notification(job, name, [Text(line)], Priority.SYSTEM) for name in names])


def _store(connection: Connection, run: JobRun) -> None:
    connection.execute(sa.delete(job_runs).where(job_runs.c.job == run.job))
    connection.execute(sa.insert(job_runs).values(**vars(run)))


def last_runs(connection: Connection) -> dict[str, JobRun]:
    """The last run of each job, by id."""
    return {row.job: JobRun(**row._asdict()) for row in connection.execute(sa.select(job_runs))}
