"""Who and what is known in WeChat: rooms and contacts, kept in the database.

The listings need a `Database` only, so that the CLI can show them beside a running
service.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.channels.wechat.names import fold_name
from wxbridge.core.chunks import in_chunks
from wxbridge.core.database import Database
from wxbridge.core.schema import contacts, forget_facts, read_facts, remember_fact, rooms

CHANNEL = "wechat"
_HEARD = "heard:wechat:"

MAX_ROWS_PER_STATEMENT = 200
"""Below every database's limit of parameters."""


@dataclass(frozen=True)
class Room:
    """A group chat."""

    id: str
    topic: str = ""
    member_ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.topic} ({self.id})" if self.topic else self.id


@dataclass(frozen=True)
class Contact:
    """A person. `alias` is the bot owner's remark, `handle` the WeChat id; both may be empty."""

    id: str
    name: str = ""
    alias: str = ""
    handle: str = ""

    def __str__(self) -> str:
        names = [self.alias, self.name] if self.alias != self.name else [self.name]
        shown = " / ".join(name for name in names if name)
        return f"{shown} ({self.id})" if shown else self.id


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


Named = TypeVar("Named", bound=_HasId)
Entry = TypeVar("Entry", Room, Contact)


def matches(wanted: str, known: Iterable[Named], keys: Sequence[Callable[[Named], str]]) -> list[Named]:
    """Give all entries that the first fitting key finds; keys are tried in their order of precedence.

    Where none is called exactly so, those count whose name is read alike; see `fold_name`.
    """
    entries = list(known)
    for read in (str.strip, fold_name):
        name = read(wanted)
        for key in keys if name else ():
            found = {entry.id: entry for entry in entries if read(key(entry)) == name}
            if found:
                return list(found.values())
    return []


# ---------------------------------------------------------------- the tables


def _room(row: Any) -> Room:
    return Room(row.id, row.topic, tuple(row.member_ids))


def _contact(row: Any) -> Contact:
    return Contact(row.id, row.name, row.alias, row.handle)


async def list_rooms(database: Database) -> list[Room]:
    """Give the rooms that the account logged in last is in, by topic; works beside a running service."""
    return list(map(_room, await database.read(partial(_select_present, rooms, rooms.c.topic))))


async def list_contacts(database: Database) -> list[Contact]:
    """Give the contacts of the account logged in last, by name; works beside a running service."""
    return list(map(_contact, await database.read(partial(_select_present, contacts, contacts.c.name))))


def _select_present(table: sa.Table, name: sa.ColumnElement[str], connection: Connection) -> Sequence[Any]:
    query = sa.select(table).where(table.c.channel == CHANNEL, table.c.present)
    return connection.execute(query.order_by(name, table.c.id)).all()


async def read_account(database: Database) -> str:
    """Give the id of the account whose rooms are known; empty where there are none."""

    def read(connection: Connection) -> str | None:
        query = sa.select(rooms.c.account).where(rooms.c.channel == CHANNEL, rooms.c.present)
        return connection.scalar(query.limit(1))

    return await database.read(read) or ""


def _replace(connection: Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    for batch in in_chunks(rows, MAX_ROWS_PER_STATEMENT):
        ids = [row["id"] for row in batch]
        connection.execute(sa.delete(table).where(table.c.channel == CHANNEL, table.c.id.in_(ids)))
        connection.execute(sa.insert(table), batch)


def _mark_absent(connection: Connection, table: sa.Table, ids: list[str]) -> None:
    for batch in in_chunks(ids, MAX_ROWS_PER_STATEMENT):
        query = sa.update(table).where(table.c.channel == CHANNEL, table.c.id.in_(batch))
        connection.execute(query.values(present=False))


class WechatDirectory:
    """The rooms and contacts of one account in memory, written through to the database.

    `generation` grows with every change, for those who remember what they found.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.account = ""
        self.rooms: dict[str, Room] = {}
        self.contacts: dict[str, Contact] = {}
        self.strangers: dict[str, Contact] = {}
        """People met in rooms: their names are known, but nothing is addressed to them."""
        self.since: dict[str, int] = {}
        """When an id was seen for the first time, on a clock of its own that counts changes; by id."""
        self.listed: set[str] = set()
        """The rooms and contacts that the gateway listed when it was asked last."""
        self.heard: set[str] = set()
        """The ids of rooms and contacts that are kept though the gateway does not list them: somebody was heard there,
        or the gateway told of it when it was asked by the id."""
        self.left: set[str] = set()
        """Rooms that the bot left, or where the gateway refused to send: nobody asks for them by their ids."""
        self.generation = 0
        self.read_at: dict[str, float] = {}
        """When a room or contact was last asked for, in seconds of the monotonic clock."""
        self._unsaved: set[str] = set()
        self._tick = 0
        self._names: tuple[int, Mapping[str, str]] = (-1, {})

    async def load(self, account: str) -> None:
        """Take up the account that logged in: what the database knows of it, and of no other.

        Raises:
            StorageError: the database did not take it; the directory is empty then.
        """
        if account != self.account:
            self.read_at = {}
            self.left = set()
        self.account = account
        self.listed, self.heard = set(), set()
        self.rooms, self.contacts, self.strangers = {}, {}, {}
        self._unsaved = set()
        self.since = {}
        self.generation += 1

        def read(connection: Connection) -> tuple[list[Any], list[Any], int, set[str]]:
            for table in (rooms, contacts):
                others = sa.update(table).where(table.c.channel == CHANNEL, table.c.account != account)
                connection.execute(others.where(table.c.present).values(present=False))
            of_rooms = sa.select(rooms).where(rooms.c.channel == CHANNEL, rooms.c.account == account)
            of_contacts = sa.select(contacts).where(contacts.c.channel == CHANNEL, contacts.c.account == account)
            newest = [connection.scalar(sa.select(sa.func.max(table.c.since))) or 0 for table in (rooms, contacts)]
            heard = set(read_facts(connection, self._heard_key("")))
            return list(connection.execute(of_rooms)), list(connection.execute(of_contacts)), max(newest), heard

        room_rows, contact_rows, newest, self.heard = await self._database.run(read)
        self._tick = max(self._tick, newest)
        self.since = {row.id: row.since for row in (*room_rows, *contact_rows)}
        self.rooms = {row.id: _room(row) for row in room_rows if row.present}
        self.contacts = {row.id: _contact(row) for row in contact_rows if row.present}
        self.strangers = {row.id: _contact(row) for row in contact_rows if not row.present}

    async def keep_rooms(self, ids: Iterable[str]) -> list[str]:
        """Forget the rooms that are not among `ids`, but those that were heard; gives those that are unknown yet.

        Raises:
            StorageError: the database did not take it; memory has it all the same.
        """
        wanted = list(dict.fromkeys(ids))
        self.left -= set(wanted)
        await self._forget_rooms(self._note_listed(self.rooms, wanted))
        return [each for each in wanted if each not in self.rooms]

    async def keep_contacts(self, ids: Iterable[str]) -> list[str]:
        """Forget the contacts that are not among `ids`, but those that were heard; gives those that are unknown yet.

        Raises:
            StorageError: the database did not take it; memory has it all the same.
        """
        wanted = list(dict.fromkeys(ids))
        await self._forget_contacts(self._note_listed(self.contacts, wanted))
        return [each for each in wanted if each not in self.contacts]

    def _note_listed(self, known: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
        """Note what the gateway lists of rooms or contacts; gives those that are not there any more."""
        self.listed = (self.listed - known.keys()) | set(wanted)
        return list(known.keys() - set(wanted) - self.heard)

    async def note_heard(self, entry_id: str) -> None:
        """Keep a room or contact from now on though the gateway may not list it.

        Raises:
            StorageError: the database did not take it; memory has it all the same.
        """
        self.left.discard(entry_id)
        if entry_id in self.heard:
            return
        self.heard.add(entry_id)
        key = self._heard_key(entry_id)
        await self._database.run(lambda connection: remember_fact(connection, key, value=True, now=time.time()))

    async def forget_room(self, room_id: str) -> None:
        """Forget a room that is not there any more. Raises `StorageError`; memory has it all the same."""
        await self._unhear(room_id)
        await self._forget_rooms([room_id] if room_id in self.rooms else [])

    async def leave_room(self, room_id: str) -> None:
        """Forget a room that the bot is not in any more, until somebody is heard there or the gateway lists it.

        Raises:
            StorageError: the database did not take it; memory has it all the same.
        """
        self.left.add(room_id)
        self.listed.discard(room_id)
        await self.forget_room(room_id)

    async def forget_contact(self, contact_id: str) -> None:
        """Forget a contact that is none any more. Raises `StorageError`; memory has it all the same."""
        await self._unhear(contact_id)
        await self._forget_contacts([contact_id] if contact_id in self.contacts else [])

    async def _unhear(self, entry_id: str) -> None:
        self.heard.discard(entry_id)
        key = self._heard_key(entry_id)
        await self._database.run(lambda c: forget_facts(c, [key]))

    def _heard_key(self, entry_id: str) -> str:
        return f"{_HEARD}{self.account}:{entry_id}"

    async def _forget_rooms(self, gone: list[str]) -> None:
        for each in gone:
            del self.rooms[each]
        await self._forget(rooms, gone)

    async def _forget_contacts(self, gone: list[str]) -> None:
        for each in gone:
            self.strangers[each] = self.contacts.pop(each)
        await self._forget(contacts, gone)

    async def _forget(self, table: sa.Table, gone: list[str]) -> None:
        if gone:
            self.generation += 1
            await self._database.run(lambda connection: _mark_absent(connection, table, gone))

    async def save_rooms(self, entries: Sequence[Room]) -> None:
        """Take in rooms, new or changed; what was read of one that the bot has left meanwhile is left out.

        Raises:
            StorageError: the database did not take it; memory has it all the same.
        """
        there = [entry for entry in entries if entry.id not in self.left]
        changed = [entry for entry in there if self.rooms.get(entry.id) != entry or entry.id in self._unsaved]
        if not changed:
            return
        self.rooms.update({entry.id: entry for entry in changed})
        self.generation += 1
        self._date(changed)
        rows = [self._row(entry.id, topic=entry.topic, member_ids=list(entry.member_ids)) for entry in changed]
        await self._save(rooms, rows)

    async def save_contacts(self, entries: Sequence[Contact], *, friends: bool = True) -> None:
        """Take in contacts, new or changed; `friends` False: strangers met in a room.

        Raises:
            StorageError: the database did not take it; memory has it all the same.
        """
        known = self.contacts if friends else self.strangers
        changed = [entry for entry in entries if known.get(entry.id) != entry or entry.id in self._unsaved]
        if not changed:
            return
        for entry in changed:
            self.strangers.pop(entry.id, None)
            known[entry.id] = entry
        self.generation += 1
        self._date(changed)
        rows = [
            self._row(entry.id, present=friends, name=entry.name, alias=entry.alias, handle=entry.handle)
            for entry in changed
        ]
        await self._save(contacts, rows)

    async def _save(self, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        # Until it is on disk, what is equal to memory counts as changed.
        ids = {row["id"] for row in rows}
        self._unsaved |= ids
        await self._database.run(lambda connection: _replace(connection, table, rows))
        self._unsaved -= ids

    def _row(self, entry_id: str, *, present: bool = True, **values: Any) -> dict[str, Any]:
        return {
            "channel": CHANNEL,
            "id": entry_id,
            "account": self.account,
            "seen_at": time.time(),
            "present": present,
            "since": self.since[entry_id],
            **values,
        }

    def _date(self, entries: Iterable[Room | Contact]) -> None:
        self._tick += 1
        for entry in entries:
            self.since.setdefault(entry.id, self._tick)

    def person(self, contact_id: str) -> Contact | None:
        """Give whoever has this id, friend or stranger; None where nobody is known."""
        return self.contacts.get(contact_id) or self.strangers.get(contact_id)

    def names(self) -> Mapping[str, str]:
        """Give what people are called, friends and strangers, by id; who has no name known is missing."""
        if self._names[0] != self.generation:
            people = {**self.strangers, **self.contacts}
            self._names = self.generation, {each: person.name for each, person in people.items() if person.name}
        return self._names[1]
