"""`/api/…`: push a message, look at alerts, silence them; and the description of all that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from wxbridge.alerts.service import AlertService
from wxbridge.alerts.silences import Silence
from wxbridge.alerts.store import SeenAlert
from wxbridge.core.json_values import read_json
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Alert, AlertStatus
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

    async def described(_request: web.Request) -> web.Response:
        return web.json_response(description())

    app.router.add_post("/api/send", send)
    app.router.add_get("/api/openapi.json", described)
    if to.alerts is not None:
        _add_alerts(app, to.alerts, read, clock)


def _add_alerts(
    app: web.Application, service: AlertService, read: Callable[[web.Request], Awaitable[bytes]], clock: Clock
) -> None:
    async def silences(_request: web.Request) -> web.Response:
        return web.json_response([silence_json(each, clock.wall()) for each in await service.list_own_silences()])

    async def add_silence(request: web.Request) -> web.Response:
        made = await service.silence(read_silence(read_json(await read(request)), clock.wall()))
        return web.json_response(silence_json(made.silence, clock.wall()), status=201)

    async def expire_silence(request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if not await service.unsilence_here(name):
            raise web.HTTPNotFound(text=f"There is no silence {shortened(name)!r} that is not over.")
        return web.Response(status=204)

    async def alerts(_request: web.Request) -> web.Response:
        return web.json_response([alert_json(each) for each in await service.list_firing()])

    app.router.add_get("/api/silences", silences)
    app.router.add_post("/api/silences", add_silence)
    app.router.add_delete("/api/silences/{id}", expire_silence)
    app.router.add_get("/api/alerts", alerts)


def alert_json(seen: SeenAlert) -> dict[str, Any]:
    """Write an alert that fires as plain JSON. Free text has none, and is told by its title."""
    alert = seen.alert or Alert(seen.group.source, AlertStatus.FIRING, seen.group.title)
    return {
        "key": seen.key,
        "source": alert.source,
        "status": alert.status.value,
        "title": alert.title,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": alert.starts_at.isoformat() if alert.starts_at else None,
        "first_seen": _moment(seen.first_seen),
        "updated_at": _moment(seen.updated_at),
        "link": alert.link,
        "silenced_by": seen.silenced_by,
    }


def silence_json(silence: Silence, now: float) -> dict[str, Any]:
    """Write one of the bridge's own silences as plain JSON."""
    return {
        "id": silence.id,
        "state": silence.state(now),
        "matchers": [str(matcher) for matcher in silence.matchers],
        "starts_at": _moment(silence.starts_at),
        "ends_at": _moment(silence.ends_at),
        "created_at": _moment(silence.created_at),
        "created_by": silence.created_by,
        "comment": silence.comment,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
