"""What the server answers: a JSON sentence for every error, counted by its reason; never a secret."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiohttp import web

from wxbridge.core.errors import BadBody, StorageError
from wxbridge.core.metrics import Metrics

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KNOWN = web.RequestKey("known", str)
"""The key of a request under which stands what let it in."""
AS_PAGE: web.AppKey[Callable[[web.Request, web.Response], web.Response]] = web.AppKey("as_page")
"""What makes a page of an error, where a person looks at it."""
RETRY_AFTER = 5
"""Seconds that a sender is asked to wait where the database does not take it."""


class Refused(Exception):
    """A request that is not taken: its status, the sentence, and the reason that it is counted under."""

    def __init__(self, status: int, reason: str, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.headers = headers


def refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error, as every client of the server reads it."""
    return web.json_response({"error": sentence}, status=status, headers=headers)


def shortened(name: str) -> str:
    """What a client wrote, short enough to be told back."""
    return name if len(name) <= 60 else name[:60] + "…"  # noqa: PLR2004 - here alone


async def read_body(request: web.Request, limit: float) -> bytes:
    """The body, unpacked, of at most the application's `client_max_size`; within `limit` seconds.

    Raises:
        Refused: it did not arrive in time.
        BadBody: it is not packed as it says, or broken off.
    """
    try:
        async with asyncio.timeout(limit):
            return await request.read()
    except TimeoutError:
        raise too_slow(limit) from None
    except web.RequestPayloadError as error:
        raise BadBody(f"The body cannot be read: {error}") from None


def too_slow(limit: float) -> Refused:
    """The refusal of a body that did not arrive within `limit` seconds."""
    return Refused(408, "slow", f"The body did not arrive within {limit:g} seconds.")


def sentences(metrics: Metrics) -> Any:
    """A middleware that turns every error into a JSON sentence, and counts it.

    A client that `KNOWN` does not name, or whose body has not all come, keeps no connection.
    """

    @web.middleware
    async def translate(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            if isinstance(error, web.HTTPException) and error.status < 400:  # noqa: PLR2004 - HTTP
                raise
            response = _told(request, error, metrics)
            if as_page := request.config_dict.get(AS_PAGE):
                response = as_page(request, response)
        if KNOWN not in request or not request.content.is_eof():
            response.force_close()
            if "Content-Encoding" in request.headers and not request.content.is_eof():
                await _hang_up(request, response)
        return response

    return translate


async def _hang_up(request: web.Request, response: web.StreamResponse) -> None:
    """Answer and close at once: what is read to let a client finish is unpacked too, which may be very much."""
    await response.prepare(request)
    await response.write_eof()
    request.protocol.force_close()


def _told(request: web.Request, error: Exception, metrics: Metrics) -> web.Response:
    match error:
        case Refused():
            metrics.refused.labels(error.reason).inc()
            return refusal(error.status, str(error), error.headers)
        case BadBody():
            metrics.refused.labels("bad_body").inc()
            return refusal(400, str(error))
        case StorageError():
            metrics.refused.labels("storage").inc()
            metrics.storage_errors.inc()
            log.error("not stored, told the sender to try again", path=request.path, error=str(error))
            return refusal(503, f"Not stored: {error}. Try again.", {"Retry-After": str(RETRY_AFTER)})
        case web.HTTPRequestEntityTooLarge():
            metrics.refused.labels("too_large").inc()
            return refusal(413, f"The body is too large; {error.text}")
        case web.HTTPException():
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            return refusal(error.status, error.reason if error.text is None else error.text, allowed)
        case _:
            metrics.refused.labels("error").inc()
            log.error("a request failed, told the sender to try again", path=request.path, exc_info=error)
            # 500: senders repeat it.
            return refusal(500, "Something went wrong here, and the log says what. Try again.")
