"""Watchdog of ourselves: systemd, a heartbeat to a dead man's switch, and a warning when messages wait too long.

`run` is one service of the bridge. What it says goes three ways, because each survives what another does not: systemd
restarts a bridge that hangs, the dead man's switch tells of a host that is gone, and the warning goes to the people
who would have read what is stuck, by another channel.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import structlog
from yarl import URL

from wxbridge.alerts.render import Destination, make_notification
from wxbridge.config.types import TargetSettings, WatchSettings
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import ChannelStatus, Notification, Priority, Text
from wxbridge.core.schema import read_facts, remember_fact
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.units import format_duration
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.outbox_queries import OutboxQueries

log = structlog.get_logger()

LOOK_EVERY = 15.0
"""Seconds between two looks at what waits."""
HEARTBEAT_LIMIT = 10.0
"""Seconds in which the dead man's switch must answer."""
READ_LIMIT = 6.0
"""Seconds in which the database must tell what waits."""
_TOLD = "stuck"
"""The fact that keeps which targets were warned of, so that a bridge in a crash loop does not warn at every start."""


@dataclass(frozen=True)
class Clock:
    """Where the time comes from: seconds since the epoch, seconds since whenever, and how to let some pass."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the bridge itself. `restart_helps` is false for a full disk, say: it would stay full."""

    text: str
    restart_helps: bool = True


@dataclass(frozen=True)
class Watched:
    """The bridge as it is seen from here."""

    database: Database
    trouble: Callable[[], Awaitable[Trouble | None]]
    """What is wrong with the bridge itself, None where it is well. An offline channel is nothing wrong."""
    channels: Callable[[], Mapping[str, ChannelStatus]]
    targets: Mapping[str, TargetSettings]
    destinations: Mapping[str, Destination]
    """By target."""
    master: str
    """The target of the person in charge; it need not exist."""
    outbox: Outbox
    metrics: Metrics
    language: Language
    timezone: ZoneInfo


async def run(
    watched: Watched,
    settings: WatchSettings,
    clock: Clock | None = None,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Watch until cancelled. Start it once alerts are taken: the first thing it does is to tell systemd so."""
    with known_to_systemd(environment):
        await look_on(watched, settings, clock, environment)


@contextmanager
def known_to_systemd(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Tell systemd that the bridge takes alerts, and in the end that it stops."""
    address = environment.get("NOTIFY_SOCKET", "")
    tell_systemd("READY=1", address)
    try:
        yield
    finally:
        tell_systemd("STOPPING=1", address)


@contextmanager
def reloading(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Tell systemd that a configuration is being taken over, and that it was (systemd.service(5), `notify-reload`)."""
    address = environment.get("NOTIFY_SOCKET", "")
    tell_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", address)
    try:
        yield
    finally:
        tell_systemd("READY=1", address)


async def look_on(
    watched: Watched,
    settings: WatchSettings,
    clock: Clock | None = None,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Watch until cancelled, without telling systemd of the bridge's start and end."""
    clock = clock or Clock()
    address = environment.get("NOTIFY_SOCKET", "")
    limit = watchdog_seconds(environment) if address else None
    # Each on its own, so that a switch or a database that does not answer keeps nobody else waiting.
    async with asyncio.TaskGroup() as group:
        group.create_task(_look(watched, settings, clock, address))
        if limit:
            group.create_task(_feed(watched, clock, address, limit / 2))
        if settings.heartbeat:
            url = settings.heartbeat.get_secret_value()
            group.create_task(_beat(watched, clock, url, settings.every))


async def _every(clock: Clock, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do something now and every so often, counted from start to start."""
    while True:
        started = clock.monotonic()
        await work()
        await clock.sleep(max(0.0, started + seconds - clock.monotonic()))


class _Changes:
    """Logs a trouble once when it begins, and once when it is over."""

    def __init__(self, begins: str, ends: str, **about: Any) -> None:
        self._begins, self._ends, self._about = begins, ends, about
        self._on = False

    def note(self, reason: str | None) -> None:
        """Take how it is now; None is well."""
        if reason and not self._on:
            log.warning(self._begins, **self._about, reason=reason)
        elif self._on and not reason:
            log.info(self._ends, **self._about)
        self._on = reason is not None


# ---------------------------------------------------------------- systemd


def tell_systemd(state: str, address: str) -> None:
    """Tell systemd something, such as `READY=1`; nothing where there is no `address` ($NOTIFY_SOCKET).

    It never waits and never fails: what systemd cannot take now is logged and left out.
    """
    if not address:
        return
    # An @ stands for the zero byte of Linux' abstract sockets.
    path = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.settimeout(0)
            speaker.connect(path)
            speaker.send(state.encode())
    except OSError as error:
        log.warning("systemd could not be told", state=state, error=str(error))


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Within how many seconds systemd wants to hear from this process; None where it does not ask."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


async def _feed(watched: Watched, clock: Clock, address: str, every: float) -> None:
    """Tell systemd every so many seconds that all is well, or that a restart would not help: silence brings one."""
    trouble = _Changes("not well: systemd will restart the bridge", "well again")

    async def once() -> None:
        try:
            async with asyncio.timeout(every):
                found = await watched.trouble()
        except TimeoutError:
            found = Trouble("cannot even tell")
        bad = found if found and found.restart_helps else None
        trouble.note(bad.text if bad else None)
        if bad is None:
            tell_systemd("WATCHDOG=1", address)

    await _every(clock, every, once)


def status_line(channels: Mapping[str, ChannelStatus], waiting: Sequence[Waiting] | None) -> str:
    """One line for `systemctl status`: the channels and the backlog (None where it cannot be told)."""
    states = [f"{name} {status.state.value.replace('_', ' ')}" for name, status in channels.items()]
    if waiting is None:
        backlog = "the database does not answer"
    elif waiting:
        # No age of the moment in it: the line is sent when it changes.
        backlog = ", ".join(f"{item.count} waiting for {item.target}" for item in waiting)
    else:
        backlog = "nothing waits"
    return " ".join("; ".join((", ".join(states) or "no channels", backlog)).split())


# ---------------------------------------------------------------- the dead man's switch


async def ping(url: str) -> str | None:
    """Fetch an address; returns what went wrong in words that hold nothing of the address, None where nothing did.

    Anything below 400 within `HEARTBEAT_LIMIT` seconds counts as heard; the body is not read.
    """
    try:
        timeout = aiohttp.ClientTimeout(total=HEARTBEAT_LIMIT)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return None if response.ok else f"it answered {response.status}"
    except TimeoutError:
        return f"no answer within {HEARTBEAT_LIMIT:g} seconds"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # Never the error's own text: several of aiohttp's hold the address, and so its secret.
        return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


async def _beat(watched: Watched, clock: Clock, url: str, every: float) -> None:
    """While the bridge is well, fetch the address of the dead man's switch."""
    trouble = _Changes("no heartbeat is sent", "the heartbeat is back", host=URL(url).host)

    async def once() -> None:
        found = await watched.trouble()
        trouble.note(f"not well: {found.text}" if found else await ping(url))

    await _every(clock, every, once)


# ---------------------------------------------------------------- what waits too long


@dataclass(frozen=True)
class Waiting:
    """The open messages of a target."""

    target: str
    count: int
    since: float
    """When the oldest was created; seconds since the epoch."""
    age: float
    """Of the oldest, in seconds."""


async def read_waiting(outbox: OutboxQueries, now: float) -> list[Waiting]:
    """What waits, by target. Raises `StorageError`, also where the database does not answer in time."""
    try:
        async with asyncio.timeout(READ_LIMIT):
            rows = await outbox.count_backlog()
    except TimeoutError:
        raise StorageError(f"the database did not answer within {READ_LIMIT:g} seconds") from None
    return [Waiting(target, count, since, max(0.0, now - since)) for target, count, since in rows]


async def outbox_part(outbox: OutboxQueries, *, oldest: float, now: float) -> dict[str, Any]:
    """The outbox in `/readyz`: each target's backlog; `ok` while nothing has waited longer than `oldest` seconds."""
    try:
        waiting = await read_waiting(outbox, now)
    except StorageError as error:
        return {"ok": False, "detail": str(error)}
    return {
        "ok": all(item.age <= oldest for item in waiting),
        "open": sum(item.count for item in waiting),
        "targets": {item.target: {"open": item.count, "oldest_seconds": round(item.age, 1)} for item in waiting},
    }


async def _look(watched: Watched, settings: WatchSettings, clock: Clock, address: str) -> None:
    """Look at what waits every so often: warn of what waits too long, and keep systemd's status line true."""
    told: set[str] | None = None
    shown = ""

    async def once() -> None:
        nonlocal told, shown
        waiting = None
        try:
            waiting = await read_waiting(watched.outbox, clock.wall())
            if told is None:
                told = set((await watched.database.read(lambda c: read_facts(c, _TOLD))).get("", ([], 0))[0])
            told = await warn(watched, waiting, told, oldest=settings.oldest, now=clock.wall())
        except StorageError as error:
            watched.metrics.storage_errors.inc()
            log.error("cannot look after what waits", error=str(error))  # noqa: TRY400 - a trace says no more
        line = status_line(watched.channels(), waiting)
        if line != shown:
            shown = line
            tell_systemd(f"STATUS={line}", address)

    await _every(clock, LOOK_EVERY, once)


async def warn(watched: Watched, waiting: Sequence[Waiting], told: set[str], *, oldest: float, now: float) -> set[str]:
    """Warn of the targets whose oldest message has waited longer than `oldest` seconds, once until they are well.

    `told` are those of whom was warned before; returns the same for the next look.

    Raises:
        StorageError: the warning could not be stored; `told` holds as before.
    """
    stuck = {item.target: item for item in waiting if item.age > oldest}
    news = [item for name, item in stuck.items() if name not in told]
    if news:
        items = warnings(watched, news)
        if items:
            await watched.outbox.put(items)
        for item in news:
            to = [warned.target for warned in items if warned.target in _whom(watched, item.target)]
            log.warning("messages wait too long", target=item.target, count=item.count, oldest=round(item.age), told=to)
    if set(stuck) != told:
        await watched.database.run(lambda c: remember_fact(c, _TOLD, sorted(stuck), now))
    return set(stuck)


def warnings(watched: Watched, stuck: Sequence[Waiting]) -> list[Notification]:
    """One notification for each who is to be told, with a line for each target that is stuck."""
    lines: dict[str, list[str]] = {}
    for item in stuck:
        line = say(
            "delivery.waits",
            watched.language,
            target=item.target,
            n=item.count,
            since=datetime.fromtimestamp(item.since, watched.timezone).strftime("%m-%d %H:%M"),
            time=format_duration(item.age, watched.language),
        )
        for name in _whom(watched, item.target):
            lines.setdefault(name, []).append(line)
    return [
        # Critical: behind the very backlog that it tells of, it would come too late.
        make_notification(
            "wxbridge",
            name,
            [Text("\n".join(its))],
            watched.destinations[name],
            watched.language,
            Priority.CRITICAL,
        )
        for name, its in lines.items()
    ]


def _whom(watched: Watched, stuck: str) -> list[str]:
    """Who is told that a target is stuck: its fallbacks on another channel, else the master; nobody of themselves."""
    target = watched.targets.get(stuck)
    names = [
        name
        for name in (target.fallback if target else ())
        if target and name in watched.targets and watched.targets[name].lane() != target.lane()
    ]
    return names or [name for name in (watched.master,) if name in watched.targets and name != stuck]
