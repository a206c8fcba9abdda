"""Reports what hooks refuse, in the log and now and then to the operators: most senders do not look at answers."""

from __future__ import annotations

import json
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from wxbridge.core.clock import SystemClock
from wxbridge.core.sliding_window import Rate
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import say
from wxbridge.web.hooks import TOLD_OPERATORS, source_of
from wxbridge.web.limits import RatePerKey
from wxbridge.web.responses import CALLER, Handler, shorten_name
from wxbridge.web.services import SERVICES

log = structlog.get_logger()

PER_SENDER = Rate(1, 3600.0)
"""How often the operators hear of one sender; of all who show no token together, as of one."""
PER_BRIDGE = Rate(20, 3600.0)
"""How often they hear of all."""
_STRANGER = "a stranger"
_HTTP_ERRORS = range(400, 500)
_HOOKS = "/hooks/"


@dataclass(frozen=True)
class Refusal:
    """What was refused, where the answer itself does not say so to us: the place, without secrets, and why."""

    place: str
    sentence: str


REFUSED = web.RequestKey("refused", Refusal)
"""Under which a request keeps it."""


def make_refusal_reporter(clock: SystemClock) -> Middleware:
    """Make the middleware that reports refusals; it stands around the one that answers errors."""
    senders, bridge = RatePerKey(PER_SENDER, clock), RatePerKey(PER_BRIDGE, clock)

    @web.middleware
    async def report_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        refused = request.get(REFUSED)
        is_error = response.status in _HTTP_ERRORS and isinstance(response, web.Response)
        if refused or (is_error and (source_of(request) is not None or request.path.startswith(_HOOKS))):
            await _report(request, response, refused)
        return response

    async def _report(request: web.Request, response: web.StreamResponse, refused: Refusal | None) -> None:
        sentence, hook, sender = _sentence(response), shorten_name(request.path), _sender(request)
        sources = request.app[SERVICES].alerts.settings.sources
        if refused:
            hook, sentence = refused.place, refused.sentence
        elif (source_of(request) or request.path.removeprefix(_HOOKS)) not in sources:
            # A name that is no hook's may be a token in the wrong place, which neither log nor chat may show.
            hook, sentence = f"{_HOOKS}…", f"There is no hook of this name; there are {', '.join(sorted(sources))}."
        log.warning("a hook refused a body", hook=hook, sender=sender, status=response.status, why=sentence)
        key = f"{hook} {sender}" if CALLER in request else _STRANGER
        if TOLD_OPERATORS in request or senders.wait(key) or bridge.wait(""):
            return
        senders.record(key)
        bridge.record("")
        services = request.app[SERVICES]
        language = services.state.config.language
        why = tell_error(sentence, language)
        line = say("alerts.refused", language, hook=hook, sender=sender, status=response.status, why=why)
        await services.operators.tell_or_log(line)

    return report_refusals


def _sender(request: web.Request) -> str:
    instance = shorten_name(request.query.get("instance", ""))
    address = request.remote or "?"
    return f"{instance} ({address})" if instance else address


def _sentence(response: web.StreamResponse) -> str:
    try:
        return str(json.loads((isinstance(response, web.Response) and response.text) or "")["error"])
    except (ValueError, KeyError, TypeError):
        return response.reason or ""
