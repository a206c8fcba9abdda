"""Who uses the console: a signed cookie that the token opens, and what guards each change.

A session is no row anywhere: its cookie is signed with a key that the database keeps, so it survives a restart, and
with the token that opened it, so that it ends where the token changes. Signing out is remembered until it would have
ended by itself. Where no token is configured everybody on this machine is in; a page of another site is not, as it
can neither show our cookie (`SameSite=Strict`) nor the secret of a form, nor come under a name of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from sqlalchemy import Connection

from wxbridge.config.types import Rate
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.schema import read_facts, remember_fact
from wxbridge.core.sliding_window import SlidingWindow
from wxbridge.web.limits import Clock

log = structlog.get_logger()

LASTS = 12 * 3600.0
"""Seconds that a session is good."""
ATTEMPTS = Rate(10, 300.0)
"""Wrong tokens that one address may show."""
_ADDRESSES = 5000
"""Whose attempts are counted; beyond it those who tried first are forgotten."""
_FACT = "console:"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LONGEST_COOKIE = 300

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Role(StrEnum):
    """What somebody may do."""

    ALL = "all"
    READ = "read"
    """Look, and change nothing."""
    OPEN = "open"
    """All, as no token is configured."""


@dataclass(frozen=True)
class Session:
    """Somebody who is in. `id` is random; `until` is in seconds since the epoch."""

    id: str
    role: Role
    until: float

    @property
    def may_change(self) -> bool:
        """Whether more than looking is allowed."""
        return self.role is not Role.READ


@dataclass(frozen=True)
class Doors:
    """What opens the console, and who may speak for others."""

    token: str | None = None
    read_token: str | None = None
    proxies: Sequence[Network] = ()
    """Whose `X-Forwarded-…` is believed."""

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a token."""
        return not self.token

    def role_of(self, shown: str) -> Role | None:
        """What a token opens; None for nothing. In constant time."""
        raw = shown.encode("utf-8", "surrogateescape")
        for role, token in ((Role.ALL, self.token), (Role.READ, self.read_token)):
            if token and hmac.compare_digest(raw, token.encode()):
                return role
        return None

    def behind(self, role: Role) -> str:
        """The token that a role was opened with."""
        return {Role.ALL: self.token, Role.READ: self.read_token, Role.OPEN: ""}[role] or ""


# ---------------------------------------------------------------- where a request comes from


@dataclass(frozen=True)
class Origin:
    """Where a request comes from, through the proxies that were declared."""

    address: str
    secure: bool
    """Whether the browser speaks TLS."""
    host: str
    """The `Host` that the browser asked for."""


def origin_of(request: web.Request, proxies: Sequence[Network]) -> Origin:
    """Look at a connection, and at `X-Forwarded-For`, `-Proto` and `-Host` where a declared proxy holds it."""
    peer = request.remote or ""
    if not _among(peer, proxies):
        return Origin(peer, request.secure, request.host)
    # From the right: what stands further left anybody can write.
    hops = [hop.strip() for value in request.headers.getall("X-Forwarded-For", []) for hop in value.split(",")]
    address = next((hop for hop in reversed(hops) if hop and not _among(hop, proxies)), peer)
    proto = _last(request.headers.get("X-Forwarded-Proto", ""))
    host = _last(request.headers.get("X-Forwarded-Host", "")) or request.host
    return Origin(address, request.secure or proto.lower() == "https", host)


def _last(value: str) -> str:
    return value.rpartition(",")[2].strip()


def _among(address: str, networks: Iterable[Network]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return any(mapped in network for network in networks if network.version == mapped.version)


def own_page(request: web.Request, origin: Origin) -> bool:
    """Whether a request comes from a page of ours, or from no page at all, as far as its browser tells."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    said = request.headers.get("Origin")
    # `null` is what browsers write for a page that sends no referrer, as ours; the form's secret decides then.
    return said in (None, "null") or urlsplit(said).netloc.lower() == origin.host.lower()


def known_host(origin: Origin) -> bool:
    """Whether a browser asked for this machine by a name that no other site can have (DNS rebinding)."""
    try:
        name = urlsplit(f"//{origin.host}").hostname or ""
    except ValueError:
        return False
    return name in _LOOPBACK or name.endswith(".localhost")


# ---------------------------------------------------------------- attempts


@dataclass
class Attempts:
    """Wrong tokens, by the address that showed them."""

    clock: Clock
    _windows: OrderedDict[str, SlidingWindow] = field(default_factory=OrderedDict)

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0 where it may now."""
        window = self._windows.get(_neighbourhood(address))
        return window.wait(self.clock.monotonic()) if window else 0.0

    def failed(self, address: str) -> None:
        """Count a wrong token."""
        key = _neighbourhood(address)
        window = self._windows.setdefault(key, SlidingWindow(ATTEMPTS))
        window.note(self.clock.monotonic())
        self._windows.move_to_end(key)
        while len(self._windows) > _ADDRESSES:
            self._windows.popitem(last=False)


def _neighbourhood(address: str) -> str:
    """An address, or the network that one subscriber of IPv6 has all of."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:60]
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


# ---------------------------------------------------------------- sessions


class Sessions:
    """Opens, reads and closes sessions."""

    def __init__(self, database: Database, doors: Doors, clock: Clock) -> None:
        self._database, self._doors, self._clock = database, doors, clock
        self._key = b""
        self._closed: dict[str, float] = {}
        self._loading = asyncio.Lock()

    async def ready(self) -> None:
        """Read the key, or make one; call it before the others. It raises nothing."""
        if self._key:
            return
        async with self._loading:
            if self._key:
                return
            try:
                found = await self._database.read(lambda c: read_facts(c, _FACT))
                if "key" not in found:
                    found = await self._database.run(self._make_key)
            except StorageError as error:
                # It can be looked at all the same, which is when it is needed most; a restart ends the session.
                log.warning("the console's sessions will not survive a restart", error=str(error))
                self._key = secrets.token_bytes(32)
                return
            self._key = bytes.fromhex(str(found["key"][0]))
            self._closed = {str(name): float(until) for name, until in found.get("closed", ({}, 0))[0].items()}

    def _make_key(self, connection: Connection) -> dict[str, tuple[Any, float]]:
        # Another process may have been quicker.
        if "key" not in (found := read_facts(connection, _FACT)):
            remember_fact(connection, f"{_FACT}key", secrets.token_hex(32), self._clock.wall())
            found = read_facts(connection, _FACT)
        return found

    @property
    def cookie(self) -> str:
        """The name of our cookie. Ports do not keep cookies apart, so each database has a name of its own."""
        return f"wxbridge-{hashlib.sha256(self._key).hexdigest()[:8]}"

    def open(self, role: Role) -> Session:
        """A new session."""
        return Session(secrets.token_urlsafe(18), role, self._clock.wall() + LASTS)

    def written(self, session: Session) -> str:
        """A session as its cookie holds it."""
        text = f"{session.role}.{session.until:.0f}.{session.id}"
        return f"{text}.{self._sign(session.role, text)}"

    def read(self, request: web.Request) -> Session | None:
        """The session that a request shows; None where it shows none that is good."""
        value = request.cookies.get(self.cookie, "")
        text, _, signature = value.rpartition(".")
        parts = text.split(".")
        if len(value) > _LONGEST_COOKIE or len(parts) != 3 or parts[0] not in list(Role):  # noqa: PLR2004 - as `written`
            return None
        role = Role(parts[0])
        # Which doors there are can change while a cookie lives.
        if (role is Role.OPEN) is not self._doors.is_open or (role is not Role.OPEN and not self._doors.behind(role)):
            return None
        if not hmac.compare_digest(self._sign(role, text).encode(), signature.encode("utf-8", "replace")):
            return None
        session = Session(parts[2], role, float(parts[1]))
        over = session.until <= self._clock.wall() or session.id in self._closed
        return None if over else session

    async def close(self, session: Session) -> None:
        """End a session, whoever else has its cookie. It raises nothing."""
        now = self._clock.wall()
        self._closed = {name: until for name, until in self._closed.items() if until > now} | {
            session.id: session.until
        }
        closed = dict(self._closed)
        try:
            await self._database.run(lambda c: remember_fact(c, f"{_FACT}closed", closed, now))
        except StorageError as error:
            log.warning("a sign-out will not survive a restart", error=str(error))

    def secret(self, session: Session) -> str:
        """What each form of a session holds, and no other site can know."""
        return self._sign(session.role, f"form.{session.id}")

    def fits(self, session: Session, shown: str) -> bool:
        """Whether a form holds the session's secret."""
        return hmac.compare_digest(self.secret(session).encode(), shown.encode("utf-8", "replace"))

    def _sign(self, role: Role, text: str) -> str:
        key = hmac.digest(self._key, f"{role}\0{self._doors.behind(role)}".encode("utf-8", "surrogateescape"), "sha256")
        return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def headers() -> Mapping[str, str]:
    """What every answer of the console says: it is kept nowhere, framed nowhere, and runs nothing but our own files."""
    return _HEADERS


_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
