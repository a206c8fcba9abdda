"""Who may come in: by token (bearer, basic as the password, `?token=`), or at a hook by a signature of the body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog
from aiohttp import web

from wxbridge.alerts.links import ALERT_PATH, SILENCE_PATH
from wxbridge.config.hooks import HookSettings
from wxbridge.config.server import ServerSettings
from wxbridge.config.types import reveal
from wxbridge.core.clock import SystemClock
from wxbridge.core.token_hash import TokenCheck
from wxbridge.web.hooks import source_of
from wxbridge.web.limits import CLOCK, MAX_WRONG_TOKENS, RatePerKey
from wxbridge.web.origin import name_subscriber, read_origin
from wxbridge.web.responses import CALLER, IN_CONSOLE, Handler, RequestRefused, read_body

log = structlog.get_logger()

_OPEN = ("/healthz", "/readyz")
_ASKED_ELSEWHERE = ("/pictures/", "/compat/", SILENCE_PATH, ALERT_PATH)
"""Pictures have names that nobody can guess, the robots' addresses keys of their own, links that silence are
signed, and short ones lead to the console."""
_HOW = "Send it as `Authorization: Bearer TOKEN`, as the password of basic authentication, or as ?token=TOKEN."
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="wxbridge", charset="UTF-8"'}
# GitHub and others write what it is before the digits.
_SIGNATURE = re.compile(r"(?:sha256=)?([0-9a-f]{64})")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NOBODY = "nobody"
"""Who comes in where nobody is asked."""


# ---------------------------------------------------------------- signatures


@dataclass(frozen=True)
class SignatureClaim:
    """A signature that a request shows, well-formed and recent; whether it is right, the body tells."""

    signature: str
    signed_before_body: bytes

    def holds(self, secret: bytes, body: bytes) -> bool:
        """Whether the body was signed with this secret; in constant time."""
        digest = hmac.new(secret, self.signed_before_body, hashlib.sha256)
        digest.update(body)
        return hmac.compare_digest(digest.hexdigest(), self.signature)


@dataclass(frozen=True)
class HmacSigning:
    """How a source signs: HMAC-SHA256 of the body, or of `TIMESTAMP:BODY`, as lowercase hex in a header.

    This is what Grafana (v12, "HMAC signature" of a webhook) sends. What stands in the address after `?` is signed too,
    as `?QUERY:` right before the body: else who saw one signed body could send it to other targets.
    """

    secret: bytes
    header: str
    timestamp_header: str | None
    max_age: float
    """Seconds that the timestamp may be away from now, before or after."""

    def read_claim(self, headers: Mapping[str, str], now: float, query: str = "") -> SignatureClaim | None:
        """Read the signature that the headers show; None where they show none.

        `now` is in seconds since the epoch, `query` as it stands in the address.

        Raises:
            ValueError: it is malformed, or its timestamp is missing, malformed or stale; a sentence for the sender.
        """
        shown = headers.get(self.header)
        if shown is None:
            return None
        match = _SIGNATURE.fullmatch(shown.strip())
        if not match:
            raise ValueError(f"The signature in {self.header} is malformed: 64 lowercase hex digits were expected.")
        asked = f"?{query}:".encode("utf-8", "surrogateescape") if query else b""
        return SignatureClaim(match[1], self._timestamp(headers, now) + asked)

    def _timestamp(self, headers: Mapping[str, str], now: float) -> bytes:
        name = self.timestamp_header
        if name is None:
            return b""
        stamp = headers.get(name, "").strip()
        if not stamp:
            raise ValueError(f"The signature's timestamp is missing: {name} was expected, in seconds since 1970.")
        if not _TIMESTAMP.fullmatch(stamp):
            raise ValueError(f"The signature's timestamp in {name} is malformed: seconds since 1970 were expected.")
        age = now - int(stamp)
        if abs(age) > self.max_age:
            way = "old" if age > 0 else "ahead of us"
            raise ValueError(
                f"The signature is stale: its timestamp in {name} is {abs(age):.0f} seconds {way}, and "
                f"{self.max_age:g} are allowed. Compare the clocks of both machines."
            )
        return f"{stamp}:".encode()

    @property
    def how(self) -> str:
        """What a sender is told to do."""
        over = (
            f"of TIMESTAMP:BODY, with TIMESTAMP in {self.timestamp_header}" if self.timestamp_header else "of the body"
        )
        return f"Sign it: the HMAC-SHA256 {over}, as lowercase hex in {self.header}."


# ---------------------------------------------------------------- tokens


@dataclass(frozen=True)
class AccessRule:
    """What opens one place: tokens, each with the name of its owner, and signatures."""

    tokens: tuple[tuple[str, TokenCheck], ...] = ()
    signing: HmacSigning | None = None
    is_closed: bool = False
    """Whether somebody is asked also where no token opens it, as those that there are open other places."""

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked."""
        return not self.is_closed and not self.tokens and self.signing is None

    def find_owner(self, request: web.Request) -> str | None:
        """Find whose token a request shows; None where it shows none that opens."""
        for shown in read_tokens(request):
            # Bytes that are no UTF-8 arrive as surrogates.
            raw = shown.encode("utf-8", "surrogateescape")
            for owner, token in self.tokens:
                if token.matches(raw):
                    return owner
        return None

    def is_shown_something(self, request: web.Request) -> bool:
        """Tell whether a request shows a token or a signature, right or not."""
        return bool(read_tokens(request)) or bool(self.signing and self.signing.header in request.headers)

    @property
    def how(self) -> str:
        """What somebody is told who shows nothing that opens."""
        if self.signing is None:
            return f"The token is missing or wrong. {_HOW}"
        if not self.tokens:
            return f"The signature is missing. {self.signing.how}"
        return f"The token is missing or wrong. {_HOW} Or: {self.signing.how}"

    async def find_caller(self, request: web.Request) -> str:
        """Name what lets a request in. Raises `RequestRefused` where nothing does."""
        return _NOBODY if self.is_open else self.find_owner(request) or await self._check_signature(request)

    async def _check_signature(self, request: web.Request) -> str:
        signing = self.signing
        if signing is None:
            raise _unauthorised(self.how)
        try:
            claim = signing.read_claim(request.headers, request.app[CLOCK].wall(), _signed_query(request))
        except ValueError as error:
            raise _unauthorised(str(error)) from None
        if claim is None:
            raise _unauthorised(self.how)
        if not claim.holds(signing.secret, await read_body(request)):
            raise _unauthorised(
                f"The signature in {signing.header} is wrong: it was made with another secret, "
                "the body was changed on its way, or the address has a `?` that was not signed."
            )
        return f"signed {source_of(request)}"


class AccessRules:
    """What opens each place of the server. An empty token or secret counts as none.

    Args:
        settings: What opens everything, what lets people look, whose `X-Forwarded-…` is believed, and how much each of
            those who post may.
        hooks: By source, what else opens its hook; `generic` stands for all of `generic/NAME`.
        clock: Where the time is read.
    """

    def __init__(self, settings: ServerSettings, hooks: Mapping[str, HookSettings], clock: SystemClock) -> None:
        token, read_token = reveal(settings.token), reveal(settings.read_token)
        people = {name: (each.role, each.check()) for name, each in settings.tokens.items()}
        server = (("server", TokenCheck(token.encode())),) if token else ()

        def with_roles(*roles: str) -> tuple[tuple[str, TokenCheck], ...]:
            return (*server, *((name, check) for name, (role, check) in people.items() if role in roles))

        shared = with_roles("operate", "admin")
        reader = (("reader", TokenCheck(read_token.encode())),) if token and read_token else ()
        self._main = AccessRule(shared, is_closed=bool(people))
        self._to_look = AccessRule((*with_roles("read", "operate", "admin"), *reader), is_closed=bool(people))
        self._login = AccessRule(with_roles("admin"), is_closed=bool(people))
        self.named = frozenset(people)
        """Names that stand beside what is done."""
        self._hooks = {name: _rule_of_hook(name, each, shared) for name, each in hooks.items()}
        self.rate = RatePerKey(settings.rate, clock) if settings.rate else None
        self.wrong = RatePerKey(MAX_WRONG_TOKENS, clock)
        """By the subscriber that shows what opens nothing, at whichever door."""
        self.proxies = settings.proxies

    def find_named(self, request: web.Request) -> str | None:
        """Find whose named token a request shows, whatever it opens; None where it shows none."""
        owner = self._to_look.find_owner(request) if self.named else None
        return owner if owner in self.named else None

    def find_rule(self, request: web.Request) -> AccessRule:
        """Find what opens the place that a request is for."""
        source = source_of(request)
        if source is not None:
            return self._hooks.get(source) or self._hooks.get(source.partition("/")[0], self._main)
        # With what `/login` shows one could log in.
        if request.path == "/login":
            return self._login
        return self._to_look if request.method in ("GET", "HEAD") else self._main


def _rule_of_hook(name: str, settings: HookSettings, shared: tuple[tuple[str, TokenCheck], ...]) -> AccessRule:
    token, secret = reveal(settings.token), reveal(settings.hmac_secret)
    signing = None
    if secret:
        signing = HmacSigning(
            secret.encode(), settings.signature_header, settings.timestamp_header or None, settings.max_age
        )
    return AccessRule((*shared, (f"hook {name}", TokenCheck(token.encode()))) if token else shared, signing)


def read_tokens(request: web.Request) -> list[str]:
    """Read every token that a request shows."""
    found = [request.query["token"]] if "token" in request.query else []
    if secret := request.headers.get("X-Gitlab-Token"):
        # GitLab shows its secret token in a header of its own.
        found.append(secret)
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append(rest.strip())
    elif scheme.lower() == "basic":
        # What cannot be decoded is no token.
        with suppress(ValueError):
            found.append(base64.b64decode(rest.strip()).decode().partition(":")[2])
    return found


ACCESS = web.AppKey("access", AccessRules)
"""Where an application keeps what opens it."""


@web.middleware
async def check_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask everybody who comes for what opens, but for health and pictures, and where the console asks by itself.

    Those who post are counted against the rate, each by what let them in.
    """
    if request.path in _OPEN or request.path.startswith(_ASKED_ELSEWHERE) or request.app[IN_CONSOLE](request):
        return await handler(request)
    access = request.app[ACCESS]
    rule = access.find_rule(request)
    try:
        request[CALLER] = caller = await rule.find_caller(request)
    except RequestRefused as error:
        if (owner := access.find_named(request)) is not None:
            sentence = f"The token of {owner} has not the role that this takes; see `server.tokens`."
            raise RequestRefused(403, "role", sentence) from None
        if error.reason == "unauthorised" and rule.is_shown_something(request):
            count_wrong_token(request)
        raise
    if access.rate and request.method not in ("GET", "HEAD"):
        if wait := access.rate.wait(caller):
            seconds = math.ceil(wait)
            sentence = f"More than {access.rate.rate} came in this way. Try again in {seconds} s."
            raise RequestRefused(503, "rate", sentence, {"Retry-After": str(seconds)})
        access.rate.record(caller)
    return await handler(request)


def _signed_query(request: web.Request) -> str:
    """What a signature must cover of the address, as it is written: all after the `?` but a token."""
    parts = request.rel_url.raw_query_string.split("&")
    return "&".join(part for part in parts if part.partition("=")[0] != "token")


def count_wrong_token(request: web.Request, place: str = "") -> None:
    """Count what was shown and opens nothing. Raises `RequestRefused` where too much of that came from there.

    `place` is logged instead of the path, where that holds what was shown.
    """
    access = request.app[ACCESS]
    origin = read_origin(request, access.proxies)
    subscriber = name_subscriber(origin.address)
    if wait := access.wrong.wait(subscriber):
        sentence = f"Too many wrong tokens came from here. Try again in {wait:.0f} s."
        raise RequestRefused(429, "attempts", sentence, {"Retry-After": f"{max(1.0, wait):.0f}"})
    access.wrong.record(subscriber)
    log.warning("a wrong token was shown", address=origin.address, path=place or request.path)


def _unauthorised(sentence: str) -> RequestRefused:
    return RequestRefused(401, "unauthorised", sentence, _CHALLENGE)
