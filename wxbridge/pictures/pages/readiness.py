"""When a page is ready to be shot: told by looking at it, never by sleeping for a fixed time.

A page is looked at every 50 ms. It is ready when nothing on it is loading (Grafana's panels and queries, the
selector that was asked for), its collapsed rows are open, its network is quiet, its pictures and fonts are there,
and it has not changed for 300 ms. The viewport is grown meanwhile to the height of all that scrolls, so that
panels which load when they are scrolled into view do load. What is looked for in Grafana's pages, and what was
measured: shared/facts/rendering.md.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wxbridge.core.errors import PictureError
from wxbridge.pictures.pages.rows import open_rows
from wxbridge.pictures.pages.scripts import SCRIPT_SECONDS, evaluate
from wxbridge.pictures.pages.shot import MAX_HEIGHT, Shot

if TYPE_CHECKING:
    from playwright.async_api import Page, Request, Response

_LOOK_EVERY_SECONDS = 0.05
_STILL_SECONDS = 0.3
_STILL_WHILE_BUSY_SECONDS = 1.0
_QUIET_NETWORK_SHARE = 0.5
"""Of the time, during which a busy network is waited for; then a page that stands still is taken as it is."""
_MAX_GROWTHS = 10
_BACKGROUND_TYPES = frozenset({"eventsource", "websocket", "media", "ping", "beacon", "texttrack", "manifest"})
"""Kinds of requests that say nothing about whether a page has loaded."""
_RETRY_STATUS = frozenset({408, 429, *range(500, 600)})
_BETWEEN_PAGES = ("Execution context was destroyed", "navigat", "Cannot find context", "Frame was detached")

_LOOK = r"""
({waitFor, needed}) => {
  const shown = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
  const near = e => {
    const r = e.getBoundingClientRect();
    return shown(e) && r.top < innerHeight && r.bottom > 0;
  };
  const title = e => {
    const panel = e.closest(
      '[data-testid*="Panel header"], [data-panelid], [data-viz-panel-key], .panel-container, section');
    if (!panel) return '';
    const head = panel.querySelector('h1,h2,h3,h4,h5,h6,[class*="panel-title"]');
    return ((head && head.textContent) || (panel.dataset.testid || '').replace(/^.*Panel header /, '')
      || panel.getAttribute('aria-label') || '').trim().slice(0, 60);
  };
  const asked = selector => {
    try { return [...document.querySelectorAll(selector)].some(shown); } catch (_) { return null; }
  };
  const loading = '[aria-label="Panel loading bar"], .panel-loading, .preloader';
  const bars = [...document.querySelectorAll(loading)].filter(shown);
  const queries = window.__grafanaRunningQueryCount;
  // Before scenes there is no count: every panel has to have something in it; a row's heading is a panel there too.
  const empty = window.__grafanaSceneContext || typeof queries === 'number' ? []
    : [...document.querySelectorAll('[data-panelid]')].filter(p => near(p)
        && !p.querySelector('.dashboard-row, [data-testid*="dashboard-row"]')
        && ![...p.querySelectorAll("[class$='panel-content']")].some(c => c.childElementCount));
  const dashboard = !!window.grafanaBootData && /\/d(-solo)?\//.test(location.pathname);
  const images = [...document.images].filter(i => !i.complete && near(i));
  const tall = Math.max(...[document.documentElement, document.body].map(e => e ? e.scrollHeight : 0));
  let height = tall, most = 0, stiff = 0;
  const all = document.getElementsByTagName('*');
  const sizes = window.__wxbridgeSizes = window.__wxbridgeSizes || new WeakMap();
  for (const e of all) {
    const hidden = e.scrollHeight - e.clientHeight;
    if (hidden <= 1 || e === document.documentElement || e === document.body) continue;
    if (!sizes.has(e)) {
      // What takes up most of the window; a smaller one is a list or a table, not the page.
      if (e.clientHeight < innerHeight / 2 || e.clientWidth < innerWidth * 0.4) continue;
      if (!/auto|scroll|overlay/.test(getComputedStyle(e).overflowY)) continue;
      sizes.set(e, {window: innerHeight, own: e.clientHeight, stiff: false});
    }
    const size = sizes.get(e);
    if (!size.stiff && innerHeight > size.window && e.clientHeight <= size.own) {
      size.stiff = true;    // it does not grow with the window: growing was in vain
      stiff += 1;
    }
    if (size.stiff || hidden <= most) continue;
    most = hidden;
    height = Math.max(tall, e.scrollHeight + innerHeight - e.clientHeight);
  }
  return {
    path: location.pathname,
    login: ['user', 'password'].every(name => document.querySelector(`input[name="${name}"]`)),
    panels: [...new Set(bars.concat(empty).map(title))], loading: bars.length + empty.length,
    queries: typeof queries === 'number' ? queries : 0,
    missing: [waitFor, needed].filter(s => s && asked(s) === false),
    wrong: [waitFor, needed].filter(s => s && asked(s) === null),
    booting: dashboard && !window.__grafanaSceneContext
      && !document.querySelector('[data-panelid], [data-viz-panel-key], .panel-container, .react-grid-item'),
    document: document.readyState, fonts: !document.fonts || document.fonts.status === 'loaded',
    rows: !!window.grafanaBootData && !!document.querySelector('[data-testid*="dashboard-row-t"]'),
    images: images.length, busy: [...document.querySelectorAll('[aria-busy="true"]')].filter(near).length,
    height, stiff, scrolls: most > 1, elements: all.length,
    look: [tall, height, all.length, (document.body ? document.body.textContent.length : 0),
    innerHeight].join()
  };
}
"""


class LoginPage(PictureError):
    """The page that was asked for is behind a login, and the login page came instead."""


@dataclass
class PageNetwork:
    """What a page's network is doing, listened to from before the first request."""

    must_succeed: str | None = None
    pending: set[Request] = field(default_factory=set)
    started: int = 0
    status: int = 0
    """The HTTP status of the page's own document, the last one where it navigated."""
    refused: tuple[int, str] | None = None
    """Status and address of the first request below `must_succeed` that was not answered well."""

    def attach(self, page: Page) -> None:
        """Listen to a page's requests."""
        page.on("request", self._on_request)
        page.on("requestfinished", lambda request: self.pending.discard(request))  # noqa: PLW0108 - needs a function
        page.on("requestfailed", lambda request: self.pending.discard(request))  # noqa: PLW0108 - as above
        page.on("response", lambda response: self._on_response(page, response))

    def _on_request(self, request: Request) -> None:
        if request.resource_type not in _BACKGROUND_TYPES:
            self.started += 1
            self.pending.add(request)

    def _on_response(self, page: Page, response: Response) -> None:
        request = response.request
        if request.is_navigation_request():
            if request.frame == page.main_frame:
                self.status = response.status
        elif (
            self.must_succeed
            and self.refused is None
            and response.status >= 400  # noqa: PLR2004 - HTTP
            and re.search(self.must_succeed, response.url)
        ):
            self.refused = (response.status, response.url)


class _Viewport:
    """Grows the viewport to the height that the page needs, but does not chase a page that grows with it."""

    def __init__(self, shot: Shot) -> None:
        self._shot = shot
        self._height = shot.height
        self._times = 0
        self._before: tuple[int, int] | None = None
        self._done = not shot.full_page

    async def grow(self, page: Page, seen: dict[str, Any]) -> bool:
        """Grow once where the page is taller than its viewport; tells whether it did."""
        if seen["stiff"] and not self._done:
            # A tall table in a panel, say: start over without it, or the picture would end in empty space.
            self._height, self._before = self._shot.height, None
            await self._resize(page)
            return True
        needed = min(int(seen["height"]), MAX_HEIGHT)
        if self._done or needed <= self._height:
            return False
        overflow = int(seen["height"]) - self._height
        same = self._before is not None and self._before[1] == seen["elements"] and not seen["scrolls"]
        runs_away = same and self._before is not None and overflow >= self._before[0]
        self._before = (overflow, int(seen["elements"]))
        self._times += 1
        if runs_away or self._times > _MAX_GROWTHS:
            # Its height follows the viewport's (150vh): leave the rest to the shot of the whole document.
            self._done = True
            needed = self._shot.height
        self._height = needed
        await self._resize(page)
        return True

    async def _resize(self, page: Page) -> None:
        await page.set_viewport_size({"width": self._shot.width, "height": self._height})


async def wait_until_ready(page: Page, network: PageNetwork, shot: Shot, *, until: float) -> bool:
    """Look at a page until it is ready, or until the event loop's time `until`.

    A page with nothing left to load that stands still is taken after half of the time even while its network
    stays busy (polling, an endless stream).

    Returns:
        Whether the network had become quiet too.

    Raises:
        LoginPage: a login page came instead.
        PictureError: the page's document or a request that has to succeed was refused (retry for 5xx), a selector
            is none, or something was still loading in the end (retry; the sentence names it).
    """
    clock = asyncio.get_running_loop().time
    patience = clock() + (until - clock()) * _QUIET_NETWORK_SHARE
    viewport = _Viewport(shot)
    looks, still_since, quiet_since, started = "", clock(), clock(), -1
    hard: list[str] = ["the page"]
    while clock() < until:
        _check_network(network)
        seen = await _look(page, shot, until - clock())
        now = clock()
        if seen is not None:
            _check_page(page, seen, shot)
            grown = await viewport.grow(page, seen)
            hard, soft = _list_loading(seen)
            opening = await _open_rows(page, seen, shot, now)
            if grown or hard or opening or seen["look"] != looks:
                looks, still_since = seen["look"], now
            if soft or network.pending or network.started != started:
                quiet_since, started = now, network.started
            quiet = now - still_since >= _STILL_SECONDS and now - quiet_since >= _STILL_SECONDS
            if quiet or (now >= patience and now - still_since >= _STILL_WHILE_BUSY_SECONDS):
                if not await _open_rows(page, seen, shot, now, guess=True):
                    return quiet
                still_since = now
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    _check_network(network)
    what = ", ".join(hard) if hard else "the page, which kept changing,"
    raise PictureError(f"{what} was still loading", retry=True)


async def _open_rows(page: Page, seen: dict[str, Any], shot: Shot, now: float, *, guess: bool = False) -> bool:
    """Open the collapsed rows of a dashboard, where it has rows; tells whether one is being opened."""
    from playwright.async_api import Error

    if not shot.expand or not seen["rows"]:
        return False
    try:
        return await open_rows(page, now, guess=guess)
    except TimeoutError:
        return True
    except Error as error:
        if any(text in error.message for text in _BETWEEN_PAGES):
            return True
        raise


async def _look(page: Page, shot: Shot, left: float) -> dict[str, Any] | None:
    from playwright.async_api import Error

    try:
        seen: dict[str, Any] = await evaluate(
            page,
            _LOOK,
            {"waitFor": shot.wait_for, "needed": shot.selector},
            limit=max(0.05, min(SCRIPT_SECONDS, left)),
        )
    except TimeoutError:
        return None
    except Error as error:
        if any(text in error.message for text in _BETWEEN_PAGES):
            return None
        raise
    return seen


def _check_network(network: PageNetwork) -> None:
    if network.refused is not None:
        raise refusal_of(*network.refused)
    if network.status >= 400:  # noqa: PLR2004 - HTTP
        raise refusal_of(network.status, "the page")


def refusal_of(status: int, what: str) -> PictureError:
    """The error for an HTTP status ≥ 400: 401 is a `LoginPage`; 408, 429 and 5xx are worth a retry."""
    what = what.partition("?")[0]
    if status == 401:  # noqa: PLR2004 - HTTP
        return LoginPage(f"{what} wants a login (HTTP 401)")
    hint = {403: ": this account may not see it", 404: ": there is no such page"}.get(status, "")
    return PictureError(f"{what} was answered with HTTP {status}{hint}", retry=status in _RETRY_STATUS)


def _check_page(page: Page, seen: dict[str, Any], shot: Shot) -> None:
    for selector in seen["wrong"]:
        raise PictureError(f"{selector!r} is no CSS selector")
    asked_for_login = urlsplit(shot.url).path.rstrip("/").endswith("/login")
    came_to_login = seen["path"].rstrip("/").endswith("/login") and not asked_for_login
    # With credentials, Grafana's login form under any path is wrong too.
    if came_to_login or (shot.auth is not None and seen["login"]):
        raise LoginPage(f"a login page came instead ({page.url.partition('?')[0]})")


def _list_loading(seen: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Name what is loading: what has to be there, and what is waited for with patience only."""
    hard = []
    if seen["loading"]:
        names = ", ".join(name for name in seen["panels"] if name)
        hard.append(f"{seen['loading']} panel{'s' if seen['loading'] > 1 else ''}" + (f" ({names})" if names else ""))
    if seen["queries"]:
        hard.append(f"{seen['queries']} quer{'ies' if seen['queries'] > 1 else 'y'}")
    hard += [f"the element {selector!r}" for selector in seen["missing"]]
    soft = []
    if seen["booting"]:
        soft.append("the dashboard")
    if seen["document"] != "complete":
        soft.append("the document")
    if not seen["fonts"]:
        soft.append("fonts")
    if seen["images"]:
        soft.append("images")
    if seen["busy"]:
        soft.append("busy elements")
    return hard, soft
