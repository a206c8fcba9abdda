"""One connection to the gateway, from `open` to `close`; the next one is a new object.

Importing this module imports wechaty: import it where a connection is made.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from wxbridge.channels.wechat import events
from wxbridge.channels.wechat.directory import Contact, Room
from wxbridge.channels.wechat.gateway_errors import (
    EventStreamEnded,
    GatewayError,
    GatewayNoAnswer,
    GatewayRefusal,
    GatewayRequestNotSent,
)
from wxbridge.channels.wechat.names import read_emoji, read_name
from wxbridge.channels.wechat.own_messages import OwnMessages
from wxbridge.channels.wechat.payloads import RawMessage, RoomMember
from wxbridge.channels.wechat.puppet import (
    GatewayBot,
    GatewayPuppet,
    OnEvent,
    empty_pools,
    end_tasks,
    explain_failure,
    make_file_box,
)
from wxbridge.channels.wechat.timing import WechatTiming
from wxbridge.core.errors import describe_error

T = TypeVar("T")

MAX_UNARY_BYTES = 3_000_000
"""Of a picture that goes in one call; base64 of more would pass the gateway's 4 MiB a message."""
MAX_SILENCE_SECONDS = 60.0
"""After so long without any event a gateway that cannot be dinged counts as dead."""


@dataclass(frozen=True)
class FoundContact:
    """A contact, and whether it is a friend of the bot's account."""

    contact: Contact
    is_friend: bool


class WechatConnection:
    """One connection; events are told on the event loop.

    Every call has a deadline and raises a `GatewayError`: `GatewayRequestNotSent`, `GatewayNoAnswer` or
    `GatewayRefusal`.
    """

    def __init__(self, *, endpoint: str, token: str, timing: WechatTiming) -> None:
        self._timing = timing
        self._on_event: OnEvent = lambda _name, _payload: None
        self._puppet = GatewayPuppet(endpoint, token, timing.deadline, self._raw_event)
        self._bot = GatewayBot(self._puppet, self._event)
        self._events: asyncio.Task[None] | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._word = ""
        self._heard = asyncio.Event()
        self._answered = asyncio.Event()
        self._doubt = asyncio.Event()
        self._doubted_at: float | None = None
        """When a call got no answer that no sign of life has followed yet."""
        self._given_up: GatewayError | None = None
        self._last_event = 0.0
        self._uploads = 0
        self._own = OwnMessages(lambda message_id: self._on_event("message", message_id))

    # Life

    async def open(self, on_event: OnEvent, *, take_over: bool = False) -> None:
        """Connect, start, listen, and wait for the first sign of life on the event stream.

        `on_event(name, payload)` is called with each event. `take_over` calls Stop before: it ends another client's
        connection, and with most puppets the login.

        Raises:
            GatewayError: any of its kinds; `GatewayRefusal("ALREADY_EXISTS")` where another client listens.
        """
        self._on_event = on_event
        empty_pools()
        self._puppet.take_over = take_over
        await self._bot.start()
        self._events = asyncio.create_task(self._listen(), name="wechat events")
        await self._first_event()

    async def serve(self) -> None:
        """Stay until the connection is lost.

        Raises:
            GatewayError: always; `StreamEnded` where the gateway ended it in good order.
        """
        assert self._events is not None, "open() comes first"  # noqa: S101
        self._watchdog = asyncio.create_task(self._watch(), name="wechat watchdog")
        done, _ = await asyncio.wait({self._events, self._watchdog}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def close(self) -> None:
        """End everything and close the socket; the gateway keeps its login. Safe to call at any time."""
        self._own.close()
        await end_tasks(task for task in (self._events, self._watchdog) if task is not None)
        await self._bot.stop()
        # One turn of the loop, in which the transport says good-bye.
        await asyncio.sleep(0)

    async def _listen(self) -> None:
        try:
            await self._puppet.listen()
        except Exception as error:
            raise explain_failure(error, sent=True) from error
        raise EventStreamEnded("the gateway ended the event stream")

    async def _first_event(self) -> None:
        assert self._events is not None  # noqa: S101
        heard = asyncio.create_task(self._heard.wait())
        ding = asyncio.create_task(self._ding())
        try:
            waits = {self._events, heard}
            await asyncio.wait(waits, timeout=self._timing.deadline, return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
            await end_tasks([ding])
        if self._events.done():
            self._events.result()
        if not self._heard.is_set():
            raise GatewayNoAnswer(f"no event within {self._timing.deadline:g} s")

    # The watchdog

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timing.ding_interval):
                    await self._doubt.wait()
            self._doubt.clear()
            if self._given_up is not None:
                raise self._given_up
            asked_at = asyncio.get_running_loop().time()
            is_alive = await self._alive()
            if is_alive and self._doubted_at is not None and self._doubted_at <= asked_at:
                self._doubted_at = None
            if not is_alive and not self._uploads:
                raise GatewayNoAnswer(f"no dong within {self._timing.ding_answer:g} s of a ding")

    async def _alive(self) -> bool:
        """Ding, and wait for the dong: it proves the way there and the way back."""
        try:
            async with asyncio.timeout(self._timing.ding_answer):
                if not await self._ding():
                    return asyncio.get_running_loop().time() - self._last_event < MAX_SILENCE_SECONDS
                await self._answered.wait()
        except (TimeoutError, GatewayRequestNotSent, GatewayNoAnswer):
            return False
        return True

    async def _ding(self) -> bool:
        """Send a ding with a word of its own; False where the gateway cannot be dinged."""
        self._word = f"wxbridge-{uuid.uuid4().hex[:12]}"
        self._answered.clear()
        try:
            await self._puppet.ding(self._word)
        except GatewayRefusal:
            return False
        return True

    def doubt(self) -> None:
        """Have the watchdog look at once: a call was not answered."""
        self._doubted_at = asyncio.get_running_loop().time()
        self._doubt.set()

    @property
    def is_unproven(self) -> bool:
        """Whether the gateway has still to show that it is alive, after a call that it did not answer."""
        return self._doubted_at is not None

    def give_up(self, error: GatewayError) -> None:
        """Have `serve` end with this error."""
        self._given_up = error
        self._doubt.set()

    # Events

    def _raw_event(self, kind: int, payload: str) -> None:
        self._last_event = asyncio.get_running_loop().time()
        self._heard.set()
        if kind == events.DIRTY:
            # wechaty's parser does not know it.
            self._on_event("dirty", events.read(payload) or {})
        elif kind == events.MESSAGE and (message_id := events.read_message_id(payload)):
            # Every message that is sent is announced: the way through wechaty's parser costs more than the rest.
            self._own.announce(message_id)

    def _event(self, name: str, payload: Any) -> None:
        if name == "dong":
            if payload.data == self._word:
                self._answered.set()
        elif name != "heartbeat":
            self._on_event(name, payload)

    # What can be asked

    async def room_ids(self) -> list[str]:
        """Give the ids of all rooms."""
        return [str(room_id) for room_id in await self._call(self._puppet.room_list())]

    async def contact_ids(self) -> list[str]:
        """Give the ids of all contacts."""
        return [str(contact_id) for contact_id in await self._call(self._puppet.contact_list())]

    async def room(self, room_id: str, *, fresh: bool = False) -> Room:
        """Give a room; `fresh` has the gateway forget what it remembers of it first."""
        if fresh:
            with suppress(GatewayRefusal):
                await self._call(self._puppet.room_payload_dirty(room_id))
        payload = await self._call(self._puppet.room_payload(room_id))
        return Room(room_id, read_name(payload.topic or ""), tuple(payload.member_ids or ()))

    async def contact(self, contact_id: str) -> FoundContact:
        """Give a contact and whether it is a friend."""
        payload = await self._call(self._puppet.contact_payload(contact_id))
        contact = Contact(contact_id, read_name(payload.name), read_name(payload.alias), payload.weixin)
        return FoundContact(contact, bool(payload.friend))

    async def member(self, room_id: str, contact_id: str) -> RoomMember:
        """Give a member of a room."""
        payload = await self._call(self._puppet.room_member_payload(room_id, contact_id))
        return RoomMember(contact_id, read_name(payload.room_alias), read_name(payload.name))

    async def message(self, message_id: str) -> RawMessage:
        """Give a received message."""
        # Not PuppetService.message_payload: it fails on types it does not know.
        raw = await self._call(self._puppet.puppet_stub.message_payload(id=message_id))
        return RawMessage(
            id=message_id,
            kind=int(raw.type),
            text=read_emoji(raw.text),
            filename=raw.filename,
            sender_id=raw.from_id,
            room_id=raw.room_id,
            mention_ids=tuple(raw.mention_ids),
            timestamp=float(raw.timestamp),
        )

    async def send_text(self, conversation_id: str, text: str, mention_ids: list[str]) -> str:
        """Send a text; gives the message's id, empty where the gateway has none."""
        return await self._own.note_sent(self._call(self._puppet.message_send_text(conversation_id, text, mention_ids)))

    async def send_picture(self, conversation_id: str, name: str, data: bytes, content_type: str) -> str:
        """Send a picture; gives the message's id, empty where the gateway has none."""
        self._uploads += 1
        try:
            if len(data) > MAX_UNARY_BYTES:
                streamed = self._puppet.message_send_file_stream(conversation_id, name, data)
                return await self._own.note_sent(self._call(streamed))
            box = make_file_box(name, await asyncio.to_thread(base64.b64encode, data), content_type)
            return await self._own.note_sent(self._call(self._puppet.message_send_file(conversation_id, box)))
        finally:
            self._uploads -= 1

    async def log_out(self) -> None:
        """Have the gateway end the account's login."""
        # Not PuppetService.logout: it keeps an error to itself, and tells of a logout that may not have been.
        await self._call(self._puppet.puppet_stub.logout())

    async def _call(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except GatewayNoAnswer:
            self.doubt()
            raise
        except GatewayError:
            raise
        except Exception as error:
            # Whatever wechaty makes of a connection that was closed under its feet.
            raise GatewayRequestNotSent(describe_error(error)) from error
