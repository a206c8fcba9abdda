"""What the loops of delivery work with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

import structlog

from wxbridge.config.types import TargetSettings
from wxbridge.core.clock import SystemClock
from wxbridge.core.errors import StorageError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import (
    AccountChannel,
    Body,
    Capabilities,
    Channel,
    ChannelState,
    NotificationKind,
    PictureDrawer,
)
from wxbridge.core.text.i18n import Language
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.rate_limit import Pacer
from wxbridge.delivery.troubles import TargetTroubles
from wxbridge.pictures.store import PictureStore

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

FIRST_STORAGE_PAUSE_SECONDS = 0.2
"""Until an outcome is stored again after the database refused it; doubles."""
MAX_STORAGE_PAUSE_SECONDS = 5.0


class OperatorSink(Protocol):
    """Where the person in charge is told."""

    @property
    def names(self) -> Sequence[str]:
        """The targets of those in charge."""

    async def tell(self, line: str, about: str | None = None) -> None:
        """Queue a line; `about` is the target that the line is about. Raises `StorageError`."""


class NotificationComposer(Protocol):
    """What puts stored notifications into words again."""

    def recompose(self, kind: NotificationKind, content: Any, target: str, note: str) -> Sequence[Body]:
        """Compose a notification's content for a target, with a note above it; empty where it cannot."""


class PicturePublisher(Protocol):
    """What puts pictures where services can fetch them."""

    async def address(self, path: Path, content_type: str) -> str:
        """Publish a picture's file and return its address. Raises `PictureError`."""


def is_cancelled() -> bool:
    """Tell whether the running task itself was cancelled, and not something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@dataclass(frozen=True)
class Lane:
    """A channel with its targets and its pace."""

    name: str
    channel: Channel
    targets: Mapping[str, TargetSettings]
    pacer: Pacer

    @cached_property
    def _accounts(self) -> AccountChannel | None:
        return self.channel if isinstance(self.channel, AccountChannel) else None

    @property
    def is_online(self) -> bool:
        """Whether the channel can send now."""
        return self.channel.status.state is ChannelState.ONLINE

    def is_up(self, target: str) -> bool:
        """Tell whether the channel can send to a target now: one of its accounts may be away alone."""
        if self._accounts is not None:
            return self._accounts.status_of(self.targets[target]).state is ChannelState.ONLINE
        return self.is_online

    @cached_property
    def chats(self) -> Mapping[str, str]:
        """Which chat each target leads to (`TargetSettings.chat_key`); several may lead to one."""
        return {name: target.chat_key() for name, target in self.targets.items()}

    @cached_property
    def capabilities(self) -> Mapping[str, Capabilities]:
        """What can be carried to each target, which may be less than the channel can."""
        return {name: target.capabilities(self.channel.capabilities) for name, target in self.targets.items()}


@dataclass(frozen=True)
class OutcomeInDoubt:
    """A message that may have been sent, how often it got no clear answer, and when it is repeated."""

    message_id: int
    count: int
    due: float
    """Monotonic seconds."""


@dataclass(frozen=True)
class DeliveryContext:
    """What every loop works with."""

    outbox: Outbox
    lanes: Sequence[Lane]
    picture_store: PictureStore
    drawer: PictureDrawer
    operators: OperatorSink
    composer: NotificationComposer
    language: Language
    metrics: Metrics
    clock: SystemClock
    read_again: Callable[[], Awaitable[None]] | None = None
    """Another process has written: read again what is kept in memory."""
    shift_alerts: Callable[[float], Awaitable[None]] | None = None
    """The clock was set back by so many seconds: alerts keep their age. Raises `StorageError`."""
    publisher: PicturePublisher | None = None
    """None where nothing is configured."""
    may_send: Callable[[], bool] = lambda: True
    """Whether no other bridge may have begun to send in this one's place."""
    been_online: set[str] = field(default_factory=set)
    """The lanes that were seen online, if only for an instant."""

    doubts: dict[str, OutcomeInDoubt] = field(default_factory=dict)
    """What may have been sent and is to be repeated, by target: the others wait until it is settled."""

    @cached_property
    def troubles(self) -> TargetTroubles:
        """Since when each target cannot be reached."""
        return TargetTroubles(self.outbox, self.clock)

    def lane_of(self, target: str) -> Lane | None:
        """The lane that a target is in; None for a target that is no longer configured."""
        return next((lane for lane in self.lanes if target in lane.targets), None)

    def count(self, target: str, outcome: str) -> None:
        """Count what became of an attempt."""
        self.metrics.messages.labels(target, outcome).inc()

    async def insist(self, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something with the outbox that an outcome depends on, however long the database refuses.

        What was sent and is not recorded would be sent again at the next start, so this does not give up; the target
        waits meanwhile, which a database that takes nothing means anyway.
        """
        pause = FIRST_STORAGE_PAUSE_SECONDS
        while True:
            try:
                return await work(*args, **kwargs)
            except StorageError as error:
                self.metrics.storage_errors.inc()
                log.error("an outcome cannot be stored, trying again", error=str(error), after=pause)  # noqa: TRY400
                await asyncio.sleep(pause)
                pause = min(MAX_STORAGE_PAUSE_SECONDS, pause * 2)
