"""`/hooks/…`: where monitors post. Answered after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from wxbridge.alerts.routing import AskedTarget
from wxbridge.alerts.sources.host import NAME as HOST
from wxbridge.core.model import Accepted
from wxbridge.hosts.pushed import read_pushed
from wxbridge.web.responses import CALLER, answer_accepted, read_body, shorten_name
from wxbridge.web.services import SERVICES, WebServices

TOLD_OPERATORS = web.RequestKey("told_operators", bool)
"""The key of requests that are refused, and whose content the operators have all the same."""
MAX_MENTIONED = 20
"""People whom an address may have mentioned."""
HOOK = "/hooks/{source}"
GENERIC = "/hooks/generic/{name}"
BARE = "/"
"""Older Grafana channels were pointed at the bare address."""


async def take_post(request: web.Request) -> web.Response:
    """Store what a monitor sends."""
    services, source = request.app[SERVICES], source_of(request) or ""
    sources = services.alerts.settings.sources
    if source not in sources:
        names = ", ".join(sorted(sources))
        raise web.HTTPNotFound(text=f"There is no hook for {shorten_name(source)!r}; there are {names}.")
    body = await read_body(request)
    asked = _read_query(services, request)
    accepted = await _accept(services, source, body, request, asked.targets)
    if asked.problems:
        # It is stored, for the operators and for those targets that could be told.
        request[TOLD_OPERATORS] = True
        raise web.HTTPBadRequest(text=" ".join(asked.problems))
    targets = services.alerts.settings.targets if asked.targets else {}
    if unknown := [shorten_name(each.name) for each in asked.targets if each.name not in targets]:
        # It is stored, for the operators and for those targets that there are.
        request[TOLD_OPERATORS] = True
        there_are = ", ".join(sorted(targets)) or "none"
        raise web.HTTPBadRequest(text=f"There is no target {', '.join(unknown)}; there are {there_are}.")
    answer = answer_accepted(services.metrics, source, accepted)
    if request.query.get("answer") == "200":
        # Some senders take nothing else for a yes.
        answer.set_status(200)
    return answer


async def _accept(
    services: WebServices, source: str, body: bytes, request: web.Request, asked: Sequence[AskedTarget]
) -> Accepted:
    if source == HOST:
        if services.orders.is_elsewhere and read_pushed(body) is not None:
            await services.orders.place("samples", body=body.decode(errors="replace"), sender=request[CALLER])
            return Accepted(0, 0)
        taken = await services.hosts.receive(body, request[CALLER])  # samples; None where these are alerts
        if taken is not None:
            return taken
    instance = request.query.get("instance", "")
    return await services.alerts.accept(source, body, request.headers, list(map(str, asked)), instance)


@dataclass(frozen=True)
class _QueryRequest:
    """What an address asks for."""

    targets: list[AskedTarget] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is missing or wrong, of targets that leave to the address which robot they are."""


def _read_query(services: WebServices, request: web.Request) -> _QueryRequest:
    """Read which targets are asked for, and which robot it is and who is mentioned where a target leaves that open."""
    asked, query = _QueryRequest(), request.query
    if not query:
        return asked
    mention = [word.strip() for given in query.getall("mention", ()) for word in given.split(",")][:MAX_MENTIONED]
    for name in _read_targets(request):
        target = services.channels.targets.get(name)
        found = AskedTarget(name)
        if target is not None and target.is_from_request:
            # What can be no robot's key is told the operators, and the sender.
            try:
                recipient = target.read_request(query.get("key", "").strip(), query.get("secret", "").strip())
                found = AskedTarget(name, recipient, tuple(filter(None, mention)))
            except ValueError as error:
                asked.problems.append(f"The target {name} asks the sender for a robot: {error}.")
        asked.targets.append(found)
    return asked


def source_of(request: web.Request) -> str | None:
    """Tell whose hook a request is for, such as `grafana` or `generic/uptime-kuma`; None where it is for none."""
    match = request.match_info
    if "source" in match:
        return match["source"]
    resource = match.route.resource
    if resource is None:
        return None
    if resource.canonical == GENERIC:
        return f"generic/{match['name']}"
    return "grafana" if resource.canonical == BARE and request.method == "POST" else None


def _read_targets(request: web.Request) -> list[str]:
    """Read the names in `?to=`, each once. As many as an address holds: 8,190 bytes."""
    names = [name.strip() for given in request.query.getall("to", ()) for name in given.split(",")]
    return list(dict.fromkeys(name for name in names if name))


ROUTES = [
    *(web.route(method, path, take_post) for method in ("POST", "PUT") for path in (HOOK, GENERIC)),
    web.post(BARE, take_post),
]
