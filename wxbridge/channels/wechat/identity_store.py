"""What every target was found to be the last time, kept in the database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.channels.wechat.directory import CHANNEL
from wxbridge.channels.wechat.identity import Remembered, RememberedMember
from wxbridge.core.database import Database
from wxbridge.core.schema import identities


class IdentityStore:
    """What is remembered of each chat, by its key; `version` grows with every change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: dict[str, Remembered] = {}
        self.loaded = False
        self.version = 0

    async def load(self) -> None:
        """Read what there is; only the first call does.

        Raises:
            StorageError: it could not be read; nothing is remembered so far.
        """
        if self.loaded:
            return

        def read(connection: Connection) -> list[Any]:
            return list(connection.execute(sa.select(identities).where(identities.c.channel == CHANNEL)))

        self._remembered = {row.chat: _remembered(row) for row in await self._database.read(read)}
        self.loaded = True
        self.version += 1

    def get(self, chat: str) -> Remembered | None:
        """Give what is remembered of a chat; None where it was never found."""
        return self._remembered.get(chat)

    async def put(self, chat: str, remembered: Remembered) -> None:
        """Remember; without effect where that is what is remembered.

        Raises:
            StorageError: the database did not take it, and memory has not either.
        """
        if self._remembered.get(chat) == remembered:
            return
        row = {
            "channel": CHANNEL,
            "chat": chat,
            "id": remembered.id,
            "account": remembered.account,
            "names": list(remembered.names),
            "members": [[member.id, member.name] for member in remembered.members],
            "seen": remembered.seen,
            "guess": remembered.guess,
            "told": remembered.told,
        }

        def write(connection: Connection) -> None:
            mine = (identities.c.channel == CHANNEL) & (identities.c.chat == chat)
            connection.execute(sa.delete(identities).where(mine))
            connection.execute(sa.insert(identities).values(row))

        await self._database.run(write)
        self._remembered[chat] = remembered
        self.version += 1


def _remembered(row: Any) -> Remembered:
    members = tuple(RememberedMember(person, name) for person, name in row.members)
    return Remembered(row.id, row.account, tuple(row.names), members, row.seen, row.guess, row.told)
