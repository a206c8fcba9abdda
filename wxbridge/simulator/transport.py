"""What lies below the gateway's calls: the token, the size limit, and connections that drop or freeze."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

from grpclib.const import Cardinality, Status
from grpclib.const import Handler as Method
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Handler, Server, Stream

MAX_MESSAGE = 4 * 1024 * 1024
"""The largest gRPC message taken, in bytes: the limit of a grpc-js server."""

_Headers = list[tuple[str, str]]


class _Codec(ProtoCodec):  # type: ignore[misc] # grpclib is untyped here
    """Protobuf, with the answers that grpc-js gives for what is too large or unreadable."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        if len(data) > MAX_MESSAGE:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED, f"Received message larger than max ({len(data)} vs. {MAX_MESSAGE})"
            )
        if message_type is bytes:
            return data
        try:
            return super().decode(data, message_type)
        except Exception as error:
            raise GRPCError(Status.INTERNAL, f"Error deserializing request: {error}") from error


def _refusing(status: Status, text: str) -> Method:
    async def refuse(stream: Stream) -> None:
        # The request is read to its end first: a client in the middle of sending would miss the status.
        with contextlib.suppress(GRPCError):
            async for _ in stream:
                pass
        raise GRPCError(status, text)

    return Method(refuse, Cardinality.STREAM_UNARY, bytes, bytes)


class _Methods(dict[str, Method]):
    """The known methods by path; any other path gets a method that refuses."""

    def get(self, path: str, default: Any = None) -> Any:  # noqa: ARG002 - a dictionary's
        refusing = _refusing(Status.UNIMPLEMENTED, f"The server does not implement the method {path}")
        return super().get(path, refusing)


class _Nothing(dict[str, Method]):
    """The methods for those who hold no token: all refuse."""

    def get(self, path: str, default: Any = None) -> Any:  # noqa: ARG002 - a dictionary's
        return _refusing(Status.UNAUTHENTICATED, "Invalid Wechaty TOKEN")


class _Handler(Handler):  # type: ignore[misc] # grpclib is untyped here
    """Looks at the token before grpclib looks at the method."""

    def __init__(self, token: str, methods: _Methods, **parts: Any) -> None:
        super().__init__(methods, **parts)
        self._token = token
        self._methods = methods

    def accept(self, stream: Any, headers: _Headers, release_stream: Callable[[], Any]) -> None:
        self.mapping = self._methods if dict(headers).get(":authority") == self._token else _Nothing()
        super().accept(stream, headers, release_stream)

    def cancel(self, stream: Any) -> None:
        # A client may take back a call that has just been answered.
        if stream in self._tasks:
            super().cancel(stream)


class _Transport:
    """A TCP transport that can hold back all it is given to write, like a stopped process."""

    def __init__(self, transport: asyncio.Transport, *, held: bool) -> None:
        self._transport = transport
        self._held: list[bytes] | None = [] if held else None

    def write(self, data: bytes) -> None:
        if self._held is None:
            self._transport.write(data)
        else:
            self._held.append(bytes(data))

    def hold(self) -> None:
        if self._held is None:
            self._held = []

    def release(self) -> None:
        held, self._held = self._held or [], None
        if not self._transport.is_closing():
            self._transport.writelines(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(H2Protocol):  # type: ignore[misc] # grpclib is untyped here
    """One connection, remembered for as long as it is open."""

    def __init__(self, server: GatewayServer, *parts: Any) -> None:
        super().__init__(*parts)
        self._server = server
        self._wrapped: _Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wrapped = self._server.opened(cast("asyncio.Transport", transport))
        super().connection_made(self._wrapped)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._wrapped is not None:
            self._server.closed(self._wrapped)
        super().connection_lost(exc)


class GatewayServer(Server):  # type: ignore[misc] # grpclib is untyped here
    """A grpclib server that wants a token as `:authority` on every call and takes at most 4 MiB a message."""

    def __init__(self, token: str, methods: dict[str, Method]) -> None:
        super().__init__([], codec=_Codec())
        self._token = token
        self._methods = _Methods(methods)
        self._open: set[_Transport] = set()
        self._frozen = False

    def _protocol_factory(self) -> _Protocol:
        self.__gc_step__()
        handler = _Handler(
            self._token,
            self._methods,
            codec=self._codec,
            status_details_codec=self._status_details_codec,
            dispatch=self.__dispatch__,
        )
        self._handlers.add(handler)
        return _Protocol(self, handler, self._config, self._h2_config)

    @property
    def port(self) -> int:
        """Give the port that is listened on."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Say how many TCP connections are open."""
        return len(self._open)

    def opened(self, transport: asyncio.Transport) -> _Transport:
        """Take note of a connection and give what it is to write to."""
        wrapped = _Transport(transport, held=self._frozen)
        self._open.add(wrapped)
        return wrapped

    def closed(self, transport: _Transport) -> None:
        """Forget a connection."""
        self._open.discard(transport)

    def freeze(self) -> None:
        """Write nothing to any connection, present or new, until `thaw`."""
        self._frozen = True
        for transport in self._open:
            transport.hold()

    def thaw(self) -> None:
        """Write what was held back."""
        self._frozen = False
        for transport in self._open:
            transport.release()

    def drop(self) -> int:
        """Cut every TCP connection without a word; gives how many there were."""
        count = len(self._open)
        for transport in tuple(self._open):
            transport.abort()
        return count
