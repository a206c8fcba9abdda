"""One Prometheus, or what speaks its HTTP API (VictoriaMetrics, Thanos, Mimir): its rules, and series for a chart.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from bisect import insort
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from wxbridge.config.types import WebSource
from wxbridge.core.closing import Closing
from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import NothingToDraw, PictureError, PictureRefused
from wxbridge.core.http import ApiAnswer, ApiAnswerTooLarge, ApiClient, ApiError, ApiErrorTexts, picture_error
from wxbridge.core.text.i18n import FALLBACK_LANGUAGE, say
from wxbridge.core.thresholds import badness
from wxbridge.core.ttl_cache import TTLCache
from wxbridge.monitors.period import Period
from wxbridge.monitors.promql import AlertCurve, Analysis, CurveRole
from wxbridge.monitors.promql_syntax import normalize_expression
from wxbridge.monitors.series_choice import SeriesChoice, choose_series, narrow_query

DEADLINE_SECONDS = 15.0
"""For one answer, where the picture has no deadline of its own."""
MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of one answer, unpacked."""
MAX_SERIES_PER_CURVE = 20
RULES_TTL_SECONDS = 30.0
"""How long the rules are taken as they were."""
_FAILURE_TTL_SECONDS = 0.4
"""Likewise a failure: for those who ask together. The next attempt at a picture, half a second later, asks anew."""
_MAX_GAP_STEPS = 1.5
"""Between two points that are still joined."""
_SECONDS_PER_TURN = 0.002
"""Of work after which others get their turn."""
_POINTS_TO_LOOK_AT = 11
"""Of each series, where all that a query gives with all points are more than are read."""
_MAX_KEPT_METADATA = 1000
_MAX_QUOTED_CHARS = 500
_ERROR_TEXTS = ApiErrorTexts(
    untrusted="the certificate of {base} is not trusted: set {section}.ca",
    too_large="{server} answers with more than {max_bytes:,} bytes: too many series",
    refused="{server} lets nobody in (HTTP {status}): see whether {what}",
    not_found="there is no {path} below {base}: is {section}.url right?",
)
_HISTOGRAMS = say("pictures.chart.histograms", FALLBACK_LANGUAGE)
_VALUES = re.compile(r'"values"\s*:\s*\[([\[\],\s\d.eE+"NaInf-]*)\]')
_NO_NUMBER = str.maketrans("", "", '[]" \t\r\n')
_GROUPS = re.compile(r'"groups"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")

T = TypeVar("T")
Portions = Generator[None, None, T]
"""A work that can be interrupted at every `yield`."""
ChooseSeries = Callable[[Sequence[Mapping[str, str]]], SeriesChoice]
"""Chooses among series by their labels."""
RankSeries = Callable[[float, float], float]
"""How much a series is to be seen whose values lie between these two."""


class AnswerTooLarge(PictureError):
    """A query gives more than is read."""


class RefusedQuery(PictureRefused):
    """The expression itself was refused, or cannot be computed; the message has the server's own words."""


@dataclass(frozen=True)
class AlertRule:
    """An alerting rule as the server knows it."""

    name: str
    group: str
    expr: str
    hold: float = 0.0
    """Its `for`, seconds."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What it adds to the labels of its series; a value may be a template."""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """A series over a period. `points` are (seconds since the epoch, value), in order; a gap is a point with NaN."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class QueryAnswer:
    """What a range query gave."""

    series: tuple[Series, ...]
    others: int = 0
    """How many more series there are that were chosen too, above the limit."""
    notes: tuple[str, ...] = ()
    """The server's warnings, a partial answer, and what could not be told apart."""


@dataclass(frozen=True)
class ChartData:
    """What a chart shows: each curve with its answer (the same order), and the period."""

    curves: tuple[tuple[AlertCurve, QueryAnswer], ...]
    period: Period
    notes: tuple[str, ...] = ()

    @property
    def others(self) -> int:
        """How many series are left out."""
        return sum(answer.others for _, answer in self.curves)


@dataclass(frozen=True)
class MetricMetadata:
    """What the server knows of a metric."""

    type: str = ""
    """`counter`, `gauge`, `histogram`, `summary`, … ."""
    unit: str = ""


class Prometheus(Closing):
    """A client of one server. Use from one event loop, and `close()` in the end.

    Args:
        settings: Where it is (the address may have a path, as Mimir's `/prometheus`) and how to get in.
        deadline: Seconds for one answer.
        max_bytes: Of one answer.
        clock: Seconds that only go forward; for tests.
    """

    def __init__(
        self,
        settings: WebSource,
        *,
        deadline: float = DEADLINE_SECONDS,
        max_bytes: int = MAX_ANSWER_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        address = settings.address("Prometheus", "prometheus")
        self._client = ApiClient(address, max_bytes=max_bytes, texts=_ERROR_TEXTS)
        self._deadline = deadline
        self._rules = TTLCache[tuple[AlertRule, ...]](
            RULES_TTL_SECONDS, clock=clock, failure_ttl_seconds=_FAILURE_TTL_SECONDS
        )
        self._metadata: dict[str, MetricMetadata] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def rules(self) -> tuple[AlertRule, ...]:
        """Get all alerting rules, at most once in 30 seconds, however many ask.

        Those who ask together share a failure too.

        Raises:
            PictureError: as `query_range`.
        """
        return await self._rules.get_or_create("rules", self._get_rules)

    async def query_range(
        self,
        expr: str,
        period: Period,
        *,
        choose: ChooseSeries | None = None,
        rank: RankSeries | None = None,
    ) -> QueryAnswer:
        """Compute an expression over a period.

        Args:
            expr: PromQL.
            period: At most 11,000 points.
            choose: Which of the answered series to keep; all without it.
            rank: Which series are given where there are more than `MAX_SERIES_PER_CURVE`: those of the highest rank.
                Without it, the first. The others are counted.

        Raises:
            RefusedQuery: the expression is wrong or cannot be computed, in the server's own words.
            PictureError: no entry, no such API, too large an answer (no retry); out of reach, overloaded or too
                late (retry).
        """
        form = {"query": expr, "start": repr(period.start), "end": repr(period.end), "step": repr(period.step)}
        body = await self._ask("/api/v1/query_range", form)
        return await self._read(read_answer(body, period.step, choose=choose, rank=rank))

    async def metadata(self, metric: str) -> MetricMetadata:
        """What the server knows of a metric; empty where it knows nothing or has no such API."""
        if metric not in self._metadata:
            try:
                head = _mapping(json.loads(await self._ask("/api/v1/metadata", {"metric": metric}, post=False)))
                found = _mapping(_mapping(head.get("data")).get(metric, [{}])[:1][0])
            except (PictureError, LookupError, RecursionError, TypeError, ValueError):
                found = {}
            if len(self._metadata) >= _MAX_KEPT_METADATA:
                self._metadata.clear()
            self._metadata[metric] = MetricMetadata(*(str(found.get(key) or "") for key in ("type", "unit")))
        return self._metadata[metric]

    # ------------------------------------------------------------ inside

    async def _get_rules(self) -> tuple[AlertRule, ...]:
        body = await self._ask("/api/v1/rules", {"type": "alert", "exclude_alerts": "true"}, post=False)
        return await self._read(read_rules(body))

    async def _read(self, portions: Portions[T]) -> T:
        try:
            return await _in_portions(portions)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            server = self._client.address.server
            raise PictureError(f"{server} answered something else than its API says: check prometheus.url") from error

    async def _ask(self, path: str, form: Mapping[str, str], *, post: bool = True) -> bytes:
        limit = min(self._deadline, seconds_left(self._deadline))
        if path == "/api/v1/query_range":
            form = {**form, "timeout": f"{max(1, math.floor(limit * 1000))}ms"}
        try:
            async with self._client.within(limit, path):
                answer = await self._client.ask("POST", path, form=form) if post else None
                if answer is None or answer.status == 405:  # noqa: PLR2004 - a proxy before it that lets nobody post
                    answer = await self._client.ask("GET", path, params=form)
        except ApiAnswerTooLarge as error:
            raise AnswerTooLarge(str(error)) from None
        except ApiError as error:
            raise picture_error(error) from None
        if answer.status != 200:  # noqa: PLR2004 - HTTP
            raise _refused_query(answer) or picture_error(self._client.refusal(answer, path))
        return answer.body


def _refused_query(answer: ApiAnswer) -> RefusedQuery | None:
    """The error for an answer that refuses the expression; None for any other."""
    try:
        said = _mapping(json.loads(answer.body))
    except (RecursionError, TypeError, ValueError):
        return None
    status, words = answer.status, said.get("error")
    types = ("bad_data", "execution", "", None, str(status))
    if status not in (400, 422) or not words or said.get("errorType") not in types:
        return None
    return RefusedQuery(f"Prometheus refuses the expression: {str(words)[:_MAX_QUOTED_CHARS]}")


# ---------------------------------------------------------------- rules


def find_rule(rules: Sequence[AlertRule], labels: Mapping[str, str], expr: str | None = None) -> AlertRule | None:
    """Find the rule of an alert: by its name and, where several share that, by group, expression and labels.

    A rule that sets a label otherwise than the alert has it is not the alert's; of the others, the one that sets the
    most. Values that are templates are not compared.

    Args:
        rules: The server's.
        labels: The alert's. VictoriaMetrics puts the group's name into `alertgroup`.
        expr: What the alert's link says (`rule_links.expr_of`).
    """
    found = [rule for rule in rules if rule.name == labels.get("alertname")]
    group = labels.get("alertgroup")
    found = [rule for rule in found if rule.group == group] or found
    if expr is not None:
        words = normalize_expression(expr)
        found = [rule for rule in found if normalize_expression(rule.expr) == words] or found
    fitting = [
        rule
        for rule in found
        if all(labels.get(name, "") == value for name, value in rule.labels.items() if "{{" not in value)
    ]
    return max(fitting or found, key=lambda rule: len(rule.labels), default=None)


def read_rules(body: bytes) -> Portions[tuple[AlertRule, ...]]:
    """Read the answer of `/api/v1/rules`. What is no alerting rule is passed over.

    Raises:
        ValueError: it is no such answer. TypeError and LookupError, likewise.
    """
    groups = yield from _read_groups(body)
    return tuple(
        AlertRule(
            name=str(rule["name"]),
            group=str(group.get("name") or ""),
            expr=str(rule["query"]),
            hold=float(rule.get("duration") or 0),
            labels=_texts(rule.get("labels")),
            annotations=_texts(rule.get("annotations")),
        )
        for group in groups
        for rule in group.get("rules") or ()
        if rule.get("type") in ("alerting", None) and "query" in rule
    )


# ---------------------------------------------------------------- series


async def fetch_chart_data(prometheus: Prometheus, analysis: Analysis, period: Period) -> ChartData:
    """Get what a chart shows: all curves of an analysis at once, the series of the firing instances alone.

    What the value is compared with may be missing; a note says so.

    Raises:
        NothingToDraw: there is no data.
        PictureError: as `Prometheus.query_range`.
    """
    answers = await asyncio.gather(
        *(_fetch_curve(prometheus, analysis, curve, period) for curve in analysis.curves), return_exceptions=True
    )
    got: list[tuple[AlertCurve, QueryAnswer]] = []
    notes: list[str] = []
    for curve, answer in zip(analysis.curves, answers, strict=True):
        if isinstance(answer, QueryAnswer):
            got.append((curve, answer))
            notes += answer.notes
        elif isinstance(answer, PictureError) and curve.role in (CurveRole.REFERENCE, CurveRole.VANISHED):
            notes.append(f"{curve.query} is not drawn: {answer}")
        else:
            raise answer
    shown = tuple((curve, answer) for curve, answer in got if _has_values(answer))
    if not any(curve.role is not CurveRole.REFERENCE for curve, _ in shown):
        raise NothingToDraw(f"{_what_there_is(got, notes)} {analysis.expr.strip()[:200]}")
    return ChartData(shown, period, tuple(dict.fromkeys(notes)))


def _what_there_is(got: Sequence[tuple[AlertCurve, QueryAnswer]], notes: Sequence[str]) -> str:
    """Say what was answered where nothing of it can be drawn."""
    if _HISTOGRAMS in notes:
        return f"{_HISTOGRAMS}:"
    has_points = any(series.points for _, answer in got for series in answer.series)
    return f"Prometheus has {'nothing but NaN' if has_points else 'no data'} to draw for"


async def _fetch_curve(prometheus: Prometheus, analysis: Analysis, curve: AlertCurve, period: Period) -> QueryAnswer:
    def choose(series: Sequence[Mapping[str, str]]) -> SeriesChoice:
        if not any(analysis.instances):
            return SeriesChoice(tuple(range(len(series))))
        return choose_series(curve, series, analysis.instances)

    rank = partial(badness, thresholds=analysis.thresholds)
    try:
        return await prometheus.query_range(curve.query, period, choose=choose, rank=rank)
    except AnswerTooLarge:
        narrowed = await _narrow_by_look(prometheus, curve.query, period, choose) if analysis.understood else None
        if narrowed is None:
            raise
        return await prometheus.query_range(narrowed, period, choose=choose, rank=rank)


async def _narrow_by_look(prometheus: Prometheus, query: str, period: Period, choose: ChooseSeries) -> str | None:
    """Make a query for the chosen series alone, of which a few points tell what series there are."""
    chosen: list[Mapping[str, str]] = []
    answered: list[Mapping[str, str]] = []

    def look(series: Sequence[Mapping[str, str]]) -> SeriesChoice:
        choice = choose(series)
        answered.extend(series)
        chosen.extend(series[place] for place in choice.places)
        return SeriesChoice(())

    step = math.ceil((period.end - period.start) / (_POINTS_TO_LOOK_AT - 1))
    start = max(0.0, period.end - (_POINTS_TO_LOOK_AT - 1) * step)
    await prometheus.query_range(query, Period(start, period.end, max(step, period.step)), choose=look)
    narrowed = narrow_query(query, chosen, answered)
    return None if narrowed == query else narrowed


def _has_values(answer: QueryAnswer) -> bool:
    return any(not math.isnan(value) for series in answer.series for _, value in series.points)


def read_answer(
    body: bytes,
    step: float,
    *,
    choose: ChooseSeries | None = None,
    limit: int = MAX_SERIES_PER_CURVE,
    rank: RankSeries | None = None,
) -> Portions[QueryAnswer]:
    """Read the answer of `/api/v1/query_range`.

    Points that are missing are gaps: points with NaN, as values may be that are no number.

    Raises:
        ValueError: it is no such answer. TypeError and LookupError, likewise.
    """
    # The points are read from the text itself: as JSON each is a list, and so many lists make Python's garbage
    # collector go through the whole memory again and again, tens of milliseconds each time.
    text = body.decode()
    short: list[str] = []
    spans: list[tuple[int, int]] = []
    last = 0
    for found in _VALUES.finditer(text):
        short += [text[last : found.start()], f'"values":{len(spans)}']
        spans.append(found.span(1))
        last = found.end()
        yield
    head = _mapping(json.loads("".join([*short, text[last:]])))
    items = [_mapping(item) for item in _mapping(head["data"])["result"]]
    notes = [str(each)[:300] for each in [*(head.get("warnings") or ()), *(head.get("infos") or ())]]
    if head.get("isPartial") is True:
        notes.append("the answer is partial: a part of the storage did not answer")
    labels = [_texts(item.get("metric")) for item in items]
    choice = choose(labels) if choose is not None else SeriesChoice(tuple(range(len(items))))
    if choice.note and choice.places:
        notes.append(choice.note)
    if any("histograms" in items[place] for place in choice.places):
        notes.append(_HISTOGRAMS)
    series: list[tuple[float, int, Series]] = []
    """The highest first, of equals the first."""
    some = choice.places if rank is not None and len(choice.places) > limit else choice.places[:limit]
    for number, place in enumerate(some):
        start, end = spans[items[place]["values"]] if "values" in items[place] else (0, 0)
        points = _points(text[start:end], step)
        score = rank_points(points, rank) if rank is not None and len(some) > limit else 0.0
        insort(series, (-score, number, Series(labels[place], points)))
        del series[limit:]
        yield
    return QueryAnswer(tuple(each for _, _, each in series), max(0, len(choice.places) - limit), tuple(notes))


def rank_points(points: Sequence[tuple[float, float]], rank: RankSeries) -> float:
    """Rank a series by its lowest and its highest value, below all others where it has none."""
    values = [value for _, value in points if not math.isnan(value)]
    return rank(min(values), max(values)) if values else -math.inf


def _points(text: str, step: float) -> tuple[tuple[float, float], ...]:
    """Read `[1435781430.781,"1"],[1435781445.781,"NaN"]`."""
    numbers = map(float, text.translate(_NO_NUMBER).split(",") if text else ())
    points: list[tuple[float, float]] = []
    last = math.inf
    for at, value in zip(numbers, numbers, strict=True):
        if at - last > _MAX_GAP_STEPS * step:
            points.append((last + step, math.nan))
        points.append((at, value))
        last = at
    return tuple(points)


async def _in_portions(portions: Portions[T]) -> T:
    """Do a long work between what else there is to do. A thread would not help: the JSON reader lets none run."""
    begun = time.perf_counter()
    while True:
        try:
            next(portions)
        except StopIteration as stop:
            return cast("T", stop.value)
        if time.perf_counter() - begun > _SECONDS_PER_TURN:
            await asyncio.sleep(0)
            begun = time.perf_counter()


def _read_groups(body: bytes) -> Portions[list[dict[str, Any]]]:
    """The groups of the rules, read one by one."""
    text = body.decode()
    found = _GROUPS.search(text)
    items: list[dict[str, Any]] = []
    if found is None:
        _mapping(json.loads(text))
        return items
    decode = json.JSONDecoder().raw_decode
    place = _after_blanks(text, found.end())
    while not text.startswith("]", place):
        item, place = decode(text, place)
        items.append(_mapping(item))
        yield
        place = _after_blanks(text, place)
    json.loads(text[: found.end()] + text[place:])
    return items


def _after_blanks(text: str, place: int) -> int:
    match = _BETWEEN.match(text, place)
    return match.end() if match else place


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:50]!r} is no object")
    return value


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in _mapping(value or {}).items()}
