"""The gRPC client against a server of scripted frames: what a gateway, or a proxy before it, may do."""

import asyncio
import hashlib
import struct
from contextlib import aclosing, asynccontextmanager

import pytest
from grpclib.exceptions import GRPCError
from hpack import Decoder, Encoder

from wxbridge.channels.wechat.grpc_client import PREFACE, GrpcConnection

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
STARTED = [(":status", "200"), ("content-type", "application/grpc")]
FINE = [("grpc-status", "0"), ("grpc-message", "")]


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.encoder, self.decoder = Encoder(), Decoder()
        self.taken = []

    def write(self, kind, flags=0, stream=0, payload=b""):
        self.writer.write(len(payload).to_bytes(3) + struct.pack(">BBL", kind, flags, stream) + payload)

    async def begin(self, **settings):
        assert await self.reader.readexactly(len(PREFACE)) == PREFACE
        self.write(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *each) for each in settings.get("say", ())))

    async def read(self, kind):
        """The next frame of a kind: its flags, stream and payload."""
        while True:
            head = await self.reader.readexactly(9)
            payload = await self.reader.readexactly(int.from_bytes(head[:3]))
            if head[3] == kind:
                return head[4], int.from_bytes(head[5:]), payload

    async def read_call(self):
        """Read a request; gives its stream, headers and message."""
        _, stream, block = await self.read(HEADERS)
        headers = dict(self.decoder.decode(block))
        flags, message = 0, b""
        while not flags & END_STREAM:
            flags, _, piece = await self.read(DATA)
            message += piece
        return stream, headers, message[5:]

    def headers(self, stream, headers, flags=END_HEADERS):
        self.write(HEADERS, flags, stream, self.encoder.encode(headers))

    def message(self, stream, message, flags=0):
        self.write(DATA, flags, stream, b"\0" + len(message).to_bytes(4) + message)

    def answer(self, stream, message):
        self.headers(stream, STARTED)
        self.message(stream, message)
        self.headers(stream, FINE, END_HEADERS | END_STREAM)


@asynccontextmanager
async def connected(serve):
    """A connection to a server that does what `serve(peer)` says."""
    tasks = []

    async def accept(reader, writer):
        tasks.append(asyncio.current_task())
        try:
            await serve(Peer(reader, writer))
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    connection = GrpcConnection("127.0.0.1", server.sockets[0].getsockname()[1], "the-token")
    try:
        async with asyncio.timeout(10):
            yield connection
    finally:
        connection.close()
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=5)


async def ask(connection, message=b"question"):
    call = await connection.open("/a.Service/Method", 5.0)
    try:
        await call.send(message, end=True)
        return await call.read_answer()
    finally:
        call.close()


async def test_a_call_names_its_token_route_and_time_and_calls_share_a_connection():
    seen = []

    async def serve(peer):
        await peer.begin()
        while True:
            stream, headers, message = await peer.read_call()
            seen.append((stream, headers))
            peer.answer(stream, message.upper())

    async with connected(serve) as connection:
        answers = await asyncio.gather(*(ask(connection, word) for word in (b"one", b"two", b"three")))
        assert [*answers, await ask(connection, b"four")] == [b"ONE", b"TWO", b"THREE", b"FOUR"]
    assert [stream for stream, _ in seen] == [1, 3, 5, 7]
    for _, headers in seen:
        assert headers[":authority"] == "the-token"
        assert headers[":path"] == "/a.Service/Method"
        assert headers["grpc-timeout"] == "5000m"


async def test_a_long_message_waits_for_the_windows_that_the_peer_opens():
    message = bytes(range(256)) * 400
    most = []

    async def serve(peer):
        await peer.begin(say=[(4, 1000)])
        _, stream, _ = await peer.read(HEADERS)
        taken, flags = b"", 0
        while not flags & END_STREAM:
            flags, _, piece = await peer.read(DATA)
            most.append(len(piece))
            taken += piece
            for of in (0, stream):
                peer.write(WINDOW_UPDATE, 0, of, struct.pack(">L", len(piece)))
        peer.answer(stream, hashlib.sha256(taken[5:]).digest())

    async with connected(serve) as connection:
        assert await ask(connection, message) == hashlib.sha256(message).digest()
    assert max(most) <= 16_384


async def test_an_upload_ends_where_the_peer_refuses_it():
    async def serve(peer):
        await peer.begin(say=[(4, 10)])
        _, stream, _ = await peer.read(HEADERS)
        peer.headers(
            stream, [*STARTED, ("grpc-status", "8"), ("grpc-message", "too%20large")], END_HEADERS | END_STREAM
        )
        assert await peer.read(RST_STREAM)

    async with connected(serve) as connection:
        with pytest.raises(GRPCError, match="too large"):
            await ask(connection, b"x" * 200_000)


async def test_padding_and_headers_in_pieces_are_read():
    async def serve(peer):
        await peer.begin()
        stream, _, message = await peer.read_call()
        block = peer.encoder.encode(STARTED)
        peer.write(HEADERS, PADDED, stream, b"\3" + block[:4] + b"pad")
        peer.write(CONTINUATION, END_HEADERS, stream, block[4:])
        framed = b"\0" + len(message).to_bytes(4) + message
        peer.write(DATA, PADDED, stream, b"\2" + framed[:7] + b"\0\0")
        peer.write(DATA, 0, stream, framed[7:])
        peer.headers(stream, FINE, END_HEADERS | END_STREAM)

    async with connected(serve) as connection:
        assert await ask(connection) == b"question"


async def test_an_answer_larger_than_the_window_comes_whole():
    large = b"x" * 9_000_000

    async def serve(peer):
        await peer.begin()
        stream, _, _ = await peer.read_call()
        peer.headers(stream, STARTED)
        data = b"\0" + len(large).to_bytes(4) + large
        left = {0: 4 * 1024 * 1024, stream: 4 * 1024 * 1024}
        for place in range(0, len(data), 16_384):
            piece = data[place : place + 16_384]
            while min(left.values()) < len(piece):
                _, of, count = await peer.read(WINDOW_UPDATE)
                left[of] += int.from_bytes(count)
            for of in left:
                left[of] -= len(piece)
            peer.write(DATA, 0, stream, piece)
        peer.headers(stream, FINE, END_HEADERS | END_STREAM)

    async with connected(serve) as connection:
        # What the client says before it asks makes the first window as large.
        assert await ask(connection) == large


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ([(":status", "503")], "UNAVAILABLE", "Received :status = '503'"),
        ([(":status", "200"), ("content-type", "text/html")], "UNKNOWN", "Invalid content-type: 'text/html'"),
        ([(":status", "200")], "UNKNOWN", "Missing content-type header"),
        (STARTED, "UNKNOWN", "Missing grpc-status header"),
        ([*STARTED, ("grpc-status", "what")], "UNKNOWN", "Invalid grpc-status: 'what'"),
        ([*STARTED, ("grpc-status", "5"), ("grpc-message", "%E6%97%A0")], "NOT_FOUND", "无"),
    ],
)
async def test_what_is_no_good_answer_says_why(headers, status, words):
    async def serve(peer):
        await peer.begin()
        stream, _, _ = await peer.read_call()
        peer.headers(stream, headers, END_HEADERS | END_STREAM)

    async with connected(serve) as connection:
        with pytest.raises(GRPCError) as raised:
            await ask(connection)
    assert (raised.value.status.name, raised.value.message) == (status, words)


@pytest.mark.parametrize("how", ["broken off", "good-bye", "closed", "no HTTP/2", "a frame too long", "a broken table"])
async def test_a_call_fails_at_once_where_it_is_cut_off(how):
    async def serve(peer):
        if how == "no HTTP/2":
            peer.writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        await peer.begin()
        stream, _, _ = await peer.read_call()
        match how:
            case "broken off":
                peer.write(RST_STREAM, 0, stream, struct.pack(">L", 2))
            case "good-bye":
                peer.write(GOAWAY, 0, 0, struct.pack(">LL", 0, 0))
            case "closed":
                peer.writer.close()
            case "a frame too long":
                peer.write(DATA, 0, stream, b"x" * 16_385)
            case "a broken table":
                peer.write(HEADERS, END_HEADERS, stream, b"\xfe")

    async with connected(serve) as connection:
        with pytest.raises(ConnectionError):
            await ask(connection)
        if how != "broken off":
            with pytest.raises(ConnectionError):
                await ask(connection)


async def test_a_stream_of_messages_goes_on_until_it_is_left_and_pings_are_answered():
    left = asyncio.Event()

    async def serve(peer):
        await peer.begin()
        stream, headers, _ = await peer.read_call()
        assert "grpc-timeout" not in headers
        peer.headers(stream, STARTED)
        for word in (b"one", b"two"):
            peer.message(stream, word)
        peer.write(PING, 0, 0, b"12345678")
        assert await peer.read(PING) == (1, 0, b"12345678")
        peer.message(stream, b"three")
        assert (await peer.read(RST_STREAM))[1] == stream
        left.set()

    async with connected(serve) as connection:
        heard = []
        async with aclosing(connection.listen("/a.Service/Events", b"")) as messages:
            async for message in messages:
                heard.append(message)
                if len(heard) == 3:
                    break
        assert heard == [b"one", b"two", b"three"]
        await left.wait()


async def test_more_calls_than_the_peer_takes_wait_for_their_turn():
    open_calls = []
    most = []

    async def serve(peer):
        await peer.begin(say=[(3, 2)])
        while True:
            stream, _, message = await peer.read_call()
            if message == b"first":
                peer.answer(stream, message)
                continue
            open_calls.append((stream, message))
            most.append(len(open_calls))
            if len(open_calls) == 2:
                while open_calls:
                    peer.answer(*open_calls.pop())

    async with connected(serve) as connection:
        assert await ask(connection, b"first") == b"first"
        answers = await asyncio.gather(*(ask(connection, str(n).encode()) for n in range(6)))
        assert answers == [str(n).encode() for n in range(6)]
    assert max(most) == 2
