"""Outages of channels: what was delivered once it was over, and what the fallback took meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_duration
from wxbridge.delivery.context import DeliveryContext, Lane

log = structlog.get_logger()

MIN_OUTAGE_TOLD_SECONDS = 60.0
"""A shorter interruption is not told."""


@dataclass
class Outage:
    """A time in which a channel that had been online was not. Wall-clock seconds since the epoch."""

    began: float
    began_monotonic: float
    ended: float | None = None
    seconds: float = 0.0


class OutageWatch:
    """Watches channels, and tells the person in charge when one is back and its backlog has left."""

    def __init__(self, context: DeliveryContext, before: OutageWatch | None = None) -> None:
        """Begin, or go on where `before` left off."""
        self._context = context
        self._was_online: set[str] = before._was_online if before else set()  # noqa: SLF001 - of the same class
        self._outages: dict[str, Outage] = before._outages if before else {}  # noqa: SLF001

    async def look(self, lane: Lane) -> None:
        """Take note of a channel's state now; call it every second or so."""
        now, monotonic = self._context.clock.wall(), self._context.clock.monotonic()
        outage = self._outages.get(lane.name)
        if not lane.is_online:
            if outage is None and lane.name in self._was_online | self._context.been_online:
                self._outages[lane.name] = Outage(now, monotonic)
            elif outage is not None:
                outage.ended = None
            return
        self._was_online.add(lane.name)
        if outage is None:
            return
        if outage.ended is None:
            outage.ended = now
            outage.seconds = monotonic - outage.began_monotonic
        if outage.seconds < MIN_OUTAGE_TOLD_SECONDS:
            del self._outages[lane.name]
            return
        await self._tell_when_drained(lane, outage)

    async def _tell_when_drained(self, lane: Lane, outage: Outage) -> None:
        context, targets, ended = self._context, list(lane.targets), outage.ended or 0.0
        if not await context.outbox.is_drained(targets, moment=ended):
            return
        # Counted from its beginning: what left in a short time online in the middle of it belongs to it too.
        counts = await context.outbox.count_outage(targets, began=outage.began, ended=ended)
        line = say(
            "delivery.back_online",
            context.language,
            channel=lane.name,
            time=format_duration(outage.seconds, context.language),
            delivered=counts.sent,
            fallback=counts.failed_over,
        )
        log.info(
            "the backlog of an outage has left",
            channel=lane.name, delivered=counts.sent, by_fallback=counts.failed_over,
        )  # fmt: skip
        await context.operators.tell(line)
        del self._outages[lane.name]
