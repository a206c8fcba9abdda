"""The wecom_bot channel: one bot, which stays connected whatever happens, and sends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.channels.connected import Backoff, SeenIds, StatusTracker, finish, handle_each, stay_connected
from wxbridge.channels.uploads import read_picture
from wxbridge.channels.wecom_bot import answers, checks, inbound
from wxbridge.channels.wecom_bot.connection import (
    BotConnection,
    BotConnectionFault,
    BotConnectionLost,
    BotNoAnswer,
    BotRequestNotSent,
    BotTakenOver,
    BotTiming,
    SubscriptionRefused,
)
from wxbridge.channels.wecom_bot.directory import BotDirectory
from wxbridge.channels.wecom_bot.frames import MESSAGE, PING, SEND, Frame
from wxbridge.channels.wecom_bot.markdown import write_content
from wxbridge.channels.wecom_bot.media import MIN_MEDIA_BYTES, BotMediaCache
from wxbridge.channels.wecom_bot.settings import (
    CAPABILITIES,
    MAX_MARKDOWN_BYTES,
    MAX_PICTURE_BYTES,
    BotSettings,
    BotsSettings,
    WecomBotTarget,
    bot_of,
    lanes,
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

_CHAT_TYPES = {"single": 1, "group": 2}


class WecomBotChannel:
    """A WeCom AI bot; implements `model.Channel`. The context's lane (`wecom_bot:NAME`) says which bot."""

    capabilities = CAPABILITIES

    def __init__(self, context: ChannelContext, timing: BotTiming | None = None) -> None:
        assert isinstance(context.settings, BotSettings)  # noqa: S101 - `of_lane` made it so
        self._lane = context.lane
        self.settings = context.settings
        self._targets = context.targets
        self._timing = timing or BotTiming()
        self.backoff = Backoff(self._timing.backoff, self._timing.backoff_most)
        self._directory = BotDirectory(context.database, self._lane, self.settings.bot_id)
        self.media = BotMediaCache(answer_seconds=self._timing.upload, pause_seconds=self._timing.upload_pause)
        self._status = StatusTracker("wecom bot", channel=self._lane)
        self._connection: BotConnection | None = None
        self._seen = SeenIds()
        self._inbox: asyncio.Queue[inbound.BotInbound] = asyncio.Queue()
        self._takeovers = 0

    # Another configuration

    def keeps(self, context: ChannelContext) -> bool:
        """Tell whether the connection can stay: the same bot at the same place, whatever else is new."""
        new = context.settings
        return isinstance(new, BotSettings) and _connection_keys(new) == _connection_keys(self.settings)

    def adopt(self, context: ChannelContext) -> None:
        """Go on with other targets, on the same connection; only where it `keeps`."""
        assert isinstance(context.settings, BotSettings)  # noqa: S101 - `keeps` has said so
        self.settings, self._targets = context.settings, context.targets

    # Status

    @property
    def status(self) -> ChannelStatus:
        """The present state."""
        return self._status.current

    # Staying connected

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:
        """Stay connected until cancelled; `on_inbound` is awaited for one message after the other."""
        self._status.listener = on_status

        async def handle(said: inbound.BotInbound) -> None:
            await on_inbound(await self._inbound(said))

        hear = handle_each(self._inbox, handle)
        await stay_connected(self._connect, hear, self._status, name=f"{self._lane} hear", close=self._timing.close)

    async def _connect(self) -> float:
        """Connect and stay until it breaks; gives the seconds to wait before the next time."""
        self._status.set_connecting(f"connecting to {self.settings.ws_url}")
        began = asyncio.get_running_loop().time()
        try:
            await self._serve()
        except SubscriptionRefused as error:
            return self._wait_after_refusal(error)
        except BotTakenOver:
            return self._wait_after_takeover(asyncio.get_running_loop().time() - began)
        except BotConnectionFault as error:
            fault = str(error)
        except Exception as error:
            # Whatever it is, the bridge goes on trying; the first time with its trace.
            is_first = self.backoff.failures == 0
            log.warning("wecom bot failed", channel=self._lane, error=repr(error), exc_info=is_first)
            fault = repr(error)
        if self._status.is_online and asyncio.get_running_loop().time() - began > self._timing.steady:
            self.backoff.reset()
        return self._wait_unreachable(fault)

    async def _serve(self) -> None:
        """Live through one connection.

        Raises:
            BotConnectionFault: why it ended.
        """
        settings = self.settings
        connection = BotConnection(settings.ws_url, self._timing, self._on_callback, settings.ca)
        try:
            await connection.open(settings.bot_id, settings.secret.get_secret_value().strip())
            self._connection = connection
            self._status.set(ChannelState.ONLINE, account=settings.bot_id)
            await connection.serve()
        finally:
            self._connection = None
            await finish(connection.close(), "wecom bot connection")

    def _wait_unreachable(self, fault: str) -> float:
        detail = f"WeCom is not reached at {self.settings.ws_url}: {fault}"
        self._status.set(ChannelState.UNREACHABLE, detail=detail)
        return self.backoff.next_pause()

    def _wait_after_refusal(self, error: SubscriptionRefused) -> float:
        if answers.is_passing(error.code):
            return self._wait_unreachable(f"it answers the subscription with {error}")
        name = self._lane.partition(":")[2] or "…"
        detail = (
            f"WeCom refuses the bot ({error}); check `bots.{name}.bot_id` and `bots.{name}.secret`, and that the bot "
            "was created in API mode with the long connection"
        )
        self._status.set(ChannelState.UNAUTHORISED, detail=detail)
        return self._timing.unauthorised

    def _wait_after_takeover(self, lasted: float) -> float:
        """Leave whoever took over alone for long: every subscription ends the other's."""
        self.backoff.reset()
        if lasted > self._timing.takeover:
            self._takeovers = 0
        pause = min(self._timing.takeover * 2.0 ** min(self._takeovers, 30), self._timing.takeover_most)
        self._takeovers += 1
        detail = (
            f"another connection of this bot has taken over; wxbridge takes it back after {pause / 60:g} min. "
            "A bot has one connection: stop the other program, or give it a bot of its own"
        )
        self._status.set(ChannelState.TAKEN_OVER, detail=detail)
        return pause

    # What people write

    def _on_callback(self, frame: Frame) -> None:
        if frame.cmd != MESSAGE:
            # Entering a chat, buttons, feedback: nothing for a bridge to do.
            log.debug("wecom bot event", channel=self._lane, body=str(frame.body)[:300])
            return
        said = inbound.read_message(frame.body, bot_name=self.settings.name)
        if said is None:
            log.warning("wecom bot message not read", channel=self._lane, body=str(frame.body)[:300])
        elif not said.id or self._seen.add(said.id):
            self._inbox.put_nowait(said)

    async def _inbound(self, said: inbound.BotInbound) -> Inbound:
        try:
            if not self._directory.loaded:
                await self._directory.load()
            await self._directory.remember(said.user, said.group)
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
        if connection is None or not self._status.is_online:
            raise Offline(f"the bot is {self._status.describe()}")
        try:
            if isinstance(body, Text):
                content = _build_content(body, mentions or body.mentions)
                return await self._send(connection, address, "markdown", {"content": content})
            media_id = await self.media.get_or_upload(connection, body.name, await _read_picture(body))
            return await self._send(connection, address, "image", {"media_id": media_id})
        except BotRequestNotSent as error:
            raise Offline(f"WeCom was not reached: {error}") from error
        except BotNoAnswer as error:
            raise Unknown(f"WeCom did not answer: {error}; it may have been sent") from error

    async def prove_alive(self, address: Any) -> None:  # noqa: ARG002 - all conversations share the connection
        """Ping WeCom over the connection of now. Raises `Offline` where no answer comes."""
        connection = self._connection
        if connection is None or not self._status.is_online:
            raise Offline(f"the bot is {self._status.describe()}")
        try:
            await connection.request(PING, None, seconds=self._timing.pong)
        except (BotRequestNotSent, BotNoAnswer) as error:
            raise Offline(f"WeCom gives no sign of life: {error}") from error

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
            self.media.forget(str(part.get("media_id")))
        raise error


def _connection_keys(settings: BotSettings) -> tuple[str, str, str, Path | None]:
    """Give what a connection is made with: another value needs another connection."""
    return settings.bot_id, settings.secret.get_secret_value(), settings.ws_url, settings.ca


def _build_content(body: Text, mentions: tuple[str, ...]) -> str:
    if not body.text.strip():
        raise Permanent("the text is empty: WeCom sends none")
    content = write_content(body, mentions)
    size = len(content.encode())
    if size > MAX_MARKDOWN_BYTES:
        raise Permanent(f"the text has {size} bytes as it goes to WeCom, which takes {MAX_MARKDOWN_BYTES} at most")
    return content


async def _read_picture(picture: PictureFile) -> bytes:
    data = await read_picture(picture)
    if not MIN_MEDIA_BYTES <= len(data) <= MAX_PICTURE_BYTES:
        raise Permanent(
            f"the picture {picture.name} has {len(data)} bytes; WeCom takes {MIN_MEDIA_BYTES} to {MAX_PICTURE_BYTES}"
        )
    return data


PLUGIN = ChannelPlugin(
    target=WecomBotTarget,
    create=WecomBotChannel,
    capabilities=CAPABILITIES,
    section="bots",
    people="wecom",
    settings=BotsSettings,
    lanes=lanes,
    of_lane=bot_of,
    checks={"bots": checks.check_bots},
)
