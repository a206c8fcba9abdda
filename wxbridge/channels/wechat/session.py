"""What happens on one connection: the login, and the events that set everything else going."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from wxbridge.channels.connected import BackgroundTasks, SeenIds
from wxbridge.channels.wechat.directory import WechatDirectory
from wxbridge.channels.wechat.gateway_errors import GatewayError, NoLoginCode
from wxbridge.channels.wechat.inbound import InboundReader
from wxbridge.channels.wechat.payload_reader import PayloadReader
from wxbridge.channels.wechat.payloads import WechatLogin
from wxbridge.channels.wechat.room_members import RoomMembers
from wxbridge.channels.wechat.sync import DirectorySync
from wxbridge.channels.wechat.timing import WechatTiming
from wxbridge.channels.wechat.unlisted import UnlistedChats
from wxbridge.core.errors import StorageError
from wxbridge.core.model import ChannelState, Inbound

if TYPE_CHECKING:
    from wxbridge.channels.wechat.connection import WechatConnection

log = structlog.get_logger()

_SCAN_DETAIL = {1: "the scan was cancelled on the phone; scan again", 5: "the QR code has expired; a new one comes"}
_WAITING, _SCANNED, _CONFIRMED, _EXPIRED = 2, 3, 4, 5
_DIRTY_CONTACT, _DIRTY_ROOM, _DIRTY_MEMBER = 2, 3, 4
MAX_CONCURRENT_MESSAGES = 8
"""How many messages are read at the same time."""
MAX_COMPLAINTS = 200
"""How many different errors of a gateway are logged on one connection."""
NAME_LOOKUP_SECONDS = 5.0
"""How long a login waits for the account's own name."""


class SessionOwner(Protocol):
    """What a session tells its channel."""

    def set_status(
        self, state: ChannelState, *, detail: str = "", account: str = "", qrcode: str | None = None
    ) -> None:
        """Take up a state."""

    def receive(self, inbound: Inbound) -> None:
        """Take a message that somebody wrote."""

    async def check_targets(self) -> None:
        """Look up whom the targets mean: all is known that there is."""


class WechatSession:
    """Reacts to the events of one connection; `close` ends all that it started."""

    def __init__(
        self,
        owner: SessionOwner,
        connection: WechatConnection,
        directory: WechatDirectory,
        seen: SeenIds,
        timing: WechatTiming,
    ) -> None:
        self.connection = connection
        self.login = WechatLogin()
        reader = PayloadReader(directory)
        self.members = RoomMembers(connection, directory, reader, self.login)
        self.unlisted = UnlistedChats(connection, directory)
        self.sync = DirectorySync(connection, directory, reader, self.unlisted, timing, owner.check_targets)
        self.has_told_login = False
        """Whether the gateway has said anything about the login yet."""
        self._owner = owner
        self._directory = directory
        self._seen = seen
        self._code_seconds = timing.code
        self._inbound = InboundReader(connection, directory, self.sync, self.members, self.login)
        self._tasks = BackgroundTasks()
        self._running_login: asyncio.Task[Any] | None = None
        self._missing_code: asyncio.Task[Any] | None = None
        self._check: asyncio.Task[Any] | None = None
        self._inbox: asyncio.Queue[asyncio.Task[Inbound | None]] = asyncio.Queue()
        self._message_turn = asyncio.Semaphore(MAX_CONCURRENT_MESSAGES)
        self._complaints: set[str] = set()

    def start(self) -> None:
        """Begin to pass on what people write; called before the connection is opened."""
        self._tasks.start(self._pass_on(), "wechat inbox")

    async def close(self) -> None:
        """End everything that runs for this session."""
        await self._tasks.close()

    def check_soon(self) -> None:
        """Have the targets looked up in the background."""
        if self._check is None or self._check.done():
            self._check = self._tasks.start(self.sync.check(), "wechat check")

    # Events

    def on_event(self, name: str, payload: Any) -> None:
        """React to an event of the gateway; never raises."""
        try:
            self._dispatch(name, payload)
        except Exception:
            log.exception("wechat event failed", name=name)

    def _dispatch(self, name: str, payload: Any) -> None:
        match name:
            case "scan":
                self._on_scan(payload.status.value, payload.qrcode or None)
            case "login":
                self._on_login(payload.contact_id)
            case "logout":
                self._on_logout(payload.data)
            case "message":
                self._on_message(payload)
            case "ready":
                self.sync.note_ready()
            case "room-topic" | "room-join":
                self._on_room(payload.room_id, heard=True)
            case "room-leave":
                self._on_leave(payload.room_id, getattr(payload, "removed_ids", None) or ())
            case "dirty":
                self._on_dirty(payload)
            case "error":
                self._on_error(str(getattr(payload, "data", payload)))

    def _on_room(self, room_id: str, *, heard: bool = False) -> None:
        self.members.forget(room_id)
        if self.login.account:
            self._tasks.start(self.sync.refresh_room(room_id, heard=heard), "wechat room")

    def _on_leave(self, room_id: str, left: Collection[str]) -> None:
        if self.login.account and self.login.account in left:
            self.members.forget(room_id)
            self._tasks.start(self.sync.leave_room(room_id), "wechat room")
        else:
            self._on_room(room_id)
            self.sync.sync_soon()  # It may be the bot who left.

    def _on_dirty(self, payload: dict[str, Any]) -> None:
        kind, entry_id = payload.get("payloadType"), payload.get("payloadId")
        if not self.login.account or not isinstance(entry_id, str) or not entry_id:
            return
        if kind in (_DIRTY_ROOM, _DIRTY_MEMBER):
            self.members.forget(entry_id)
        if kind == _DIRTY_ROOM and entry_id in self._directory.rooms:
            self._tasks.start(self.sync.refresh_room(entry_id, fresh=False), "wechat room")
        elif kind == _DIRTY_CONTACT and entry_id in self._directory.contacts:
            self._tasks.start(self.sync.refresh_contact(entry_id), "wechat contact")

    def _on_error(self, words: str) -> None:
        # A gateway in trouble repeats itself many times a second.
        if words not in self._complaints and len(self._complaints) < MAX_COMPLAINTS:
            self._complaints.add(words)
            log.warning("wechat gateway error", error=words[:300])

    # The login

    def _on_scan(self, status: int, qrcode: str | None) -> None:
        self._note_told()
        if self.login.account and (status != _WAITING or not qrcode):
            return  # An echo of the login that brought us here; only a new QR code says that it is lost.
        if status in (_SCANNED, _CONFIRMED):
            detail = "scanned; confirm the login on the phone" if status == _SCANNED else "confirmed on the phone"
            self._owner.set_status(ChannelState.SCANNED, detail=detail)
            return
        self._forget_login()
        if status == _EXPIRED or not qrcode:
            self.expect_code()
        detail = _SCAN_DETAIL.get(status, "scan the QR code with the bot's phone")
        self._owner.set_status(
            ChannelState.WAITING_FOR_SCAN, detail=detail, qrcode=None if status == _EXPIRED else qrcode
        )

    def _on_login(self, contact_id: str) -> None:
        self._note_told()
        if contact_id == self.login.account:
            return
        self._forget_login()
        self.login.account = contact_id
        self._running_login = self._tasks.start(self._log_in(contact_id), "wechat login")

    def _on_logout(self, words: str) -> None:
        self._note_told()
        self._forget_login()
        detail = "the account was logged out; a new QR code comes"
        self._owner.set_status(ChannelState.LOGGED_OUT, detail=f"{detail} ({words})" if words else detail)
        self.expect_code()

    def expect_code(self) -> None:
        """Give the connection up unless a QR code or a login comes in time."""
        self._stop_expecting()
        self._missing_code = self._tasks.start(self._await_code(), "wechat code")

    async def _await_code(self) -> None:
        await asyncio.sleep(self._code_seconds)
        words = f"the account is logged out and no QR code came within {self._code_seconds:g} s"
        self.connection.give_up(NoLoginCode(words))

    def _note_told(self) -> None:
        self.has_told_login = True
        self._stop_expecting()

    def _stop_expecting(self) -> None:
        if self._missing_code is not None:
            self._missing_code.cancel()
            self._missing_code = None

    def _forget_login(self) -> None:
        if self._running_login is not None:
            self._running_login.cancel()
            self._running_login = None
        self.login.account = self.login.name = ""
        self.sync.forget_login()
        self.members.forget_all()

    async def _log_in(self, contact_id: str) -> None:
        try:
            await self._directory.load(contact_id)
        except StorageError as error:
            log.warning("wechat directory not read", error=str(error))
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(NAME_LOOKUP_SECONDS):
                self.login.name = (await self.connection.contact(contact_id)).contact.name
        self._owner.set_status(ChannelState.ONLINE, account=self.login.shown)
        await self.sync.run()

    # What people write

    def _on_message(self, message_id: str) -> None:
        if self._seen.add(message_id):
            self._inbox.put_nowait(self._tasks.start(self._read(message_id), "wechat message"))

    async def _pass_on(self) -> None:
        """Pass messages on in the order they came in, though they are read at the same time."""
        while True:
            task = await self._inbox.get()
            await asyncio.wait({task})
            if task.cancelled() or task.exception() is not None:
                continue
            inbound = task.result()
            if inbound is not None:
                log.info(
                    "message",
                    room=inbound.room_id,
                    topic=inbound.room_topic,
                    sender=inbound.sender_id,
                    name=inbound.sender_name,
                    text=inbound.text,
                )
                self._owner.receive(inbound)

    async def _read(self, message_id: str) -> Inbound | None:
        async with self._message_turn:
            try:
                return await self._inbound.read(message_id)
            except GatewayError as error:
                self._seen.discard(message_id)
                log.warning("wechat message not read", id=message_id, error=str(error))
                return None
            except BaseException:
                # The connection ends: the next one may hear of it again.
                self._seen.discard(message_id)
                raise
