"""What the server answers: a JSON sentence for every error, counted by its reason; never a secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from wxbridge.core.errors import BadBody, StorageError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Accepted
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import FALLBACK_LANGUAGE
from wxbridge.web.limits import LIMITS
from wxbridge.web.services import SERVICES

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CALLER = web.RequestKey("caller", str)
"""Under which a request keeps the name of what let it in."""
AS_PAGE: web.AppKey[Callable[[web.Request, web.Response], web.Response]] = web.AppKey("as_page")
"""What makes a page of an error, where a person looks at it."""
IN_CONSOLE: web.AppKey[Callable[[web.Request], bool]] = web.AppKey("in_console")
"""What tells which requests the console answers, and lets in by itself."""
BROKEN = "Something went wrong here, and the log says what. Try again."
RETRY_AFTER_SECONDS = 5
"""For which a sender is asked to wait where the database does not take it."""
MAX_NAME_CHARS_TOLD = 60


class RequestRefused(Exception):
    """A request that is not taken: its status, the sentence, and the reason that it is counted under."""

    def __init__(self, status: int, reason: str, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.headers = headers


LANGUAGE = web.AppKey("language", str)
"""In which language errors are told."""


def tell_refusal(app: Mapping[Any, Any], sentence: str) -> str:
    """Tell why a request is not taken, in the language of an application (or a request's `config_dict`)."""
    return tell_error(sentence, app.get(LANGUAGE, FALLBACK_LANGUAGE), sections=("api", "errors"))


def answer_error(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make the answer to what went wrong, as every client of the server reads it."""
    text = json.dumps({"error": sentence}, ensure_ascii=False)
    return web.json_response(text=text, status=status, headers=headers)


def answer_accepted(metrics: Metrics, source: str, counts: Accepted) -> web.Response:
    """Make the answer to what is on disk, and count it."""
    metrics.count_accepted(source, counts.queued, counts.duplicates)
    # Written out: to encode two numbers as JSON takes longer than to make the rest of the answer.
    text = f'{{"queued": {counts.queued}, "duplicates": {counts.duplicates}}}'
    return web.json_response(text=text, status=202)


def shorten_name(name: str) -> str:
    """Cut what a client wrote, so that it can be told back."""
    return name if len(name) <= MAX_NAME_CHARS_TOLD else name[:MAX_NAME_CHARS_TOLD] + "…"


async def read_body(request: web.Request) -> bytes:
    """Read the body, unpacked, of at most the application's `client_max_size`, within its `HttpLimits`.

    Raises:
        RequestRefused: it did not arrive in time.
        BadBody: it is not packed as it says, or broken off.
    """
    try:
        if request.content.is_eof():
            # All of it is there, as of most: a time limit costs more than the reading.
            return await request.read()
        async with asyncio.timeout(request.app[LIMITS].body_seconds):
            return await request.read()
    except TimeoutError:
        raise slow_body(request) from None
    except web.RequestPayloadError as error:
        raise BadBody(f"The body cannot be read: {error}") from None


def slow_body(request: web.Request) -> RequestRefused:
    """Make the refusal of a body that did not arrive in time."""
    limit = request.app[LIMITS].body_seconds
    return RequestRefused(408, "slow", f"The body did not arrive within {limit:g} seconds.")


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a JSON sentence, and count it.

    A client that `CALLER` does not name, or whose body has not all come, keeps no connection.
    """
    try:
        response = await handler(request)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and request.transport is None and not request.content.is_eof():
            # What aiohttp says where a body is read whose sender has gone.
            raise ConnectionResetError("the client hung up") from None
        if isinstance(error, web.HTTPException) and error.status < 400:  # noqa: PLR2004 - HTTP
            raise
        response = _describe_error(request, error, request.config_dict[SERVICES].metrics)
        response = request.config_dict[AS_PAGE](request, response)
    if CALLER not in request or not request.content.is_eof():
        response.force_close()
        if "Content-Encoding" in request.headers and not request.content.is_eof():
            await _hang_up(request, response)
    return response


async def _hang_up(request: web.Request, response: web.StreamResponse) -> None:
    """Answer and close at once: what is read to let a client finish is unpacked too, which may be very much."""
    await response.prepare(request)
    await response.write_eof()
    request.protocol.force_close()


def _describe_error(request: web.Request, error: Exception, metrics: Metrics) -> web.Response:
    tell = partial(tell_refusal, request.config_dict)
    match error:
        case RequestRefused():
            metrics.refused.labels(error.reason).inc()
            return answer_error(error.status, tell(str(error)), error.headers)
        case BadBody() | HttpProcessingError():
            metrics.refused.labels("bad_body").inc()
            # Of a part of a form: too many headers, or too long a one. The error's own text repeats what was sent.
            unreadable = "The form cannot be read: look at the headers of its parts."
            sentence = str(error) if isinstance(error, BadBody) else unreadable
            return answer_error(400, tell(sentence))
        case StorageError():
            metrics.refused.labels("storage").inc()
            metrics.storage_errors.inc()
            log.error("not stored, told the sender to try again", path=request.path, error=str(error))
            sentence = tell(f"Not stored: {error}. Try again.")
            return answer_error(503, sentence, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        case web.HTTPRequestEntityTooLarge():
            metrics.refused.labels("too_large").inc()
            return answer_error(413, tell(f"The body is too large; {error.text}"))
        case web.HTTPException():
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            return answer_error(error.status, tell(error.text or error.reason), allowed)
        case _:
            metrics.refused.labels("error").inc()
            log.error("a request failed, told the sender to try again", path=request.path, exc_info=error)
            # 500: senders repeat it.
            return answer_error(500, tell(BROKEN))
