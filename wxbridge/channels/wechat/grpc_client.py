"""A gRPC client over one HTTP/2 connection in the clear: what the gateway is asked, and what it answers.

grpclib does it for any use, through h2, at several times the cost of all else that a send takes. Here is what one
gateway needs of RFC 9113: a request's headers are encoded once for each route and never enter the peer's table.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import cast
from urllib.parse import unquote

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import encode_timeout
from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW_BYTES = 4 * 1024 * 1024
"""That the gateway may send before it hears that they were taken, on a stream and on all together."""
FIRST_WINDOW_BYTES = 65_535
"""The same before anything was agreed on, in either direction."""
MAX_FRAME_BYTES = 16_384
"""Of what the gateway sends: more was not agreed on."""
MAX_HEADER_BYTES = 65_536
"""Of one block of headers, over all its frames."""
MAX_STREAM_ID = 2**31 - 1

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH_PROMISE = 0, 1, 3, 4, 5
_PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 6, 7, 8, 9
_END_STREAM = _ACK = 0x1
_END_HEADERS, _PADDED, _WITH_PRIORITY = 0x4, 0x8, 0x20
_ENABLE_PUSH, _MAX_STREAMS, _INITIAL_WINDOW, _MAX_FRAME = 2, 3, 4, 5
_CANCEL = 8
_HEAD = struct.Struct(">LBL")
"""Of a frame: its length (three bytes) and kind, its flags, its stream."""
_SETTING = struct.Struct(">HL")
_NUMBER = struct.Struct(">L")
_STATUSES = frozenset(status.value for status in Status)
_TO_GRPC_STATUS = {
    "400": Status.INTERNAL,
    "401": Status.UNAUTHENTICATED,
    "403": Status.PERMISSION_DENIED,
    "404": Status.UNIMPLEMENTED,
    **dict.fromkeys(("429", "502", "503", "504"), Status.UNAVAILABLE),
}
"""What a status of HTTP means (gRPC's doc/http-grpc-status-mapping.md)."""


class _NotHttp2Error(Exception):
    """What came breaks the protocol."""


def _frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


@lru_cache(256)
def _encode_headers(authority: str, route: str, limit: float | None) -> bytes:
    headers = [(":method", "POST"), (":scheme", "http"), (":path", route), (":authority", authority)]
    headers += [] if limit is None else [("grpc-timeout", encode_timeout(limit))]
    headers += [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "wxbridge")]
    # Never indexed: the block means the same wherever it stands, so that it can be sent again as it is.
    return bytes(Encoder().encode([NeverIndexedHeaderTuple(*header) for header in headers]))


class GrpcCall:
    """One call on a connection. Made by `GrpcConnection.open`; end it with `close`."""

    def __init__(
        self, connection: GrpcConnection, stream_id: int, headers: bytes, on_message: Callable[[bytes], object] | None
    ) -> None:
        self._connection = connection
        self._id = stream_id
        self._unsent: bytes | None = headers
        self._on_message = on_message
        self._messages: list[bytes] = []
        self._received = bytearray()
        self._unacknowledged = 0
        self._headers: dict[str, str] = {}
        self._is_sent = False
        """Whether all was sent that there is to send."""
        self._is_over = False
        """Whether nothing more of an answer comes."""
        self.window = 0
        """Bytes that the gateway takes of this call."""
        self.ended: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        """The messages of the answer but for those that were told to `on_message`, or why there is none."""

    async def send(self, message: bytes, *, end: bool) -> None:
        """Send a message, `end` with the last; as fast as the gateway takes it, and no more once it has answered."""
        connection = self._connection
        data, place = b"\0" + _NUMBER.pack(len(message)) + message, 0
        while not self.ended.done():
            size = min(len(data) - place, connection.max_frame_bytes, connection.window, self.window)
            if size <= 0 or connection.is_held:
                await connection.wait_for_change()
                continue
            self.window -= size
            connection.window -= size
            flags = _END_STREAM if end and place + size == len(data) else 0
            head, self._unsent = self._unsent, None
            start = b"" if head is None else _frame(_HEADERS, _END_HEADERS, self._id, head)
            connection.write(start + _frame(_DATA, flags, self._id, data[place : place + size]))
            place += size
            if place == len(data):
                self._is_sent = end
                return

    async def read_answer(self) -> bytes:
        """Wait for the answer; gives its message.

        Raises:
            OSError: the connection was lost, or the answer is none.
            GRPCError: the server refuses.
        """
        messages = await self.ended
        if not messages:
            raise ConnectionError("the answer was empty")
        return messages[0]

    def close(self) -> None:
        """End the call; it is taken back where it is not over."""
        self._connection.forget(self._id)
        if self._unsent is None and not (self._is_sent and self._is_over):
            self._connection.write(_frame(_RST_STREAM, 0, self._id, _NUMBER.pack(_CANCEL)))
        if not self.ended.cancel() and not self.ended.cancelled():
            # Looked at, so that asyncio does not complain that nobody did.
            self.ended.exception()

    def take_data(self, data: bytes) -> int:
        """Take a piece of the answer; returns how many bytes are to be acknowledged."""
        received = self._received
        received += data
        place = 0
        while len(received) - place >= 5:  # noqa: PLR2004 - what stands before a message: a flag, and its length
            end = place + 5 + _NUMBER.unpack_from(received, place + 1)[0]
            if end > len(received):
                break
            if received[place]:
                self.fail(ConnectionError("the answer is compressed"))
                return 0
            message = bytes(received[place + 5 : end])
            if self._on_message is None:
                self._messages.append(message)
            else:
                self._on_message(message)
            place = end
        del received[:place]
        self._unacknowledged += len(data)
        if self._unacknowledged < WINDOW_BYTES // 2:
            return 0
        count, self._unacknowledged = self._unacknowledged, 0
        return count

    def take_headers(self, headers: dict[str, str]) -> None:
        """Take the headers of the answer, or its last ones."""
        if not self._headers:
            status, kind = headers.get(":status", ""), headers.get("content-type")
            if status != "200":
                meaning = _TO_GRPC_STATUS.get(status, Status.UNKNOWN)
                self.fail(GRPCError(meaning, f"Received :status = {status!r}"))
            elif kind is None:
                self.fail(GRPCError(Status.UNKNOWN, "Missing content-type header"))
            elif kind not in ("application/grpc", "application/grpc+proto"):
                self.fail(GRPCError(Status.UNKNOWN, f"Invalid content-type: {kind!r}"))
        self._headers |= headers

    def end(self) -> None:
        """Note that the answer is complete."""
        self._is_over = True
        given = self._headers.get("grpc-status")
        if given == "0":
            if not self.ended.done():
                self.ended.set_result(self._messages)
        elif given is None:
            self.fail(GRPCError(Status.UNKNOWN, "Missing grpc-status header"))
        elif not given.isdecimal() or int(given) not in _STATUSES:
            self.fail(GRPCError(Status.UNKNOWN, f"Invalid grpc-status: {given!r}"))
        else:
            words = unquote(self._headers.get("grpc-message", ""), errors="replace")
            self.fail(GRPCError(Status(int(given)), words))

    def break_off(self, error: Exception) -> None:
        """Note that there will be no answer."""
        self._is_over = True
        self.fail(error)

    def fail(self, error: Exception) -> None:
        """Note why there is no answer."""
        if not self.ended.done():
            self.ended.set_exception(error)


class GrpcConnection(asyncio.Protocol):
    """A connection to a gRPC server, made by the first call; once it is lost it stays so.

    Args:
        host: Where the server listens.
        port: Likewise.
        authority: What every call names as its `:authority`.
    """

    def __init__(self, host: str, port: int, authority: str) -> None:
        self._host, self._port, self._authority = host, port, authority
        self._transport: asyncio.Transport | None = None
        self._connecting = asyncio.Lock()
        self._error: Exception | None = None
        """Why it is lost."""
        self._calls: dict[int, GrpcCall] = {}
        self._last_id = -1
        self._max_calls = MAX_STREAM_ID
        self._call_window = FIRST_WINDOW_BYTES
        self._changed = asyncio.Event()
        self._received = bytearray()
        self._unacknowledged = 0
        self._is_agreed = False
        """Whether the server's settings have come, which every connection begins with."""
        self._begun: tuple[int, int, bytes] | None = None
        """Headers of which more is to come: their stream, the flags, the block."""
        self._decoder = Decoder(MAX_HEADER_BYTES)
        self._decoded: dict[bytes, dict[str, str]] = {}
        """Blocks that name entries of the table alone, as they were decoded since that last changed."""
        self.window = FIRST_WINDOW_BYTES
        """Bytes that the gateway takes of all calls together."""
        self.max_frame_bytes = MAX_FRAME_BYTES
        self.is_held = False
        """Whether the gateway takes nothing at the moment."""

    # Calls

    async def open(
        self, route: str, limit: float | None, on_message: Callable[[bytes], object] | None = None
    ) -> GrpcCall:
        """Prepare a call once the connection has room for it; nothing leaves before its first message.

        Args:
            route: The path of the method.
            limit: Seconds that the server is told to have; the caller itself has to see to them.
            on_message: Is told each message of the answer as it comes.

        Raises:
            OSError: the server cannot be reached, or the connection is lost.
        """
        if self._transport is None and self._error is None:
            async with self._connecting:
                if self._transport is None and self._error is None:
                    loop = asyncio.get_running_loop()
                    await loop.create_connection(lambda: self, self._host, self._port)
        while self._error is None and (self.is_held or len(self._calls) >= self._max_calls):
            await self.wait_for_change()
        if self._last_id == MAX_STREAM_ID:
            self._lose(ConnectionError("Connection lost"))
        if self._error is not None:
            raise self._error
        self._last_id += 2
        headers = _encode_headers(self._authority, route, limit)
        if self._last_id == 1:
            # The server's table stays empty, whatever size it allows from now on.
            headers = b"\x20" + headers
        call = self._calls[self._last_id] = GrpcCall(self, self._last_id, headers, on_message)
        call.window = self._call_window
        return call

    async def listen(self, route: str, request: bytes) -> AsyncIterator[bytes]:
        """Yield the messages of an answer that goes on until the server ends it.

        Raises:
            OSError: the connection is lost.
            GRPCError: the server refuses, or ends it so.
        """
        messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        call = await self.open(route, None, messages.put_nowait)
        try:
            call.ended.add_done_callback(lambda _: messages.put_nowait(None))
            await call.send(request, end=True)
            while (message := await messages.get()) is not None:
                yield message
            call.ended.result()
        finally:
            call.close()

    def forget(self, stream_id: int) -> None:
        """Expect nothing more of a call."""
        if self._calls.pop(stream_id, None) is not None:
            self._changed.set()

    async def wait_for_change(self) -> None:
        """Wait until something may go that could not. Raises `OSError` where the connection is lost."""
        if self._error is None:
            self._changed.clear()
            await self._changed.wait()
        if self._error is not None:
            raise self._error

    def write(self, data: bytes) -> None:
        """Write frames; into nothing where the connection is lost."""
        if self._transport is not None and self._error is None:
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection, also where the peer takes nothing any more; what is under way fails."""
        self._lose(ConnectionError("the connection was closed"))
        if self._transport is not None and self._transport.get_write_buffer_size():
            # A frozen peer never takes what is still to be written: such a transport would stay open for ever.
            self._transport.abort()

    def _lose(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
            for call in self._calls.values():
                call.break_off(error)
            if self._transport is not None:
                self._transport.close()
            self._changed.set()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what is taken."""
        self._transport = cast("asyncio.Transport", transport)
        settings = _SETTING.pack(_ENABLE_PUSH, 0) + _SETTING.pack(_INITIAL_WINDOW, WINDOW_BYTES)
        window = _NUMBER.pack(WINDOW_BYTES - FIRST_WINDOW_BYTES)
        self._transport.write(PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, window))
        if self._error is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - no other words than where it is closed
        """Note that it is lost."""
        self._lose(ConnectionError("Connection lost"))

    def pause_writing(self) -> None:
        """Hold back what is to be sent."""
        self.is_held = True

    def resume_writing(self) -> None:
        """Send again."""
        self.is_held = False
        self._changed.set()

    def data_received(self, data: bytes) -> None:
        """Take frames, and keep what is no whole one."""
        received, place = self._received, 0
        received += data
        try:
            while len(received) - place >= _HEAD.size and self._error is None:
                word, flags, stream_id = _HEAD.unpack_from(received, place)
                start, end = place + _HEAD.size, place + _HEAD.size + _check_length(word >> 8)
                if end > len(received):
                    break
                self._take_frame(word & 0xFF, flags, stream_id & MAX_STREAM_ID, bytes(received[start:end]))
                place = end
        except (_NotHttp2Error, HPACKError, struct.error, IndexError):
            self._lose(ConnectionError("Protocol error"))
        del received[:place]

    def _take_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if (self._begun is not None) != (kind == _CONTINUATION) or not (self._is_agreed or kind == _SETTINGS):
            raise _NotHttp2Error
        call = self._calls.get(stream_id)
        if kind == _DATA:
            self._take_data(call, flags, stream_id, payload)
        elif kind in (_HEADERS, _CONTINUATION):
            self._take_headers(flags, stream_id, payload)
        elif kind == _WINDOW_UPDATE:
            self._widen(call, stream_id, _NUMBER.unpack(payload)[0] & MAX_STREAM_ID)
        elif kind == _SETTINGS and not flags & _ACK:
            self._take_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _RST_STREAM and call is not None:
            call.break_off(ConnectionError(f"the gateway broke the call off (HTTP/2: {_NUMBER.unpack(payload)[0]})"))
            self._changed.set()
        elif kind == _GOAWAY:
            self._lose(ConnectionError("the gateway says good-bye (HTTP/2)"))
        elif kind == _PUSH_PROMISE:
            raise _NotHttp2Error

    def _take_data(self, call: GrpcCall | None, flags: int, stream_id: int, payload: bytes) -> None:
        data = _without_padding(flags, payload)
        self._unacknowledged += len(payload)
        if self._unacknowledged >= WINDOW_BYTES // 2:
            self.write(_frame(_WINDOW_UPDATE, 0, 0, _NUMBER.pack(self._unacknowledged)))
            self._unacknowledged = 0
        if call is not None:
            count = call.take_data(data)
            if flags & _END_STREAM:
                call.end()
                self._changed.set()
            elif count:
                self.write(_frame(_WINDOW_UPDATE, 0, stream_id, _NUMBER.pack(count)))

    def _take_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._begun is not None:
            begun, first_flags, block = self._begun
            if begun != stream_id:
                raise _NotHttp2Error
            block += payload
        else:
            first_flags, block = flags, _without_padding(flags, payload)
            if flags & _WITH_PRIORITY:
                block = block[5:]
        if len(block) > MAX_HEADER_BYTES:
            raise _NotHttp2Error
        if not flags & _END_HEADERS:
            self._begun = stream_id, first_flags, block
            return
        self._begun = None
        # Also where nobody waits for them: the table is shared by all.
        headers = self._decode(block)
        call = self._calls.get(stream_id)
        if call is not None:
            call.take_headers(headers)
            if first_flags & _END_STREAM:
                call.end()
            self._changed.set()

    def _decode(self, block: bytes) -> dict[str, str]:
        found = self._decoded.get(block)
        if found is None:
            found = {str(name): str(value) for name, value in self._decoder.decode(block)}
            if not block or min(block) < 0x80 or 0xFF in block:  # noqa: PLR2004 - what names an entry has the top bit
                self._decoded.clear()
            else:
                self._decoded[block] = found
        return found

    def _take_settings(self, payload: bytes) -> None:
        self._is_agreed = True
        for name, value in _SETTING.iter_unpack(payload):
            if name == _MAX_STREAMS:
                self._max_calls = value
            elif name == _MAX_FRAME:
                self.max_frame_bytes = value
            elif name == _INITIAL_WINDOW:
                for call in self._calls.values():
                    call.window += value - self._call_window
                self._call_window = value
        self.write(_frame(_SETTINGS, _ACK, 0))
        self._changed.set()

    def _widen(self, call: GrpcCall | None, stream_id: int, count: int) -> None:
        if stream_id == 0:
            self.window += count
        elif call is not None:
            call.window += count
        self._changed.set()


def _without_padding(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if payload[0] >= len(payload):
        raise _NotHttp2Error
    return payload[1 : len(payload) - payload[0]]


def _check_length(length: int) -> int:
    if length > MAX_FRAME_BYTES:
        raise _NotHttp2Error
    return length
