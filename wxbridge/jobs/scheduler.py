"""Runs the jobs on APScheduler, queues what they make, and says once when one begins or ceases to fail.

The settings that decide about trouble, and why:

- `coalesce`: after a suspended machine, ten missed hourly pictures are one picture.
- `max_instances=1`: a page that takes longer than its interval is not photographed by two at once.
- `misfire_grace_time`: a run that is later than the job's `misfire_grace` is skipped; the next one comes.
- The job store is in memory: jobs.yaml is the truth, and a bridge that was down does not catch up.

A muted job's scheduled runs are passed over; by hand it runs all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from wxbridge.alerts import notifications
from wxbridge.alerts.notifications import Destination
from wxbridge.config import schedule
from wxbridge.config.types import JobSettings
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError, WxbridgeError
from wxbridge.core.model import Accepted, Notification, Picture, PictureSpec, Priority, Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.jobs import Bodies, Budget, JobContext, JobKind, Made, store
from wxbridge.jobs.store import JobRun, JobStatus, Mute
from wxbridge.pictures.store import PictureStore

log = structlog.get_logger()

Put = Callable[[Sequence[Notification]], Awaitable[Accepted]]


@dataclass(frozen=True)
class JobSetting:
    """What jobs are run with."""

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
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    """By target."""
    keep: float = 30 * 86400.0
    """Seconds for which it is kept how runs ended."""


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
        self._by_hand: set[asyncio.Task[None]] = set()
        self._under_way: dict[str, float] = {}
        self._passed_over: Counter[str] = Counter()

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
            for task in self._by_hand:
                task.cancel()

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

    # ------------------------------------------------------------ what people and programs ask for

    async def listing(self) -> list[JobStatus]:
        """The configured jobs in their order, with their next run, how the last one ended, and whether they rest.

        Raises:
            StorageError: the database cannot be read.
        """
        now = time.time()
        last, mutes = await self._database.read(lambda c: (store.last_runs(c), store.mutes(c, now=now)))
        return [
            JobStatus(
                id=job.id,
                kind=job.kind,
                to=job.to,
                next_run=self._next_run(job),
                last=last.get(job.id),
                mute=mutes.get(job.id),
                running_since=self._under_way.get(job.id),
                passed_over=self._passed_over[job.id],
            )
            for job in self._setting.jobs
        ]

    def _next_run(self, job: JobSettings) -> datetime | None:
        if self._scheduler is not None:
            found = self._scheduler.get_job(job.id)
            return found.next_run_time if found else None
        now = datetime.now(self._setting.timezone)
        return schedule.next_run(job.trigger(self._setting.timezone, now), now)

    def run_now(self, job_id: str, also: Sequence[str] = ()) -> None:
        """Begin a run of a job, and return at once; muted or not. What it makes goes to its own targets.

        It goes to the targets `also` too, which are told as well where the run fails: those who asked for it.

        Raises:
            WxbridgeError: there is no such job, or it is running.
        """
        self._job(job_id)
        if job_id in self._under_way:
            since = datetime.fromtimestamp(self._under_way[job_id], self._setting.timezone)
            raise WxbridgeError(f"{job_id} is running already, since {since:%H:%M:%S}")
        self._under_way[job_id] = time.time()
        task = asyncio.create_task(self._carefully(job_id, also), name=f"job {job_id}")
        for tasks in (self._running, self._by_hand):
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
        await self._database.run(lambda c: store.mute(c, wanted))
        log.info("job muted", job=job.id, until=_local(until, self._setting), by=by)
        return wanted

    async def unmute(self, job_id: str) -> bool:
        """Let a job run at its times again; False where it was not muted.

        Raises:
            WxbridgeError: there is no such job.
            StorageError: it could not be stored.
        """
        job = self._job(job_id)
        rested = await self._database.run(lambda c: store.unmute(c, job.id, now=time.time()))
        if rested:
            log.info("job no longer muted", job=job.id)
        return rested

    def _job(self, job_id: str) -> JobSettings:
        jobs = _by_id(self._setting)
        if job_id not in jobs:
            raise WxbridgeError(f"there is no job {job_id!r}; there are {', '.join(jobs) or 'none'}")
        return jobs[job_id]

    # ------------------------------------------------------------ running them

    async def _scheduled(self, job_id: str) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        mute = await self._muted(job_id)
        if mute is not None:
            self._passed_over[job_id] += 1
            log.info("job passed over: it is muted", job=job_id, until=_local(mute.until, self._setting), by=mute.by)
            return
        if job_id in self._under_way:
            log.info("job passed over: it is being run by hand", job=job_id)
            return
        self._under_way[job_id] = time.time()
        await self._carefully(job_id, ())

    async def _muted(self, job_id: str) -> Mute | None:
        try:
            return (await self._database.read(lambda c: store.mutes(c, now=time.time()))).get(job_id)
        except StorageError as error:
            # Once too often rather than never.
            log.error("cannot tell whether a job is muted", job=job_id, error=str(error))  # noqa: TRY400
            return None

    async def _carefully(self, job_id: str, also: Sequence[str]) -> None:
        try:
            await self.run_job(job_id, also)
        except WxbridgeError:
            log.debug("reported by run_job", job=job_id)
        except Exception:
            log.exception("a job failed in a way it should not", job=job_id)
        finally:
            self._under_way.pop(job_id, None)

    async def run_job(self, job_id: str, also: Sequence[str] = ()) -> Accepted:
        """Run one job now, wait for its end and queue what it makes, for the targets `also` too.

        Raises:
            WxbridgeError: there is no such job, or it failed; the failure was recorded and told.
        """
        setting = self._setting
        others = tuple(name for name in dict.fromkeys(also) if name in setting.destinations)
        return await _Run(setting, self._job(job_id), self._database, self._put, self._draw, others).run()


def _by_id(setting: JobSetting) -> dict[str, JobSettings]:
    return {job.id: job for job in setting.jobs}


def _times(job: JobSettings, setting: JobSetting) -> tuple[object, ...]:
    """What says when a job runs."""
    return job.cron, job.every, job.at, setting.timezone


def _local(seconds: float, setting: JobSetting) -> str:
    return datetime.fromtimestamp(seconds, setting.timezone).isoformat(sep=" ", timespec="seconds")


@dataclass(frozen=True)
class _Run:
    """One run of a job, with the settings as they were when it began."""

    setting: JobSetting
    job: JobSettings
    database: Database
    put: Put
    draw: Draw
    also: tuple[str, ...] = ()
    """Who asked for it, where the job has a target for them or not."""

    async def run(self) -> Accepted:
        """Do it and queue what it makes. Raises `WxbridgeError`; the failure was recorded and told then."""
        job = self.job
        started = time.time()
        clock = time.monotonic()
        log.info("job started", job=job.id, kind=job.kind)
        try:
            made = await self.setting.kinds[job.kind].run(self._context(), job)
            accepted = await self.put(self._notifications(made))
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
            now=datetime.now(self.setting.timezone),
            language=self.setting.language,
            base=self.setting.base,
            draw=self.draw,
            keep=self.setting.picture_store.save,
            read=self.database.read,
            targets=self._targets(),
            budgets=self.setting.budgets,
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
        destination = self.setting.destinations[name]
        return notifications.notification(
            f"job:{self.job.id}", name, bodies, destination, self.setting.language, priority
        )

    async def _record(self, run: JobRun, picture_file: str | None = None) -> None:
        """Tell of a change between working and failing, then store the outcome.

        In this order: a crash in between tells twice, and never not at all.
        """
        try:
            before = (await self.database.read(store.last_runs)).get(run.job)
            told = bool(before and before.told)
            changed = run.ok is told and await self._told(run, self._in_charge(), Priority.SYSTEM)
            if not run.ok:
                # Who asked for it hears of it, whether it is news or not.
                others = [name for name in self.also if not (changed and name in self._in_charge())]
                await self._told(run, others, Priority.REPLY)
            kept = replace(run, told=told is not changed)
            oldest = run.started_at - self.setting.keep
            await self.database.run(lambda c: store.ended(c, kept, picture_file, before=oldest))
        except StorageError as error:
            log.error("the outcome of a job could not be stored", job=self.job.id, error=str(error))  # noqa: TRY400

    def _in_charge(self) -> tuple[str, ...]:
        return self.job.on_error or self.setting.on_error

    async def _told(self, run: JobRun, names: Sequence[str], priority: Priority) -> bool:
        line = say("jobs.back" if run.ok else "jobs.failed", self.setting.language, id=run.job, error=run.error)
        try:
            if names:
                await self.put([self._notification(name, [Text(line)], priority) for name in names])
        except StorageError as error:
            log.error("a job's trouble could not be told", job=run.job, error=str(error))  # noqa: TRY400
            return False
        return True


def _first_file(made: Made) -> str | None:
    """The first picture that a run has stored."""
    several = made.values() if isinstance(made, Mapping) else (made,)
    return next((body.file for bodies in several for body in bodies if isinstance(body, Picture) and body.file), None)
