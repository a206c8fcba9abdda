"""What waits in the outbox, and warnings where a target waits too long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from wxbridge.alerts.render import Destination, make_notification
from wxbridge.config.types import TargetSettings
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.model import Notification, Priority, Text
from wxbridge.core.schema import read_fact, remember_fact
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.units import format_duration
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.outbox_queries import OutboxQueries

log = structlog.get_logger()

READ_LIMIT_SECONDS = 6.0
"""In which the database must answer what waits."""
_WARNED_FACT = "stuck"
"""The fact that keeps which targets were warned of, so that a bridge in a crash loop does not warn at every start."""


@dataclass(frozen=True)
class WaitingTarget:
    """The open messages of a target."""

    target: str
    count: int
    since: float
    """When the oldest was created; seconds since the epoch."""
    age: float
    """Of the oldest, in seconds."""


async def read_waiting(outbox: OutboxQueries, now: float) -> list[WaitingTarget]:
    """Read what waits, by target. Raises `StorageError`, also where the database does not answer in time."""
    try:
        async with asyncio.timeout(READ_LIMIT_SECONDS):
            rows = await outbox.count_backlog()
    except TimeoutError:
        raise StorageError(f"the database did not answer within {READ_LIMIT_SECONDS:g} seconds") from None
    return [WaitingTarget(target, count, since, max(0.0, now - since)) for target, count, since in rows]


async def describe_backlog(outbox: OutboxQueries, *, oldest: float, now: float) -> dict[str, Any]:
    """Describe the backlog for `/readyz`; `ok` while nothing has waited longer than `oldest` seconds."""
    try:
        waiting = await read_waiting(outbox, now)
    except StorageError as error:
        return {"ok": False, "detail": str(error)}
    return {
        "ok": all(item.age <= oldest for item in waiting),
        "open": sum(item.count for item in waiting),
        "targets": {item.target: {"open": item.count, "oldest_seconds": round(item.age, 1)} for item in waiting},
    }


@dataclass
class BacklogWarner:
    """Warns of targets whose oldest message has waited longer than `oldest` seconds, once until they are well."""

    database: Database
    outbox: Outbox
    targets: Mapping[str, TargetSettings]
    destinations: Mapping[str, Destination]
    """By target."""
    operators: Sequence[str]
    """The targets that are warned where a stuck one has no fallback; they need not exist."""
    language: Language
    timezone: ZoneInfo
    oldest: float
    _warned: set[str] | None = None
    """The targets that were warned of and still wait; None before the database was asked."""

    async def warn(self, waiting: Sequence[WaitingTarget], now: float) -> None:
        """Warn of what waits too long. Raises `StorageError` where it could not be stored; it is then tried again."""
        if self._warned is None:
            self._warned = set(await self.database.read(lambda c: read_fact(c, _WARNED_FACT)) or ())
        stuck = {item.target: item for item in waiting if item.age > self.oldest}
        news = [item for name, item in stuck.items() if name not in self._warned]
        items = self.compose_warnings(news)
        if items:
            await self.outbox.put(items)
        for item in news:
            to = [warning.target for warning in items if warning.target in self._readers_of(item.target)]
            log.warning("messages wait too long", target=item.target, count=item.count, oldest=round(item.age), told=to)
        if set(stuck) != self._warned:
            await self.database.run(lambda c: remember_fact(c, _WARNED_FACT, sorted(stuck), now))
        self._warned = set(stuck)

    def compose_warnings(self, stuck: Sequence[WaitingTarget]) -> list[Notification]:
        """Compose one notification for each reader, with a line for each target that is stuck."""
        lines: dict[str, list[str]] = {}
        for item in stuck:
            line = say(
                "delivery.waits",
                self.language,
                target=item.target,
                n=item.count,
                since=datetime.fromtimestamp(item.since, self.timezone).strftime("%m-%d %H:%M"),
                time=format_duration(item.age, self.language),
            )
            for name in self._readers_of(item.target):
                lines.setdefault(name, []).append(line)
        return [
            # Critical: behind the very backlog that it reports, it would come too late.
            make_notification(
                "wxbridge", name, [Text("\n".join(its))], self.destinations[name], self.language, Priority.CRITICAL
            )
            for name, its in lines.items()
        ]

    def _readers_of(self, stuck: str) -> list[str]:
        """Who is warned of a target: its fallbacks on another channel, else the operators; nobody of themselves."""
        target = self.targets.get(stuck)
        names = [
            name
            for name in (target.fallback if target else ())
            if target and name in self.targets and self.targets[name].lane() != target.lane()
        ]
        return names or [name for name in self.operators if name in self.targets and name != stuck]
