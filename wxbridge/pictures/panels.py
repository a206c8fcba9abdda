"""The Grafana panel that an alert names: its address, and its picture, by Grafana's image renderer or our browser.

Nothing is taken from an alert but a dashboard's uid (or number), a panel's number and its variables: the address is
built anew below the configured Grafana, so that an alert cannot lead anywhere else. What Grafana's addresses and its
/render are like is read from its source: shared/facts/rendering.md.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import aiohttp

from wxbridge.core import imaging
from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import NothingToDraw, PictureError, PictureTimeout
from wxbridge.core.model import Alert, PictureSpec
from wxbridge.monitors.grafana import PLACEHOLDERS, Grafana, placeholder_reason
from wxbridge.pictures.fetch import MAX_SIZE, fetch

KIND = "panel"
WIDTH, HEIGHT, SCALE = 540, 320, 2
"""CSS pixels and pixels for each: as wide as a phone's screen, with Grafana's letters twice as large."""
LEAST = timedelta(minutes=15)
MARGIN = timedelta(minutes=5)
LONGEST = timedelta(hours=24)
"""How far back the picture of an alert that still fires goes."""
DEADLINE = 60.0
_RENDER_SHARE = 0.6
"""Of the time: what is left is the browser's, where the renderer does not answer."""
_FORGET_AFTER = 600.0
"""Seconds after which a Grafana that had no renderer is asked again: somebody may have installed one."""
_ANSWER_LIMIT = 1024 * 1024
_UID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PANEL = re.compile(r"(?:panel-)?(\d{1,9})|[A-Za-z0-9$_/-]{1,100}")
_NUMBER = re.compile(r"\d{1,12}")
_DASHBOARD_PATH = re.compile(r"/d(?:-solo)?/([^/?#]+)")
_BUSY = frozenset({408, 429})

Painter = Callable[[Mapping[str, Any]], Awaitable[bytes]]


@dataclass(frozen=True)
class Panel:
    """A panel of a dashboard, which is known by its `uid`, or by its `number` where an old Grafana told only that."""

    panel: str
    uid: str = ""
    number: int | None = None
    org: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    """`var-…` parameters, in their order; a name may come several times."""


# ---------------------------------------------------------------- what an alert names


def panel_of(alert: Alert) -> Panel | None:
    """Find the panel that an alert names; None where it names none.

    It may be in the address of the panel (`…/d/UID/slug?viewPanel=4&orgId=1`, in `links` or as the alert's own link,
    with `panelId` or `editPanel` as well), or in the annotations that Grafana's rules have (`__dashboardUid__`,
    `__panelId__`, `__orgId__`), or `__dashboardId__` where a legacy notification told only the number.
    """
    notes = alert.annotations
    panel = _panel_id(notes.get("__panelId__", ""))
    uid = notes.get("__dashboardUid__", "").strip()
    number = notes.get("__dashboardId__", "").strip()
    org = notes.get("__orgId__", "").strip()
    variables: tuple[tuple[str, str], ...] = ()
    for address in (alert.links.get("panel"), alert.links.get("dashboard"), alert.link):
        found = _in_address(address or "")
        if found is None:
            continue
        uid = uid or found.uid
        if found.uid == uid:
            panel, org, variables = panel or found.panel, org or found.org, variables or found.variables
    if not panel:
        return None
    org = org if _NUMBER.fullmatch(org) else ""
    if _UID.fullmatch(uid):
        return Panel(panel, uid, org=org, variables=variables)
    if _NUMBER.fullmatch(number) and int(number):
        return Panel(panel, number=int(number), org=org)
    return None


@lru_cache(maxsize=256)
def _in_address(address: str) -> Panel | None:
    """A dashboard's address, whichever host it is on."""
    try:
        parts = urlsplit(address.strip())
        query = parse_qsl(parts.query, max_num_fields=200)
    except ValueError:
        return None
    path = _DASHBOARD_PATH.search(parts.path)
    if path is None or not _UID.fullmatch(path[1]):
        return None
    given = dict(reversed(query))
    panel = next(filter(None, (_panel_id(given.get(name, "")) for name in ("viewPanel", "panelId", "editPanel"))), "")
    variables = tuple((name, value) for name, value in query if name.startswith("var-"))
    return Panel(panel, path[1], org=given.get("orgId", ""), variables=variables)


def _panel_id(text: str) -> str:
    """`4` of `4` or `panel-4`; the key of a repeated panel (`panel-4-clone-1`) as it is; else nothing."""
    found = _PANEL.fullmatch(text.strip())
    return "" if found is None else found[1] or found[0]


def span(now: datetime, starts_at: datetime | None, ends_at: datetime | None) -> tuple[datetime, datetime]:
    """Choose the time to show: the whole episode with a margin, at least 15 minutes, and nothing after `now`.

    The margin is a quarter of the episode, at least five minutes; where the alert still fires, at most a day is shown.
    """
    over = ends_at is not None and ends_at <= now
    last = ends_at if over and ends_at is not None else now
    first = min(starts_at, last) if starts_at is not None else last
    margin = max(MARGIN, (last - first) / 4)
    end = min(now, last + margin) if over else now
    start = min(first - margin, end - LEAST)
    return (start if over else max(start, end - LONGEST)), end


def panel_spec(
    alert: Alert,
    now: datetime,
    *,
    timezone: str | None = None,
    language: str | None = None,
    theme: str | None = None,
) -> PictureSpec | None:
    """Describe the picture of the panel that an alert names, with its times fixed; None where it names none."""
    panel = panel_of(alert)
    if panel is None:
        return None
    start, end = span(now, alert.starts_at, alert.ends_at)
    params: dict[str, Any] = {
        "panel": panel.panel,
        "from": round(start.timestamp() * 1000),
        "to": round(end.timestamp() * 1000),
    }
    more = {
        "uid": panel.uid,
        "number": panel.number,
        "org": panel.org,
        "variables": [list(pair) for pair in panel.variables],
        "timezone": timezone,
        "language": language,
        "theme": theme,
    }
    params |= {name: value for name, value in more.items() if value}
    return PictureSpec(KIND, params, link=alert.links.get("panel") or alert.link)


# ---------------------------------------------------------------- addresses


@dataclass(frozen=True)
class View:
    """What to show of a panel, and how: times are milliseconds since the epoch, sizes CSS pixels."""

    panel: Panel
    start: int
    end: int
    width: int = WIDTH
    height: int = HEIGHT
    scale: int = SCALE
    theme: str = "light"
    timezone: str | None = None
    language: str | None = None


def render_path(view: View, *, timeout: float | None = None) -> str:
    """The path below Grafana where its image renderer draws the panel; it needs the dashboard's uid.

    `timeout` is how many seconds Grafana may wait for its renderer.
    """
    more: list[tuple[str, str | int]] = [("width", view.width), ("height", view.height), ("scale", view.scale)]
    if view.timezone:
        more.append(("tz", view.timezone))
    if timeout is not None:
        more.append(("timeout", max(1, int(timeout))))
    return "/render" + solo_path(view) + "&" + urlencode(more)


def solo_path(view: View) -> str:
    """The path below Grafana of the page that shows the panel alone."""
    panel = view.panel
    query: list[tuple[str, str | int]] = [("orgId", panel.org)] if panel.org else []
    query += [("panelId", panel.panel), ("from", view.start), ("to", view.end), *panel.variables]
    query.append(("theme", view.theme))
    if view.timezone:
        query.append(("timezone", view.timezone))
    return f"/d-solo/{quote(panel.uid, safe='')}/_?{urlencode(query)}"


def page_params(view: View) -> dict[str, Any]:
    """The params of a picture of kind `page`: the panel alone, shot by our own browser."""
    params = {
        "url": solo_path(view),
        "width": view.width,
        "height": view.height,
        "scale": view.scale,
        "full_page": False,
        "only_grafana": True,
        "theme": view.theme,
        "timezone": view.timezone,
        "language": view.language,
    }
    return {name: value for name, value in params.items() if value is not None}


# ---------------------------------------------------------------- drawing


@dataclass
class Panels:
    """Draws panels of one Grafana: `paint` is the painter for pictures of kind `panel`.

    Args:
        grafana: The configured one.
        page: The painter of pages, for a Grafana that has no image renderer; None where there is no browser.
        max_size: Bytes of a picture.
    """

    grafana: Grafana
    page: Painter | None = None
    max_size: int = MAX_SIZE
    _without_renderer_until: float = field(default=0.0, init=False)
    _uids: dict[tuple[str, int], str] = field(default_factory=dict, init=False)

    async def paint(self, params: Mapping[str, Any]) -> bytes:
        """Draw the panel that `panel_spec` described.

        Raises:
            NothingToDraw: the panel says that it has no data.
            PictureError: there is no such panel, no login, or neither renderer nor browser could draw it; a blank
                picture counts as none. `retry` where another attempt may succeed.
        """
        view = await self._view(params)
        clock = asyncio.get_running_loop().time
        failure: PictureError | None = None
        if clock() >= self._without_renderer_until:
            try:
                return await self._render(view)
            except NothingToDraw:
                raise
            except PictureError as error:
                failure = error
                if str(error) == _NO_RENDERER:
                    self._without_renderer_until = clock() + _FORGET_AFTER
                elif not error.retry:
                    raise  # a wrong address or login is as wrong in a browser
        if self.page is None:
            raise failure or PictureError(_NO_RENDERER)
        try:
            return await _with_data(await self.page(page_params(view)))
        except NothingToDraw:
            raise
        except PictureError as error:
            if failure is None or str(failure) == _NO_RENDERER:
                raise
            raise PictureError(f"{failure}; and by our own browser: {error}", retry=True) from None

    async def _render(self, view: View) -> bytes:
        limit = seconds_left(DEADLINE)
        limit *= _RENDER_SHARE if self.page is not None else 1.0
        url = self.grafana.base + render_path(view, timeout=limit)
        data = (await fetch(url, grafana=self.grafana, max_size=self.max_size, deadline=limit)).data
        if await asyncio.to_thread(imaging.is_blank, data):
            raise PictureError("Grafana's renderer drew an empty picture", retry=True)
        return await _with_data(data)

    async def _view(self, params: Mapping[str, Any]) -> View:
        unknown = sorted(params.keys() - _PARAMS)
        missing = sorted({"panel", "from", "to"} - params.keys())
        if unknown or missing:
            what = f"does not know {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
            raise PictureError(f"a picture of kind {KIND} {what}")
        org = str(params.get("org") or "")
        uid = str(params.get("uid") or "")
        if not uid:
            uid = await self._uid_of(int(params.get("number") or 0), org)
        panel = _panel_id(str(params["panel"]))
        if not panel or not _UID.fullmatch(uid):
            raise PictureError("the alert's panel has an impossible name")
        variables = tuple((str(name), str(value)) for name, value in params.get("variables") or ())
        return View(
            Panel(panel, uid, org=org, variables=variables),
            int(params["from"]),
            int(params["to"]),
            width=int(params.get("width") or WIDTH),
            height=int(params.get("height") or HEIGHT),
            scale=int(params.get("scale") or SCALE),
            theme=str(params.get("theme") or "light"),
            timezone=params.get("timezone"),
            language=params.get("language"),
        )

    async def _uid_of(self, number: int, org: str) -> str:
        """Ask Grafana for the uid of a dashboard of which a legacy notification told only the number."""
        if not number:
            raise PictureError("the alert names no dashboard")
        if (org, number) not in self._uids:
            query = urlencode([("type", "dash-db"), ("dashboardIds", number), *([("orgId", org)] if org else [])])
            found = await self._asked(f"{self.grafana.base}/api/search?{query}")
            uids = [each.get("uid") for each in found if isinstance(each, dict)] if isinstance(found, list) else []
            # A Grafana that no longer knows this filter answers with all dashboards.
            if len(uids) != 1 or not isinstance(uids[0], str) or not _UID.fullmatch(uids[0]):
                raise PictureError(f"Grafana does not tell which dashboard has the number {number}")
            self._uids[org, number] = uids[0]
        return self._uids[org, number]

    async def _asked(self, url: str) -> Any:
        grafana = self.grafana
        auth = await grafana.auth_for(url)
        answer = await _json(url, auth.headers if auth else {}, auth.cookies if auth else {}, grafana)
        if answer is _LOGIN:
            auth = await grafana.renew(auth)
            if auth is not None:
                answer = await _json(url, auth.headers, auth.cookies, grafana)
        if answer is _LOGIN:
            raise grafana.no_entry("HTTP 401")
        return answer


async def _with_data(data: bytes) -> bytes:
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
    frame = round(_FRAME * width)
    body = image.crop((frame, round(_TITLE * height), width - frame, height - frame))
    ground: Any = body.getpixel((body.width // 2, body.height - 1))
    difference = ImageChops.difference(body, Image.new("RGB", body.size, ground)).convert("L")
    ink = difference.point([0] * _INK + [255] * (256 - _INK)).getbbox()
    if ink is None:
        return True
    left, top, right, bottom = ink
    small = right - left < _WORDS_WIDE * width and bottom - top < _WORDS_HIGH * height
    middle = abs((left + right) / 2 - body.width / 2) < _OFF_CENTRE * width
    return small and middle and top > body.height / 4 and bottom < body.height * 3 / 4


_TITLE, _FRAME = 0.15, 0.02
"""Shares of a panel's picture: its title, and the edge with its frame."""
_WORDS_WIDE, _WORDS_HIGH, _OFF_CENTRE = 0.3, 0.09, 0.05
_INK = 24
"""How much a colour differs from the ground to be seen, of 255."""

_PARAMS = frozenset(
    {
        *("panel", "uid", "number", "org", "variables", "from", "to"),
        *("width", "height", "scale", "theme", "timezone", "language", "deadline"),
    }
)
_NO_RENDERER = str(placeholder_reason(PLACEHOLDERS[0]))
_LOGIN = object()


async def _json(url: str, headers: Mapping[str, str], cookies: Mapping[str, str], grafana: Grafana) -> Any:
    """Get an answer of Grafana's API; `_LOGIN` where it wants one."""
    try:
        async with (
            aiohttp.ClientSession(
                cookies=dict(cookies), timeout=aiohttp.ClientTimeout(total=seconds_left(DEADLINE))
            ) as session,
            session.get(url, headers=headers, allow_redirects=False, ssl=await grafana.tls() or True) as response,
        ):
            if response.status == 401 or 300 <= response.status < 400:  # noqa: PLR2004 - HTTP
                return _LOGIN
            if response.status != 200:  # noqa: PLR2004 - HTTP
                raise PictureError(
                    f"Grafana answered /api/search with HTTP {response.status}",
                    retry=response.status >= 500 or response.status in _BUSY,  # noqa: PLR2004 - HTTP
                )
            if (response.content_length or 0) > _ANSWER_LIMIT:
                raise PictureError("Grafana's answer to /api/search is too large")
            return await response.json(content_type=None)
    except TimeoutError:
        raise PictureTimeout("Grafana did not answer /api/search in time") from None
    except aiohttp.ClientError as error:
        raise PictureError(f"Grafana at {grafana.base} cannot be reached: {error}", retry=True) from None
    except ValueError:
        raise PictureError("Grafana's answer to /api/search is no JSON: check grafana.url") from None
