"""From an empty page of the browser to the bytes of its picture: credentials, loading, waiting, shooting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import structlog

from wxbridge.core import imaging
from wxbridge.core.credentials import SiteCredentials
from wxbridge.core.errors import PictureError
from wxbridge.pictures.pages.parts import NO_MARKS, CutMarks, embed_marks
from wxbridge.pictures.pages.readiness import (
    LoginPage,
    PageNetwork,
    refusal_of,
    wait_until_ready,
)
from wxbridge.pictures.pages.rows import locate_marks
from wxbridge.pictures.pages.scripts import STILL_CSS_SCRIPT, find_box, measure_extent, settle
from wxbridge.pictures.pages.shot import MAX_HEIGHT, Shot

if TYPE_CHECKING:
    from playwright.async_api import Browser as Chromium
    from playwright.async_api import BrowserContext, Error, FloatRect, Page

log = structlog.get_logger(__name__)

MAX_OUTPUT_PIXELS = 64_000_000
"""The most pixels of one shot, width × height × scale²; what is below is cut off."""

_BLANK_PATIENCE_SECONDS = 5.0
"""During which a blank page is looked at again: it may draw itself late."""
_BLANK_LOOK_EVERY_SECONDS = 0.25
_RESERVE_SECONDS = 5.0
"""Of the deadline (at most a fifth of it) that are kept for taking the picture."""
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
        self._network = PageNetwork(shot.must_succeed)
        self._clock = asyncio.get_running_loop().time

    async def take(self) -> bytes:
        """Load, wait, shoot; look again for a while where the picture is blank."""
        page, shot = self._page, self._shot
        self._network.attach(page)
        await page.add_init_script(STILL_CSS_SCRIPT)
        if shot.auth and shot.auth.headers:
            await _send_headers(page, shot.auth)
        await self._load()
        patience: float | None = None
        while True:
            await self._wait()
            self._progress.doing = "taking the picture"
            png, marks = await self._screenshot()
            if not await asyncio.to_thread(imaging.is_blank, png, shot.name):
                return embed_marks(await asyncio.to_thread(imaging.fit, png, shot.max_bytes), marks)
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
            quiet = await wait_until_ready(self._page, self._network, shot, until=self._ready_by)
        except LoginPage as error:
            raise LoginPage(f"{shot.name}: {error}") from None
        except PictureError as error:
            too_late = "still loading" in str(error)
            late = f" after {format_seconds(shot.deadline)}" if too_late else ""
            raise PictureError(f"{shot.name}: {error}{late}", retry=error.retry) from None
        if not quiet:
            log.info("browser.busy_page", page=shot.name)

    async def _screenshot(self) -> tuple[bytes, CutMarks]:
        shot = self._shot
        await settle(self._page)
        clip = await self._clip()
        marks = await self._marks(clip) if shot.marks else NO_MARKS
        png = await self._page.screenshot(
            type="png",
            full_page=shot.full_page or clip is not None,
            clip=clip,
            animations="disabled",
            scale="device",
            timeout=max(1.0, (self._until - self._clock()) * 1000 + 1000),
        )
        return png, marks

    async def _marks(self, clip: FloatRect | None) -> CutMarks:
        """Where the picture may be cut."""
        if clip is not None:
            return await locate_marks(self._page, clip["y"], clip["height"])
        window = self._page.viewport_size
        tall = await measure_extent(self._page) if self._shot.full_page else 0
        return await locate_marks(self._page, 0, max(tall, window["height"] if window else 0))

    async def _clip(self) -> FloatRect | None:
        """The part to shoot: the element that was asked for, or the top of a page that is too tall."""
        shot = self._shot
        most = int(min(MAX_HEIGHT, MAX_OUTPUT_PIXELS / (shot.width * shot.scale**2)))
        if shot.selector:
            box = await find_box(self._page, shot.selector)
            if box is None or box["width"] < 1 or box["height"] < 1:
                raise PictureError(f"{shot.name}: the element {shot.selector!r} is not visible", retry=True)
            return {"x": box["x"], "y": box["y"], "width": box["width"], "height": min(box["height"], most)}
        tall = max(shot.height, await measure_extent(self._page)) if shot.full_page else shot.height
        window = self._page.viewport_size
        if tall <= most and window is not None and tall >= window["height"]:
            return None
        if tall <= most:  # it was taller while it loaded
            return {"x": 0, "y": 0, "width": shot.width, "height": tall}
        log.warning("browser.page_cut", page=shot.name, height=tall, kept=most)
        return {"x": 0, "y": 0, "width": shot.width, "height": most}


async def open_context(chromium: Chromium, shot: Shot) -> BrowserContext:
    """Open a context of its own for a shot: window, time zone, language, theme, cookies."""
    context = await chromium.new_context(
        viewport={"width": shot.width, "height": shot.height},
        device_scale_factor=shot.scale,
        timezone_id=shot.timezone,
        locale=shot.language,
        color_scheme=cast("Literal['light', 'dark'] | None", shot.theme),
        reduced_motion="reduce",
        service_workers="block",  # their requests would pass by ours
        accept_downloads=False,
    )
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
