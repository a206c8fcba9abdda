"""The host monitor: measures this machine, takes what others push, warns, and keeps what was measured.

Warnings go to the alert service as the body of a POST. Whatever is not accepted (the database is full) waits and is
tried again. Samples are written about once a minute; what was measured since is lost in a crash, and shows as a gap.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from functools import partial
from typing import Any

import structlog

from wxbridge.alerts.sources.host import NAME
from wxbridge.config.hosts import FigureLimit, HostSettings
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody, StorageError
from wxbridge.core.model import Accepted
from wxbridge.core.text.i18n import Language
from wxbridge.hosts import store, warnings
from wxbridge.hosts.own_machine import HostSensor, busiest_processes, in_thread, sensors_of, start_sensors
from wxbridge.hosts.pushed import read_pushed
from wxbridge.hosts.samples import MINUTES_KEPT_SECONDS, Host, HostHistory, Sample, make_history
from wxbridge.hosts.thresholds import FigureChange, FigureState, ThresholdVerdict
from wxbridge.hosts.warning_queue import Accept, WarningQueue
from wxbridge.hosts.warnings import Busiest, HostEvent, WarningReader
from wxbridge.hosts.watched import WatchedHost

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
_IDLE_SECONDS = 5.0
_BUSIEST_STALE_SECONDS = 120.0
"""Seconds after which the busiest processes are others."""
MAX_UNSAVED_SAMPLES = 2_200
"""Samples of one machine that wait to be written while the database takes nothing."""


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
        self._times = times or SystemClock()
        self._make_sensors = sensors
        self._processes = processes
        self._hosts: dict[str, WatchedHost] = {}
        self._warnings = WarningQueue(accept)
        self._measuring: asyncio.Future[Any] | None = None
        self._sensors: HostSensor | None = None
        self._about: Mapping[str, float | str] = {}
        self._gone: set[str] = set()
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
            self._find_limits(name, watched)
            self._settle(name)

    def _find_limits(self, name: str, watched: WatchedHost) -> None:
        watched.limits = watched.find_limits(self._settings, name, is_local=self._is_local(name))

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
                    await self._warnings.deliver()
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
            history = make_history(samples.get(name, ()), about.every)
            # Nobody could be heard while we were not there: silence is counted from now on.
            watched = WatchedHost(history, self._times.monotonic(), about.about, heard_at=at, sender=about.sender)
            for figure, state in about.states.items():
                value = FigureState((), state.get("since"), state.get("told_at"))
                if figure == "silent":
                    watched.silent = value
                else:
                    watched.states[figure] = value
            self._find_limits(name, watched)
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
        await self._warnings.deliver()
        if now - self._flushed >= FLUSH_SECONDS:
            await self._flush(self._times.wall())

    async def _measure(self, settings: HostSettings) -> None:
        """Measure this machine. A sensor that hangs (a disk that does not answer) holds up nothing but the samples."""
        if self._measuring is not None and not self._measuring.done():
            return
        sensors = self._sensors
        work = partial(start_sensors, self._make_sensors, settings) if sensors is None else sensors.sample
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

    async def _add(self, name: str, watched: WatchedHost, samples: Sequence[Sample]) -> None:
        """Take samples of a machine, the oldest first, and warn where that changes something."""
        self._speaks(name, watched)
        if samples and watched.history.first is None:
            self._flushed = -math.inf  # a report can be asked for at once
        found_now = dict.fromkeys(figure for sample in samples for figure in sample.figures)
        if not found_now.keys() <= watched.known.keys():
            watched.known |= found_now
            self._find_limits(name, watched)
        events = watched.take(samples)
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

    def _watched(self, name: str, every: float, about: Mapping[str, float | str]) -> WatchedHost:
        watched = self._hosts.get(name)
        if watched is None:
            watched = self._hosts[name] = WatchedHost(HostHistory(every), self._times.monotonic())
        watched.history.every = every
        if about and about != watched.about:
            watched.about = about
            self._find_limits(name, watched)
        return watched

    # ------------------------------------------------ silence

    def _speaks(self, name: str, watched: WatchedHost) -> None:
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
        await self._add(found.host, watched, watched.select_fresh(found, self._times.wall()))
        await self._warnings.deliver()
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
        self._warnings.add(warnings.write_body(watched.as_host(name), events, watched.busiest, self._reader))
        self._flushed = -math.inf  # what was told is to be remembered after a crash

    async def _flush(self, now: float) -> None:
        self._flushed = self._times.monotonic()
        prune = self._flushed - self._pruned >= PRUNE_SECONDS
        work = [
            (name, list(watched.unsaved), watched.as_kept(is_local=self._is_local(name)), watched.heard_at)
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
            for watched in self._hosts.values():
                del watched.unsaved[:-MAX_UNSAVED_SAMPLES]
            return
        self._gone -= gone
        self._pruned = self._flushed if prune else self._pruned
        for name, samples, _, _ in work:
            if name in self._hosts:
                del self._hosts[name].unsaved[: len(samples)]

    # ------------------------------------------------ what others ask

    def list_hosts(self) -> list[Host]:
        """List the machines as they are now: this one first, the others by name."""
        own = self._settings.name if self._settings else ""
        names = sorted(self._hosts, key=lambda name: (name != own, name))
        return [self._hosts[name].as_host(name) for name in names]


def _sensed(settings: HostSettings) -> tuple[object, ...]:
    """What of the settings the sensors are made for."""
    return settings.disks, settings.skip_sensors, settings.name
