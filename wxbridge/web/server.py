"""The aiohttp application, put together. It answers 2xx only after the commit; it knows its neighbours as callables."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from wxbridge.metrics import Metrics
from wxbridge.settings import Rate
from wxbridge.sources.settings import HookSettings
from wxbridge.web import api, pages
from wxbridge.web import hooks as hook_routes
from wxbridge.web.answers import read_body, sentences
from wxbridge.web.auth import Gate, guard
from wxbridge.web.connections import LIMITS, METRICS, Runner, watched
from wxbridge.web.limits import Clock, InboundRate, Limits
from wxbridge.web.neighbours import Neighbours

__all__ = ["Clock", "Limits", "Neighbours", "Runner", "make_app"]


def make_app(
    neighbours: Neighbours,
    *,
    token: str | None,
    max_body: int,
    metrics: Metrics,
    hooks: Mapping[str, HookSettings] | None = None,
    rate: Rate | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
) -> web.Application:
    """Put the application together; serve it with `Runner`.

    `max_body` is in bytes, after unpacking. `token` opens everything; `hooks` says, by source, what else opens that
    source's hook (`generic` stands for all of `generic/NAME`). Where there is nothing to open a place with, nobody is
    asked. `rate` is for each of those who post.
    """
    limits, clock = limits or Limits(), clock or Clock()

    async def read(request: web.Request) -> bytes:
        return await read_body(request, limits.read)

    gate, inbound = Gate(token, hooks or {}), InboundRate(rate, clock.monotonic)
    app = web.Application(
        middlewares=[watched(), sentences(metrics), guard(gate, inbound, clock, hook_routes.source_of, read)],
        client_max_size=max_body,
    )
    app[METRICS], app[LIMITS] = metrics, limits
    hook_routes.add(app, neighbours, metrics, read)
    api.add(app, neighbours, metrics, read, limits, clock)
    pages.add(app, neighbours, metrics)
    return app
