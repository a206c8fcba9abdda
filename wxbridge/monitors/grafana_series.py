"""What Grafana computes for the chart of one of its rules: the rule is asked for, and its series over a time.

Both work with the role Viewer, for whatever data source the rule has. Unified alerting (8 and later) answers with data
frames, https://grafana.com/developers/dataplane/ ; legacy alerting of 7 with series of its own.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

import structlog

from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import NothingToDraw, PictureError
from wxbridge.core.http import ApiAnswer
from wxbridge.core.json_values import as_text
from wxbridge.core.pictures import is_dashboard_uid
from wxbridge.core.thresholds import badness
from wxbridge.monitors.grafana import Grafana
from wxbridge.monitors.grafana_rules import GrafanaRule, RuleCurve, read_legacy_rule, read_unified_rule
from wxbridge.monitors.period import USUAL_POINTS, Period
from wxbridge.monitors.prometheus import MAX_SERIES_PER_CURVE, ChartData, QueryAnswer, Series, rank_points
from wxbridge.monitors.promql import AlertCurve
from wxbridge.monitors.series_choice import LABELS_DIFFER, SeriesChoice, choose_series

log = structlog.get_logger()

DEADLINE_SECONDS = 15.0
"""For one answer, where the picture has no deadline of its own."""
_RULE = "/api/v1/provisioning/alert-rules/"
_ALL_RULES = "/api/ruler/grafana/api/v1/rules"
_QUERY, _OLD_QUERY = "/api/ds/query", "/api/tsdb/query"
_MAX_GAP_STEPS = 3.0
"""Between two points that are still joined, of the usual distance: nothing else tells how often a source measures."""
_LAST_STEP_SECONDS = 60.0
"""How far behind the end is asked, for sources that measure in whole minutes."""
_SPECIAL = {"NaN": math.nan, "Inf": math.inf, "NegInf": -math.inf}
_OK, _FORBIDDEN, _NOT_FOUND = 200, 403, 404

Json = Mapping[str, Any]


class GrafanaRules:
    """Asks one Grafana for its rules. Whatever it does not let us read is nothing to draw."""

    def __init__(self, grafana: Grafana) -> None:
        self._grafana = grafana

    async def find_unified(self, uid: str, org: str = "") -> GrafanaRule:
        """Find a rule of unified alerting by its uid.

        Raises:
            NothingToDraw: there is none, or it is not for us to read (`no_rule`).
            PictureError: Grafana cannot be reached, or is too late.
        """
        if not is_dashboard_uid(uid):
            raise NothingToDraw("the alert's rule has an impossible name", reason="no_rule")
        answer = await self._ask(_RULE + uid, org)
        if answer is not None and answer.status == _FORBIDDEN:
            # Before version 10 that way is the administrators' alone, and a list of all rules is there for viewers.
            return _read_rule(_rule_among(await self._get(_ALL_RULES, org), uid), uid, read_unified_rule)
        return _read_rule(await _decode(answer), uid, read_unified_rule)

    async def find_legacy(self, number: int, org: str = "") -> GrafanaRule:
        """Find a rule of legacy alerting by its number.

        Raises:
            NothingToDraw: as `find_unified`.
            PictureError: likewise.
        """
        return _read_rule(await self._get(f"/api/alerts/{number}", org), str(number), read_legacy_rule)

    async def fetch_chart_data(
        self, rule: GrafanaRule, instances: Sequence[Mapping[str, str]], period: Period, org: str = ""
    ) -> ChartData:
        """Have a rule's queries computed over a time: the series of the firing instances alone, the worst first.

        Args:
            rule: As Grafana told it.
            instances: The labels of the firing alerts; without any all series are given.
            period: What to ask for; Grafana chooses the times of the points.
            org: The rule's organisation; empty for the account's own.

        Raises:
            NothingToDraw: there is no data, or no source that we may, or can, read.
            PictureError: Grafana cannot be reached, or is too late.
        """
        found = await self._query(rule, period, org)
        shown = []
        for curve in rule.curves:
            answer = _choose([_cut(each, period) for each in found[curve.ref]], curve, instances)
            if any(not math.isnan(value) for each in answer.series for _, value in each.points):
                shown.append((AlertCurve(curve.promql or curve.ref, thresholds=curve.thresholds), answer))
        if not shown:
            raise NothingToDraw(f"Grafana has no data to draw for its rule {rule.title[:200]}")
        notes = dict.fromkeys(note for _, answer in shown for note in answer.notes)
        return ChartData(tuple(shown), period, tuple(notes))

    # ------------------------------------------------------------ inside

    async def _query(self, rule: GrafanaRule, period: Period, org: str) -> dict[str, list[Series]]:
        """Ask for the series of all curves; where they are too many to be read, with fewer points."""
        # Sources compute whole steps only: the one that ends behind the time holds what the rule fired for.
        end = period.end + max(_LAST_STEP_SECONDS, period.step)
        times = {name: str(math.floor(at * 1000)) for name, at in (("from", period.start), ("to", end))}
        is_old = any("datasourceId" in each for each in rule.queries)
        for points in (USUAL_POINTS, USUAL_POINTS // 10):
            body = {**times, "queries": [_over_time(each, period, points) for each in rule.queries]}
            answer = await self._ask(_OLD_QUERY if is_old else _QUERY, org, body)
            if is_old and answer is not None and answer.status == _NOT_FOUND:
                answer = await self._ask(_QUERY, org, body)
            if answer is not None:
                break
        found = await _decode(answer)
        try:
            return {curve.ref: list(_read_series(found["results"][curve.ref])) for curve in rule.curves}
        except (AttributeError, LookupError, TypeError, ValueError):
            raise NothingToDraw(f"Grafana cannot read the data of its rule {rule.title[:200]}") from None

    async def _get(self, path: str, org: str) -> Json:
        return await _decode(await self._ask(path, org))

    async def _ask(self, path: str, org: str, body: Json | None = None) -> ApiAnswer | None:
        """Ask for something; None where there is no answer that could be read."""
        limit = min(DEADLINE_SECONDS, seconds_left(DEADLINE_SECONDS))
        try:
            return await self._grafana.ask(path, deadline=limit, org=org, body=body)
        except PictureError as error:
            if error.retry:
                raise
            log.info("Grafana's answer cannot be read", path=path, error=str(error))
            return None


async def _decode(answer: ApiAnswer | None) -> Json:
    """Decode an answer; one that is none of success, or no object, is empty."""
    if answer is None or answer.status != _OK:
        return {}
    try:
        # Some megabytes take long enough to be felt by others.
        found = await asyncio.to_thread(json.loads, answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_rule(answer: Json, name: str, read: Callable[[Json], GrafanaRule]) -> GrafanaRule:
    try:
        rule = read(answer)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise NothingToDraw(f"Grafana shows us no rule {name}", reason="no_rule") from None
    if not rule.curves:
        raise NothingToDraw(f"Grafana's rule {rule.title[:200]} asks for nothing that can be drawn", reason="no_rule")
    return rule


def _rule_among(answer: Json, uid: str) -> Json:
    """The rule with a uid among all: folder → groups → rules."""
    groups = (group for folder in answer.values() if isinstance(folder, list) for group in folder)
    rules = (rule for group in groups for rule in group.get("rules") or ())
    return next((rule for rule in rules if (rule.get("grafana_alert") or {}).get("uid") == uid), {})


def _over_time(query: Json, period: Period, points: int) -> Json:
    """A query as it is asked for a time, where the rule asks for a moment."""
    step = max(1000, math.ceil((period.end - period.start) * 1000 / points))
    more: dict[str, Any] = {"intervalMs": step, "maxDataPoints": points}
    if "expr" in query:
        more |= {"range": True, "instant": False}
    if query.get("queryType") == "instant":
        more["queryType"] = "range"
    return {**query, **more}


def _choose(series: Sequence[Series], curve: RuleCurve, instances: Sequence[Mapping[str, str]]) -> QueryAnswer:
    """Choose the series of the firing instances, the worst of them first."""
    every = SeriesChoice(tuple(range(len(series))))
    scope = AlertCurve(curve.ref)
    choice = choose_series(scope, [each.labels for each in series], instances) if any(instances) else every
    chosen = [series[place] for place in choice.places]
    chosen.sort(key=lambda each: -rank_points(each.points, partial(badness, thresholds=curve.thresholds)))
    more = max(0, len(chosen) - MAX_SERIES_PER_CURVE)
    # What matched in classic conditions is told by the labels alone that tell it from what else matched.
    notes = (choice.note,) if chosen and choice.note not in ("", LABELS_DIFFER) else ()
    return QueryAnswer(tuple(chosen[:MAX_SERIES_PER_CURVE]), more, notes)


# ---------------------------------------------------------------- reading series


def _read_series(given: Json) -> Iterator[Series]:
    """Read the series of one query: frames, or what Grafana 7 answers.

    Raises:
        ValueError: the query failed, or this is no answer. AttributeError, LookupError and TypeError, likewise.
    """
    if given.get("error"):
        raise ValueError(as_text(given["error"]))
    for frame in given.get("frames") or ():
        yield from _read_frame(frame)
    for old in given.get("series") or ():
        points = [(at / 1000, float(value)) for value, at in old.get("points") or () if value is not None]
        yield _series(old.get("tags") or {"__name__": old.get("name") or ""}, points)


def _read_frame(frame: Json) -> Iterator[Series]:
    """Read a frame: a column with times, a column for each series; columns with texts are labels of their rows."""
    schema, data = frame.get("schema") or {}, frame.get("data") or {}
    fields = schema.get("fields") or []
    columns, special = data.get("values") or [], data.get("entities") or []
    places = {kind: [n for n, each in enumerate(fields) if each.get("type") == kind] for kind in ("time", "string")}
    if not places["time"] or len(columns) != len(fields):
        return
    times = columns[places["time"][0]]
    rows = list(zip(*(columns[place] for place in places["string"]), strict=True)) or [()] * len(times)
    for place, each in enumerate(fields):
        if each.get("type") not in ("number", "boolean"):
            continue
        values = list(columns[place])
        for word, where in (special[place] or {} if place < len(special) else {}).items():
            for row in where:
                values[row] = _SPECIAL.get(word, math.nan)
        by_row: dict[tuple[str, ...], list[tuple[float, float]]] = {}
        for row, at, value in zip(rows, times, values, strict=True):
            # Sources fill steps in which they measured nothing, and rows that are another series', with null.
            if value is not None:
                by_row.setdefault(row, []).append((at / 1000, float(value)))
        for row, points in by_row.items():
            texts = {fields[column]["name"]: text for column, text in zip(places["string"], row, strict=True)}
            # Columns are called `Value`, by their query, by their metric or by all of their labels.
            name = as_text(each.get("name")).partition("{")[0]
            named = {} if name in ("Value", "value", schema.get("refId")) else {"__name__": name}
            yield _series({**named, **(each.get("labels") or {}), **texts}, points)


def _series(labels: Json, points: list[tuple[float, float]]) -> Series:
    """A series with gaps where nothing was measured for long."""
    points.sort(key=lambda each: each[0])
    usual = median([later - at for (at, _), (later, _) in pairwise(points)] or [math.inf])
    joined: list[tuple[float, float]] = points[:1]
    for (at, _), point in pairwise(points):
        if point[0] - at > _MAX_GAP_STEPS * usual:
            joined.append((at + usual, math.nan))
        joined.append(point)
    return Series({str(name): as_text(value) for name, value in labels.items() if value}, tuple(joined))


def _cut(series: Series, period: Period) -> Series:
    """A series until the period's end, where its next value stands, as far as there is one."""
    within = [point for point in series.points if point[0] <= period.end]
    behind = next((value for at, value in series.points if at > period.end), math.nan)
    last = [] if math.isnan(behind) or (within[-1:] and within[-1][0] == period.end) else [(period.end, behind)]
    return Series(series.labels, (*within, *last))
