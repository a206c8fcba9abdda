"""What the channels over HTTP share: one way to ask and to judge, accounts that rest, and webhook addresses."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import ssl
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import aiohttp

from wxbridge.channels.answers import AnswerVerdict, HttpAnswer, ServiceCodes, judge_answer, without_doubt
from wxbridge.core.errors import Offline, Permanent, SendError, Transient, Unknown
from wxbridge.core.model import ChannelState, ChannelStatus, OnInbound, OnStatus
from wxbridge.core.tls import make_tls_context

MAX_ANSWER_BYTES = 1024 * 1024
"""How much of an answer is read; the real ones have some hundred bytes."""
IDLE_CONNECTION_SECONDS = 4.0
"""How long an unused connection is kept."""
MIN_BYTES_PER_SECOND = 256 * 1024
"""How fast a line is that we wait for: a large body gets that much longer."""


@dataclass(frozen=True)
class HttpTiming:
    """How long a service may take, in seconds."""

    deadline: float = 15.0
    """For one request; a large body gets longer."""
    connect: float = 5.0
    """For the connection alone: until then nothing can have been sent."""


@dataclass(frozen=True)
class HttpService:
    """A robot or an application of a service, as requests go to it."""

    shown: str
    """How errors call it; no secret."""
    base_url: str
    ca: Path | None = None
    """A file with the authority to trust besides the system's."""


@dataclass
class HttpClient:
    """The HTTP of one channel: one session, made when first needed. `close` it."""

    timing: HttpTiming = field(default_factory=HttpTiming)
    _session: aiohttp.ClientSession | None = None
    _tls_contexts: dict[Path, ssl.SSLContext] = field(default_factory=dict)

    async def ask(
        self,
        method: str,
        url: str,
        *,
        service: str,
        sends: bool = True,
        ca: Path | None = None,
        params: Mapping[str, str] | None = None,
        data: bytes | aiohttp.FormData | None = None,
        size: int = 0,
    ) -> HttpAnswer:
        """Make one request and read its answer, whatever its status.

        Args:
            method: `GET` or `POST`.
            url: Where to; errors do not show it.
            service: Who is asked, for errors.
            sends: Whether people see a message if the request arrives: then a missing answer is `Unknown`.
            ca: A file with the authority to trust besides the system's.
            params: The query, where keys and tokens belong: no error shows it.
            data: The body: JSON as bytes, or a form.
            size: How many bytes a form has.

        Raises:
            Offline: the service is not reached; nothing was sent.
            Unknown: the request went out, and no answer came; where `sends` is false, `Transient`.
            Permanent: the address or `ca` cannot be used.
        """
        size = len(data) if isinstance(data, bytes) else size
        deadline = self.timing.deadline + size / MIN_BYTES_PER_SECOND
        headers = {"Content-Type": "application/json; charset=utf-8"} if isinstance(data, bytes) else {}
        tls = await self._tls_context(ca)
        try:
            async with (
                asyncio.timeout(deadline),
                self._open().request(
                    method, url, params=params, data=data, headers=headers, ssl=tls or True, allow_redirects=False
                ) as response,
            ):
                body = await _read_body(response)
                return HttpAnswer(response.status, body, _parse_seconds(response.headers.get("Retry-After")))
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise _explain_failure(error, service, deadline, sends=sends) from None

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Without a limit, as a service that stalls must not take the places of the others. And an idle
                # connection is let go of before a server does it: what becomes of a message in between is not known.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self.timing.connect),
                headers={"User-Agent": "wxbridge"},
                trust_env=True,
            )
        return self._session

    async def _tls_context(self, ca: Path | None) -> ssl.SSLContext | None:
        if ca is None:
            return None
        if ca not in self._tls_contexts:
            try:
                self._tls_contexts[ca] = await asyncio.to_thread(make_tls_context, ca)
            except OSError as error:
                raise Permanent(f"`ca`: {ca} cannot be used: {error.strerror or error}") from None
        return self._tls_contexts[ca]


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            break
    return bytes(body)


def _parse_seconds(value: str | None) -> float | None:
    return float(value) if value and value.isascii() and value.isdigit() else None


def _explain_failure(error: Exception, service: str, deadline: float, *, sends: bool) -> SendError:
    """Tell what a request that brought no answer means for its message."""
    lost: type[Unknown | Transient] = Unknown if sends else Transient
    maybe = "; it may have been sent" if sends else ""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return Offline(f"{service} has a certificate that is not trusted; name its authority with `ca`")
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | aiohttp.ClientHttpProxyError():
            return Offline(f"{service} is not reached: {_explain_cause(error)}")
        case TimeoutError():
            return lost(f"{service} did not answer within {deadline:.3g} s{maybe}")
        case aiohttp.InvalidURL() | UnicodeError():
            return Permanent(f"the address of {service} cannot be used; look at `base_url`")
        case _:
            return lost(f"{service} cut the connection before an answer came ({_explain_cause(error)}){maybe}")


def _explain_cause(error: BaseException) -> str:
    """Say why, without the address: it may hold a key."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers {error.status}"
    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None)
    # asyncio's own words for a refused connection are "Connect call failed".
    words = os.strerror(number) if isinstance(number, int) and number > 0 else getattr(cause, "strerror", None)
    return words or type(error).__name__


def encode_json(payload: Mapping[str, Any]) -> bytes:
    """Write a body in UTF-8, without escapes: limits are counted in bytes."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


# ---------------------------------------------------------------- accounts


def hash_secret(*parts: str) -> str:
    """Make what tells an account from others without giving its key away."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class WebhookAddress:
    """The address of a robot that was copied whole: where the service is, and the robot's key."""

    base_url: str
    key: str = field(repr=False)


def parse_webhook(text: str, *, parameter: str, path: str) -> WebhookAddress | None:
    """Take a webhook address apart: the key is the query's `parameter`, the service is what stands before `path`.

    None where it is no such address.
    """
    address = urlsplit(text)
    key = parse_qs(address.query).get(parameter, [""])[0]
    if address.scheme not in ("http", "https") or not address.netloc or not key:
        return None
    prefix = address.path.partition(path)[0].rstrip("/")
    return WebhookAddress(f"{address.scheme}://{address.netloc}{prefix}", key)


@dataclass
class AccountCooldowns:
    """Accounts that are left alone for a while, and the order in which the others take their turns."""

    clock: Callable[[], float] = time.monotonic
    _until: dict[Hashable, float] = field(default_factory=dict)
    _used: dict[Hashable, int] = field(default_factory=dict)
    _turn: int = 0

    def begin(self, account: Hashable, seconds: float) -> None:
        """Leave an account alone."""
        self._until[account] = self.clock() + seconds

    def seconds_left(self, account: Hashable) -> float:
        """Give how long it is still left alone; 0 where it is not."""
        return max(0.0, self._until.get(account, 0.0) - self.clock())

    def end(self, account: Hashable) -> None:
        """Note that it is well again."""
        self._until.pop(account, None)

    def note_use(self, account: Hashable) -> None:
        """Note its turn."""
        self._turn += 1
        self._used[account] = self._turn

    def last_use(self, account: Hashable) -> int:
        """Give a number to sort by: who has waited longest for a turn has the lowest."""
        return self._used.get(account, 0)


# ---------------------------------------------------------------- the channel


class HttpChannel:
    """What channels have in common that keep no connection: they are up, nobody writes back, and they ask alike."""

    codes: ClassVar[ServiceCodes] = {}
    """What the service's codes mean."""

    def __init__(self, timing: HttpTiming | None = None) -> None:
        self._http = HttpClient(timing or HttpTiming())
        self._status = ChannelStatus(ChannelState.ONLINE, datetime.now(UTC))

    @property
    def status(self) -> ChannelStatus:
        """Online, since the start."""
        return self._status

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:  # noqa: ARG002 - nobody writes back
        """Say that it is up, stay until cancelled, then close the connections."""
        on_status(self._status)
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._http.close()

    async def ask(
        self,
        service: HttpService,
        path: str,
        *,
        sends: bool,
        method: str = "POST",
        params: Mapping[str, str] | None = None,
        data: bytes | aiohttp.FormData | None = None,
        size: int = 0,
    ) -> AnswerVerdict:
        """Make one request and judge its answer; see `HttpClient.ask` for the arguments and what is raised.

        Where it does not send, a doubtful answer is a passing fault.
        """
        answer = await self._http.ask(
            method,
            service.base_url + path,
            service=service.shown,
            sends=sends,
            ca=service.ca,
            params=params,
            data=data,
            size=size,
        )
        verdict = self.judge(answer)
        return verdict if sends else without_doubt(verdict)

    def judge(self, answer: HttpAnswer) -> AnswerVerdict:
        """Tell what an answer means."""
        return judge_answer(answer, self.codes)
