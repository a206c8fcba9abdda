"""What the values of an expression are counted in, from its metrics' units and what is done with them. Pure.

A metric's unit is known from its name, by Prometheus's convention ("Metric and label naming"), or from the server.
Where it cannot be told there is none: a number of unknown unit is shown as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from promql_parser import AggregateExpr, BinaryExpr, Call, Expr, VectorSelector

from wxbridge.core.model import Value
from wxbridge.core.text.units import infer_unit
from wxbridge.monitors.promql_syntax import (
    COMPARISONS,
    InvalidPromQL,
    ParsedExpression,
    children_of,
    constant_of,
    parse_expression,
)

UnitOfMetric = Callable[[str], str]
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


def unit_in(expr: str, of_metric: UnitOfMetric) -> str:
    """Tell the unit of an expression's values, as `core.text.units` knows it; empty where it cannot be told."""
    try:
        parsed = parse_expression(expr)
    except InvalidPromQL:
        return ""
    found = _UnitFinder(parsed, of_metric).find(parsed.tree)
    return "" if found == _MOMENT else found


def unit_of_metric(name: str) -> str:
    """What a metric's name says that it is counted in: `bytes`, `seconds`, `ratio`, … ; empty for nothing."""
    if name.endswith("_count"):
        return ""
    name = name.removesuffix("_bucket").removesuffix("_sum")
    if name.endswith(_MOMENTS):
        return _MOMENT
    return infer_unit(Value(name))


class _UnitFinder:
    """Follows the units of one expression's metrics to its result."""

    def __init__(self, parsed: ParsedExpression, of_metric: UnitOfMetric) -> None:
        self._parsed = parsed
        self._of_metric = of_metric

    def find(self, node: Expr) -> str:
        """Tell the unit of a part's values."""
        match node:
            case VectorSelector():
                return self._of_name(self._parsed.metric_of(node))
            case BinaryExpr():
                return self._of_operator(node)
            case AggregateExpr():
                return "" if str(node.op) in ("count", "count_values", "group", "stdvar") else self.find(node.expr)
            case Call():
                return self._of_call(node)
        children = children_of(node)
        return self.find(children[0]) if children else ""

    def _of_name(self, metric: str) -> str:
        return unit_of_metric(metric) or self._of_metric(metric)

    def _of_call(self, node: Call) -> str:
        name = node.func.name
        if name in ("time", "timestamp"):
            return _MOMENT
        if name in _COUNTS or not node.args:
            return ""
        if name == "histogram_quantile":
            # Its buckets are counted by rates, and are bounds of what the metric measures all the same.
            return next(map(self._of_name, self._parsed.metrics(node)), "")
        unit = self.find(node.args[-1 if name in _LAST_ARGUMENT else 0])
        return _PER_SECOND.get(unit, "") if name in _RATES else unit

    def _of_operator(self, node: BinaryExpr) -> str:
        left, right = self.find(node.lhs), self.find(node.rhs)
        first, second = constant_of(node.lhs), constant_of(node.rhs)
        number = second if first is None else first
        unit = ""
        match str(node.op):
            case "and" | "unless" | "%":
                unit = left
            case op if op in COMPARISONS:
                unit = "" if node.modifier is not None and node.modifier.return_bool else left
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
                unit = "ratio" if left == right and (left or self._is_part_of(node.lhs, node.rhs)) else ""
        return unit

    def _is_part_of(self, left: Expr, right: Expr) -> bool:
        """Whether two sides are of the same metric: a part of it and the whole."""
        first, second = set(self._parsed.metrics(left)), set(self._parsed.metrics(right))
        return len(first) == 1 and first == second


def _multiplied(unit: str, factor: float | None) -> str:
    if factor == 1:
        return unit
    return "%" if unit == "ratio" and factor == _HUNDRED else ""
