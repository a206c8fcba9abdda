"""`/hooks/…`: where monitors post. Answered after the commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Accepted
from wxbridge.web.answers import shortened
from wxbridge.web.neighbours import Neighbours

HOOK = "/hooks/{source}"
GENERIC = "/hooks/generic/{name}"
BARE = "/"
"""Older Grafana channels were pointed at the bare address."""


def add(
    app: web.Application, to: Neighbours, metrics: Metrics, read: Callable[[web.Request], Awaitable[bytes]]
) -> None:
    """Add the routes. `read` gives a request's body."""

    async def hook(request: web.Request) -> web.Response:
        source = source_of(request) or ""
        if source not in to.sources:
            raise web.HTTPNotFound(
                text=f"There is no hook for {shortened(source)!r}; there are {', '.join(sorted(to.sources))}."
            )
        body = await read(request)
        return accepted(metrics, source, await to.accept(source, body, request.headers, _targets(request)))

    for method in ("POST", "PUT"):
        app.router.add_route(method, HOOK, hook)
        app.router.add_route(method, GENERIC, hook)
    app.router.add_route("POST", BARE, hook)


def source_of(request: web.Request) -> str | None:
    """The source whose hook a request is for, such as `grafana` or `generic/uptime-kuma`; None where it is for none."""
    match = request.match_info
    if "source" in match:
        return match["source"]
    resource = match.route.resource
    if resource is None:
        return None
    if resource.canonical == GENERIC:
        return f"generic/{match['name']}"
    return "grafana" if resource.canonical == BARE and request.method == "POST" else None


def _targets(request: web.Request) -> list[str]:
    """The names in `?to=`, each once. As many as an address holds: 8,190 bytes."""
    names = [name.strip() for given in request.query.getall("to", ()) for name in given.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def accepted(metrics: Metrics, source: str, counts: Accepted) -> web.Response:
    """The answer to what is on disk, counted."""
    metrics.accepted.labels(source).inc(counts.queued)
    metrics.deduplicated.labels(source).inc(counts.duplicates)
    return web.json_response({"queued": counts.queued, "duplicates": counts.duplicates}, status=202)
