"""What answering a request of the console needs, and how a page is put together."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from aiohttp import web

import wxbridge
from wxbridge.core.clock import SystemClock
from wxbridge.core.recent import RecentDict
from wxbridge.core.text.i18n import LANGUAGES, Language
from wxbridge.core.ttl_cache import TTLCache
from wxbridge.web.console.events import ChangeFeed
from wxbridge.web.console.page import ConsoleMemory, PageVisit, asset_path, say_in_console
from wxbridge.web.console.session import HEADERS, ConsoleSession, ConsoleTokens, SessionStore
from wxbridge.web.console.signs import draw_signs
from wxbridge.web.origin import read_origin
from wxbridge.web.services import WebServices

MAX_VALUE_CHARS = 2000
"""Of a value in an address."""
MAX_FLASHES = 500
"""Sessions for which a sentence is kept until their next page."""
MAX_PICTURES = 40
"""Drawn for pages, some 50 kB each, which are kept in memory."""
PICTURE_TTL_SECONDS = 120.0
MAX_THUMBNAILS = 200
"""Kept in memory, some 20 kB each."""
MAX_TEMPLATES = 100
"""More than there are."""
_AROUND = ("layout.html", "bare.html", "parts.html", "badges.html", "lamps.html", "look.html", "flash.html")
"""The templates that pages share."""
LANGUAGE_COOKIE, THEME_COOKIE = "wxbridge-language", "wxbridge-theme"
"""What somebody chose in a browser; it is no secret."""
THEMES = ("light", "dark")
FRAGMENT = "X-Fragment"
"""The header of a request for a page without what is around it."""


@dataclass(frozen=True)
class Flash:
    """A sentence that the next page says, and whether it went well."""

    text: str
    good: bool
    typed: Mapping[str, str] = field(default_factory=dict)
    """What somebody typed, where it could not be done and the form is shown again."""


@dataclass(frozen=True)
class ConsoleSite:
    """Everything that answering a request needs."""

    services: WebServices
    tokens: ConsoleTokens
    sessions: SessionStore
    changes: ChangeFeed
    clock: SystemClock
    version: str
    """Changes with every file that browsers keep."""
    memory: ConsoleMemory = field(default_factory=ConsoleMemory)
    pictures: TTLCache[bytes] = field(
        default_factory=lambda: TTLCache(PICTURE_TTL_SECONDS, MAX_PICTURES, max_at_once=2)
    )
    thumbnails: TTLCache[bytes | None] = field(
        default_factory=lambda: TTLCache(math.inf, MAX_THUMBNAILS, max_at_once=2)
    )
    compiled: TTLCache[None] = field(default_factory=lambda: TTLCache(math.inf, MAX_TEMPLATES))
    """By the template's name, that it is."""
    flashes: RecentDict[str, Flash] = field(default_factory=lambda: RecentDict(MAX_FLASHES))
    """What the next page says, by session."""

    def choose_language(self, request: web.Request) -> Language:
        """Choose what was chosen in this browser, what it would rather read, or what the configuration says."""
        chosen = next((each for each in LANGUAGES if each == request.cookies.get(LANGUAGE_COOKIE)), None)
        if chosen is not None:
            return chosen
        best, best_weight = self.services.state.config.language, 0.0
        for part in request.headers.get("Accept-Language", "")[:500].split(","):
            name, _, weight = part.partition(";q=")
            language = next((each for each in LANGUAGES if name.strip().lower().startswith(each)), None)
            try:
                value = float(weight) if weight else 1.0
            except ValueError:
                continue
            if language is not None and value > best_weight:
                best, best_weight = language, value
        return best

    def choose_theme(self, request: web.Request) -> str:
        """Give what was chosen in this browser: `light` or `dark`; empty for as its system has it."""
        chosen = request.cookies.get(THEME_COOKIE, "")
        return chosen if chosen in THEMES else ""

    def visit(self, request: web.Request, session: ConsoleSession) -> PageVisit:
        """Make what a page is asked with."""
        query = {name: value[:MAX_VALUE_CHARS] for name, value in request.query.items()}
        origin = read_origin(request, self.tokens.proxies)
        lists = {name: [value[:MAX_VALUE_CHARS] for value in request.query.getall(name)] for name in query}
        return PageVisit(
            self.services, self.memory, session, self.choose_language(request), self.clock.wall(), query, lists,
            f"{'https' if origin.secure else 'http'}://{origin.host}",
        )  # fmt: skip

    def render_outside(
        self, request: web.Request, template: str, shown: Mapping[str, Any], status: int = 200
    ) -> web.Response:
        """Render a page for which nobody need be signed in."""
        language = self.choose_language(request)

        def translate(key: str, **fields: object) -> str:
            return say_in_console(language, key, **fields)

        context = {
            "t": translate, "language": language, "theme": self.choose_theme(request), "version": self.version, **shown,
        }  # fmt: skip
        return self.render(template, context, status)

    async def compile_template(self, name: str) -> None:
        """Compile a page's template with what is around it, in a thread; only once."""
        await self.compiled.get_or_create(name, partial(asyncio.to_thread, self._compile, name))

    def _compile(self, name: str) -> None:
        for each in (name, *_AROUND):
            self._templates.get_template(each)

    def render(self, template: str, shown: Mapping[str, Any], status: int = 200) -> web.Response:
        """Fill a template of the console."""
        text = self._templates.get_template(template).render(shown)
        return web.Response(text=text, content_type="text/html", charset="utf-8", status=status)

    @cached_property
    def _templates(self) -> Any:
        import jinja2  # when somebody looks

        templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True,
            trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        )  # fmt: skip
        templates.filters["signs"] = draw_signs
        return templates


SITE = web.AppKey("site", ConsoleSite)
"""Where an application keeps its console."""


def compute_version() -> str:
    """Compute what changes with every file that browsers keep."""
    digest = hashlib.sha256(wxbridge.__version__.encode())
    for path in sorted(asset_path("").iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def see_other(path: str) -> web.Response:
    """Lead a browser to another page of ours."""
    return web.Response(status=303, headers={"Location": path})


def add_headers(response: web.StreamResponse) -> web.StreamResponse:
    """Add what every answer of the console says."""
    if not response.prepared:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
    return response
