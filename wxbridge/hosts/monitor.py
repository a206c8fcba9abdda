"""The host monitor: measures this machine, takes what others push, warns, and keeps what was measured.

Warnings go to the alert service as the body of a POST. Whatever is not accepted (the database is full) waits and is
tried again. Samples are written about once a minute; what was measured since is lost in a crash, and shows as a gap.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import partial
from typing import Any, Protocol

import structlog

from wxbridge.alerts.sources.host import NAME
from wxbridge.config.hosts import DISK_STATES, FigureLimit, HostSettings, resolve_limits
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody, StorageError
from wxbridge.core.model import Accepted
from wxbridge.core.text.i18n import Language
from wxbridge.hosts import store, warnings
from wxbridge.hosts.pushed import PushedSamples, read_pushed
from wxbridge.hosts.samples import MINUTES_KEPT_SECONDS, Host, HostHistory, Sample
from wxbridge.hosts.thresholds import FigureChange, FigureState, ThresholdVerdict, apply_sample
from wxbridge.hosts.warnings import Busiest, HostEvent, WarningReader

log = structlog.get_logger()

FLUSH_SECONDS = 60.0
"""Seconds after which samples are written."""
FIRST_INTERVAL_SECONDS = 1.0
"""Seconds between the first look at this machine and the first sample, which has rates and so needs two looks."""
PRUNE_SECONDS = 3600.0
MAX_HOSTS = 100
"""Machines that are watched; those that push beyond it are refused."""
MAX_HOSTS_PER_TOKEN = 10
"""Machines that one token of the hook may bring in by itself; others have to be named in jobs.yaml."""
FORGET_AFTER_SECONDS = 3 * 86400.0
"""Seconds of silence after which a machine is forgotten."""
MAX_PENDING_WARNINGS = 200
"""Warnings that wait to be accepted; beyond it the oldest are dropped, and logged."""
MAX_CLOCK_SKEW_SECONDS = 5.0
"""Seconds that another machine's clock may differ from ours before its times are corrected."""
_IDLE_SECONDS = 5.0
_BUSIEST_STALE_SECONDS = 120.0
"""Seconds after which the busiest processes are others."""
MAX_UNSAVED_SAMPLES = 2_200
"""Samples of one machine that wait to be written while the database takes nothing."""

Accept = Callable[[str, bytes, Mapping[str, str]], Awaitable[Any]]
"""`AlertService.accept`. Raises `StorageError` where it should be tried again."""


class HostSensor(Protocol):
    """What measures this machine; see `sensors.Sensors`."""

    def sample(self) -> dict[str, float]:
        """Measure, in a thread."""

    def about(self) -> dict[str, float | str]:
        """What does not change."""


@dataclass
class _WatchedHost:
    """One machine."""

    history: HostHistory
    heard: float
    """When we heard of it last, by the monotonic clock; moved on while we ourselves did not listen."""
    about: Mapping[str, float | str] = field(default_factory=dict)
    states: dict[str, FigureState] = field(default_factory=dict)
    limits: dict[str, FigureLimit] = field(default_factory=dict)
    unsaved: list[Sample] = field(default_factory=list)
    last_sent: float = 0.0
    """The time of the newest sample by the sender's own clock: what is not newer was sent again."""
    heard_at: float = 0.0
    """When we heard of it last, in seconds since the epoch."""
    silent: FigureState = field(default_factory=FigureState)
    busiest: Busiest = field(default_factory=dict)
    busiest_at: float = 0.0
    """When it told its busiest processes; monotonic."""
    sender: str = ""
    """Whose token brought it in; empty for this machine."""
    known: dict[str, None] = field(default_factory=dict)
    """The figures that were looked up among the thresholds."""


def sensors_of(settings: HostSettings) -> HostSensor:
    """What measures this machine, as configured."""
    from wxbridge.hosts.sensors import Sensors  # brings psutil

    return Sensors(settings.disks, skipped=settings.skip_sensors)


def busiest_processes() -> Busiest:
    """The processes that use most; see `sensors.busiest`."""
    from wxbridge.hosts.sensors import busiest

    return busiest()


class HostMonitor:
    """Watches machines. `run` it for as long as the bridge runs; without settings it waits for some.

    Args:
        settings: The section `host:`; None where there is none.
        accept: Takes a warning in.
        reader: For whom warnings are written.
        sensors, processes: Measure this machine, in a thread.
    """

    def __init__(
        self,
        settings: HostSettings | None,
        database: Database,
        accept: Accept,
        *,
        language: Language = "en",
        timezone: tzinfo = UTC,
        times: SystemClock | None = None,
        sensors: Callable[[HostSettings], HostSensor] = sensors_of,
        processes: Callable[[], Busiest] = busiest_processes,
    ) -> None:
        self._database = database
        self._accept = accept
        self._times = times or SystemClock()
        self._make_sensors = sensors
        self._processes = processes
        self._hosts: dict[str, _WatchedHost] = {}
        self._pending: list[bytes] = []
        self._measuring: asyncio.Future[Any] | None = None
        self._sensors: HostSensor | None = None
        self._about: Mapping[str, float | str] = {}
        self._gone: set[str] = set()
        self._delivering = asyncio.Lock()
        self._loaded = False
        self._tick_at: float | None = None
        self._flushed = self._pruned = self._times.monotonic()
        self._looked_at = 0.0
        """When it was last read what another bridge has written; monotonic seconds."""
        self._changed = asyncio.Event()
        self._settings: HostSettings | None = None
        self._reader = WarningReader()
        self.reconfigure(settings, language=language, timezone=timezone)

    # ------------------------------------------------ the configuration

    def reconfigure(self, settings: HostSettings | None, *, language: Language, timezone: tzinfo) -> None:
        """Watch by another configuration from now on. A warning whose threshold is gone is over."""
        before, self._settings = self._settings, settings
        self._reader = WarningReader(language, timezone, bool(settings and settings.picture == "chart"))
        self._changed.set()
        if settings is None or before is None or _sensed(settings) != _sensed(before):
            self._sensors = None
        if before is not None and (settings is None or settings.name != before.name or not settings.measure):
            self._settle(before.name, gone=True)
        for name, watched in self._hosts.items():
            watched.limits = self._limits(name, watched)
            self._settle(name)

    def _limits(self, name: str, watched: _WatchedHost) -> dict[str, FigureLimit]:
        if self._settings is None:
            return {}
        cores = watched.about.get("cores", 0)
        known = dict.fromkeys((*watched.history.names, *watched.known, *watched.states))
        if self._is_local(name) and self._settings.disks:
            # A disk that is not named any more is not measured either.
            known = {each: None for each in known if not _is_of_other_disk(each, self._settings.disks)}
        return resolve_limits(self._settings, name, known, float(cores) if isinstance(cores, int | float) else 0.0)

    def _settle(self, name: str, *, gone: bool = False) -> None:
        """End the warnings of a machine that nothing stands behind any more."""
        watched = self._hosts.get(name)
        if watched is None:
            return
        at = self._times.wall()
        events = []
        for figure, state in list(watched.states.items()):
            if gone or figure not in watched.limits:
                del watched.states[figure]
                if state.since is not None:
                    mean = state.recent[-1][1] if state.recent else 0.0
                    limit = watched.limits.get(figure, FigureLimit(0, 0, 0, None))
                    events.append(
                        HostEvent(figure, FigureChange(ThresholdVerdict.RESOLVED, at, state.since, mean), limit)
                    )
        self._warn(name, events)
        if gone:
            del self._hosts[name]
            self._gone.add(name)

    # ------------------------------------------------ running

    async def run(self) -> None:
        """Measure and watch until cancelled; what was measured is written in the end."""
        if self._looked_at:
            # Another bridge has watched until now.
            self._looked_at, self._loaded = 0.0, False
            self._hosts.clear()
        try:
            while True:
                settings = self._settings
                self._changed.clear()
                if settings is None:
                    await self._deliver()
                    await self._changed.wait()
                    continue
                if not self._loaded:
                    await self._load()
                began = self._times.monotonic()
                is_first = self._sensors is None
                await self.tick()
                every = settings.every if settings.measure else max(_IDLE_SECONDS, settings.every)
                if settings.measure and is_first:
                    every = min(every, FIRST_INTERVAL_SECONDS)
                await self._times.sleep(max(0.0, every - (self._times.monotonic() - began)))
        finally:
            await self._flush(self._times.wall())

    async def look_elsewhere(self) -> None:
        """Read anew what another bridge has written of machines, where this one does not run; now and then."""
        if self._loaded and self._times.monotonic() - self._looked_at < FLUSH_SECONDS:
            return
        self._looked_at = self._times.monotonic()
        self._hosts.clear()
        await self._load()
        self._gone.clear()

    async def _load(self) -> None:
        try:
            now = self._times.wall()
            since = now - MINUTES_KEPT_SECONDS
            kept, samples = await self._database.read(lambda c: (store.read_kept(c), store.read_samples(c, since)))
        except StorageError as error:
            log.warning("what was measured before cannot be read", error=str(error))
            return
        self._loaded = True
        for name, (about, at) in kept.items():
            if name in self._hosts or now - at > FORGET_AFTER_SECONDS:
                continue
            if about.local and not self._is_local(name):
                # What this machine was called before: nobody will be heard under that name.
                self._gone.add(name)
                continue
            history = HostHistory(about.every)
            for sample in samples.get(name, ()):
                history.add(sample)
            # Nobody could be heard while we were not there: silence is counted from now on.
            watched = _WatchedHost(history, self._times.monotonic(), about.about, heard_at=at, sender=about.sender)
            for figure, state in about.states.items():
                value = FigureState((), state.get("since"), state.get("told_at"))
                if figure == "silent":
                    watched.silent = value
                else:
                    watched.states[figure] = value
            watched.limits = self._limits(name, watched)
            self._hosts[name] = watched
            self._settle(name)

    async def tick(self) -> None:
        """Measure once, look for silence, deliver what waits, and write where it is time."""
        settings, now = self._settings, self._times.monotonic()
        if settings is None:
            return
        late = 0.0 if self._tick_at is None else now - self._tick_at - max(settings.every, _IDLE_SECONDS)
        self._tick_at = now
        if late > settings.every:
            # We were stopped ourselves, and could hear nobody meanwhile.
            for watched in self._hosts.values():
                watched.heard += late
        if settings.measure:
            await self._measure(settings)
        self._listen(settings, now)
        await self._deliver()
        if now - self._flushed >= FLUSH_SECONDS:
            await self._flush(self._times.wall())

    async def _measure(self, settings: HostSettings) -> None:
        """Measure this machine. A sensor that hangs (a disk that does not answer) holds up nothing but the samples."""
        if self._measuring is not None and not self._measuring.done():
            return
        sensors = self._sensors
        work = partial(_primed, self._make_sensors, settings) if sensors is None else sensors.sample
        self._measuring = in_thread(work)
        await asyncio.wait([self._measuring], timeout=settings.every)
        if not self._measuring.done():
            log.warning("measuring takes longer than its interval", every=settings.every)
        elif self._settings is not settings:
            # Another configuration came meanwhile: this machine may be called otherwise by now, or have other disks.
            return
        elif sensors is None:
            self._sensors, self._about = self._measuring.result()
            # It is watched from now on, though rates take a second look.
            self._watched(settings.name, settings.every, self._about)
        else:
            watched = self._watched(settings.name, settings.every, self._about)
            await self._add(settings.name, watched, [Sample(self._times.wall(), self._measuring.result())])

    async def _add(self, name: str, watched: _WatchedHost, samples: Sequence[Sample]) -> None:
        """Take samples of a machine, the oldest first, and warn where that changes something."""
        self._speaks(name, watched)
        if samples and watched.history.first is None:
            self._flushed = -math.inf  # a report can be asked for at once
        found_now = dict.fromkeys(figure for sample in samples for figure in sample.figures)
        if not found_now.keys() <= watched.known.keys():
            watched.known |= found_now
            watched.limits = self._limits(name, watched)
        events = _apply(samples, watched)
        if any(event.change.verdict is not ThresholdVerdict.RESOLVED for event in events):
            if self._is_local(name):
                watched.busiest = await self._busiest()
            elif self._times.monotonic() - watched.busiest_at > _BUSIEST_STALE_SECONDS:
                watched.busiest = {}
        if self._hosts.get(name) is watched:  # else another configuration has ended it while its processes were read
            self._warn(name, events)

    def _is_local(self, name: str) -> bool:
        return self._settings is not None and self._settings.measure and name == self._settings.name

    async def _busiest(self) -> Busiest:
        try:
            async with asyncio.timeout(10):
                found: Busiest = await in_thread(self._processes)
                return found
        except Exception as error:  # noqa: BLE001 - a warning without its processes is better than none
            log.warning("the busiest processes cannot be told", error=f"{type(error).__name__}: {error}")
            return {}

    def _watched(self, name: str, every: float, about: Mapping[str, float | str]) -> _WatchedHost:
        watched = self._hosts.get(name)
        if watched is None:
            watched = self._hosts[name] = _WatchedHost(HostHistory(every), self._times.monotonic())
        watched.history.every = every
        if about and about != watched.about:
            watched.about = about
            watched.limits = self._limits(name, watched)
        return watched

    # ------------------------------------------------ silence

    def _speaks(self, name: str, watched: _WatchedHost) -> None:
        now = self._times.wall()
        silent, watched.silent = watched.silent, FigureState()
        watched.heard, watched.heard_at = self._times.monotonic(), now
        if silent.since is not None and self._settings is not None:
            limit = FigureLimit(0, 0, 0, None, self._settings.silent_severity)
            self._warn(
                name, [HostEvent("silent", FigureChange(ThresholdVerdict.RESOLVED, now, silent.since, 0.0), limit)]
            )

    def _listen(self, settings: HostSettings, now: float) -> None:
        """Warn of machines that are not heard any more, and forget those that are not heard for days."""
        wall = self._times.wall()
        for name, watched in list(self._hosts.items()):
            quiet = now - watched.heard
            if quiet > FORGET_AFTER_SECONDS:
                log.info("a machine is forgotten", host=name, silent_for=round(quiet))
                del self._hosts[name]
                continue
            if quiet < settings.silent * watched.history.every:
                continue
            state = watched.silent
            if state.since is None:
                watched.silent = FigureState((), watched.heard_at, wall)
                verdict = ThresholdVerdict.FIRING
            elif settings.repeat and state.told_at is not None and wall - state.told_at >= settings.repeat:
                watched.silent = FigureState((), state.since, wall)
                verdict = ThresholdVerdict.STILL
            else:
                continue
            limit = FigureLimit(0, 0, 0, settings.repeat, settings.silent_severity)
            since = watched.silent.since or wall
            self._warn(name, [HostEvent("silent", FigureChange(verdict, wall, since, 0.0), limit)])

    # ------------------------------------------------ what others push

    async def receive(self, body: bytes, sender: str = "") -> Accepted | None:
        """Take samples that a machine pushed to `/hooks/host`; None where the body is something else.

        `sender` is what let it in, as `AccessRule.find_caller` names it: a token that opens this hook alone brings in
        ten machines at most that jobs.yaml does not name.

        Raises:
            BadBody: they cannot be read, or this machine is not taken.
        """
        found = read_pushed(body)
        if found is None:
            return None
        settings = self._settings
        if settings is None:
            return None
        if not self._loaded:
            await self._load()
        self._check_claim(settings, found.host, sender)
        watched = self._watched(found.host, found.every, found.about)
        watched.sender = watched.sender or sender
        if found.busiest.get("cpu") or found.busiest.get("memory"):
            watched.busiest, watched.busiest_at = found.busiest, self._times.monotonic()
        await self._add(found.host, watched, self._fresh(found, watched))
        await self._deliver()
        return Accepted(0, 0)

    def _check_claim(self, settings: HostSettings, host: str, sender: str) -> None:
        """Raise `BadBody` where a machine may not be brought in by this sender."""
        if host not in self._hosts and len(self._hosts) >= MAX_HOSTS:
            raise BadBody(f"This bridge watches {MAX_HOSTS} machines already; stop others, and they are forgotten.")
        if self._is_local(host):
            raise BadBody(
                f"{host!r} is what this bridge calls its own machine; push under another `--name`, or set "
                "`host.measure: false` here."
            )
        if not sender.endswith(f" {NAME}") or host in self._hosts or host in settings.hosts:
            return
        own = [name for name, watched in self._hosts.items() if watched.sender == sender and name not in settings.hosts]
        if len(own) >= MAX_HOSTS_PER_TOKEN:
            raise BadBody(
                f"This token has brought in {MAX_HOSTS_PER_TOKEN} machines already; name {host!r} under `host.hosts` "
                "in jobs.yaml, and it is taken."
            )

    def _fresh(self, found: PushedSamples, watched: _WatchedHost) -> list[Sample]:
        """What was not sent before, by our own clock."""
        now = self._times.wall()
        shift = now - found.sent_at if found.sent_at is not None else 0.0
        shift = shift if abs(shift) > MAX_CLOCK_SKEW_SECONDS else 0.0
        if found.sent_at is not None and watched.last_sent > found.sent_at:
            watched.last_sent = 0.0  # its clock was set back
        fresh = [sample for sample in found.samples if sample.at > watched.last_sent]
        if fresh:
            watched.last_sent = fresh[-1].at
        moved = [Sample(sample.at + shift, sample.figures) for sample in fresh]
        return [sample for sample in moved if now - MINUTES_KEPT_SECONDS < sample.at <= now + MAX_CLOCK_SKEW_SECONDS]

    # ------------------------------------------------ what is told and kept

    def _warn(self, name: str, events: Sequence[HostEvent]) -> None:
        if not events:
            return
        watched = self._hosts[name]
        for event in events:
            log.info(
                "host warning",
                host=name, figure=event.figure, verdict=event.change.verdict.value, mean=round(event.change.mean, 1),
            )  # fmt: skip
        self._pending.append(warnings.write_body(self._host(name, watched), events, watched.busiest, self._reader))
        if len(self._pending) > MAX_PENDING_WARNINGS:
            log.error("warnings of machines were dropped: they could not be stored", dropped=1)
            del self._pending[0]
        self._flushed = -math.inf  # what was told is to be remembered after a crash

    async def _deliver(self) -> None:
        async with self._delivering:
            while self._pending:
                body = self._pending[0]
                try:
                    await self._accept(NAME, body, {})
                except StorageError as error:
                    log.warning("a warning waits", error=str(error), waiting=len(self._pending))
                    return
                except Exception:
                    log.exception("a warning was refused")
                # Meanwhile others may have been added, and by `MAX_PENDING` taken out.
                if self._pending and self._pending[0] is body:
                    del self._pending[0]

    async def _flush(self, now: float) -> None:
        self._flushed = self._times.monotonic()
        prune = self._flushed - self._pruned >= PRUNE_SECONDS
        work = [
            (name, list(watched.unsaved), self._kept(name, watched), watched.heard_at)
            for name, watched in self._hosts.items()
            if watched.unsaved or watched.silent.since is not None
        ]
        gone = set(self._gone)

        def write(connection: Any) -> None:
            for name, samples, kept, heard_at in work:
                store.save_host(connection, name, samples, kept, heard_at)
            for name in gone:
                store.delete_host(connection, name)
            if prune:
                store.prune(connection, now - MINUTES_KEPT_SECONDS, now - FORGET_AFTER_SECONDS)

        try:
            if work or gone or prune:
                await self._database.run(write)
        except StorageError as error:
            log.warning("samples cannot be written", error=str(error))
            self._bound_unsaved()
            return
        self._gone -= gone
        self._pruned = self._flushed if prune else self._pruned
        for name, samples, _, _ in work:
            if name in self._hosts:
                del self._hosts[name].unsaved[: len(samples)]

    def _bound_unsaved(self) -> None:
        for watched in self._hosts.values():
            del watched.unsaved[:-MAX_UNSAVED_SAMPLES]

    # ------------------------------------------------ what others ask

    def _host(self, name: str, watched: _WatchedHost) -> Host:
        thresholds = {figure: limit.above for figure, limit in watched.limits.items()}
        return Host(name, watched.history, watched.about, watched.silent.since, thresholds)

    def _kept(self, name: str, watched: _WatchedHost) -> store.KeptHost:
        states = {**watched.states, "silent": watched.silent}
        return store.KeptHost(
            every=watched.history.every,
            about=dict(watched.about),
            states={
                figure: {"since": state.since, "told_at": state.told_at}
                for figure, state in states.items()
                if state.since is not None or state.told_at is not None
            },
            thresholds={figure: limit.above for figure, limit in watched.limits.items()},
            local=self._is_local(name),
            sender=watched.sender,
        )

    def list_hosts(self) -> list[Host]:
        """List the machines as they are now: this one first, the others by name."""
        own = self._settings.name if self._settings else ""
        names = sorted(self._hosts, key=lambda name: (name != own, name))
        return [self._host(name, self._hosts[name]) for name in names]


def _net(changes: Sequence[HostEvent]) -> HostEvent | None:
    """What is told of several changes at once: samples that come late may tell of what is over already."""
    first, last = changes[0].change.verdict, changes[-1].change.verdict
    return (
        None
        if first is ThresholdVerdict.FIRING and last is ThresholdVerdict.RESOLVED and len(changes) > 1
        else changes[-1]
    )


def _apply(samples: Sequence[Sample], watched: _WatchedHost) -> list[HostEvent]:
    """Take samples into what is known of a machine; gives what there is to tell."""
    found: dict[str, list[HostEvent]] = {}
    for sample in samples:
        watched.history.add(sample)
        watched.unsaved.append(sample)
        for figure, limit in watched.limits.items():
            value = _value_of(figure, sample)
            if value is None:
                continue
            before = watched.states.get(figure, FigureState())
            watched.states[figure], change = apply_sample(before, sample.at, value, limit, watched.history.every)
            if change is not None:
                found.setdefault(figure, []).append(HostEvent(figure, change, limit))
    return [told for changes in found.values() if (told := _net(changes))]


def _sensed(settings: HostSettings) -> tuple[object, ...]:
    """What of the settings the sensors are made for."""
    return settings.disks, settings.skip_sensors, settings.name


def _is_of_other_disk(figure: str, disks: Sequence[str]) -> bool:
    kind, _, mount = figure.partition(":")
    return kind in ("disk", "inodes", *DISK_STATES) and mount not in disks


def _value_of(figure: str, sample: Sample) -> float | None:
    """A figure of a sample; that a disk is away is over where the sample tells anything else of the disk."""
    kind, _, mount = figure.partition(":")
    if figure not in sample.figures and kind in DISK_STATES:
        return 0.0 if any(f"{each}:{mount}" in sample.figures for each in ("disk", *DISK_STATES)) else None
    return sample.figures.get(figure)


def _primed(
    make: Callable[[HostSettings], HostSensor], settings: HostSettings
) -> tuple[HostSensor, dict[str, float | str]]:
    """Sensors that have measured once, since rates are differences, and what does not change."""
    sensors = make(settings)
    sensors.sample()
    return sensors, sensors.about()


def in_thread(work: Callable[[], Any]) -> asyncio.Future[Any]:
    """Run something in a thread of its own, which the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it is the caller's
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="sensors", daemon=True).start()
    return done
