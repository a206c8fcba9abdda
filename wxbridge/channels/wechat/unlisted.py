"""Rooms and contacts that a gateway knows, but leaves out of its lists."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

from wxbridge.channels.wechat.directory import Contact, WechatDirectory
from wxbridge.channels.wechat.gateway_errors import GatewayError, GatewayNoAnswer, GatewayRefusal, GatewayRequestNotSent
from wxbridge.channels.wechat.settings import WechatTarget
from wxbridge.core.errors import StorageError

if TYPE_CHECKING:
    from wxbridge.channels.wechat.connection import WechatConnection

log = structlog.get_logger()

FILE_HELPER = Contact("filehelper", "文件传输助手")
"""WeChat's notes to oneself: every account has it, and hardly a gateway lists it."""
_ID = re.compile(r"[!-~]{1,128}")
_ROOM_ID = re.compile(r"\S+@(im\.)?chatroom|@@[0-9a-f]{16,}")
"""What is a room's id beyond doubt."""
_PASSING = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED", "UNAUTHENTICATED")
"""gRPC statuses that say nothing about what was asked for."""
_GONE = ("NOT_FOUND", "PERMISSION_DENIED")
"""gRPC statuses of a send that say that nobody can be reached there."""


class UnlistedChats:
    """Asks the gateway for rooms and contacts by their ids, and keeps those that were heard.

    They are kept in the directory until the bot leaves, or the gateway refuses to tell of them or to send there.
    """

    def __init__(self, connection: WechatConnection, directory: WechatDirectory) -> None:
        self._connection = connection
        self._directory = directory
        self._turn = asyncio.Lock()
        self._asked: set[str] = set()
        """Names that were asked for as ids; each once between two readings of the lists."""

    def ask_again(self) -> None:
        """Have each id asked for once more."""
        self._asked.clear()

    async def find_by_id(self, target: WechatTarget) -> None:
        """Ask the gateway for what a target names, where that may be an id that is in no list.

        Without effect where it is known, or was asked for since the lists were read last.
        """
        name = (target.room or target.contact or "").strip()
        if target.contact and name == FILE_HELPER.name:
            name = FILE_HELPER.id
        if name in self._asked or name in self._directory.left or not _ID.fullmatch(name):
            return
        async with self._turn:
            if name in self._asked:
                return  # Somebody else has asked meanwhile.
            try:
                if target.room and not self._has_room(name):
                    await self._ask_room(name)
                elif target.contact and not self._has_contact(name):
                    await self._ask_contact(name)
            except GatewayRequestNotSent:
                return
            except (GatewayError, StorageError) as error:
                log.debug("wechat id not found", id=name, error=str(error))
            self._asked.add(name)

    def _has_room(self, name: str) -> bool:
        return any(name in (room.id, room.topic.strip()) for room in self._directory.rooms.values())

    def _has_contact(self, name: str) -> bool:
        known = self._directory.contacts.values()
        return any(name in (each.id, each.alias, each.handle, each.name) for each in known)

    async def _ask_room(self, room_id: str) -> None:
        room = await self._connection.room(room_id)
        # Some gateways tell of everything that is asked for, with nothing in it.
        if room.topic or room.member_ids or _ROOM_ID.fullmatch(room_id):
            await self._directory.note_heard(room_id)
            await self._directory.save_rooms([room])

    async def _ask_contact(self, contact_id: str) -> None:
        is_helper = contact_id == FILE_HELPER.id
        try:
            found = await self._connection.contact(contact_id)
        except GatewayRefusal:
            if not is_helper:
                raise
            contact = FILE_HELPER
        else:
            # Nobody else than a friend can be written to.
            if not is_helper and not found.is_friend:
                return
            contact = found.contact if found.contact.name or not is_helper else FILE_HELPER
        await self._directory.note_heard(contact_id)
        await self._directory.save_contacts([contact])

    async def look_again(self, due: Iterable[str]) -> None:
        """Ask for rooms and contacts that were heard and are in no list; forgets what the gateway refuses to tell of.

        Raises:
            GatewayRequestNotSent: the connection is gone.
            StorageError: the database did not take it; memory has it all the same.
        """
        directory = self._directory
        for entry_id in [each for each in due if each not in directory.listed and each != FILE_HELPER.id]:
            room = directory.rooms.get(entry_id)
            if room is not None and not room.topic and not room.member_ids:
                continue  # It never told anything of it: a refusal is no news.
            if await self._is_refused(entry_id, is_room=room is not None):
                log.info("wechat chat forgotten: the gateway does not tell of it any more", id=entry_id)
                await (directory.forget_contact(entry_id) if room is None else directory.forget_room(entry_id))

    async def _is_refused(self, entry_id: str, *, is_room: bool) -> bool:
        try:
            if is_room:
                await self._connection.room(entry_id, fresh=True)
            else:
                await self._connection.contact(entry_id)
        except GatewayRefusal as error:
            return error.code not in _PASSING
        except GatewayNoAnswer as error:
            log.debug("wechat chat not read", id=entry_id, error=str(error))
        return False

    async def note_refused_send(self, chat_id: str, error: GatewayError) -> None:
        """Forget a chat that is in no list where the gateway says that nobody can be reached there."""
        directory = self._directory
        if not isinstance(error, GatewayRefusal) or error.code not in _GONE or chat_id in directory.listed:
            return
        log.info("wechat chat forgotten: the gateway refuses to send there", id=chat_id, error=str(error))
        try:
            await (directory.leave_room(chat_id) if chat_id in directory.rooms else directory.forget_contact(chat_id))
        except StorageError as failure:
            log.warning("wechat directory not written", error=str(failure))
