"""Who is in a room, and under which names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wxbridge.channels.wechat.directory import Contact, Room, WechatDirectory
from wxbridge.channels.wechat.gateway_errors import GatewayError
from wxbridge.channels.wechat.mentions import Person
from wxbridge.channels.wechat.payload_reader import PayloadReader
from wxbridge.channels.wechat.payloads import WechatLogin
from wxbridge.core.chunks import in_chunks
from wxbridge.core.errors import StorageError

if TYPE_CHECKING:
    from wxbridge.channels.wechat.connection import WechatConnection

MEMBERS_LIFE_SECONDS = 600.0
"""How long the names within a room are remembered."""
MAX_LOOKUP_SECONDS = 10.0
"""How long a message waits for the names within a room."""
NAMES_PER_SAVE = 64
"""Members whose names are asked for before they are stored."""


@dataclass(frozen=True)
class _Remembered:
    """The members of a room, or the bot alone, as of a moment of the monotonic clock."""

    people: list[Person]
    at: float

    @property
    def is_fresh(self) -> bool:
        return self.at > time.monotonic() - MEMBERS_LIFE_SECONDS


class RoomMembers:
    """The members of rooms on one connection, asked for when they are needed and remembered for ten minutes."""

    def __init__(
        self, connection: WechatConnection, directory: WechatDirectory, reader: PayloadReader, login: WechatLogin
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._reader = reader
        self._login = login
        self._members: dict[str, _Remembered] = {}
        self._me: dict[str, _Remembered] = {}
        self._asked: set[tuple[str, str]] = set()
        """Members whose names were asked for, by room: those who have none are not asked for again."""

    def forget(self, room_id: str) -> None:
        """Forget what was told of a room: it has changed."""
        self._members.pop(room_id, None)
        self._me.pop(room_id, None)

    def forget_all(self) -> None:
        """Forget what was told of all rooms: nobody is logged in any more."""
        self._members.clear()
        self._me.clear()

    async def list_members(self, room: Room) -> list[Person]:
        """Give the members of a room but the bot, with the names they carry there.

        Asks the gateway for each member once in ten minutes, for ten seconds at most; who could not be
        asked in time has the names of the directory.
        """
        known = self._members.get(room.id)
        if known is not None and known.is_fresh:
            return known.people
        people = {person.id: person for person in self.list_known(room)}
        ids = list(people)
        is_complete = False
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(MAX_LOOKUP_SECONDS):
                for member in await self._reader.read_all(ids, lambda each: self._connection.member(room.id, each)):
                    people[member.id] = self._person(member.id, member.room_alias, member.name)
                is_complete = True
        if is_complete:
            self._members[room.id] = _Remembered(list(people.values()), time.monotonic())
        return list(people.values())

    def list_known(self, room: Room) -> list[Person]:
        """Give the members of a room but the bot, with the names that are known without asking."""
        return [self._person(each) for each in room.member_ids if each != self._login.account]

    async def add_room_name(self, room: Room, person: Person) -> Person:
        """Give a member with the name they carry in the room; without it where the gateway does not say."""
        known = self._members.get(room.id)
        if known is not None:
            return next((each for each in known.people if each.id == person.id), person)
        try:
            member = await self._connection.member(room.id, person.id)
        except GatewayError:
            return person
        return self._person(person.id, member.room_alias, member.name)

    async def own_room_name(self, room_id: str) -> str:
        """Give the name that the bot carries in a room only; empty where it has none."""
        known = self._me.get(room_id)
        if known is not None and known.is_fresh:
            return known.people[0].room_alias
        account = self._login.account
        try:
            member = await self._connection.member(room_id, account)
        except GatewayError:
            return ""
        self._me[room_id] = _Remembered([Person(account, room_alias=member.room_alias)], time.monotonic())
        return member.room_alias

    async def learn_names(self, rooms: Iterable[Room]) -> None:
        """Ask for the names of members that nobody has told yet, each once on this connection.

        Takes ten seconds at most, whatever could not be asked in that time is asked at the next call.
        """
        with suppress(GatewayError, StorageError, TimeoutError):
            async with asyncio.timeout(MAX_LOOKUP_SECONDS):
                for room in rooms:
                    await self._learn_names(room)

    async def _learn_names(self, room: Room) -> None:
        names = self._directory.names()
        others = [each for each in room.member_ids if each not in names and each != self._login.account]
        unknown = [each for each in others if (room.id, each) not in self._asked]
        for some in in_chunks(unknown, NAMES_PER_SAVE):
            found = await self._reader.read_all(some, lambda each: self._connection.member(room.id, each))
            self._asked |= {(room.id, each) for each in some}
            strangers = [member for member in found if member.id not in self._directory.contacts and member.name]
            await self._directory.save_contacts(
                [Contact(member.id, member.name) for member in strangers], friends=False
            )

    def _person(self, contact_id: str, room_alias: str = "", name: str = "") -> Person:
        contact = self._directory.person(contact_id) or Contact(contact_id)
        return Person(contact_id, contact.alias, contact.handle, room_alias, name or contact.name)
