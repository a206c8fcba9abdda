"""The console: the pages that people open at `/`, behind a session of their own. What is where: docs/console.md."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import jinja2
import structlog
from aiohttp import BodyPartReader, web

import wxbridge
from wxbridge.core import imaging
from wxbridge.core.errors import BadBody, StorageError, WxbridgeError
from wxbridge.core.text.i18n import LANGUAGES, Language
from wxbridge.web.answers import AS_PAGE, KNOWN, Refused
from wxbridge.web.auth import presented
from wxbridge.web.console import events, session
from wxbridge.web.console.lately import Lately
from wxbridge.web.console.neighbours import Console
from wxbridge.web.console.page import HOME, Form, Page, Picture, Visit, asset, local_path, say_in_console
from wxbridge.web.console.pages import PAGES
from wxbridge.web.console.pages.login import tone
from wxbridge.web.console.session import Attempts, Doors, Origin, Role, Session, Sessions, origin_of
from wxbridge.web.console.thumbnails import Thumbnails
from wxbridge.web.limits import Clock
from wxbridge.web.neighbours import Neighbours

log = structlog.get_logger()

SIGN_IN = "/console/sign-in"
_FOR_PROGRAMS = ("/api/", "/hooks/", "/metrics", "/healthz", "/readyz")
_STATIC = "/console/static/"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FLASHES = 500
"""Sessions for which a sentence is kept until their next page."""
_LARGEST = 20 * 1024 * 1024
"""Bytes of a picture that is sent from here."""
_DRAWN = 40
"""Pictures that were drawn for pages, some 50 kB each, which are kept in memory."""
_DRAWN_FOR = 120.0
"""Seconds for which they are."""
_BARE = "X-Fragment"
"""The header of a request for a page without what is around it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_browser(request: web.Request) -> bool:
    """Whether somebody looks, and not a program."""
    return request.method in ("GET", "HEAD") and "text/html" in request.headers.get("Accept", "")


def is_ours(request: web.Request) -> bool:
    """Whether the console answers a request, and asks by itself who is there."""
    if request.path == HOME:
        return request.method in ("GET", "HEAD")
    # The plain page of the QR code stays for programs.
    return request.path.startswith("/console/") or (request.path == "/login" and is_browser(request))


@dataclass(frozen=True)
class _Site:
    """Everything that answering a request needs."""

    console: Console
    bridge: Neighbours
    doors: Doors
    sessions: Sessions
    attempts: Attempts
    changes: events.Changes
    clock: Clock
    pages: Sequence[Page]
    version: str
    """Changes with every file that browsers keep."""
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    drawn: Lately[bytes] = field(default_factory=lambda: Lately(_DRAWN_FOR, _DRAWN, at_once=2))
    flashes: dict[str, tuple[bool, str]] = field(default_factory=dict)
    """By session, what the next page says: whether it went well, and the sentence."""

    def flash(self, who: Session, text: str, *, good: bool) -> None:
        """Have the next page say something."""
        self.flashes[who.id] = (good, text)
        while len(self.flashes) > _FLASHES:
            del self.flashes[next(iter(self.flashes))]


def add(app: web.Application, console: Console, bridge: Neighbours, doors: Doors, clock: Clock) -> None:
    """Add the routes of the console."""
    site = _Site(
        console, bridge, doors,
        Sessions(console.database, doors, clock), Attempts(clock),
        events.Changes(events.Look(console.database, console.outbox, bridge.channels, lambda: _marks(console))),
        clock,
        PAGES,
        _version(),
    )  # fmt: skip
    aiohttp_jinja2.setup(
        app, loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True,
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip

    async def closing(_app: web.Application) -> None:
        site.changes.close()

    def as_page(request: web.Request, refused: web.Response) -> web.Response:
        return _as_page(site, request, refused)

    app.on_shutdown.append(closing)
    app[AS_PAGE] = as_page
    for page in site.pages:
        app.router.add_get(page.path, _shown(site, page))
        for name, action in page.actions.items():
            app.router.add_post(f"/console/{page.name}/{name}", _done(site, page, action))
        for name, picture in page.pictures.items():
            app.router.add_get(f"/console/{page.name}/{name}", _drawn(site, picture))
    app.router.add_get("/console/events", _guarded(site, _stream(site)))
    app.router.add_get("/console/thumbnails/{name}", _guarded(site, _thumbnail(site)))
    app.router.add_get(_STATIC + "{name}", _static)
    app.router.add_get(SIGN_IN, _outside(site, _sign_in_page))
    app.router.add_post(SIGN_IN, _outside(site, _sign_in))
    app.router.add_post("/console/sign-out", _guarded(site, _sign_out(site)))


def _marks(console: Console) -> events.Marks:
    config, hosts = console.config(), console.hosts()
    return {
        "config": (config.loaded_at, config.problems, config.later) if config else None,
        "host": tuple((host.name, host.history.raw.at[-1:].tobytes(), host.silent_since) for host in hosts or ()),
    }


def _version() -> str:
    digest = hashlib.sha256(wxbridge.__version__.encode())
    for path in sorted(asset("").iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


# ---------------------------------------------------------------- who is there


@dataclass(frozen=True)
class _Caller:
    """Who asks, and through what. `fresh` is a session that its cookie has yet to be told of."""

    session: Session
    origin: Origin
    fresh: bool = False


_CALLER = web.RequestKey("caller", _Caller)


def _guarded(site: _Site, handler: Handler) -> Handler:
    """Let in who has a session; send a browser to the page where one is opened. Every answer gets our headers."""

    async def check(request: web.Request) -> web.StreamResponse:
        await site.sessions.ready()
        origin = _checked_origin(site, request)
        caller = _caller(site, request, origin)
        if isinstance(caller, web.StreamResponse):
            return _finished(caller)
        request[KNOWN], request[_CALLER] = f"console {caller.session.role}", caller
        response = await handler(request)
        if caller.fresh:
            _give(site, response, caller)
        return _finished(response)

    return check


def _outside(site: _Site, handler: Callable[[_Site, web.Request, Origin], Awaitable[web.StreamResponse]]) -> Handler:
    """What needs no session."""

    async def check(request: web.Request) -> web.StreamResponse:
        await site.sessions.ready()
        origin = _checked_origin(site, request)
        request[KNOWN] = "console"
        return _finished(await handler(site, request, origin))

    return check


def _checked_origin(site: _Site, request: web.Request) -> Origin:
    origin = origin_of(request, site.doors.proxies)
    if site.doors.is_open and not session.known_host(origin):
        raise Refused(
            403, "host",
            "Without a token this console answers on this machine only, by the name localhost. "
            "Set `server.token` to use it by another.",
        )  # fmt: skip
    if request.method not in ("GET", "HEAD") and not session.own_page(request, origin):
        raise Refused(403, "cross_site", "Another site's page may not do this.")
    return origin


def _caller(site: _Site, request: web.Request, origin: Origin) -> _Caller | web.StreamResponse:
    found = site.sessions.read(request)
    if found is not None:
        return _Caller(found, origin)
    if site.doors.is_open:
        return _Caller(site.sessions.open(Role.OPEN), origin, fresh=True)
    shown = presented(request)
    if shown and (role := _role(site, origin, shown)):
        if is_browser(request) and "token" in request.query:
            # So that the token does not stay in the address.
            response = _see_other(_without_token(request))
            _give(site, response, _Caller(site.sessions.open(role), origin))
            return response
        # A program: what it shows lets it look. Forms need a cookie, as browsers show passwords by themselves.
        return _Caller(site.sessions.open(role), origin)
    if is_browser(request) and _BARE not in request.headers:
        return _see_other(f"{SIGN_IN}?{_next(request)}")
    raise Refused(
        401, "unauthorised",
        "The token is missing or wrong. Open / in a browser to sign in, or send it as `Authorization: Bearer TOKEN`.",
        {"WWW-Authenticate": 'Basic realm="wxbridge", charset="UTF-8"'},
    )  # fmt: skip


def _see_other(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})


def _role(site: _Site, origin: Origin, shown: Sequence[str]) -> Role | None:
    """What tokens open; counts where that is nothing. Raises `Refused` where too many were wrong."""
    if wait := site.attempts.wait(origin.address):
        raise Refused(
            429, "attempts", f"Too many wrong tokens came from here. Try again in {wait:.0f} s.",
            {"Retry-After": f"{max(1.0, wait):.0f}"},
        )  # fmt: skip
    role = next((role for each in shown if (role := site.doors.role_of(each))), None)
    if role is None:
        site.attempts.failed(origin.address)
        log.warning("a wrong token was shown to the console", address=origin.address)
    return role


def _without_token(request: web.Request) -> str:
    return str(request.rel_url.with_query([pair for pair in request.query.items() if pair[0] != "token"]))


def _next(request: web.Request) -> str:
    from urllib.parse import urlencode

    return urlencode({"next": local_path(_without_token(request))})


def _give(site: _Site, response: web.StreamResponse, caller: _Caller) -> None:
    response.set_cookie(
        site.sessions.cookie, site.sessions.written(caller.session),
        httponly=True, samesite="Strict", secure=caller.origin.secure, path="/",
        max_age=int(session.LASTS),
    )  # fmt: skip


def _finished(response: web.StreamResponse) -> web.StreamResponse:
    if not response.prepared:
        for name, value in session.headers().items():
            response.headers.setdefault(name, value)
    return response


def _language(site: _Site, request: web.Request) -> Language:
    """What the browser would rather read, else what the configuration says."""
    best: tuple[float, Language] | None = None
    for part in request.headers.get("Accept-Language", "")[:500].split(","):
        name, _, weight = part.partition(";q=")
        language: Language | None = next((each for each in LANGUAGES if name.strip().lower().startswith(each)), None)
        if language is None:
            continue
        try:
            value = float(weight) if weight else 1.0
        except ValueError:
            continue
        if value > (best[0] if best else 0.0):
            best = value, language
    return best[1] if best else site.console.language()


# ---------------------------------------------------------------- pages and their forms


def _visit(site: _Site, request: web.Request, who: Session) -> Visit:
    query = {name: value[:500] for name, value in request.query.items()}
    return Visit(site.console, site.bridge, who, _language(site, request), site.clock.wall(), query)


def _shown(site: _Site, page: Page) -> Handler:
    async def show(request: web.Request) -> web.StreamResponse:
        visit = _visit(site, request, request[_CALLER].session)
        if not page.wanted(site.console):
            raise web.HTTPNotFound(text=visit.say("no_page"))
        try:
            found, status = dict(await page.show(visit)), 200
        except web.HTTPException:
            raise
        except (StorageError, WxbridgeError) as error:
            found, status = {"problem": str(error)}, 503 if isinstance(error, StorageError) else 404
        template = "problem.html" if "problem" in found and status != 200 else f"{page.name}.html"  # noqa: PLR2004 - HTTP
        return _rendered(site, request, visit, page, template, found, status)

    return _guarded(site, show)


def _rendered(
    site: _Site,
    request: web.Request,
    visit: Visit,
    page: Page,
    template: str,
    found: Mapping[str, Any],
    status: int = 200,
) -> web.Response:
    bare = _BARE in request.headers
    flash = None if bare and "flash" not in request.headers.get(_BARE, "") else site.flashes.pop(visit.session.id, None)
    return aiohttp_jinja2.render_template(template, request, {
        "v": visit, "t": visit.say, "page": page, "version": site.version,
        "pages": [each for each in site.pages if each.wanted(site.console)],
        "csrf": site.sessions.secret(visit.session), "may": visit.session.may_change,
        "open_door": visit.session.role is Role.OPEN,
        "layout": "bare.html" if bare else "layout.html", "here": local_path(str(request.rel_url)),
        "flash": flash, "channel_states": visit.bridge.channels(), "tones_of": tone,
        **found,
    }, status=status)  # fmt: skip


def _done(site: _Site, page: Page, action: Callable[[Visit, Form], Awaitable[str]]) -> Handler:
    async def do(request: web.Request) -> web.StreamResponse:
        who = request[_CALLER].session
        form = await _checked_form(site, request, who)
        visit = _visit(site, request, who)
        try:
            site.flash(who, await action(visit, form), good=True)
        except WxbridgeError as error:
            site.flash(who, str(error), good=False)
        else:
            log.info("done from the console", page=page.name, action=request.path.rpartition("/")[2])
        return _see_other(local_path(form.fields.get("back", page.path)))

    return _guarded(site, do)


async def _checked_form(site: _Site, request: web.Request, who: Session) -> Form:
    """The form of somebody who may change things. Raises `Refused`, `BadBody`."""
    form = await _form(request)
    if site.sessions.read(request) is None or not site.sessions.fits(who, form.fields.get("csrf", "")):
        raise Refused(403, "csrf", "This form is out of date. Go back, load the page again, and repeat.")
    if not who.may_change and request.path != "/console/sign-out":
        raise Refused(403, "read_only", "This session may only look: it was opened with `server.read_token`.")
    return form


async def _form(request: web.Request) -> Form:
    try:
        if request.content_type != "multipart/form-data":
            return Form({name: value for name, value in (await request.post()).items() if isinstance(value, str)})
        fields: dict[str, str] = {}
        picture = None
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.name or len(fields) > 50:  # noqa: PLR2004 - no form of ours has
                raise BadBody("The form cannot be read.")
            content = bytes(await part.read(decode=True))
            if part.filename is not None:
                picture = content or picture
            else:
                fields[part.name] = content.decode()
    except (ValueError, LookupError, RuntimeError, web.RequestPayloadError) as error:
        raise BadBody(f"The form cannot be read: {error}") from None
    if picture is not None and len(picture) > _LARGEST:
        raise BadBody("The picture is too large.")
    return Form(fields, picture)


# ---------------------------------------------------------------- in and out


def _sign_in_context(site: _Site, request: web.Request, problem: str = "") -> dict[str, Any]:
    language = _language(site, request)
    t = partial(say_in_console, language)
    after = local_path(request.query.get("next", HOME))
    return {"t": t, "language": language, "version": site.version, "problem": problem, "next": after}


async def _sign_in_page(site: _Site, request: web.Request, _origin: Origin) -> web.StreamResponse:
    if site.doors.is_open or site.sessions.read(request):
        return _see_other(local_path(request.query.get("next", HOME)))
    return aiohttp_jinja2.render_template("sign-in.html", request, _sign_in_context(site, request))


async def _sign_in(site: _Site, request: web.Request, origin: Origin) -> web.StreamResponse:
    shown = str((await request.post()).get("token", "")).strip()
    language = _language(site, request)
    try:
        role = None if site.doors.is_open else _role(site, origin, [shown])
    except Refused as error:
        words = say_in_console(language, "sign_in.too_many", seconds=(error.headers or {})["Retry-After"])
        response = aiohttp_jinja2.render_template(
            "sign-in.html", request, _sign_in_context(site, request, words), status=429
        )
        response.headers["Retry-After"] = (error.headers or {})["Retry-After"]
        return response
    if role is None:
        words = say_in_console(language, "sign_in.wrong")
        return aiohttp_jinja2.render_template(
            "sign-in.html", request, _sign_in_context(site, request, words), status=401
        )
    opened = site.sessions.open(role)
    log.info("somebody signed in to the console", address=origin.address, role=role.value)
    response = _see_other(local_path(request.query.get("next", HOME)))
    _give(site, response, _Caller(opened, origin))
    return response


def _sign_out(site: _Site) -> Handler:
    async def leave(request: web.Request) -> web.StreamResponse:
        who = request[_CALLER].session
        await _checked_form(site, request, who)
        await site.sessions.close(who)
        response = _see_other(SIGN_IN)
        response.del_cookie(site.sessions.cookie, path="/")
        return response

    return leave


# ---------------------------------------------------------------- what pages load


def _stream(site: _Site) -> Handler:
    async def stream(request: web.Request) -> web.StreamResponse:
        if site.changes.full:
            raise Refused(503, "connections", "Too many consoles are open.", {"Retry-After": "30"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **session.headers()})
        response.headers["X-Accel-Buffering"] = "no"
        await response.prepare(request)
        who = request[_CALLER].session
        try:
            await response.write(b"retry: 3000\n\n")
            async for parts in site.changes.listen():
                if who.until <= site.clock.wall():
                    break
                line = f"data: {json.dumps(sorted(parts))}\n\n" if parts else ": still here\n\n"
                await response.write(line.encode())
        except ConnectionError:
            pass  # the page was closed
        return response

    return stream


def _thumbnail(site: _Site) -> Handler:
    async def thumbnail(request: web.Request) -> web.StreamResponse:
        path = site.bridge.picture_store.find(request.match_info["name"])
        made = path and await site.thumbnails.of(path)
        if made is None:
            raise web.HTTPNotFound(text="There is no such picture.")
        # Its name is its content's for ever.
        return web.Response(
            body=made, content_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400, immutable"}
        )

    return thumbnail


def _drawn(site: _Site, picture: Picture) -> Handler:
    async def show(request: web.Request) -> web.StreamResponse:
        visit = _visit(site, request, request[_CALLER].session)

        async def make() -> bytes:
            return await site.console.draw(await picture(visit))

        try:
            made = await site.drawn.of((request.path, visit.language, *sorted(visit.query.items())), make)
        except WxbridgeError as error:
            raise web.HTTPNotFound(text=str(error)) from None
        return web.Response(
            body=made, content_type=imaging.sniff(made) or "image/png",
            headers={"Cache-Control": f"private, max-age={_DRAWN_FOR:.0f}"},
        )  # fmt: skip

    return _guarded(site, show)


def _as_page(site: _Site, request: web.Request, refused: web.Response) -> web.Response:
    """An error as a page, where somebody looks at it; as it was where a program or a script of ours does."""
    looked_at = "text/html" in request.headers.get("Accept", "") and _BARE not in request.headers
    if not looked_at or request.path.startswith(_FOR_PROGRAMS):
        return refused
    language = _language(site, request)
    t = partial(say_in_console, language)
    sentence = json.loads(refused.text or "{}").get("error", "")
    if request.match_info.http_exception is not None:
        sentence = t("no_page")
    response = aiohttp_jinja2.render_template(
        "error.html", request,
        {"t": t, "language": language, "version": site.version, "problem": sentence, "status": refused.status},
        status=refused.status,
    )  # fmt: skip
    kept = ("Retry-After", "Allow")
    response.headers.extend({name: refused.headers[name] for name in kept if name in refused.headers})
    _finished(response)
    return response


async def _static(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    path = asset(name)
    if not re.fullmatch(r"[a-z0-9-]+\.[a-z]+", name) or path.suffix not in _TYPES or not path.is_file():
        raise web.HTTPNotFound(text="There is no such file.")
    # The address holds the version.
    response = web.Response(
        body=path.read_bytes(), content_type=_TYPES[path.suffix], charset="utf-8",
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )  # fmt: skip
    request[KNOWN] = "console"
    return _finished(response)
