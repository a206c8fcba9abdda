"""Pictures of Grafana's panels: drawn by Grafana's image renderer, else shot by our own browser.

What Grafana's addresses and its /render are like is read from its source: shared/facts/rendering.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from wxbridge.core import imaging
from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import NothingToDraw, PictureError
from wxbridge.core.pictures import PageRequest, PanelAddress, PanelRequest, is_dashboard_uid, parse_panel_id
from wxbridge.monitors.dashboards import Dashboards
from wxbridge.monitors.grafana import Grafana
from wxbridge.pictures.fetch import MAX_PICTURE_BYTES, fetch
from wxbridge.pictures.placeholders import PLACEHOLDERS, placeholder_error

WIDTH, HEIGHT, SCALE = 540, 320, 2
"""CSS pixels and pixels for each: as wide as a phone's screen, with Grafana's letters twice as large."""
DEADLINE_SECONDS = 60.0
"""For one picture that has no deadline of its own."""
_RENDERER_SHARE = 0.6
"""Of the time: what is left is the browser's, where the renderer does not answer."""
_ASK_RENDERER_AGAIN_SECONDS = 600.0
"""After which a Grafana that had no renderer is asked again: somebody may have installed one."""
_NO_RENDERER = str(placeholder_error(PLACEHOLDERS[0]))

ShootPage = Callable[[PageRequest], Awaitable[bytes]]


# ---------------------------------------------------------------- addresses


def render_path(request: PanelRequest, *, timeout: float | None = None) -> str:
    """The path below Grafana where its image renderer draws the panel; it needs the dashboard's uid.

    `timeout` is how many seconds Grafana may wait for its renderer.
    """
    more: list[tuple[str, str | int]] = [
        ("width", request.width or WIDTH),
        ("height", request.height or HEIGHT),
        ("scale", request.scale or SCALE),
    ]
    if request.timezone:
        more.append(("tz", request.timezone))
    if timeout is not None:
        more.append(("timeout", max(1, int(timeout))))
    return "/render" + solo_path(request) + "&" + urlencode(more)


def solo_path(request: PanelRequest) -> str:
    """The path below Grafana of the page that shows the panel alone; its organisation has to be told as a header."""
    panel = request.panel
    query: list[tuple[str, str | int]] = [("panelId", panel.panel), ("from", request.start), ("to", request.end)]
    query += panel.variables
    query.append(("theme", request.theme or "light"))
    if request.timezone:
        query.append(("timezone", request.timezone))
    return f"/d-solo/{quote(panel.uid, safe='')}/_?{urlencode(query)}"


def page_of(request: PanelRequest) -> PageRequest:
    """The page that shows the panel alone, for our own browser."""
    return PageRequest(
        solo_path(request),
        width=request.width or WIDTH,
        height=request.height or HEIGHT,
        scale=request.scale or SCALE,
        full_page=False,
        org=request.panel.org,
        needs_data=True,
        only_grafana=True,
        theme=request.theme or "light",
        timezone=request.timezone,
        language=request.language,
    )


# ---------------------------------------------------------------- drawing


@dataclass
class PanelPainter:
    """Draws panels of one Grafana.

    Args:
        grafana: The configured one.
        shoot: Shoots pages, for a Grafana that has no image renderer.
        max_bytes: Of a picture.
    """

    grafana: Grafana
    shoot: ShootPage
    max_bytes: int = MAX_PICTURE_BYTES
    _without_renderer_until: float = field(default=0.0, init=False)
    """On the event loop's clock."""
    _dashboards: Dashboards = field(init=False)

    def __post_init__(self) -> None:
        """Have the dashboards of old alerts looked up, which name them by number."""
        self._dashboards = Dashboards(self.grafana)

    async def paint(self, params: Mapping[str, Any]) -> bytes:
        """Draw the panel of a stored `PanelRequest`.

        Raises:
            NothingToDraw: the panel says that it has no data; or there is no such dashboard (`no_dashboard`).
            PictureError: there is no such panel, no login, or neither renderer nor browser could draw it; a blank
                picture counts as none. `retry` where another attempt may succeed.
        """
        request = await self._resolve(PanelRequest.from_params(params))
        try:
            return await self._paint(request)
        except NothingToDraw:
            raise
        except PictureError:
            if await self._is_gone(request.panel):
                raise NothingToDraw(f"Grafana has no dashboard {request.panel.uid}", reason="no_dashboard") from None
            raise

    async def _is_gone(self, panel: PanelAddress) -> bool:
        """Whether Grafana says that there is no such dashboard."""
        try:
            return await self._dashboards.find(panel.uid, panel.org) is None
        except PictureError:
            return False

    async def _paint(self, request: PanelRequest) -> bytes:
        clock = asyncio.get_running_loop().time
        failure: PictureError | None = None
        if clock() >= self._without_renderer_until:
            try:
                return await self._render(request)
            except NothingToDraw:
                raise
            except PictureError as error:
                failure = error
                if str(error) == _NO_RENDERER:
                    self._without_renderer_until = clock() + _ASK_RENDERER_AGAIN_SECONDS
                elif not error.retry:
                    raise  # a wrong address or login is as wrong in a browser
        try:
            return await _require_data(await self.shoot(page_of(request)))
        except NothingToDraw:
            raise
        except PictureError as error:
            if failure is None or str(failure) == _NO_RENDERER:
                raise
            raise PictureError(f"{failure}; and by our own browser: {error}", retry=True) from None

    async def _render(self, request: PanelRequest) -> bytes:
        limit = seconds_left(DEADLINE_SECONDS) * _RENDERER_SHARE
        url = self.grafana.base + render_path(request, timeout=limit)
        org = request.panel.org
        data = (await fetch(url, grafana=self.grafana, org=org, max_bytes=self.max_bytes, deadline=limit)).data
        if await asyncio.to_thread(imaging.is_blank, data):
            raise PictureError("Grafana's renderer drew an empty picture", retry=True)
        return await _require_data(data)

    async def _resolve(self, request: PanelRequest) -> PanelRequest:
        """Fill in the uid of the dashboard, and refuse names that no panel has."""
        address = request.panel
        if not address.uid and not address.number:
            raise PictureError("the alert names no dashboard")
        uid = address.uid or await self._dashboards.find_uid(address.number or 0, address.org)
        panel = parse_panel_id(address.panel)
        if not panel or not is_dashboard_uid(uid):
            raise PictureError("the alert's panel has an impossible name")
        return replace(request, panel=replace(address, panel=panel, uid=uid))


# ---------------------------------------------------------------- a panel without data


_TITLE_SHARE, _FRAME_SHARE = 0.15, 0.02
"""Of a panel's picture: its title's height, and the edge with its frame."""
_MAX_WORDS_WIDTH, _MAX_WORDS_HEIGHT, _MAX_OFF_CENTRE = 0.3, 0.09, 0.05
"""In shares of the picture: what is no larger than this, in its middle, is a few words."""
_INK = 24
"""How much a colour differs from the ground to be seen, of 255."""


async def _require_data(data: bytes) -> bytes:
    if await asyncio.to_thread(says_no_data, data):
        raise NothingToDraw("Grafana's panel has no data")
    return data


def says_no_data(data: bytes) -> bool:
    """Whether a panel's picture shows nothing below its title but a few words in its middle: Grafana's "No data".

    A curve has axes, a figure is written large, so that neither is taken for it. Words over drawn axes, as Grafana
    had them before version 8, are not seen.

    Raises:
        PictureError: it is no picture.
    """
    from PIL import Image, ImageChops

    with imaging.open_picture(data, "the panel") as opened:
        image = opened.convert("RGB")
    width, height = image.size
    frame = round(_FRAME_SHARE * width)
    body = image.crop((frame, round(_TITLE_SHARE * height), width - frame, height - frame))
    ground: Any = body.getpixel((body.width // 2, body.height - 1))
    difference = ImageChops.difference(body, Image.new("RGB", body.size, ground)).convert("L")
    ink = difference.point([0] * _INK + [255] * (256 - _INK)).getbbox()
    if ink is None:
        return True
    left, top, right, bottom = ink
    small = right - left < _MAX_WORDS_WIDTH * width and bottom - top < _MAX_WORDS_HEIGHT * height
    middle = abs((left + right) / 2 - body.width / 2) < _MAX_OFF_CENTRE * width
    return small and middle and top > body.height / 4 and bottom < body.height * 3 / 4
