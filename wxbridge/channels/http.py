"""What the channels over HTTP share: one request within a deadline, and what its answer means.

These services answer `{"errcode": 0, "errmsg": "ok"}`. The body decides, never the HTTP status alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp

from wxbridge.core.errors import BadAddress, Offline, Permanent, SendError, Throttled, Transient, Unknown
from wxbridge.core.model import ChannelState, ChannelStatus, OnInbound, OnStatus
from wxbridge.core.tls import make_tls_context

MINUTE = 60.0
_ANSWER_LIMIT = 1024 * 1024
"""Bytes of an answer that are read; the real ones have some hundred."""
_WORDS_LIMIT = 300
"""Characters of the service's own words that are kept."""
_IDLE = 4.0
"""Seconds that an unused connection is kept."""
_BYTES_A_SECOND = 256 * 1024
"""How fast a line is that we wait for: a large body gets that much longer."""


# ---------------------------------------------------------------- what an answer means


class Meaning(StrEnum):
    """What an answer means for the message that it answers."""

    SENT = "sent"
    PARTLY_SENT = "partly sent"
    THROTTLED = "throttled"
    RENEW_TOKEN = "refresh token once"  # noqa: S105 - no secret
    BAD_ADDRESS = "bad address"
    TOO_BIG = "too big"
    WRONG_CONFIGURATION = "wrong configuration"
    REFUSED = "refused"
    PASSING = "passing fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ServiceCode:
    """What an `errcode` means, what a person can do about it, and how long to wait where we are to be slower."""

    meaning: Meaning
    advice: str = ""
    wait: float = MINUTE
    """Seconds."""


ServiceCodes = Mapping[int, ServiceCode]

UNLISTED = ServiceCode(Meaning.PASSING)
"""A code that nobody documents: certainly not sent. A few more tries cost little, a lost alert much."""


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer: its status, its body, and the seconds that `Retry-After` asks for."""

    status: int
    body: bytes
    retry_after: float | None = None


@dataclass(frozen=True)
class AnswerVerdict:
    """An answer, understood."""

    meaning: Meaning
    code: str | None = None
    """The service's own code, where it gave one."""
    words: str = ""
    """The service's own words, or what the body was instead."""
    advice: str = ""
    wait: float = MINUTE
    """Seconds, where we are to be slower."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The whole answer."""

    def failure(self, service: str) -> SendError:
        """The error that tells delivery what to do; `service` names who answered."""
        said = " ".join(part for part in (self.code, self.words) if part)
        text = f"{service} answers {said}" + (f"; {self.advice}" if self.advice else "")
        match self.meaning:
            case Meaning.THROTTLED:
                return Throttled(text, retry_after=self.wait, code=self.code)
            case Meaning.BAD_ADDRESS:
                error = BadAddress(text)
                error.code = self.code
                return error
            case Meaning.TOO_BIG | Meaning.WRONG_CONFIGURATION | Meaning.REFUSED:
                return Permanent(text, code=self.code)
            case Meaning.UNKNOWN:
                return Unknown(f"{text}; it may have been sent", code=self.code)
            case _:
                return Transient(text, code=self.code)


def understand(answer: HttpAnswer, codes: ServiceCodes) -> AnswerVerdict:
    """Tell what an answer means by its `errcode`; where it has none, by what came instead of one.

    What certainly did not reach the service is a passing fault; where it may have, the meaning is unknown.
    """
    data = _json(answer.body)
    number = _errcode(data)
    if number is None:
        return _no_answer(answer)
    known = ServiceCode(Meaning.SENT) if number == 0 else codes.get(number, UNLISTED)
    words = str(data.get("errmsg", "")).strip()[:_WORDS_LIMIT]
    return AnswerVerdict(known.meaning, str(number), words, known.advice, known.wait, data)


def harmless(verdict: AnswerVerdict) -> AnswerVerdict:
    """The verdict on what nobody sees, a token or an upload: what may have happened does not matter."""
    return replace(verdict, meaning=Meaning.PASSING) if verdict.meaning is Meaning.UNKNOWN else verdict


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _errcode(data: Mapping[str, Any]) -> int | None:
    code = data.get("errcode")
    if isinstance(code, bool) or not isinstance(code, int | str):
        return None
    try:
        return int(code)
    except ValueError:
        return None


_NOT_THERE = (404, 405, 410)
_FAILED_ON_THE_WAY = (500, 502, 504)
"""The service, or a proxy in front of it, broke after the request had come: the message may be out."""


def _no_answer(answer: HttpAnswer) -> AnswerVerdict:
    head = answer.body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    page = head.startswith((b"<!doctype", b"<html", b"<head", b"<body"))
    what = "an empty body" if not head else "a web page" if page else "no JSON with an errcode"
    words = f"HTTP {answer.status} with {what}"
    proxy = "a proxy seems to answer in its place"
    match answer.status:
        case 429:
            return AnswerVerdict(Meaning.THROTTLED, None, words, wait=answer.retry_after or MINUTE)
        case 413:
            return AnswerVerdict(Meaning.TOO_BIG, None, words)
        case status if status in _NOT_THERE:
            return AnswerVerdict(Meaning.WRONG_CONFIGURATION, None, words, "look at `base_url`")
        case status if status in _FAILED_ON_THE_WAY:
            return AnswerVerdict(Meaning.UNKNOWN, None, words)
        case status if status >= 300 or page:  # noqa: PLR2004 - HTTP
            return AnswerVerdict(Meaning.PASSING, None, words, proxy)
        case _:
            return AnswerVerdict(Meaning.UNKNOWN, None, words)


# ---------------------------------------------------------------- one request


@dataclass(frozen=True)
class HttpTiming:
    """How long a service may take, in seconds."""

    deadline: float = 15.0
    """For one request; a large body gets longer."""
    connect: float = 5.0
    """For the connection alone: until then nothing can have been sent."""


@dataclass
class HttpClient:
    """The HTTP of one channel: one session, made when first needed. `close` it."""

    timing: HttpTiming = field(default_factory=HttpTiming)
    _session: aiohttp.ClientSession | None = None
    _trust: dict[Path, ssl.SSLContext] = field(default_factory=dict)

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
        deadline = self.timing.deadline + size / _BYTES_A_SECOND
        headers = {"Content-Type": "application/json; charset=utf-8"} if isinstance(data, bytes) else {}
        trust = await self._context(ca)
        lost: type[Unknown | Transient] = Unknown if sends else Transient
        maybe = "; it may have been sent" if sends else ""
        try:
            async with (
                asyncio.timeout(deadline),
                self._open().request(
                    method, url, params=params, data=data, headers=headers, ssl=trust or True, allow_redirects=False
                ) as response,
            ):
                body = await _read(response)
                return HttpAnswer(response.status, body, _seconds(response.headers.get("Retry-After")))
        except aiohttp.ClientConnectorCertificateError:
            raise Offline(f"{service} has a certificate that is not trusted; name its authority with `ca`") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            raise Offline(f"{service} is not reached: {_reason(error)}") from None
        except TimeoutError:
            raise lost(f"{service} did not answer within {deadline:.3g} s{maybe}") from None
        except (aiohttp.InvalidURL, UnicodeError):
            raise Permanent(f"the address of {service} cannot be used; look at `base_url`") from None
        except (aiohttp.ClientError, OSError) as error:
            raise lost(f"{service} cut the connection before an answer came ({_reason(error)}){maybe}") from None

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
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self.timing.connect),
                headers={"User-Agent": "wxbridge"},
                trust_env=True,
            )
        return self._session

    async def _context(self, ca: Path | None) -> ssl.SSLContext | None:
        if ca is None:
            return None
        if ca not in self._trust:
            try:
                self._trust[ca] = await asyncio.to_thread(make_tls_context, ca)
            except OSError as error:
                raise Permanent(f"`ca`: {ca} cannot be used: {error.strerror or error}") from None
        return self._trust[ca]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > _ANSWER_LIMIT:
            break
    return bytes(body)


def _seconds(value: str | None) -> float | None:
    return float(value) if value and value.isascii() and value.isdigit() else None


def _reason(error: BaseException) -> str:
    """Why, without the address: it may hold a key."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers {error.status}"
    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None)
    # asyncio's own words for a refused connection are "Connect call failed".
    words = os.strerror(number) if isinstance(number, int) and number > 0 else getattr(cause, "strerror", None)
    return words or type(error).__name__


def as_json(payload: Mapping[str, Any]) -> bytes:
    """A body in UTF-8, without escapes: limits are counted in bytes."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


# ---------------------------------------------------------------- who is left alone for a while


@dataclass
class AccountCooldowns:
    """Accounts that are left alone for a while, and the order in which the others take their turns."""

    clock: Callable[[], float] = time.monotonic
    _until: dict[Any, float] = field(default_factory=dict)
    _used: dict[Any, int] = field(default_factory=dict)
    _turn: int = 0

    def rest(self, account: Any, seconds: float) -> None:
        """Leave an account alone."""
        self._until[account] = self.clock() + seconds

    def left(self, account: Any) -> float:
        """Seconds that it still rests; 0 where it does not."""
        return max(0.0, self._until.get(account, 0.0) - self.clock())

    def wake(self, account: Any) -> None:
        """It is well again."""
        self._until.pop(account, None)

    def use(self, account: Any) -> None:
        """Note its turn."""
        self._turn += 1
        self._used[account] = self._turn

    def longest_unused(self, account: Any) -> int:
        """A key to sort by: who has waited longest for a turn comes first."""
        return self._used.get(account, 0)


class HttpChannel:
    """What channels have in common that keep no connection: they are up, and nobody writes back."""

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
