"""The connections to the server: how many, and how long one may take to say what it wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from wxbridge.core.metrics import Metrics
from wxbridge.web.auth import ACCESS
from wxbridge.web.limits import LIMITS, HttpLimits
from wxbridge.web.origin import IpNetwork, is_among, name_subscriber
from wxbridge.web.responses import RETRY_AFTER_SECONDS, answer_error
from wxbridge.web.services import SERVICES

log = structlog.get_logger()

CANCEL_SECONDS = 0.1
"""That a request gets to notice that its time is over."""


class HttpRunner(web.AppRunner):
    """aiohttp's runner, for applications of `make_app`: it keeps their limits, and writes no access log.

    An access log would hold addresses, and those hold `?token=`.
    """

    def __init__(self, app: web.Application, *, shutdown_timeout: float = 1.0) -> None:
        """Set up like any runner. `shutdown_timeout`: seconds that requests get to finish."""
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout, handle_signals=False)

    async def leave(self, limit: float, patience: float = 0.0) -> None:
        """End: idle connections at once, the others when they are answered or after `limit` seconds.

        Where nothing was asked yet, `patience` is how many seconds are left for that.
        """
        for site in list(self.sites):
            await site.stop()
        # What was accepted a moment ago has yet to arrive at the application.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        server = self.server
        try:
            if isinstance(server, _HttpServer):
                server.begin_leaving()
                # Streams of events never end by themselves; the application is told to end them.
                await self.shutdown()
                await server.leave(limit, patience)
                await server.shutdown(CANCEL_SECONDS)
        finally:
            await self.cleanup()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        services = self.app.get(SERVICES)
        access = self.app.get(ACCESS)
        return _HttpServer(
            made,
            self.app.get(LIMITS) or HttpLimits(),
            services.metrics if services else Metrics(),
            access.proxies if access else (),
        )


class _ConnectionState(Enum):
    FRESH = auto()
    """Nothing was asked yet."""
    BUSY = auto()
    """A request is on its way, or being answered."""
    IDLE = auto()
    """All that was asked is answered."""


class _HttpServer(web.Server):
    """What makes a connection of every client that comes."""

    def __init__(
        self, like: web.Server, limits: HttpLimits, metrics: Metrics, proxies: Sequence[IpNetwork] = ()
    ) -> None:
        self._create_request = like.request_factory
        super().__init__(
            like.request_handler, request_factory=self._begin_request, handler_cancellation=like.handler_cancellation
        )
        self.limits = limits
        self.metrics = metrics
        self.proxies = proxies
        self.by_subscriber: dict[str, dict[_HttpConnection, None]] = {}
        """The open connections, the oldest first."""
        self.leaving = False
        self.all_closed = asyncio.Event()

    def _begin_request(self, message: Any, payload: Any, protocol: Any, *others: Any) -> Any:
        """Make a request of a head that has arrived."""
        protocol.head_arrived()
        return self._create_request(message, payload, protocol, *others)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return sum(map(len, self.by_subscriber.values()))

    def admit(self, connection: _HttpConnection, address: str) -> str | None:
        """Take a connection in, if need be in place of the oldest that says nothing; name its subscriber, or None."""
        subscriber = name_subscriber(address)
        others = self.by_subscriber.get(subscriber, {})
        if len(others) >= self.limits.max_connections_per_address and not is_among(address, self.proxies):
            if not self._make_room(others):
                return None
        elif self.open >= self.limits.max_connections:
            # Whoever holds most of them gives one up first.
            for theirs in sorted(self.by_subscriber.values(), key=len, reverse=True):
                if self._make_room(theirs):
                    break
            else:
                return None
        self.by_subscriber.setdefault(subscriber, {})[connection] = None
        return subscriber

    def _make_room(self, connections: dict[_HttpConnection, None]) -> bool:
        """Close the oldest connection on which no head has ever come."""
        silent = next((each for each in connections if each.is_headless), None)
        if silent is None:
            return False
        self.metrics.refused.labels("connections").inc()
        silent.give_way()
        return True

    def remove(self, connection: _HttpConnection, subscriber: str) -> None:
        """Forget a connection."""
        theirs = self.by_subscriber.get(subscriber, {})
        theirs.pop(connection, None)
        if not theirs:
            self.by_subscriber.pop(subscriber, None)

    def begin_leaving(self) -> None:
        """Close what is idle, and from now on each connection once it is answered."""
        self.leaving = True
        self._close(_ConnectionState.IDLE)

    def pre_shutdown(self) -> None:
        """Close what is idle. What is under way goes on; aiohttp would take in no more of a body that is coming."""
        self.begin_leaving()
        self._close(_ConnectionState.FRESH)

    def _close(self, state: _ConnectionState) -> None:
        for connection in self.connections:
            if isinstance(connection, _HttpConnection) and connection.state is state:
                connection.force_close()

    async def leave(self, limit: float, patience: float) -> None:
        """Wait until every connection is closed, for `limit` seconds; those that are fresh have `patience` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await self._wait_closed()
                self._close(_ConnectionState.FRESH)
                await self._wait_closed()

    async def _wait_closed(self) -> None:
        while self.open:
            self.all_closed.clear()
            await self.all_closed.wait()

    def __call__(self) -> _HttpConnection:
        return _HttpConnection(self)


class _HttpConnection(web.RequestHandler):
    """aiohttp's connection, which ends itself where a request's head does not come, or there are too many."""

    def __init__(self, server: _HttpServer) -> None:
        limits = server.limits
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # its addresses could hold `?token=`
            keepalive_timeout=limits.idle_seconds,
            lingering_time=limits.linger_seconds,
        )
        self._shared = server
        self._subscriber: str | None = None
        """Under whose name it is counted."""
        self.is_headless = True
        """Whether no head of a request has come yet."""
        self._head_timer: asyncio.TimerHandle | None = None
        self.state = _ConnectionState.FRESH

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._subscriber = self._shared.admit(self, str(peer[0]) if isinstance(peer, tuple) else "")
        if self._subscriber is None:
            self._shared.metrics.refused.labels("connections").inc()
            _say(transport, "503 Service Unavailable", "Too many connections are open. Try again.")
            transport.close()
            return
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._subscriber is None:
            return
        if self.state is not _ConnectionState.BUSY:
            self.state = _ConnectionState.BUSY
            if self._head_timer is None:
                self._await_head()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cancel_timer()
        self._leave_count()
        super().connection_lost(exc)
        if not self._shared.open:
            self._shared.all_closed.set()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._shared.leaving and isinstance(resp, web.StreamResponse):
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        # Where more of the body is still to come, the connection is closed behind it.
        if request.content.is_eof():
            self.state = _ConnectionState.IDLE
        return finished

    def head_arrived(self) -> None:
        """Wait for no head any more: a whole one is there."""
        self.is_headless = False
        self._cancel_timer()

    def give_way(self) -> None:
        """Make room for another connection."""
        self._leave_count()
        self._cancel_timer()
        if self.transport is not None:
            _say(self.transport, "503 Service Unavailable", "Too many connections are open. Try again.")
        self.force_close()

    def _leave_count(self) -> None:
        if self._subscriber is not None:
            self._shared.remove(self, self._subscriber)
            self._subscriber = None

    def _cancel_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats what was sent, and that may hold a token
    ) -> web.StreamResponse:
        """Answer what never became a request. The log is not told what it was either."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was already begun")
        if status < 500:  # noqa: PLR2004 - HTTP
            self._shared.metrics.refused.labels("bad_request").inc()
            log.debug("no HTTP request", kind=type(exc).__name__)
            too_long = isinstance(exc, LineTooLong)
            sentence = f"The address or a header is longer than {self.max_field_size} bytes." if too_long else (
                "This is no HTTP request that can be read: look at its headers.")  # fmt: skip
        else:
            log.error("a request failed", exc_info=exc)
            sentence = "Something went wrong here, and the log says what. Try again."
        response = answer_error(status, sentence)
        response.force_close()
        return response

    def _await_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(self._shared.limits.head_seconds, self._give_up)

    def _give_up(self) -> None:
        self._head_timer = None
        self._shared.metrics.refused.labels("slow").inc()
        if self.transport is not None:
            limit = self._shared.limits.head_seconds
            _say(self.transport, "408 Request Timeout", f"No whole request came within {limit:g} seconds.")
        self.force_close()


def _say(transport: asyncio.BaseTransport, status: str, sentence: str) -> None:
    """Write the last words on a connection that aiohttp does not answer on."""
    if not isinstance(transport, asyncio.WriteTransport):
        return
    body = json.dumps({"error": sentence}).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Retry-After: {RETRY_AFTER_SECONDS}\r\nConnection: close\r\n\r\n"
    )
    transport.write(head.encode() + body)
