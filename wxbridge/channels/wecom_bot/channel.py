"""The wecom_bot channel: one bot, which stays connected whatever happens, and sends."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from wxbridge.channels import ChannelContext
from wxbridge.channels.wecom_bot import answers, inbound
from wxbridge.channels.wecom_bot.connection import (
    BotConnection,
    BotConnectionFault,
    BotConnectionLost,
    BotNoAnswer,
    BotRequestNotSent,
    BotTakenOver,
    Patience,
    SubscriptionRefused,
)
from wxbridge.channels.wecom_bot.directory import BotDirectory
from wxbridge.channels.wecom_bot.frames import MESSAGE, SEND, Frame
from wxbridge.channels.wecom_bot.markdown import plain, with_mentions
from wxbridge.channels.wecom_bot.media import SMALLEST, BotMediaCache
from wxbridge.channels.wecom_bot.settings import (
    CAPABILITIES,
    CHANNEL,
    MARKDOWN_LIMIT,
    PICTURE_LIMIT,
    BotSettings,
    WecomBotTarget,
    bot_of,
)
from wxbridge.core.errors import Offline, Permanent, StorageError, Unknown
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

log = structlog.get_logger()

_TROUBLE = (ChannelState.UNAUTHORISED, ChannelState.TAKEN_OVER, ChannelState.UNREACHABLE)
_STANDING = (ChannelState.CONNECTING, *_TROUBLE)
"""States that a further attempt does not change until it succeeds: no flicker, no spam."""
_CHAT_TYPES = {"single": 1, "group": 2}
_SEEN = 5000
"""How many ids of messages are remembered, so that what comes twice is dropped."""


@dataclass(frozen=True)
class BotTiming:
    """The channel's times, in seconds; the defaults are for real life, tests bring their own."""

    connect: float = 15.0
    """For the connection, and for the answer to the subscription."""
    answer: float = 5.0
    """For the answer to a message: after that it may have been sent, or not."""
    upload: float = 30.0
    """For the answer to each chunk of a picture; a slow line takes a while for half a megabyte."""
    upload_pause: float = 0.5
    """Before a chunk is tried again; then twice as long."""
    ping: float = 30.0
    pong: float = 10.0
    """For the answer to a ping; two in a row without one, and the connection is given up."""
    backoff: float = 1.0
    """The first pause after a failure; it doubles, is jittered, and ends at `backoff_most`."""
    backoff_most: float = 30.0
    steady: float = 30.0
    """A connection that lasted as long as this was a good one: the pauses begin anew."""
    unauthorised: float = 60.0
    """Between two tries with a secret that was refused."""
    takeover: float = 600.0
    """How long another connection of the bot is left alone: subscribing would end it. It doubles each time."""
    takeover_most: float = 3600.0
    close: float = 1.0
    """For the connection to end in good order."""


class WecomBotChannel:
    """A WeCom AI bot; implements `model.Channel`. The context's lane (`wecom_bot:NAME`) says which bot."""

    capabilities = CAPABILITIES

    def __init__(self, context: ChannelContext, timing: BotTiming | None = None) -> None:
        self._lane = lane_of(context)
        self.settings: BotSettings = bot_of(context.settings, self._lane)
        self._targets = context.targets
        self._timing = timing or BotTiming()
        self._directory = BotDirectory(context.database, self._lane, self.settings.bot_id)
        self._media = BotMediaCache(patience=self._timing.upload, pause=self._timing.upload_pause)
        self._status = ChannelStatus(ChannelState.STARTING, datetime.now(UTC))
        self._on_status: OnStatus = lambda _: None
        self._connection: BotConnection | None = None
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._said: asyncio.Queue[inbound.BotInbound] = asyncio.Queue()
        self._failures = 0
        self._takeovers = 0

    # Another configuration

    def keeps(self, context: ChannelContext) -> bool:
        """Tell whether the connection can stay: the same bot at the same place, whatever else is new."""
        new = bot_of(context.settings, lane_of(context))
        return lane_of(context) == self._lane and _place(new) == _place(self.settings)

    def adopt(self, context: ChannelContext) -> None:
        """Go on with other targets, on the same connection; only where it `keeps`."""
        self.settings = bot_of(context.settings, lane_of(context))
        self._targets = context.targets

    # Status

    @property
    def status(self) -> ChannelStatus:
        """The present state."""
        return self._status

    def _set_status(self, state: ChannelState, detail: str = "") -> None:
        account = self.settings.bot_id if state is ChannelState.ONLINE else ""
        now = ChannelStatus(state, self._status.since, detail, account)
        if now == self._status:
            return
        if state is not self._status.state:
            now = replace(now, since=datetime.now(UTC))
        self._status = now
        tell = log.warning if state in _TROUBLE else log.info
        known = {key: value for key, value in (("detail", detail), ("account", account)) if value}
        tell("wecom bot state", channel=self._lane, state=state.value, **known)
        try:
            self._on_status(now)
        except Exception:
            log.exception("wecom bot status listener failed", channel=self._lane)

    # Staying connected

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:
        """Stay connected until cancelled; `on_inbound` is awaited for one message after the other."""
        self._on_status = on_status
        hear = asyncio.create_task(self._hear(on_inbound), name=f"{self._lane} hear")
        try:
            while True:
                pause = await self._connect()
                await asyncio.sleep(pause)
        finally:
            hear.cancel()
            await asyncio.wait({hear}, timeout=self._timing.close)
            self._set_status(ChannelState.STOPPED)

    async def _connect(self) -> float:
        """Connect and stay until it breaks; gives the seconds to wait before the next time."""
        if self._status.state not in _STANDING:
            self._set_status(ChannelState.CONNECTING, f"connecting to {self.settings.ws_url}")
        began = asyncio.get_running_loop().time()
        try:
            await self._live()
        except SubscriptionRefused as error:
            return self._refused(error)
        except BotTakenOver:
            return self._taken(asyncio.get_running_loop().time() - began)
        except BotConnectionFault as error:
            fault = str(error)
        except Exception as error:
            # Whatever it is, the bridge goes on trying; the first time with its trace.
            log.warning("wecom bot failed", channel=self._lane, error=repr(error), exc_info=self._failures == 0)
            fault = repr(error)
        if (
            self._status.state is ChannelState.ONLINE
            and asyncio.get_running_loop().time() - began > self._timing.steady
        ):
            self._failures = 0
        return self._unreachable(fault)

    async def _live(self) -> None:
        """Live through one connection.

        Raises:
            BotConnectionFault: why it ended.
        """
        timing, settings = self._timing, self.settings
        patience = Patience(timing.connect, timing.answer, timing.ping, timing.pong, timing.close)
        connection = BotConnection(settings.ws_url, patience, self._on_callback, settings.ca)
        try:
            await connection.open(settings.bot_id, settings.secret.get_secret_value().strip())
            self._connection = connection
            self._set_status(ChannelState.ONLINE)
            await connection.serve()
        finally:
            self._connection = None
            # A cancellation must not leave the socket open; this takes a second or two at the very most.
            closing = asyncio.ensure_future(connection.close())
            await asyncio.wait({closing})

    def _unreachable(self, fault: str) -> float:
        detail = f"WeCom is not reached at {self.settings.ws_url}: {fault}"
        self._set_status(ChannelState.UNREACHABLE, detail)
        pause = min(self._timing.backoff * 2.0 ** min(self._failures, 30), self._timing.backoff_most)
        self._failures += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    def _refused(self, error: SubscriptionRefused) -> float:
        if answers.passing(error.code):
            return self._unreachable(f"it answers the subscription with {error}")
        name = self._lane.partition(":")[2] or "…"
        detail = (
            f"WeCom refuses the bot ({error}); check `bots.{name}.bot_id` and `bots.{name}.secret`, and that the bot "
            "was created in API mode with the long connection"
        )
        self._set_status(ChannelState.UNAUTHORISED, detail)
        return self._timing.unauthorised

    def _taken(self, lasted: float) -> float:
        """Leave whoever took over alone for long: every subscription ends the other's."""
        self._failures = 0
        if lasted > self._timing.takeover:
            self._takeovers = 0
        pause = min(self._timing.takeover * 2.0 ** min(self._takeovers, 30), self._timing.takeover_most)
        self._takeovers += 1
        detail = (
            f"another connection of this bot has taken over; wxbridge takes it back after {pause / 60:g} min. "
            "A bot has one connection: stop the other program, or give it a bot of its own"
        )
        self._set_status(ChannelState.TAKEN_OVER, detail)
        return pause

    # What people write

    def _on_callback(self, frame: Frame) -> None:
        if frame.cmd != MESSAGE:
            # Entering a chat, buttons, feedback: nothing for a bridge to do.
            log.debug("wecom bot event", channel=self._lane, body=str(frame.body)[:300])
            return
        said = inbound.read(frame.body, bot_name=self.settings.name)
        if said is None:
            log.warning("wecom bot message not read", channel=self._lane, body=str(frame.body)[:300])
        elif self._is_new(said.id):
            self._said.put_nowait(said)

    def _is_new(self, message_id: str) -> bool:
        if not message_id:
            return True
        if message_id in self._seen:
            return False
        self._seen[message_id] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)
        return True

    async def _hear(self, on_inbound: OnInbound) -> None:
        while True:
            said = await self._said.get()
            try:
                await on_inbound(await self._inbound(said))
            except Exception:
                log.exception("message not handled", id=said.id)

    async def _inbound(self, said: inbound.BotInbound) -> Inbound:
        try:
            if not self._directory.loaded:
                await self._directory.load()
            await self._directory.met(said.user, said.group)
        except StorageError as error:
            log.warning("wecom bot directory not written", channel=self._lane, error=str(error))
        topic = self._directory.topic(said.group) if said.group else None
        quoted = {"quoted": said.quoted} if said.quoted else {}
        log.info(
            "message",
            room=said.group or None,
            topic=topic,
            sender=said.user,
            name=said.user,
            text=said.text,
            channel=self._lane,
            **quoted,
        )
        return Inbound(
            channel=self._lane,
            id=said.id,
            sender_id=said.user,
            sender_name=said.user,
            room_id=said.group or None,
            room_topic=topic,
            text=said.text,
            # WeCom brings a bot what is said to it, and nothing else.
            mentioned=True,
            at=said.at,
        )

    # Where somebody writes

    def targets_of(self, inbound: Inbound) -> tuple[str, ...]:
        """Give the targets that mean the chat of a message, in their order; none where nobody has named it."""
        chat, other = (inbound.room_id, "single") if inbound.room_id else (inbound.sender_id, "group")
        return tuple(
            name
            for name, target in self._targets.items()
            if isinstance(target, WecomBotTarget) and target.chat.strip() == chat and target.chat_type != other
        )

    # Sending

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:
        """Send a text or picture to a conversation; `address` is a `WecomBotTarget`.

        Raises:
            Offline: the bot is not connected, or was cut off before the message left.
            Unknown: no answer within 5 s; it may have been sent.
            BadAddress: somebody has to write to the bot there first, or there is no such conversation. It waits.
            Permanent, Throttled, Transient: what WeCom's answer means.
        """
        if not isinstance(address, WecomBotTarget):
            raise Permanent(f"this is no conversation of a bot: {address!r}")
        connection = self._connection
        if connection is None or self._status.state is not ChannelState.ONLINE:
            state = self._status.state.value.replace("_", " ")
            raise Offline(f"the bot is {state}" + (f": {self._status.detail}" if self._status.detail else ""))
        try:
            if isinstance(body, Text):
                content = _content(body, mentions or body.mentions)
                return await self._send(connection, address, "markdown", {"content": content})
            media_id = await self._media.id_of(connection, body.name, await _read(body))
            return await self._send(connection, address, "image", {"media_id": media_id})
        except BotRequestNotSent as error:
            raise Offline(f"WeCom was not reached: {error}") from error
        except BotNoAnswer as error:
            raise Unknown(f"WeCom did not answer: {error}; it may have been sent") from error

    async def _send(
        self, connection: BotConnection, address: WecomBotTarget, kind: str, part: Mapping[str, Any]
    ) -> Receipt:
        message: dict[str, Any] = {"chatid": address.chat.strip(), "msgtype": kind, kind: dict(part)}
        if address.chat_type is not None:
            message["chat_type"] = _CHAT_TYPES[address.chat_type]
        answer = await connection.request(SEND, message)
        error = answers.classify(answer.errcode, answer.errmsg)
        if error is None:
            return Receipt(answer.req_id)
        if answer.errcode in (answers.NOT_SUBSCRIBED, *answers.BAD_SECRET):
            connection.give_up(
                BotConnectionLost(f"WeCom has forgotten the subscription ({answer.errcode} {answer.errmsg[:200]})")
            )
        if answer.errcode == answers.BAD_MEDIA:
            self._media.forget(str(part.get("media_id")))
        raise error


def lane_of(context: ChannelContext) -> str:
    """The lane that a channel is made for: the context's own word, or its targets', which share one."""
    lanes = {target.lane() for target in context.targets.values()}
    return str(getattr(context, "lane", "") or (lanes.pop() if len(lanes) == 1 else CHANNEL))


def _place(settings: BotSettings) -> tuple[str, str, str, Path | None]:
    return settings.bot_id, settings.secret.get_secret_value(), settings.ws_url, settings.ca


def _content(body: Text, mentions: tuple[str, ...]) -> str:
    if not body.text.strip():
        raise Permanent("the text is empty: WeCom sends none")
    content = with_mentions(body.text if body.format == "markdown" else plain(body.text), mentions)
    size = len(content.encode())
    if size > MARKDOWN_LIMIT:
        raise Permanent(f"the text has {size} bytes as it goes to WeCom, which takes {MARKDOWN_LIMIT} at most")
    return content


async def _read(picture: PictureFile) -> bytes:
    try:
        data = await asyncio.to_thread(Path(picture.path).read_bytes)
    except OSError as error:
        raise Permanent(f"the picture {picture.name} cannot be read: {error.strerror or error}") from error
    if not SMALLEST <= len(data) <= PICTURE_LIMIT:
        raise Permanent(f"the picture {picture.name} has {len(data)} bytes; WeCom takes {SMALLEST} to {PICTURE_LIMIT}")
    return data
