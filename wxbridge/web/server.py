"""The aiohttp application, put together. It answers 2xx only after the commit."""

from __future__ import annotations

from aiohttp import web

from wxbridge.config.hooks import HookSettings, HooksSettings
from wxbridge.config.server import ServerSettings
from wxbridge.core.clock import SystemClock
from wxbridge.web import api, compat, console, hooks, pages
from wxbridge.web.auth import ACCESS, AccessRules, check_access
from wxbridge.web.compat.keys import COMPAT_KEYS, CompatKeys
from wxbridge.web.limits import CLOCK, LIMITS, HttpLimits
from wxbridge.web.refusals import make_refusal_reporter
from wxbridge.web.responses import LANGUAGE, answer_errors
from wxbridge.web.services import SERVICES, WebServices


def make_app(
    services: WebServices,
    settings: ServerSettings,
    hook_settings: HooksSettings,
    *,
    limits: HttpLimits | None = None,
    clock: SystemClock | None = None,
) -> web.Application:
    """Put the application of a configuration together; serve it with `HttpListener`.

    Args:
        services: Whom it asks.
        settings: Who may come in, and how much. Where there is nothing to open a place with, nobody is asked.
        hook_settings: What else opens each source's hook.
        limits: What a client may take.
        clock: Where the time is read.
    """
    clock = clock or SystemClock()
    app = web.Application(
        middlewares=[make_refusal_reporter(clock), answer_errors, check_access], client_max_size=settings.max_body
    )
    app[SERVICES], app[LIMITS], app[CLOCK] = services, limits or HttpLimits(), clock
    app[LANGUAGE] = services.state.config.reader_language
    by_source = {name: one for name, one in hook_settings if isinstance(one, HookSettings)}
    app[COMPAT_KEYS] = CompatKeys(hook_settings.compat)
    app[ACCESS] = AccessRules(settings, by_source, clock)
    app.add_routes([*hooks.ROUTES, *compat.make_routes(), *api.ROUTES, *pages.ROUTES])
    console.add_console(app, settings)
    return app
