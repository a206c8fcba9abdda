"""`/api/…`: push a message, look at alerts, silence them; and the description of all that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from wxbridge.core.json_values import read_json
from wxbridge.core.metrics import Metrics
from wxbridge.web.answers import shortened
from wxbridge.web.hooks import accepted
from wxbridge.web.limits import Clock, Limits
from wxbridge.web.neighbours import Neighbours
from wxbridge.web.openapi import description
from wxbridge.web.push import read_push
from wxbridge.web.silence_request import read_silence


def add(
    app: web.Application,
    to: Neighbours,
    metrics: Metrics,
    read: Callable[[web.Request], Awaitable[bytes]],
    limits: Limits,
    clock: Clock,
) -> None:
    """Add the routes. `read` gives a request's body."""

    async def send(request: web.Request) -> web.Response:
        push = await read_push(request, limits.read)
        return accepted(metrics, "push", await to.push(push))

    async def silences(_request: web.Request) -> web.Response:
        return web.json_response([dict(silence) for silence in await to.silences()])

    async def add_silence(request: web.Request) -> web.Response:
        asked = read_silence(read_json(await read(request)), clock.wall())
        silence = await to.add_silence(asked.matchers, asked.starts_at, asked.ends_at, asked.by, asked.comment)
        return web.json_response(dict(silence), status=201)

    async def expire_silence(request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if not await to.expire_silence(name):
            raise web.HTTPNotFound(text=f"There is no silence {shortened(name)!r} that is not over.")
        return web.Response(status=204)

    async def alerts(_request: web.Request) -> web.Response:
        return web.json_response([dict(alert) for alert in await to.firing()])

    async def described(_request: web.Request) -> web.Response:
        return web.json_response(description())

    app.router.add_post("/api/send", send)
    app.router.add_get("/api/silences", silences)
    app.router.add_post("/api/silences", add_silence)
    app.router.add_delete("/api/silences/{id}", expire_silence)
    app.router.add_get("/api/alerts", alerts)
    app.router.add_get("/api/openapi.json", described)
