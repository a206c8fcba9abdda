"""`/api/…`: push a message, look at alerts, silence them; and the description of all that."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from aiohttp import web

from wxbridge.core.audit import AuditAction, AuditDoor
from wxbridge.core.json_values import read_json
from wxbridge.web.api_models import AlertAnswer, SilenceAnswer, SilenceBody
from wxbridge.web.auth import ACCESS
from wxbridge.web.limits import CLOCK
from wxbridge.web.openapi import describe_api
from wxbridge.web.push import read_push, store_push
from wxbridge.web.responses import CALLER, answer_accepted, read_body, shorten_name
from wxbridge.web.services import SERVICES


async def send(request: web.Request) -> web.Response:
    """Queue a text, a picture, or both."""
    services = request.app[SERVICES]
    return answer_accepted(services.metrics, "push", await store_push(services, await read_push(request)))


async def list_alerts(request: web.Request) -> web.Response:
    """List what fires by what was posted here."""
    found = await request.app[SERVICES].alerts.list_firing()
    # Of thousands it takes as long as the event loop must not be held up.
    text = await asyncio.to_thread(lambda: json.dumps([AlertAnswer.of(each).model_dump() for each in found]))
    return web.json_response(text=text)


async def list_silences(request: web.Request) -> web.Response:
    """List the bridge's own silences."""
    found, now = await request.app[SERVICES].alerts.list_own_silences(), request.app[CLOCK].wall()
    return web.json_response([SilenceAnswer.of(each, now).model_dump() for each in found])


async def add_silence(request: web.Request) -> web.Response:
    """Silence alerts by matchers."""
    clock = request.app[CLOCK]
    asked = SilenceBody.read(read_json(await read_body(request))).make_request(clock.wall())
    if (caller := request[CALLER]) in request.app[ACCESS].named:
        asked = replace(asked, created_by=caller)
    made = await request.app[SERVICES].alerts.silence(asked)
    await _record(request, AuditAction.SILENCED, ", ".join(map(str, asked.matchers)), asked.created_by)
    return web.json_response(SilenceAnswer.of(made.silence, clock.wall()).model_dump(), status=201)


async def expire_silence(request: web.Request) -> web.Response:
    """End a silence."""
    name = request.match_info["id"]
    if not await request.app[SERVICES].alerts.unsilence_here(name):
        raise web.HTTPNotFound(text=f"There is no silence {shorten_name(name)!r} that is not over.")
    caller = request[CALLER]
    await _record(request, AuditAction.UNSILENCED, name, caller if caller in request.app[ACCESS].named else "")
    return web.Response(status=204)


async def _record(request: web.Request, action: AuditAction, what: str, by: str) -> None:
    await request.app[SERVICES].audit.record(action, what, by=by, via=AuditDoor.API)


async def describe(_request: web.Request) -> web.Response:
    """Describe all that is public."""
    return web.json_response(describe_api())


ROUTES = [
    web.post("/api/send", send),
    web.get("/api/openapi.json", describe),
    web.get("/api/silences", list_silences),
    web.post("/api/silences", add_silence),
    web.delete("/api/silences/{id}", expire_silence),
    web.get("/api/alerts", list_alerts),
]
