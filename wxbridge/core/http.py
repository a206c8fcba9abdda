"""Asking a monitoring server's HTTP API: its credentials, its certificate authority, a deadline, a size limit."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from wxbridge.core.closing import Closing
from wxbridge.core.credentials import ApiAddress
from wxbridge.core.errors import BadBody, PictureError, PictureRefused, PictureTimeout, WxbridgeError, describe_error
from wxbridge.core.json_values import read_json
from wxbridge.core.tls import make_tls_context

DEADLINE_SECONDS = 10.0
"""For one answer, with all attempts."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Of one answer, unpacked."""
_PAUSES = (0.1, 0.2)
"""Seconds before the second and the third attempt of what may be done twice."""
_MAX_CONNECTIONS = 8
_CHUNK_BYTES = 64 * 1024
_MAX_QUOTED_CHARS = 500
"""Of the server's own words in an error."""
_PASSING_STATUSES = frozenset({408, 429, 502, 503, 504})

Params = Mapping[str, str] | list[tuple[str, str]]


class ApiError(WxbridgeError):
    """A server gave no answer that is of use: what happened, where, and what to do.

    `status` is its HTTP status, None where there was none. `passing` tells whether another attempt may succeed, and
    that nothing was done.
    """

    def __init__(self, text: str, *, status: int | None = None, passing: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.passing = passing


class ApiTimeout(ApiError):
    """No answer came within the deadline; the server may have done it all the same."""


class ApiAnswerTooLarge(ApiError):
    """An answer has more bytes than are read."""


@dataclass(frozen=True)
class ApiErrorTexts:
    """What people are told where there is no useful answer: patterns for `str.format`.

    All may name `name`, `section`, `base`, `server` and `path`; `reason` is the system's or the certificate's own.
    """

    too_late: str = "{server} did not answer within {limit:.3g} s"
    unreachable: str = "{server} cannot be reached: {reason}"
    untrusted: str = "the certificate of {server} is not trusted: name the authority that signed it as {section}.ca"
    unreadable_ca: str = "cannot read {section}.ca, {ca}: {reason}"
    too_large: str = "{server} answers with more than {max_bytes:,} bytes: too much to be read"
    refused: str = "{server} does not let us in (HTTP {status}): see whether {what}"
    redirected: str = "{server} redirects to {location}: is {section}.url right?"
    not_found: str = "there is no {path} at {server}: is {section}.url right?"
    status: str = "{server} answered with HTTP {status}{words}"
    no_json: str = "{server} answered with something that is no JSON: is {section}.url right?"


@dataclass(frozen=True)
class ApiAnswer:
    """What a server answered, whatever its status."""

    status: int
    body: bytes
    location: str = ""
    """Where it redirects to, without the query."""
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Those that it sets, the empty ones left out."""


class ApiClient(Closing):
    """One server's API. Use from one event loop, and `close()` in the end.

    Args:
        address: Where it is, and how to get in.
        deadline: Seconds for one answer, with all attempts.
        max_bytes: Of one answer, unpacked.
        texts: What people are told where there is no useful answer.
    """

    def __init__(
        self,
        address: ApiAddress,
        *,
        deadline: float = DEADLINE_SECONDS,
        max_bytes: int = MAX_ANSWER_BYTES,
        texts: ApiErrorTexts | None = None,
    ) -> None:
        self.address = address
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._texts = texts or ApiErrorTexts()
        self._context: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections; another request opens them again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, path: str, params: Params | None = None) -> Any:
        """Get what is at a path, as decoded JSON (None where the body is empty); passing faults are tried again.

        Raises:
            ApiError: out of reach, too late, refused, too large, or no JSON.
        """
        return await self._decoded("GET", path, params=params, pauses=_PAUSES)

    async def post(self, path: str, body: Any) -> Any:
        """Post JSON, once; returns decoded JSON. Raises `ApiError`."""
        return await self._decoded("POST", path, body=body)

    async def delete(self, path: str) -> None:
        """Delete what is at a path. It may be done twice where the first answer is lost. Raises `ApiError`."""
        await self._decoded("DELETE", path, pauses=_PAUSES)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ApiAnswer:
        """Send one request, without a deadline of its own, and give the answer whatever its status.

        Args:
            method: `GET`, `POST` or `DELETE`.
            path: Below the server's address, with a slash in front.
            params: For the query.
            body: What to send as JSON.
            form: What to send as a form instead.
            headers: Besides those of the address.

        Raises:
            ApiError: out of reach, not trusted, or too large an answer.
            TimeoutError: as raised by a deadline around it; see `within`.
        """
        try:
            session = await self._opened()
            # A redirect leads to a login page, and must not carry credentials elsewhere.
            async with session.request(
                method,
                self.address.base + path,
                params=params,
                json=body,
                data=form,
                headers=headers,
                allow_redirects=False,
            ) as response:
                location = response.headers.get("Location", "").partition("?")[0]
                cookies = {name: morsel.value for name, morsel in response.cookies.items() if morsel.value}
                return ApiAnswer(response.status, await self._read(response, path), location, cookies)
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", "") or "it is not trusted"
            raise ApiError(self._tell(self._texts.untrusted, path=path, reason=reason)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            passing = not isinstance(error, aiohttp.InvalidURL | ValueError)
            text = self._tell(self._texts.unreachable, path=path, reason=describe_error(error))
            raise ApiError(text, passing=passing) from None

    @asynccontextmanager
    async def within(self, seconds: float, path: str) -> AsyncIterator[None]:
        """Bound what is done in a `with` block, all requests for one path together.

        Raises:
            ApiTimeout: the seconds are over.
        """
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise ApiTimeout(self._tell(self._texts.too_late, path=path, limit=seconds)) from None

    def refusal(self, answer: ApiAnswer, path: str) -> ApiError:
        """Make the error for an answer whose status is none of success."""
        status, texts = answer.status, self._texts
        if status in (401, 403):
            given = self.address.token or self.address.user
            section = self.address.section
            what = f"{section}.token, or user and password, are right" if given else "they are needed: none are set"
            return ApiError(self._tell(texts.refused, status=status, what=what), status=status)
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            location = answer.location[:_MAX_QUOTED_CHARS]
            return ApiError(self._tell(texts.redirected, location=location), status=status)
        words = _server_words(answer.body)
        if status == 404 and not words:  # noqa: PLR2004 - HTTP
            return ApiError(self._tell(texts.not_found, path=path), status=status)
        text = self._tell(texts.status, status=status, words=f": {words}" if words else "")
        return ApiError(text, status=status, passing=status in _PASSING_STATUSES)

    async def tls(self) -> ssl.SSLContext | None:
        """Trust the configured authority besides the system's; None where there is none.

        Raises:
            ApiError: its file cannot be read.
        """
        ca = self.address.ca
        if ca is not None and self._context is None:
            try:
                self._context = await asyncio.to_thread(make_tls_context, ca)
            except (OSError, ssl.SSLError) as error:
                reason = error.strerror or error
                raise ApiError(self._tell(self._texts.unreadable_ca, ca=ca, reason=reason)) from None
        return self._context

    # ------------------------------------------------------------ inside

    async def _decoded(self, method: str, path: str, *, pauses: Sequence[float] = (), **given: Any) -> Any:
        async with self.within(self._deadline, path):
            for pause in pauses:
                try:
                    return await self._decoded_once(method, path, **given)
                except ApiError as error:
                    if not error.passing:
                        raise
                await asyncio.sleep(pause)
            return await self._decoded_once(method, path, **given)

    async def _decoded_once(self, method: str, path: str, **given: Any) -> Any:
        answer = await self.ask(method, path, **given)
        if answer.status >= 300:  # noqa: PLR2004 - HTTP
            raise self.refusal(answer, path)
        return self._decode(answer, path)

    def _decode(self, answer: ApiAnswer, path: str) -> Any:
        if not answer.body.strip():
            return None
        try:
            return read_json(answer.body)
        except BadBody:
            raise ApiError(self._tell(self._texts.no_json, path=path)) from None

    async def _read(self, response: aiohttp.ClientResponse, path: str) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > self._max_bytes:
                raise ApiAnswerTooLarge(self._tell(self._texts.too_large, path=path, max_bytes=self._max_bytes))
        return bytes(body)

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = await self.tls()
            # Somebody else may have opened one meanwhile.
            self._session = self._session or aiohttp.ClientSession(
                headers=self.address.headers,
                connector=aiohttp.TCPConnector(ssl=context or True, limit=_MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # the deadline is around all of this
                trust_env=False,
            )
        return self._session

    def _tell(self, pattern: str, *, path: str = "", **more: object) -> str:
        address = self.address
        return pattern.format(
            name=address.name,
            section=address.section,
            base=address.base,
            server=address.server,
            path=path.partition("?")[0],
            **more,
        )


def is_environment_used() -> bool:
    """Tell whether the environment names proxies or passwords: `HTTPS_PROXY` and its like, or a `.netrc`.

    aiohttp's `trust_env` looks for both at each request, twice in a thread: only where there is something to find.
    """
    # Not `Path.home`, which raises for users without one.
    netrc = os.path.expanduser("~/.netrc")  # noqa: PTH111
    names_proxy = any(value and name.lower().endswith("_proxy") for name, value in os.environ.items())
    return names_proxy or "NETRC" in os.environ or Path(netrc).exists()


def picture_error(error: ApiError) -> PictureError:
    """Tell an API's failure as that of a picture: too late and passing ones are worth a retry, also every 5xx."""
    if isinstance(error, ApiTimeout):
        return PictureTimeout(str(error))
    if error.status in (401, 403):
        return PictureRefused(str(error))
    return PictureError(str(error), retry=error.passing or (error.status or 0) >= 500)  # noqa: PLR2004 - HTTP


def _server_words(body: bytes) -> str:
    """The server's own words: JSON's `message` or `error`, or a JSON text; never a page."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    words = data.get("message") or data.get("error") if isinstance(data, dict) else data
    return " ".join(words.split())[:_MAX_QUOTED_CHARS] if isinstance(words, str) else ""
