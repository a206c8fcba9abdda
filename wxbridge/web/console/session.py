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
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import structlog
from aiohttp import web
from itsdangerous import BadSignature, Signer

from wxbridge.config.server import Network
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.schema import ensure_secret, read_fact, remember_fact
from wxbridge.core.token_hash import TokenCheck

log = structlog.get_logger()

SESSION_SECONDS = 12 * 3600.0
"""That a session is good."""
_KEY, _CLOSED = "console:key", "console:closed"
MAX_COOKIE_CHARS = 300


class ConsoleRole(StrEnum):
    """What somebody may do."""

    ALL = "all"
    READ = "read"
    """Look, and change nothing."""
    OPERATE = "operate"
    """All but what concerns the bridge itself: logins and its configuration."""
    OPEN = "open"
    """All, as no token is configured."""


@dataclass(frozen=True)
class ConsoleSession:
    """Somebody who is in. `id` is random; `until` is in seconds since the epoch."""

    id: str
    role: ConsoleRole
    until: float
    owner: str = ""
    """The name of the token that opened it; empty for one without a name."""

    @property
    def may_change(self) -> bool:
        """Whether more than looking is allowed."""
        return self.role is not ConsoleRole.READ


@dataclass(frozen=True)
class ConsoleTokens:
    """What opens the console, and who may speak for others."""

    token: str = ""
    read_token: str = ""
    proxies: Sequence[Network] = ()
    """Whose `X-Forwarded-…` is believed."""
    named: Mapping[str, tuple[ConsoleRole, TokenCheck]] = field(default_factory=dict)
    """Tokens by the names of their owners."""

    @cached_property
    def _checks(self) -> Mapping[tuple[ConsoleRole, str], TokenCheck]:
        """The token of each role and owner; the owner of the server's own two is empty."""
        checks = {(role, name): check for name, (role, check) in self.named.items()}
        for role, token in ((ConsoleRole.ALL, self.token), (ConsoleRole.READ, self.token and self.read_token)):
            if token:
                checks[role, ""] = TokenCheck(token.encode())
        return checks

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a token."""
        return not self._checks

    def find(self, shown: str) -> tuple[ConsoleRole, str] | None:
        """Find what a token opens, and whose it is; None for nothing. In constant time."""
        raw = shown.encode("utf-8", "surrogateescape")
        return next((opened for opened, check in self._checks.items() if check.matches(raw)), None)

    def fingerprint_of(self, role: ConsoleRole, owner: str) -> bytes | None:
        """Give what changes with the token that opens sessions of a role and owner; None where nothing opens them."""
        if check := self._checks.get((role, owner)):
            return check.fingerprint
        return b"" if role is ConsoleRole.OPEN and not owner and self.is_open else None


# ---------------------------------------------------------------- sessions


class SessionStore:
    """Opens, reads and closes sessions."""

    def __init__(self, database: Database, tokens: ConsoleTokens, clock: SystemClock) -> None:
        self._database, self._tokens, self._clock = database, tokens, clock
        self._key = b""
        self._closed: dict[str, float] = {}
        self._loading = asyncio.Lock()

    async def load_key(self) -> None:
        """Read the key, or make one; call it before the others. It raises nothing."""
        if self._key:
            return
        async with self._loading:
            if self._key:
                return
            try:
                key, closed = await self._database.read(lambda c: (read_fact(c, _KEY), read_fact(c, _CLOSED)))
                if key is None:
                    key = await self._database.run(lambda c: ensure_secret(c, _KEY, self._clock.wall()))
            except StorageError as error:
                # It can be looked at all the same, which is when it is needed most; a restart ends the session.
                log.warning("the console's sessions will not survive a restart", error=str(error))
                self._key = secrets.token_bytes(32)
                return
            self._key = bytes.fromhex(key)
            self._closed = {str(name): float(until) for name, until in (closed or {}).items()}

    @property
    def cookie(self) -> str:
        """The name of our cookie. Ports do not keep cookies apart, so each database has a name of its own."""
        return f"wxbridge-{hashlib.sha256(self._key).hexdigest()[:8]}"

    def open(self, role: ConsoleRole, owner: str = "") -> ConsoleSession:
        """Open a new session."""
        return ConsoleSession(secrets.token_urlsafe(18), role, self._clock.wall() + SESSION_SECONDS, owner)

    def write(self, session: ConsoleSession) -> str:
        """Write a session as its cookie holds it: `ROLE.UNTIL.ID.SIGNATURE`; the id of a named one holds its owner."""
        whose = f"~{session.owner.encode().hex()}" if session.owner else ""
        text = f"{session.role}.{session.until:.0f}.{session.id}{whose}"
        return self._signer(session.role, session.owner).sign(text).decode()

    def read(self, request: web.Request) -> ConsoleSession | None:
        """Read the session that a request shows; None where it shows none that is good."""
        value = request.cookies.get(self.cookie, "")
        role = next((each for each in ConsoleRole if value.startswith(f"{each}.")), None)
        # Which tokens there are can change while a cookie lives.
        owner = _read_owner(value)
        if role is None or len(value) > MAX_COOKIE_CHARS or self._tokens.fingerprint_of(role, owner) is None:
            return None
        try:
            text = self._signer(role, owner).unsign(value.encode("utf-8", "replace")).decode()
        except BadSignature:
            return None
        _, until, session_id = text.split(".")
        session = ConsoleSession(session_id.partition("~")[0], role, float(until), owner)
        is_over = session.until <= self._clock.wall() or session.id in self._closed
        return None if is_over else session

    async def close(self, session: ConsoleSession) -> None:
        """End a session, whoever else has its cookie. It raises nothing."""
        now = self._clock.wall()
        self._closed = {name: until for name, until in self._closed.items() if until > now} | {
            session.id: session.until
        }
        closed = dict(self._closed)
        try:
            await self._database.run(lambda c: remember_fact(c, _CLOSED, closed, now))
        except StorageError as error:
            log.warning("a sign-out will not survive a restart", error=str(error))

    def form_secret(self, session: ConsoleSession) -> str:
        """Give what each form of a session holds, and no other site can know."""
        return self._signer(session.role, session.owner).get_signature(f"form.{session.id}").hex()

    def is_form_secret(self, session: ConsoleSession, shown: str) -> bool:
        """Whether a form holds the session's secret."""
        return hmac.compare_digest(self.form_secret(session).encode(), shown.encode("utf-8", "replace"))

    def _signer(self, role: ConsoleRole, owner: str) -> Signer:
        """Signs with our key and with the token that opened the session, so that it ends where the token changes."""
        salt = f"{role}\0".encode() + (self._tokens.fingerprint_of(role, owner) or b"")
        return Signer(self._key, salt, key_derivation="hmac", digest_method=hashlib.sha256)


def _read_owner(cookie: str) -> str:
    """Read whose a session says that it is; its signature tells whether that is so."""
    found = re.fullmatch(r"[a-z]+\.\d+\.[\w-]+~((?:[0-9a-f]{2})+)\..*", cookie)
    return bytes.fromhex(found[1]).decode(errors="replace") if found else ""


HEADERS = {
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
"""What every answer of the console says: it is kept nowhere, framed nowhere, and runs nothing but our own files."""
