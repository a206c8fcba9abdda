"""The messages with commands, as the database keeps them: a bridge that stopped in between replies after its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.model import Inbound
from wxbridge.core.schema import asked


def record_message(connection: Connection, inbound: Inbound) -> bool:
    """Write a message down; False where it is known."""
    if connection.scalar(sa.select(asked.c.id).where(_is(inbound))) is not None:
        return False
    content = asdict(inbound) | {"at": inbound.at.isoformat(), "called": list(inbound.called)}
    row = {"channel": inbound.channel, "id": inbound.id, "at": inbound.at.timestamp(), "content": content}
    connection.execute(sa.insert(asked).values(row))
    return True


def record_done(connection: Connection, inbound: Inbound, *, now: float) -> None:
    """Note that all replies to a message are stored. `now` is in seconds since the epoch."""
    connection.execute(sa.update(asked).where(_is(inbound)).values(done_at=now))


def drop_older(connection: Connection, *, before: float, now: float) -> int:
    """Note of what was written before a moment that it is replied to no more; give how many messages that are."""
    is_late = (asked.c.at < before) & asked.c.done_at.is_(None)
    return connection.execute(sa.update(asked).where(is_late).values(done_at=now)).rowcount


def has_open(connection: Connection) -> bool:
    """Tell whether there is a message that is not replied to yet."""
    return connection.scalar(sa.select(asked.c.id).where(asked.c.done_at.is_(None)).limit(1)) is not None


def select_open(connection: Connection) -> list[Inbound]:
    """Read the messages that are not replied to yet, in their order."""
    query = sa.select(asked.c.content).where(asked.c.done_at.is_(None)).order_by(asked.c.at)
    return [_read_inbound(row.content) for row in connection.execute(query)]


def prune(connection: Connection, *, before: float) -> None:
    """Forget the messages that were written before a moment."""
    connection.execute(sa.delete(asked).where(asked.c.at < before))


def _is(inbound: Inbound) -> sa.ColumnElement[bool]:
    return (asked.c.channel == inbound.channel) & (asked.c.id == inbound.id)


def _read_inbound(content: Mapping[str, Any]) -> Inbound:
    at = datetime.fromisoformat(content["at"])
    return Inbound(**{**content, "at": at, "called": tuple(content.get("called", ()))})
