"""The wechat channel: stays connected whatever happens, and sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.channels.connected import SeenIds, StatusTracker, finish, handle_each, stay_connected
from wxbridge.channels.mentions import EVERYONE, is_everyone
from wxbridge.channels.uploads import read_picture
from wxbridge.channels.wechat import checks, compat
from wxbridge.channels.wechat.directory import Contact, Room, WechatDirectory
from wxbridge.channels.wechat.gateway_errors import GatewayError, explain_error
from wxbridge.channels.wechat.mentions import Person, find_person, with_mentions
from wxbridge.channels.wechat.reconnect import ReconnectPolicy
from wxbridge.channels.wechat.resolver import TargetResolver
from wxbridge.channels.wechat.session import WechatSession
from wxbridge.channels.wechat.settings import CAPABILITIES, MAX_PICTURE_BYTES, WechatSettings, WechatTarget
from wxbridge.channels.wechat.timing import WechatTiming
from wxbridge.core.errors import BadAddress, NotReady, Offline, Permanent
from wxbridge.core.model import (
    ChannelState,
    ChannelStatus,
    Inbound,
    OnInbound,
    OnStatus,
    Outgoing,
    PictureFile,
    Receipt,
    Text,
)

if TYPE_CHECKING:
    from wxbridge.channels.wechat.connection import WechatConnection

log = structlog.get_logger()


class WechatChannel:
    """Personal WeChat through a Wechaty gateway; implements `model.Channel`."""

    capabilities = CAPABILITIES

    def __init__(self, context: ChannelContext, timing: WechatTiming | None = None) -> None:
        assert isinstance(context.settings, WechatSettings)  # noqa: S101 - the registry made it so
        self.settings = context.settings
        self.directory = WechatDirectory(context.database)
        self.resolver = TargetResolver(context, self.directory, context.settings.master)
        self.session: WechatSession | None = None
        """What happens on the present connection; None between two."""
        self._context = context
        self._timing = timing or WechatTiming()
        if context.database.is_server:
            # Whoever holds the gateway may be the bridge that led before: stopped, and past its lease.
            self._timing = replace(self._timing, patience=min(self._timing.patience, self._timing.patience_shared))
        self.reconnect = ReconnectPolicy(context.settings.endpoint, self._timing)
        self._status = StatusTracker("wechat")
        self._seen = SeenIds()
        self._inbox: asyncio.Queue[Inbound] = asyncio.Queue()

    # Another configuration

    def keeps(self, context: ChannelContext) -> bool:
        """Tell whether the connection can stay: the same gateway and token, whatever else is new."""
        new = context.settings
        return (
            isinstance(new, WechatSettings)
            and (new.endpoint, new.token) == (self.settings.endpoint, self.settings.token)
            and context.state_dir == self._context.state_dir
        )

    def adopt(self, context: ChannelContext) -> None:
        """Go on with other targets and another master, on the same connection; only where it `keeps`."""
        assert isinstance(context.settings, WechatSettings)  # noqa: S101 - `keeps` has said so
        self.settings, self._context = context.settings, context
        self.resolver = self.resolver.with_targets(context, context.settings.master)
        if self.session is not None:
            self.session.check_soon()

    # Status

    @property
    def status(self) -> ChannelStatus:
        """The present state."""
        return self._status.current

    def set_status(
        self, state: ChannelState, *, detail: str = "", account: str = "", qrcode: str | None = None
    ) -> None:
        """Take up a state, log it, and tell it."""
        if qrcode or state is ChannelState.ONLINE:
            self.reconnect.note_login()
        self._status.set(state, detail=detail, account=account, qrcode=qrcode)

    # Staying connected

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:
        """Stay connected until cancelled; `on_inbound` is awaited for one message after the other."""
        self._status.listener = on_status
        hear = handle_each(self._inbox, on_inbound)
        await stay_connected(self._connect, hear, self._status, name="wechat deliver", close=1.0)

    async def _connect(self) -> float:
        """Connect and stay until it breaks; gives the seconds to wait before the next time."""
        self._status.set_connecting(f"connecting to {self.settings.endpoint}")
        try:
            await self._serve()
        except GatewayError as error:
            attempt = self.reconnect.decide(error)
        except Exception as error:
            # Whatever it is, the bridge goes on trying; the first time with its trace.
            is_first = self.reconnect.backoff.failures == 0
            log.warning("wechat connection failed", error=repr(error), exc_info=is_first)
            attempt = self.reconnect.decide_unreachable(repr(error))
        if attempt.state is not None:
            self._status.set(attempt.state, detail=attempt.detail)
        return attempt.pause

    async def _serve(self) -> None:
        """Live through one connection.

        Raises:
            GatewayError: why it ended.
        """
        await self.resolver.load()
        await asyncio.to_thread(compat.load, self._context.state_dir / "wechaty")
        # Brings wechaty, which costs half a second and 70 MB: only once there is a gateway to talk to.
        from wxbridge.channels.wechat.connection import WechatConnection

        connection = WechatConnection(
            endpoint=self.settings.endpoint, token=self.settings.token.get_secret_value().strip(), timing=self._timing
        )
        session = WechatSession(self, connection, self.directory, self._seen, self._timing)
        session.start()
        self.session = session
        try:
            await connection.open(session.on_event, take_over=self.reconnect.take_stop())
            self.reconnect.note_connected()
            if not session.has_told_login:
                self._status.set(ChannelState.CONNECTING, detail="connected; waiting for WeChat's login")
                if self.reconnect.codeless:
                    session.expect_code()
            await connection.serve()
        finally:
            self.session = None
            await finish(_close(session, connection), "wechat connection")

    def receive(self, inbound: Inbound) -> None:
        """Take a message that somebody wrote."""
        self._inbox.put_nowait(inbound)

    # Who is meant

    async def check_targets(self) -> None:
        """Look up whom the targets mean; nothing happens between two connections."""
        if self.session is not None:
            await self.resolver.check(self.session.members, self.session.unlisted)

    # Where somebody writes

    def targets_of(self, inbound: Inbound) -> tuple[str, ...]:
        """Give the targets that mean the chat of a message, in their order; none where nobody has named it.

        A target counts once it is certain what it means, as for sending: a room that took another's name does not.

        Raises:
            Offline: it cannot be told yet; rooms and contacts are still being read.
        """
        session = self.session
        if session is None or not session.login.account:
            raise Offline("WeChat is not logged in")
        chat = inbound.room_id or inbound.sender_id
        found, unsure = [], None
        for name, target in self._context.targets.items():
            if not isinstance(target, WechatTarget) or target.to or bool(target.room) != bool(inbound.room_id):
                continue
            try:
                if self._find_chat(session, target).id == chat:
                    found.append(name)
            except Offline as error:
                unsure = error
            except BadAddress:
                continue
        if not found and unsure is not None:
            raise unsure
        return tuple(found)

    # Sending

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:
        """Send a text or picture to a room or contact; `address` is a `WechatTarget`.

        Raises:
            Offline: WeChat is not up.
            NotReady: its rooms and contacts are still being read, or the master has not been told yet which of them
                is taken.
            BadAddress: the name finds nobody, or several; it waits for a person.
            Unknown: no answer in time; it may have been sent.
            Permanent, Transient, Throttled: what the gateway's answer means.
        """
        session = self.session
        if session is None or not self._status.is_online:
            raise Offline(f"WeChat is {self._status.describe()}")
        if session.connection.is_unproven:
            raise Offline("the WeChat gateway has not answered a call, and is asked whether it is alive")
        if isinstance(address, WechatTarget):
            await session.unlisted.find_by_id(address)
        chat = self._find_chat(session, address)
        try:
            if isinstance(body, Text):
                return await self._send_text(session, chat, body.text, mentions or body.mentions)
            return await self._send_picture(session, chat, body)
        except GatewayError as error:
            await session.unlisted.note_refused_send(chat.id, error)
            raise explain_error(error) from error

    async def log_out(self) -> None:
        """Have the gateway log the account out; somebody has to scan again before anything is sent.

        Raises:
            Offline: nobody is logged in, or the gateway was not reached.
            Unknown: it did not answer; it may have been done, and the state tells.
            SendError: the gateway refuses.
        """
        session = self.session
        if session is None or not self._status.is_online:
            raise Offline("WeChat is not logged in")
        try:
            await session.connection.log_out()
        except GatewayError as error:
            raise explain_error(error, "logged out") from error

    def _find_chat(self, session: WechatSession, address: Any) -> Room | Contact:
        if not isinstance(address, WechatTarget):
            raise Permanent(f"this is no WeChat address: {address!r}")
        known = session.sync.rooms_known if address.room else session.sync.contacts_known
        if known:
            try:
                return self.resolver.resolve(address, complete=session.sync.settled)
            except NotReady:
                session.check_soon()
                raise
        # Ids are safe at once; a name may still turn out to be another's, too.
        name = (address.room or address.contact or "").strip()
        found = self.directory.rooms.get(name) if address.room else self.directory.contacts.get(name)
        if found is None:
            raise NotReady("WeChat is online; its rooms and contacts are still being read")
        return found

    async def _send_text(
        self, session: WechatSession, chat: Room | Contact, text: str, mentions: Sequence[str]
    ) -> Receipt:
        if not text.strip():
            raise Permanent("the text is empty: WeChat sends none")
        ids: list[str] = []
        if mentions:
            text, ids = await self._mention(session, chat, text, mentions)
        return Receipt(await session.connection.send_text(chat.id, text, ids) or None)

    async def _mention(
        self, session: WechatSession, chat: Room | Contact, text: str, mentions: Sequence[str]
    ) -> tuple[str, list[str]]:
        """Turn names into member ids and the `@name` that belongs to them; who is no member is only named."""
        if isinstance(chat, Contact):
            # Whoever is written to is addressed already.
            others = [name for name in mentions if not is_everyone(name) and name not in _names(chat)]
            return with_mentions(text, [(name.removeprefix("@"), False) for name in others]), []
        friends = session.members.list_known(chat)
        shown: list[tuple[str, bool]] = []
        ids: list[str] = []
        for name in mentions:
            if is_everyone(name):
                shown.append((EVERYONE, True))
                ids += [person.id for person in friends]
                continue
            # Asking for all of a large room's members takes seconds: only where nobody known fits.
            person = find_person(name, friends)
            if person is None:
                person = find_person(name, await session.members.list_members(chat))
            else:
                person = await session.members.add_room_name(chat, person)
            shown.append((name.removeprefix("@"), False) if person is None else (person.shown, True))
            ids += [] if person is None else [person.id]
        return with_mentions(text, shown), list(dict.fromkeys(ids))

    @staticmethod
    async def _send_picture(session: WechatSession, chat: Room | Contact, body: PictureFile) -> Receipt:
        name, data = body.name, await read_picture(body)
        if not data:
            raise Permanent(f"the picture {name} is empty")
        if len(data) > MAX_PICTURE_BYTES:
            raise Permanent(f"the picture {name} has {len(data)} bytes; WeChat is sent {MAX_PICTURE_BYTES} at most")
        return Receipt(await session.connection.send_picture(chat.id, name, data, body.content_type) or None)


async def _close(session: WechatSession, connection: WechatConnection) -> None:
    await session.close()
    await connection.close()


def _names(contact: Contact | Person) -> tuple[str, ...]:
    return tuple(name for name in (contact.id, contact.alias, contact.handle, contact.name) if name)


PLUGIN = ChannelPlugin(
    target=WechatTarget,
    create=WechatChannel,
    capabilities=CAPABILITIES,
    jitter=1.5,
    section="wechat",
    settings=WechatSettings,
    checks={"gateway": checks.check_gateway, "login": checks.check_login, "addresses": checks.check_addresses},
)
