"""What dashboards there are in Grafana and what is on them, asked of its HTTP API and kept for a minute.

https://grafana.com/docs/grafana/latest/developers/http_api/folder_dashboard_search/ and …/dashboard/. Models of every
age are read: rows of Grafana 4, panels in collapsed rows, library panels, and the `elements` and `layout` of schema v2.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import NothingToDraw, PictureError
from wxbridge.core.http import ApiAnswer
from wxbridge.core.pictures import is_dashboard_uid
from wxbridge.core.text.normalise import fold
from wxbridge.monitors.grafana import Grafana

DEADLINE_SECONDS = 10.0
"""For one answer."""
ANSWER_TTL_SECONDS = 60.0
"""How long an answer is taken as it was."""
DASHBOARDS_PER_PAGE = 1000
"""How many are asked for at once: what Grafana gives where nobody says."""
_MAX_PAGES = 5
_MAX_KEPT_ANSWERS = 200
_MAX_LAYOUT_DEPTH = 20
ALL_VALUES = "$__all"
"""The value of a variable that stands for all of its values."""
_MAX_BYTES_AT_ONCE = 64 * 1024
"""How much JSON is decoded without leaving the event loop."""
_ADDRESS = re.compile(r"/d/[^/?#]+/([^/?#]+)")
_NEWER_PATH = re.compile(r"/apis/dashboard\.grafana\.app/v\d\w*/namespaces/[\w.-]+/dashboards/[\w.-]+")
_BUSY = frozenset({408, 429})
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?:[:.][^}]*)?\}|\[\[(\w+)(?::[^\]]*)?\]\]")


@dataclass(frozen=True)
class DashboardHit:
    """A dashboard as Grafana's search tells of it."""

    uid: str
    title: str
    folder: str = ""
    slug: str = ""
    """The title as it stands in addresses."""


@dataclass(frozen=True)
class PanelInfo:
    """A panel of a dashboard."""

    number: int
    """Its place in reading order, from 1; rows do not count."""
    id: int
    title: str
    row: str = ""
    """The title of the row or tab that it is in."""
    repeat: str = ""
    """The variable for each value of which it is shown once more."""


@dataclass(frozen=True)
class DashboardVariable:
    """A variable of a dashboard."""

    name: str
    current: str = ""
    """What is chosen where nobody says, as people read it."""
    current_values: tuple[str, ...] = ()
    """The same as Grafana knows it."""
    is_multi: bool = False
    """Whether it may have several values at once."""
    has_all: bool = False
    """Whether All is among its values."""
    values: tuple[tuple[str, str], ...] = ()
    """(text, value) of those that the model itself lists."""
    label: str = ""
    """What people see above it, in place of its name."""

    def text_of(self, value: str) -> str:
        """Give a value as people read it: by the model's own list, else as it is."""
        return next((text for text, each in self.values if each == value and text), value)


@dataclass(frozen=True)
class Dashboard:
    """What is on a dashboard."""

    uid: str
    title: str
    slug: str = ""
    panels: tuple[PanelInfo, ...] = ()
    variables: tuple[DashboardVariable, ...] = ()
    start: str = ""
    """The time range that it is saved with, as Grafana writes it: `now-6h`."""
    end: str = ""

    def find_variable(self, name: str) -> DashboardVariable | None:
        """Find a variable by its name, in large or small letters, else by its label, which is what people see."""
        known = {fold(each.label): each for each in reversed(self.variables) if each.label}
        known |= {fold(each.name): each for each in reversed(self.variables)}
        return next((each for each in self.variables if each.name == name), None) or known.get(fold(name))

    def fill_title(self, title: str, values: Mapping[str, str]) -> str:
        """Fill the variables of a title (`$host`, `${host}`, `[[host]]`) in: from `values`, else the saved ones."""
        known = {each.name: each.current for each in self.variables} | dict(values)
        return _VARIABLE.sub(lambda found: known.get(found[1] or found[2] or found[3]) or found[0], title)


class Dashboards:
    """Asks one Grafana for its dashboards, with the credentials that pictures are made with.

    Args:
        grafana: The configured one.
        deadline: Seconds for one answer.
        ttl: How many seconds an answer is kept.
        clock: Seconds that only go forward; for tests.
    """

    def __init__(
        self,
        grafana: Grafana,
        *,
        deadline: float = DEADLINE_SECONDS,
        ttl: float = ANSWER_TTL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.grafana = grafana
        self._deadline = deadline
        self._ttl = ttl
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[float, Any]] = {}
        """By path and organisation."""
        self._uids: dict[tuple[int, str], str] = {}
        """By a dashboard's number and its organisation."""

    async def search(self, text: str, limit: int = 20) -> tuple[DashboardHit, ...]:
        """Have Grafana search for dashboards, in its order.

        Raises:
            PictureError: no entry (the account needs the role Viewer), too large or no answer of Grafana's (no retry);
                out of reach, overloaded or too late (retry).
        """
        query = urlencode({"type": "dash-db", "query": text, "limit": limit})
        return tuple(_read_hits(await self._get(f"/api/search?{query}")))[:limit]

    async def list_all(self) -> tuple[DashboardHit, ...]:
        """List all dashboards that the account may see, 5,000 at most.

        Raises:
            PictureError: as `search`.
        """
        found: dict[str, DashboardHit] = {}
        for page in range(1, _MAX_PAGES + 1):
            query = urlencode({"type": "dash-db", "limit": DASHBOARDS_PER_PAGE, "page": page})
            answer = await self._get(f"/api/search?{query}")
            before = len(found)
            found |= {hit.uid: hit for hit in _read_hits(answer)}
            # A Grafana before 6.2 knows no pages and gives the first one again.
            if not isinstance(answer, list) or len(answer) < DASHBOARDS_PER_PAGE or len(found) == before:
                break
        return tuple(found.values())

    async def find(self, uid: str, org: str = "") -> Dashboard | None:
        """Tell what is on a dashboard of an organisation (the account's own); None where there is none with this uid.

        Raises:
            PictureError: as `search`.
        """
        if not is_dashboard_uid(uid):
            return None
        path = f"/api/dashboards/uid/{quote(uid)}"
        answer = await self._get(path, org)
        if answer is None:
            return None
        if not isinstance(answer, dict):
            raise PictureError(f"Grafana's answer to {path} is no dashboard: check grafana.url")
        return read_dashboard(answer, uid)

    async def find_uid(self, number: int, org: str = "") -> str:
        """Get the uid of a dashboard of which an old Grafana told only the number, in its organisation.

        Raises:
            NothingToDraw: there is none (`no_dashboard`).
            PictureError: it does not tell (no retry); or as `search`.
        """
        if (number, org) not in self._uids:
            found = await self._get(f"/api/search?type=dash-db&dashboardIds={number}", org)
            if found == []:
                raise NothingToDraw(f"Grafana has no dashboard of the number {number}", reason="no_dashboard")
            uids = [each.get("uid") for each in found if isinstance(each, dict)] if isinstance(found, list) else []
            # A Grafana that no longer knows this filter answers with all dashboards.
            if len(uids) != 1 or not isinstance(uids[0], str) or not is_dashboard_uid(uids[0]):
                raise PictureError(f"Grafana does not tell which dashboard has the number {number}")
            self._uids[number, org] = uids[0]
        return self._uids[number, org]

    # ------------------------------------------------------------ inside

    async def _get(self, path: str, org: str = "") -> Any:
        """Get an answer as JSON, None where there is no such thing, from memory where it is fresh."""
        kept = self._kept.get((path, org))
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        limit = min(self._deadline, seconds_left(self._deadline))
        answer = await self.grafana.ask(path, deadline=limit, org=org)
        # Grafana says so where it keeps a dashboard of the newer schema.
        newer = None
        if answer.status == 406 and not path.startswith("/apis/"):  # noqa: PLR2004 - HTTP
            newer = _NEWER_PATH.search(answer.body[:2000].decode("utf-8", "replace"))
        found = await self._get(newer[0], org) if newer else await self._read(path, answer)
        if len(self._kept) >= _MAX_KEPT_ANSWERS:
            self._kept.clear()
        self._kept[path, org] = (self._clock() + self._ttl, found)
        return found

    async def _read(self, path: str, answer: ApiAnswer) -> Any:
        """Decode an answer: None where there is no such thing."""
        grafana, status, shown = self.grafana, answer.status, path.partition("?")[0]
        if status == 404 and not path.startswith("/api/search"):  # noqa: PLR2004 - HTTP
            return None
        if status == 401:  # noqa: PLR2004 - HTTP
            raise grafana.login_error("HTTP 401")
        if status == 403:  # noqa: PLR2004 - HTTP
            raise PictureError(
                f"Grafana lets us in but not see dashboards (HTTP 403 for {shown}): "
                "give the service account or user of grafana: the role Viewer"
            )
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            raise PictureError(f"Grafana at {grafana.base} redirects {shown}: write its real address as grafana.url")
        if status != 200:  # noqa: PLR2004 - HTTP
            raise PictureError(
                f"Grafana at {grafana.base} answered {shown} with HTTP {status}",
                retry=status >= 500 or status in _BUSY,  # noqa: PLR2004 - HTTP
            )
        try:
            # Some megabytes take long enough to be felt by others.
            if len(answer.body) > _MAX_BYTES_AT_ONCE:
                return await asyncio.to_thread(json.loads, answer.body)
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            raise PictureError(f"Grafana's answer to {shown} is no JSON: check grafana.url") from None


# ---------------------------------------------------------------- reading what Grafana says


def _read_hits(answer: Any) -> Iterator[DashboardHit]:
    for each in answer if isinstance(answer, list) else ():
        if not isinstance(each, dict) or each.get("type", "dash-db") != "dash-db":
            continue
        uid, title = each.get("uid"), each.get("title")
        if isinstance(uid, str) and is_dashboard_uid(uid) and isinstance(title, str):
            address = _ADDRESS.search(str(each.get("url") or ""))
            yield DashboardHit(
                uid, " ".join(title.split()), str(each.get("folderTitle") or ""), address[1] if address else ""
            )


def read_dashboard(answer: Mapping[str, Any], uid: str) -> Dashboard:
    """Read what `/api/dashboards/uid/UID` or the newer API answers. What is not understood is left out."""
    model, meta = _mapping(answer.get("dashboard")), _mapping(answer.get("meta"))
    spec = _mapping(answer.get("spec")) or _mapping(model.get("spec"))
    newer = next((each for each in (spec, model) if "elements" in each), None)
    address = _ADDRESS.search(str(meta.get("url") or ""))
    slug = str(meta.get("slug") or (address[1] if address else ""))
    if newer is not None:
        times, panels = _mapping(newer.get("timeSettings")), _panels_of_layout(newer)
        variables = [_mapping(_mapping(each).get("spec")) for each in _list(newer.get("variables"))]
    else:
        model = model or spec
        times, panels = _mapping(model.get("time")), _panels_of_model(model)
        variables = [_mapping(each) for each in _list(_mapping(model.get("templating")).get("list"))]
    return Dashboard(
        uid,
        _text((newer or model).get("title")) or uid,
        slug,
        _number_panels(panels),
        tuple(filter(None, map(_read_variable, variables))),
        _text(times.get("from")),
        _text(times.get("to")),
    )


def _number_panels(panels: Iterator[PanelInfo]) -> tuple[PanelInfo, ...]:
    seen: dict[int, PanelInfo] = {}
    for panel in panels:
        if panel.id not in seen:
            seen[panel.id] = PanelInfo(len(seen) + 1, panel.id, panel.title, panel.row, panel.repeat)
    return tuple(seen.values())


def _panels_of_model(model: Mapping[str, Any]) -> Iterator[PanelInfo]:
    """Read the panels in the order in which one reads: by their place, those of a collapsed row where the row is."""
    for row in _list(model.get("rows")):
        inner = _mapping(row)
        for panel in _list(inner.get("panels")):
            yield from _read_panel(_mapping(panel), _text(inner.get("title")))
    row_title = ""
    for each in sorted(map(_mapping, _list(model.get("panels"))), key=_grid_position):
        if each.get("type") != "row":
            yield from _read_panel(each, row_title)
            continue
        row_title = _text(each.get("title"))
        for panel in sorted(map(_mapping, _list(each.get("panels"))), key=_grid_position):
            yield from _read_panel(panel, row_title)


def _grid_position(panel: Mapping[str, Any]) -> tuple[float, float]:
    place = _mapping(panel.get("gridPos"))
    return tuple(  # type: ignore[return-value] # two of them
        float(place[side]) if isinstance(place.get(side), int | float) else 0.0 for side in ("y", "x")
    )


def _read_panel(panel: Mapping[str, Any], row: str) -> Iterator[PanelInfo]:
    number = panel.get("id")
    # Older models keep the copies of a repeated panel; they are made anew with each look.
    if isinstance(number, int) and not panel.get("repeatPanelId"):
        library = _mapping(panel.get("libraryPanel"))
        title = _text(panel.get("title")) or _text(library.get("name"))
        yield PanelInfo(0, number, title, row, _text(panel.get("repeat")))


def _panels_of_layout(spec: Mapping[str, Any]) -> Iterator[PanelInfo]:
    elements = _mapping(spec.get("elements"))
    for name, row, repeat in _elements_of_layout(_mapping(spec.get("layout")), "", 0):
        element = _mapping(_mapping(elements.get(name)).get("spec"))
        number = element.get("id")
        if isinstance(number, int):
            title = _text(element.get("title")) or _text(_mapping(element.get("libraryPanel")).get("name"))
            yield PanelInfo(0, number, title, row, repeat)


def _elements_of_layout(layout: Mapping[str, Any], row: str, depth: int) -> Iterator[tuple[str, str, str]]:
    """List the elements of a layout in order: (name, row or tab, repeated for)."""
    spec = _mapping(layout.get("spec"))
    if depth > _MAX_LAYOUT_DEPTH:
        return
    items = [_mapping(_mapping(item).get("spec")) for item in _list(spec.get("items"))]
    for item in sorted(items, key=lambda each: _grid_position({"gridPos": each})):
        name, repeat = _mapping(item.get("element")).get("name"), _mapping(item.get("repeat")).get("value")
        if isinstance(name, str):
            yield name, row, _text(repeat)
    for part in (*_list(spec.get("rows")), *_list(spec.get("tabs"))):
        inner = _mapping(_mapping(part).get("spec"))
        yield from _elements_of_layout(_mapping(inner.get("layout")), _text(inner.get("title")) or row, depth + 1)


def _read_variable(given: Mapping[str, Any]) -> DashboardVariable | None:
    name = _text(given.get("name"))
    if not name:
        return None
    current = _mapping(given.get("current"))
    options = [_mapping(each) for each in _list(given.get("options"))]
    return DashboardVariable(
        name,
        ", ".join(_texts(current.get("text"))),
        _texts(current.get("value")),
        bool(given.get("multi")),
        bool(given.get("includeAll")),
        tuple((_text(each.get("text")), _text(each.get("value"))) for each in options),
        _text(given.get("label")),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, value if isinstance(value, list) else [value])))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: Any) -> str:
    return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""
