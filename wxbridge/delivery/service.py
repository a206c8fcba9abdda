"""Runs the loops of delivery, and keeps the outbox tidy."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from wxbridge import outbox
from wxbridge.delivery import failover, storm
from wxbridge.delivery.common import Lane, Shared
from wxbridge.delivery.drawing import Painter
from wxbridge.delivery.outage import Outages
from wxbridge.delivery.sending import Sender
from wxbridge.errors import StorageError
from wxbridge.pace import DAY

log = structlog.get_logger()

_LOOK_ELSEWHERE = 0.5
_TICK = 1.0
_KEEP_HOUSE_EVERY = 60


class Delivery:
    """Takes messages out of the outbox to their channels until cancelled (`run`)."""

    def __init__(self, shared: Shared, wakers: list[asyncio.Event], *, keep: float = 30 * DAY) -> None:
        self._shared = shared
        self._wakers = wakers
        self._keep = keep
        self.senders = [Sender(shared, lane) for lane in shared.lanes]
        self.painter = Painter(shared)
        self.outages = Outages(shared)

    async def run(self) -> None:
        """Deliver until cancelled. What is being sent at that moment gets a moment to settle."""
        again = await self._shared.store(outbox.recover)
        if again:
            log.warning("messages were being sent when the bridge stopped; repeating them, marked", count=again)
        for lane in self._shared.lanes:
            await self._remember_pace(lane)
        async with asyncio.TaskGroup() as group:
            for sender, waker in zip(self.senders, self._wakers[1:], strict=True):
                group.create_task(sender.run(waker))
            group.create_task(self.painter.run(self._wakers[0]))
            group.create_task(self._watch_other_processes())
            group.create_task(self._tick())

    async def _remember_pace(self, lane: Lane) -> None:
        wall, monotonic = self._shared.clock.wall(), self._shared.clock.monotonic()
        past = await self._shared.store(lambda c: outbox.recent_sends(c, lane.name, since=wall - DAY))
        lane.pacer.remember(past, wall=wall, now=monotonic)

    async def _watch_other_processes(self) -> None:
        while True:
            with suppress(StorageError):
                if await self._shared.database.changed_elsewhere():
                    self._shared.wake()
            await asyncio.sleep(_LOOK_ELSEWHERE)

    async def _tick(self) -> None:
        rounds = 0
        while True:
            try:
                await self.look_after(tidy=rounds % _KEEP_HOUSE_EVERY == 0)
            except StorageError as error:
                self._shared.metrics.storage_errors.inc()
                log.error("housekeeping failed", error=str(error))  # noqa: TRY400 - a trace says no more
            rounds += 1
            await asyncio.sleep(_TICK)

    async def look_after(self, *, tidy: bool = False) -> None:
        """Fail over what waits too long, merge storms, close what has expired; and, to `tidy`, forget what is old."""
        for lane in self._shared.lanes:
            await storm.look(self._shared, lane)
            await failover.look(self._shared, lane)
            await self.outages.look(lane)
        await self._expire()
        if tidy:
            await self._forget()

    async def _expire(self) -> None:
        now = self._shared.clock.wall()
        if not await self._shared.database.read(lambda c: outbox.any_expired(c, now=now)):
            return
        for message in await self._shared.database.run(lambda c: outbox.expire(c, now=now)):
            self._shared.count(message.target, "expired")
            log.error("expired", message=message.id, target=message.target, error=message.error)
            await failover.tell_dead(self._shared, message, message.error or "expired")

    async def _forget(self) -> None:
        now = self._shared.clock.wall()
        before, sends_before = now - self._keep, now - 2 * DAY
        files = await self._shared.database.run(lambda c: outbox.prune(c, before=before, sends_before=sends_before))
        for file in files:
            (self._shared.pictures_dir / file).unlink(missing_ok=True)
        known = await self._shared.database.read(outbox.picture_files)
        gone = await asyncio.to_thread(outbox.sweep_pictures, self._shared.pictures_dir, known, older_than=now - DAY)
        if files or gone:
            log.info("old messages forgotten", pictures=len(files) + gone)
