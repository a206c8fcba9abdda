"""What is looked at: health, metrics, the login page, stored pictures."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from wxbridge.channels import qr_code
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import ChannelState, ChannelStatus
from wxbridge.web.neighbours import Neighbours

_LONGEST_NAME = 60
"""Characters. Ours are shorter, and a file system may choke on what is longer."""


def add(
    app: web.Application, to: Neighbours, metrics: Metrics, in_console: Callable[[web.Request], bool] | None = None
) -> None:
    """Add the routes. `in_console` tells which requests the console answers; None where there is none."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def readyz(request: web.Request) -> web.Response:
        # Together: where the database hangs, each waits for its own limit.
        database_ok, outbox = await asyncio.gather(to.database_ok(), _outbox(to))
        channels = to.channels()
        online = {name: status.state is ChannelState.ONLINE for name, status in channels.items()}
        ready = database_ok and (request.query.get("channels") != "all" or all(online.values()))
        parts: dict[str, Any] = {"database": {"ok": database_ok}, "outbox": outbox}
        for name, status in channels.items():
            parts[name] = {
                "ok": online[name],
                "state": status.state.value,
                "since": status.since.isoformat(),
                "detail": status.detail,
            }
        return web.json_response({"ready": ready, "parts": parts}, status=200 if ready else 503)

    async def exposition(_request: web.Request) -> web.Response:
        await to.refresh_gauges()
        return web.Response(
            body=metrics.write_exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def index(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.rel_url.with_path("/login", keep_query=True))

    async def login_page(request: web.Request) -> web.Response:
        _lead_to_console(request, in_console)
        return web.Response(text=_login_page(to.channels()), content_type="text/html")

    async def picture(request: web.Request) -> web.StreamResponse:
        path = to.picture_store.find(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound(text="There is no such picture.")
        return web.FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", exposition)
    app.router.add_get("/login", login_page)
    if in_console is None:
        app.router.add_get("/", index)
    app.router.add_get("/pictures/{name}", picture)


def _lead_to_console(request: web.Request, in_console: Callable[[web.Request], bool] | None) -> None:
    """Send those whom the console answers to its own page; the plain one asks nobody who they are."""
    if in_console and in_console(request):
        raise web.HTTPSeeOther(request.rel_url.with_path("/console/login", keep_query=True))


async def _outbox(to: Neighbours) -> Mapping[str, Any]:
    """What waits. It does not count for readiness: alerts can be taken however long the others have waited."""
    return await to.outbox() if to.outbox else {"ok": True}


def _login_page(channels: Mapping[str, ChannelStatus]) -> str:
    """Every channel with its state, and the QR code where a scan is awaited; reloads itself."""
    parts = []
    for name, status in channels.items():
        code = qr_code.draw_svg(status.qrcode) if status.qrcode else ""
        words = status.state.value.replace("_", " ")
        about = html.escape(" · ".join(text for text in (words, status.account, status.detail) if text))
        parts.append(f"<section><h1>{html.escape(name)}</h1><p>{about}</p>{code}</section>")
    body = "".join(parts) or "<p>No channel is configured.</p>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="3">'
        '<meta name="viewport" content="width=device-width"><title>wxbridge login</title><style>'
        "body{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;"
        "background:#f4f5f4;color:#222}"
        "section{background:#fff;padding:2rem 3rem;border-radius:12px;text-align:center;"
        "box-shadow:0 2px 12px #0001}svg{width:280px;height:280px}h1{font-size:1.2rem;margin:0}"
        f"</style>{body}</html>"
    )
