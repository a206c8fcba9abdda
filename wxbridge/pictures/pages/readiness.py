"""When a page is ready to be shot: told by looking at it, never by sleeping for a fixed time.

It is ready when nothing on it is loading (what its Grafana's recipe names, the selector that was asked for), its
collapsed rows are open, its network is quiet, its pictures and fonts are there, and nothing in it changes or is drawn.
How long nothing has to change depends on what the page says of itself: two or three frames where Grafana shows its
panels, longer where a page says nothing. The viewport is grown meanwhile to the height of all that scrolls, so that
panels which load when they are scrolled into view do load.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from wxbridge.core.errors import PictureError, PictureTimeout
from wxbridge.core.text.i18n import language_of, say
from wxbridge.pictures.pages.look import look_at
from wxbridge.pictures.pages.network import LoginPage, PageNetwork
from wxbridge.pictures.pages.scripts import nudge
from wxbridge.pictures.pages.shot import MAX_HEIGHT, Shot

if TYPE_CHECKING:
    from playwright.async_api import Page

log = structlog.get_logger(__name__)

_PAUSE_IN_LOOKS = 2.0
"""Between two looks, in the time that the last one took of the page's own."""
_PAUSE_SECONDS = 0.05
"""Likewise where the page did not answer."""
_PAUSE_FOR_DATA_SECONDS = 0.1
"""Likewise at most, while panels wait for data that are under way: their coming ends it."""
_STILL_SECONDS = 0.03
"""Without a change in two frames, where Grafana's page shows panels and none of them is loading."""
_STILL_SILENT_SECONDS = 0.3
"""Likewise where the page says nothing of what it is doing."""
_STILL_WITHOUT_PANEL_SECONDS = 2.0
"""Until a page of Grafana's without any panel is told to have none."""
_STILL_INCOMPLETE_SECONDS = 3.0
"""Until a panel that stays empty, while all others are there, is given up."""
_STILL_ANIMATED_SECONDS = 3.0
"""Until a page on which something is drawn without end, but nothing else happens, is taken as it is."""
_STILL_BUSY_SECONDS = 1.0
_LONGEST_STEP_SECONDS = 0.1
"""Of the time between two looks that counts as seen: a page that computes does not stand still."""
_QUIET_NETWORK_SHARE = 0.2
"""Of the time, during which a busy network is waited for; then a page that stands still is taken as it is."""
_SILENT_NETWORK_SHARE = 0.5
"""Likewise where a page that says nothing of itself awaits data."""
_INCOMPLETE_SHARE = 0.4
"""Of the time, after which a page is taken without the panels that stay empty."""
_LEADS_ELSEWHERE = frozenset({"", "goto", "dashboard", "dashboard-solo"})
"""The first words of Grafana's addresses that lead to others by themselves."""
_GRAFANAS_OWN = frozenset({"d", "d-solo", "dashboard-solo", "public-dashboards", "goto", "explore"})
"""The first words of addresses below Grafana's own at which nothing but its pages can stand."""
_MAX_GROWTHS = 10
_MAX_NUDGES = 5


@dataclass(frozen=True)
class ReadyPage:
    """A page that is ready."""

    is_quiet: bool
    """Whether its network had become quiet too."""
    missing: tuple[str, ...] = ()
    """The numbers of the panels that stayed empty."""
    images: tuple[str, ...] = ()
    """What the images are called that were still loading, in whose places are holes."""
    recipe: str = ""
    """The name of its Grafana's recipe; empty for other pages."""


class _Viewport:
    """Grows the viewport to the height that the page needs, but does not chase a page that grows with it."""

    def __init__(self, shot: Shot) -> None:
        self._shot = shot
        self._height = 0
        self._times = 0
        self._nudges = 0
        self._before: tuple[int, int] | None = None
        self._done = not shot.is_whole

    async def grow(self, page: Page, seen: dict[str, Any]) -> bool:
        """Grow once where the page is taller than its viewport; tells whether it did, or does not know of it yet."""
        self._height = self._height or int(seen["window"])
        if seen["window"] != self._height:
            return True  # a busy browser tells the page late
        if seen["stiff"] and not self._done:
            # A tall table in a panel, say: start over without it, or the picture would end in empty space.
            self._before = None
            await self._resize(page, self._shot.window_height)
            return True
        needed = min(int(seen["height"]), MAX_HEIGHT)
        if self._done or needed <= self._height:
            return await self._nudge(page, seen)
        overflow = int(seen["height"]) - self._height
        same = self._before is not None and self._before[1] == seen["elements"] and not seen["scrolls"]
        runs_away = same and self._before is not None and overflow >= self._before[0]
        self._before = (overflow, int(seen["elements"]))
        self._times += 1
        if runs_away or self._times > _MAX_GROWTHS:
            # Its height follows the viewport's (150vh): leave the rest to the shot of the whole document.
            self._done = True
            needed = self._shot.window_height
        await self._resize(page, needed)
        return True

    async def _resize(self, page: Page, height: int) -> None:
        self._height, self._nudges = height, 0
        await page.set_viewport_size({"width": self._shot.width, "height": height})

    async def _nudge(self, page: Page, seen: dict[str, Any]) -> bool:
        """Scroll a grid that draws what has come into view only when it is scrolled."""
        if not (seen["scroller"] and seen["empty"]) or self._nudges >= _MAX_NUDGES or not self._shot.is_whole:
            return False
        self._nudges += 1
        await nudge(page, seen["scroller"])
        return True


class _Stillness:
    """For how long, as far as it was seen, the page has stood still, kept its shape, and had a quiet network."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._changes, self._shape, self._events = -1, "", -1
        self.still = self.steady = self.quiet = 0.0

    def add(self, now: float, seen: dict[str, Any], network: PageNetwork, *, touched: bool) -> None:
        """Count the time since the last look; `touched` says that the page was just changed by us."""
        step = min(now - self._now, _LONGEST_STEP_SECONDS)
        same = seen["shape"] == self._shape and not touched and not _has_to_come(seen)
        self.steady = self.steady + step if same else 0.0
        self.still = self.still + step if same and seen["changes"] == self._changes else 0.0
        is_busy = _may_come(seen) or network.pending or network.events != self._events
        self.quiet = 0.0 if is_busy else self.quiet + step
        self._now, self._changes, self._shape, self._events = now, seen["changes"], seen["shape"], network.events

    def suffices(self, seen: dict[str, Any], network: PageNetwork, *, spent: float) -> bool:
        """Whether that is long enough, for what the page says of itself; `spent` is the share of the time that is."""
        says = bool(seen["recipe"]) and not seen["booting"]
        if seen["booting"] and seen["recipe"]:
            needed = _STILL_WITHOUT_PANEL_SECONDS
        elif seen["empty"] and spent < _INCOMPLETE_SHARE:
            needed = _STILL_INCOMPLETE_SECONDS
        else:
            needed = _STILL_SECONDS if says and seen["panels"] else _STILL_SILENT_SECONDS
        is_still = self.still >= needed or self.steady >= max(needed, _STILL_ANIMATED_SECONDS)
        if is_still and self.quiet >= min(needed, _STILL_SILENT_SECONDS):
            return True
        share = _QUIET_NETWORK_SHARE if says or not network.awaits_data else _SILENT_NETWORK_SHARE
        has_patience = spent < share or (seen["booting"] and seen["recipe"])
        return not has_patience and self.steady >= max(needed, _STILL_BUSY_SECONDS)


async def wait_until_ready(page: Page, network: PageNetwork, shot: Shot, *, until: float) -> ReadyPage:
    """Look at a page until it is ready, or until the event loop's time `until`.

    A page with nothing left to load that stands still is taken after a part of the time even while its network
    stays busy (polling, an endless stream); one on which something moves without end, after some seconds.

    Raises:
        LoginPage: a login page came instead.
        PictureError: the page's document or dashboard was refused or cut off (retry for 5xx and for what was cut off),
            it came out at another address, it has no panel, it is none of Grafana's where one of those has to be (no
            retry), a selector is none, or something was still loading in the end (`PictureTimeout`; the sentence names
            it).
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    viewport, stood = _Viewport(shot), _Stillness(began)
    last: dict[str, Any] | None = None
    seen: dict[str, Any] | None = None
    is_told = guess = touched = False
    while clock() < until:
        events = network.events
        last, seen = seen, await look_at(page, shot, until - clock(), guess=guess)
        now = clock()
        network.check(is_grafana=bool((seen or last or {}).get("grafana")))
        if seen is not None:
            _check_page(page, seen, shot)
            if seen["oldKiosk"]:
                await page.goto(page.url.replace("kiosk=tv", "kiosk"), wait_until="commit")
                continue
            if seen["grafana"] and not seen["recipe"] and not is_told:
                is_told = True
                log.warning("browser.unknown_grafana", page=shot.name, version=seen["version"])
            touched = await viewport.grow(page, seen) or seen["opening"] > 0
            stood.add(now, seen, network, touched=touched)
            guess = False
            if stood.suffices(seen, network, spent=(now - began) / (until - began)):
                _check_origin(seen, shot)
                if seen["recipe"]:
                    await _check_arrival(network, seen, shot)
                if seen["booting"] and seen["recipe"]:
                    stood = _Stillness(now)
                elif seen["doubtful"]:
                    guess = True
                else:
                    return ReadyPage(stood.quiet > 0, tuple(seen["empty"]), tuple(seen["images"]), seen["recipe"])
        if seen is not None and network.pending and _has_to_come(seen) and not touched:
            await network.wait_for_event(_PAUSE_FOR_DATA_SECONDS, after=events)
        await asyncio.sleep(_PAUSE_IN_LOOKS * seen["seconds"] if seen else _PAUSE_SECONDS)
    raise PictureTimeout(_describe_loading(seen or last or {}, clock() - began))


async def loads_again(page: Page, shot: Shot, *, until: float) -> bool:
    """Whether a page that was ready is loading something again, so that a picture just taken may show that."""
    seen = await look_at(page, shot, until - asyncio.get_running_loop().time())
    return seen is not None and bool(_has_to_come(seen) or seen["opening"])


def _check_page(page: Page, seen: dict[str, Any], shot: Shot) -> None:
    for selector in seen["wrong"]:
        raise PictureError(f"{selector!r} is no CSS selector")
    asked_for_login = urlsplit(shot.url).path.rstrip("/").endswith("/login")
    came_to_login = seen["path"].rstrip("/").endswith("/login") and not asked_for_login
    # With credentials, Grafana's login form under any path is wrong too.
    if came_to_login or (shot.auth is not None and seen["login"]):
        raise LoginPage(f"a login page came instead ({page.url.partition('?')[0]})")


def _check_origin(seen: dict[str, Any], shot: Shot) -> None:
    """Refuse what stands in the place of Grafana's page and bears no sign of it: a hotel's page, or a proxy's.

    Raises:
        PictureError: no retry.
    """
    if shot.auth is None or seen["grafana"]:
        return
    below = urlsplit(shot.url).path.removeprefix(urlsplit(shot.auth.prefix).path)
    if _first_word(below) in _GRAFANAS_OWN:
        raise PictureError("what answers there is no page of Grafana's: check grafana.url")


async def _check_arrival(network: PageNetwork, seen: dict[str, Any], shot: Shot) -> None:
    """Refuse a page of Grafana's that stands still, but is another than was asked for, or says why it shows no panel.

    Raises:
        PictureError: no retry.
    """
    asked = _first_word(urlsplit(shot.url).path.removeprefix(seen["base"]))
    if asked not in _LEADS_ELSEWHERE and asked != _first_word(seen["path"]):
        raise PictureError(f"Grafana shows {seen['path']} instead: may this account see the page?")
    if seen["booting"]:
        dashboard = None if seen["solo"] else await network.read_dashboard()
        if dashboard is not None and dashboard.title and not dashboard.panels:
            raise PictureError(say("pictures.no_panels", language_of(shot.language)))
        said = " ".join(seen["words"].split())
        if said and not said.startswith("Loading"):
            raise PictureError(f"there is no panel on the page, which says: {said}")


def _first_word(path: str) -> str:
    return path.strip("/").partition("/")[0]


def _has_to_come(seen: dict[str, Any]) -> list[str]:
    """Name what is loading without which there is no picture."""
    named = []
    if seen["loading"]:
        names = ", ".join(name for name in seen["titles"] if name)
        named.append(f"{seen['loading']} panel{'s' if seen['loading'] > 1 else ''}" + (f" ({names})" if names else ""))
    if seen["queries"]:
        named.append(f"{seen['queries']} quer{'ies' if seen['queries'] > 1 else 'y'}")
    return named + [f"the element {selector!r}" for selector in seen["missing"]]


def _may_come(seen: dict[str, Any]) -> bool:
    """Whether something is loading that is waited for with patience only."""
    is_vague = seen["booting"] and not seen["recipe"]
    return bool(is_vague or seen["document"] != "complete" or not seen["fonts"] or seen["images"] or seen["busy"])


def _describe_loading(seen: dict[str, Any], seconds: float) -> str:
    """Describe what there was no picture for: an element that alone is missing is not loading, but there is none."""
    named, missing = (_has_to_come(seen), seen["missing"]) if seen else ([], [])
    if named and len(named) == len(missing):
        if absent := seen["absent"]:
            return f"the element {absent[0]!r} is not on the page after {seconds:.3g} s"
        return f"the element {missing[0]!r} is not visible after {seconds:.3g} s"
    what = ", ".join(named) or "the page"
    if seen and not named:
        what = "the dashboard" if seen["booting"] else "the page, which kept changing,"
    return f"{what} was still loading after {seconds:.3g} s"
