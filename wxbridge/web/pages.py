"""What is looked at without the console: health, metrics, the plain login page, stored pictures."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from wxbridge.channels import qr_code
from wxbridge.core.model import ChannelStatus
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import say
from wxbridge.delivery.backlog import describe_backlog
from wxbridge.web.auth import ACCESS
from wxbridge.web.responses import IN_CONSOLE, LANGUAGE
from wxbridge.web.services import SERVICES

_ADDRESS = re.compile(
    r"""
    \w+://\S+                                  # https://user@host/path
    | [^\s'"(\[]*\[[0-9A-Fa-f:.%]+\](?::\d+)?   # [fe80::1]:8788
    | (?:[0-9A-Fa-f]*:){2,}[0-9A-Fa-f:.]*         # fe80::1
    | [\w.-]+:\d+                              # gateway:8788
    | \d+(?:\.\d+){3}                          # 10.0.0.1
    | (?:[\w-]+\.)+[^\W\d_][\w-]+               # gateway.internal
    | (?<![\w.])/[^\s'":,]+                     # /run/gateway.sock
    """,
    re.VERBOSE,
)


async def show_alive(_request: web.Request) -> web.Response:
    """Say that the process is alive."""
    return web.json_response({"ok": True})


async def show_readiness(request: web.Request) -> web.Response:
    """Say whether alerts can be taken, and how each part is.

    What waits in the outbox does not count: alerts can be taken however long the others have waited.
    """
    services = request.app[SERVICES]
    # Together: where the database hangs, each waits for its own limit.
    oldest = services.state.config.watch.oldest
    well, backlog = await asyncio.gather(
        services.health.is_database_well(), describe_backlog(services.outbox, oldest=oldest, now=time.time())
    )
    leader = services.leadership.leader
    role: dict[str, Any] = {"role": services.leadership.role}
    if leader is not None:
        role["leader"] = {"name": leader.name, "since": datetime.fromtimestamp(leader.since, UTC).isoformat()}
    statuses = services.channels.statuses()
    ready = well and (
        request.query.get("channels") != "all" or all(status.state.is_well for status in statuses.values())
    )
    parts: dict[str, Any] = {"database": {"ok": well}, "outbox": backlog}
    for name, status in statuses.items():
        parts[name] = {
            "ok": status.state.is_well,
            "state": status.state.value,
            "since": status.since.isoformat(),
            "detail": status.detail,
        }
    rule = request.app[ACCESS].find_rule(request)
    if not rule.is_open and rule.find_owner(request) is None:
        role = {"role": role["role"]}
        parts = {name: _without_addresses(part) for name, part in parts.items()}
    return web.json_response({**role, "ready": ready, "parts": parts}, status=200 if ready else 503)


def _without_addresses(part: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a sentence what tells a stranger where things are."""
    detail = part.get("detail")
    return part | {"detail": _ADDRESS.sub("…", detail)} if isinstance(detail, str) else part


async def show_metrics(request: web.Request) -> web.Response:
    """Show what Prometheus reads."""
    services = request.app[SERVICES]
    await services.health.refresh_gauges()
    headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=services.metrics.write_exposition(), headers=headers)


async def show_login(request: web.Request) -> web.Response:
    """Show the channels' states and login codes to programs; the console shows them to people."""
    if request.app[IN_CONSOLE](request):
        raise web.HTTPSeeOther(request.rel_url.with_path("/console/login", keep_query=True))
    page = _login_page(request.app[SERVICES].channels.statuses(), request.app[LANGUAGE])
    return web.Response(text=page, content_type="text/html")


async def show_picture(request: web.Request) -> web.StreamResponse:
    """Show a stored picture."""
    path = await request.app[SERVICES].picture_store.look_up(request.match_info["name"])
    if path is None:
        raise web.HTTPNotFound(text="There is no such picture.")
    return web.FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})


def _login_page(channels: Mapping[str, ChannelStatus], language: str) -> str:
    """Write a page of every channel with its state, and the QR code where a scan is awaited; it reloads itself."""
    parts = []
    for name, status in channels.items():
        code = qr_code.draw_svg(status.qrcode) if status.qrcode else ""
        words = tell_error(status.state.value.replace("_", " "), language)
        detail = tell_error(status.detail, language)
        about = html.escape(" · ".join(text for text in (words, status.account, detail) if text))
        parts.append(f"<section><h1>{html.escape(name)}</h1><p>{about}</p>{code}</section>")
    body = "".join(parts) or f"<p>{say('console.login.none', language)}</p>"
    return (
        f'<!doctype html><html lang="{say("language.locale", language)}"><meta charset="utf-8">'
        '<meta http-equiv="refresh" content="3">'
        '<meta name="viewport" content="width=device-width"><title>wxbridge login</title><style>'
        "body{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;"
        "background:#f4f5f4;color:#222}"
        "section{background:#fff;padding:2rem 3rem;border-radius:12px;text-align:center;"
        "box-shadow:0 2px 12px #0001}svg{width:280px;height:280px}h1{font-size:1.2rem;margin:0}"
        f"</style>{body}</html>"
    )


ROUTES = [
    web.get("/healthz", show_alive),
    web.get("/readyz", show_readiness),
    web.get("/metrics", show_metrics),
    web.get("/login", show_login),
    web.get("/pictures/{name}", show_picture),
]
