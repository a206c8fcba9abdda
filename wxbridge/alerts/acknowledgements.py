"""Who looks after an alert. Kept by the key of `seen.key_of`; over when the alert resolves, or fires anew.

The functions take a connection and run inside `Database.run`; times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.schema import acks

_CHUNK = 500
"""SQLite takes so many values in one statement only."""


@dataclass(frozen=True)
class Ack:
    """Somebody looks after an alert."""

    key: str
    at: float
    by: str
    comment: str = ""

    def holds(self, starts_at: datetime | None) -> bool:
        """Whether it is of the firing that began then: what begins later is news to whoever took the earlier one."""
        return starts_at is None or starts_at.timestamp() <= self.at


def add(connection: Connection, keys: Iterable[str], *, by: str, comment: str, now: float) -> None:
    """Note who looks after alerts, instead of who did before."""
    values = {"at": now, "by": _storable(by), "comment": _storable(comment)}
    keys = list(dict.fromkeys(keys))
    clear(connection, keys)
    if keys:
        connection.execute(sa.insert(acks), [{"key": key, **values} for key in keys])


def of(connection: Connection, keys: Collection[str] | None = None) -> dict[str, Ack]:
    """The acks of some alerts, by key; all that there are without `keys`."""
    queries = [sa.select(acks)]
    if keys is not None:
        queries = [sa.select(acks).where(acks.c.key.in_(chunk)) for chunk in _chunks(keys)]
    return {row.key: Ack(row.key, row.at, row.by, row.comment) for each in queries for row in connection.execute(each)}


def clear(connection: Connection, keys: Iterable[str]) -> None:
    """Forget the acks of alerts that are over."""
    for chunk in _chunks(keys):
        connection.execute(sa.delete(acks).where(acks.c.key.in_(chunk)))


def prune(connection: Connection, *, before: float) -> None:
    """Forget those from before a moment: of alerts that the bridge never saw the end of."""
    connection.execute(sa.delete(acks).where(acks.c.at < before))


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    left = iter(keys)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk


def _storable(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "")
