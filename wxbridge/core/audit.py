"""Who did what when: what people changed in the console, in a chat, by the API, by a link and on the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.schema import audit
from wxbridge.core.text.normalise import replace_surrogates

log = structlog.get_logger()

ENTRIES_PER_PAGE = 50
MAX_NAMES = 200
"""Of those who did something that are listed, in the order of the alphabet."""
MAX_NAME_CHARS = 100
MAX_WHAT_CHARS = 500
_MAX_FORGOTTEN = 1000
"""Entries that are forgotten with a new one."""


class AuditAction(StrEnum):
    """What somebody did."""

    SENT = "sent"
    HANDED_ON = "handed_on"
    """A message was sent to another target too."""
    RETRIED = "retried"
    DROPPED = "dropped"
    SILENCED = "silenced"
    UNSILENCED = "unsilenced"
    ACKNOWLEDGED = "acknowledged"
    RAN = "ran"
    MUTED = "muted"
    UNMUTED = "unmuted"
    LOGGED_OUT = "logged_out"
    """An account of a channel."""
    RELOADED = "reloaded"
    SIGNED_IN = "signed_in"


class AuditDoor(StrEnum):
    """Through what somebody did it."""

    CONSOLE = "console"
    API = "api"
    CHAT = "chat"
    LINK = "link"
    """A signed one, in a message."""
    SHELL = "shell"


@dataclass(frozen=True)
class AuditEntry:
    """What somebody did. `at` is in seconds since the epoch."""

    at: float
    by: str
    """The name of the token, else the name that was given; empty for none."""
    action: AuditAction
    what: str
    """What it was done to: a target, a job, a message's number, matchers."""
    via: AuditDoor
    id: int = 0
    """Given when it is stored."""


def record_entry(connection: Connection, entry: AuditEntry, *, keep: float) -> None:
    """Store an entry, and forget some of those that are older than `keep` seconds."""
    values = {
        "at": entry.at, "action": entry.action, "via": entry.via,
        "by": replace_surrogates(" ".join(entry.by.split())[:MAX_NAME_CHARS]),
        "what": replace_surrogates(" ".join(entry.what.split())[:MAX_WHAT_CHARS]),
    }  # fmt: skip
    connection.execute(sa.insert(audit).values(values))
    old = sa.select(audit.c.id).where(audit.c.at < entry.at - keep).order_by(audit.c.at).limit(_MAX_FORGOTTEN)
    connection.execute(sa.delete(audit).where(audit.c.id.in_(list(connection.execute(old).scalars()))))


def select_entries(*, by: str = "", action: str = "", before: int = 0, limit: int = ENTRIES_PER_PAGE) -> sa.Select[Any]:
    """Build the query for entries, the newest first: of a name, of an action, and older than that of an id."""
    query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
    if by:
        query = query.where(audit.c.by == by)
    if action:
        query = query.where(audit.c.action == action)
    return query.where(audit.c.id < before) if before else query


def list_names(connection: Connection) -> list[str]:
    """List who did something, by a look at the index for each."""
    first = sa.select(sa.func.min(audit.c.by).label("by")).where(audit.c.by != "").cte("names", recursive=True)
    following = sa.select(sa.func.min(audit.c.by)).where(audit.c.by > first.c.by).scalar_subquery()
    names = first.union_all(sa.select(following).where(first.c.by.is_not(None)))
    return list(connection.execute(sa.select(names.c.by).where(names.c.by.is_not(None)).limit(MAX_NAMES)).scalars())


@dataclass(frozen=True)
class AuditPage:
    """Entries, the newest first, and whether there are older ones."""

    entries: tuple[AuditEntry, ...] = ()
    has_more: bool = False


class AuditLog:
    """Keeps who did what; without a database it keeps nothing.

    Args:
        database: Where it is kept.
        keep: Gives for how many seconds.
        clock: Gives the time, in seconds since the epoch.
    """

    def __init__(
        self,
        database: Database | None = None,
        keep: Callable[[], float] = lambda: 30 * 86400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._keep, self._clock = database, keep, clock

    async def record(self, action: AuditAction, what: str, *, by: str, via: AuditDoor) -> None:
        """Keep what somebody has done. It raises nothing: what is done is done."""
        if self._database is None:
            return
        entry = AuditEntry(self._clock(), by, action, what, via)
        try:
            await self._database.run(lambda c: record_entry(c, entry, keep=self._keep()))
        except StorageError as error:
            log.error("who did it is not kept", action=action, what=what, by=by, error=str(error))  # noqa: TRY400 - a trace says no more

    async def read(self, *, by: str = "", action: str = "", before: int = 0) -> AuditPage:
        """Read a page of what was done, as `select_entries` chooses it. Raises `StorageError`."""
        if self._database is None:
            return AuditPage()
        query = select_entries(by=by, action=action, before=before, limit=ENTRIES_PER_PAGE + 1)
        rows = await self._database.read(lambda c: c.execute(query).all())
        found = [
            AuditEntry(row.at, row.by, AuditAction(row.action), row.what, AuditDoor(row.via), row.id) for row in rows
        ]
        return AuditPage(tuple(found[:ENTRIES_PER_PAGE]), len(found) > ENTRIES_PER_PAGE)

    async def list_names(self) -> list[str]:
        """List who did something. Raises `StorageError`."""
        return [] if self._database is None else await self._database.read(list_names)
