"""The loops that empty the outbox: one per channel for sending, one for drawing, one for housekeeping.

A channel's error says whether a retry can help; here it is performed. Nothing but this module sends.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Connection

from wxbridge import compose, outbox
from wxbridge.database import Database
from wxbridge.errors import (
    BadAddress,
    Offline,
    Permanent,
    PictureError,
    SendError,
    StorageError,
    Throttled,
    Unknown,
)
from wxbridge.model import (
    Channel,
    ChannelState,
    Message,
    MessageState,
    Outgoing,
    Picture,
    PictureFile,
    PictureSpec,
    Text,
)
from wxbridge.pace import DAY, Pacer
from wxbridge.settings import TargetSettings

log = structlog.get_logger()

TRIES = 8
"""How many attempts a passing fault gets before a message is given up."""
AT_ONCE = 16
"""How many messages of one channel are under way at the same time, each to another target."""
DRAWING_AT_ONCE = 2
ADDRESS_RETRY = 30.0
"""Seconds between looks for a room or contact that could not be found."""
_LOOK_ELSEWHERE = 0.5
_HOUSEKEEPING = 30.0

Draw = Callable[[PictureSpec], Awaitable[bytes]]
Tell = Callable[[str, str | None], Awaitable[None]]
"""Queue a line for the person in charge; the second argument is the target that the line is about."""


@dataclass(frozen=True)
class Clock:
    """Where the time comes from: wall-clock seconds since the epoch, and monotonic ones."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Lane:
    """A channel with its targets and its pace."""

    name: str
    channel: Channel
    targets: Mapping[str, TargetSettings]
    pacer: Pacer


@dataclass
class Counters:
    """What happened since the start, for the metrics: per target and outcome."""

    outcomes: dict[tuple[str, str], int]

    def add(self, target: str, outcome: str) -> None:
        """Count one."""
        self.outcomes[target, outcome] = self.outcomes.get((target, outcome), 0) + 1


class Delivery:
    """Takes messages out of the outbox to their channels until cancelled (`run`)."""

    def __init__(
        self,
        database: Database,
        lanes: list[Lane],
        *,
        pictures_dir: Path,
        draw: Draw,
        tell: Tell,
        language: compose.Language,
        keep: float = 30 * DAY,
        clock: Clock | None = None,
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._pictures_dir = pictures_dir
        self._draw = draw
        self._tell = tell
        self._language = language
        self._keep = keep
        self._clock = clock or Clock()
        self._busy: set[str] = set()
        self._drawing: set[int] = set()
        self._wakers = [asyncio.Event() for _ in range(len(lanes) + 1)]
        self.counters = Counters({})

    def wake(self) -> None:
        """Have every loop look again: something was queued, or a channel changed its state."""
        for waker in self._wakers:
            waker.set()

    async def run(self) -> None:
        """Deliver until cancelled. What is being sent at that moment gets two seconds to settle."""
        again = await self._database.run(outbox.recover)
        if again:
            log.warning("messages were being sent when the bridge stopped; repeating them", count=again)
        for lane in self._lanes:
            await self._remember(lane)
        async with asyncio.TaskGroup() as group:
            for lane, waker in zip(self._lanes, self._wakers[1:], strict=True):
                group.create_task(self._empty(lane, waker))
            group.create_task(self._draw_pictures(self._wakers[0]))
            group.create_task(self._watch_other_processes())
            group.create_task(self._keep_house())

    async def _remember(self, lane: Lane) -> None:
        wall = self._clock.wall()
        past = await self._database.read(lambda c: outbox.recent_sends(c, lane.name, since=wall - DAY))
        lane.pacer.remember(past, wall=wall, now=self._clock.monotonic())

    # ------------------------------------------------------------ sending

    async def _empty(self, lane: Lane, waker: asyncio.Event) -> None:
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                waker.clear()
                try:
                    wait = await self._send_what_may_go(lane, under_way)
                except StorageError as error:
                    log.error("cannot read the outbox", error=str(error))  # noqa: TRY400 - a trace says no more
                    wait = 1.0
                with suppress(TimeoutError):
                    await asyncio.wait_for(waker.wait(), wait)
        finally:
            if under_way:
                # A send that is cut off here would be repeated at the next start, so let it finish.
                await asyncio.wait(under_way, timeout=2)
                for task in under_way:
                    task.cancel()

    async def _send_what_may_go(self, lane: Lane, under_way: set[asyncio.Task[None]]) -> float | None:
        """Start sending what may go now; returns the seconds after which to look again, None for when woken."""
        if lane.channel.status.state is not ChannelState.ONLINE:
            return None
        now = self._clock.monotonic()
        waits = {
            name: lane.pacer.wait(target.chat_key(), now)
            for name, target in lane.targets.items()
            if name not in self._busy
        }
        ready = [name for name, wait in waits.items() if not wait]
        later = min((wait for wait in waits.values() if wait), default=None)
        room = AT_ONCE - len(under_way)
        budget = lane.pacer.budget(now)
        limit = room if budget is None else min(room, budget)
        if not ready or limit <= 0:
            return later
        wall = self._clock.wall()
        batch, due = await self._database.run(lambda c: self._claim(c, lane, ready, wall, limit))
        for message in batch:
            lane.pacer.note(lane.targets[message.target].chat_key(), now)
            self._busy.add(message.target)
            task = asyncio.create_task(self._send(lane, message), name=f"send {message.id}")
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        if batch:
            return 0.0
        waiting = [wait for wait in (later, None if due is None else due - wall) if wait is not None]
        return max(0.01, min(waiting)) if waiting else None

    @staticmethod
    def _claim(
        connection: Connection,
        lane: Lane,
        ready: list[str],
        wall: float,
        limit: int,
    ) -> tuple[list[Message], float | None]:
        batch = outbox.claim(connection, ready, now=wall, limit=limit)
        chats = [lane.targets[message.target].chat_key() for message in batch]
        outbox.note_send(connection, lane.name, chats, now=wall)
        return batch, None if batch else outbox.next_due(connection, ready, now=wall)

    async def _send(self, lane: Lane, message: Message) -> None:
        """One attempt, and what follows from its outcome. The target stays busy until that is stored."""
        try:
            await self._attempt(lane, message)
        except StorageError as error:
            # The row stays in `sending`: the next start repeats it, marked. A false "sent" would be worse.
            log.error("the outcome could not be stored", message=message.id, error=str(error))  # noqa: TRY400
        finally:
            self._busy.discard(message.target)
            self.wake()

    async def _attempt(self, lane: Lane, message: Message) -> None:
        target = lane.targets[message.target]
        now = self._clock.wall
        try:
            body, mentions = self._outgoing(message)
            receipt = await lane.channel.send(target.address(), body, mentions)
        except Offline as error:
            await self._back(message, error, wait=1.0, spent=False)
        except BadAddress as error:
            await self._back(message, error, wait=ADDRESS_RETRY, spent=False)
        except Throttled as error:
            await self._back(message, error, wait=error.retry_after, spent=False)
        except Unknown as error:
            await self._unknown(message, error)
        except Permanent as error:
            await self._dead(message, error)
        except SendError as error:
            if message.tries >= TRIES:
                await self._dead(message, error)
            else:
                await self._back(message, error, wait=backoff(message.tries))
        except Exception as error:  # a bug in a channel must not stop the others
            log.exception("a channel failed in a way it should not", channel=lane.name, message=message.id)
            await self._unknown(message, Unknown(f"{type(error).__name__}: {error}"))
        else:
            await self._database.run(
                lambda c: outbox.settle(c, message.id, MessageState.SENT, now=now(), receipt=receipt.id),
            )
            self.counters.add(message.target, "sent")
            log.info("sent", message=message.id, target=message.target, tries=message.tries, receipt=receipt.id)

    def _outgoing(self, message: Message) -> tuple[Outgoing, tuple[str, ...]]:
        body = message.body
        if isinstance(body, Text):
            mark = compose.say("repeat", self._language) if message.maybe_sent else ""
            return Text(mark + body.text, body.mentions), body.mentions
        path = self._pictures_dir / str(body.file)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise Permanent(f"the picture file {path.name} is gone: {error.strerror}") from None
        return PictureFile(str(path), body.name, outbox.content_type(path.name), size), ()

    async def _back(self, message: Message, error: SendError, *, wait: float, spent: bool = True) -> None:
        at = self._clock.wall() + min(wait, outbox.LONGEST_WAIT)
        await self._database.run(
            lambda c: outbox.put_back(c, message.id, at=at, error=str(error), code=error.code, spent=spent),
        )
        self.counters.add(message.target, "retried" if spent else "waited")
        log.warning(
            "not sent, will try again",
            message=message.id, target=message.target, after=round(wait, 1), error=str(error), code=error.code,
        )  # fmt: skip

    async def _unknown(self, message: Message, error: SendError) -> None:
        """No answer: repeat once, marked; a second silence is final, and is not called sent."""
        self.counters.add(message.target, "unknown")
        now = self._clock.wall()
        if not message.maybe_sent:
            await self._database.run(
                lambda c: outbox.put_back(
                    c,
                    message.id,
                    at=now + backoff(1),
                    error=str(error),
                    code=error.code,
                    maybe_sent=True,
                ),
            )
            log.warning("no answer, repeating once", message=message.id, target=message.target, error=str(error))
            return
        await self._database.run(
            lambda c: outbox.settle(
                c,
                message.id,
                MessageState.UNKNOWN,
                now=now,
                error=str(error),
                code=error.code,
            ),
        )
        log.error("no answer twice, given up", message=message.id, target=message.target, error=str(error))
        await self._tell_dead(message, str(error))

    async def _dead(self, message: Message, error: SendError) -> None:
        now = self._clock.wall()
        await self._database.run(
            lambda c: outbox.settle(c, message.id, MessageState.DEAD, now=now, error=str(error), code=error.code),
        )
        self.counters.add(message.target, "dead")
        log.error(
            "given up", message=message.id, target=message.target, tries=message.tries, error=str(error),
            code=error.code,
        )  # fmt: skip
        await self._tell_dead(message, str(error))

    async def _tell_dead(self, message: Message, reason: str) -> None:
        line = compose.say("dead", self._language, id=message.id, target=message.target, error=reason)
        await self._tell(line, message.target)

    # ------------------------------------------------------------ drawing

    async def _draw_pictures(self, waker: asyncio.Event) -> None:
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                waker.clear()
                room = DRAWING_AT_ONCE - len(tasks)
                if room > 0:
                    for message in await self._pictures_to_draw(room):
                        self._drawing.add(message.id)
                        task = asyncio.create_task(self._draw_one(message), name=f"draw {message.id}")
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                await waker.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pictures_to_draw(self, room: int) -> list[Message]:
        try:
            return await self._database.read(lambda c: outbox.to_draw(c, skip=self._drawing, limit=room))
        except StorageError as error:
            log.error("cannot read the outbox", error=str(error))  # noqa: TRY400 - a trace says no more
            return []

    async def _draw_one(self, message: Message) -> None:
        spec = message.body.spec if isinstance(message.body, Picture) else None
        try:
            file = await self._drawn_file(spec)
            await self._database.run(lambda c: outbox.drawn(c, message.id, file))
        except PictureError as error:
            line = compose.picture_missing(spec, str(error), self._language)
            log.warning("a picture could not be made", message=message.id, target=message.target, error=str(error))
            with suppress(StorageError):
                await self._database.run(lambda c: outbox.draw_as_text(c, message.id, line))
        except StorageError as error:
            log.error("a picture could not be stored", message=message.id, error=str(error))  # noqa: TRY400
        finally:
            self._drawing.discard(message.id)
            self.wake()

    async def _drawn_file(self, spec: PictureSpec | None) -> str:
        if spec is None:
            raise PictureError("nobody said what to draw")
        try:
            content = await self._draw(spec)
            return await asyncio.to_thread(outbox.save_picture, self._pictures_dir, content, outbox.suffix_of(content))
        except PictureError:
            raise
        except Exception as error:
            log.exception("drawing failed in a way it should not", kind=spec.kind)
            raise PictureError(f"{type(error).__name__}: {error}") from error

    # ------------------------------------------------------------ housekeeping

    async def _watch_other_processes(self) -> None:
        while True:
            with suppress(StorageError):
                if await self._database.changed_elsewhere():
                    self.wake()
            await asyncio.sleep(_LOOK_ELSEWHERE)

    async def _keep_house(self) -> None:
        while True:
            try:
                await self.keep_house()
            except StorageError as error:
                log.error("housekeeping failed", error=str(error))  # noqa: TRY400 - a trace says no more
            await asyncio.sleep(_HOUSEKEEPING)

    async def keep_house(self) -> None:
        """Close what has expired, and forget what is older than `keep`."""
        now = self._clock.wall()
        for message in await self._database.run(lambda c: outbox.expire(c, now=now)):
            self.counters.add(message.target, "expired")
            log.error("expired", message=message.id, target=message.target, error=message.error)
            await self._tell_dead(message, message.error or "expired")
        files = await self._database.run(
            lambda c: outbox.prune(c, before=now - self._keep, sends_before=now - 2 * DAY),
        )
        for file in files:
            (self._pictures_dir / file).unlink(missing_ok=True)


def backoff(tries: int) -> float:
    """Seconds before the next attempt: 1, 2, 4 … at most 120, with jitter so that targets do not march in step."""
    return min(120.0, 2.0 ** (tries - 1)) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
