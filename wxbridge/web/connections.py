"""The connections to the server: how many, and how long one may take to say what it wants."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from wxbridge.config.server import Network
from wxbridge.core.metrics import Metrics
from wxbridge.web.auth import ACCESS
from wxbridge.web.limits import LIMITS, HttpLimits
from wxbridge.web.origin import is_among, name_subscriber
from wxbridge.web.responses import BROKEN, RETRY_AFTER_SECONDS, answer_error, tell_refusal
from wxbridge.web.services import SERVICES

log = structlog.get_logger()

CANCEL_SECONDS = 0.1
"""That a request gets to notice that its time is over."""
_UNREAD_PACKING = re.compile(r"content-encoding: \w+ \((br|zstd)\)")
_TOO_MANY = "Too many connections are open. Try again."


class ServedApplication:
    """An application of `make_app` that was started, and what it answers at the moment."""

    def __init__(self, app: web.Application) -> None:
        # No access log: the addresses in it could hold `?token=`.
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        self._answering: set[asyncio.Task[Any]] = set()
        services, access = app.get(SERVICES), app.get(ACCESS)
        self.limits = app.get(LIMITS) or HttpLimits()
        self.metrics = services.metrics if services else Metrics()
        self.proxies: Sequence[Network] = access.proxies if access else ()
        self.tell = partial(tell_refusal, app)
        """Says in the application's language why a request is not taken."""

    async def start(self) -> None:
        """Run what the application does before its first request."""
        await self._runner.setup()

    def answer(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        """Have the application answer, in the task that calls this."""
        task = asyncio.current_task()
        if task is not None:
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        return self.server.request_handler(request)

    async def leave(self, seconds: float) -> None:
        """End: streams of events at once, other answers when they are given or after so many seconds."""
        # What has arrived a moment ago has yet to reach `answer`.
        await asyncio.sleep(0)
        try:
            # Streams of events never end by themselves; the application is told to end them.
            await self._runner.shutdown()
            for limit in (seconds, CANCEL_SECONDS):
                if self._answering:
                    _, late = await asyncio.wait(self._answering, timeout=limit)
                    for task in late:
                        task.cancel()
        finally:
            await self._runner.cleanup()

    @cached_property
    def server(self) -> web.Server:
        """What makes its requests, within its limits, and answers them."""
        if self._runner.server is None:
            raise RuntimeError("the application was not started")
        return self._runner.server


class HttpServer(web.Server):
    """What makes a connection of every client that comes, and has the present application answer it.

    A connection outlives the application that answered on it: where that is exchanged, no client notices.
    """

    def __init__(self, served: ServedApplication) -> None:
        super().__init__(self._answer, request_factory=self._begin_request)
        self.served = served
        """What answers whatever is asked from now on."""
        self.by_subscriber: dict[str, dict[_HttpConnection, None]] = {}
        """The open connections, the oldest first."""
        self.is_closing = False
        self.all_closed = asyncio.Event()

    def _begin_request(self, message: Any, payload: Any, protocol: Any, *others: Any) -> Any:
        """Make a request of a head that has arrived."""
        protocol.head_arrived(self.served)
        return self.served.server.request_factory(message, payload, protocol, *others)

    def _answer(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        """Have the application answer that was there when the head arrived."""
        connection = request.protocol
        served = connection.served if isinstance(connection, _HttpConnection) else self.served
        return served.answer(request)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return sum(map(len, self.by_subscriber.values()))

    def admit(self, connection: _HttpConnection, address: str) -> str | None:
        """Take a connection in, if need be in place of the oldest that says nothing; name its subscriber, or None."""
        subscriber = name_subscriber(address)
        others = self.by_subscriber.get(subscriber, {})
        limits = self.served.limits
        if len(others) >= limits.max_connections_per_address and not is_among(address, self.served.proxies):
            if not self._make_room(others):
                return None
        elif self.open >= limits.max_connections:
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
        self.served.metrics.refused.labels("connections").inc()
        silent.give_way()
        return True

    def remove(self, connection: _HttpConnection, subscriber: str) -> None:
        """Forget a connection."""
        theirs = self.by_subscriber.get(subscriber, {})
        theirs.pop(connection, None)
        if not theirs:
            self.by_subscriber.pop(subscriber, None)

    async def close(self, seconds: float) -> None:
        """End: idle connections at once, the others when they are answered or after so many seconds."""
        # What was accepted a moment ago has yet to arrive here.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.is_closing = True
        for connection in self.connections:
            if isinstance(connection, _HttpConnection) and not connection.is_busy:
                connection.force_close()
        leaving = asyncio.create_task(self.served.leave(seconds), name="http leaves")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.open:
                    self.all_closed.clear()
                    await self.all_closed.wait()
        await self.shutdown(CANCEL_SECONDS)
        await leaving

    def __call__(self) -> _HttpConnection:
        """Make the protocol of a connection that was accepted."""
        return _HttpConnection(self)


class _HttpConnection(web.RequestHandler):
    """aiohttp's connection, which ends itself where a request's head does not come, or there are too many."""

    def __init__(self, server: HttpServer) -> None:
        limits = server.served.limits
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
        self._head_due: float | None = None
        """When a head has to be there, by the loop's clock; None where none is waited for."""
        self._head_timer: asyncio.TimerHandle | None = None
        """Looks at that, and runs on for the next head: to set and stop one for each request is a good part of it."""
        self.is_busy = False
        """Whether a request is on its way, or being answered."""
        self.served = server.served
        """What answers the request that is under way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._subscriber = self._shared.admit(self, str(peer[0]) if isinstance(peer, tuple) else "")
        if self._subscriber is None:
            self._shared.served.metrics.refused.labels("connections").inc()
            _say(transport, "503 Service Unavailable", self._shared.served.tell(_TOO_MANY))
            transport.close()
            return
        super().connection_made(transport)
        # Kept from now on: of a client that hangs up soon nobody could tell the address later.
        _ = self.peername
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._subscriber is None:
            return
        if not self.is_busy:
            self.is_busy = True
            if self._head_due is None:
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
        if self._shared.is_closing and isinstance(resp, web.StreamResponse):
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        # Where more of the body is still to come, the connection is closed behind it.
        if request.content.is_eof():
            self.is_busy = False
        return finished

    def head_arrived(self, served: ServedApplication) -> None:
        """Wait for no head any more: a whole one is there, for this application."""
        self.served = served
        self.is_headless = False
        self._head_due = None

    def give_way(self) -> None:
        """Make room for another connection."""
        self._leave_count()
        self._cancel_timer()
        if self.transport is not None:
            _say(self.transport, "503 Service Unavailable", self._shared.served.tell(_TOO_MANY))
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
            self._shared.served.metrics.refused.labels("bad_request").inc()
            log.debug("no HTTP request", kind=type(exc).__name__)
            sentence = "This is no HTTP request that can be read: look at its headers."
            if isinstance(exc, LineTooLong):
                sentence = f"The address or a header is longer than {self.max_field_size} bytes."
            elif packing := _find_packing(exc):
                sentence = f"The body is packed as `{packing}`; only gzip and deflate are unpacked here."
        elif isinstance(exc, ConnectionError):
            log.debug("a client hung up", kind=type(exc).__name__)
            sentence = BROKEN
        else:
            log.error("a request failed", exc_info=exc)
            sentence = BROKEN
        response = answer_error(status, self._shared.served.tell(sentence))
        response.force_close()
        return response

    def _await_head(self) -> None:
        self._head_due = asyncio.get_running_loop().time() + self._shared.served.limits.head_seconds
        if self._head_timer is None:
            self._set_timer(self._head_due)

    def _set_timer(self, due: float) -> None:
        self._head_timer = asyncio.get_running_loop().call_at(due, self._check_head)

    def _check_head(self) -> None:
        self._head_timer = None
        if self._head_due is None:
            return
        if self._head_due > asyncio.get_running_loop().time():
            self._set_timer(self._head_due)
            return
        self._shared.served.metrics.refused.labels("slow").inc()
        if self.transport is not None:
            limit = self._shared.served.limits.head_seconds
            sentence = f"No whole request came within {limit:g} seconds."
            _say(self.transport, "408 Request Timeout", self._shared.served.tell(sentence))
        self.force_close()


def _find_packing(error: BaseException | None) -> str:
    """Name how a body is packed that aiohttp does not unpack; empty where that is not what is wrong."""
    found = _UNREAD_PACKING.search(str(error)) if isinstance(error, BadHttpMessage) else None
    return found[1] if found else ""


def _say(transport: asyncio.BaseTransport, status: str, sentence: str) -> None:
    """Write the last words on a connection that aiohttp does not answer on."""
    if not isinstance(transport, asyncio.WriteTransport):
        return
    body = json.dumps({"error": sentence}, ensure_ascii=False).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"Retry-After: {RETRY_AFTER_SECONDS}\r\nConnection: close\r\n\r\n"
    )
    transport.write(head.encode() + body)
