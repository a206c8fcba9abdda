"""The conversations that have written to a bot, kept in the database for `wxbridge rooms` and `contacts`.

WeCom's bots are told ids only: neither the topic of a group nor the name of a person.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.database import Database
from wxbridge.core.schema import contacts, rooms

MAX_GROUP_MEMBERS = 50
"""How many of those who have written in a group are remembered."""
MAX_SHOWN_MEMBERS = 5


@dataclass
class BotDirectory:
    """What is known of one bot's conversations, written through to the database under the lane's name."""

    database: Database
    lane: str
    account: str
    """The bot's id."""
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Who has written in a group, by its id."""
    people: set[str] = field(default_factory=set)
    """Who has written directly."""
    loaded: bool = False

    async def load(self) -> None:
        """Read what is known; what another bot knew under this name is forgotten.

        Raises:
            StorageError: the database cannot be read.
        """

        def work(connection: Connection) -> tuple[list[Any], list[Any]]:
            for table in (rooms, contacts):
                others = (table.c.channel == self.lane) & (table.c.account != self.account)
                connection.execute(sa.delete(table).where(others))
            groups = sa.select(rooms.c.id, rooms.c.member_ids).where(rooms.c.channel == self.lane)
            people = sa.select(contacts.c.id).where(contacts.c.channel == self.lane)
            return list(connection.execute(groups)), list(connection.execute(people))

        found, persons = await self.database.run(work)
        self.groups = {row.id: tuple(row.member_ids) for row in found} | self.groups
        self.people |= {row.id for row in persons}
        self.loaded = True

    def topic(self, group: str) -> str:
        """Give what a group can be told by: who has written in it."""
        members = self.groups.get(group, ())
        more = "…" if len(members) > MAX_SHOWN_MEMBERS else ""
        return f"({', '.join(members[:MAX_SHOWN_MEMBERS])}{more})" if members else ""

    async def remember(self, user: str, group: str) -> None:
        """Remember that somebody wrote, in a group or (`group` empty) directly.

        Raises:
            StorageError: the database did not take it; it is written at their next message.
        """
        if group:
            members = self.groups.get(group, ())
            if user in members or len(members) >= MAX_GROUP_MEMBERS:
                return
            self.groups[group] = (*members, user)
            row = {"topic": self.topic(group), "member_ids": list(self.groups[group])}
            await self._put(rooms, group, row, lambda: self.groups.__setitem__(group, members))
        elif user not in self.people:
            self.people.add(user)
            row = {"name": user, "alias": "", "handle": ""}
            await self._put(contacts, user, row, lambda: self.people.discard(user))

    async def _put(self, table: sa.Table, entry_id: str, values: dict[str, Any], undo: Any) -> None:
        row = {"channel": self.lane, "id": entry_id, "account": self.account, "seen_at": time.time(), "present": True}

        def write(connection: Connection) -> None:
            connection.execute(sa.delete(table).where(table.c.channel == self.lane, table.c.id == entry_id))
            connection.execute(sa.insert(table), [{**row, "since": 0, **values}])

        try:
            await self.database.run(write)
        except BaseException:
            undo()
            raise
