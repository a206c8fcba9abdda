"""An alert's expression → what its chart shows: the curves, as queries, and the thresholds.

`node_load1 > 4` fires for `{instance="db-1"}`: the curve is `node_load1`, the threshold 4, and of the series that are
answered those of db-1 are chosen by their labels (`choose_series`). Pure: no clock, no network.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import reduce
from typing import Any, TypeGuard

from promql_parser import (
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    SubqueryExpr,
)

from wxbridge.core.thresholds import AlertThreshold
from wxbridge.monitors.period import Period
from wxbridge.monitors.promql_labels import ABSENT, ALL_LABELS, NO_LABELS, LabelSet, matched_labels, produced_labels
from wxbridge.monitors.promql_syntax import (
    COMPARISONS,
    InvalidPromQL,
    ParsedExpression,
    constant_of,
    is_scalar,
    parse_expression,
    strip_parentheses,
)

_NEVER_OF_SERIES = frozenset(("alertname", "alertstate", "__name__"))
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
"""What a comparison is with its sides exchanged."""
_JOINING = ("*", "+")
"""Operators by which labels are taken from a metric that is 1, or is multiplied by 0."""


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
        operator.or_, (each.scope for each in curves if each.role in (CurveRole.VALUE, CurveRole.ABSENT)), NO_LABELS
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
            case Call() if node.func.name in ABSENT:
                return [self._curve(node, CurveRole.ABSENT), self._missing(node.args[0])]
        return self._find_joined(node) or [self._curve(node)]

    def _find_joined(self, node: Expr) -> list[AlertCurve]:
        """What is compared in `(a > 5) * on (b) group_left (c) info`, which adds labels to what fires; else nothing."""
        if not isinstance(node, BinaryExpr) or str(node.op) not in _JOINING:
            return []
        if is_scalar(node.lhs) or is_scalar(node.rhs):
            return []
        for side, scope in zip((node.lhs, node.rhs), matched_labels(self._parsed, node), strict=True):
            compared = strip_parentheses(side)
            curves = self.find(compared) if _is_filter(compared) else []
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
        main, reference = matched_labels(self._parsed, node)
        if right is not None:
            return self._find_limited(node.lhs, AlertThreshold(op, right), main)
        if left is not None:
            return self._find_limited(node.rhs, AlertThreshold(MIRRORED[op], left), reference)
        if is_scalar(node.lhs) and is_scalar(node.rhs):
            return [self._curve(node)]
        if is_scalar(node.lhs):  # the values that come out are the series'
            return [*self._find_side(node.rhs, ALL_LABELS), self._curve(node.lhs, CurveRole.REFERENCE)]
        return [*self._find_side(node.lhs, main), self._curve(node.rhs, CurveRole.REFERENCE, scope=reference)]

    def _find_side(self, node: Expr, scope: LabelSet) -> list[AlertCurve]:
        """A side of a comparison: what is compared in its turn (`0 <= a < 3`), or the side as it is."""
        inner = strip_parentheses(node)
        curves = self.find(inner) if _is_filter(inner) else [self._curve(inner)]
        return [replace(curve, scope=curve.scope & scope) for curve in curves]

    def _find_limited(self, node: Expr, threshold: AlertThreshold, scope: LabelSet) -> list[AlertCurve]:
        inner = strip_parentheses(node)
        if isinstance(inner, Call) and inner.func.name in ABSENT:
            return self.find(inner)
        if _is_comparison(inner) and not _is_filter(inner):
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


def _is_comparison(node: Expr) -> TypeGuard[BinaryExpr]:
    return isinstance(node, BinaryExpr) and str(node.op) in COMPARISONS


def _is_filter(node: Expr) -> bool:
    """Whether an expression is a comparison that leaves out what does not fulfil it (`bool` makes 0 and 1 of it)."""
    return _is_comparison(node) and (node.modifier is None or not node.modifier.return_bool)


def _holds(threshold: AlertThreshold, value: float) -> bool:
    return bool(_OPERATORS[threshold.op](value, threshold.value))


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
