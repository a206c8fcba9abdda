"""What the values of an expression are counted in, from its metrics' units and what is done with them. Pure.

A metric's unit is known from its name, by Prometheus's convention ("Metric and label naming"), or from the server.
Where it cannot be told there is none: a number of unknown unit is shown as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wxbridge.core.model import Value
from wxbridge.core.text.units import infer_unit
from wxbridge.monitors.promql_tree import (
    COMPARISONS,
    Aggregate,
    Binary,
    Call,
    Node,
    NotUnderstood,
    Selector,
    constant,
    parse,
)

OfMetric = Callable[[str], str]
"""A metric's name → its unit; empty where it is not known."""

_MOMENT = "moment"
"""Seconds since the epoch: shown as a number, but the difference of two is a span."""
_MOMENTS = ("_time_seconds", "_timestamp_seconds", "_created")
_PER_SECOND = {"bytes": "bytes/s", "bits": "bits/s", "seconds": "ratio"}
_RATES = ("rate", "irate", "deriv")
_COUNTS = (
    "absent", "absent_over_time", "changes", "resets", "count_over_time", "present_over_time", "sgn",
    "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year",
    "exp", "ln", "log2", "log10", "stdvar_over_time", "histogram_count", "histogram_fraction",
)  # fmt: skip
_LAST_ARGUMENT = ("quantile_over_time",)
_HUNDRED = 100.0


def unit_in(expr: str, of_metric: OfMetric) -> str:
    """The unit of an expression's values, as `compose.figures.figure` knows it; empty where it cannot be told."""
    try:
        found = _unit(parse(expr), of_metric)
    except NotUnderstood:
        return ""
    return "" if found == _MOMENT else found


def unit_of_metric(name: str) -> str:
    """What a metric's name says that it is counted in: `bytes`, `seconds`, `ratio`, … ; empty for nothing."""
    if name.endswith("_count"):
        return ""
    name = name.removesuffix("_bucket").removesuffix("_sum")
    if name.endswith(_MOMENTS):
        return _MOMENT
    return infer_unit(Value(name))


def _unit(node: Node, of: OfMetric) -> str:
    match node:
        case Selector():
            return unit_of_metric(node.name) or of(node.name)
        case Binary():
            return _of_operator(node, of)
        case Aggregate():
            return "" if node.op in ("count", "count_values", "group", "stdvar") else _unit(node.expr, of)
        case Call():
            return _of_call(node, of)
    return _unit(node.parts[0], of) if node.parts else ""


def _of_call(node: Call, of: OfMetric) -> str:
    if node.name in ("time", "timestamp"):
        return _MOMENT
    if node.name in _COUNTS or not node.args:
        return ""
    if node.name == "histogram_quantile":
        # Its buckets are counted by rates, and are bounds of what the metric measures all the same.
        return next((unit_of_metric(name) or of(name) for name in _names(node)), "")
    unit = _unit(node.args[-1 if node.name in _LAST_ARGUMENT else 0], of)
    return _PER_SECOND.get(unit, "") if node.name in _RATES else unit


def _of_operator(node: Binary, of: OfMetric) -> str:
    left, right = _unit(node.left, of), _unit(node.right, of)
    first, second = constant(node.left), constant(node.right)
    number = second if first is None else first
    unit = ""
    match node.op:
        case "and" | "unless" | "%":
            unit = left
        case op if op in COMPARISONS:
            unit = "" if node.returns_bool else left
        case "+" | "-" if number is not None:
            unit = left or right
        case "-" if _MOMENT in (left, right):
            unit = "seconds"
        case "+" | "-" | "or":
            unit = left if left == right else ""
        case "*" if number is not None:
            unit = _multiplied(left or right, number)
        case "/" if number is not None:
            unit = left if second == 1 else ""
        case "/":
            unit = "ratio" if left == right and (left or _alike(node.left, node.right)) else ""
    return unit


def _alike(left: Node, right: Node) -> bool:
    """Whether two sides are of the same metric: a part of it and the whole."""
    first, second = set(_names(left)), set(_names(right))
    return len(first) == 1 and first == second


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, Selector) and node.name:
        yield node.name
    for part in node.parts:
        yield from _names(part)


def _multiplied(unit: str, factor: float | None) -> str:
    if factor == 1:
        return unit
    return "%" if unit == "ratio" and factor == _HUNDRED else ""
