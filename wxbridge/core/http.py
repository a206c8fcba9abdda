"""Asking a monitoring server something over HTTP: its credentials, its certificate authority, a deadline, a limit."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import stamina

from wxbridge.config.types import WebSource
from wxbridge.core.errors import BadBody, WxbridgeError
from wxbridge.core.json_values import read_json
from wxbridge.core.tls import make_tls_context

DEADLINE = 10.0
"""Seconds for one answer, with all attempts."""
MAX_BYTES = 8 * 1024 * 1024
"""Of one answer, unpacked."""
_CHUNK = 64 * 1024
_SHOWN = 300
"""Characters of the server's own words."""


class ApiError(WxbridgeError):
    """A server gave no answer that is of use: what happened, where, and what to do.

    `status` is its HTTP status, None where there was none. `passing` tells whether another attempt may succeed, and
    that nothing was done.
    """

    def __init__(self, text: str, *, status: int | None = None, passing: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.passing = passing


class ApiClient:
    """One server. Use from one event loop, and `close()` in the end.

    Args:
        name: What people call it: `Alertmanager`.
        section: The section of jobs.yaml that says where it is, for advice.
        source: Where it is (the address may have a path), and how to get in.
        deadline: Seconds for one answer.
        max_bytes: Of one answer.
    """

    def __init__(
        self, name: str, section: str, source: WebSource, *, deadline: float = DEADLINE, max_bytes: int = MAX_BYTES
    ) -> None:
        self.name = name
        self._section = section
        self._source = source
        self._deadline = deadline
        self._max_bytes = max_bytes
        parts = urlsplit(source.url)
        self._shown = f"{name} at {urlunsplit((parts.scheme, parts.netloc.rpartition('@')[2], parts.path, '', ''))}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, path: str, params: Mapping[str, str] | list[tuple[str, str]] | None = None) -> Any:
        """Get what is there, as decoded JSON. A passing fault is tried again within the deadline.

        Raises:
            ApiError: out of reach, too late, refused, too large, or no JSON.
        """
        return await self._within("GET", path, {"params": params or {}}, again=True)

    async def post(self, path: str, body: Any) -> Any:
        """Post JSON, once; decoded JSON comes back. Raises `ApiError`."""
        return await self._within("POST", path, {"json": body})

    async def delete(self, path: str) -> None:
        """Delete what is there. It may be done twice where the first answer is lost. Raises `ApiError`."""
        await self._within("DELETE", path, {}, again=True)

    # ------------------------------------------------------------ inside

    async def _within(self, method: str, path: str, given: Mapping[str, Any], *, again: bool = False) -> Any:
        attempts = stamina.retry_context(
            _is_passing, attempts=3 if again else 1, timeout=None, wait_initial=0.1, wait_max=0.5, wait_jitter=0.1
        )
        try:
            async with asyncio.timeout(self._deadline):
                async for attempt in attempts:
                    with attempt:
                        return await self._once(method, path, given)
        except TimeoutError:
            raise ApiError(f"{self._shown} did not answer within {self._deadline:g} s") from None
        raise AssertionError("unreachable")  # pragma: no cover - the last attempt returns or raises

    async def _once(self, method: str, path: str, given: Mapping[str, Any]) -> Any:
        try:
            session = await self._opened()
            url = self._source.url + path
            # A redirect leads to a login page, and must not carry credentials elsewhere.
            async with session.request(method, url, allow_redirects=False, **given) as response:
                body = await self._read(response)
                if response.status >= 300:  # noqa: PLR2004 - HTTP
                    raise self._refusal(response, path, body)
        except aiohttp.ClientConnectorCertificateError:
            advice = f"name the authority that signed it as {self._section}.ca"
            raise ApiError(f"the certificate of {self._shown} is not trusted: {advice}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            passing = not isinstance(error, aiohttp.InvalidURL | ValueError)
            raise ApiError(f"{self._shown} cannot be reached: {_why(error)}", passing=passing) from None
        if not body.strip():
            return None
        try:
            return read_json(body)
        except BadBody:
            advice = f"is {self._section}.url right?"
            raise ApiError(f"{self._shown} answered with something that is no JSON: {advice}") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > self._max_bytes:
                raise ApiError(f"{self._shown} answers with more than {self._max_bytes:,} bytes: too much to be read")
        return bytes(body)

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = await self._tls()
            # Somebody else may have opened one meanwhile.
            self._session = self._session or aiohttp.ClientSession(
                headers=headers(self._source),
                connector=aiohttp.TCPConnector(ssl=context or True, limit=8),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # the deadline is around all of this
                trust_env=False,
            )
        return self._session

    async def _tls(self) -> ssl.SSLContext | None:
        ca = self._source.ca
        if ca is None:
            return None
        try:
            return await asyncio.to_thread(make_tls_context, ca)
        except (OSError, ssl.SSLError) as error:
            raise ApiError(f"cannot read {self._section}.ca, {ca}: {error.strerror or error}") from None

    def _refusal(self, response: aiohttp.ClientResponse, path: str, body: bytes) -> ApiError:
        status, section = response.status, self._section
        if status in (401, 403):
            given = self._source.token or self._source.user
            what = f"{section}.token, or user and password, are right" if given else "they are needed: none are set"
            text = f"{self._shown} does not let us in (HTTP {status}): see whether {what}"
            return ApiError(text, status=status)
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            target = response.headers.get("Location", "").partition("?")[0][:_SHOWN]
            return ApiError(f"{self._shown} redirects to {target}: is {section}.url right?", status=status)
        words = _said(body)
        if status == 404 and not words:  # noqa: PLR2004 - HTTP
            return ApiError(f"there is no {path} at {self._shown}: is {section}.url right?", status=status)
        what = f": {words}" if words else ""
        passing = status in (408, 429, 502, 503, 504)
        return ApiError(f"{self._shown} answered with HTTP {status}{what}", status=status, passing=passing)


def headers(source: WebSource) -> dict[str, str]:
    """What a request to a server says of us: its token, or user and password."""
    found = {"Accept": "application/json"}
    if source.token is not None:
        found["Authorization"] = f"Bearer {source.token.get_secret_value()}"
    elif source.user is not None:
        password = source.password.get_secret_value() if source.password else ""
        found["Authorization"] = aiohttp.encode_basic_auth(source.user, password, encoding="utf-8")
    return found


def _is_passing(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.passing


def _said(body: bytes) -> str:
    """The server's own words: JSON's `message` or text, never a page."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    words = data.get("message") or data.get("error") if isinstance(data, dict) else data
    return " ".join(words.split())[:_SHOWN] if isinstance(words, str) else ""


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
