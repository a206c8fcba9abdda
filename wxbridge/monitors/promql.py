"""An alert's expression → what its chart shows: the curves, as queries for the firing instances alone, and thresholds.

`node_load1 > 4` fires for `{instance="db-1"}`: the curve is `node_load1{instance="db-1"}`, the threshold 4. Matchers
go into the rule's own text, and only where they keep exactly what the alert is about; what they cannot do, choosing
among the answered series by their labels does (`chosen`). Pure: no clock, no network.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Any

from wxbridge.monitors.promql_tree import (
    COMPARISONS,
    Aggregate,
    Binary,
    Call,
    Node,
    NotUnderstood,
    Number,
    Paren,
    Selector,
    Sign,
    String,
    Subquery,
    constant,
    is_scalar,
    parse,
    tokens,
    without_parentheses,
)

MAX_POINTS = 11_000
"""Prometheus refuses a query of more points for a series."""
POINTS = 500
_MIN_POINTS = 10
MIN_PERIOD = 900.0
"""Seconds."""
_MARGIN = 300.0
_MAX_VALUES = 30
"""Of one label in one matcher; above that the series are chosen from the answer."""

_SCRAPED = frozenset(("instance", "job"))
"""Every scraped series has these. Any other label may be the rule's or the server's own addition."""
_USUALLY_ADDED = frozenset(("severity",))
"""By convention the rule's own: not to be shown among what series are chosen by."""
_NEVER = frozenset(("alertname", "alertstate", "__name__"))
_LABEL = re.compile(r"[a-zA-Z_]\w*", re.ASCII)
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_ABSENT = ("absent", "absent_over_time")
_HISTOGRAM = ("histogram_quantile", "histogram_fraction")
_RENAMING = ("label_replace", "label_join")

_SERIES_BY_SERIES = frozenset((
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "avg_over_time", "ceil", "changes", "clamp", "clamp_max",
    "clamp_min", "cos", "cosh", "count_over_time", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "deg",
    "delta", "deriv", "double_exponential_smoothing", "exp", "first_over_time", "floor", "histogram_avg",
    "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum", "holt_winters", "hour", "idelta",
    "increase", "irate", "last_over_time", "ln", "log10", "log2", "mad_over_time", "max_over_time", "min_over_time",
    "minute", "month", "predict_linear", "present_over_time", "quantile_over_time", "rad", "rate", "resets", "round",
    "sgn", "sin", "sinh", "sort", "sort_by_label", "sort_by_label_desc", "sort_desc", "sqrt", "stddev_over_time",
    "stdvar_over_time", "sum_over_time", "tan", "tanh", "timestamp", "ts_of_first_over_time", "ts_of_last_over_time",
    "ts_of_max_over_time", "ts_of_min_over_time", "year",
))  # fmt: skip
"""Functions that make one series of one series and leave its labels as they are."""


class Role(StrEnum):
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
class Threshold:
    """The alert is on where `value op number` holds."""

    op: str
    value: float


@dataclass(frozen=True)
class Labels:
    """A set of label names: those in `names`, or all but those."""

    names: frozenset[str] = frozenset()
    all_but: bool = False

    def __contains__(self, name: object) -> bool:
        return (name in self.names) != self.all_but

    def __or__(self, other: Labels) -> Labels:
        if self.all_but and other.all_but:
            return Labels(self.names & other.names, all_but=True)
        if self.all_but or other.all_but:
            every, some = (self, other) if self.all_but else (other, self)
            return Labels(every.names - some.names, all_but=True)
        return Labels(self.names | other.names)

    def __and__(self, other: Labels) -> Labels:
        return ~(~self | ~other)

    def __invert__(self) -> Labels:
        return Labels(self.names, all_but=not self.all_but)


ALL = Labels(all_but=True)
NONE = Labels()


@dataclass(frozen=True)
class Curve:
    """One thing to draw, as one range query that may answer with several series."""

    query: str
    """What to send: `text` with matchers for the alert's labels."""
    text: str
    """The part of the rule that it is, in the rule's own words."""
    role: Role = Role.VALUE
    thresholds: tuple[Threshold, ...] = ()
    scope: Labels = ALL
    """The labels of its series that the alert has too, unless they were changed on the way. By the others a series
    cannot be told to be the alert's or not."""
    metrics: tuple[str, ...] = ()
    """The names of the metrics in it, each once, in the text's order: for guessing a unit."""


@dataclass(frozen=True)
class Analysis:
    """What to draw for an expression and the instances it fires for."""

    expr: str
    curves: tuple[Curve, ...]
    instances: tuple[Mapping[str, str], ...] = ({},)
    """The labels of the firing instances, less those that no series can have."""
    filter: Mapping[str, str] = field(default_factory=dict)
    """The labels that only choosing among the answered series takes care of, where all instances agree on them."""
    understood: bool = True
    why: str = ""
    """In words: what was taken for what, and what is left out."""

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """All thresholds, each once."""
        return tuple(dict.fromkeys(each for curve in self.curves for each in curve.thresholds))


@dataclass(frozen=True)
class Period:
    """A stretch of time to draw: seconds since the epoch, both ends and the step between points."""

    start: float
    end: float
    step: float


# ---------------------------------------------------------------- the whole


def analysed(expr: str, labels: Mapping[str, str], *others: Mapping[str, str], added: Collection[str] = ()) -> Analysis:
    """Find what to draw for an alert. Never raises: what is not understood is drawn whole.

    Args:
        expr: The rule's expression.
        labels: The alert's labels.
        others: The labels of further alerts of this rule, for one chart of them all.
        added: The labels that the rule itself sets. Where they are not known, a label that no series has to have
            is matched in a way that a series without it passes too.
    """
    instances = tuple(
        {name: value for name, value in each.items() if name not in _NEVER and name not in added}
        for each in (labels, *others)
    )
    try:
        found = _stripped(expr, parse(expr))
    except NotUnderstood as error:
        curve = Curve(expr.strip(), expr.strip())
        return Analysis(expr, (curve,), instances, _common(instances), understood=False, why=f"drawn whole: {error}")
    curves = []
    left: set[str] = set()
    for part in found:
        curve, rest = _narrowed(expr, part, instances)
        curves.append(curve)
        if part.role in (Role.VALUE, Role.ABSENT):
            left |= rest
    common = {name: value for name, value in _common(instances).items() if name in left - _USUALLY_ADDED}
    return Analysis(expr, tuple(curves), instances, common, why=_why(expr, found))


def explained(analysis: Analysis, period: Period) -> dict[str, Any]:
    """The analysis as plain JSON for `wxbridge chart --explain`."""
    return {
        "queries": list(dict.fromkeys(curve.query for curve in analysis.curves)),
        "thresholds": [each.value for each in analysis.thresholds if math.isfinite(each.value)],
        "filter": dict(analysis.filter),
        "range": {"start": period.start, "end": period.end, "step": period.step},
        "why": analysis.why,
    }


def _common(instances: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *rest = instances
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in rest)}


# ---------------------------------------------------------------- taking the comparison off


@dataclass(frozen=True)
class _Part:
    """A curve before its matchers: a node of the tree, less the characters of `cut`."""

    node: Node
    role: Role = Role.VALUE
    thresholds: tuple[Threshold, ...] = ()
    scope: Labels = ALL
    cut: tuple[int, int] | None = None


def _stripped(expr: str, node: Node) -> list[_Part]:
    """The curves of an expression, what the alert's value is of first."""
    node = without_parentheses(node)
    match node:
        case Binary(op=op) if op in COMPARISONS:
            return _compared(expr, node)
        case Binary(op="or"):
            return _merged(expr, _stripped(expr, node.left), _stripped(expr, node.right), adding=True)
        case Binary(op="and"):
            return _merged(expr, _stripped(expr, node.left), _stripped(expr, node.right))
        case Binary(op="unless"):
            return _merged(expr, _stripped(expr, node.left), _negated(_stripped(expr, node.right)))
        case Call(name=name, args=(argument,)) if name in _ABSENT:
            return [_Part(node, Role.ABSENT), _missing(argument)]
    return [_Part(node)]


def _compared(expr: str, node: Binary) -> list[_Part]:
    left, right = constant(node.left), constant(node.right)
    if left is not None and right is not None:
        return [_Part(node)]
    main, reference = _matched(node)
    if right is not None:
        return _limited(expr, node.left, Threshold(node.op, right), main)
    if left is not None:
        return _limited(expr, node.right, Threshold(_MIRRORED[node.op], left), reference)
    if is_scalar(node.left) and is_scalar(node.right):
        return [_Part(node)]
    if is_scalar(node.left):  # the values that come out are the series'
        return [*_sides(expr, node.right, ALL), _Part(without_parentheses(node.left), Role.REFERENCE, scope=NONE)]
    scope = NONE if is_scalar(node.right) else reference
    return [*_sides(expr, node.left, main), _Part(without_parentheses(node.right), Role.REFERENCE, scope=scope)]


def _matched(node: Binary) -> tuple[Labels, Labels]:
    """Of each side of an operator, the labels that come out of it unchanged or that tell its partner."""
    if is_scalar(node.left) or is_scalar(node.right):
        return ALL, ALL
    match = Labels(node.on) if node.on is not None else Labels(node.ignoring, all_but=True)
    if node.group is None:
        return match, match
    carried = Labels(node.carried)
    many, one = ~carried, match | carried
    return (many, one) if node.group == "left" else (one, many)


def _sides(expr: str, node: Node, scope: Labels) -> list[_Part]:
    """A side of a comparison: what is compared in its turn (`0 <= a < 3`, `absent(a) == 1`), or the side as it is."""
    inner = without_parentheses(node)
    nested = isinstance(inner, Binary) and inner.op in COMPARISONS and not inner.returns_bool
    parts = _stripped(expr, inner) if nested else [_Part(inner)]
    return [replace(part, scope=part.scope & scope) for part in parts]


def _limited(expr: str, node: Node, threshold: Threshold, scope: Labels) -> list[_Part]:
    inner = without_parentheses(node)
    if isinstance(inner, Call) and inner.name in _ABSENT:
        return _stripped(expr, inner)
    if isinstance(inner, Binary) and inner.op in COMPARISONS and inner.returns_bool:
        truth = _holds(threshold, 1.0), _holds(threshold, 0.0)
        parts = _stripped(expr, inner)
        if truth == (False, True):
            parts = _negated(parts)
        if truth in ((True, False), (False, True)) and any(part.thresholds for part in parts):
            return [replace(part, scope=part.scope & scope) for part in parts]
        return [_Part(inner, thresholds=(threshold,), scope=scope)]
    return [
        replace(part, thresholds=(*part.thresholds, threshold)) if part.role is Role.VALUE else part
        for part in _sides(expr, inner, scope)
    ]


def _holds(threshold: Threshold, value: float) -> bool:
    limit = threshold.value
    return {
        "==": value == limit, "!=": value != limit, "<": value < limit,
        "<=": value <= limit, ">": value > limit, ">=": value >= limit,
    }[threshold.op]  # fmt: skip


def _negated(parts: list[_Part]) -> list[_Part]:
    """The same with the opposite threshold; without any where that is no single one."""
    limits = [each for part in parts for each in part.thresholds]
    single = len(limits) == 1
    return [
        replace(part, thresholds=tuple(Threshold(_OPPOSITE[each.op], each.value) for each in part.thresholds if single))
        for part in parts
    ]


def _merged(expr: str, parts: list[_Part], more: list[_Part], *, adding: bool = False) -> list[_Part]:
    """Give the thresholds of the second parts to equal first ones; add the others where `adding`."""
    merged = {(part.role, _words(expr, part)): part for part in parts}
    for part in more:
        key = (part.role, _words(expr, part))
        if key in merged:
            own = merged[key]
            thresholds = tuple(dict.fromkeys((*own.thresholds, *part.thresholds)))
            merged[key] = replace(own, thresholds=thresholds, scope=own.scope | part.scope if adding else own.scope)
        elif adding:
            merged[key] = part
    values = {words for role, words in merged if role is Role.VALUE}
    return [part for (role, words), part in merged.items() if role is not Role.VANISHED or words not in values]


def _missing(argument: Node) -> _Part:
    """What `absent(argument)` misses; its alert has the labels that the selector asks for with `=`, no others."""
    inner = without_parentheses(argument)
    if isinstance(inner, Subquery):
        inner = without_parentheses(inner.expr)
    scope = Labels(_asked(inner))
    return _Part(inner, Role.VANISHED, scope=scope, cut=inner.range if isinstance(inner, Selector) else None)


def _asked(node: Node) -> frozenset[str]:
    if not isinstance(node, Selector):
        return frozenset()
    return frozenset(each.name for each in node.matchers if each.op == "=")


def _words(expr: str, part: _Part) -> tuple[str, ...]:
    """The text of a part, however it is laid out."""
    return tuple(token.text for token in tokens(_text(expr, part)))


def _text(expr: str, part: _Part, edits: Mapping[int, str] | None = None) -> str:
    """The exact text of a part, with insertions by place."""
    start, end = part.node.start, part.node.end
    cut = part.cut or (end, end)
    pieces, last = [], start
    for place, insertion in sorted([*(edits or {}).items(), (cut[0], "")]):
        pieces += [expr[last:place], insertion]
        last = max(last, cut[1] if place == cut[0] and not insertion else place)
    return "".join([*pieces, expr[last:end]])


def _why(expr: str, parts: list[_Part]) -> str:
    counts = [part for part in parts if part.role is Role.VALUE]
    limits = [f"{each.op} {each.value:g}" for part in counts for each in part.thresholds]
    said = []
    if any(part.role is Role.ABSENT for part in parts):
        said.append("fires while something is missing")
    if counts and limits:
        said.append(f"the outer comparison ({', '.join(dict.fromkeys(limits))}) became the threshold")
    if any(part.role is Role.REFERENCE for part in parts):
        said.append("drawn beside what it is compared with")
    if counts and not limits and len(counts) == len(parts):
        said.append("has no outer comparison with a number: drawn whole")
    whole = without_parentheses(parse(expr))
    if isinstance(whole, Binary) and whole.op in ("and", "unless"):
        said.append(f"what follows `{whole.op}` is a condition and no curve")
    return "; ".join(said)


# ---------------------------------------------------------------- keeping the firing instances


def _narrowed(expr: str, part: _Part, instances: Sequence[Mapping[str, str]]) -> tuple[Curve, set[str]]:
    """Put matchers into a part; the names of the labels that they could not take care of are given too."""
    can_have = _produced(part.node) & part.scope
    wanted = sorted({name for each in instances for name in each if name in can_have})
    additions: dict[int, tuple[Selector, list[str]]] = {}
    rest = set()
    for name in wanted:
        places = [] if part.role is Role.ABSENT else list(_reached(part.node, name))
        matcher = _matcher(name, [each.get(name, "") for each in instances])
        if not places or matcher is None:
            rest.add(name)
            continue
        for selector in places:
            if not _settled(selector, name):
                additions.setdefault(selector.at, (selector, []))[1].append(matcher)
    edits = {
        place: selector.glue[0] + ", ".join(matchers) + selector.glue[1]
        for place, (selector, matchers) in additions.items()
    }
    query, text = _text(expr, part, edits), _text(expr, part)
    names = tuple(dict.fromkeys(filter(None, _metrics(part.node))))
    return Curve(query, text, part.role, tuple(dict.fromkeys(part.thresholds)), can_have, names), rest


def _metrics(node: Node) -> Iterator[str]:
    if isinstance(node, Selector):
        yield node.name
    for part in node.parts:
        yield from _metrics(part)


def _settled(selector: Selector, name: str) -> bool:
    """Whether a selector fixes a label itself. Where that is not the alert's value, the rule changes it later."""
    return any(each.name == name and each.op == "=" for each in selector.matchers)


def _matcher(name: str, values: Sequence[str]) -> str | None:
    """A matcher for any of some values; None where there can be none. An empty value is a label that is not there."""
    wanted = sorted(set(values))
    if not _LABEL.fullmatch(name) or len(wanted) > _MAX_VALUES or not all(map(_sendable, wanted)):
        return None
    if name in _SCRAPED and len(wanted) == 1 and wanted[0]:
        return f"{name}={_quoted(wanted[0])}"
    if name not in _SCRAPED and "" not in wanted:
        wanted.append("")
    return f"{name}=~{_quoted('|'.join(map(_escaped, filter(None, wanted))) + '|' * ('' in wanted))}"


def _sendable(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _escaped(value: str) -> str:
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", value)


def _quoted(value: str) -> str:
    # JSON's escapes are a part of Go's.
    return json.dumps(value, ensure_ascii=False)


def _reached(node: Node, name: str) -> Iterator[Selector]:
    """The selectors in which matching a label keeps every series of the result that has this label's value.

    A label is followed from the result down: through what leaves it alone, into both sides of an operator where
    they are matched on it, not where an aggregation drops it or a function makes it.
    """
    match node:
        case Selector():
            if not node.closed:
                yield node
        case Paren() | Sign() | Subquery():
            yield from _reached(node.expr, name)
        case Call():
            yield from _reached_by_call(node, name)
        case Aggregate():
            # The first argument of count_values names a label that it makes.
            made = node.op == "count_values" and isinstance(first := node.args[0], String) and first.value == name
            if (name in node.labels) != node.without and not made:
                yield from _reached(node.expr, name)
        case Binary():
            for side in _sides_with(node, name):
                yield from _reached(side, name)


def _reached_by_call(node: Call, name: str) -> Iterator[Selector]:
    if node.name in _RENAMING and len(node.args) > 1:
        made = node.args[1]
        if isinstance(made, String) and made.value not in (None, name):
            yield from _reached(node.args[0], name)
    elif node.name in _SERIES_BY_SERIES or (node.name in _HISTOGRAM and name != "le"):
        for argument in node.args:
            yield from _reached(argument, name)


def _sides_with(node: Binary, name: str) -> tuple[Node, ...]:
    """The sides of an operator on which a label may be matched."""
    both = (node.left, node.right)
    if is_scalar(node.left) or is_scalar(node.right):
        return both
    matched = (name in node.on) if node.on is not None else (name not in node.ignoring)
    if node.fills:
        return ()
    if node.op in ("and", "unless"):
        return both if matched else (node.left,)
    if matched:
        return both
    if node.op == "or" or node.group is None:
        return ()
    many, one = both if node.group == "left" else (node.right, node.left)
    return (one,) if name in node.carried else (many,)


def _produced(node: Node) -> Labels:
    """The labels that series of a result can have."""
    match node:
        case Number() | String():
            return NONE
        case Paren() | Sign() | Subquery():
            return _produced(node.expr)
        case Call():
            return _produced_by_call(node)
        case Aggregate():
            made = node.args[0] if node.op == "count_values" else None
            more = Labels(frozenset([made.value or ""])) if isinstance(made, String) else NONE
            own = Labels(node.labels, all_but=node.without)
            return (_produced(node.expr) & own) | more if _groups(node) else _produced(node.expr)
        case Binary():
            return _produced_by_operator(node)
    return ALL


def _groups(node: Aggregate) -> bool:
    return node.op not in ("topk", "bottomk", "limitk", "limit_ratio")


def _produced_by_call(node: Call) -> Labels:
    if is_scalar(node) or node.name == "vector":
        return NONE
    match node:
        case Call(name="absent" | "absent_over_time", args=(only,)):
            return Labels(_asked(without_parentheses(only)))
        case Call(name="label_replace" | "label_join", args=(series, String(value=str(made)), *_)):
            return _produced(series) | Labels(frozenset([made]))
        case Call(name="histogram_quantile" | "histogram_fraction", args=(*_, series)):
            return _produced(series) & Labels(frozenset(["le"]), all_but=True)
    if node.name in _SERIES_BY_SERIES:
        return reduce(or_, map(_produced, node.args), NONE) if node.args else NONE
    return ALL


def _produced_by_operator(node: Binary) -> Labels:
    left, right = _produced(node.left), _produced(node.right)
    if node.op == "or" or is_scalar(node.left) or is_scalar(node.right):
        return left | right
    if node.op in ("and", "unless"):
        return left
    if node.group is not None:
        return (left if node.group == "left" else right) | Labels(node.carried)
    return left & (Labels(node.on) if node.on is not None else Labels(node.ignoring, all_but=True))


# ---------------------------------------------------------------- choosing among the answered series


@dataclass(frozen=True)
class Choice:
    """Which of the answered series are the alert's, by their place, and a word about it where it is not plain."""

    places: tuple[int, ...]
    note: str = ""
    sure: bool = True
    """Whether the labels say so."""


def chosen(curve: Curve, series: Sequence[Mapping[str, str]], instances: Sequence[Mapping[str, str]]) -> Choice:
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
    having = _Having(own)
    places: set[int] = set()
    for labels in instances:
        most = 0
        within: list[int] = []
        for names, some in by_names.items():
            if len(names) >= most and names <= labels.keys() and (found := having.values(some, names, labels)):
                within = [*within, *found] if len(names) == most else found
                most = len(names)
        places.update(within)
    if places:
        return Choice(tuple(sorted(places)))
    there = {pair for each in own for pair in each.items()}
    for labels in instances:
        kept = dict(labels.items() & there)
        for names, some in by_names.items():
            if both := names.intersection(kept):
                places.update(having.values(some, both, kept))
    if places:
        return Choice(tuple(sorted(places)), "some labels of the series are not the alert's", sure=False)
    return Choice(
        tuple(range(len(series))), "no series has the alert's labels: all are drawn" if own else "", sure=False
    )


class _Having:
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


# ---------------------------------------------------------------- the time to draw


def period(
    now: datetime,
    *,
    hold: float = 0.0,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    points: int = POINTS,
) -> Period:
    """Choose the time to draw.

    A firing alert: the last 15 minutes, or four times the rule's `for` where that is more. One that is over (`ends_at`
    in the past): from before it began to after it ended, with a quarter of its length but at least five minutes
    on both sides, and the time that it was pending.

    Args:
        now: No point lies after it, or before the epoch.
        hold: The rule's `for`, seconds.
        starts_at: When the alert began to fire.
        ends_at: When it was over; None while it fires.
        points: About how many to ask for; the step is whole seconds. Between 10 and 11,000.
    """
    points = max(_MIN_POINTS, min(points, MAX_POINTS))
    end = now.timestamp()
    least = max(MIN_PERIOD, 4 * hold)
    start = end - least
    if starts_at is not None and ends_at is not None and starts_at <= ends_at <= now:
        margin = max(_MARGIN, (ends_at - starts_at) / timedelta(seconds=4))
        end = min(end, ends_at.timestamp() + margin)
        start = min(starts_at.timestamp() - hold - margin, end - least)
    start = max(0.0, start)
    step = float(max(1, math.ceil((end - start) / (points - 1))))
    # The last point is the end itself: what fires as soon as it is there has been there for less than a step.
    end = math.floor(end * 1000) / 1000
    return Period(max(0.0, end - math.floor((end - start) / step) * step), end, step)
