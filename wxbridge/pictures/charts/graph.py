"""Charts of PromQL: the painter of pictures of kind `chart`; its params are `core.pictures.ChartRequest`'s."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from wxbridge.config.types import WebSource
from wxbridge.core.closing import Closing
from wxbridge.core.errors import NothingToDraw, PictureError
from wxbridge.core.pictures import ChartRequest, Theme
from wxbridge.core.text.i18n import FALLBACK_LANGUAGE, Language, say
from wxbridge.monitors.period import MAX_POINTS, USUAL_POINTS, Period, choose_period
from wxbridge.monitors.prometheus import ChartData, Prometheus, fetch_chart_data, find_rule
from wxbridge.monitors.promql import Analysis, CurveRole, analyze_expression
from wxbridge.monitors.promql_units import unit_in
from wxbridge.pictures.charts.chart import Chart, Curve, Mark
from wxbridge.pictures.charts.worker import ChartWorker

_MAX_METRICS_ASKED = 3
"""Of how many metrics the server is asked for a unit."""
_ROUNDING_STEPS = 1e-3
"""Of a step: what a start may be off for its point to count."""
_MAX_RATIO = 10.0
"""What is called a ratio and is more than this is none."""
_MAX_TITLE_CHARS = 200
"""What is too wide for the picture is cut by who draws it."""
_NOTES = tuple(f"pictures.chart.{name}" for name in ("labels_differ", "labels_unknown", "histograms"))
"""The texts of notes that are ours; others are a server's own."""


def resolve_period(request: ChartRequest) -> Period:
    """Tell the time that a chart shows, within 10 to 11,000 points.

    Raises:
        PictureError: it ends before it starts, or is in no calendar.
    """
    end = request.end if request.end is not None else request.at
    try:
        if request.start is not None and end is not None:
            return _given(request.start, end, request.step)
        now = _moment(end)
        assert now is not None  # noqa: S101 - `from_params` saw to it
        chosen = choose_period(
            now, hold=request.hold, starts_at=_moment(request.firing_since), ends_at=_moment(request.resolved_at)
        )
    except (OverflowError, ValueError, OSError):
        raise PictureError("a chart's times are in no calendar") from None
    return _given(chosen.start, chosen.end, request.step) if request.step else chosen


def _given(start: float, end: float, step: float | None) -> Period:
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        raise PictureError("a chart's end has to be after its start")
    datetime.fromtimestamp(end, UTC)
    usual, least = (max(1.0, math.ceil((end - start) / (points - 1))) for points in (USUAL_POINTS, MAX_POINTS))
    step = max(least, step or usual)
    # The last point is the end itself, as in `promql.choose_period`: of 30 days a step is more than an hour.
    end = math.floor(end * 1000) / 1000
    return Period(max(0.0, end - math.floor((end - start) / step + _ROUNDING_STEPS) * step), end, step)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True)
class ChartLook:
    """How charts look whose request does not say."""

    timezone: str = "UTC"
    """An IANA name."""
    language: Language = "en"
    theme: Theme = "light"


@dataclass(frozen=True)
class KnownRule:
    """A request with what Prometheus says of its rule."""

    request: ChartRequest
    added_labels: tuple[str, ...] = ()
    """The labels that the rule itself sets."""

    def analyze(self) -> Analysis:
        """Find what of its expression a chart shows. Never raises."""
        first, *others = self.request.instances or ({},)
        return analyze_expression(self.request.expr, first, *others, added=self.added_labels)


class ChartPainter(Closing):
    """Draws charts from one Prometheus. Use from one event loop, and `close()` in the end.

    Args:
        settings: Which Prometheus.
        worker: What draws; whoever gave it closes it.
        look: Where the params say nothing.
    """

    def __init__(self, settings: WebSource, worker: ChartWorker, look: ChartLook | None = None) -> None:
        self.prometheus = Prometheus(settings)
        self._worker = worker
        self._look = look or ChartLook()

    async def close(self) -> None:
        """Close the connections."""
        await self.prometheus.close()

    async def paint(self, params: Mapping[str, Any]) -> bytes:
        """Draw the chart that the params ask for.

        Raises:
            NothingToDraw: there is no such rule (`no_rule`), or no data (`no_data`).
            PictureError: the params are wrong; Prometheus cannot be reached, refuses or is too late; drawing failed.
        """
        return await self._worker.draw(await self.make_chart(ChartRequest.from_params(params)))

    async def look_up_rule(self, request: ChartRequest) -> KnownRule:
        """Fill in what the rule says that a request names; a rule that is unknown leaves the request's own expression.

        Raises:
            NothingToDraw: the rule is unknown, and the request has no expression.
            PictureError: Prometheus does not tell its rules.
        """
        if not request.rule:
            return KnownRule(request)
        labels = {**(request.instances[0] if request.instances else {}), "alertname": request.rule}
        try:
            rules = await self.prometheus.rules()
        except PictureError as error:
            # Storages that speak PromQL need not know of rules; what cannot be reached says so again.
            if not request.expr or error.retry:
                raise
            rules = ()
        found = find_rule(rules, labels, request.expr or None)
        if found is not None:
            title = request.title or found.name
            return KnownRule(replace(request, expr=found.expr, hold=found.hold, title=title), tuple(found.labels))
        if not request.expr:
            raise NothingToDraw(f"Prometheus has no alerting rule {request.rule[:200]}", reason="no_rule")
        return KnownRule(replace(request, title=request.title or request.rule))

    async def make_chart(self, request: ChartRequest) -> Chart:
        """Ask Prometheus for what a chart shows.

        Raises:
            NothingToDraw: there is no such rule, or no data.
            PictureError: as `Prometheus.query_range`.
        """
        known = await self.look_up_rule(request)
        request, analysis = known.request, known.analyze()
        when = resolve_period(request)
        shown, unit = await asyncio.gather(
            fetch_chart_data(self.prometheus, analysis, when), self.find_unit(request, analysis), return_exceptions=True
        )
        if isinstance(shown, BaseException):
            raise shown
        if isinstance(unit, BaseException):
            raise unit
        return compose_chart(request, analysis, shown, unit, self._look)

    async def find_unit(self, request: ChartRequest, analysis: Analysis) -> str:
        """Tell what a chart's values are counted in, as `core.text.units` knows it; empty where it cannot be told."""
        if request.unit:
            return request.unit
        curve = analysis.curves[0]
        known: dict[str, str] = {}

        def of_metric(name: str) -> str:
            return known.get(name, "")

        if found := unit_in(curve.query, of_metric):
            return found
        names = curve.metrics[:_MAX_METRICS_ASKED]
        metadata = await asyncio.gather(*map(self.prometheus.metadata, names))
        known.update((name, each.unit) for name, each in zip(names, metadata, strict=True) if each.unit)
        return unit_in(curve.query, of_metric) if known else ""


def compose_chart(request: ChartRequest, analysis: Analysis, shown: ChartData, unit: str, look: ChartLook) -> Chart:
    """Make a chart of what was asked for and answered; `unit` is what the values seem to be counted in."""
    language = request.language or look.language
    vanished = any(curve.role is CurveRole.VANISHED for curve, _ in shown.curves)
    # What is missing is better seen as the end of its own curve than as a 1 that says so.
    parts = [(curve, answer) for curve, answer in shown.curves if not (vanished and curve.role is CurveRole.ABSENT)]
    several = sum(curve.role is not CurveRole.REFERENCE for curve, _ in parts) > 1
    curves = []
    for curve, answer in parts:
        reference = curve.role is CurveRole.REFERENCE
        named = reference or (several and len(answer.series) == 1)
        name = " ".join(curve.query.split()) if named else ""
        curves += [Curve(series.points, series.labels, name, reference) for series in answer.series]
    if unit == "ratio" and not request.unit and _above(curves, _MAX_RATIO):
        unit = ""
    notes = {say(key, FALLBACK_LANGUAGE): say(key, language) for key in _NOTES}
    since = request.firing_since
    return Chart(
        title=(request.title or " ".join(analysis.expr.split()))[:_MAX_TITLE_CHARS],
        curves=tuple(curves),
        start=shown.period.start if request.start is None else request.start,
        end=shown.period.end,
        now=request.resolved_at is None and request.at is not None and request.end in (None, request.at),
        subtitle=request.subtitle,
        thresholds=analysis.thresholds,
        marks=(Mark(since, request.resolved_at),) if since is not None else (),
        unit=unit,
        others=sum(answer.others for _, answer in parts) + request.more,
        note=say("text.also", language).join(notes.get(note, note) for note in shown.notes),
        timezone=request.timezone or look.timezone,
        language=language,
        theme=request.theme or look.theme,
    )


def _above(curves: list[Curve], limit: float) -> bool:
    return any(value is not None and limit < value < math.inf for curve in curves for _, value in curve.points)
