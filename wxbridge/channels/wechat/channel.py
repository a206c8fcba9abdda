"""The wechat channel: stays connected whatever happens, and sends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from wxbridge.channels import ChannelContext
from wxbridge.channels.mentions import EVERYONE, is_everyone
from wxbridge.channels.wechat import compat
from wxbridge.channels.wechat.directory import Contact, Room, WechatDirectory
from wxbridge.channels.wechat.gateway_errors import (
    EventStreamEnded,
    GatewayError,
    GatewayNoAnswer,
    GatewayRefusal,
    GatewayRequestNotSent,
    NoLoginCode,
    translate,
)
from wxbridge.channels.wechat.mentions import Person, find_person, with_mentions
from wxbridge.channels.wechat.resolver import TargetResolver
from wxbridge.channels.wechat.session import Host, SeenIds, WechatSession
from wxbridge.channels.wechat.settings import CAPABILITIES, PICTURE_LIMIT, WechatSettings, WechatTarget
from wxbridge.core.errors import BadAddress, Offline, Permanent
from wxbridge.core.model import ChannelState, ChannelStatus, Inbound, OnInbound, OnStatus, Outgoing, Receipt, Text

if TYPE_CHECKING:
    from wxbridge.channels.wechat.connection import WechatConnection

log = structlog.get_logger()

_TROUBLE = (
    ChannelState.LOGGED_OUT,
    ChannelState.UNAUTHORISED,
    ChannelState.TAKEN_OVER,
    ChannelState.UNREACHABLE,
)
_STANDING = (ChannelState.CONNECTING, ChannelState.UNREACHABLE, ChannelState.UNAUTHORISED, ChannelState.TAKEN_OVER)
"""States that a further attempt does not change until it succeeds: no flicker, no spam."""


@dataclass(frozen=True)
class WechatTiming:
    """The channel's times, in seconds; the defaults are for real life, tests bring their own."""

    deadline: float = 15.0
    """For every call; a picture gets a second more per megabyte."""
    ding_interval: float = 20.0
    ding_answer: float = 5.0
    backoff: float = 1.0
    """The first pause after a failure; it doubles, is jittered, and ends at `backoff_most`."""
    backoff_most: float = 30.0
    patience: float = 15.0
    """How long a held gateway is tried without Stop: our own dead connection may just not be noticed yet."""
    unauthorised: float = 60.0
    """Between two tries with a token that was refused."""
    ended: float = 3.0
    """After the gateway ended the stream: whoever took over gets to connect."""
    takeover: float = 300.0
    """How long another client is left alone before the gateway is taken back."""
    takeover_probe: float = 30.0
    """How often it is looked whether the other client is gone by itself."""
    resync: float = 600.0
    """Between two readings of all rooms and contacts."""
    settle: float = 30.0
    """After a login, until missing names are complained about where the gateway never says ready."""
    code: float = 60.0
    """After a logout or an expired QR code, until a new one is asked for by connecting again."""


class WechatChannel:
    """Personal WeChat through a Wechaty gateway; implements `model.Channel`."""

    capabilities = CAPABILITIES

    def __init__(self, context: ChannelContext, timing: WechatTiming | None = None) -> None:
        assert isinstance(context.settings, WechatSettings)  # noqa: S101 - the registry made it so
        self.settings = context.settings
        self.directory = WechatDirectory(context.database)
        self.addresses = TargetResolver(context, self.directory, context.settings.master)
        self._context = context
        self._timing = timing or WechatTiming()
        self._status = ChannelStatus(ChannelState.STARTING, datetime.now(UTC))
        self._on_status: OnStatus = lambda _: None
        self._session: WechatSession | None = None
        self._seen = SeenIds()
        self._inbox: asyncio.Queue[Inbound] = asyncio.Queue()
        self._codeless = 0
        """How many times in a row no QR code came."""
        # Who holds the gateway
        self._failures = 0
        self._held_at = 0.0
        self._displaced = False
        self._displaced_at = 0.0
        self._take_over = False

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
        self.addresses = self.addresses.for_targets(context, context.settings.master)
        if self._session is not None:
            self._session.check_soon()

    # Status

    @property
    def status(self) -> ChannelStatus:
        """The present state."""
        return self._status

    def _set_status(
        self, state: ChannelState, *, detail: str = "", account: str = "", qrcode: str | None = None
    ) -> None:
        now = ChannelStatus(state, self._status.since, detail, account, qrcode)
        if now == self._status:
            return
        if qrcode or state is ChannelState.ONLINE:
            self._codeless = 0
        if state is not self._status.state:
            now = replace(now, since=datetime.now(UTC))
        self._status = now
        tell = log.warning if state in _TROUBLE else log.info
        known = {key: value for key, value in (("detail", detail), ("account", account)) if value}
        tell("wechat state", state=state.value, **known)
        try:
            self._on_status(now)
        except Exception:
            log.exception("wechat status listener failed")

    # Staying connected

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:
        """Stay connected until cancelled; `on_inbound` is awaited for one message after the other."""
        self._on_status = on_status
        deliver = asyncio.create_task(self._deliver(on_inbound), name="wechat deliver")
        try:
            while True:
                pause = await self._connect()
                await asyncio.sleep(pause)
        finally:
            deliver.cancel()
            await asyncio.wait({deliver}, timeout=1.0)
            self._set_status(ChannelState.STOPPED)

    async def _deliver(self, on_inbound: OnInbound) -> None:
        while True:
            inbound = await self._inbox.get()
            try:
                await on_inbound(inbound)
            except Exception:
                log.exception("message not handled", id=inbound.id)

    async def _connect(self) -> float:
        """Connect and stay until it breaks; gives the seconds to wait before the next time."""
        if self._status.state not in _STANDING:
            self._set_status(ChannelState.CONNECTING, detail=f"connecting to {self.settings.endpoint}")
        try:
            await self._live()
        except GatewayRefusal as error:
            return self._refused(error)
        except EventStreamEnded:
            return self._ended()
        except NoLoginCode as error:
            return self._no_code(str(error))
        except (GatewayRequestNotSent, GatewayNoAnswer) as error:
            return self._unreachable(str(error))
        except Exception as error:
            # Whatever it is, the bridge goes on trying; the first time with its trace.
            log.warning("wechat connection failed", error=repr(error), exc_info=self._failures == 0)
            return self._unreachable(repr(error))
        raise AssertionError("serve() only ends by raising")

    async def _live(self) -> None:
        """Live through one connection.

        Raises:
            GatewayError: why it ended.
        """
        await self.addresses.load()
        await asyncio.to_thread(compat.load, self._context.state_dir / "wechaty")
        from wxbridge.channels.wechat.connection import WechatConnection

        timing = self._timing
        session = WechatSession(
            Host(
                self.directory,
                self._seen,
                self._set_status,
                self._inbox.put_nowait,
                self._check_targets,
                timing.resync,
                timing.settle,
                timing.code,
            )
        )
        connection = WechatConnection(
            endpoint=self.settings.endpoint,
            token=self.settings.token.get_secret_value().strip(),
            on_event=session.on_event,
            deadline=timing.deadline,
            ding_interval=timing.ding_interval,
            ding_answer=timing.ding_answer,
        )
        session.attach(connection)
        self._session = session
        take_over, self._take_over = self._take_over, False
        try:
            await connection.open(take_over=take_over)
            self._failures, self._held_at = 0, 0.0
            self._displaced, self._displaced_at = False, 0.0
            if not session.told:
                self._set_status(ChannelState.CONNECTING, detail="connected; waiting for WeChat's login")
                if self._codeless:
                    session.expect_code()
            await connection.serve()
        finally:
            self._session = None
            await _to_its_end(_close(session, connection))

    def _unreachable(self, words: str) -> float:
        endpoint = self.settings.endpoint
        self._set_status(ChannelState.UNREACHABLE, detail=f"the gateway at {endpoint} is not reached: {words}")
        return self._backoff()

    def _backoff(self) -> float:
        pause = min(self._timing.backoff * 2.0 ** min(self._failures, 30), self._timing.backoff_most)
        self._failures += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    def _no_code(self, words: str) -> float:
        """Ask for a login by Start alone first; then by Stop and Start, as there is no login to be lost."""
        self._codeless += 1
        self._take_over = self._codeless > 1
        how = "starts its login anew (Stop and Start)" if self._take_over else "connects again (Start)"
        detail = f"{words}; wxbridge {how} to get one. If none comes, restart the gateway"
        log.warning("wechat login asked for again", detail=detail, times=self._codeless)
        self._set_status(ChannelState.LOGGED_OUT, detail=detail)
        return 0.0

    def _ended(self) -> float:
        self._displaced = True
        detail = "the gateway ended the connection in good order; another client may have taken it over"
        self._set_status(ChannelState.CONNECTING, detail=detail)
        return self._timing.ended

    def _refused(self, error: GatewayRefusal) -> float:
        if error.code == "ALREADY_EXISTS":
            return self._taken()
        if error.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            detail = f"the gateway refuses the token ({error}); check `wechat.token`"
            self._set_status(ChannelState.UNAUTHORISED, detail=detail)
            return self._timing.unauthorised
        return self._unreachable(f"it answers {error}")

    def _taken(self) -> float:
        """Deal with another client that holds the gateway: whoever displaced us is left alone for long."""
        if self._displaced:
            return self._wait_for_the_other()
        now = asyncio.get_running_loop().time()
        self._held_at = self._held_at or now
        if now - self._held_at < self._timing.patience:
            detail = "the gateway serves another client, or has not noticed yet that our last connection is gone"
            self._set_status(ChannelState.CONNECTING, detail=detail)
            return self._backoff()
        detail = "another client was connected and is sent away; a scan may be needed"
        log.warning("wechat gateway taken", detail=detail)
        self._take_over, self._held_at = True, 0.0
        return 0.0

    def _wait_for_the_other(self) -> float:
        now = asyncio.get_running_loop().time()
        self._displaced_at = self._displaced_at or now
        left = self._displaced_at + self._timing.takeover - now
        if left <= 0:
            log.warning("wechat gateway taken back", detail="the other client is sent away; a scan may be needed")
            self._take_over = True
            self._displaced_at = 0.0
            return 0.0
        minutes = self._timing.takeover / 60
        detail = (
            f"another client has taken over the gateway; wxbridge takes it back {minutes:g} min after that, "
            "or as soon as the other is gone. Two bots cannot share one gateway: stop one of them"
        )
        self._set_status(ChannelState.TAKEN_OVER, detail=detail)
        return min(self._timing.takeover_probe, left)

    # Who is meant

    async def _check_targets(self) -> None:
        if self._session is not None:
            await self.addresses.check(self._session.learn_names)

    # Where somebody writes

    def targets_of(self, inbound: Inbound) -> tuple[str, ...]:
        """Give the targets that mean the chat of a message, in their order; none where nobody has named it.

        A target counts once it is certain what it means, as for sending: a room that took another's name does not.

        Raises:
            Offline: it cannot be told yet; rooms and contacts are still being read.
        """
        session = self._session
        if session is None or not session.account:
            raise Offline("WeChat is not logged in")
        chat = inbound.room_id or inbound.sender_id
        found, unsure = [], None
        for name, target in self._context.targets.items():
            if not isinstance(target, WechatTarget) or target.to or bool(target.room) != bool(inbound.room_id):
                continue
            try:
                if self._chat(session, target).id == chat:
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
            Offline: WeChat is not up, its rooms and contacts are still being read, or the master has not been
                told yet which of them is taken.
            BadAddress: the name finds nobody, or several; it waits for a person.
            Unknown: no answer in time; it may have been sent.
            Permanent, Transient, Throttled: what the gateway's answer means.
        """
        session = self._session
        if session is None or self._status.state is not ChannelState.ONLINE:
            state = self._status.state.value.replace("_", " ")
            raise Offline(f"WeChat is {state}" + (f": {self._status.detail}" if self._status.detail else ""))
        chat = self._chat(session, address)
        try:
            if isinstance(body, Text):
                return await self._send_text(session, chat, body.text, mentions or body.mentions)
            return await self._send_picture(session, chat, body.path, body.name, body.content_type)
        except GatewayError as error:
            raise translate(error) from error

    async def log_out(self) -> None:
        """Have the gateway log the account out; somebody has to scan again before anything is sent.

        Raises:
            Offline: nobody is logged in, or the gateway was not reached.
            Unknown: it did not answer; it may have been done, and the state tells.
            SendError: the gateway refuses.
        """
        session = self._session
        if session is None or self._status.state is not ChannelState.ONLINE:
            raise Offline("WeChat is not logged in")
        try:
            await session.connection.log_out()
        except GatewayError as error:
            raise translate(error, "logged out") from error

    def _chat(self, session: WechatSession, address: Any) -> Room | Contact:
        if not isinstance(address, WechatTarget):
            raise Permanent(f"this is no WeChat address: {address!r}")
        known = session.rooms_known if address.room else session.contacts_known
        if known:
            try:
                return self.addresses.find(address, complete=session.settled)
            except Offline:
                session.check_soon()
                raise
        # Ids are safe at once; a name may still turn out to be another's, too.
        name = (address.room or address.contact or "").strip()
        found = self.directory.rooms.get(name) if address.room else self.directory.contacts.get(name)
        if found is None:
            raise Offline("WeChat is online; its rooms and contacts are still being read")
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
        friends = session.friends_in(chat)
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
                person = find_person(name, await session.members(chat))
            else:
                person = await session.in_room(chat, person)
            shown.append((name.removeprefix("@"), False) if person is None else (person.shown, True))
            ids += [] if person is None else [person.id]
        return with_mentions(text, shown), list(dict.fromkeys(ids))

    async def _send_picture(
        self, session: WechatSession, chat: Room | Contact, path: str, name: str, content_type: str
    ) -> Receipt:
        try:
            data = await asyncio.to_thread(Path(path).read_bytes)
        except OSError as error:
            raise Permanent(f"the picture {name} cannot be read: {error.strerror or error}") from error
        if not data:
            raise Permanent(f"the picture {name} is empty")
        if len(data) > PICTURE_LIMIT:
            raise Permanent(f"the picture {name} has {len(data)} bytes; WeChat is sent {PICTURE_LIMIT} at most")
        return Receipt(await session.connection.send_picture(chat.id, name, data, content_type) or None)


async def _close(session: WechatSession, connection: WechatConnection) -> None:
    await session.close()
    await connection.close()


async def _to_its_end(closing: Coroutine[Any, Any, None]) -> None:
    """Await a clean-up that a cancellation must not cut short; it takes a second or two at the very most."""
    task = asyncio.create_task(closing)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.warning("wechat connection not closed", error=repr(failure))
    if cancelled is not None:
        raise cancelled


def _names(contact: Contact | Person) -> tuple[str, ...]:
    return tuple(name for name in (contact.id, contact.alias, contact.handle, contact.name) if name)
