"""Lets people into the console: sessions, tokens that are shown, signing in and out, forms that may change things."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import structlog
from aiohttp import BodyPartReader, web

from wxbridge.core.audit import AuditAction, AuditDoor
from wxbridge.core.errors import BadBody
from wxbridge.web.auth import count_wrong_token, read_tokens
from wxbridge.web.console.page import HOME, ConsoleForm, local_path, say_in_console
from wxbridge.web.console.session import SESSION_SECONDS, ConsoleRole, ConsoleSession
from wxbridge.web.console.site import FRAGMENT, SITE, ConsoleSite, add_headers, see_other
from wxbridge.web.origin import RequestOrigin, is_known_host, is_own_page, read_origin
from wxbridge.web.responses import CALLER, Handler, RequestRefused

log = structlog.get_logger()

SIGN_IN = "/console/sign-in"
SIGN_OUT = "/console/sign-out"
MAX_PICTURE_BYTES = 20 * 1024 * 1024
"""Of one that is sent from here."""
MAX_FORM_FIELDS = 50
_FOR_ADMINS = ("/console/login/", "/console/configuration/")
"""What concerns the bridge itself, not what it carries."""


def is_browser(request: web.Request) -> bool:
    """Whether somebody looks, and not a program."""
    return request.method in ("GET", "HEAD") and "text/html" in request.headers.get("Accept", "")


@dataclass(frozen=True)
class ConsoleCaller:
    """Who asks, and through what. `is_fresh` is a session that its cookie has yet to be told of."""

    session: ConsoleSession
    origin: RequestOrigin
    is_fresh: bool = False


CONSOLE_CALLER = web.RequestKey("console_caller", ConsoleCaller)


def guarded(handler: Handler) -> Handler:
    """Let in who has a session; send a browser to the page where one is opened. Every answer gets our headers."""

    async def check(request: web.Request) -> web.StreamResponse:
        site = request.app[SITE]
        await site.sessions.load_key()
        caller = _find_caller(site, request, _check_origin(site, request))
        if isinstance(caller, web.StreamResponse):
            return add_headers(caller)
        owner = caller.session.owner
        request[CALLER], request[CONSOLE_CALLER] = owner or f"console {caller.session.role}", caller
        response = await handler(request)
        if caller.is_fresh:
            _set_cookie(site, response, caller)
        return add_headers(response)

    return check


def unguarded(handler: Callable[[web.Request, RequestOrigin], Awaitable[web.StreamResponse]]) -> Handler:
    """Let in everybody. Every answer gets our headers."""

    async def check(request: web.Request) -> web.StreamResponse:
        site = request.app[SITE]
        await site.sessions.load_key()
        origin = _check_origin(site, request)
        request[CALLER] = "console"
        return add_headers(await handler(request, origin))

    return check


def _check_origin(site: ConsoleSite, request: web.Request) -> RequestOrigin:
    origin = read_origin(request, site.tokens.proxies)
    if site.tokens.is_open and not is_known_host(origin):
        raise RequestRefused(
            403, "host",
            "Without a token this console answers on this machine only, by the name localhost. "
            "Set `server.token` to use it by another.",
        )  # fmt: skip
    if request.method not in ("GET", "HEAD") and not is_own_page(request, origin):
        raise RequestRefused(403, "cross_site", "Another site's page may not do this.")
    return origin


def _find_caller(site: ConsoleSite, request: web.Request, origin: RequestOrigin) -> ConsoleCaller | web.StreamResponse:
    found = site.sessions.read(request)
    if found is not None:
        return ConsoleCaller(found, origin)
    if site.tokens.is_open:
        return ConsoleCaller(site.sessions.open(ConsoleRole.OPEN), origin, is_fresh=True)
    shown = read_tokens(request)
    if shown and (opened := _find_role(site, request, shown)):
        # A program: what it shows lets it look. Forms need a cookie, as browsers show passwords by themselves.
        caller = ConsoleCaller(site.sessions.open(*opened), origin)
        if is_browser(request) and "token" in request.query:
            # So that the token does not stay in the address.
            response = see_other(_without_token(request))
            _set_cookie(site, response, caller)
            return response
        return caller
    if is_browser(request) and FRAGMENT not in request.headers:
        return see_other(f"{SIGN_IN}?{urlencode({'next': local_path(_without_token(request))})}")
    raise RequestRefused(
        401, "unauthorised",
        "The token is missing or wrong. Open / in a browser to sign in, or send it as `Authorization: Bearer TOKEN`.",
        {"WWW-Authenticate": 'Basic realm="wxbridge", charset="UTF-8"'},
    )  # fmt: skip


def _find_role(site: ConsoleSite, request: web.Request, shown: Sequence[str]) -> tuple[ConsoleRole, str] | None:
    """Find what tokens open, and whose; count where that is nothing.

    Raises:
        RequestRefused: too many were wrong.
    """
    opened = next((opened for each in shown if (opened := site.tokens.find(each))), None)
    if opened is None:
        count_wrong_token(request)
    return opened


def _without_token(request: web.Request) -> str:
    return str(request.rel_url.with_query([pair for pair in request.query.items() if pair[0] != "token"]))


def _set_cookie(site: ConsoleSite, response: web.StreamResponse, caller: ConsoleCaller) -> None:
    response.set_cookie(
        site.sessions.cookie, site.sessions.write(caller.session),
        httponly=True, samesite="Strict", secure=caller.origin.secure, path="/",
        max_age=int(SESSION_SECONDS),
    )  # fmt: skip


# ---------------------------------------------------------------- in and out


async def show_sign_in(request: web.Request, _origin: RequestOrigin) -> web.StreamResponse:
    """Show where a token is entered."""
    site = request.app[SITE]
    if site.tokens.is_open or site.sessions.read(request):
        return see_other(local_path(request.query.get("next", HOME)))
    return _render_sign_in(request)


async def sign_in(request: web.Request, origin: RequestOrigin) -> web.StreamResponse:
    """Open a session for a token."""
    site = request.app[SITE]
    shown = str((await request.post()).get("token", "")).strip()
    try:
        opened = None if site.tokens.is_open else _find_role(site, request, [shown])
    except RequestRefused as error:
        seconds = (error.headers or {})["Retry-After"]
        response = _render_sign_in(request, 429, "sign_in.too_many", seconds=seconds)
        response.headers["Retry-After"] = seconds
        return response
    if opened is None:
        return _render_sign_in(request, 401, "sign_in.wrong")
    role, owner = opened
    log.info("somebody signed in to the console", address=origin.address, role=role.value, by=owner or None)
    name = owner or "console"
    await site.services.audit.record(AuditAction.SIGNED_IN, origin.address, by=name, via=AuditDoor.CONSOLE)
    response = see_other(local_path(request.query.get("next", HOME)))
    _set_cookie(site, response, ConsoleCaller(site.sessions.open(role, owner), origin))
    return response


def _render_sign_in(request: web.Request, status: int = 200, problem: str = "", **fields: object) -> web.Response:
    site = request.app[SITE]
    words = say_in_console(site.choose_language(request), problem, **fields) if problem else ""
    after = local_path(request.query.get("next", HOME))
    return site.render_outside(request, "sign-in.html", {"problem": words, "next": after}, status)


async def sign_out(request: web.Request) -> web.StreamResponse:
    """End a session."""
    site, session = request.app[SITE], request[CONSOLE_CALLER].session
    await read_form(request)
    await site.sessions.close(session)
    response = see_other(SIGN_IN)
    response.del_cookie(site.sessions.cookie, path="/")
    return response


# ---------------------------------------------------------------- forms


async def read_form(request: web.Request) -> ConsoleForm:
    """Read the form of somebody who may change things. Raises `RequestRefused`, `BadBody`."""
    sessions, session = request.app[SITE].sessions, request[CONSOLE_CALLER].session
    form = await _read_fields(request)
    if sessions.read(request) is None or not sessions.is_form_secret(session, form.fields.get("csrf", "")):
        raise RequestRefused(403, "csrf", "This form is out of date. Go back, load the page again, and repeat.")
    if not session.may_change and request.path != SIGN_OUT:
        raise RequestRefused(403, "read_only", "This session may only look: it was opened with `server.read_token`.")
    if session.role is ConsoleRole.OPERATE and request.path.startswith(_FOR_ADMINS):
        raise RequestRefused(403, "role", "This takes the role admin; the token that opened this session has operate.")
    if session.owner:
        form = replace(form, fields={**form.fields, "by": session.owner})
    return form


async def _read_fields(request: web.Request) -> ConsoleForm:
    try:
        if request.content_type != "multipart/form-data":
            fields = await request.post()
            lists = {name: [each for each in fields.getall(name) if isinstance(each, str)] for name in fields}
            return ConsoleForm({name: some[-1] for name, some in lists.items() if some}, lists=lists)
        texts: dict[str, str] = {}
        picture = None
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.name or len(texts) > MAX_FORM_FIELDS:
                raise BadBody("The form cannot be read.")
            content = bytes(await part.read(decode=True))
            if part.filename is not None:
                picture = content or picture
            else:
                texts[part.name] = content.decode()
    except (ValueError, LookupError, RuntimeError, web.RequestPayloadError) as error:
        raise BadBody(f"The form cannot be read: {error}") from None
    if picture is not None and len(picture) > MAX_PICTURE_BYTES:
        raise BadBody("The picture is too large.")
    return ConsoleForm(texts, picture)
