"""What happens on one connection: the login, the directory's sync, and what people write."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from wxbridge.channels.wechat.directory import CHANNEL, Contact, Room, WechatDirectory
from wxbridge.channels.wechat.gateway_errors import GatewayError, GatewayRequestNotSent, NoLoginCode
from wxbridge.channels.wechat.mentions import Person, says_name, without_quote
from wxbridge.core.errors import StorageError
from wxbridge.core.model import ChannelState, Inbound

if TYPE_CHECKING:
    from wxbridge.channels.wechat.connection import RawMessage, WechatConnection

log = structlog.get_logger()
T = TypeVar("T")

_TEXT = 7
_KINDS = (
    *("unknown", "file", "voice", "contact card", "chat history", "sticker", "image", "text", "location"),
    *("mini program", "group note", "transfer", "red envelope", "recalled", "link", "video", "post"),
)
"""The message types of the TypeScript puppet, by number."""

_SCAN_DETAIL = {1: "the scan was cancelled on the phone; scan again", 5: "the QR code has expired; a new one comes"}
_WAITING, _SCANNED, _CONFIRMED, _EXPIRED = 2, 3, 4, 5
_DIRTY_CONTACT, _DIRTY_ROOM, _DIRTY_MEMBER = 2, 3, 4
_LOOKUPS = 8
"""Payloads asked for at the same time."""
_SAVE_EVERY = 200
_CONTACTS_KEPT = 3600.0
"""Seconds after which a contact is asked for again: there may be thousands of them."""
_MEMBERS_KEPT = 600.0
"""Seconds that the names within a room are remembered."""
_MEMBERS_LIMIT = 10.0
"""Seconds a message waits for the names within a room."""
_NAMES_AT_ONCE = 64
"""Members whose names are asked for before they are stored."""
_UNREAD_TRIES = 3
"""How many more syncs what could not be read is waited for, before it is taken for missing."""
_RETRY = 5.0
"""Seconds until a sync that failed is tried again."""
_MILLISECONDS = 10**11
"""A time stamp above this is in milliseconds."""


class SeenIds:
    """Remembers the last ids, so that what arrives twice is dropped."""

    def __init__(self, size: int = 5000) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, message_id: str) -> bool:
        """Remember an id; False where it was known."""
        if message_id in self._ids:
            return False
        self._ids[message_id] = None
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)
        return True

    def discard(self, message_id: str) -> None:
        """Forget an id: it may come again."""
        self._ids.pop(message_id, None)


@dataclass(frozen=True)
class Host:
    """What a session is given by its channel."""

    directory: WechatDirectory
    seen: SeenIds
    set_status: Callable[..., None]
    """Called with a state, and `detail`, `account`, `qrcode`."""
    receive: Callable[[Inbound], None]
    check_targets: Callable[[], Awaitable[None]]
    resync: float
    """Seconds between two readings of everything."""
    settle: float
    """Seconds after the login until missing names are complained about, where the gateway never says ready."""
    code: float
    """Seconds without a login in which a QR code has to come."""


class WechatSession:
    """Reacts to the events of one connection; `close` ends all that it started."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._directory = host.directory
        self._connection: WechatConnection | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._login: asyncio.Task[Any] | None = None
        self._inbox: asyncio.Queue[asyncio.Task[Inbound | None]] = asyncio.Queue()
        self._lookups = asyncio.Semaphore(_LOOKUPS)
        self._reads = asyncio.Semaphore(_LOOKUPS)
        self._sync_wanted = asyncio.Event()
        self._members: dict[str, tuple[float, list[Person]]] = {}
        self._complaints: set[str] = set()
        self._ready = False
        self._logged_in_at = 0.0
        self.told = False
        """Whether the gateway has said anything about the login yet."""
        self.account = ""
        self.account_name = ""
        self.rooms_known = False
        """Whether the rooms have been read since the login."""
        self.contacts_known = False
        self.settled = False
        """Whether everything has been read since the login: who is not found now is not there."""
        self._code: asyncio.Task[Any] | None = None
        self._check: asyncio.Task[Any] | None = None
        self._asked: set[tuple[str, str]] = set()
        """Members whose names were asked for, by room: those who have none are not asked for again."""

    # Life

    def attach(self, connection: WechatConnection) -> None:
        """Take the connection whose events will come; called before it is opened."""
        self._connection = connection
        self._start(self._read_inbox(), "wechat inbox")

    @property
    def connection(self) -> WechatConnection:
        """The connection that this session is about."""
        assert self._connection is not None, "attach() comes first"  # noqa: S101
        return self._connection

    async def close(self) -> None:
        """End everything that runs for this session."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    def _start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("wechat task failed", task=task.get_name(), error=repr(error), exc_info=error)

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
                self._on_message(payload.message_id)
            case "ready":
                self._ready = True
                self._sync_wanted.set()
            case "room-topic" | "room-join" | "room-leave":
                self._on_room(payload.room_id)
                if name == "room-leave":
                    self._sync_wanted.set()  # It may be the bot who left.
            case "dirty":
                self._on_dirty(payload)
            case "error":
                self._on_error(str(getattr(payload, "data", payload)))

    def _on_scan(self, status: int, qrcode: str | None) -> None:
        self.told = True
        self._stop_expecting()
        if self.account and (status != _WAITING or not qrcode):
            return  # An echo of the login that brought us here; only a new QR code says that it is lost.
        if status in (_SCANNED, _CONFIRMED):
            detail = "scanned; confirm the login on the phone" if status == _SCANNED else "confirmed on the phone"
            self._host.set_status(ChannelState.SCANNED, detail=detail)
            return
        self._forget_login()
        if status == _EXPIRED or not qrcode:
            self.expect_code()
        detail = _SCAN_DETAIL.get(status, "scan the QR code with the bot's phone")
        self._host.set_status(
            ChannelState.WAITING_FOR_SCAN, detail=detail, qrcode=None if status == _EXPIRED else qrcode
        )

    def _on_login(self, contact_id: str) -> None:
        self.told = True
        self._stop_expecting()
        if contact_id == self.account:
            return
        self._forget_login()
        self.account = contact_id
        self._login = self._start(self._log_in(contact_id), "wechat login")

    def _on_logout(self, words: str) -> None:
        self.told = True
        self._forget_login()
        detail = "the account was logged out; a new QR code comes"
        self._host.set_status(ChannelState.LOGGED_OUT, detail=f"{detail} ({words})" if words else detail)
        self.expect_code()

    def expect_code(self) -> None:
        """Give the connection up unless a QR code or a login comes in time."""
        self._stop_expecting()
        self._code = self._start(self._await_code(), "wechat code")

    def _stop_expecting(self) -> None:
        if self._code is not None:
            self._code.cancel()
            self._code = None

    async def _await_code(self) -> None:
        await asyncio.sleep(self._host.code)
        self.connection.give_up(
            NoLoginCode(f"the account is logged out and no QR code came within {self._host.code:g} s")
        )

    def _forget_login(self) -> None:
        if self._login is not None:
            self._login.cancel()
            self._login = None
        self.account = self.account_name = ""
        self.rooms_known = self.contacts_known = self.settled = self._ready = False
        self._members.clear()

    def _forget_members(self, room_id: str) -> None:
        for key in (room_id, _me(room_id)):
            self._members.pop(key, None)

    def _on_room(self, room_id: str) -> None:
        self._forget_members(room_id)
        if self.account:
            self._start(self._refresh_room(room_id), "wechat room")

    def _on_dirty(self, payload: dict[str, Any]) -> None:
        kind, entry_id = payload.get("payloadType"), payload.get("payloadId")
        if not self.account or not isinstance(entry_id, str) or not entry_id:
            return
        if kind in (_DIRTY_ROOM, _DIRTY_MEMBER):
            self._forget_members(entry_id)
        if kind == _DIRTY_ROOM and entry_id in self._directory.rooms:
            self._start(self._refresh_room(entry_id, fresh=False), "wechat room")
        elif kind == _DIRTY_CONTACT and entry_id in self._directory.contacts:
            self._start(self._refresh_contact(entry_id), "wechat contact")

    def _on_error(self, words: str) -> None:
        # A gateway in trouble repeats itself many times a second.
        if words not in self._complaints and len(self._complaints) < _SAVE_EVERY:
            self._complaints.add(words)
            log.warning("wechat gateway error", error=words[:300])

    # The login and the sync

    async def _log_in(self, contact_id: str) -> None:
        try:
            await self._directory.load(contact_id)
        except StorageError as error:
            log.warning("wechat directory not read", error=str(error))
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(5):
                me, _ = await self.connection.contact(contact_id)
                self.account_name = me.name
        self._logged_in_at = time.monotonic()
        self._host.set_status(
            ChannelState.ONLINE, account=f"{self.account_name} ({contact_id})" if self.account_name else contact_id
        )
        await self._keep_in_sync()

    async def _keep_in_sync(self) -> None:
        pause, failures, unread = 0.0, 0, 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._sync_wanted.wait()
            self._sync_wanted.clear()
            ready = self._ready
            complete = False
            try:
                complete = await self._sync()
            except (GatewayError, StorageError) as error:
                log.warning("wechat directory not synced", error=str(error))
                pause = min(_RETRY * 2.0**failures, self._host.resync)
                failures = min(failures + 1, 10)
            else:
                pause, failures = self._host.resync, 0
                if not complete and unread < _UNREAD_TRIES:
                    unread += 1
                    pause = min(_RETRY, pause)
                else:
                    complete = True
            # What can be found is found from now on; better what is remembered than nothing.
            self.rooms_known = self.contacts_known = True
            left = self._logged_in_at + self._host.settle - time.monotonic()
            if not ready and left > 0:
                pause = min(pause, left)
            elif complete:
                self.settled = True
            await self.check()

    async def check(self) -> None:
        """Look the targets up, where all is known that there is."""
        if self.settled:
            await self._host.check_targets()

    def check_soon(self) -> None:
        """Have the targets looked up in the background."""
        if self._check is None or self._check.done():
            self._check = self._start(self.check(), "wechat check")

    async def _sync(self) -> bool:
        """Read what is new, then what may have changed; False where something new could not be read."""
        connection, directory = self.connection, self._directory
        new_rooms = await directory.keep_rooms(await connection.room_ids())
        await self._read_rooms(new_rooms)
        self.rooms_known = True
        new_contacts = await directory.keep_contacts(await connection.contact_ids())
        await self._read_contacts(new_contacts)
        self.contacts_known = True
        # What was known already may have been renamed meanwhile.
        await self._read_rooms(self._stale(directory.rooms, self._host.resync / 2))
        await self._read_contacts(self._stale(directory.contacts, _CONTACTS_KEPT))
        return directory.rooms.keys() >= set(new_rooms) and directory.contacts.keys() >= set(new_contacts)

    def _stale(self, ids: Iterable[str], age: float) -> list[str]:
        limit = time.monotonic() - age
        return [each for each in ids if self._directory.read_at.get(each, -math.inf) <= limit]

    async def _read_rooms(self, ids: list[str]) -> None:
        for start in range(0, len(ids), _SAVE_EVERY):
            found = await self._gather(ids[start : start + _SAVE_EVERY], self._ask_room)
            await self._directory.save_rooms(found)

    async def _read_contacts(self, ids: list[str]) -> None:
        for start in range(0, len(ids), _SAVE_EVERY):
            found = await self._gather(ids[start : start + _SAVE_EVERY], self._ask_contact)
            await self._directory.save_contacts(found)

    async def _gather(self, ids: list[str], ask: Callable[[str], Awaitable[T]]) -> list[T]:
        async def one(entry_id: str) -> T | None:
            async with self._lookups:
                try:
                    found = await ask(entry_id)
                except GatewayRequestNotSent:
                    raise
                except GatewayError as error:
                    log.debug("wechat payload not read", id=entry_id, error=str(error))
                    return None
                self._directory.read_at[entry_id] = time.monotonic()
                return found

        tasks = [asyncio.ensure_future(one(entry_id)) for entry_id in ids]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [entry for entry in found if entry is not None]

    async def _ask_room(self, room_id: str) -> Room:
        return await self.connection.room(room_id)

    async def _ask_contact(self, contact_id: str) -> Contact:
        return (await self.connection.contact(contact_id))[0]

    async def _refresh_room(self, room_id: str, *, fresh: bool = True) -> None:
        try:
            await self._directory.save_rooms([await self.connection.room(room_id, fresh=fresh)])
        except (GatewayError, StorageError) as error:
            # The bot may just have been thrown out: the list says so.
            log.debug("wechat room not read", room=room_id, error=str(error))
            self._sync_wanted.set()
            return
        await self.check()

    async def _refresh_contact(self, contact_id: str) -> None:
        with suppress(GatewayError, StorageError):
            await self._directory.save_contacts([await self._ask_contact(contact_id)])
        await self.check()

    # What people write

    def _on_message(self, message_id: str) -> None:
        if self._host.seen.add(message_id):
            self._inbox.put_nowait(self._start(self._read(message_id), "wechat message"))

    async def _read_inbox(self) -> None:
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
                self._host.receive(inbound)

    async def _read(self, message_id: str) -> Inbound | None:
        async with self._reads:
            try:
                raw = await self._payload(message_id)
                if self.account and raw.sender_id == self.account:
                    return None
                return await self._inbound(raw)
            except GatewayError as error:
                self._host.seen.discard(message_id)
                log.warning("wechat message not read", id=message_id, error=str(error))
                return None
            except BaseException:
                # The connection ends: the next one may hear of it again.
                self._host.seen.discard(message_id)
                raise

    async def _payload(self, message_id: str) -> RawMessage:
        try:
            return await self.connection.message(message_id)
        except GatewayRequestNotSent:
            raise
        except GatewayError:
            # Some gateways announce a message a moment before they can show it.
            await asyncio.sleep(0.5)
            return await self.connection.message(message_id)

    async def _inbound(self, raw: RawMessage) -> Inbound:
        direct = not raw.room_id
        room = None if direct else await self._room(raw.room_id)
        sender = await self._sender(raw.sender_id, direct=direct)
        is_text = raw.kind == _TEXT
        called = () if direct or not is_text else await self._called(raw)
        return Inbound(
            channel=CHANNEL,
            id=raw.id,
            sender_id=raw.sender_id,
            sender_name=sender.name or sender.alias,
            room_id=raw.room_id or None,
            room_topic=None if room is None else room.topic,
            text=raw.text if is_text else f"[{_KINDS[raw.kind] if 0 <= raw.kind < len(_KINDS) else 'unknown'}]",
            # What is only quoted was said to somebody else, or before.
            mentioned=direct or self._named_in(raw) or says_name(without_quote(raw.text), called),
            at=_time(raw.timestamp),
            called=called,
        )

    async def _room(self, room_id: str) -> Room:
        known = self._directory.rooms.get(room_id)
        if known is not None:
            return known
        try:
            room = await self.connection.room(room_id)
        except GatewayError:
            return Room(room_id)
        try:
            await self._directory.save_rooms([room])
        except StorageError as error:
            log.warning("wechat directory not written", error=str(error))
        self._sync_wanted.set()
        return room

    async def _sender(self, contact_id: str, *, direct: bool) -> Contact:
        known = self._directory.contacts.get(contact_id) if direct else self._directory.person(contact_id)
        if known is not None:
            return known
        try:
            contact, friend = await self.connection.contact(contact_id)
        except GatewayError:
            return self._directory.person(contact_id) or Contact(contact_id)
        try:
            await self._directory.save_contacts([contact], friends=friend or direct)
        except StorageError as error:
            log.warning("wechat directory not written", error=str(error))
        if friend or direct:
            self._sync_wanted.set()
        return contact

    def _named_in(self, raw: RawMessage) -> bool:
        return bool(self.account) and self.account in raw.mention_ids

    async def _called(self, raw: RawMessage) -> tuple[str, ...]:
        """Give the bot's names in a room, where the text may have one of them: its own, and that in this room only."""
        if not re.search("[@＠]", raw.text):
            return ()
        names = [self.account_name]
        if not says_name(raw.text, names):
            names.append(await self._me_in(raw.room_id))
        return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))

    async def _me_in(self, room_id: str) -> str:
        """Give the name that the bot carries in a room only; empty where it has none."""
        key = _me(room_id)
        known = self._members.get(key)
        if known is not None and known[0] > time.monotonic() - _MEMBERS_KEPT:
            return known[1][0].room_alias
        try:
            member = await self.connection.member(room_id, self.account)
        except GatewayError:
            return ""
        self._members[key] = time.monotonic(), [Person(self.account, room_alias=member.room_alias)]
        return member.room_alias

    # Who is in a room

    async def members(self, room: Room) -> list[Person]:
        """Give the members of a room but the bot, with the names they carry there.

        Asks the gateway for each member once in ten minutes, for ten seconds at most; who could not be
        asked in time has the names of the directory.
        """
        known = self._members.get(room.id)
        if known is not None and known[0] > time.monotonic() - _MEMBERS_KEPT:
            return known[1]
        people = {person.id: person for person in self.friends_in(room)}
        ids = list(people)
        complete = False
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(_MEMBERS_LIMIT):
                for member in await self._gather(ids, lambda each: self.connection.member(room.id, each)):
                    people[member.id] = self._person(member.id, member.room_alias, member.name)
                complete = True
        if complete:
            self._members[room.id] = time.monotonic(), list(people.values())
        return list(people.values())

    async def learn_names(self, rooms: Iterable[Room]) -> None:
        """Ask for the names of members that nobody has told yet, each once on this connection.

        Takes ten seconds at most, whatever could not be asked in that time is asked at the next call.
        """
        with suppress(GatewayError, StorageError, TimeoutError):
            async with asyncio.timeout(_MEMBERS_LIMIT):
                for room in rooms:
                    await self._learn_names(room)

    async def _learn_names(self, room: Room) -> None:
        names = self._directory.names()
        others = [each for each in room.member_ids if each not in names and each != self.account]
        unknown = [each for each in others if (room.id, each) not in self._asked]
        for start in range(0, len(unknown), _NAMES_AT_ONCE):
            some = unknown[start : start + _NAMES_AT_ONCE]
            found = await self._gather(some, lambda each: self.connection.member(room.id, each))
            self._asked |= {(room.id, each) for each in some}
            strangers = [member for member in found if member.id not in self._directory.contacts and member.name]
            await self._directory.save_contacts(
                [Contact(member.id, member.name) for member in strangers], friends=False
            )

    def friends_in(self, room: Room) -> list[Person]:
        """Give the members of a room but the bot, with the names that are known without asking."""
        return [self._person(each) for each in room.member_ids if each != self.account]

    async def in_room(self, room: Room, person: Person) -> Person:
        """Give a member with the name they carry in the room; without it where the gateway does not say."""
        known = self._members.get(room.id)
        if known is not None:
            return next((each for each in known[1] if each.id == person.id), person)
        try:
            member = await self.connection.member(room.id, person.id)
        except GatewayError:
            return person
        return self._person(person.id, member.room_alias, member.name)

    def _person(self, contact_id: str, room_alias: str = "", name: str = "") -> Person:
        contact = self._directory.person(contact_id) or Contact(contact_id)
        return Person(contact_id, contact.alias, contact.handle, room_alias, name or contact.name)


def _me(room_id: str) -> str:
    """The key of the bot's own name in a room, beside those of the members'."""
    return f"me@{room_id}"


def _time(timestamp: float) -> datetime:
    seconds = timestamp / 1000 if timestamp > _MILLISECONDS else timestamp
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else datetime.now(UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.now(UTC)
