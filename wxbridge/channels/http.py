"""What the channels over HTTP share: one way to ask and to judge, accounts that rest, and webhook addresses."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import aiohttp
import structlog

from wxbridge.channels.answers import (
    AnswerNames,
    AnswerVerdict,
    HttpAnswer,
    Meaning,
    ServiceCodes,
    judge_answer,
    without_doubt,
)
from wxbridge.channels.service_states import ServiceStates
from wxbridge.config.types import TargetSettings
from wxbridge.core.errors import Offline, Permanent, SendError, Transient, Unknown, explain_cause
from wxbridge.core.http import is_environment_used
from wxbridge.core.leadership import ensure_leading
from wxbridge.core.model import ChannelState, ChannelStatus, OnInbound, OnStatus
from wxbridge.core.single_flight import SingleFlight
from wxbridge.core.tls import make_tls_context

log = structlog.get_logger()

LOOP_TURNS_UNTIL_SEEN = 2
"""Turns of the event loop in which it is seen that a server has closed a connection: nothing is written to it then."""
MAX_ANSWER_BYTES = 1024 * 1024
"""How much of an answer is read; the real ones have some hundred bytes."""
IDLE_CONNECTION_SECONDS = 4.0
"""How long an unused connection is kept."""
SECONDS_BETWEEN_ROUNDS = 1.0
"""Between two rounds in which looks that are due are made."""
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
    account: str = ""
    """What tells the robot or application from others; no secret."""
    is_asked: bool = False
    """Whether a sender names it in its own address: a key that is wrong is then its message's fault alone."""

    @property
    def names(self) -> tuple[str, str]:
        """What stands for the service and for the account, where their states are kept."""
        return self.base_url, f"{self.base_url} {self.account}"


@dataclass
class HttpClient:
    """The HTTP of one channel: one session, made when first needed. `close` it."""

    timing: HttpTiming = field(default_factory=HttpTiming)
    _session: aiohttp.ClientSession | None = None
    _tls_contexts: dict[Path, ssl.SSLContext] = field(default_factory=dict)

    async def ask(  # noqa: PLR0913 - each by its name
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
        headers: Mapping[str, str] | None = None,
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
            headers: Those of the request, instead of the one that bytes have; no error shows them.

        Raises:
            Offline: the service is not reached; nothing was sent.
            Unknown: the request went out, and no answer came; where `sends` is false, `Transient`.
            Permanent: the address or `ca` cannot be used.
        """
        size = len(data) if isinstance(data, bytes) else size
        deadline = self.timing.deadline + size / MIN_BYTES_PER_SECOND
        if headers is None and isinstance(data, bytes):
            headers = {"Content-Type": "application/json; charset=utf-8"}
        tls = await self._tls_context(ca)
        for _ in range(LOOP_TURNS_UNTIL_SEEN):
            await asyncio.sleep(0)
        ensure_leading()
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
                trust_env=is_environment_used(),
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
            return Offline(f"{service} is not reached: {_explain_client_error(error)}")
        case TimeoutError():
            return lost(f"{service} did not answer within {deadline:.3g} s{maybe}")
        case aiohttp.InvalidURL() | UnicodeError():
            return Permanent(f"the address of {service} cannot be used; look at `base_url`")
        case _:
            text = f"{service} cut the connection before an answer came ({_explain_client_error(error)}){maybe}"
            return Unknown(text, is_cut=True) if sends else Transient(text)


def _explain_client_error(error: BaseException) -> str:
    """Say why, without the address: it may hold a key."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answers {error.status}"
    return explain_cause(error)


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
    """What channels have in common that keep no connection: they ask alike, and what is away is a state.

    What is not reached, or lets us not in, is looked after until it is well again (`ServiceStates`).
    """

    name: ClassVar[str] = "service"
    """How the log calls it."""
    codes: ClassVar[ServiceCodes] = {}
    """What the service's codes mean."""
    answer_names: ClassVar[AnswerNames] = AnswerNames()
    """Where its answers have them."""

    def __init__(
        self,
        targets: Mapping[str, TargetSettings] | None = None,
        *,
        timing: HttpTiming | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = HttpClient(timing or HttpTiming())
        self._targets = targets or {}
        self._wall = wall
        self._states = ServiceStates(self.name, monotonic)
        self._cooldowns = AccountCooldowns(monotonic)
        self._looks: SingleFlight[None] = SingleFlight(f"look at {self.name}")

    @property
    def status(self) -> ChannelStatus:
        """Online, unless a service is not reached or an account is refused."""
        return self._states.status

    def list_services(self, address: Any) -> Sequence[HttpService]:  # noqa: ARG002 - each channel's own
        """List the robots or applications that a target can be reached by: one that is well is enough."""
        return ()

    def list_accounts(self, address: Any) -> Sequence[HttpService]:
        """List all that a target uses: those that it can be reached by, and what else it needs at the service."""
        return self.list_services(address)

    def status_of(self, address: Any) -> ChannelStatus:
        """Tell the state of a target: that of the first of its robots that is well, else of the first."""
        services = () if self._states.is_well else self.list_services(address)
        found = [self._states.status_of(service.names) for service in services]
        up = [status for status in found if status.state is ChannelState.ONLINE]
        return (up or found or [self._states.status_of(())])[0]

    def list_troubles(self) -> list[dict[str, Any]]:
        """Give what counts as trouble, in JSON's types."""
        return self._states.list_troubles()

    def recall_troubles(self, troubles: Sequence[Mapping[str, Any]]) -> None:
        """Take over what another gave, of the services of its targets."""
        services = [service for address in self._targets.values() for service in self.list_accounts(address)]
        self._states.recall(troubles, {name for service in services for name in service.names})

    async def probe(self, address: Any) -> str:
        """Ask the service about a target without anybody seeing it; tell what was found. Raises `SendError`."""
        raise NotImplementedError  # pragma: no cover - every channel has its own

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:  # noqa: ARG002 - nobody writes back
        """Look after what is away, and tell the state whenever it changes, until cancelled."""
        self._states.listener = on_status
        on_status(self.status)
        try:
            while True:
                await asyncio.sleep(SECONDS_BETWEEN_ROUNDS)
                await self.look_after()
        finally:
            await self.close()

    async def look_after(self) -> None:
        """Ask the services about the targets that are away, where a look is due."""
        if self._states.is_well:
            return
        due = [
            address
            for address in self._targets.values()
            if any(self._states.is_look_due(service.names) for service in self.list_accounts(address))
        ]
        for error in await asyncio.gather(*map(self.probe, due), return_exceptions=True):
            if isinstance(error, Exception) and not isinstance(error, SendError):
                log.error("a look at a service failed in a way it should not", channel=self.name, error=repr(error))

    def _name_account(self, service: HttpService) -> str:
        """Name the targets that an account belongs to."""
        return (
            ", ".join(name for name, address in self._targets.items() if service in self.list_accounts(address))
            or service.shown
        )

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._looks.close()
        await self._http.close()

    async def ask(  # noqa: PLR0913 - each by its name
        self,
        service: HttpService,
        path: str,
        *,
        sends: bool,
        method: str = "POST",
        params: Mapping[str, str] | None = None,
        data: bytes | aiohttp.FormData | None = None,
        size: int = 0,
        headers: Mapping[str, str] | None = None,
        judge: Callable[[HttpAnswer], AnswerVerdict] | None = None,
    ) -> AnswerVerdict:
        """Make one request and judge its answer; see `HttpClient.ask` for the arguments and what is raised.

        `judge` tells what the answer means where it is not the channel's own `judge`.

        Where it does not send, a doubtful answer is a passing fault. Where an earlier request got no answer, the
        service has to show that it is alive before anything is sent.
        """
        if self._states.is_unproven(service.base_url):
            await self._prove_alive(service)
        place, account = service.names
        try:
            answer = await self._http.ask(
                method,
                service.base_url + path,
                service=service.shown,
                sends=sends,
                ca=service.ca,
                params=params,
                data=data,
                size=size,
                headers=headers,
            )
        except (Offline, Transient, Unknown) as error:
            self._states.note_failure(place, str(error), is_unproven=not isinstance(error, Offline))
            if isinstance(error, Offline):
                error.retry_after = self._states.seconds_until_look([place])
            raise
        verdict = (judge or self.judge)(answer)
        if service.is_asked and verdict.meaning is Meaning.WRONG_CONFIGURATION:
            verdict = replace(verdict, meaning=Meaning.BAD_ADDRESS)
        if verdict.meaning is Meaning.WRONG_CONFIGURATION:
            self._states.note_refusal(account, f"{self._name_account(service)}: {verdict.failure(service.shown)}")
        elif not verdict.is_from_service:
            self._states.note_failure(place, str(verdict.failure(service.shown)))
        else:
            self._states.note_success(place)
            if sends and verdict.meaning is not Meaning.RENEW_TOKEN:
                self.note_let_in(service)
        return verdict if sends else without_doubt(verdict)

    def note_let_in(self, service: HttpService) -> None:
        """Note that the service knows an account."""
        self._states.note_success(service.names[1])

    async def prove_alive(self, address: Any) -> None:
        """Ask the services of a target for anything, until one answers. Raises `Offline` where none does."""
        silent: Offline | None = None
        for service in {service.base_url: service for service in self.list_services(address)}.values():
            try:
                await self._prove_alive(service)
            except Offline as error:
                silent = error
            else:
                return
        if silent is not None:
            raise silent

    async def _prove_alive(self, service: HttpService) -> None:
        """Ask for anything. Raises `Offline` where no answer comes."""
        try:
            await self._looks.run(service.base_url, lambda: self._look(service))
        except SendError as error:
            wait = self._states.seconds_until_look([service.base_url])
            raise Offline(f"{service.shown} gives no sign of life: {error}", retry_after=wait) from None

    async def _look(self, service: HttpService) -> None:
        try:
            await self._http.ask("GET", f"{service.base_url}/", service=service.shown, sends=False, ca=service.ca)
        except SendError as error:
            self._states.note_failure(service.base_url, str(error))
            raise
        self._states.note_alive(service.base_url)

    def judge(self, answer: HttpAnswer) -> AnswerVerdict:
        """Tell what an answer means."""
        return judge_answer(answer, self.codes, self.answer_names)
