"""Watches the bridge itself, and reports three ways, because each survives what another does not.

systemd restarts a bridge that hangs, a dead man's switch tells of a host that is gone, and a warning about messages
that wait too long goes to the people who would have read them, by another channel.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import aiohttp
import structlog
from yarl import URL

from wxbridge.config.types import WatchSettings
from wxbridge.core.addresses import parse_address
from wxbridge.core.clock import SystemClock
from wxbridge.core.errors import StorageError, explain_cause
from wxbridge.core.model import ChannelStatus
from wxbridge.core.systemd import notify_systemd, watchdog_seconds
from wxbridge.delivery.backlog import BacklogWarner, WaitingTarget, read_waiting
from wxbridge.delivery.health import ChannelStatuses, Trouble

log = structlog.get_logger()

BACKLOG_CHECK_SECONDS = 15.0
"""Between two looks at what waits."""
HEARTBEAT_LIMIT_SECONDS = 10.0
"""In which the dead man's switch must answer."""


class TroubleFinder(Protocol):
    """What knows whether the bridge itself is well."""

    async def find_trouble(self) -> Trouble | None:
        """Find what is wrong; None where all is well. An offline channel is nothing wrong."""

    def count_storage_error(self) -> None:
        """Count an access to the database that failed."""


class Watchdog:
    """Reports how the bridge is to systemd, to the dead man's switch and to people.

    Args:
        health: Whether the bridge itself is well.
        channels: The states of the channels, for systemd's status line.
        backlog: Warns people of what waits.
        settings: The section `watch:`.
        clock: Where the time comes from.
        environment: Has systemd's variables.
        may_warn: Whether this bridge is the one that warns people.
    """

    def __init__(
        self,
        health: TroubleFinder,
        channels: ChannelStatuses,
        backlog: BacklogWarner,
        settings: WatchSettings,
        clock: SystemClock | None = None,
        environment: Mapping[str, str] = os.environ,
        may_warn: Callable[[], bool] = lambda: True,
    ) -> None:
        self._may_warn = may_warn
        self._health, self._channels, self._backlog = health, channels, backlog
        self._settings = settings
        self._clock = clock or SystemClock()
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._limit = watchdog_seconds(environment) if self._address else None
        self._shown = ""

    async def run(self) -> None:
        """Watch until cancelled."""
        # Each on its own, so that a switch or a database that does not answer keeps nobody else waiting.
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(BACKLOG_CHECK_SECONDS, self._check_backlog))
            if self._limit:
                group.create_task(self._feed_systemd(self._limit / 2))
            if self._settings.heartbeat:
                group.create_task(self._send_heartbeats(self._settings.heartbeat.get_secret_value()))

    async def _repeat(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Do something now and every so often, counted from start to start."""
        while True:
            started = self._clock.monotonic()
            await work()
            await self._clock.sleep(max(0.0, started + seconds - self._clock.monotonic()))

    async def _feed_systemd(self, seconds: float) -> None:
        """Notify systemd every so often that all is well, or that a restart would not help: silence brings one."""
        trouble = _LoggedTrouble("not well: systemd will restart the bridge", "well again")

        async def feed() -> None:
            try:
                async with asyncio.timeout(seconds):
                    found = await self._health.find_trouble()
            except TimeoutError:
                found = Trouble("cannot even tell")
            bad = found if found and found.restart_helps else None
            trouble.note(bad.text if bad else None)
            if bad is None:
                notify_systemd("WATCHDOG=1", self._address)

        await self._repeat(seconds, feed)

    async def _send_heartbeats(self, url: str) -> None:
        """Fetch the address of the dead man's switch while the bridge is well."""
        trouble = _LoggedTrouble("no heartbeat is sent", "the heartbeat is back", host=URL(url).host)

        async def beat() -> None:
            found = await self._health.find_trouble()
            trouble.note(f"not well: {found.text}" if found else await ping(url))

        await self._repeat(self._settings.every, beat)

    async def _check_backlog(self) -> None:
        """Warn of what waits too long, and keep systemd's status line true."""
        waiting = None
        try:
            waiting = await read_waiting(self._backlog.outbox, self._clock.wall())
            if self._may_warn():
                await self._backlog.warn(waiting, self._clock.wall())
        except StorageError as error:
            self._health.count_storage_error()
            log.error("cannot look after what waits", error=str(error))  # noqa: TRY400 - a trace says no more
        line = status_line(self._channels.statuses(), waiting)
        if line != self._shown:
            self._shown = line
            notify_systemd(f"STATUS={line}", self._address)


class _LoggedTrouble:
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


def status_line(channels: Mapping[str, ChannelStatus], waiting: Sequence[WaitingTarget] | None) -> str:
    """Describe channels and backlog (None where it cannot be read) in a line for `systemctl status`."""
    states = [f"{name} {status.state.value.replace('_', ' ')}" for name, status in channels.items()]
    if waiting is None:
        backlog = "the database does not answer"
    elif waiting:
        # No age of the moment in it: the line is sent when it changes.
        backlog = ", ".join(f"{item.count} waiting for {item.target}" for item in waiting)
    else:
        backlog = "nothing waits"
    return " ".join("; ".join((", ".join(states) or "no channels", backlog)).split())


async def ping(url: str) -> str | None:
    """Fetch an address; return what went wrong in words that hold nothing of the address, None where nothing did.

    Anything below 400 within `HEARTBEAT_LIMIT_SECONDS` counts as heard; the body is not read.
    """
    try:
        address = parse_address(url)
        timeout = aiohttp.ClientTimeout(total=HEARTBEAT_LIMIT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(address) as response:
            return None if response.ok else f"it answered {response.status}"
    except TimeoutError:
        return f"no answer within {HEARTBEAT_LIMIT_SECONDS:g} seconds"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # Never the error's own text: several of aiohttp's hold the address, and so its secret.
        return explain_cause(error)
