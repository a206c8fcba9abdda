"""Grafana as the painter of alerts' charts: a panel of a scratch dashboard is filled, drawn by Grafana, and put back.

One chart at a time: a lock keeps the charts of this process apart, a mark in the dashboard's JSON those of several
bridges, and the dashboard's version everybody else. Nothing is ever overwritten: who saves a version that is no longer
the newest is refused by Grafana (412), reads it anew and tries again. A picture counts only where nobody touched the
dashboard between filling it and putting it back, so that it shows no other alert.

The mark holds what the panel was before, whose it is and until when. What a bridge left behind that was killed is put
back by the next one to draw, once that time is over. https://grafana.com/docs/grafana/latest/developers/http_api/dashboard/
"""

from __future__ import annotations

import asyncio
import copy
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import structlog

from wxbridge.config.types import ScratchSettings, WebSource
from wxbridge.core.deadline import seconds_left, share_of_time
from wxbridge.core.errors import NothingToDraw, PictureError, PictureRefused, PictureTimeout
from wxbridge.core.http import ApiClient, ApiError
from wxbridge.core.pictures import ChartRequest, PanelAddress, PanelRequest
from wxbridge.core.text.i18n import say
from wxbridge.core.thresholds import AlertThreshold
from wxbridge.monitors.prometheus import QueryAnswer
from wxbridge.monitors.promql import (
    AlertCurve,
    Analysis,
    CurveRole,
    Period,
    SeriesChoice,
    choose_series,
    narrow_query,
)
from wxbridge.pictures.charts.chart import MAX_CURVES
from wxbridge.pictures.charts.graph import MAX_RATIO, ChartPainter, resolve_period

log = structlog.get_logger()

KIND = "scratch"
"""What these charts are called in the metrics."""
MARK = "wxbridge"
"""The key of the mark in a dashboard's JSON, which Grafana keeps as it is."""
DEADLINE_SECONDS = 30.0
MAX_TRIES = 3
"""How often it is tried where somebody else changes the dashboard, or does not answer when it is put back."""
_PUT_BACK_SECONDS = 10.0
"""That putting back may take after the deadline, until others may take over."""
_MAX_MARK_SECONDS = 600.0
"""A mark that says more than this is wrong."""
_DRAWING_SHARE = 0.9
_MAX_TITLE_CHARS = 200
_FILLED_KEYS = ("title", "targets", "fieldConfig", "thresholds", "yaxes", "timeFrom", "timeShift", "hideTimeOverride")
"""The keys of a panel that are filled in, or left out, and put back."""
_CONFLICT = frozenset({409, 412})
_EDITOR_ADVICE = (
    "give the service account or user of grafana: the role Editor, or the permission Edit on this dashboard"
)
_CLASSIC_ADVICE = "make a classic one, with one time series in it"
_UNITS = {
    "percent": "percent", "ratio": "percentunit", "bytes": "bytes", "decbytes": "decbytes", "bits": "decbits",
    "bytes/s": "binBps", "bits/s": "bps", "seconds": "s", "milliseconds": "ms", "ms": "ms", "us": "µs", "ns": "ns",
    "celsius": "celsius",
}  # fmt: skip
"""Our words for units → Grafana's."""

Painter = Callable[[Mapping[str, Any]], Awaitable[bytes]]
Json = dict[str, Any]


# ---------------------------------------------------------------- the dashboard's JSON, pure


@dataclass(frozen=True)
class PanelContent:
    """What a panel is filled with."""

    title: str
    curves: tuple[AlertCurve, ...]
    thresholds: tuple[AlertThreshold, ...] = ()
    unit: str = ""
    """As `core.text.units` knows it; empty leaves the panel's own."""


@dataclass(frozen=True)
class ScratchMark:
    """Whose a filled panel is, until when (seconds since the epoch), and what it was before."""

    owner: str
    until: float
    panel: int
    was: Mapping[str, Any]


def mark_in(model: Mapping[str, Any]) -> ScratchMark | None:
    """The mark of a dashboard; None where there is none that can be read."""
    found = model.get(MARK)
    try:
        mark = ScratchMark(**found) if isinstance(found, dict) else None
    except TypeError:
        return None
    right = mark is not None and isinstance(mark.was, dict) and isinstance(mark.until, int | float)
    return mark if right else None


def filled(model: Mapping[str, Any], panel: int, content: PanelContent, *, owner: str, until: float) -> Json:
    """The dashboard with one panel filled, and the mark that tells what it was."""
    made = copy.deepcopy(dict(model))
    found = _panel_in(made, panel)
    assert found is not None, "`unusable` saw to it"  # noqa: S101
    was = {name: copy.deepcopy(found[name]) for name in _FILLED_KEYS if name in found}
    _fill(found, content)
    made[MARK] = {"owner": owner, "until": until, "panel": panel, "was": was}
    return made


def mended(model: Mapping[str, Any], mark: ScratchMark | None = None) -> Json:
    """The dashboard as it was before: by its own mark, or by one that was lost."""
    mark = mark_in(model) or mark
    made = copy.deepcopy(dict(model))
    made.pop(MARK, None)
    found = _panel_in(made, mark.panel) if mark is not None else None
    if found is not None and mark is not None:
        for name in _FILLED_KEYS:
            found.pop(name, None)
        found.update({name: copy.deepcopy(value) for name, value in mark.was.items() if name in _FILLED_KEYS})
    return made


def unusable(answer: Any, panel: int) -> tuple[str, str] | None:
    """Why a dashboard, as `/api/dashboards/uid/UID` answers it, cannot draw charts, and what to do; None if it can."""
    return next(_obstacles(answer, panel), None)


def _obstacles(answer: Any, panel: int) -> Iterator[tuple[str, str]]:
    model = answer.get("dashboard") if isinstance(answer, dict) else None
    if not isinstance(model, dict):
        yield "this is no dashboard of Grafana's", "correct grafana.url"
        return
    meta = _part(answer, "meta")
    name = f"Grafana's dashboard {model.get('title') or model.get('uid')}"
    if "elements" in model or "panels" not in model:
        yield f"{name} is of another schema than its API saves", _CLASSIC_ADVICE
    if meta.get("provisioned"):
        yield f"{name} is provisioned from a file and cannot be saved", "take one that is not"
    if meta.get("canSave") is False:
        yield f"{name} may be read, but not saved", _EDITOR_ADVICE
    found = _panel_in(model, panel)
    if found is None:
        numbers = ", ".join(str(each.get("id")) for each in _panels(model)) or "none"
        yield f"{name} has no panel {panel} but {numbers}", "correct pictures.alerts.painter.panel"
    elif found.get("libraryPanel"):
        yield f"panel {panel} of {name} is a library panel, which other dashboards show too", "unlink it"


def refused(status: int | None, uid: str) -> tuple[str, str] | None:
    """What a status of Grafana's API means for a scratch dashboard, and what to do; None where nothing special."""
    known = {
        403: (f"Grafana lets us in, but not see or save the dashboard {uid} (HTTP 403)", _EDITOR_ADVICE),
        404: (f"Grafana has no dashboard {uid} that it shows us", "correct pictures.alerts.painter.dashboard"),
        406: (f"Grafana's dashboard {uid} is of a newer schema than its API saves", _CLASSIC_ADVICE),
    }
    return known.get(status or 0)


def _panels(model: Mapping[str, Any]) -> Iterator[Json]:
    """All panels, those in collapsed rows too."""
    for each in model.get("panels") or ():
        if isinstance(each, dict):
            yield each
            yield from _panels(each)


def _panel_in(model: Mapping[str, Any], number: int) -> Json | None:
    return next((each for each in _panels(model) if each.get("id") == number and each.get("type") != "row"), None)


def _fill(panel: Json, content: PanelContent) -> None:
    for name in ("timeFrom", "timeShift", "hideTimeOverride"):
        panel.pop(name, None)
    old = [each for each in panel.get("targets") or () if isinstance(each, dict)]
    template = {name: value for name, value in (old[0] if old else {}).items() if name != "hide"}
    panel["title"] = content.title
    panel["targets"] = [
        # Letters, as Grafana names queries.
        template | {"refId": chr(ord("A") + place), "expr": curve.query, "range": True, "instant": False}
        for place, curve in enumerate(content.curves)
    ]
    limits = [each for each in content.thresholds if math.isfinite(each.value)]
    unit = _UNITS.get(content.unit)
    if panel.get("type") == "graph":
        _fill_graph(panel, limits, unit)
    else:
        _fill_series(panel, content.curves, limits, unit)


def _fill_series(panel: Json, curves: Sequence[AlertCurve], limits: Sequence[AlertThreshold], unit: str | None) -> None:
    """A time series, since Grafana 7.4. The first step is the ground, which has no line."""
    config = panel["fieldConfig"] = _part(panel, "fieldConfig")
    defaults = config["defaults"] = _part(config, "defaults")
    custom = defaults["custom"] = _part(defaults, "custom")
    values = sorted({each.value for each in limits})
    steps = [{"color": "transparent", "value": None}, *({"color": "red", "value": value} for value in values)]
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    custom["thresholdsStyle"] = {"mode": "line" if values else "off"}
    if _part(defaults, "color").get("mode") == "thresholds":
        defaults["color"] = {"mode": "palette-classic"}  # or the curves would be transparent too
    if values:  # a threshold is seen even where no curve comes near it
        for name, choose in (("axisSoftMin", min), ("axisSoftMax", max)):
            own = custom.get(name)
            custom[name] = choose([*values, own] if isinstance(own, int | float) else values)
    if unit:
        defaults["unit"] = unit
    config["overrides"] = [
        *(config.get("overrides") or ()),
        *(
            {
                "matcher": {"id": "byFrameRefID", "options": chr(ord("A") + place)},
                "properties": [{"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}}],
            }
            for place, curve in enumerate(curves)
            if curve.role is CurveRole.REFERENCE
        ),
    ]


def _fill_graph(panel: Json, limits: Sequence[AlertThreshold], unit: str | None) -> None:
    """The panel `graph`, up to Grafana 10."""
    panel["thresholds"] = [
        {
            "value": each.value,
            "op": "lt" if each.op.startswith("<") else "gt",
            "colorMode": "critical",
            "line": True,
            "fill": False,
            "yaxis": "left",
        }
        for each in limits
    ]
    axes = copy.deepcopy(panel.get("yaxes"))
    if unit and isinstance(axes, list) and axes and isinstance(axes[0], dict):
        axes[0]["format"] = unit
        panel["yaxes"] = axes


def _part(whole: Mapping[str, Any], name: str) -> Json:
    part = whole.get(name)
    return copy.deepcopy(part) if isinstance(part, dict) else {}


def _queries(model: Mapping[str, Any], number: int) -> object:
    """What tells a filled panel from others: its title and its queries."""
    panel = _panel_in(model, number) or {}
    return panel.get("title"), [each.get("expr") for each in panel.get("targets") or () if isinstance(each, dict)]


# ---------------------------------------------------------------- drawing


@dataclass(frozen=True)
class _Read:
    """A dashboard as Grafana has it, and the keys that keep it in its folder when it is saved."""

    model: Json
    folder: Json


class ScratchPainter:
    """Draws charts with one panel of one dashboard. Use from one event loop, and `close()` in the end.

    Args:
        settings: Which panel.
        grafana: Where Grafana is, and an account that may save the dashboard.
        chart_painter: What knows rules and series.
        paint: The painter of panels, by Grafana's renderer or our browser.
        theme: Where the params of a chart name none; likewise `timezone`.
        wall: Seconds since the epoch; for tests.
        pause: Seconds before another attempt.
    """

    def __init__(
        self,
        settings: ScratchSettings,
        grafana: WebSource,
        chart_painter: ChartPainter,
        paint: Painter,
        *,
        theme: str = "light",
        timezone: str | None = None,
        wall: Callable[[], float] = time.time,
        pause: float = 0.5,
    ) -> None:
        self._settings = settings
        self._client = ApiClient(grafana.address("Grafana", "grafana"))
        self._chart_painter = chart_painter
        self._paint = paint
        self._theme = theme
        self._timezone = timezone
        self._wall = wall
        self._pause = pause
        self._owner = secrets.token_hex(8)
        self._lock = asyncio.Lock()
        self._mending: asyncio.Task[bool] | None = None

    async def close(self) -> None:
        """Wait, ten seconds at most, until the dashboard is put back, and close the connections."""
        if self._mending is not None:
            await asyncio.wait([self._mending], timeout=_PUT_BACK_SECONDS)
            self._mending.cancel()
        await self._client.close()

    async def paint(self, params: Mapping[str, Any]) -> bytes:
        """Draw the chart that the params of the kind `chart` ask for, within the time that is left for it.

        The panel is put back after that, after an error too, and in the background where the time is up.

        Raises:
            NothingToDraw: no rule, no data; or Grafana would show other series than the alert's, or more than are
                readable (`unfit`).
            PictureRefused: the account may not save the dashboard, or it is none to be filled.
            PictureError: Prometheus or Grafana cannot be asked, or the panel cannot be drawn; `PictureTimeout` where
                the time did not suffice.
        """
        limit = seconds_left(DEADLINE_SECONDS)
        try:
            async with asyncio.timeout(limit):
                content, shown = await self._asked(ChartRequest.from_params(params))
                # One at a time: the next one waits here, or is too late.
                async with self._lock:
                    return await self._drawn(
                        content, shown, self._wall() + min(limit + _PUT_BACK_SECONDS, _MAX_MARK_SECONDS)
                    )
        except TimeoutError:
            raise PictureTimeout(f"Grafana's scratch dashboard did not give a picture within {limit:.3g} s") from None
        except ApiError as error:
            raise _failure(error, self._settings.dashboard) from None

    # ------------------------------------------------------------ what to draw

    async def _asked(self, request: ChartRequest) -> tuple[PanelContent, PanelRequest]:
        """What a panel is filled with, and its picture."""
        known = await self._chart_painter.look_up_rule(request)
        request, analysis = known.request, known.analyze()
        when = resolve_period(request)
        curves = [curve for curve in analysis.curves if curve.role is not CurveRole.ABSENT]
        unit, answered = await asyncio.gather(
            self._chart_painter.find_unit(request, analysis),
            asyncio.gather(*(self._fitting(curve, analysis, when) for curve in curves)),
        )
        found = [(curve, answer) for curve, answer in answered if _values(answer)]
        if not any(curve.role is not CurveRole.REFERENCE for curve, _ in found):
            raise NothingToDraw(f"Prometheus has no data to draw for {analysis.expr.strip()[:_MAX_TITLE_CHARS]}")
        if unit == "ratio" and not request.unit and any(max(_values(answer)) > MAX_RATIO for _, answer in found):
            unit = ""
        title = (request.title or " ".join(analysis.expr.split()))[:_MAX_TITLE_CHARS]
        shown = PanelRequest(
            PanelAddress(str(self._settings.panel), self._settings.dashboard),
            round(when.start * 1000),
            round(when.end * 1000),
            theme=request.theme or self._theme,
            timezone=request.timezone or self._timezone,
            language=say("language.locale", request.language) if request.language else None,
        )
        return PanelContent(title, tuple(curve for curve, _ in found), analysis.thresholds, unit), shown

    async def _fitting(self, curve: AlertCurve, analysis: Analysis, when: Period) -> tuple[AlertCurve, QueryAnswer]:
        """Make a curve that Grafana can draw, which draws all that a query gives: it has to give the alert's alone."""
        query: str | None = curve.query

        def choose(series: Sequence[Mapping[str, str]]) -> SeriesChoice:
            nonlocal query
            choice = SeriesChoice(tuple(range(len(series))))
            if any(analysis.instances) and series:
                choice = choose_series(curve, series, analysis.instances)
                if len(choice.places) < len(series) or not choice.sure:
                    chosen = [series[place] for place in choice.places]
                    # What is not understood may end in a comment, or be more than one expression.
                    can_narrow = choice.sure and analysis.understood
                    query = narrow_query(curve.query, chosen, series) if can_narrow else None
            return choice

        answer = await self._chart_painter.prometheus.query_range(curve.query, when, choose=choose, limit=MAX_CURVES)
        if query is None or answer.others:
            why = f"more than {MAX_CURVES}" if answer.others else "others than the firing instances'"
            raise NothingToDraw(f"Grafana would draw {why} series for {curve.query[:_MAX_TITLE_CHARS]}", reason="unfit")
        return replace(curve, query=query), answer

    # ------------------------------------------------------------ one turn

    async def _drawn(self, content: PanelContent, shown: PanelRequest, until: float) -> bytes:
        for number in range(MAX_TRIES):
            if number:
                await asyncio.sleep(self._pause)
            if self._mending is not None:
                await asyncio.wait([self._mending])
            read = await self._free()
            made = _Read(filled(read.model, self._settings.panel, content, owner=self._owner, until=until), read.folder)
            # A request that is broken off may be obeyed all the same: this one is waited for before putting back.
            saving = asyncio.create_task(self._save(made, "draws an alert"))
            try:
                await asyncio.shield(saving)
                with share_of_time(_DRAWING_SHARE):
                    picture = await self._paint(shown.to_spec().params)
            except ApiError as error:
                if error.status not in _CONFLICT or number + 1 == MAX_TRIES:
                    raise
                continue
            finally:
                self._mending = asyncio.create_task(self._put_back(saving, made))
            if await asyncio.shield(self._mending):
                return picture
        raise PictureError(
            f"somebody else changes Grafana's dashboard {self._settings.dashboard} while alerts are drawn with it: "
            "take one that is there for this alone",
            retry=True,
        )

    async def _free(self) -> _Read:
        """Read the dashboard, mended, once no other bridge draws with it."""
        while True:
            read = await self._read()
            mark = mark_in(read.model)
            now = self._wall()
            if mark is None or mark.owner == self._owner or not now < mark.until <= now + _MAX_MARK_SECONDS:
                if mark is not None:
                    log.warning("the scratch dashboard was left filled: it is put back", panel=mark.panel)
                return _Read(mended(read.model), read.folder)
            await asyncio.sleep(self._pause)

    async def _put_back(self, saving: asyncio.Task[int | None], made: _Read) -> bool:
        """Put the panel back. Whether nobody touched the dashboard since it was filled."""
        saved: int | None = None
        try:
            saved = await saving
        except ApiError as error:
            if error.status is not None and error.status < 500:  # noqa: PLR2004 - HTTP
                return False  # nothing was saved
        read, mark, alone = _Read({**made.model, "version": saved}, made.folder), mark_in(made.model), True
        for number in range(MAX_TRIES):
            try:
                if number or saved is None:
                    read = await self._read()
                    alone = read.model.get("version") == saved
                    if not self._is_ours(read.model, made.model):
                        return False
                await self._save(_Read(mended(read.model, mark), read.folder), "as it was")
            except (ApiError, PictureError) as error:
                log.warning("the scratch dashboard is not put back yet", error=str(error))
                await asyncio.sleep(self._pause)
            else:
                return alone
        return False

    def _is_ours(self, model: Json, made: Json) -> bool:
        """Whether a dashboard still shows what was filled in. A person who saves it in the browser loses the mark."""
        mark = mark_in(model)
        if mark is not None:
            return mark.owner == self._owner
        return _queries(model, self._settings.panel) == _queries(made, self._settings.panel)

    # ------------------------------------------------------------ Grafana's API

    async def _read(self) -> _Read:
        answer = await self._client.get(f"/api/dashboards/uid/{quote(self._settings.dashboard)}")
        if words := unusable(answer, self._settings.panel):
            raise PictureRefused(": ".join(words))
        meta = answer.get("meta") or {}
        # A dashboard that is saved without its folder moves out of it; only one of the two is to be given.
        folder = {"folderUid": meta["folderUid"]} if meta.get("folderUid") else {"folderId": meta.get("folderId") or 0}
        return _Read(answer["dashboard"], folder)

    async def _save(self, read: _Read, message: str) -> int | None:
        """Save a dashboard where its version is still the newest; its new version."""
        body = {"dashboard": read.model, **read.folder, "message": f"wxbridge: {message}", "overwrite": False}
        answer = await self._client.post("/api/dashboards/db", body)
        version = answer.get("version") if isinstance(answer, dict) else None
        return version if isinstance(version, int) else None


def _values(answer: QueryAnswer) -> list[float]:
    return [value for series in answer.series for _, value in series.points if not math.isnan(value)]


def _failure(error: ApiError, uid: str) -> PictureError:
    """What to do about an answer of Grafana's API."""
    if words := refused(error.status, uid):
        return PictureRefused(": ".join(words))
    if error.status == 401:  # noqa: PLR2004 - HTTP
        return PictureRefused(str(error))
    return PictureError(str(error), retry=error.passing or error.status in _CONFLICT)
