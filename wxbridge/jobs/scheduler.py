"""Runs the jobs on APScheduler, queues what they make, and reports once when one begins or ceases to fail.

The settings of APScheduler, and why:

- `coalesce`: after a suspended machine, ten missed hourly pictures are one picture.
- `max_instances=1`: a page that takes longer than its interval is not photographed by two at once.
- `misfire_grace_time`: a run that is later than the job's `misfire_grace` is skipped; the next one comes.
- The job store is in memory: jobs.yaml is the truth, and a bridge that was down does not catch up.

A muted job's scheduled runs are passed over; on request it runs all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from wxbridge.alerts import render
from wxbridge.alerts.render import Destination
from wxbridge.config import schedule
from wxbridge.config.types import JobSettings
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError, WxbridgeError
from wxbridge.core.model import Accepted, Notification, NotificationSink, Picture, PictureDrawer, Priority, Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.delivery.outbox_queries import OutboxQueries
from wxbridge.jobs import Bodies, JobContext, JobKind, LaneBudget, Made, store
from wxbridge.jobs.store import EndedRun, JobRun, JobStatus, Mute
from wxbridge.pictures.store import PictureStore

log = structlog.get_logger()

MAX_UPCOMING_RUNS = 300
"""How many of a job's runs `upcoming` lists; of a job that runs more often, some are left out."""


@dataclass(frozen=True)
class SchedulerSettings:
    """The jobs of one configuration, and what they are run with."""

    jobs: Sequence[JobSettings]
    kinds: Mapping[str, JobKind]
    timezone: ZoneInfo
    language: Language
    base: Path
    picture_store: PictureStore
    destinations: Mapping[str, Destination]
    """By target."""
    on_error: tuple[str, ...]
    """Who is told where a job names nobody."""
    budgets: Mapping[str, LaneBudget] = field(default_factory=dict)
    """By target."""
    keep: float = 30 * 86400.0
    """Seconds for which it is kept how runs ended."""

    @cached_property
    def by_id(self) -> Mapping[str, JobSettings]:
        """The jobs by their ids."""
        return {job.id: job for job in self.jobs}


class JobScheduler:
    """Runs the scheduled jobs; chat, console and command line list, run, mute and unmute them here.

    Args:
        settings: The jobs; replaced by `reconfigure`.
        database: Keeps how runs ended, and what is muted.
        sink: Takes what the jobs make.
        drawer: Draws their pictures.
    """

    def __init__(
        self, settings: SchedulerSettings, database: Database, sink: NotificationSink, drawer: PictureDrawer
    ) -> None:
        self._settings = settings
        self._database = database
        self._sink = sink
        self._drawer = drawer
        self._scheduler: AsyncIOScheduler | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._requested: set[asyncio.Task[None]] = set()
        self._running_since: dict[str, float] = {}
        self._passed_over: Counter[str] = Counter()

    async def run(self) -> None:
        """Run every job at its times until cancelled."""
        scheduler = self._scheduler = AsyncIOScheduler(timezone=self._settings.timezone)
        for job in self._settings.jobs:
            self._schedule(scheduler, job)
        scheduler.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._scheduler = None
            scheduler.shutdown(wait=False)
            for task in self._requested:
                task.cancel()

    def _schedule(self, scheduler: AsyncIOScheduler, job: JobSettings) -> None:
        timezone = self._settings.timezone
        scheduler.add_job(
            self.run_scheduled,
            job.trigger(timezone, datetime.now(timezone)),
            args=[job.id],
            id=job.id,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=int(job.misfire_grace) or 1,
        )

    def reconfigure(self, settings: SchedulerSettings) -> None:
        """Replace the jobs. One whose times are the same keeps its next run; the runs under way end as they began."""
        old, self._settings = self._settings, settings
        scheduler = self._scheduler
        if scheduler is None:
            return
        same = {
            job.id for job in settings.jobs if job.id in old.by_id and _times(old, job.id) == _times(settings, job.id)
        }
        for job_id in old.by_id.keys() - same:
            # One that came only once has left the scheduler by itself.
            if scheduler.get_job(job_id):
                scheduler.remove_job(job_id)
        for job in settings.jobs:
            if job.id not in same:
                self._schedule(scheduler, job)
            elif scheduler.get_job(job.id):
                scheduler.modify_job(job.id, misfire_grace_time=int(job.misfire_grace) or 1)

    async def wait_idle(self) -> None:
        """Wait until the runs that are under way now are over."""
        if running := set(self._running):
            await asyncio.wait(running)

    # ------------------------------------------------------------ what people and programs ask for

    async def list_jobs(self) -> list[JobStatus]:
        """List the configured jobs in their order, with their next run, their last, and until when they are muted.

        Raises:
            StorageError: the database cannot be read.
        """
        now = time.time()
        last, mutes = await self._database.read(lambda c: (store.read_last_runs(c), store.read_mutes(c, now=now)))
        return [
            JobStatus(
                id=job.id,
                kind=job.kind,
                to=job.to,
                next_run=self._next_run(job),
                last=last.get(job.id),
                mute=mutes.get(job.id),
                running_since=self._running_since.get(job.id),
                passed_over=self._passed_over[job.id],
            )
            for job in self._settings.jobs
        ]

    async def list_ended_runs(self, limit: int) -> dict[str, list[EndedRun]]:
        """List how the last runs of each job ended, at most `limit` of each. Raises `StorageError`."""
        ids = list(self._settings.by_id)
        return await self._database.read(lambda c: {name: store.read_history(c, name, limit=limit) for name in ids})

    async def read_change_mark(self) -> Hashable:
        """Read something that changes whenever a job ends, is muted or unmuted. Raises `StorageError`."""
        return await self._database.read(store.read_change_mark)

    def upcoming(self, start: datetime, end: datetime) -> dict[str, list[datetime]]:
        """Tell when each job runs between two moments; of runs that lie closer than a 300th of that, the first."""
        return {job.id: self._upcoming(job, start, end) for job in self._settings.jobs}

    def _upcoming(self, job: JobSettings, start: datetime, end: datetime) -> list[datetime]:
        trigger = job.trigger(self._settings.timezone, start)
        gap = max((end - start) / MAX_UPCOMING_RUNS, timedelta(microseconds=1))
        runs: list[datetime] = []
        at = trigger.get_next_fire_time(None, start)
        while at is not None and at <= end:
            runs.append(at)
            at = trigger.get_next_fire_time(at, max(start, at + gap))
        return runs

    def _next_run(self, job: JobSettings) -> datetime | None:
        if self._scheduler is not None:
            found = self._scheduler.get_job(job.id)
            return found.next_run_time if found else None
        now = datetime.now(self._settings.timezone)
        return schedule.find_next_run(job.trigger(self._settings.timezone, now), now)

    def run_now(self, job_id: str, also: Sequence[str] = ()) -> None:
        """Begin a run of a job, muted or not, and return at once.

        What it makes goes to its own targets and to the targets `also`, who asked for it: they hear also of a failure.

        Raises:
            WxbridgeError: there is no such job, or it is running.
        """
        self._job(job_id)
        if job_id in self._running_since:
            since = datetime.fromtimestamp(self._running_since[job_id], self._settings.timezone)
            raise WxbridgeError(f"{job_id} is running already, since {since:%H:%M:%S}")
        self._running_since[job_id] = time.time()
        task = asyncio.create_task(self._run_logged(job_id, also), name=f"job {job_id}")
        for tasks in (self._running, self._requested):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def mute(self, job_id: str, until: float, by: str) -> Mute:
        """Pass over a job's scheduled runs until a moment (seconds since the epoch); it outlasts a restart.

        Raises:
            WxbridgeError: there is no such job, or the moment is past.
            StorageError: it could not be stored.
        """
        job = self._job(job_id)
        wanted = Mute(job.id, until, by, time.time())
        if until <= wanted.at:
            raise WxbridgeError("a job is muted until a moment to come")
        await self._database.run(lambda c: store.add_mute(c, wanted))
        log.info("job muted", job=job.id, until=_local(until, self._settings), by=by)
        return wanted

    async def unmute(self, job_id: str) -> bool:
        """Have a job run at its times again; False where it was not muted.

        Raises:
            WxbridgeError: there is no such job.
            StorageError: it could not be stored.
        """
        job = self._job(job_id)
        was_muted = await self._database.run(lambda c: store.remove_mute(c, job.id, now=time.time()))
        if was_muted:
            log.info("job no longer muted", job=job.id)
        return was_muted

    def _job(self, job_id: str) -> JobSettings:
        jobs = self._settings.by_id
        if job_id not in jobs:
            raise WxbridgeError(f"there is no job {job_id!r}; there are {', '.join(jobs) or 'none'}")
        return jobs[job_id]

    # ------------------------------------------------------------ running them

    async def run_scheduled(self, job_id: str) -> None:
        """Run a job whose time has come, unless it is muted or running."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        mute = await self._read_mute(job_id)
        if mute is not None:
            self._passed_over[job_id] += 1
            log.info("job passed over: it is muted", job=job_id, until=_local(mute.until, self._settings), by=mute.by)
            return
        if job_id in self._running_since:
            log.info("job passed over: it is being run by hand", job=job_id)
            return
        self._running_since[job_id] = time.time()
        await self._run_logged(job_id, ())

    async def _read_mute(self, job_id: str) -> Mute | None:
        try:
            return (await self._database.read(lambda c: store.read_mutes(c, now=time.time()))).get(job_id)
        except StorageError as error:
            # Once too often rather than never.
            log.error("cannot tell whether a job is muted", job=job_id, error=str(error))  # noqa: TRY400
            return None

    async def _run_logged(self, job_id: str, also: Sequence[str]) -> None:
        try:
            await self.run_job(job_id, also)
        except WxbridgeError:
            log.debug("reported by run_job", job=job_id)
        except Exception:
            log.exception("a job failed in a way it should not", job=job_id)
        finally:
            self._running_since.pop(job_id, None)

    async def run_job(self, job_id: str, also: Sequence[str] = ()) -> Accepted:
        """Run a job now, wait for its end, and queue what it makes, for the targets `also` too.

        Raises:
            WxbridgeError: there is no such job, or it failed; the failure was recorded and reported.
        """
        settings = self._settings
        others = tuple(name for name in dict.fromkeys(also) if name in settings.destinations)
        return await _OneRun(settings, self._job(job_id), self._database, self._sink, self._drawer, others).run()


def _times(settings: SchedulerSettings, job_id: str) -> tuple[object, ...]:
    """What decides when a job runs."""
    job = settings.by_id[job_id]
    return job.cron, job.every, job.at, settings.timezone


def _local(seconds: float, settings: SchedulerSettings) -> str:
    return datetime.fromtimestamp(seconds, settings.timezone).isoformat(sep=" ", timespec="seconds")


@dataclass(frozen=True)
class _OneRun:
    """One run of a job, with the settings as they were when it began."""

    settings: SchedulerSettings
    job: JobSettings
    database: Database
    sink: NotificationSink
    drawer: PictureDrawer
    also: tuple[str, ...] = ()
    """The targets that asked for it, whether the job has them or not."""

    async def run(self) -> Accepted:
        """Do it, and queue what it makes. Raises `WxbridgeError`; the failure was recorded and reported then."""
        job = self.job
        started = time.time()
        clock = time.monotonic()
        log.info("job started", job=job.id, kind=job.kind)
        try:
            made = await self.settings.kinds[job.kind].run(self._context(), job)
            accepted = await self.sink.put(self._notifications(made))
        except Exception as error:
            reason = str(error) if isinstance(error, WxbridgeError) else f"{type(error).__name__}: {error}"
            log.error("job failed", job=job.id, error=reason, exc_info=not isinstance(error, WxbridgeError))  # noqa: TRY400
            await self._record(JobRun(job.id, started, time.monotonic() - clock, ok=False, error=reason))
            raise WxbridgeError(reason) from error
        await self._record(JobRun(job.id, started, time.monotonic() - clock, ok=True, error=None), _first_file(made))
        log.info("job done", job=job.id, seconds=round(time.monotonic() - clock, 2), messages=accepted.queued)
        return accepted

    def _context(self) -> JobContext:
        return JobContext(
            now=datetime.now(self.settings.timezone),
            language=self.settings.language,
            base=self.settings.base,
            draw=self.drawer.draw,
            keep=self.settings.picture_store.save,
            read=self.database.read,
            outbox=OutboxQueries(self.database),
            targets=self._targets(),
            budgets=self.settings.budgets,
        )

    def _targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.job.to, *self.also)))

    def _notifications(self, made: Made) -> list[Notification]:
        found = []
        for name in self._targets():
            # To whom it is an answer, it is urgent.
            priority = Priority.REPLY if name in self.also else Priority.ROUTINE
            if bodies := made.get(name, ()) if isinstance(made, Mapping) else made:
                found.append(self._notification(name, bodies, priority))
        return found

    def _notification(self, name: str, bodies: Bodies, priority: Priority) -> Notification:
        destination = self.settings.destinations[name]
        return render.make_notification(
            f"job:{self.job.id}", name, bodies, destination, self.settings.language, priority
        )

    async def _record(self, run: JobRun, picture_file: str | None = None) -> None:
        """Report a change between working and failing, then store the outcome.

        In this order: a crash in between reports twice, and never not at all.
        """
        try:
            before = (await self.database.read(store.read_last_runs)).get(run.job)
            was_reported = bool(before and before.told)
            changed = run.ok is was_reported and await self._report(run, self._in_charge(), Priority.SYSTEM)
            if not run.ok:
                # Who asked for it hears of it, whether it is news or not.
                others = [name for name in self.also if not (changed and name in self._in_charge())]
                await self._report(run, others, Priority.REPLY)
            kept = replace(run, told=was_reported is not changed)
            oldest = run.started_at - self.settings.keep
            await self.database.run(lambda c: store.record_run(c, kept, picture_file, before=oldest))
        except StorageError as error:
            log.error("the outcome of a job could not be stored", job=self.job.id, error=str(error))  # noqa: TRY400

    def _in_charge(self) -> tuple[str, ...]:
        return self.job.on_error or self.settings.on_error

    async def _report(self, run: JobRun, names: Sequence[str], priority: Priority) -> bool:
        line = say("jobs.back" if run.ok else "jobs.failed", self.settings.language, id=run.job, error=run.error)
        try:
            if names:
                await self.sink.put([self._notification(name, [Text(line)], priority) for name in names])
        except StorageError as error:
            log.error("a job's trouble could not be told", job=run.job, error=str(error))  # noqa: TRY400
            return False
        return True


def _first_file(made: Made) -> str | None:
    """The first picture that a run has stored."""
    several = made.values() if isinstance(made, Mapping) else (made,)
    return next((body.file for bodies in several for body in bodies if isinstance(body, Picture) and body.file), None)
