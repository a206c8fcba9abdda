"""The aiohttp application, put together. It answers 2xx only after the commit; it knows its neighbours as callables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiohttp import web

from wxbridge.config.hooks import HookSettings
from wxbridge.config.schema import Config
from wxbridge.config.types import Rate
from wxbridge.core.metrics import Metrics
from wxbridge.web import api, pages
from wxbridge.web import console as pages_of_people
from wxbridge.web import hooks as hook_routes
from wxbridge.web.answers import read_body, sentences
from wxbridge.web.auth import Gate, guard
from wxbridge.web.connections import LIMITS, METRICS, Runner, watched
from wxbridge.web.console.neighbours import Console
from wxbridge.web.console.services import console_of
from wxbridge.web.console.session import Doors, Network
from wxbridge.web.limits import Clock, InboundRate, Limits
from wxbridge.web.neighbours import Neighbours, neighbours_of
from wxbridge.web.services import WebServices

__all__ = ["Clock", "Limits", "Neighbours", "Runner", "make_app", "make_bridge_app"]


def make_bridge_app(services: WebServices, config: Config) -> web.Application:
    """Put the application of a bridge together, by the sections `server:` and `hooks:` of a configuration."""
    server = config.server
    return make_app(
        neighbours_of(services),
        token=(server.token.get_secret_value() if server.token else "") or None,
        max_body=server.max_body,
        metrics=services.metrics,
        hooks={name: getattr(config.hooks, name) for name in type(config.hooks).model_fields},
        rate=server.rate,
        console=console_of(services),
        read_token=(server.read_token.get_secret_value() if server.read_token else "") or None,
        proxies=server.proxies,
    )


def make_app(  # noqa: PLR0913 - each by its name
    neighbours: Neighbours,
    *,
    token: str | None,
    max_body: int,
    metrics: Metrics,
    hooks: Mapping[str, HookSettings] | None = None,
    rate: Rate | None = None,
    limits: Limits | None = None,
    clock: Clock | None = None,
    console: Console | None = None,
    read_token: str | None = None,
    proxies: Sequence[Network] = (),
) -> web.Application:
    """Put the application together; serve it with `Runner`.

    `max_body` is in bytes, after unpacking. `token` opens everything; `hooks` says, by source, what else opens that
    source's hook (`generic` stands for all of `generic/NAME`). Where there is nothing to open a place with, nobody is
    asked. `rate` is for each of those who post. The `console` is at `/`; `read_token` opens it, and whatever else is
    only looked at, and `proxies` are those whose `X-Forwarded-…` it believes.
    """
    limits, clock = limits or Limits(), clock or Clock()

    async def read(request: web.Request) -> bytes:
        return await read_body(request, limits.read)

    gate, inbound = Gate(token, hooks or {}, read_token), InboundRate(rate, clock.monotonic)
    own_doors = pages_of_people.is_ours if console else lambda _request: False
    app = web.Application(
        middlewares=[
            watched(),
            sentences(metrics),
            guard(gate, inbound, clock, hook_routes.source_of, read, own_doors),
        ],
        client_max_size=max_body,
    )
    app[METRICS], app[LIMITS] = metrics, limits
    hook_routes.add(app, neighbours, metrics, read)
    api.add(app, neighbours, metrics, read, limits, clock)
    pages.add(app, neighbours, metrics, own_doors if console else None)
    if console is not None:
        pages_of_people.add(app, console, neighbours, Doors(token, read_token, tuple(proxies)), clock)
    return app
