"""From an empty page of the browser to the bytes of its picture: credentials, loading, waiting, shooting."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import structlog

from wxbridge.core import imaging
from wxbridge.core.credentials import SiteCredentials
from wxbridge.core.errors import NothingToDraw, PictureError
from wxbridge.pictures.pages.grafana import RECIPES, find_recipe
from wxbridge.pictures.pages.network import PageNetwork, refusal_of
from wxbridge.pictures.pages.parts import NO_MARKS, PageMarks, embed_marks, join_pictures
from wxbridge.pictures.pages.readiness import ReadyPage, loads_again, wait_until_ready
from wxbridge.pictures.pages.rows import locate_marks
from wxbridge.pictures.pages.scripts import PAGE_SCRIPT, find_box, measure_extent, read_panel, read_tooltip, settle
from wxbridge.pictures.pages.shot import MAX_HEIGHT, Shot
from wxbridge.pictures.pages.tabs import MAX_TABS, list_tabs, select_tab

if TYPE_CHECKING:
    from playwright.async_api import Browser as Chromium
    from playwright.async_api import BrowserContext, Error, FloatRect, Page

log = structlog.get_logger(__name__)

MAX_OUTPUT_PIXELS = 64_000_000
"""The most pixels of one shot, width × height × scale²; what is below is cut off."""

_BLANK_PATIENCE_SECONDS = 5.0
"""During which a blank page is looked at again: it may draw itself late."""
_BLANK_LOOK_EVERY_SECONDS = 0.25
_MAX_RETAKES = 3
"""Of a picture of a page that loads again while it is taken; one that does so without end is taken as it is."""
_RESERVE_SECONDS = 5.0
"""Of the deadline (at most a fifth of it) that are kept for taking the picture."""
_NO_DATA = re.compile(
    r"(no data( [a-z ]{1,40})?|data outside time range|data is missing .*|(无|没有|暂无)数据)\.?",
    re.IGNORECASE,
)
"""What a panel without data says, and nothing else."""
_PASSING_NET_ERRORS = (
    "NAME_NOT_RESOLVED", "NAME_RESOLUTION_FAILED", "CONNECTION_", "ADDRESS_UNREACHABLE",
    "INTERNET_DISCONNECTED",
    "EMPTY_RESPONSE", "NETWORK_", "TIMED_OUT", "SOCKET_", "HTTP2_", "INCOMPLETE_", "CONTENT_LENGTH",
)  # fmt: skip
_NET_ERROR_TEXTS = {
    "NAME_NOT_RESOLVED": "its host name cannot be resolved",
    "CONNECTION_REFUSED": "the connection was refused: nothing listens there",
    "CONNECTION_RESET": "the connection was reset",
    "CONNECTION_TIMED_OUT": "the connection timed out",
    "ADDRESS_UNREACHABLE": "its address cannot be reached",
    "EMPTY_RESPONSE": "the server closed the connection without an answer",
    "TOO_MANY_REDIRECTS": "it redirects in circles",
    "ABORTED": "it is a download, no page",
    "UNSAFE_PORT": "browsers refuse that port",
}


@dataclass
class ShotProgress:
    """How far a shot has come."""

    until: float
    """The event loop's time at which it is given up."""
    doing: str = "waiting for a free place in the browser"
    """For the error, should time run out: `waiting for the page to load`."""


class Capture:
    """From an empty page to the bytes of its picture."""

    def __init__(self, page: Page, shot: Shot, progress: ShotProgress) -> None:
        self._page = page
        self._shot = shot
        self._progress = progress
        self._until = progress.until
        self._network = PageNetwork(shot.url)
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._ready = ReadyPage(is_quiet=True)

    async def take(self) -> bytes:
        """Load, wait, shoot; what the page lacks is told in the picture's marks."""
        page, shot = self._page, self._shot
        self._network.attach(page)
        if shot.auth and shot.auth.headers:
            await _send_headers(page, shot.auth)
        await self._load()
        pieces = [await self._shoot_ready()]
        missing = await self._name_missing()
        if self._ready.recipe == RECIPES[-1].name and shot.is_whole and shot.expand and not shot.selector:
            missing += await self._shoot_tabs(pieces)
        png, marks = pieces[0] if len(pieces) == 1 else await asyncio.to_thread(join_pictures, pieces)
        png = await asyncio.to_thread(imaging.fit, png, shot.max_bytes)
        if missing:
            log.warning("browser.missing", page=shot.name, titles=missing)
        return embed_marks(png, replace(marks if shot.marks else NO_MARKS, missing=tuple(dict.fromkeys(missing))))

    async def _shoot_ready(self, tab: str | None = None) -> tuple[bytes, PageMarks]:
        """Wait and shoot; again where the page loads again meanwhile, and for a while where the picture is blank."""
        shot = self._shot
        patience: float | None = None
        retakes = 0
        while True:
            await self._wait()
            if shot.needs_data:
                await self._check_panel()
            self._progress.doing = "taking the picture"
            png, marks = await self._screenshot(tab)
            is_blank, is_early = await asyncio.gather(
                asyncio.to_thread(imaging.is_blank, png, shot.name), loads_again(self._page, shot, until=self._ready_by)
            )
            if is_early and retakes < _MAX_RETAKES:
                retakes += 1
                continue
            if not is_blank:
                return png, marks
            now = self._clock()
            patience = patience or min(now + _BLANK_PATIENCE_SECONDS, self._ready_by)
            if now >= patience:
                raise PictureError(f"{shot.name} came out blank: there is nothing on the page", retry=True)
            await asyncio.sleep(_BLANK_LOOK_EVERY_SECONDS)

    @property
    def _ready_by(self) -> float:
        return self._until - min(_RESERVE_SECONDS, self._shot.deadline / 5)

    async def _load(self) -> None:
        self._progress.doing = "waiting for the page's server to answer"
        left = max(1.0, (self._until - self._clock()) * 1000 + 1000)  # our own deadline comes first
        response = await self._page.goto(self._shot.url, wait_until="commit", timeout=left)
        if response is not None and response.status >= 400:  # noqa: PLR2004 - HTTP
            raise refusal_of(response.status, self._shot.name)

    async def _wait(self) -> None:
        shot = self._shot
        self._progress.doing = "waiting for the page to load"
        try:
            self._ready = await wait_until_ready(self._page, self._network, shot, until=self._ready_by)
        except PictureError as error:
            error.args = (f"{shot.name}: {error}",)
            raise
        if not self._ready.is_quiet:
            log.info("browser.busy_page", page=shot.name)

    async def _check_panel(self) -> None:
        """Refuse a panel that says that it has no data, or that its query failed.

        Raises:
            NothingToDraw: there is no data.
            PictureError: the query failed; the sentence says why.
        """
        recipe = find_recipe(self._ready.recipe)
        if recipe is None:
            return
        seen = await read_panel(self._page, recipe)
        if seen["failed"]:
            why = await self._network.read_query_error() or await read_tooltip(self._page, recipe.error)
            raise PictureError("the panel shows an error" + (f": {why}" if why else ""))
        if seen["noData"] or _NO_DATA.fullmatch(seen["words"]):
            raise NothingToDraw("Grafana's panel has no data")

    async def _name_missing(self) -> list[str]:
        """Give the titles of the panels that stayed empty, and the names of the images that did not come."""
        images = list(self._ready.images)
        if not self._ready.missing:
            return images
        dashboard = await self._network.read_dashboard()
        titles = {str(panel.id): panel.title for panel in dashboard.panels} if dashboard else {}
        return [*(titles.get(number) or f"panel {number}".strip() for number in self._ready.missing), *images]

    async def _shoot_tabs(self, pieces: list[tuple[bytes, PageMarks]]) -> list[str]:
        """Shoot what stands below each tab that is not chosen; gives the titles of those that cannot be."""
        done: set[str] = set()
        missing: list[str] = []
        while True:
            tabs = await list_tabs(self._page)
            done |= {tab.key for tab in tabs if tab.is_selected}
            # Tabs within a tab stand behind it, and go with it.
            left = [tab for tab in reversed(tabs) if tab.key not in done]
            if not left:
                return missing
            chosen = next(tab for tab in tabs if tab.group == left[0].group and tab.key not in done)
            done.add(chosen.key)
            self._progress.doing = f"opening the tab {chosen.title}"
            if len(done) <= MAX_TABS and await select_tab(self._page, chosen):
                pieces.append(await self._shoot_ready(chosen.key))
                missing += await self._name_missing()
            else:
                missing.append(chosen.title)

    async def _screenshot(self, tab: str | None) -> tuple[bytes, PageMarks]:
        shot = self._shot
        await settle(self._page)
        clip = await self._clip(tab)
        marks = await self._marks(clip) if shot.marks else NO_MARKS
        png = await self._page.screenshot(
            type="png",
            full_page=shot.is_whole or clip is not None,
            clip=clip,
            animations="disabled",
            scale="device",
            timeout=max(1.0, (self._until - self._clock()) * 1000 + 1000),
        )
        return png, marks

    async def _marks(self, clip: FloatRect | None) -> PageMarks:
        """Where the picture may be cut."""
        if clip is not None:
            return await locate_marks(self._page, clip["y"], clip["height"])
        window = self._page.viewport_size
        tall = await measure_extent(self._page) if self._shot.is_whole else 0
        return await locate_marks(self._page, 0, max(tall, window["height"] if window else 0))

    async def _clip(self, tab: str | None) -> FloatRect | None:
        """The part to shoot: what was asked for, below a tab, or of the page what is not too tall."""
        shot = self._shot
        most = int(min(MAX_HEIGHT, MAX_OUTPUT_PIXELS / (shot.width * shot.scale**2)))
        if shot.selector:
            box = await find_box(self._page, shot.selector)
            if box is None or box["width"] < 1 or box["height"] < 1:
                raise PictureError(f"{shot.name}: the element {shot.selector!r} is not visible", retry=True)
            return {"x": box["x"], "y": box["y"], "width": box["width"], "height": min(box["height"], most)}
        if tab is not None:
            shown = next(each for each in await list_tabs(self._page) if each.key == tab)
            return {"x": 0, "y": shown.top, "width": shot.width, "height": min(shown.bottom - shown.top, most)}
        tall = await self._measure_height()
        window = self._page.viewport_size
        if tall <= most and window is not None and tall >= window["height"]:
            return None
        if tall <= most:  # it was taller while it loaded
            return {"x": 0, "y": 0, "width": shot.width, "height": tall}
        log.warning("browser.page_cut", page=shot.name, height=tall, kept=most)
        return {"x": 0, "y": 0, "width": shot.width, "height": most}

    async def _measure_height(self) -> int:
        """How tall the picture is, in CSS pixels: a dashboard's ends with its panels where nobody chose a height."""
        shot = self._shot
        if not shot.is_whole:
            return shot.window_height
        recipe = find_recipe(self._ready.recipe)
        if recipe is not None and shot.height is None:
            return await measure_extent(self._page, f"{recipe.item}, {recipe.drawn}")
        return max(shot.window_height, await measure_extent(self._page))


async def open_context(chromium: Chromium, shot: Shot) -> BrowserContext:
    """Open a context of its own for a shot: window, time zone, language, theme, script, cookies."""
    context = await chromium.new_context(
        viewport={"width": shot.width, "height": shot.window_height},
        device_scale_factor=shot.scale,
        timezone_id=shot.timezone,
        locale=shot.language,
        color_scheme=cast("Literal['light', 'dark'] | None", shot.theme),
        reduced_motion="reduce",
        service_workers="block",  # their requests would pass by ours
        accept_downloads=False,
    )
    await context.add_init_script(PAGE_SCRIPT)
    if shot.auth and shot.auth.cookies:
        await context.add_cookies(
            [
                {"name": n, "value": v, "url": shot.auth.prefix + "/", "httpOnly": True}
                for n, v in shot.auth.cookies.items()
            ]
        )
    return context


async def cookies_of(context: BrowserContext, auth: SiteCredentials) -> Mapping[str, str]:
    """The cookies of `auth` as they are after the shot."""
    cookies = await context.cookies(auth.prefix + "/")
    return {cookie["name"]: cookie["value"] for cookie in cookies if cookie["name"] in auth.cookies}


async def _send_headers(page: Page, auth: SiteCredentials) -> None:
    """Add headers to the requests to one site; asked anew for every hop of a redirect, so they stay there."""
    devtools = await page.context.new_cdp_session(page)
    running: set[asyncio.Task[None]] = set()

    async def pass_on(event: dict[str, Any]) -> None:
        from playwright.async_api import Error as Failure

        answer: dict[str, Any] = {"requestId": event["requestId"]}
        if auth.covers(event["request"]["url"]):
            headers = {**event["request"]["headers"], **auth.headers}
            answer["headers"] = [{"name": name, "value": value} for name, value in headers.items()]
        with contextlib.suppress(Failure):  # the page has gone meanwhile
            await devtools.send("Fetch.continueRequest", answer)

    def on_paused(event: dict[str, Any]) -> None:
        task = asyncio.get_running_loop().create_task(pass_on(event))
        running.add(task)
        task.add_done_callback(running.discard)

    devtools.on("Fetch.requestPaused", on_paused)
    await devtools.send("Fetch.enable", {"patterns": [{"urlPattern": _glob(auth.prefix) + "*"}]})


def _glob(text: str) -> str:
    return "".join("\\" + letter if letter in "*?\\" else letter for letter in text)


def format_seconds(number: float) -> str:
    """Write a number of seconds for a sentence: `1.5 s`."""
    return f"{round(number, 1):g} s"


def explain_error(error: Error, shot: Shot) -> PictureError:
    """Playwright's error as a sentence for a person."""
    text = error.message
    if "net::ERR_" in text:
        code = text.split("net::ERR_", 1)[1].split()[0].rstrip(",;")
        words = _NET_ERROR_TEXTS.get(code)
        if code.startswith("CERT_"):
            words = "the browser does not trust its certificate (for Grafana's, set `grafana: ca:`)"
        what = f"{words} ({code})" if words else code
        return PictureError(f"{shot.name} cannot be loaded: {what}", retry=code.startswith(_PASSING_NET_ERRORS))
    if "Download is starting" in text:
        return PictureError(f"{shot.name} cannot be loaded: it is a download, no page")
    if "Invalid timezone" in text or "imezone" in text:
        return PictureError(f"{shot.timezone!r} is no time zone; write one like Asia/Shanghai")
    if "locale" in text.lower():
        return PictureError(f"{shot.language!r} is no language; write one like en-US or zh-CN")
    first = text.splitlines()[0] if text else type(error).__name__
    return PictureError(f"{shot.name} could not be shot: {first[:300]}", retry=True)
