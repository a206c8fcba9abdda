"""A start that cannot go on yet, as on a full disk: it is tried again, and senders are told to come again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from aiohttp import web

from wxbridge.config.server import ServerSettings
from wxbridge.core.errors import StorageError, UnusableState
from wxbridge.core.systemd import notify_systemd
from wxbridge.core.text.i18n import FALLBACK_LANGUAGE
from wxbridge.web.listener import HttpListener
from wxbridge.web.pages import show_alive
from wxbridge.web.responses import LANGUAGE, RETRY_AFTER_SECONDS, answer_error, tell_refusal

log = structlog.get_logger()

T = TypeVar("T")

START_RETRY_SECONDS = 1.0
"""Between two tries."""
_SYSTEMD_PATIENCE_SECONDS = 30
"""That systemd gives a start for each try."""


class WaitingStart:
    """Does what a start needs of the disk, over and over; answers in the bridge's place as long as that fails.

    Args:
        listener: Is bound once there is something to answer.
        server: To which address.
        language: Of what senders are told.
    """

    def __init__(self, listener: HttpListener, server: ServerSettings, language: str = FALLBACK_LANGUAGE) -> None:
        self._listener, self._server, self._language = listener, server, language
        self._reason = ""

    async def insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something until the disk takes it.

        Raises:
            UnusableState: waiting does not help.
            WxbridgeError: the address cannot be had.
        """
        while True:
            try:
                return await work()
            except UnusableState:
                raise
            except StorageError as error:
                await self._refuse(str(error))
            await asyncio.sleep(START_RETRY_SECONDS)

    async def _refuse(self, reason: str) -> None:
        """Answer that nothing can be taken; the log says why, and systemd is asked for more time."""
        if not self._reason:
            self._listener.bind(self._server.host, self._server.port)
            await self._listener.serve(_make_waiting_app(self._language))
        if reason != self._reason:
            log.error("the start waits: nothing can be stored, and senders are told to try again", error=reason)
        self._reason = reason
        patience = f"EXTEND_TIMEOUT_USEC={_SYSTEMD_PATIENCE_SECONDS * 1_000_000}\nSTATUS=waits: {reason}"
        notify_systemd(patience, os.environ.get("NOTIFY_SOCKET", ""))


def _make_waiting_app(language: str) -> web.Application:
    """Make what answers while nothing can be stored: the process is alive, and everything else is 503.

    Why is for the log: nobody is asked for a token here.
    """

    async def show_readiness(_request: web.Request) -> web.Response:
        return web.json_response({"ready": False, "parts": {"database": {"ok": False}}}, status=503)

    async def refuse(request: web.Request) -> web.Response:
        sentence = "Not stored: the bridge waits for its database, and its log says why. Try again."
        return answer_error(503, tell_refusal(request.config_dict, sentence), {"Retry-After": str(RETRY_AFTER_SECONDS)})

    app = web.Application()
    app[LANGUAGE] = language
    app.add_routes([web.get("/healthz", show_alive), web.get("/readyz", show_readiness)])
    app.router.add_route("*", "/{tail:.*}", refuse)
    return app
