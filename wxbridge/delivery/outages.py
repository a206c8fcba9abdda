"""Outages of channels: what was delivered once it was over, and what the fallback took meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from wxbridge.core.schema import PUT_BACK, messages
from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_duration
from wxbridge.delivery import outbox
from wxbridge.delivery.common import Lane, Shared
from wxbridge.delivery.outbox import NO_ADDRESS

log = structlog.get_logger()

WORTH_TELLING = 60.0
"""Seconds. A shorter interruption is not told."""


@dataclass
class Outage:
    """A time in which a channel that had been online was not. Wall-clock seconds since the epoch."""

    began: float
    began_monotonic: float
    ended: float | None = None
    seconds: float = 0.0


class Outages:
    """Watches channels, and tells the person in charge when one is back and its backlog has left."""

    def __init__(self, shared: Shared, before: Outages | None = None) -> None:
        """Begin, or go on where `before` left off."""
        self._shared = shared
        self._was_online: set[str] = before._was_online if before else set()  # noqa: SLF001 - of the same class
        self._outages: dict[str, Outage] = before._outages if before else {}  # noqa: SLF001

    async def look(self, lane: Lane) -> None:
        """Take note of a channel's state now; call it every second or so."""
        now, monotonic = self._shared.clock.wall(), self._shared.clock.monotonic()
        outage = self._outages.get(lane.name)
        if not lane.online:
            if outage is None and lane.name in self._was_online | self._shared.been_online:
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
        if outage.seconds < WORTH_TELLING:
            del self._outages[lane.name]
            return
        await self._tell_when_drained(lane, outage)

    async def _tell_when_drained(self, lane: Lane, outage: Outage) -> None:
        began, ended, targets = outage.began, outage.ended or 0.0, list(lane.targets)
        database = self._shared.database

        def waits(connection: Connection) -> bool:
            # A room that nobody knows any longer may never get its messages; that has been told by itself.
            lost = _without_address(connection, targets)
            return outbox.waits_since_before(connection, [name for name in targets if name not in lost], moment=ended)

        if await database.read(waits):
            return
        # Counted from its beginning: what left in a short time online in the middle of it belongs to it too.
        delivered, by_fallback = await database.read(
            lambda c: outbox.outage_counts(c, targets, began=began, ended=ended)
        )
        line = say(
            "delivery.back_online",
            self._shared.language,
            channel=lane.name,
            time=format_duration(outage.seconds, self._shared.language),
            delivered=delivered,
            fallback=by_fallback,
        )
        log.info("the backlog of an outage has left", channel=lane.name, delivered=delivered, by_fallback=by_fallback)
        await self._shared.tell(line, None)
        del self._outages[lane.name]


def _without_address(connection: Connection, targets: Sequence[str]) -> set[str]:
    """The targets with a message that waits because its room or contact cannot be told (`BadAddress`)."""
    query = sa.select(messages.c.target).where(
        sa.text(PUT_BACK), messages.c.target.in_(targets), messages.c.error_code == NO_ADDRESS
    )
    return set(connection.execute(query.distinct()).scalars())
