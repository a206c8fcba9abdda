"""An alert's expression → what its chart shows: the curves, as queries, and the thresholds.

`node_load1 > 4` fires for `{instance="db-1"}`: the curve is `node_load1`, the threshold 4, and of the series that are
answered those of db-1 are chosen by their labels (`choose_series`). Pure: no clock, no network.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Any

from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    LabelModifierType,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorMatchCardinality,
)

from wxbridge.core.thresholds import AlertThreshold
from wxbridge.monitors.promql_syntax import (
    COMPARISONS,
    InvalidPromQL,
    ParsedExpression,
    children_of,
    constant_of,
    is_scalar,
    parse_expression,
    strip_parentheses,
)

MAX_POINTS = 11_000
"""Prometheus refuses a query of more points for a series."""
USUAL_POINTS = 500
_MIN_POINTS = 10
MIN_PERIOD_SECONDS = 900.0
_MIN_MARGIN_SECONDS = 300.0
_MAX_FIRING_SECONDS = 86400.0
"""How far back the chart of an alert that still fires goes for its beginning."""
_MAX_NARROWED_SERIES = 30
"""Of one query that gives the chosen series alone."""

LABELS_DIFFER = "some labels of the series are not the alert's"
"""Said of series that are chosen by those of their labels that the alert has."""
_NEVER_OF_SERIES = frozenset(("alertname", "alertstate", "__name__"))
_LABEL_NAME = re.compile(r"[a-zA-Z_]\w*", re.ASCII)
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_ABSENT = ("absent", "absent_over_time")
_JOINING = ("*", "+")
"""Operators by which labels are taken from a metric that is 1, or is multiplied by 0."""
_LABEL_MAKING = ("info", "histogram_quantiles")
"""Functions whose series may have any label."""


class CurveRole(StrEnum):
    """What a curve is to its alert."""

    VALUE = "value"
    """What the rule looks at."""
    REFERENCE = "reference"
    """What it is compared with, where that is no fixed number."""
    ABSENT = "absent"
    """1 while something is missing, and nothing otherwise."""
    VANISHED = "vanished"
    """What is missing, as long as it was there."""


@dataclass(frozen=True)
class LabelSet:
    """A set of label names: those in `names`, or all but those."""

    names: frozenset[str] = frozenset()
    all_but: bool = False

    def __contains__(self, name: object) -> bool:
        return (name in self.names) != self.all_but

    def __or__(self, other: LabelSet) -> LabelSet:
        if self.all_but and other.all_but:
            return LabelSet(self.names & other.names, all_but=True)
        if self.all_but or other.all_but:
            every, some = (self, other) if self.all_but else (other, self)
            return LabelSet(every.names - some.names, all_but=True)
        return LabelSet(self.names | other.names)

    def __and__(self, other: LabelSet) -> LabelSet:
        return ~(~self | ~other)

    def __invert__(self) -> LabelSet:
        return LabelSet(self.names, all_but=not self.all_but)


ALL_LABELS = LabelSet(all_but=True)
NO_LABELS = LabelSet()
_USUALLY_ADDED = LabelSet(frozenset(("severity",)))
"""By convention the rule's own: not to be shown among what series are chosen by."""


@dataclass(frozen=True)
class AlertCurve:
    """One thing to draw, as one range query that may answer with several series."""

    query: str
    """The part of the rule that it is."""
    role: CurveRole = CurveRole.VALUE
    thresholds: tuple[AlertThreshold, ...] = ()
    scope: LabelSet = ALL_LABELS
    """The labels of its series that the alert has too, unless they were changed on the way. By the others a series
    cannot be told to be the alert's or not."""
    metrics: tuple[str, ...] = ()
    """The names of the metrics in it, each once, in the text's order: for guessing a unit."""


@dataclass(frozen=True)
class Analysis:
    """What to draw for an expression and the instances it fires for."""

    expr: str
    curves: tuple[AlertCurve, ...]
    instances: tuple[Mapping[str, str], ...] = ({},)
    """The labels of the firing instances, less those that no series can have."""
    filter: Mapping[str, str] = field(default_factory=dict)
    """The labels that the answered series are chosen by, where all instances agree on them."""
    understood: bool = True
    why: str = ""
    """In words: what was taken for what, and what is left out."""

    @property
    def thresholds(self) -> tuple[AlertThreshold, ...]:
        """All thresholds, each once."""
        return tuple(dict.fromkeys(each for curve in self.curves for each in curve.thresholds))


@dataclass(frozen=True)
class Period:
    """A stretch of time to draw: seconds since the epoch, both ends and the step between points."""

    start: float
    end: float
    step: float


# ---------------------------------------------------------------- the whole


def analyze_expression(
    expr: str, labels: Mapping[str, str], *others: Mapping[str, str], added: Collection[str] = ()
) -> Analysis:
    """Find what to draw for an alert. Never raises: what is not understood is drawn whole.

    Args:
        expr: The rule's expression.
        labels: The alert's labels.
        others: The labels of further alerts of this rule, for one chart of them all.
        added: The labels that the rule itself sets.
    """
    instances = tuple(
        {name: value for name, value in each.items() if name not in _NEVER_OF_SERIES and name not in added}
        for each in (labels, *others)
    )
    try:
        parsed = parse_expression(expr)
    except InvalidPromQL as error:
        curve = AlertCurve(expr.strip())
        return Analysis(expr, (curve,), instances, _shared(instances), understood=False, why=f"drawn whole: {error}")
    curves = tuple(_CurveFinder(parsed).find(parsed.tree))
    told_by = reduce(
        or_, (each.scope for each in curves if each.role in (CurveRole.VALUE, CurveRole.ABSENT)), NO_LABELS
    )
    chosen_by = {
        name: value for name, value in _shared(instances).items() if name in told_by and name not in _USUALLY_ADDED
    }
    return Analysis(expr, curves, instances, chosen_by, why=_explain(parsed, curves))


def explain_analysis(analysis: Analysis, period: Period) -> dict[str, Any]:
    """Give the analysis as plain JSON for `wxbridge chart --explain`."""
    return {
        "queries": list(dict.fromkeys(curve.query for curve in analysis.curves)),
        "thresholds": [each.value for each in analysis.thresholds if math.isfinite(each.value)],
        "filter": dict(analysis.filter),
        "range": {"start": period.start, "end": period.end, "step": period.step},
        "why": analysis.why,
    }


def _shared(instances: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *rest = instances
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in rest)}


def _explain(parsed: ParsedExpression, curves: Sequence[AlertCurve]) -> str:
    values = [curve for curve in curves if curve.role is CurveRole.VALUE]
    limits = [f"{each.op} {each.value:g}" for curve in values for each in curve.thresholds]
    said = []
    if any(curve.role is CurveRole.ABSENT for curve in curves):
        said.append("fires while something is missing")
    if values and limits:
        said.append(f"the outer comparison ({', '.join(dict.fromkeys(limits))}) became the threshold")
    if any(curve.role is CurveRole.REFERENCE for curve in curves):
        said.append("drawn beside what it is compared with")
    if values and not limits and len(values) == len(curves):
        said.append("has no outer comparison with a number: drawn whole")
    whole = strip_parentheses(parsed.tree)
    if isinstance(whole, BinaryExpr) and str(whole.op) in ("and", "unless"):
        said.append(f"what follows `{whole.op}` is a condition and no curve")
    return "; ".join(said)


# ---------------------------------------------------------------- taking the comparison off


class _CurveFinder:
    """Takes the comparisons off one expression."""

    def __init__(self, parsed: ParsedExpression) -> None:
        self._parsed = parsed

    def find(self, node: Expr) -> list[AlertCurve]:
        """Find the curves of an expression, what the alert's value is of first."""
        node = strip_parentheses(node)
        match node:
            case BinaryExpr() if str(node.op) in COMPARISONS:
                return self._find_compared(node)
            case BinaryExpr() if str(node.op) == "or":
                return _merge(self.find(node.lhs), self.find(node.rhs), adding=True)
            case BinaryExpr() if str(node.op) == "and":
                return _merge(self.find(node.lhs), self.find(node.rhs))
            case BinaryExpr() if str(node.op) == "unless":
                return _merge(self.find(node.lhs), _negate(self.find(node.rhs)))
            case Call() if node.func.name in _ABSENT:
                return [self._curve(node, CurveRole.ABSENT), self._missing(node.args[0])]
        return self._find_joined(node) or [self._curve(node)]

    def _find_joined(self, node: Expr) -> list[AlertCurve]:
        """What is compared in `(a > 5) * on (b) group_left (c) info`, which adds labels to what fires; else nothing."""
        if not isinstance(node, BinaryExpr) or str(node.op) not in _JOINING:
            return []
        if is_scalar(node.lhs) or is_scalar(node.rhs):
            return []
        for side, scope in zip((node.lhs, node.rhs), self._matched_labels(node), strict=True):
            compared = strip_parentheses(side)
            curves = self.find(compared) if _is_comparison(compared) and not _returns_bool(compared) else []
            if any(curve.thresholds for curve in curves):
                return [replace(curve, scope=curve.scope & scope) for curve in curves]
        return []

    def _curve(self, node: Expr, role: CurveRole = CurveRole.VALUE, *, scope: LabelSet = ALL_LABELS) -> AlertCurve:
        node = strip_parentheses(node)
        produced = produced_labels(self._parsed, node)
        return AlertCurve(self._parsed.write(node), role, (), scope & produced, self._parsed.metrics(node))

    def _missing(self, argument: Expr) -> AlertCurve:
        """What `absent(argument)` misses; its alert has the labels that the selector asks for with `=`, no others."""
        node = strip_parentheses(argument)
        if isinstance(node, SubqueryExpr):
            node = strip_parentheses(node.expr)
        if isinstance(node, MatrixSelector):
            node = node.vector_selector
        return self._curve(node, CurveRole.VANISHED, scope=LabelSet(self._parsed.fixed_labels(node)))

    def _find_compared(self, node: BinaryExpr) -> list[AlertCurve]:
        op, left, right = str(node.op), constant_of(node.lhs), constant_of(node.rhs)
        if left is not None and right is not None:
            return [self._curve(node)]
        main, reference = self._matched_labels(node)
        if right is not None:
            return self._find_limited(node.lhs, AlertThreshold(op, right), main)
        if left is not None:
            return self._find_limited(node.rhs, AlertThreshold(_MIRRORED[op], left), reference)
        if is_scalar(node.lhs) and is_scalar(node.rhs):
            return [self._curve(node)]
        if is_scalar(node.lhs):  # the values that come out are the series'
            return [*self._find_side(node.rhs, ALL_LABELS), self._curve(node.lhs, CurveRole.REFERENCE)]
        return [*self._find_side(node.lhs, main), self._curve(node.rhs, CurveRole.REFERENCE, scope=reference)]

    def _matched_labels(self, node: BinaryExpr) -> tuple[LabelSet, LabelSet]:
        """Of each side of an operator, the labels that come out of it unchanged or that tell its partner."""
        if is_scalar(node.lhs) or is_scalar(node.rhs):
            return ALL_LABELS, ALL_LABELS
        match, carried = _matching(self._parsed, node), _carried(self._parsed, node)
        side = _many_side(node)
        if side is None:
            return match, match
        many, one = ~carried, match | carried
        return (many, one) if side == "left" else (one, many)

    def _find_side(self, node: Expr, scope: LabelSet) -> list[AlertCurve]:
        """A side of a comparison: what is compared in its turn (`0 <= a < 3`), or the side as it is."""
        inner = strip_parentheses(node)
        nested = _is_comparison(inner) and not _returns_bool(inner)
        curves = self.find(inner) if nested else [self._curve(inner)]
        return [replace(curve, scope=curve.scope & scope) for curve in curves]

    def _find_limited(self, node: Expr, threshold: AlertThreshold, scope: LabelSet) -> list[AlertCurve]:
        inner = strip_parentheses(node)
        if isinstance(inner, Call) and inner.func.name in _ABSENT:
            return self.find(inner)
        if _is_comparison(inner) and _returns_bool(inner):
            truth = _holds(threshold, 1.0), _holds(threshold, 0.0)
            curves = self.find(inner)
            if truth == (False, True):
                curves = _negate(curves)
            if truth in ((True, False), (False, True)) and any(curve.thresholds for curve in curves):
                return [replace(curve, scope=curve.scope & scope) for curve in curves]
            return [replace(self._curve(inner, scope=scope), thresholds=(threshold,))]
        return [
            replace(curve, thresholds=tuple(dict.fromkeys((*curve.thresholds, threshold))))
            if curve.role is CurveRole.VALUE
            else curve
            for curve in self._find_side(inner, scope)
        ]


def _is_comparison(node: Expr) -> bool:
    return isinstance(node, BinaryExpr) and str(node.op) in COMPARISONS


def _returns_bool(node: Expr) -> bool:
    return isinstance(node, BinaryExpr) and node.modifier is not None and node.modifier.return_bool


def _holds(threshold: AlertThreshold, value: float) -> bool:
    limit = threshold.value
    return {
        "==": value == limit, "!=": value != limit, "<": value < limit,
        "<=": value <= limit, ">": value > limit, ">=": value >= limit,
    }[threshold.op]  # fmt: skip


def _negate(curves: list[AlertCurve]) -> list[AlertCurve]:
    """The same with the opposite threshold; without any where that is no single one."""
    limits = [each for curve in curves for each in curve.thresholds]
    opposite = {each: AlertThreshold(_OPPOSITE[each.op], each.value) for each in limits} if len(limits) == 1 else {}
    return [
        replace(curve, thresholds=tuple(opposite[each] for each in curve.thresholds if each in opposite))
        for curve in curves
    ]


def _merge(curves: list[AlertCurve], more: list[AlertCurve], *, adding: bool = False) -> list[AlertCurve]:
    """Give the thresholds of the second curves to equal first ones; add the others where `adding`."""
    merged = {(curve.role, curve.query): curve for curve in curves}
    for curve in more:
        key = (curve.role, curve.query)
        if key in merged:
            own = merged[key]
            thresholds = tuple(dict.fromkeys((*own.thresholds, *curve.thresholds)))
            merged[key] = replace(own, thresholds=thresholds, scope=own.scope | curve.scope if adding else own.scope)
        elif adding:
            merged[key] = curve
    values = {query for role, query in merged if role is CurveRole.VALUE}
    return [curve for (role, query), curve in merged.items() if role is not CurveRole.VANISHED or query not in values]


# ---------------------------------------------------------------- the labels of a result


def produced_labels(parsed: ParsedExpression, node: Expr) -> LabelSet:
    """Tell which labels the series of a result can have."""
    match node:
        case NumberLiteral() | StringLiteral():
            return NO_LABELS
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return produced_labels(parsed, node.expr)
        case Call():
            return _produced_by_call(parsed, node)
        case AggregateExpr():
            return _produced_by_aggregation(parsed, node)
        case BinaryExpr():
            return _produced_by_operator(parsed, node)
    return ALL_LABELS


def _produced_by_aggregation(parsed: ParsedExpression, node: AggregateExpr) -> LabelSet:
    within = produced_labels(parsed, node.expr)
    op, modifier = str(node.op), node.modifier
    if op in ("topk", "bottomk", "limitk", "limit_ratio"):
        return within
    made = LabelSet(parsed.resolve_all([node.param.val])) if op == "count_values" and node.param else NO_LABELS
    if modifier is None:
        return made
    own = LabelSet(parsed.resolve_all(modifier.labels), all_but=modifier.type == AggModifierType.Without)
    return (within & own) | made


def _produced_by_call(parsed: ParsedExpression, node: Call) -> LabelSet:
    name = node.func.name
    if is_scalar(node) or name == "vector":
        return NO_LABELS
    if name in _LABEL_MAKING:
        return ALL_LABELS
    if name in _ABSENT:
        return LabelSet(parsed.fixed_labels(strip_parentheses(node.args[0])))
    within = reduce(or_, (produced_labels(parsed, each) for each in node.args), NO_LABELS)
    if name in ("label_replace", "label_join"):
        return within | LabelSet(parsed.resolve_all([node.args[1].val]))
    if name in ("histogram_quantile", "histogram_fraction"):
        return within & LabelSet(frozenset(["le"]), all_but=True)
    return within


def _produced_by_operator(parsed: ParsedExpression, node: BinaryExpr) -> LabelSet:
    left, right = (produced_labels(parsed, each) for each in children_of(node))
    if str(node.op) == "or" or is_scalar(node.lhs) or is_scalar(node.rhs):
        return left | right
    if str(node.op) in ("and", "unless"):
        return left
    side = _many_side(node)
    if side is not None:
        return (left if side == "left" else right) | _carried(parsed, node)
    return left & _matching(parsed, node)


def _matching(parsed: ParsedExpression, node: BinaryExpr) -> LabelSet:
    """The labels that an operator's sides are matched on."""
    matching = node.modifier.matching if node.modifier is not None else None
    if matching is None:
        return ALL_LABELS
    return LabelSet(parsed.resolve_all(matching.labels), all_but=matching.type == LabelModifierType.Exclude)


def _carried(parsed: ParsedExpression, node: BinaryExpr) -> LabelSet:
    """The labels that `group_left(…)` brings over from the side with one series."""
    labels = node.modifier.group_labels if node.modifier is not None else None
    return LabelSet(parsed.resolve_all(labels or ()))


def _many_side(node: BinaryExpr) -> str | None:
    """`left` or `right`: the side with many series for one of the other; None where there is none."""
    cardinality = node.modifier.card if node.modifier is not None else None
    if cardinality == VectorMatchCardinality.ManyToOne:
        return "left"
    return "right" if cardinality == VectorMatchCardinality.OneToMany else None


# ---------------------------------------------------------------- choosing among the answered series


@dataclass(frozen=True)
class SeriesChoice:
    """Which of the answered series are the alert's, by their place, and a word about it where it is not plain."""

    places: tuple[int, ...]
    note: str = ""
    sure: bool = True
    """Whether the labels say so."""


def choose_series(
    curve: AlertCurve, series: Sequence[Mapping[str, str]], instances: Sequence[Mapping[str, str]]
) -> SeriesChoice:
    """Choose the series of the firing instances by their labels.

    A series is an instance's where all its labels in the curve's scope are among the alert's; of several such, those
    with the most. Where there is none, labels were dropped or changed on the alert's way: those that agree in the
    labels whose values occur at all; where there is none either: all, and `sure` is False.
    """
    own = [
        {name: value for name, value in each.items() if name in curve.scope and name != "__name__"} for each in series
    ]
    by_names: dict[frozenset[str], list[int]] = {}
    for place, each in enumerate(own):
        by_names.setdefault(frozenset(each), []).append(place)
    index = _SeriesIndex(own)
    places: set[int] = set()
    for labels in instances:
        most = 0
        within: list[int] = []
        for names, some in by_names.items():
            if len(names) >= most and names <= labels.keys() and (found := index.values(some, names, labels)):
                within = [*within, *found] if len(names) == most else found
                most = len(names)
        places.update(within)
    if places:
        return SeriesChoice(tuple(sorted(places)))
    there = {pair for each in own for pair in each.items()}
    for labels in instances:
        kept = dict(labels.items() & there)
        for names, some in by_names.items():
            if both := names.intersection(kept):
                places.update(index.values(some, both, kept))
    if places:
        return SeriesChoice(tuple(sorted(places)), LABELS_DIFFER, sure=False)
    return SeriesChoice(
        tuple(range(len(series))), "no series has the alert's labels: all are drawn" if own else "", sure=False
    )


class _SeriesIndex:
    """Finds series by the values of some of their labels: many times among many, so with an index of each question."""

    def __init__(self, series: Sequence[Mapping[str, str]]) -> None:
        self._series = series
        self._known: dict[tuple[int, tuple[str, ...]], dict[tuple[str, ...], list[int]]] = {}

    def values(self, places: list[int], names: frozenset[str], labels: Mapping[str, str]) -> list[int]:
        """Those of the places that have the labels' values for all names; no series is in two lists of places."""
        order = tuple(sorted(names))
        key = places[0], order
        if key not in self._known:
            index = self._known[key] = {}
            for place in places:
                index.setdefault(tuple(self._series[place][name] for name in order), []).append(place)
        return self._known[key].get(tuple(labels[name] for name in order), [])


def narrow_query(query: str, chosen: Sequence[Mapping[str, str]], answered: Sequence[Mapping[str, str]]) -> str | None:
    """Make a query that gives the chosen ones of the series that `query` was answered with.

    Its own text is left as it is: the series are met with constants that have the labels of the chosen.

    Args:
        query: PromQL that gives series.
        chosen: The labels of those to be given.
        answered: The labels of all.

    Returns:
        None where there is no such query: labels do not tell the series apart, or too many are chosen.
    """
    names = sorted({name for each in answered for name in each} - {"__name__"})
    # Of a label that all have with the same value there is nothing to be told.
    telling = [name for name in names if len({each.get(name) for each in answered}) > 1]
    wanted = {tuple(each.get(name, "") for name in telling) for each in chosen}
    given = [each for each in answered if tuple(each.get(name, "") for name in telling) in wanted]
    if len(given) == len(answered):
        return query if len(chosen) == len(answered) else None
    if (
        len(given) != len(chosen)
        or not 0 < len(wanted) <= _MAX_NARROWED_SERIES
        or not all(map(_LABEL_NAME.fullmatch, telling))
    ):
        return None
    constants = " or ".join(_constant(dict(zip(telling, values, strict=True))) for values in sorted(wanted))
    return f"({query}) and on ({', '.join(telling)}) ({constants})"


def _constant(labels: Mapping[str, str]) -> str:
    """A series with these labels that is always there."""
    expr = "vector(1)"
    for name, value in labels.items():
        if value:  # an empty label is one that is not there
            # In the replacement `$1` would mean a group; JSON's escapes are a part of Go's.
            expr = (
                f'label_replace({expr}, "{name}", {json.dumps(value.replace("$", "$$"), ensure_ascii=False)}, "", "")'
            )
    return expr


# ---------------------------------------------------------------- the time to draw


def choose_period(
    now: datetime,
    *,
    hold: float = 0.0,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    points: int = USUAL_POINTS,
) -> Period:
    """Choose the time to draw.

    A firing alert: the last 15 minutes, or four times the rule's `for` where that is more; where it began before that,
    from before its beginning, a day at most. One that is over (`ends_at` in the past): from before it began to after it
    ended, with a quarter of its length but at least five minutes on both sides, and the time that it was pending.

    Args:
        now: No point lies after it, or before the epoch.
        hold: The rule's `for`, seconds.
        starts_at: When the alert began to fire.
        ends_at: When it was over; None while it fires.
        points: About how many to ask for; the step is whole seconds. Between 10 and 11,000.
    """
    points = max(_MIN_POINTS, min(points, MAX_POINTS))
    end = now.timestamp()
    least = max(MIN_PERIOD_SECONDS, 4 * hold)
    start = end - least
    if starts_at is not None and ends_at is not None and starts_at <= ends_at <= now:
        margin = max(_MIN_MARGIN_SECONDS, (ends_at - starts_at) / timedelta(seconds=4))
        end = min(end, ends_at.timestamp() + margin)
        start = min(starts_at.timestamp() - hold - margin, end - least)
    elif starts_at is not None and starts_at <= now:
        margin = max(_MIN_MARGIN_SECONDS, (now - starts_at) / timedelta(seconds=4))
        start = min(start, max(starts_at.timestamp() - hold - margin, end - _MAX_FIRING_SECONDS))
    start = max(0.0, start)
    step = float(max(1, math.ceil((end - start) / (points - 1))))
    # The last point is the end itself: what fires as soon as it is there has been there for less than a step.
    end = math.floor(end * 1000) / 1000
    return Period(max(0.0, end - math.floor((end - start) / step) * step), end, step)
