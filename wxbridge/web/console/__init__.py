"""The console: the pages that people open at `/`, behind a session of their own. What is where: docs/console.md."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from wxbridge.alerts.links import ALERT_PATH
from wxbridge.config.server import ServerSettings
from wxbridge.config.types import reveal
from wxbridge.core import imaging
from wxbridge.core.errors import StorageError, WxbridgeError
from wxbridge.web.console import silence_link
from wxbridge.web.console.access import (
    CONSOLE_CALLER,
    SIGN_IN,
    SIGN_OUT,
    guarded,
    is_browser,
    read_form,
    show_sign_in,
    sign_in,
    sign_out,
    unguarded,
)
from wxbridge.web.console.events import ChangeFeed
from wxbridge.web.console.overview import list_badges
from wxbridge.web.console.page import (
    HOME,
    Action,
    PageEntry,
    PageVisit,
    asset_path,
    choose_tone,
    local_path,
    say_in_console,
)
from wxbridge.web.console.pages import PAGES, load_page
from wxbridge.web.console.session import HEADERS, ConsoleRole, ConsoleTokens, SessionStore
from wxbridge.web.console.site import (
    FRAGMENT,
    PICTURE_TTL_SECONDS,
    SITE,
    ConsoleSite,
    Flash,
    add_headers,
    compute_version,
    see_other,
)
from wxbridge.web.limits import CLOCK
from wxbridge.web.responses import AS_PAGE, CALLER, IN_CONSOLE, RequestRefused
from wxbridge.web.services import SERVICES

log = structlog.get_logger()

_FOR_PROGRAMS = ("/api/", "/hooks/", "/metrics", "/healthz", "/readyz")
_NOT_TYPED = ("csrf", "back", "again")
"""The fields of a form that nobody fills in."""
_STATIC = "/console/static/"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
THUMBNAIL_WIDTH = 480
"""Pixels; twice what a list shows, for screens that have them."""
THUMBNAIL_HEIGHT = 320


def is_in_console(request: web.Request) -> bool:
    """Whether the console answers a request, and asks by itself who is there."""
    if request.path == HOME:
        return request.method in ("GET", "HEAD")
    # The plain page of the QR code stays for programs.
    return request.path.startswith("/console/") or (request.path == "/login" and is_browser(request))


_ROLES = {"admin": "all"}
"""What the roles of named tokens are called here, where that is something else."""


def add_console(app: web.Application, settings: ServerSettings) -> None:
    """Add the console to an application that has `SERVICES` and a `CLOCK`."""
    services, clock = app[SERVICES], app[CLOCK]
    tokens = ConsoleTokens(
        reveal(settings.token), reveal(settings.read_token), settings.proxies,
        {name: (ConsoleRole(_ROLES.get(each.role, each.role)), each.check()) for name, each in settings.tokens.items()},
    )  # fmt: skip
    app[SITE] = site = ConsoleSite(
        services,
        tokens,
        SessionStore(services.database, tokens, clock),
        ChangeFeed(services),
        clock,
        compute_version(),
    )
    app[AS_PAGE], app[IN_CONSOLE] = show_error, is_in_console

    async def close_streams(_app: web.Application) -> None:
        site.changes.close()

    app.on_shutdown.append(close_streams)
    for entry in PAGES:
        app.router.add_get(entry.path, guarded(partial(_show_page, entry)))
        app.router.add_post(f"/console/{entry.name}/{{part}}", guarded(partial(_take_form, entry)))
        app.router.add_get(f"/console/{entry.name}/{{part}}", guarded(partial(_show_drawn, entry)))
    app.add_routes(
        [
            web.get("/console/events", guarded(_stream_changes)),
            web.get("/console/thumbnails/{name}", guarded(_show_thumbnail)),
            web.get(_STATIC + "{name}", _show_asset),
            *silence_link.ROUTES,
            web.get(f"{ALERT_PATH}{{key}}", _lead_to_alert),
            web.get(SIGN_IN, unguarded(show_sign_in)),
            web.post(SIGN_IN, unguarded(sign_in)),
            web.post(SIGN_OUT, guarded(sign_out)),
        ]
    )


async def _lead_to_alert(request: web.Request) -> web.StreamResponse:
    """Lead a short link to the page of its alert, which asks who is there."""
    return see_other(str(request.rel_url.with_path("/console/alert").update_query(key=request.match_info["key"])))


# ---------------------------------------------------------------- pages and their forms


async def _show_page(entry: PageEntry, request: web.Request) -> web.StreamResponse:
    visit = request.app[SITE].visit(request, request[CONSOLE_CALLER].session)
    if not entry.is_wanted(visit.config):
        raise web.HTTPNotFound(text=visit.say("no_page"))
    fragment = request.headers.get(FRAGMENT)
    keeps_flash = fragment is not None and "flash" not in fragment
    flash = None if keeps_flash else request.app[SITE].flashes.pop(visit.session.id, None)
    return await _show(request, entry, replace(visit, typed=flash.typed if flash else {}), flash)


async def _take_form(entry: PageEntry, request: web.Request) -> web.StreamResponse:
    page, part = load_page(entry.name), request.match_info["part"]
    if action := page.actions.get(part):
        return await _act(entry, action, request)
    if part in page.previews:
        return await _preview(entry, request)
    raise _no_page(request)


def _no_page(request: web.Request) -> web.HTTPNotFound:
    return web.HTTPNotFound(text=say_in_console(request.app[SITE].choose_language(request), "no_page"))


async def _preview(entry: PageEntry, request: web.Request) -> web.StreamResponse:
    """Show a page again with what somebody typed into its form."""
    form = await read_form(request)
    visit = request.app[SITE].visit(request, request[CONSOLE_CALLER].session)
    return await _show(request, entry, replace(visit, typed=form.fields), None)


@dataclass(frozen=True)
class _Filling:
    """What a page is made of, once everybody was asked."""

    template: str
    shown: Mapping[str, Any]
    status: int = 200


async def _show(request: web.Request, entry: PageEntry, visit: PageVisit, flash: Flash | None) -> web.StreamResponse:
    # What nobody has looked at since the start is compiled while the database and the monitors are asked.
    filling, _ = await asyncio.gather(_gather(entry, visit, flash), request.app[SITE].compile_template(entry.template))
    return _render(request, visit, entry, filling)


async def _gather(entry: PageEntry, visit: PageVisit, flash: Flash | None) -> _Filling:
    around: dict[str, Any] = {"flash": flash, "badges": {}}
    try:
        around["badges"] = await list_badges(visit)
        return _Filling(entry.template, {**await load_page(entry.name).show(visit), **around})
    except web.HTTPException:
        raise
    except WxbridgeError as error:
        status = 503 if isinstance(error, StorageError) else 404
        return _Filling("problem.html", {"problem": str(error), **around}, status)


def _render(request: web.Request, visit: PageVisit, entry: PageEntry, filling: _Filling) -> web.Response:
    site, fragment = request.app[SITE], request.headers.get(FRAGMENT)
    return site.render(filling.template, {
        "v": visit, "t": visit.say, "page": entry, "version": site.version,
        "pages": [each for each in PAGES if each.is_wanted(visit.config)],
        "csrf": site.sessions.form_secret(visit.session), "may": visit.session.may_change,
        "open_door": visit.session.role is ConsoleRole.OPEN, "theme": site.choose_theme(request),
        "layout": "layout.html" if fragment is None else "bare.html",
        "here": local_path(str(request.rel_url)) if request.method != "POST" else entry.path,
        "channel_states": visit.services.channels.statuses(), "tones_of": choose_tone,
        "role": _describe_role(visit),
        **filling.shown,
    }, filling.status)  # fmt: skip


def _describe_role(visit: PageVisit) -> Mapping[str, str] | None:
    """Say whether this bridge leads, and who does since when; None where it is the only one."""
    leadership = visit.services.leadership
    if not leadership.is_shared:
        return None
    leader = leadership.leader
    about: dict[str, Any] = {"name": leader.name, "time": visit.when(leader.since)} if leader else {}
    if leadership.is_leading:
        return {"word": visit.say("leads"), "about": visit.say("leads_since", **about), "tone": "good"}
    words = visit.say("standby_since", **about) if leader else visit.say("standby_alone")
    return {"word": visit.say("standby"), "about": words, "tone": "soon"}


async def _act(entry: PageEntry, action: Action, request: web.Request) -> web.StreamResponse:
    site, session = request.app[SITE], request[CONSOLE_CALLER].session
    form = await read_form(request)
    try:
        site.flashes[session.id] = Flash(await action(site.visit(request, session), form), good=True)
    except WxbridgeError as error:
        # A form that says where it stands is shown again with what was typed.
        again = form.fields.get("again", "")
        typed = {name: value for name, value in form.fields.items() if again and name not in _NOT_TYPED}
        site.flashes[session.id] = Flash(str(error), good=False, typed=typed)
        return see_other(local_path(again or form.fields.get("back", entry.path)))
    log.info("done from the console", page=entry.name, action=request.path.rpartition("/")[2], by=session.owner or None)
    return see_other(local_path(form.fields.get("back", entry.path)))


def show_error(request: web.Request, refused: web.Response) -> web.Response:
    """Show an error as a page, where somebody looks at it; as it was where a program or a script of ours does."""
    is_looked_at = "text/html" in request.headers.get("Accept", "") and FRAGMENT not in request.headers
    if not is_looked_at or request.path.startswith(_FOR_PROGRAMS):
        return refused
    site = request.app[SITE]
    sentence = json.loads(refused.text or "{}").get("error", "")
    if request.match_info.http_exception is not None:
        sentence = say_in_console(site.choose_language(request), "no_page")
    shown = {"problem": sentence, "status": refused.status}
    response = site.render_outside(request, "error.html", shown, refused.status)
    kept = ("Retry-After", "Allow")
    response.headers.extend({name: refused.headers[name] for name in kept if name in refused.headers})
    add_headers(response)
    return response


# ---------------------------------------------------------------- what pages load


async def _stream_changes(request: web.Request) -> web.StreamResponse:
    site, session = request.app[SITE], request[CONSOLE_CALLER].session
    if site.changes.is_full:
        raise RequestRefused(503, "connections", "Too many consoles are open.", {"Retry-After": "30"})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **HEADERS})
    response.headers["X-Accel-Buffering"] = "no"
    await response.prepare(request)
    try:
        await response.write(b"retry: 3000\n\n")
        async for parts in site.changes.listen():
            if session.until <= site.clock.wall():
                break
            line = f"data: {json.dumps(sorted(parts))}\n\n" if parts else ": still here\n\n"
            await response.write(line.encode())
    except ConnectionError:
        pass  # the page was closed
    return response


async def _show_drawn(entry: PageEntry, request: web.Request) -> web.StreamResponse:
    choose = load_page(entry.name).pictures.get(request.match_info["part"])
    if choose is None:
        raise _no_page(request)
    site = request.app[SITE]
    visit = site.visit(request, request[CONSOLE_CALLER].session)

    async def draw() -> bytes:
        return await site.services.drawer.draw(await choose(visit))

    key = (request.path, visit.language, *sorted(visit.query.items()))
    try:
        drawn = await site.pictures.get_or_create(key, draw)
    except WxbridgeError as error:
        raise web.HTTPNotFound(text=str(error)) from None
    return web.Response(
        body=drawn, content_type=imaging.sniff(drawn) or "image/png",
        headers={"Cache-Control": f"private, max-age={PICTURE_TTL_SECONDS:.0f}"},
    )  # fmt: skip


async def _show_thumbnail(request: web.Request) -> web.StreamResponse:
    site = request.app[SITE]
    path = await site.services.picture_store.look_up(request.match_info["name"])

    async def make() -> bytes | None:
        return await asyncio.to_thread(_make_thumbnail, path) if path else None

    made = await site.thumbnails.get_or_create(path, make) if path else None
    if made is None:
        raise web.HTTPNotFound(text="There is no such picture.")
    # Its name is its content's for ever.
    return web.Response(
        body=made, content_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400, immutable"}
    )


def _make_thumbnail(path: Path) -> bytes | None:
    """Make the small version of a picture, a JPEG, so that a phone need not load it whole; None for what is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.draft("RGB", (THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT))
            image.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT * 3))
            # The head of a tall page tells more than all of it in miniature.
            shown = image.convert("RGB").crop((0, 0, image.width, min(image.height, THUMBNAIL_HEIGHT)))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError):
        return None
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=80)
    return out.getvalue()


async def _show_asset(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    path = asset_path(name)
    if not re.fullmatch(r"[a-z0-9-]+\.[a-z]+", name) or path.suffix not in _TYPES or not path.is_file():
        raise web.HTTPNotFound(text="There is no such file.")
    # The address holds the version.
    response = web.Response(
        body=path.read_bytes(), content_type=_TYPES[path.suffix], charset="utf-8",
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )  # fmt: skip
    request[CALLER] = "console"
    return add_headers(response)
