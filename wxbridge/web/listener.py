"""A listening address that stays while the application behind it is exchanged."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from typing import Any

import structlog
from aiohttp import web

from wxbridge.core.errors import AddressTaken, describe_error
from wxbridge.web.connections import HttpServer, ServedApplication

log = structlog.get_logger()

LEAVE_SECONDS = 30.0
"""That requests to an application that was exchanged get to finish; as long as a body may take."""
SHUTDOWN_SECONDS = 1.0
"""That requests get to finish where the bridge ends."""
_BACKLOG = 128
EXHAUSTED_LOG_SECONDS = 600.0
"""Between two lines about files that have run out."""
_NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class HttpListener:
    """Serves one aiohttp application after another on one address."""

    def __init__(self) -> None:
        self.port = 0
        """That it is bound to; 0 where it is not."""
        self._sockets: list[socket.socket] = []
        self._runner: web.ServerRunner | None = None
        self._server: HttpServer | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._exhausted_at: float | None = None

    def bind(self, host: str, port: int) -> int:
        """Take the address (all of them, for a name that has several); give the port, a free one for 0.

        Raises:
            AddressTaken: it cannot be had.
        """
        # As bytes it needs none of the tables for names in other scripts, 0.6 MB.
        name = host.encode() if host.isascii() else host
        try:
            found = dict.fromkeys(
                (entry[0], entry[4]) for entry in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            )
            for family, address in found:
                try:
                    listening = _listening(family, (address[0], port, *address[2:]))
                except OSError as error:
                    # A name may have an address of a kind that this machine does not speak.
                    if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or len(found) == 1:
                        raise
                    continue
                self._sockets.append(listening)
                port = listening.getsockname()[1]
            if not self._sockets:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))  # noqa: TRY301
        except OSError as error:
            self._release()
            shown = f"[{host}]" if ":" in host else host
            raise AddressTaken(f"cannot listen on {shown}:{port}: {describe_error(error)}") from error
        self.port = port
        return port

    async def serve(self, app: web.Application) -> None:
        """Have an application answer what is asked from now on; what another has begun to answer, it finishes."""
        asyncio.get_running_loop().set_exception_handler(self._note_exception)
        served = ServedApplication(app)
        await served.start()
        if self._server is not None:
            before, self._server.served = self._server.served, served
            task = asyncio.create_task(before.leave(LEAVE_SECONDS), name="http leaves")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            return
        self._server = HttpServer(served)
        self._runner = web.ServerRunner(self._server)
        await self._runner.setup()
        for listening in self._sockets:
            # A site closes what it is given.
            await web.SockSite(self._runner, listening.dup(), backlog=_BACKLOG).start()

    async def close(self) -> None:
        """Take no more; what is being answered gets a second."""
        self._release()
        leaving = list(self._leaving)
        for task in leaving:
            task.cancel()
        if self._runner is not None and self._server is not None:
            for site in self._runner.sites:
                await site.stop()
            await self._server.close(SHUTDOWN_SECONDS)
            self._runner = self._server = None
        if leaving:
            await asyncio.wait(leaving, timeout=2 * SHUTDOWN_SECONDS)

    def _note_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log what asyncio tells of; that no connection can be accepted, once a while: it tells that at every try."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _NO_FILES or "accept" not in context.get("message", ""):
            loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if self._exhausted_at is None or now - self._exhausted_at >= EXHAUSTED_LOG_SECONDS:
            self._exhausted_at = now
            log.error("no connection can be accepted: raise the limit of open files", error=error.strerror)

    def _release(self) -> None:
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        made.settimeout(0)
    except OSError:
        made.close()
        raise
    return made
