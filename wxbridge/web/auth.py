"""Who may come in: the configured token, by bearer, basic (as the password) or `?token=`."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_OPEN = ("/healthz", "/readyz")


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


def required(token: str | None) -> Any:
    """A middleware that asks everybody for the token, but for health and pictures. Without a token it asks nobody."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_open = request.path in _OPEN or request.path.startswith("/pictures/")
        if token is None or is_open:
            return await handler(request)
        # Bytes that are no UTF-8 arrive as surrogates.
        if any(
            hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), token.encode())
            for shown in presented(request)
        ):
            return await handler(request)
        return web.json_response(
            {"error": "The token is missing or wrong. Send it as `Authorization: Bearer TOKEN`, as the password "
                      "of basic authentication, or as ?token=TOKEN."},
            status=401,
            headers={"WWW-Authenticate": 'Basic realm="wxbridge", charset="UTF-8"'},
        )  # fmt: skip

    return check
