"""Runs the loops of delivery, and keeps the outbox tidy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

import structlog

from wxbridge.core.clock import MIN_CLOCK_SHIFT_SECONDS, read_both
from wxbridge.core.errors import StorageError
from wxbridge.core.model import MessageState
from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_duration
from wxbridge.delivery import digests, failover, failure_reports
from wxbridge.delivery.context import DeliveryContext, Lane, OutcomeInDoubt
from wxbridge.delivery.failover import FailoverWatch
from wxbridge.delivery.outages import OutageWatch
from wxbridge.delivery.rate_limit import DAY_SECONDS
from wxbridge.delivery.render_loop import RenderLoop
from wxbridge.delivery.send_loop import UNKNOWN_PAUSES_SECONDS, SendLoop

log = structlog.get_logger()

FOREIGN_CHANGES_EVERY_SECONDS = 0.5
TICK_SECONDS = 1.0
TICKS_PER_TIDYING = 60
CLOCK_TOLD_EVERY_SECONDS = 3600.0
DRAIN_TIMEOUT_SECONDS = 60.0
"""What messages under way may take to settle before another delivery begins; longer than any send takes."""


class Delivery:
    """Takes messages out of the outbox to their channels until cancelled (`run`), or until asked to rest (`drain`)."""

    def __init__(self, context: DeliveryContext, *, keep: float = 30 * DAY_SECONDS) -> None:
        """Make the loops; `keep` is how many seconds settled messages are kept."""
        self._context = context
        self._keep = keep
        self._task: asyncio.Task[Any] | None = None
        self._closing = False
        self.send_loops = [SendLoop(context, lane) for lane in context.lanes]
        self.render_loop = RenderLoop(context)
        self.outages = OutageWatch(context)
        self.fallbacks = FailoverWatch(context)
        self._skew: float | None = None
        self._clock_told: float | None = None
        """The wall clock's seconds less those since the machine started, when last looked at."""

    async def run(self) -> None:
        """Deliver until cancelled. What is being sent at that moment gets a moment to settle."""
        self._task = asyncio.current_task()
        await self.prepare()
        self.connect()
        async with asyncio.TaskGroup() as group:
            for loop in self.send_loops:
                group.create_task(loop.run())
            group.create_task(self.render_loop.run())
            group.create_task(self._watch_other_processes())
            group.create_task(self._tick())

    def connect(self) -> None:
        """Have the outbox tell the loops what is put in."""
        stir = [loop.stir for loop in self.send_loops]
        self._context.outbox.connect(render_waker=self.render_loop.waker, stir=stir)

    async def drain(self, limit: float = DRAIN_TIMEOUT_SECONDS) -> None:
        """Take nothing more out of the outbox, and return once what is being sent has settled.

        What has not settled after `limit` seconds is repeated, marked, by whoever delivers next. `run` goes on
        without doing anything; cancel it. Pictures that are being drawn are drawn again.
        """
        self._closing = True
        for loop in self.send_loops:
            loop.close()
        try:
            async with asyncio.timeout(limit):
                for loop in self.send_loops if self._task and not self._task.done() else ():
                    await loop.rested.wait()
                    while loop.under_way:
                        await asyncio.wait(loop.under_way)
        except TimeoutError:
            log.error("messages are still being sent; they will be repeated, marked", after=limit)  # noqa: TRY400

    def go_on_from(self, before: Delivery) -> None:
        """Take over what is remembered of outages and of the clock from the delivery of an earlier configuration."""
        self.outages = OutageWatch(self._context, before.outages)
        self._context.troubles.go_on_from(before._context.troubles)
        self._skew = before._skew
        self._clock_told = before._clock_told

    async def hand_over_orphans(self) -> None:
        """Have the operators get alerts of targets that are not configured any more. Raises `StorageError`."""
        await failover.hand_over_orphans(self._context)

    async def prepare(self) -> None:
        """Take up what an earlier delivery left: what it was sending is repeated, doubts and its pace go on."""
        context = self._context
        interrupted = await context.insist(context.outbox.recover, now=context.clock.wall())
        if interrupted:
            log.warning("messages were being sent when the bridge stopped; repeating them, marked", count=interrupted)
        for message in await context.insist(context.outbox.list_in_doubt):
            wait = min(max(0.0, message.next_try_at - context.clock.wall()), UNKNOWN_PAUSES_SECONDS[-1])
            doubt = OutcomeInDoubt(message.id, max(1, message.tries), context.clock.monotonic() + wait)
            context.doubts.setdefault(message.target, doubt)
        for lane in self._context.lanes:
            await self._remember_pace(lane)

    async def _remember_pace(self, lane: Lane) -> None:
        wall, monotonic = self._context.clock.wall(), self._context.clock.monotonic()
        past = await self._context.insist(self._context.outbox.list_attempts, lane.name, since=wall - DAY_SECONDS)
        lane.pacer.remember(past, wall=wall, now=monotonic)

    async def _watch_other_processes(self) -> None:
        while True:
            with suppress(StorageError):
                if await self._context.outbox.is_changed_elsewhere():
                    self._context.outbox.wake()
                    if self._context.read_again:
                        await self._context.read_again()
            await asyncio.sleep(FOREIGN_CHANGES_EVERY_SECONDS)

    async def _tick(self) -> None:
        rounds = 0
        while not self._closing:
            for loop in self.send_loops:
                loop.look_at_states()
            await self.look_after(tidy=rounds % TICKS_PER_TIDYING == 0)
            rounds += 1
            await asyncio.sleep(TICK_SECONDS)

    async def look_after(self, *, tidy: bool = False) -> None:
        """Fail over what waits too long, merge storms, close what has expired; and, to `tidy`, forget what is old.

        Whatever goes wrong with one of them is logged, and holds up none of the others.
        """
        # Read once: by a clock that is set from here on nothing is judged before the stored times are mended.
        wall, boot = read_both(self._context.clock)
        await self._carefully(partial(self._watch_clock, wall, boot))
        for lane in self._context.lanes:
            # An outage is noted before a fallback takes over because of it, so that what it took counts.
            for look in (
                partial(digests.merge_storms, self._context),
                self.outages.look,
                self.fallbacks.note_troubles,
                partial(self.fallbacks.look, now=wall),
            ):
                await self._carefully(partial(look, lane))
        await self._carefully(partial(self._expire, wall))
        if tidy:
            await self._carefully(self.hand_over_orphans)
            await self._carefully(self._prune)

    async def _carefully(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StorageError as error:
            self._context.metrics.storage_errors.inc()
            log.error("housekeeping failed", error=str(error))  # noqa: TRY400 - a trace says no more
        except Exception:
            log.exception("housekeeping failed in a way it should not")

    async def _watch_clock(self, wall: float, boot: float) -> None:
        """Notice that the wall clock was set, and mend the times that the database holds."""
        # Time that a machine slept through has passed: the clock that counts it does not move against the wall.
        skew = wall - boot
        by = (skew if self._skew is None else self._skew) - skew
        if abs(by) > MIN_CLOCK_SHIFT_SECONDS:
            await self._context.outbox.shift_times(by=by, since=wall - DAY_SECONDS + min(by, 0.0))
            if self._context.shift_alerts:
                await self._context.shift_alerts(by)
            log.warning("the clock was set back" if by > 0 else "the clock was set on", seconds=round(abs(by), 1))
            self._context.outbox.wake()
            if self._clock_told is None or boot - self._clock_told >= CLOCK_TOLD_EVERY_SECONDS:
                self._clock_told = boot
                await self._tell_clock_set(by)
        self._skew = skew

    async def _tell_clock_set(self, by: float) -> None:
        language = self._context.language
        time = format_duration(abs(by), language)
        line = say("delivery.clock_set_back" if by > 0 else "delivery.clock_set_on", language, time=time)
        await self._context.operators.tell(line)

    async def _expire(self, now: float) -> None:
        await self.fallbacks.hand_over_unknown(now=now)
        expired = await self._context.outbox.expire(now=now)
        for target, some in groupby(sorted(expired, key=attrgetter("target")), key=attrgetter("target")):
            ids = [message.id for message in some]
            unknown = sum(message.state is MessageState.UNKNOWN for message in expired if message.target == target)
            self._context.metrics.messages.labels(target, "expired").inc(len(ids) - unknown)
            log.error("expired", target=target, messages=ids)
        if expired:
            self._context.outbox.wake()  # what waited behind them may go
            await failure_reports.try_report_failures(self._context)

    async def _prune(self) -> None:
        outbox, store, now = self._context.outbox, self._context.picture_store, self._context.clock.wall()
        before, sends_before = now - self._keep, now - 2 * DAY_SECONDS
        pictures = 0
        async for pruned in outbox.prune(before=before, sends_before=sends_before):
            pictures += len(pruned.done)
            await store.forget(pruned.done)
        known = await outbox.list_picture_files()
        swept = await store.tidy(known, older_than=now - DAY_SECONDS)
        if pictures or swept:
            log.info("old messages forgotten", pictures=pictures + swept)
