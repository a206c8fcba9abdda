"""Runs the loops of delivery, and keeps the outbox tidy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

import structlog
from sqlalchemy import Connection

from wxbridge.core.errors import StorageError
from wxbridge.core.model import Message
from wxbridge.delivery import digests, failure_reports, outbox
from wxbridge.delivery.common import Lane, Shared, both
from wxbridge.delivery.failover import Watch
from wxbridge.delivery.outages import Outages
from wxbridge.delivery.rate_limit import DAY
from wxbridge.delivery.render_loop import Painter
from wxbridge.delivery.send_loop import Sender

log = structlog.get_logger()

_LOOK_ELSEWHERE = 0.5
_TICK = 1.0
_KEEP_HOUSE_EVERY = 60
_PRUNE_AT_ONCE = 1000
DRAIN_LIMIT = 60.0
"""Seconds that messages under way may take to settle before another delivery begins; longer than any send takes."""
_WORTH_MENDING = 5.0
"""Seconds. NTP's small corrections are none."""


class Delivery:
    """Takes messages out of the outbox to their channels until cancelled (`run`), or until asked to rest (`drain`)."""

    def __init__(self, shared: Shared, wakers: Sequence[asyncio.Event], *, keep: float = 30 * DAY) -> None:
        self._shared = shared
        self._wakers = wakers
        self._keep = keep
        self._task: asyncio.Task[Any] | None = None
        self._closing = False
        self.senders = [Sender(shared, lane) for lane in shared.lanes]
        self.painter = Painter(shared)
        self.outages = Outages(shared)
        self.fallbacks = Watch(shared)
        self._skew: float | None = None
        """The wall clock's seconds less those since the machine started, when last looked at."""

    async def run(self) -> None:
        """Deliver until cancelled. What is being sent at that moment gets a moment to settle."""
        self._task = asyncio.current_task()
        await self.prepare()
        async with asyncio.TaskGroup() as group:
            for sender, waker in zip(self.senders, self._wakers[1:], strict=True):
                group.create_task(sender.run(waker))
            group.create_task(self.painter.run(self._wakers[0]))
            group.create_task(self._watch_other_processes())
            group.create_task(self._tick())

    async def drain(self, limit: float = DRAIN_LIMIT) -> None:
        """Take nothing more out of the outbox, and return once what is being sent has settled.

        What has not settled after `limit` seconds is repeated, marked, by whoever delivers next. `run` goes on
        without doing anything; cancel it. Pictures that are being drawn are drawn again.
        """
        self._closing = True
        for sender, waker in zip(self.senders, self._wakers[1:], strict=True):
            sender.closing = True
            waker.set()
        try:
            async with asyncio.timeout(limit):
                for sender in self.senders if self._task and not self._task.done() else ():
                    await sender.rested.wait()
                    while sender.under_way:
                        await asyncio.wait(sender.under_way)
        except TimeoutError:
            log.error("messages are still being sent; they will be repeated, marked", after=limit)  # noqa: TRY400

    def go_on_from(self, before: Delivery) -> None:
        """Take over what is remembered of outages and of the clock from the delivery of an earlier configuration."""
        self.outages = Outages(self._shared, before.outages)
        self._skew = before._skew

    async def prepare(self) -> None:
        """Take up what an earlier process left: what it was sending is repeated, its pace goes on."""
        again = await self._shared.store(outbox.recover)
        if again:
            log.warning("messages were being sent when the bridge stopped; repeating them, marked", count=again)
        await self._shared.store(lambda c: outbox.mend_times(c, now=self._shared.clock.wall()))
        for lane in self._shared.lanes:
            await self._remember_pace(lane)

    async def _remember_pace(self, lane: Lane) -> None:
        wall, monotonic = self._shared.clock.wall(), self._shared.clock.monotonic()
        past = await self._shared.store(lambda c: outbox.recent_sends(c, lane.name, since=wall - DAY))
        lane.pacer.remember(past, wall=wall, now=monotonic)

    async def _watch_other_processes(self) -> None:
        while True:
            with suppress(StorageError):
                if await self._shared.database.changed_elsewhere():
                    self._shared.wake()
                    if self._shared.read_again:
                        await self._shared.read_again()
            await asyncio.sleep(_LOOK_ELSEWHERE)

    async def _tick(self) -> None:
        rounds = 0
        while not self._closing:
            await self.look_after(tidy=rounds % _KEEP_HOUSE_EVERY == 0)
            rounds += 1
            await asyncio.sleep(_TICK)

    async def look_after(self, *, tidy: bool = False) -> None:
        """Fail over what waits too long, merge storms, close what has expired; and, to `tidy`, forget what is old.

        Whatever goes wrong with one of them is logged, and holds up none of the others.
        """
        # Read once: by a clock that is set from here on nothing is judged before the stored times are mended.
        wall, boot = both(self._shared.clock)
        await self._carefully(partial(self._watch_clock, wall, boot))
        for lane in self._shared.lanes:
            # An outage is noted before a fallback takes over because of it, so that what it took counts.
            for look in (
                partial(digests.look, self._shared),
                self.outages.look,
                partial(self.fallbacks.look, now=wall),
            ):
                await self._carefully(partial(look, lane))
        await self._carefully(partial(self._expire, wall))
        if tidy:
            await self._carefully(self._forget)

    async def _carefully(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StorageError as error:
            self._shared.metrics.storage_errors.inc()
            log.error("housekeeping failed", error=str(error))  # noqa: TRY400 - a trace says no more
        except Exception:
            log.exception("housekeeping failed in a way it should not")

    async def _watch_clock(self, wall: float, boot: float) -> None:
        """Notice that the wall clock was set, and mend the times that the database holds."""
        # Time that a machine slept through has passed: the clock that counts it does not move against the wall.
        skew = wall - boot
        by = (skew if self._skew is None else self._skew) - skew
        if abs(by) > _WORTH_MENDING:
            since = wall - DAY + min(by, 0.0)

            def mend(connection: Connection) -> None:
                outbox.shift_sends(connection, by=by, since=since)
                outbox.shift_times(connection, by=by, since=since)

            await self._shared.database.run(mend)
            log.warning("the clock was set back" if by > 0 else "the clock was set on", seconds=round(abs(by), 1))
            self._shared.wake()
        self._skew = skew

    async def _expire(self, now: float) -> None:
        if not await self._shared.database.read(lambda c: outbox.any_expired(c, now=now)):
            return

        def expire(connection: Connection) -> list[Message]:
            gone = outbox.expire(connection, now=now)
            for message in gone:
                failure_reports.note_dead(connection, message, message.error or "expired", now=now)
            return gone

        for target, gone in groupby(
            sorted(await self._shared.database.run(expire), key=attrgetter("target")), key=attrgetter("target")
        ):
            ids = [message.id for message in gone]
            self._shared.metrics.messages.labels(target, "expired").inc(len(ids))
            log.error("expired", target=target, messages=ids)
        await failure_reports.tell_now(self._shared)

    async def _forget(self) -> None:
        now = self._shared.clock.wall()
        before, sends_before = now - self._keep, now - 2 * DAY
        count, pictures = _PRUNE_AT_ONCE, 0
        while count == _PRUNE_AT_ONCE:  # in bites, so that alerts are taken in between
            count, files = await self._shared.database.run(
                lambda c: outbox.prune(c, before=before, sends_before=sends_before, limit=_PRUNE_AT_ONCE)
            )
            pictures += len(files)
            self._shared.picture_store.delete(files)
        known = await self._shared.database.read(outbox.picture_files)
        gone = await asyncio.to_thread(self._shared.picture_store.sweep, known, older_than=now - DAY)
        if pictures or gone:
            log.info("old messages forgotten", pictures=pictures + gone)
