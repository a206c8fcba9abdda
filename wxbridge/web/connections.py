"""The connections to the server: how many, and how long one may take to say what it wants."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from wxbridge.core.metrics import Metrics
from wxbridge.web.answers import RETRY_AFTER, Handler, refusal
from wxbridge.web.limits import Limits

log = structlog.get_logger()

_LOOK = 0.02
"""Seconds between two looks at the connections of an application that leaves."""

_CUT = 0.1
"""Seconds that a request gets to notice that its time is over."""

METRICS = web.AppKey("metrics", Metrics)
"""Where an application keeps what it counts with."""
LIMITS = web.AppKey("limits", Limits)
"""Where an application keeps what its clients may take."""


class Runner(web.AppRunner):
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
            if isinstance(server, _Server):
                server.patient = patience > 0
                server.pre_shutdown()
                # Streams of events never end by themselves; the application is told to end them.
                await self.shutdown()
                await server.leave(limit, patience)
                await server.shutdown(_CUT)
        finally:
            await self.cleanup()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made, self.app.get(LIMITS) or Limits(), self.app.get(METRICS) or Metrics())


class _Server(web.Server):
    """What makes a connection of every client that comes."""

    def __init__(self, like: web.Server, limits: Limits, metrics: Metrics) -> None:
        super().__init__(
            like.request_handler, request_factory=like.request_factory, handler_cancellation=like.handler_cancellation
        )
        self.limits = limits
        self.metrics = metrics
        self.open = 0
        self.leaving = False
        self.patient = False
        """Whether who has come, and has yet to say what it wants, is waited for."""

    def pre_shutdown(self) -> None:
        """Close what is idle. What is under way goes on; aiohttp would take in no more of a body that is coming."""
        self.leaving = True
        for connection in self.connections:
            if isinstance(connection, _Connection) and connection.is_idle(fresh=not self.patient):
                connection.force_close()

    async def leave(self, limit: float, patience: float) -> None:
        """Close every connection once what it asks is answered, for `limit` seconds.

        Those on which nothing was asked yet get `patience` seconds for that.
        """
        began = time.monotonic()
        self.patient = True
        while self.connections and (passed := time.monotonic() - began) < limit:
            self.patient = passed < patience
            self.pre_shutdown()
            await asyncio.sleep(_LOOK)

    def __call__(self) -> _Connection:
        return _Connection(self)


class _Connection(web.RequestHandler):
    """aiohttp's connection, which ends itself where a request's head does not come, or there are too many."""

    def __init__(self, server: _Server) -> None:
        limits = server.limits
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # its addresses could hold `?token=`
            keepalive_timeout=limits.idle,
            lingering_time=limits.linger,
        )
        self._shared = server
        self._counted = False
        self._in_request = False
        self._waits_for_head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._shared.open >= self._shared.limits.connections:
            self._shared.metrics.refused.labels("connections").inc()
            _say(transport, "503 Service Unavailable", "Too many connections are open. Try again.")
            transport.close()
            return
        self._shared.open += 1
        self._counted = True
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if not self._counted:
            return
        if not self._in_request and self._waits_for_head is None:
            self._await_head()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_waiting()
        if self._counted:
            self._counted = False
            self._shared.open -= 1
        super().connection_lost(exc)

    def is_idle(self, *, fresh: bool) -> bool:
        """Whether it waits for another request; or, with `fresh`, for the first."""
        return self._waiter is not None and not self._waiter.done() and (fresh or self._request_count > 0)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._shared.leaving and isinstance(resp, web.StreamResponse):
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def request_began(self) -> None:
        """A whole head is there."""
        self._in_request = True
        self._stop_waiting()

    def request_ended(self) -> None:
        """It is answered; the next byte begins another."""
        self._in_request = False

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
        response = refusal(status, sentence)
        response.force_close()
        return response

    def _await_head(self) -> None:
        self._waits_for_head = asyncio.get_running_loop().call_later(self._shared.limits.head, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waits_for_head is not None:
            self._waits_for_head.cancel()
            self._waits_for_head = None

    def _give_up(self) -> None:
        self._waits_for_head = None
        self._shared.metrics.refused.labels("slow").inc()
        if self.transport is not None:
            limit = self._shared.limits.head
            _say(self.transport, "408 Request Timeout", f"No whole request came within {limit:g} seconds.")
        self.force_close()


def _say(transport: asyncio.BaseTransport, status: str, sentence: str) -> None:
    """The last words on a connection that aiohttp does not answer on."""
    if not isinstance(transport, asyncio.WriteTransport):
        return
    body = json.dumps({"error": sentence}).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Retry-After: {RETRY_AFTER}\r\nConnection: close\r\n\r\n"
    )
    transport.write(head.encode() + body)


def watched() -> Any:
    """The outermost middleware: tells a connection when a request of its own begins and ends."""

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = request.protocol
        if not isinstance(connection, _Connection):
            return await handler(request)
        connection.request_began()
        try:
            return await handler(request)
        finally:
            connection.request_ended()

    return tell
