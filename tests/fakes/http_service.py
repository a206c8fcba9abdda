"""What the fakes of HTTP services share: a server on loopback, and what can be made to go wrong at it on purpose."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

MAX_BODY = 32 * 1024 * 1024
_PROXY_PAGE = "<!DOCTYPE html>\n<html><head><title>Access denied</title></head><body>The proxy says no.</body></html>"


@dataclass
class Fault:
    """One planned failure; see `FakeService.fail`."""

    left: int
    path: str
    who: str
    after: bool
    errcode: int | None = None
    errmsg: str = ""
    status: int = 200
    body: str | None = None
    stall: bool = False
    cut: bool = False


class FakeService:
    """A service on a port of its own; use it as `async with`.

    `calls` counts the requests by path, also those that failed on purpose.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self.stalling = 0
        """How many requests are held without an answer."""
        self._host, self._port = host, port
        self._faults: list[Fault] = []
        self._runner: web.AppRunner | None = None
        self._released = asyncio.Event()
        self._arrived = asyncio.Event()

    # Life

    def routes(self) -> list[web.AbstractRouteDef]:
        """The service's own routes."""
        raise NotImplementedError  # pragma: no cover - every fake has its own

    async def start(self) -> None:
        """Open the port.

        Raises:
            OSError: it is taken.
        """
        application = web.Application(client_max_size=MAX_BODY, middlewares=[self._middleware()])
        application.add_routes(self.routes())
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port).start()
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port; without effect when closed already. `start` opens the same one again."""
        runner, self._runner = self._runner, None
        self._released.set()
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://{self._host}:{self._port}"

    # What goes wrong

    def fail(self, errcode: int, errmsg: str = "", count: int = 1, *, path: str = "", who: str = "") -> None:
        """Answer the next requests with a code of the service.

        Everywhere here `path` is the end of the path that is meant, and `who` a part of the query, such as a key or
        a token: empty for any.
        """
        self._faults.append(Fault(count, path, who, after=False, errcode=errcode, errmsg=errmsg))

    def answer(
        self, status: int, body: str = "", count: int = 1, *, path: str = "", who: str = "", after: bool = False
    ) -> None:
        """Answer the next requests with this; with `after` they are carried out first."""
        self._faults.append(Fault(count, path, who, after=after, status=status, body=body))

    def proxy_page(self, status: int = 200, count: int = 1, *, path: str = "", who: str = "") -> None:
        """Answer the next requests with the page of a proxy that does not let them pass."""
        self.answer(status, _PROXY_PAGE, count, path=path, who=who)

    def stall(self, count: int = 1, *, path: str = "", who: str = "", after: bool = False) -> None:
        """Do not answer the next requests until `release`; with `after` they are carried out first."""
        self._faults.append(Fault(count, path, who, after=after, stall=True))

    def cut(self, count: int = 1, *, path: str = "", who: str = "", after: bool = False) -> None:
        """Cut the connections of the next requests; with `after` they are carried out first."""
        self._faults.append(Fault(count, path, who, after=after, cut=True))

    def release(self) -> None:
        """Let go of what stalls, and plan no more failures."""
        self._faults.clear()
        self._released.set()
        self._released = asyncio.Event()

    async def called(self, count: int = 1, *, path: str = "") -> None:
        """Wait until there have been so many requests."""
        while sum(number for name, number in self.calls.items() if name.endswith(path)) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def _fault(self, request: web.Request) -> Fault | None:
        for fault in self._faults:
            if fault.left and request.path.endswith(fault.path) and fault.who in request.query_string:
                fault.left -= 1
                return fault
        return None

    def _middleware(self) -> Any:
        @web.middleware
        async def spoilt(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            self.calls[request.path] += 1
            self._arrived.set()
            fault = self._fault(request)
            if fault is None:
                return await handler(request)
            await (handler(request) if fault.after else request.read())
            return await self._spoil(request, fault)

        return spoilt

    async def _spoil(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.stall:
            self.stalling += 1
            try:
                await self._released.wait()
            finally:
                self.stalling -= 1
        if (fault.cut or fault.stall) and request.transport is not None:
            request.transport.abort()
        if fault.errcode is not None:
            return said(fault.errcode, fault.errmsg or "planned")
        kind = "text/html" if (fault.body or "").startswith("<") else "application/json"
        return web.Response(status=fault.status, text=fault.body or "", content_type=kind)


def said(errcode: int, errmsg: str, **more: Any) -> web.Response:
    """An answer of these services: HTTP 200, whatever it says."""
    return web.json_response({"errcode": errcode, "errmsg": errmsg, **more})


async def json_of(request: web.Request) -> dict[str, Any] | None:
    """The body as a JSON object; None where it is none."""
    try:
        body = await request.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def size(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text.encode(errors="replace"))


class Minute:
    """Counts what came in the last `seconds`, by name."""

    def __init__(self, seconds: float, wall: Callable[[], float]) -> None:
        self._seconds = seconds
        self._wall = wall
        self._at: dict[str, list[float]] = {}

    def count(self, name: str) -> int:
        """How many came."""
        now = self._wall()
        self._at[name] = [at for at in self._at.get(name, []) if at > now - self._seconds]
        return len(self._at[name])

    def note(self, name: str) -> None:
        """One more."""
        self._at.setdefault(name, []).append(self._wall())
