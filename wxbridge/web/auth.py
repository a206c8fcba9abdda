"""Who may come in: by token (bearer, basic as the password, `?token=`), or at a hook by a signature of the body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from wxbridge.config.hooks import HookSettings
from wxbridge.web.answers import KNOWN, Handler, Refused
from wxbridge.web.limits import Clock, InboundRate

_OPEN = ("/healthz", "/readyz")
_HOW = "Send it as `Authorization: Bearer TOKEN`, as the password of basic authentication, or as ?token=TOKEN."
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="wxbridge", charset="UTF-8"'}
# GitHub and others write what it is before the digits.
_SIGNATURE = re.compile(r"(?:sha256=)?([0-9a-f]{64})")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NOBODY = "nobody"
"""Who comes in where nobody is asked."""


# ---------------------------------------------------------------- signatures


@dataclass(frozen=True)
class Claim:
    """A signature that a request shows, well-formed and recent; whether it is right, the body tells."""

    signature: str
    signed_before_body: bytes

    def holds(self, secret: bytes, body: bytes) -> bool:
        """Whether the body was signed with this secret; in constant time."""
        digest = hmac.new(secret, self.signed_before_body, hashlib.sha256)
        digest.update(body)
        return hmac.compare_digest(digest.hexdigest(), self.signature)


@dataclass(frozen=True)
class Signing:
    """How a source signs: HMAC-SHA256 of the body, or of `TIMESTAMP:BODY`, as lowercase hex in a header.

    This is what Grafana (v12, "HMAC signature" of a webhook) sends.
    """

    secret: bytes
    header: str
    timestamp_header: str | None
    max_age: float
    """Seconds that the timestamp may be away from now, before or after."""

    def claim(self, headers: Mapping[str, str], now: float) -> Claim | None:
        """The signature that the headers show; None where they show none. `now` is in seconds since the epoch.

        Raises:
            ValueError: it is malformed, or its timestamp is missing, malformed or stale; a sentence for the sender.
        """
        shown = headers.get(self.header)
        if shown is None:
            return None
        match = _SIGNATURE.fullmatch(shown.strip())
        if not match:
            raise ValueError(f"The signature in {self.header} is malformed: 64 lowercase hex digits were expected.")
        return Claim(match[1], self._timestamp(headers, now))

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


# ---------------------------------------------------------------- doors


@dataclass(frozen=True)
class Door:
    """What opens one place: tokens, each with the name of its owner, and signatures."""

    tokens: tuple[tuple[str, bytes], ...] = ()
    signing: Signing | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked."""
        return not self.tokens and self.signing is None

    def owner(self, request: web.Request) -> str | None:
        """Whose token a request shows; None where it shows none that opens."""
        for shown in presented(request):
            # Bytes that are no UTF-8 arrive as surrogates.
            raw = shown.encode("utf-8", "surrogateescape")
            for owner, token in self.tokens:
                if hmac.compare_digest(raw, token):
                    return owner
        return None

    @property
    def how(self) -> str:
        """What somebody is told who shows nothing that opens."""
        if self.signing is None:
            return f"The token is missing or wrong. {_HOW}"
        if not self.tokens:
            return f"The signature is missing. {self.signing.how}"
        return f"The token is missing or wrong. {_HOW} Or: {self.signing.how}"


class Gate:
    """Every door of the server. An empty token or secret counts as none."""

    def __init__(self, token: str | None, hooks: Mapping[str, HookSettings], read_token: str | None = None) -> None:
        """`token` opens every door; `hooks` says what else opens a source's own; `read_token` lets people look."""
        shared = (("server", token.encode()),) if token else ()
        self._main = Door(shared)
        self._to_look = Door((*shared, ("reader", read_token.encode()))) if token and read_token else self._main
        self._hooks = {name: _door(name, settings, shared) for name, settings in hooks.items()}

    def door(self, source: str | None, *, looks: bool = False) -> Door:
        """The door of a source's hook; `generic` stands for all of `generic/NAME`. None: of everything else.

        `looks`: to what only shows something, and nothing that one could log in with.
        """
        if source is None:
            return self._to_look if looks else self._main
        return self._hooks.get(source) or self._hooks.get(source.partition("/")[0], self._main)


def _door(name: str, settings: HookSettings, shared: tuple[tuple[str, bytes], ...]) -> Door:
    token = settings.token.get_secret_value() if settings.token else ""
    secret = settings.hmac_secret.get_secret_value() if settings.hmac_secret else ""
    signing = None
    if secret:
        signing = Signing(
            secret.encode(), settings.signature_header, settings.timestamp_header or None, settings.max_age
        )
    return Door((*shared, (f"hook {name}", token.encode())) if token else shared, signing)


def presented(request: web.Request) -> list[str]:
    """Every token that a request shows."""
    found = [request.query["token"]] if "token" in request.query else []
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append(rest.strip())
    elif scheme.lower() == "basic":
        # What cannot be decoded is no token.
        with suppress(ValueError):
            found.append(base64.b64decode(rest.strip()).decode().partition(":")[2])
    return found


def guard(
    gate: Gate,
    rate: InboundRate,
    clock: Clock,
    source_of: Callable[[web.Request], str | None],
    read: Callable[[web.Request], Awaitable[bytes]],
    elsewhere: Callable[[web.Request], bool] = lambda _request: False,
) -> Any:
    """A middleware that asks everybody who comes for what opens, but for health and pictures.

    What is asked `elsewhere` who comes in is left alone.

    `read` gives the body, which is read here only where a signature has to be checked. Those who post are counted
    against `rate`, each by what let them in.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _OPEN or request.path.startswith("/pictures/") or elsewhere(request):
            return await handler(request)
        source = source_of(request)
        door = gate.door(source, looks=request.method in ("GET", "HEAD") and request.path != "/login")
        opener = _NOBODY if door.is_open else door.owner(request)
        if opener is None:
            await _check_signature(request, door)
            opener = f"signed {source}"
        request[KNOWN] = opener
        if request.method not in ("GET", "HEAD") and (wait := rate.take(opener)):
            seconds = math.ceil(wait)
            raise Refused(
                503, "rate", f"More than {rate.rate} came in this way. Try again in {seconds} s.",
                {"Retry-After": str(seconds)},
            )  # fmt: skip
        return await handler(request)

    async def _check_signature(request: web.Request, door: Door) -> None:
        signing = door.signing
        try:
            claim = signing.claim(request.headers, clock.wall()) if signing else None
        except ValueError as error:
            raise _shut(str(error)) from None
        if signing is None or claim is None:
            raise _shut(door.how)
        if not claim.holds(signing.secret, await read(request)):
            raise _shut(
                f"The signature in {signing.header} is wrong: it was made with another secret, "
                "or the body was changed on its way."
            )

    return check


def _shut(sentence: str) -> Refused:
    return Refused(401, "unauthorised", sentence, _CHALLENGE)
