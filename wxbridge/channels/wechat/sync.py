"""Keeps the directory of rooms and contacts as the gateway knows them, for as long as a login lasts."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from wxbridge.channels.wechat.directory import Contact, Room, WechatDirectory
from wxbridge.channels.wechat.gateway_errors import GatewayError
from wxbridge.channels.wechat.payload_reader import PayloadReader
from wxbridge.channels.wechat.timing import WechatTiming
from wxbridge.channels.wechat.unlisted import UnlistedChats
from wxbridge.core.chunks import in_chunks
from wxbridge.core.errors import StorageError

if TYPE_CHECKING:
    from wxbridge.channels.wechat.connection import WechatConnection

log = structlog.get_logger()

ENTRIES_PER_SAVE = 200
CONTACT_LIFE_SECONDS = 3600.0
"""After which a contact is asked for again: there may be thousands of them."""
MAX_UNREAD_SYNCS = 3
"""How many more syncs what could not be read is waited for, before it is taken for missing."""
RETRY_SECONDS = 5.0
"""Until a sync that failed is tried again."""


class DirectorySync:
    """Reads rooms and contacts: all of them after a login, then again and again.

    `check_targets` is called whenever something may have changed and all is known that there is.
    """

    def __init__(
        self,
        connection: WechatConnection,
        directory: WechatDirectory,
        reader: PayloadReader,
        unlisted: UnlistedChats,
        timing: WechatTiming,
        check_targets: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._reader = reader
        self._unlisted = unlisted
        self._timing = timing
        self._check_targets = check_targets
        self._wanted = asyncio.Event()
        self._is_ready = False
        self.rooms_known = False
        """Whether the rooms have been read since the login."""
        self.contacts_known = False
        self.settled = False
        """Whether everything has been read since the login: who is not found now is not there."""

    def sync_soon(self) -> None:
        """Have everything read now rather than at the next turn."""
        self._wanted.set()

    def note_ready(self) -> None:
        """Note that the gateway says it has loaded everything."""
        self._is_ready = True
        self._wanted.set()

    def forget_login(self) -> None:
        """Begin anew: nobody is logged in any more."""
        self.rooms_known = self.contacts_known = self.settled = self._is_ready = False

    async def run(self) -> None:
        """Read everything again and again, from a login until cancelled."""
        logged_in_at = time.monotonic()
        pause, failures, unread = 0.0, 0, 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            self._wanted.clear()
            is_ready = self._is_ready
            is_complete = False
            try:
                is_complete = await self._sync()
            except (GatewayError, StorageError) as error:
                log.warning("wechat directory not synced", error=str(error))
                pause = min(RETRY_SECONDS * 2.0**failures, self._timing.resync)
                failures = min(failures + 1, 10)
            else:
                pause, failures = self._timing.resync, 0
                if not is_complete and unread < MAX_UNREAD_SYNCS:
                    unread += 1
                    pause = min(RETRY_SECONDS, pause)
                else:
                    is_complete = True
            # What can be found is found from now on; better what is remembered than nothing.
            self.rooms_known = self.contacts_known = True
            left = logged_in_at + self._timing.settle - time.monotonic()
            if not is_ready and left > 0:
                pause = min(pause, left)
            elif is_complete:
                self.settled = True
            await self.check()

    async def check(self) -> None:
        """Look the targets up, where all is known that there is."""
        if self.settled:
            await self._check_targets()

    async def refresh_room(self, room_id: str, *, fresh: bool = True, heard: bool = False) -> None:
        """Read a room again; `fresh` has the gateway forget what it remembers of it. `heard`: the bot is in it."""
        try:
            if heard:
                await self._directory.note_heard(room_id)
            await self._directory.save_rooms([await self._connection.room(room_id, fresh=fresh)])
        except (GatewayError, StorageError) as error:
            # The bot may just have been thrown out: the list says so.
            log.debug("wechat room not read", room=room_id, error=str(error))
            self._directory.read_at.pop(room_id, None)
            self.sync_soon()
            return
        await self.check()

    async def leave_room(self, room_id: str) -> None:
        """Forget a room that the bot has left; the list says so, too, where it is in one."""
        try:
            await self._directory.leave_room(room_id)
        except StorageError as error:
            log.warning("wechat directory not written", error=str(error))
        self.sync_soon()

    async def refresh_contact(self, contact_id: str) -> None:
        """Read a contact again."""
        with suppress(GatewayError, StorageError):
            await self._directory.save_contacts([await self._ask_contact(contact_id)])
        await self.check()

    async def _sync(self) -> bool:
        """Read what is new, then what may have changed; False where something new could not be read."""
        connection, directory = self._connection, self._directory
        self._unlisted.ask_again()
        new_rooms = await directory.keep_rooms(await connection.room_ids())
        await self._unlisted.look_again(self._select_stale(directory.rooms, self._timing.resync / 2))
        await self._read_rooms(new_rooms)
        self.rooms_known = True
        new_contacts = await directory.keep_contacts(await connection.contact_ids())
        await self._unlisted.look_again(self._select_stale(directory.contacts, CONTACT_LIFE_SECONDS))
        await self._read_contacts(new_contacts)
        self.contacts_known = True
        # What was known already may have been renamed meanwhile.
        await self._read_rooms(self._select_stale(directory.rooms, self._timing.resync / 2))
        await self._read_contacts(self._select_stale(directory.contacts, CONTACT_LIFE_SECONDS))
        return directory.rooms.keys() >= set(new_rooms) and directory.contacts.keys() >= set(new_contacts)

    def _select_stale(self, ids: Iterable[str], age: float) -> list[str]:
        limit = time.monotonic() - age
        return [each for each in ids if self._directory.read_at.get(each, -math.inf) <= limit]

    async def _read_rooms(self, ids: Sequence[str]) -> None:
        for some in in_chunks(ids, ENTRIES_PER_SAVE):
            await self._directory.save_rooms(await self._reader.read_all(some, self._ask_room))

    async def _read_contacts(self, ids: Sequence[str]) -> None:
        for some in in_chunks(ids, ENTRIES_PER_SAVE):
            await self._directory.save_contacts(await self._reader.read_all(some, self._ask_contact))

    async def _ask_room(self, room_id: str) -> Room:
        return await self._connection.room(room_id)

    async def _ask_contact(self, contact_id: str) -> Contact:
        return (await self._connection.contact(contact_id)).contact
