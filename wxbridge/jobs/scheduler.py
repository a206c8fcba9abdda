"""Runs the jobs at their times, queues what they make, and reports once when one begins or ceases to fail.

- After a suspended machine, ten missed hourly pictures are one picture; a run that is later than the job's
  `misfire_grace` is passed over, and the next one comes.
- A page that takes longer than its interval is not photographed by two at once.
- Where the wall clock is set, jobs go on by it at once. Set on, what became due meanwhile runs, once; set
  back, nothing runs again before half of its interval has really passed.
- Nothing of this is stored: jobs.yaml is the truth, and a bridge that was down does not catch up.

A muted job's scheduled runs are passed over; on request it runs all the same.

Of APScheduler the triggers alone are used (`config.schedule`): its scheduler asks `datetime.now` itself and sleeps by
the monotonic clock, so it goes by no other clock, notices late that one was set, and calls late what that jumped over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from wxbridge.alerts import render
from wxbridge.alerts.render import Destination
from wxbridge.config.schedule import Schedule
from wxbridge.config.types import JobSettings
from wxbridge.core.clock import MIN_CLOCK_SHIFT_SECONDS, SystemClock, read_both
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError, WxbridgeError
from wxbridge.core.model import Accepted, Notification, NotificationSink, Picture, PictureDrawer, Priority, Text
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import Language, say
from wxbridge.delivery.outbox_queries import OutboxQueries
from wxbridge.jobs import Bodies, JobContext, JobKind, LaneBudget, Made, store
from wxbridge.jobs.store import EndedRun, JobRun, JobStatus, Mute
from wxbridge.pictures.store import PictureStore

log = structlog.get_logger()

MAX_PAUSE_SECONDS = 1.0
"""Until the next look at what is due: the clock may have been set."""
_LOOKS_BACK_SECONDS = (60, 3600, 86400)
"""From now, for the latest run that is due: after a long sleep there may be very many."""
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


@dataclass
class _PlannedJob:
    """When a job runs next."""

    schedule: Schedule
    next_run: datetime | None
    """None where it never runs again."""
    started: float | None = None
    """When its last scheduled run began, in seconds since the machine's start."""

    def take_due(self, now: datetime) -> datetime | None:
        """Go on to the next run; gives the latest that has become due, None where none has."""
        due = self.next_run
        if due is None or due.timestamp() > now.timestamp():
            return None
        for seconds in _LOOKS_BACK_SECONDS:
            recent = self.schedule.next_after(now - timedelta(seconds=seconds))
            if recent is not None and recent.timestamp() <= now.timestamp():
                due = max(due, recent, key=datetime.timestamp)
                break
        following = self.schedule.next_after(due)
        while following is not None and following.timestamp() <= now.timestamp():
            due, following = following, self.schedule.next_after(following)
        self.next_run = following
        return due

    def plan_anew(self, now: datetime, boot: float) -> None:
        """Plan the next run after the clock was set back to `now`."""
        following = self.schedule.next_after(now)
        if following is not None and self.started is not None:
            after_it = self.schedule.next_after(following)
            gap = boot - self.started + (following.timestamp() - now.timestamp())
            # What has just run, and would by its time run once more, is left out.
            if after_it is None or gap < (after_it.timestamp() - following.timestamp()) / 2:
                following = after_it
        self.next_run = following


class JobScheduler:
    """Runs the scheduled jobs; chat, console and command line list, run, mute and unmute them here.

    Args:
        settings: The jobs; replaced by `reconfigure`.
        database: Keeps how runs ended, and what is muted.
        sink: Takes what the jobs make.
        drawer: Draws their pictures.
        clock: By which they run.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        database: Database,
        sink: NotificationSink,
        drawer: PictureDrawer,
        clock: SystemClock | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._sink = sink
        self._drawer = drawer
        self._clock = clock or SystemClock()
        self._skew: float | None = None
        """By how much the wall clock is ahead of the one since the machine's start; None while jobs do not run."""
        self._planned: dict[str, _PlannedJob] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._running_since: dict[str, float] = {}

    async def run(self) -> None:
        """Run every job at its times until cancelled."""
        wall, boot = read_both(self._clock)
        self._skew = wall - boot
        self._planned = {job.id: self._plan(job) for job in self._settings.jobs}
        try:
            while True:
                pause = self._run_due()
                await asyncio.sleep(pause)
        finally:
            self._skew = None
            for task in self._running:
                task.cancel()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall(), self._settings.timezone)

    def _plan(self, job: JobSettings) -> _PlannedJob:
        schedule = job.make_schedule(self._settings.timezone)
        return _PlannedJob(schedule, schedule.next_after(self._now()))

    def _run_due(self) -> float:
        """Begin every run that is due; gives the seconds until the next look."""
        wall, boot = read_both(self._clock)
        now = datetime.fromtimestamp(wall, self._settings.timezone)
        shift = wall - boot - (self._skew or 0.0)
        self._skew = wall - boot
        pause = MAX_PAUSE_SECONDS
        for job in self._settings.jobs:
            planned = self._planned[job.id]
            if shift < -MIN_CLOCK_SHIFT_SECONDS:
                planned.plan_anew(now, boot)
            due = planned.take_due(now)
            # What the clock jumped over is not late.
            if due is not None and now.timestamp() - due.timestamp() - max(0.0, shift) > max(1.0, job.misfire_grace):
                log.warning("job passed over: it is too late", job=job.id, due=due.isoformat(sep=" "))
            elif due is not None:
                planned.started = boot
                self._start(self.run_scheduled(job.id), job.id)
            if planned.next_run is not None:
                pause = min(pause, planned.next_run.timestamp() - wall)
        return max(0.0, pause)

    def _start(self, work: Coroutine[Any, Any, None], job_id: str) -> None:
        task = asyncio.create_task(work, name=f"job {job_id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def reconfigure(self, settings: SchedulerSettings) -> None:
        """Replace the jobs. One whose times are the same keeps its next run; the runs under way end as they began."""
        old, self._settings = self._settings, settings
        if self._skew is None:
            return
        same = {
            job.id for job in settings.jobs if job.id in old.by_id and _times(old, job.id) == _times(settings, job.id)
        }
        self._planned = {job.id: self._planned[job.id] if job.id in same else self._plan(job) for job in settings.jobs}

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
                next_run=self._next_run(job, mutes.get(job.id)),
                last=last.get(job.id),
                mute=mutes.get(job.id),
                running_since=self._running_since.get(job.id),
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
        schedule = job.make_schedule(self._settings.timezone)
        gap = max((end - start) / MAX_UPCOMING_RUNS, timedelta(microseconds=1))
        runs: list[datetime] = []
        at = schedule.next_after(start - timedelta(microseconds=1))
        while at is not None and at <= end:
            runs.append(at)
            at = schedule.next_after(at + gap - timedelta(microseconds=1))
        return runs

    def _next_run(self, job: JobSettings, mute: Mute | None) -> datetime | None:
        planned = self._plan(job) if self._skew is None else self._planned[job.id]
        following = planned.next_run
        if following is None or mute is None or following.timestamp() >= mute.until:
            return following
        end = datetime.fromtimestamp(mute.until, self._settings.timezone)
        return planned.schedule.next_after(end - timedelta(microseconds=1))

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
        self._start(self._run_logged(job_id, also), job_id)

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
        mute = await self._read_mute(job_id)
        if mute is not None:
            log.info("job passed over: it is muted", job=job_id, until=_local(mute.until, self._settings), by=mute.by)
            return
        if job_id in self._running_since:
            log.warning("job passed over: its last run is not over", job=job_id)
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
        language = self.settings.language
        error = tell_error(run.error or "", language)
        line = say("jobs.back" if run.ok else "jobs.failed", language, id=run.job, error=error)
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
