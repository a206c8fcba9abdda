"""What the loops of delivery share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from wxbridge.config.types import TargetSettings
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Body, Channel, ChannelState, NotificationKind, PictureSpec
from wxbridge.core.text.i18n import Language
from wxbridge.delivery.rate_limit import Pacer
from wxbridge.pictures.store import PictureStore

log = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE = 0.2
"""Seconds until an outcome is stored again after the database refused it; doubles up to 5."""

_READINGS = 3
"""So often two clocks are read: between one and the other this process may have to wait for a processor."""

Draw = Callable[[PictureSpec], Awaitable[bytes]]
Tell = Callable[[str, str | None], Awaitable[None]]
"""Queue a line for the person in charge; the second argument is the target that the line is about."""
Publish = Callable[[Path, str], Awaitable[str]]
"""A picture's file and content type → its address. Raises `PictureError`."""
Recompose = Callable[[NotificationKind, Any, str, str], Sequence[Body]]
"""Compose a notification's content (of a kind) for a target, with a note above it; empty where it cannot."""


def cut_off() -> bool:
    """Whether the running task itself was cancelled, and not something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _since_boot() -> float:
    """Seconds since the machine started, with those that it slept; without them where the system cannot tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True)
class Clock:
    """Where the time comes from: wall-clock seconds since the epoch, monotonic ones, and those since the start."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    boot: Callable[[], float] = _since_boot


def both(clock: Clock) -> tuple[float, float]:
    """The wall clock's seconds, and those since the start at the same moment, however busy the machine is."""

    def between() -> tuple[float, float, float]:
        before, wall, after = clock.boot(), clock.wall(), clock.boot()
        return after - before, wall, (before + after) / 2

    _, wall, boot = min((between() for _ in range(_READINGS)), key=itemgetter(0))
    return wall, boot


@dataclass(frozen=True)
class Lane:
    """A channel with its targets and its pace."""

    name: str
    channel: Channel
    targets: Mapping[str, TargetSettings]
    pacer: Pacer

    @property
    def online(self) -> bool:
        """Whether the channel can send now."""
        return self.channel.status.state is ChannelState.ONLINE


@dataclass(frozen=True)
class Shared:
    """What every loop works with."""

    database: Database
    lanes: Sequence[Lane]
    picture_store: PictureStore
    draw: Draw
    tell: Tell
    recompose: Recompose
    language: Language
    metrics: Metrics
    clock: Clock
    wake: Callable[[], None]
    """Have every loop look again."""
    read_again: Callable[[], Awaitable[None]] | None = None
    """Another process has written: read again what is kept in memory."""
    publish: Publish | None = None
    """Put a picture where services can fetch it; None where nothing is configured."""
    been_online: set[str] = field(default_factory=set)
    """The lanes that were seen online, if only for an instant."""

    def lane_of(self, target: str) -> Lane | None:
        """The lane that a target is in; None for a target that is no longer configured."""
        return next((lane for lane in self.lanes if target in lane.targets), None)

    def count(self, target: str, outcome: str) -> None:
        """Count what became of an attempt."""
        self.metrics.messages.labels(target, outcome).inc()

    async def again(self, fn: Callable[[Connection], T]) -> T:
        """Read what an outcome depends on, however long the database refuses."""
        return await self._insist(self.database.read, fn)

    async def store(self, fn: Callable[[Connection], T]) -> T:
        """Store an outcome, however long the database refuses.

        What was sent and is not noted would be sent again at the next start, so this does not give up; the
        target waits meanwhile, which a database that takes nothing means anyway.
        """
        return await self._insist(self.database.run, fn)

    async def _insist(
        self, do: Callable[[Callable[[Connection], T]], Awaitable[T]], fn: Callable[[Connection], T]
    ) -> T:
        pause = FIRST_PAUSE
        while True:
            try:
                return await do(fn)
            except StorageError as error:
                self.metrics.storage_errors.inc()
                log.error("an outcome cannot be stored, trying again", error=str(error), after=pause)  # noqa: TRY400
                await asyncio.sleep(pause)
                pause = min(5.0, pause * 2)
