"""What people write: read from the gateway, with the names of who wrote and where."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import structlog

from wxbridge.channels.connected import moment_of
from wxbridge.channels.wechat.directory import CHANNEL, Contact, Room, WechatDirectory
from wxbridge.channels.wechat.gateway_errors import GatewayError, GatewayRequestNotSent
from wxbridge.channels.wechat.mentions import says_name, without_quote
from wxbridge.channels.wechat.payloads import TEXT_MESSAGE, RawMessage, WechatLogin
from wxbridge.channels.wechat.room_members import RoomMembers
from wxbridge.channels.wechat.sync import DirectorySync
from wxbridge.core.errors import StorageError
from wxbridge.core.model import Inbound

if TYPE_CHECKING:
    from wxbridge.channels.wechat.connection import WechatConnection

log = structlog.get_logger()

_KINDS = (
    *("unknown", "file", "voice", "contact card", "chat history", "sticker", "image", "text", "location"),
    *("mini program", "group note", "transfer", "red envelope", "recalled", "link", "video", "post"),
)
"""The message types of the TypeScript puppet, by number."""
_MIN_MILLISECONDS = 10**11
"""A time stamp above this is in milliseconds."""
ANNOUNCED_EARLY_SECONDS = 0.5
"""How long after its announcement a message is asked for again: some gateways cannot show it at once."""


class InboundReader:
    """Reads the messages of one connection."""

    def __init__(
        self,
        connection: WechatConnection,
        directory: WechatDirectory,
        sync: DirectorySync,
        members: RoomMembers,
        login: WechatLogin,
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._sync = sync
        self._members = members
        self._login = login

    async def read(self, message_id: str) -> Inbound | None:
        """Read a message; None for the bot's own.

        Raises:
            GatewayError: it cannot be read.
        """
        raw = await self._read_raw(message_id)
        if self._login.account and raw.sender_id == self._login.account:
            return None
        is_direct = not raw.room_id
        is_text = raw.kind == TEXT_MESSAGE
        room = None if is_direct else await self._find_room(raw.room_id)
        sender = await self._find_sender(raw.sender_id, direct=is_direct)
        called = () if is_direct or not is_text else await self._own_names(raw)
        return Inbound(
            channel=CHANNEL,
            id=raw.id,
            sender_id=raw.sender_id,
            sender_name=sender.name or sender.alias,
            room_id=raw.room_id or None,
            room_topic=None if room is None else room.topic,
            text=raw.text if is_text else f"[{_KINDS[raw.kind] if 0 <= raw.kind < len(_KINDS) else 'unknown'}]",
            # What is only quoted was said to somebody else, or before.
            mentioned=is_direct or self._is_mentioned(raw) or says_name(without_quote(raw.text), called),
            at=moment_of(raw.timestamp / 1000 if raw.timestamp > _MIN_MILLISECONDS else raw.timestamp),
            called=called,
        )

    async def _read_raw(self, message_id: str) -> RawMessage:
        try:
            return await self._connection.message(message_id)
        except GatewayRequestNotSent:
            raise
        except GatewayError:
            await asyncio.sleep(ANNOUNCED_EARLY_SECONDS)
            return await self._connection.message(message_id)

    async def _find_room(self, room_id: str) -> Room:
        known = self._directory.rooms.get(room_id)
        await self._note_heard(room_id)
        if known is not None and (known.topic or known.member_ids):
            return known
        try:
            room = await self._connection.room(room_id)
        except GatewayError:
            # Of a room that was heard the id alone is something: messages can be sent there.
            room = known or Room(room_id)
        try:
            await self._directory.save_rooms([room])
        except StorageError as error:
            log.warning("wechat directory not written", error=str(error))
        if known is None:
            self._sync.sync_soon()
        return room

    async def _note_heard(self, entry_id: str) -> None:
        try:
            await self._directory.note_heard(entry_id)
        except StorageError as error:
            log.warning("wechat directory not written", error=str(error))

    async def _find_sender(self, contact_id: str, *, direct: bool) -> Contact:
        known = self._directory.contacts.get(contact_id) if direct else self._directory.person(contact_id)
        if direct:
            await self._note_heard(contact_id)
        if known is not None:
            return known
        try:
            found = await self._connection.contact(contact_id)
        except GatewayError:
            return self._directory.person(contact_id) or Contact(contact_id)
        try:
            await self._directory.save_contacts([found.contact], friends=found.is_friend or direct)
        except StorageError as error:
            log.warning("wechat directory not written", error=str(error))
        if found.is_friend or direct:
            self._sync.sync_soon()
        return found.contact

    def _is_mentioned(self, raw: RawMessage) -> bool:
        return bool(self._login.account) and self._login.account in raw.mention_ids

    async def _own_names(self, raw: RawMessage) -> tuple[str, ...]:
        """Give the bot's names in a room, where the text may have one of them: its own, and that in this room only."""
        if not re.search("[@＠]", raw.text):
            return ()
        names = [self._login.name]
        if not says_name(raw.text, names):
            names.append(await self._members.own_room_name(raw.room_id))
        return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
