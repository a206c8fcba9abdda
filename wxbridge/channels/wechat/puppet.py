"""wechaty's client, with its faults mended by overriding: calls with deadlines, its own event routing, no Stop.

Importing this module imports wechaty: import it where a connection is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

from wxbridge.channels.wechat import compat, events
from wxbridge.channels.wechat.gateway_errors import GatewayError, GatewayNoAnswer, GatewayRefusal, GatewayRequestNotSent
from wxbridge.channels.wechat.settings import split_endpoint
from wxbridge.core.errors import describe_error
from wxbridge.core.leadership import ensure_leading

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

CHUNK_BYTES = 256 * 1024
"""Of a file that is sent in pieces."""
SECONDS_PER_BYTE = 1 / 1_000_000
"""Added to a picture's deadline: a slow line must not make an outcome unknown."""
CLOSING_SECONDS = 1.0
"""How long what is under way may take to end itself when a connection is closed."""

OnEvent = Callable[[str, Any], None]
"""Takes an event's name and its payload."""
OnRawEvent = Callable[[int, str], None]
"""Takes an event's number and its payload as JSON, before wechaty's parser has seen it."""


class GatewayStub(PuppetStub):  # type: ignore[misc] # the wechaty family is untyped
    """The gateway's calls, each in a task of its own and with a deadline.

    The task of its own is for grpclib: it cancels the task it runs in when a connection breaks, which
    must not be mistaken for a cancellation of ours.
    """

    def __init__(self, channel: Any, deadline: float, on_event: OnRawEvent) -> None:
        super().__init__(channel, timeout=deadline)
        self.limit = deadline
        self._on_event = on_event
        self.calls: set[asyncio.Task[Any]] = set()

    async def _unary_unary(self, route: str, request: Any, response_type: Any, **_: Any) -> Any:
        call = GatewayCall(self.channel, route, Cardinality.UNARY_UNARY, type(request), response_type)
        return await self._run(call, [request], self.limit)

    async def message_send_file_stream(self, request_iterator: Iterable[Any], limit: float | None = None) -> Any:
        """Send a file in pieces, within `limit` seconds."""
        route = "/wechaty.Puppet/MessageSendFileStream"
        kinds = pb.MessageSendFileStreamRequest, pb.MessageSendFileStreamResponse
        call = GatewayCall(self.channel, route, Cardinality.STREAM_UNARY, *kinds)
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

    async def _run(self, call: GatewayCall, requests: Iterable[Any], limit: float) -> Any:
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


class GatewayCall:
    """One call: remembers whether its message went out, which decides what a failure means."""

    def __init__(self, channel: Any, route: str, cardinality: Any, request_type: Any, response_type: Any) -> None:
        self._open = partial(channel.request, route, cardinality, request_type, response_type)
        self._sent = False

    async def exchange(self, requests: Iterable[Any], limit: float) -> Any:
        """Send the requests, give the answer."""
        pending = None
        async with self._open(timeout=limit) as stream:
            ensure_leading()
            # The headers alone make nothing happen: up to here a failure is harmless.
            await stream.send_request()
            self._sent = True
            for request in requests:
                if pending is not None:
                    await stream.send_message(pending)
                    ensure_leading()
                pending = request
            await stream.send_message(pending, end=True)
            reply = await stream.recv_message()
        if reply is None:
            raise ConnectionError("the answer was empty")
        return reply

    def failure(self, error: BaseException) -> GatewayError:
        """Tell what an exception of this call means."""
        return explain_failure(error, sent=self._sent)


def explain_failure(error: BaseException, *, sent: bool) -> GatewayError:
    """Tell what an exception means for a call whose request went out, or did not."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, GRPCError):
        words = error.message or ""
        # These are grpclib's own, for an answer that is none (a proxy's, a broken one).
        if words.startswith(("Received :status", "Missing ", "Invalid grpc-status", "Invalid content-type")):
            return GatewayNoAnswer(words, code=error.status.name)
        return GatewayRefusal(error.status.name, words)
    if not sent:
        return GatewayRequestNotSent(describe_error(error))
    # "Unknown" to delivery: what was cut off may have been done.
    return GatewayNoAnswer(describe_error(error), code="DEADLINE_EXCEEDED" if isinstance(error, TimeoutError) else None)


class GatewayPuppet(PuppetService):  # type: ignore[misc] # the wechaty family is untyped
    """wechaty's gRPC client without its blocking port check and without Stop before Start."""

    def __init__(self, endpoint: str, token: str, deadline: float, on_event: OnRawEvent) -> None:
        super().__init__(PuppetOptions(token=token, end_point=endpoint), name="wxbridge")
        self._deadline = deadline
        self._on_raw_event = on_event
        self.take_over = False

    def _init_puppet(self) -> None:
        self._puppet_stub: GatewayStub | None
        self.channel: Any
        host, port = split_endpoint(self.options.end_point)
        self.channel = GrpcChannel(host=host, port=port)
        # The gateway looks for the token in HTTP/2's :authority.
        self.channel._authority = self.options.token  # noqa: SLF001
        self._puppet_stub = GatewayStub(self.channel, self._deadline, self._on_raw_event)

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
            await end_tasks(stub.calls)
        if channel is not None:
            close_channel(channel)

    async def message_send_file(self, conversation_id: str, file: Any) -> str:
        """Send a FileBox (base64) in one call; gives the message's id."""
        text = await asyncio.to_thread(file.to_json_str)
        reply = await self.puppet_stub.message_send_file(conversation_id=conversation_id, filebox=text)
        return str(reply.id or "")

    async def message_send_file_stream(self, conversation_id: str, name: str, data: bytes) -> str:
        """Send a file of any size in pieces; gives the message's id."""
        limit = self._deadline + len(data) * SECONDS_PER_BYTE
        reply = await self.puppet_stub.message_send_file_stream(_pieces(conversation_id, name, data), limit)
        return str(reply.id or "")


def _pieces(conversation_id: str, name: str, data: bytes) -> Iterable[Any]:
    yield pb.MessageSendFileStreamRequest(conversation_id=conversation_id)
    yield pb.MessageSendFileStreamRequest(file_box_chunk=pb.FileBoxChunk(name=name))
    for start in range(0, len(data), CHUNK_BYTES):
        yield pb.MessageSendFileStreamRequest(file_box_chunk=pb.FileBoxChunk(data=data[start : start + CHUNK_BYTES]))


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait a second for their end."""
    waiting = set(tasks)
    for task in waiting:
        task.cancel()
    if waiting:
        done, _ = await asyncio.wait(waiting, timeout=CLOSING_SECONDS)
        for task in done:
            if not task.cancelled():
                # Looked at, so that asyncio does not complain that nobody did.
                task.exception()


def close_channel(channel: Any) -> None:
    """Close a gRPC channel, also where the peer takes nothing any more."""
    protocol = channel._protocol  # noqa: SLF001
    connection = getattr(protocol, "connection", None)
    transport = getattr(connection, "_transport", None)
    channel.close()
    # A frozen peer never takes what is still to be written: such a transport would stay open for ever.
    if transport is not None and transport.get_write_buffer_size():
        transport.abort()


class GatewayBot(Wechaty):  # type: ignore[misc] # the wechaty family is untyped
    """wechaty's bot with an event routing of our own: no plug-ins, no port, no once-only login."""

    def __init__(self, puppet: GatewayPuppet, on_event: OnEvent) -> None:
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


def make_file_box(name: str, encoded: bytes, content_type: str) -> Any:
    """Make a FileBox of a picture in base64."""
    box = FileBox.from_base64(encoded, name)
    box.mediaType = content_type
    return box


def empty_pools() -> None:
    """Forget wechaty's rooms and contacts."""
    # They belong to the process and would hand out objects that are bound to a dead connection.
    for kind in (wechaty.user.Room, wechaty.user.Contact, wechaty.user.Tag):
        kind._pool.clear()  # noqa: SLF001
