"""What the channels share that keep a connection: the state they tell of, the pauses between tries, ids seen before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import structlog

from wxbridge.core.model import ChannelState, ChannelStatus, OnStatus
from wxbridge.core.recent import RecentDict

log = structlog.get_logger()

_TROUBLE = (ChannelState.LOGGED_OUT, ChannelState.UNAUTHORISED, ChannelState.TAKEN_OVER, ChannelState.UNREACHABLE)
_STANDING = (ChannelState.CONNECTING, ChannelState.UNREACHABLE, ChannelState.UNAUTHORISED, ChannelState.TAKEN_OVER)
"""States that a further attempt does not change until it succeeds: no flicker, no spam."""
MAX_SEEN_IDS = 5000


class HeardMessage(Protocol):
    """A message that somebody wrote, as a service tells of it."""

    @property
    def id(self) -> str:
        """What the service calls it."""


Heard = TypeVar("Heard", bound=HeardMessage)


def moment_of(seconds: float) -> datetime:
    """Give the moment of so many seconds since the epoch, as a service tells them; now where it can be none."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else datetime.now(UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.now(UTC)


class StatusTracker:
    """Keeps a channel's state: each change is one line of the log, and is told to whoever listens.

    `name` begins the events of the log; `fields` go into every line.
    """

    def __init__(self, name: str, **fields: str) -> None:
        self.current = ChannelStatus(ChannelState.STARTING, datetime.now(UTC))
        self.listener: OnStatus = lambda _: None
        self._name, self._fields = name, fields

    def set(self, state: ChannelState, *, detail: str = "", account: str = "", qrcode: str | None = None) -> None:
        """Take up a state; nothing happens where all of it is the present one."""
        now = ChannelStatus(state, self.current.since, detail, account, qrcode)
        if now == self.current:
            return
        if state is not self.current.state:
            now = replace(now, since=datetime.now(UTC))
        self.current = now
        write = log.warning if state in _TROUBLE else log.info
        known = {key: value for key, value in (("detail", detail), ("account", account)) if value}
        write(f"{self._name} state", **self._fields, state=state.value, **known)
        try:
            self.listener(now)
        except Exception:
            log.exception("status listener failed", of=self._name, **self._fields)

    def set_connecting(self, detail: str) -> None:
        """Take up `CONNECTING`, unless the present state is one that a further attempt does not change."""
        if self.current.state not in _STANDING:
            self.set(ChannelState.CONNECTING, detail=detail)

    @property
    def is_online(self) -> bool:
        """Whether messages can be sent."""
        return self.current.state is ChannelState.ONLINE

    def describe(self) -> str:
        """Write the state and its detail, as an error says why nothing can be sent."""
        state = self.current.state.value.replace("_", " ")
        return f"{state}: {self.current.detail}" if self.current.detail else state


@dataclass
class Backoff:
    """The pauses between tries, in seconds: each is twice as long as the one before, and jittered."""

    first: float
    most: float
    failures: int = 0
    """How many tries have failed since the last success."""

    def next_pause(self) -> float:
        """Count a failure, and give the pause that follows it."""
        pause = min(self.first * 2.0 ** min(self.failures, 30), self.most)
        self.failures += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    def reset(self) -> None:
        """Note a success."""
        self.failures = 0


class SeenIds:
    """Remembers the last ids, so that what arrives twice is dropped."""

    def __init__(self) -> None:
        self._ids = RecentDict[str, None](MAX_SEEN_IDS)

    def __contains__(self, message_id: str) -> bool:
        """Tell whether an id is remembered."""
        return message_id in self._ids

    def add(self, message_id: str) -> bool:
        """Remember an id; False where it was known."""
        if message_id in self._ids:
            return False
        self._ids[message_id] = None
        return True

    def discard(self, message_id: str) -> None:
        """Forget an id: it may come again."""
        self._ids.pop(message_id, None)


async def finish(closing: Coroutine[Any, Any, None], name: str) -> None:
    """Await a clean-up that a cancellation must not cut short; it takes a second or two at the very most.

    `name` is what the log says was not closed where it fails.
    """
    task = asyncio.create_task(closing)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.warning("not closed", of=name, error=repr(failure))
    if cancelled is not None:
        raise cancelled


class BackgroundTasks:
    """Tasks that end together; one that fails is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run something until it ends, or all are."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def close(self, seconds: float = 1.0) -> None:
        """End all of them; those that take longer than `seconds` are left behind."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task failed", task=task.get_name(), error=repr(error), exc_info=error)


async def stay_connected(
    connect: Callable[[], Awaitable[float]],
    hear: Coroutine[Any, Any, None],
    status: StatusTracker,
    *,
    name: str,
    close: float,
) -> None:
    """Connect again and again until cancelled, each time after the pause that `connect` gave in the end.

    Meanwhile `hear` handles what comes in, as a task called `name`; it gets `close` seconds to end.
    """
    hearing = asyncio.create_task(hear, name=name)
    try:
        while True:
            pause = await connect()
            await asyncio.sleep(pause)
    finally:
        hearing.cancel()
        await asyncio.wait({hearing}, timeout=close)
        status.set(ChannelState.STOPPED)


async def handle_each(inbox: asyncio.Queue[Heard], handle: Callable[[Heard], Awaitable[None]]) -> None:
    """Handle one message after the other until cancelled; what fails is logged."""
    while True:
        heard = await inbox.get()
        try:
            await handle(heard)
        except Exception:
            log.exception("message not handled", id=heard.id)
