"""One connection to the gateway: wechaty's client, with its faults mended by overriding.

A connection is opened once, serves until it breaks, and is closed; the next one is a new object.
Importing this module imports wechaty: import it where a connection is made.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from wxbridge.channels.wechat import compat, events
from wxbridge.channels.wechat.directory import Contact, Room
from wxbridge.channels.wechat.gateway_errors import (
    EventStreamEnded,
    GatewayError,
    GatewayNoAnswer,
    GatewayRefusal,
    GatewayRequestNotSent,
)
from wxbridge.channels.wechat.settings import split_endpoint

compat.load()

import wechaty.user  # noqa: E402 - only after compat has mended what it stands on
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # noqa: E402
from grpclib.client import Channel as GrpcChannel  # noqa: E402
from grpclib.const import Cardinality  # noqa: E402
from grpclib.exceptions import GRPCError  # noqa: E402
from wechaty import FileBox, Wechaty, WechatyOptions  # noqa: E402
from wechaty_grpc.wechaty import PuppetStub  # noqa: E402
from wechaty_grpc.wechaty import puppet as pb  # noqa: E402
from wechaty_puppet import PuppetOptions  # noqa: E402
from wechaty_puppet_service import PuppetService  # noqa: E402

T = TypeVar("T")

UNARY_LIMIT = 3_000_000
"""Bytes of a picture that go in one call; base64 of more would pass the gateway's 4 MiB a message."""

_CHUNK = 256 * 1024
_SECONDS_PER_BYTE = 1 / 1_000_000
"""Added to a picture's deadline: a slow line must not make an outcome unknown."""
_SILENCE = 60.0
"""Seconds without any event after which a gateway that cannot be dinged counts as dead."""
_CLOSING = 1.0
"""Seconds for what is under way to end itself when a connection is closed."""

OnEvent = Callable[[str, Any], None]


@dataclass(frozen=True)
class RawMessage:
    """A received message as the gateway gives it. `kind` is a number of the TypeScript puppet; 7 is text."""

    id: str
    kind: int
    text: str
    filename: str
    sender_id: str
    room_id: str
    mention_ids: tuple[str, ...]
    timestamp: float


@dataclass(frozen=True)
class RoomMember:
    """Somebody in a room: `room_alias` is the name carried in this room only, `name` the person's own."""

    id: str
    room_alias: str
    name: str


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


class _Stub(PuppetStub):  # type: ignore[misc] # the wechaty family is untyped
    """The gateway's calls, each in a task of its own and with a deadline.

    The task of its own is for grpclib: it cancels the task it runs in when a connection breaks, which
    must not be mistaken for a cancellation of ours.
    """

    def __init__(self, channel: Any, deadline: float, on_event: Callable[[int, str], None]) -> None:
        super().__init__(channel, timeout=deadline)
        self.limit = deadline
        self._on_event = on_event
        self.calls: set[asyncio.Task[Any]] = set()

    async def _unary_unary(self, route: str, request: Any, response_type: Any, **_: Any) -> Any:
        call = _Call(self.channel, route, Cardinality.UNARY_UNARY, type(request), response_type)
        return await self._run(call, [request], self.limit)

    async def message_send_file_stream(self, request_iterator: Iterable[Any], limit: float | None = None) -> Any:
        route = "/wechaty.Puppet/MessageSendFileStream"
        kinds = pb.MessageSendFileStreamRequest, pb.MessageSendFileStreamResponse
        call = _Call(self.channel, route, Cardinality.STREAM_UNARY, *kinds)
        return await self._run(call, request_iterator, limit or self.limit)

    async def event(self) -> AsyncIterator[Any]:
        """Yield the events that wechaty's parser can take, each told to `on_event` before."""
        async with self.channel.request(
            "/wechaty.Puppet/Event", Cardinality.UNARY_STREAM, pb.EventRequest, pb.EventResponse
        ) as stream:
            await stream.send_message(pb.EventRequest(), end=True)
            async for response in stream:
                self._on_event(int(response.type), response.payload)
                payload = events.sanitise(int(response.type), response.payload)
                if payload is not None:
                    yield pb.EventResponse(type=response.type, payload=payload)

    async def _run(self, call: _Call, requests: Iterable[Any], limit: float) -> Any:
        task = asyncio.create_task(call.exchange(requests, limit))
        self.calls.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait({task}, timeout=limit)
        finally:
            in_time = task.done()
            task.cancel()
        if not in_time:
            raise call.failure(TimeoutError(f"no answer within {limit:g} s"))
        if task.cancelled():
            raise call.failure(ConnectionError("the connection was closed"))
        error = task.exception()
        if error is not None:
            raise call.failure(error) from error
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self.calls.discard(task)
        if not task.cancelled():
            task.exception()


class _Call:
    """One call: remembers whether its message went out, which decides what a failure means."""

    def __init__(self, channel: Any, route: str, cardinality: Any, request_type: Any, response_type: Any) -> None:
        self._open = partial(channel.request, route, cardinality, request_type, response_type)
        self._sent = False

    async def exchange(self, requests: Iterable[Any], limit: float) -> Any:
        """Send the requests, give the answer."""
        pending = None
        async with self._open(timeout=limit) as stream:
            # The headers alone make nothing happen: up to here a failure is harmless.
            await stream.send_request()
            self._sent = True
            for request in requests:
                if pending is not None:
                    await stream.send_message(pending)
                pending = request
            await stream.send_message(pending, end=True)
            reply = await stream.recv_message()
        if reply is None:
            raise ConnectionError("the answer was empty")
        return reply

    def failure(self, error: BaseException) -> GatewayError:
        """Tell what an exception of this call means."""
        return _meaning(error, sent=self._sent)


def _meaning(error: BaseException, *, sent: bool) -> GatewayError:
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, GRPCError):
        words = error.message or ""
        # These are grpclib's own, for an answer that is none (a proxy's, a broken one).
        if words.startswith(("Received :status", "Missing ", "Invalid grpc-status", "Invalid content-type")):
            return GatewayNoAnswer(words, code=error.status.name)
        return GatewayRefusal(error.status.name, words)
    if not sent:
        return GatewayRequestNotSent(_words(error))
    # "Unknown" to delivery: what was cut off may have been done.
    return GatewayNoAnswer(_words(error), code="DEADLINE_EXCEEDED" if isinstance(error, TimeoutError) else None)


class _Puppet(PuppetService):  # type: ignore[misc] # the wechaty family is untyped
    """wechaty's gRPC client without its blocking port check and without Stop before Start."""

    def __init__(self, endpoint: str, token: str, deadline: float, on_event: Callable[[int, str], None]) -> None:
        super().__init__(PuppetOptions(token=token, end_point=endpoint), name="wxbridge")
        self._deadline = deadline
        self._on_raw_event = on_event
        self.take_over = False

    def _init_puppet(self) -> None:
        self._puppet_stub: _Stub | None
        self.channel: Any
        host, port = split_endpoint(self.options.end_point)
        self.channel = GrpcChannel(host=host, port=port)
        # The gateway looks for the token in HTTP/2's :authority.
        self.channel._authority = self.options.token  # noqa: SLF001
        self._puppet_stub = _Stub(self.channel, self._deadline, self._on_raw_event)

    async def start(self) -> None:
        """Connect and call Start; a gateway that is logged in stays so, unless `take_over` is set."""
        self._init_puppet()
        if self.take_over:
            await self.puppet_stub.stop()
        await self.puppet_stub.start()

    async def listen(self) -> None:
        """Hand on events until the stream ends."""
        await self._listen_for_event()

    async def stop(self) -> None:
        """Close the connection. The gateway is not stopped: the login is to survive us."""
        self._event_stream.remove_all_listeners()
        stub, self._puppet_stub = self._puppet_stub, None
        channel, self.channel = self.channel, None
        if stub is not None:
            await _end(stub.calls)
        if channel is not None:
            _close(channel)

    async def message_send_file(self, conversation_id: str, file: Any) -> str:
        """Send a FileBox (base64) in one call; gives the message's id."""
        text = await asyncio.to_thread(file.to_json_str)
        reply = await self.puppet_stub.message_send_file(conversation_id=conversation_id, filebox=text)
        return str(reply.id or "")

    async def message_send_file_stream(self, conversation_id: str, name: str, data: bytes) -> str:
        """Send a file of any size in pieces; gives the message's id."""
        limit = self._deadline + len(data) * _SECONDS_PER_BYTE
        reply = await self.puppet_stub.message_send_file_stream(_pieces(conversation_id, name, data), limit)
        return str(reply.id or "")


def _pieces(conversation_id: str, name: str, data: bytes) -> Iterable[Any]:
    yield pb.MessageSendFileStreamRequest(conversation_id=conversation_id)
    yield pb.MessageSendFileStreamRequest(file_box_chunk=pb.FileBoxChunk(name=name))
    for start in range(0, len(data), _CHUNK):
        yield pb.MessageSendFileStreamRequest(file_box_chunk=pb.FileBoxChunk(data=data[start : start + _CHUNK]))


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    waiting = set(tasks)
    for task in waiting:
        task.cancel()
    if waiting:
        done, _ = await asyncio.wait(waiting, timeout=_CLOSING)
        for task in done:
            if not task.cancelled():
                # Looked at, so that asyncio does not complain that nobody did.
                task.exception()


def _close(channel: Any) -> None:
    protocol = channel._protocol  # noqa: SLF001
    connection = getattr(protocol, "connection", None)
    transport = getattr(connection, "_transport", None)
    channel.close()
    # A frozen peer never takes what is still to be written: such a transport would stay open for ever.
    if transport is not None and transport.get_write_buffer_size():
        transport.abort()


class _Bot(Wechaty):  # type: ignore[misc] # the wechaty family is untyped
    """wechaty's bot with an event routing of our own: no plug-ins, no port, no once-only login."""

    def __init__(self, puppet: _Puppet, on_event: OnEvent) -> None:
        # A scheduler that is handed in is not started, and keeps wechaty from making a job database.
        options = WechatyOptions(puppet=puppet, puppet_options=PuppetOptions(), scheduler=AsyncIOScheduler())
        super().__init__(options)
        self._route = on_event

    async def init_puppet_event_bridge(self, puppet: Any) -> None:
        """Pass every event on as it is."""
        for name in events.NAMES:
            puppet.on(name, partial(self._route, name))

    async def start(self) -> None:
        """Start, and let every error out: the caller's supervisor deals with it."""
        await self.init_puppet()
        await self.init_puppet_event_bridge(self.puppet)
        await self.puppet.start()

    async def stop(self) -> None:
        """Close the connection."""
        await self.puppet.stop()


class WechatConnection:
    """One connection, from `open` to `close`; `on_event(name, payload)` is called on the event loop.

    Every call has a deadline of `deadline` seconds and raises a `GatewayError`: `GatewayRequestNotSent`,
    `GatewayNoAnswer` or `GatewayRefusal`.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        token: str,
        on_event: OnEvent,
        deadline: float = 15.0,
        ding_interval: float = 20.0,
        ding_answer: float = 5.0,
    ) -> None:
        self._on_event = on_event
        self._deadline = deadline
        self._interval, self._answer = ding_interval, ding_answer
        self._puppet = _Puppet(endpoint, token, deadline, self._raw_event)
        self._bot = _Bot(self._puppet, self._event)
        self._events: asyncio.Task[None] | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._word = ""
        self._heard = asyncio.Event()
        self._answered = asyncio.Event()
        self._doubt = asyncio.Event()
        self._given_up: GatewayError | None = None
        self._last_event = 0.0
        self._uploads = 0

    # Life

    async def open(self, *, take_over: bool = False) -> None:
        """Connect, start, listen, and wait for the first sign of life on the event stream.

        `take_over` calls Stop before: it ends another client's connection, and with most puppets the login.

        Raises:
            GatewayError: any of its kinds; `GatewayRefusal("ALREADY_EXISTS")` where another client listens.
        """
        _empty_pools()
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
        await _end(task for task in (self._events, self._watchdog) if task is not None)
        await self._bot.stop()
        # One turn of the loop, in which the transport says good-bye.
        await asyncio.sleep(0)

    async def _listen(self) -> None:
        try:
            await self._puppet.listen()
        except Exception as error:
            raise _meaning(error, sent=True) from error
        raise EventStreamEnded("the gateway ended the event stream")

    async def _first_event(self) -> None:
        assert self._events is not None  # noqa: S101
        heard = asyncio.create_task(self._heard.wait())
        ding = asyncio.create_task(self._ding())
        try:
            waits = {self._events, heard}
            await asyncio.wait(waits, timeout=self._deadline, return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
            await _end([ding])
        if self._events.done():
            self._events.result()
        if not self._heard.is_set():
            raise GatewayNoAnswer(f"no event within {self._deadline:g} s")

    # The watchdog

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._doubt.wait()
            self._doubt.clear()
            if self._given_up is not None:
                raise self._given_up
            if not await self._alive() and not self._uploads:
                raise GatewayNoAnswer(f"no dong within {self._answer:g} s of a ding")

    async def _alive(self) -> bool:
        """Ding, and wait for the dong: it proves the way there and the way back."""
        try:
            async with asyncio.timeout(self._answer):
                if not await self._ding():
                    return asyncio.get_running_loop().time() - self._last_event < _SILENCE
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
        self._doubt.set()

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
        return Room(room_id, payload.topic, tuple(payload.member_ids))

    async def contact(self, contact_id: str, *, fresh: bool = False) -> tuple[Contact, bool]:
        """Give a contact and whether it is a friend; `fresh` as for a room."""
        if fresh:
            with suppress(GatewayRefusal):
                await self._call(self._puppet.contact_payload_dirty(contact_id))
        payload = await self._call(self._puppet.contact_payload(contact_id))
        return Contact(contact_id, payload.name, payload.alias, payload.weixin), bool(payload.friend)

    async def member(self, room_id: str, contact_id: str) -> RoomMember:
        """Give a member of a room."""
        payload = await self._call(self._puppet.room_member_payload(room_id, contact_id))
        return RoomMember(contact_id, payload.room_alias, payload.name)

    async def message(self, message_id: str) -> RawMessage:
        """Give a received message."""
        # Not PuppetService.message_payload: it fails on types it does not know.
        raw = await self._call(self._puppet.puppet_stub.message_payload(id=message_id))
        return RawMessage(
            id=message_id,
            kind=int(raw.type),
            text=raw.text,
            filename=raw.filename,
            sender_id=raw.from_id,
            room_id=raw.room_id,
            mention_ids=tuple(raw.mention_ids),
            timestamp=float(raw.timestamp),
        )

    async def send_text(self, conversation_id: str, text: str, mention_ids: list[str]) -> str:
        """Send a text; gives the message's id, empty where the gateway has none."""
        return str(await self._call(self._puppet.message_send_text(conversation_id, text, mention_ids)) or "")

    async def send_picture(self, conversation_id: str, name: str, data: bytes, content_type: str) -> str:
        """Send a picture; gives the message's id, empty where the gateway has none."""
        self._uploads += 1
        try:
            if len(data) > UNARY_LIMIT:
                return await self._call(self._puppet.message_send_file_stream(conversation_id, name, data))
            box = FileBox.from_base64(await asyncio.to_thread(base64.b64encode, data), name)
            box.mediaType = content_type
            return await self._call(self._puppet.message_send_file(conversation_id, box))
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
            raise GatewayRequestNotSent(_words(error)) from error


def _empty_pools() -> None:
    # They belong to the process and would hand out objects that are bound to a dead connection.
    for kind in (wechaty.user.Room, wechaty.user.Contact, wechaty.user.Tag):
        kind._pool.clear()  # noqa: SLF001
