"""A rule of Grafana's alerting → what its chart shows: the queries of its series, and the thresholds. Pure.

Grafana computes the queries itself, over a time instead of at a moment, whatever data source they are for. Of the
condition what is compared with a number becomes the threshold, what it is compared with the curve: a threshold, a
classic condition, a comparison within a math expression, or the outer comparison of a query in PromQL. A reduction of
a series to one value (`last`, `max`, …) is drawn as the series itself.

https://grafana.com/docs/grafana/latest/alerting/fundamentals/alert-rules/queries-conditions/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wxbridge.config.types import parse_duration
from wxbridge.core.json_values import as_number, as_text
from wxbridge.core.thresholds import AlertThreshold
from wxbridge.monitors.promql import MIRRORED, analyze_expression

_EXPRESSIONS = ("__expr__", "-100")
"""What Grafana calls the data source of its own expressions."""
_MAX_DEPTH = 20
_COMPARING = {
    "gt": (">",), "lt": ("<",), "gte": (">=",), "lte": ("<=",), "eq": ("==",), "ne": ("!=",),
    "outside_range": ("<", ">"), "within_range": (">", "<"),
    "outside_range_included": ("<=", ">="), "within_range_included": (">=", "<="),
}  # fmt: skip
"""Grafana's evaluators, and the comparisons with their parameters."""
_KEEPING_SCALE = ("last", "first", "mean", "avg", "median", "min", "max")
"""Reductions whose value can be read from the series that they reduce; a sum or a count cannot."""
_COMPARISON = re.compile(r"(?<![<>=!])(>=|<=|==|!=|>|<)(?!=)")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]+)\}|(?P<bare>\w+))")
_MACRO = re.compile(r"\$\{?__\w+\}?")

Node = Mapping[str, Any]


@dataclass(frozen=True)
class RuleCurve:
    """The series of one query or expression, and what the rule compares them with."""

    ref: str
    """What the query is called (`refId`)."""
    thresholds: tuple[AlertThreshold, ...] = ()
    promql: str = ""
    """The query itself, where it is in PromQL and nothing was done with it: for guessing a unit."""


@dataclass(frozen=True)
class GrafanaRule:
    """A rule as far as its chart needs it. Times are seconds."""

    title: str
    queries: tuple[Node, ...] = ()
    """As Grafana's API takes them, less their time."""
    curves: tuple[RuleCurve, ...] = ()
    hold: float = 0.0
    """How long the condition has to hold before the rule fires."""
    window: float = 0.0
    """How far its queries look back."""


class _NotUnderstood(Exception):
    """A condition that is not told by its series."""


def read_unified_rule(answer: Mapping[str, Any]) -> GrafanaRule:
    """Read a rule of unified alerting, as the provisioning API or the ruler answers it.

    Raises:
        ValueError: it is no such rule. TypeError and LookupError, likewise.
    """
    rule = {**answer, **(answer.get("grafana_alert") or {})}
    nodes: dict[str, Node] = {}
    windows = [0.0]
    for each in rule["data"]:
        source = as_text(each.get("datasourceUid"))
        ref, kind = as_text(each["refId"]), as_text(each.get("queryType"))
        nodes[ref] = {**each["model"], "refId": ref, "datasource": _source(each["model"], source)}
        if kind:
            nodes[ref] = {**nodes[ref], "queryType": kind}
        windows.append(float((each.get("relativeTimeRange") or {}).get("from") or 0))
    finder = _ConditionReader(nodes)
    curves = finder.find_all(as_text(rule["condition"]))
    return GrafanaRule(
        as_text(rule["title"]).strip(), finder.queries(curves), curves, _seconds(rule.get("for")), max(windows)
    )


def read_legacy_rule(answer: Mapping[str, Any]) -> GrafanaRule:
    """Read a rule of legacy alerting, as `/api/alerts/NUMBER` answers it.

    Raises:
        ValueError: it is no such rule. TypeError and LookupError, likewise.
    """
    settings = answer["Settings"]
    nodes: dict[str, Node] = {}
    windows = [0.0]
    for each in settings["conditions"]:
        query = each["query"]
        ref = as_text(query["params"][0])
        nodes[ref] = {**query["model"], "refId": ref, "datasourceId": query["datasourceId"]}
        windows.append(_seconds(query["params"][1]))
    finder = _ConditionReader(nodes | {"": {"type": "classic_conditions", **_EXPRESSION, **settings}})
    curves = finder.find_all("")
    return GrafanaRule(
        as_text(answer["Name"]).strip(), finder.queries(curves), curves, _seconds(settings.get("for")), max(windows)
    )


_EXPRESSION: Node = {"datasource": {"type": "__expr__", "uid": "__expr__"}}


def _source(model: Node, uid: str) -> Node:
    if uid in _EXPRESSIONS:
        return dict(_EXPRESSION["datasource"])
    given = model.get("datasource")
    return {**(given if isinstance(given, dict) else {}), "uid": uid}


def _is_expression(node: Node) -> bool:
    source = node.get("datasource")
    return isinstance(source, dict) and source.get("uid") in _EXPRESSIONS


def _seconds(text: Any) -> float:
    try:
        return parse_duration(as_text(text)) if text else 0.0
    except ValueError:
        return 0.0


# ---------------------------------------------------------------- from the condition back to its series


@dataclass
class _ConditionReader:
    """Follows the condition of one rule back to its series."""

    nodes: Mapping[str, Node]
    """All queries and expressions, by what they are called."""
    made: dict[str, Node] = field(default_factory=dict)
    """Queries and expressions as they are asked for."""

    def find_all(self, condition: str) -> tuple[RuleCurve, ...]:
        """Find the curves of the condition; all queries without a threshold where it is not understood."""
        try:
            return tuple(self._find(condition, 0))
        except _NotUnderstood:
            self.made.clear()
            plain = [ref for ref, node in self.nodes.items() if not _is_expression(node)]
            return tuple(self._compared(RuleCurve(self._series(ref, 0)), ()) for ref in plain)

    def queries(self, curves: Sequence[RuleCurve]) -> tuple[Node, ...]:
        """List what is to be asked for the curves, each once."""
        wanted: dict[str, None] = {}

        def want(ref: str) -> None:
            node = self.made[ref]
            for each in _inputs(node) if _is_expression(node) else ():
                want(each)
            wanted[ref] = None

        for curve in curves:
            want(curve.ref)
        return tuple(self.made[ref] for ref in wanted)

    def _find(self, ref: str, depth: int) -> list[RuleCurve]:
        """The curves of what a condition, or a part of it, looks at."""
        node = self._node(ref, depth)
        if not _is_expression(node):
            return [self._compared(RuleCurve(self._series(ref, depth)), ())]
        match node.get("type"):
            case "threshold":
                limits = _thresholds((node.get("conditions") or [{}])[0].get("evaluator"))
                series = self._series(_referred(node.get("expression")), depth + 1)
                return [self._compared(RuleCurve(series), limits)]
            case "classic_conditions":
                return self._find_classic(node, depth)
            case "math" if _COMPARISON.search(as_text(node.get("expression"))):
                return self._find_math(node, depth)
        return [RuleCurve(self._series(ref, depth))]

    def _find_classic(self, node: Node, depth: int) -> list[RuleCurve]:
        found: list[RuleCurve] = []
        for each in node["conditions"]:
            if as_text((each.get("reducer") or {}).get("type")) not in _KEEPING_SCALE:
                raise _NotUnderstood
            series = self._series(_referred(each["query"]["params"][0]), depth + 1)
            curve = self._compared(RuleCurve(series), _thresholds(each.get("evaluator")))
            found = _joined(found, [curve], adding=not found or (each.get("operator") or {}).get("type") == "or")
        return found

    def _find_math(self, node: Node, depth: int) -> list[RuleCurve]:
        found: list[RuleCurve] = []
        parts = list(_split_logic(as_text(node.get("expression"))))
        for number, (operator, part) in enumerate(parts):
            sides = _COMPARISON.split(_unwrapped(part))
            if len(sides) != 3 or _COMPARISON.search(sides[2]):  # noqa: PLR2004 - one operator and two sides
                raise _NotUnderstood
            left, op, right = sides
            value, other = as_number(right.strip()), left
            if value is None:
                value, other, op = as_number(left.strip()), right, MIRRORED[op]
            if value is None or not _VARIABLE.search(other):
                raise _NotUnderstood
            name = as_text(node["refId"]) + (f"_{number}" if len(parts) > 1 else "")
            curve = self._compared(RuleCurve(self._computed(name, other, depth)), (AlertThreshold(op, value),))
            found = _joined(found, [curve], adding=not found or operator == "||")
        return found

    def _computed(self, name: str, expression: str, depth: int) -> str:
        """What a part of a math expression is asked for as: the series that it names, or an expression of its own."""
        alone = _VARIABLE.fullmatch(_unwrapped(expression))
        if alone:
            return self._series(alone["braced"] or alone["bare"], depth + 1)

        def renamed(found: re.Match[str]) -> str:
            return "${" + self._series(found["braced"] or found["bare"], depth + 1) + "}"

        text = _VARIABLE.sub(renamed, expression).strip()
        self.made[name] = {**_EXPRESSION, "refId": name, "type": "math", "expression": text}
        return name

    def _series(self, ref: str, depth: int) -> str:
        """What is asked for a query or an expression, as series over time. Returns what it is called there."""
        node = self._node(ref, depth)
        if not _is_expression(node):
            self.made[ref] = node
            return ref
        match node.get("type"):
            case "reduce" if node.get("reducer") in _KEEPING_SCALE:
                return self._series(_referred(node.get("expression")), depth + 1)
            case "resample":
                series = self._series(_referred(node.get("expression")), depth + 1)
                self.made[ref] = {**node, "expression": series}
                return ref
            case "math" if not _COMPARISON.search(as_text(node.get("expression"))):
                return self._computed(ref, as_text(node.get("expression")), depth)
        raise _NotUnderstood

    def _node(self, ref: str, depth: int) -> Node:
        if ref not in self.nodes or depth > _MAX_DEPTH:
            raise _NotUnderstood
        return self.nodes[ref]

    def _compared(self, curve: RuleCurve, limits: tuple[AlertThreshold, ...]) -> RuleCurve:
        """A curve with its thresholds: of a query in PromQL what its own outer comparison says too."""
        node = self.made[curve.ref]
        expr = as_text(node.get("expr"))
        if not expr or (node.get("datasource") or {}).get("type", "prometheus") != "prometheus":
            return replace(curve, thresholds=limits)
        whole = f"({expr}) {limits[0].op} {limits[0].value!r}" if len(limits) == 1 else expr
        inner, outer = (analyze_expression(each, {}).curves for each in (expr, whole))
        if not inner[0].thresholds or len(outer) > 1:
            return replace(curve, thresholds=limits, promql=_MACRO.sub("5m", expr))
        self.made[curve.ref] = {**node, "expr": outer[0].query}
        return replace(curve, thresholds=_stricter(outer[0].thresholds), promql=outer[0].query)


def _inputs(node: Node) -> Iterator[str]:
    if node.get("type") == "math":
        yield from (found["braced"] or found["bare"] for found in _VARIABLE.finditer(as_text(node["expression"])))
    else:
        yield _referred(node["expression"])


def _referred(value: Any) -> str:
    return as_text(value).strip().removeprefix("$").strip("{}")


def _thresholds(evaluator: Any) -> tuple[AlertThreshold, ...]:
    given = evaluator if isinstance(evaluator, dict) else {}
    values = [as_number(each) for each in given.get("params") or ()]
    signs = _COMPARING.get(as_text(given.get("type")), ())
    return tuple(AlertThreshold(op, value) for op, value in zip(signs, values, strict=False) if value is not None)


def _stricter(limits: Sequence[AlertThreshold]) -> tuple[AlertThreshold, ...]:
    """Of several comparisons of a side the one that decides: of `> 4` and `> 0` the first."""
    above = [each for each in limits if each.op.startswith(">")]
    below = [each for each in limits if each.op.startswith("<")]
    decisive = {max(above, key=lambda each: each.value, default=None), min(below, key=lambda e: e.value, default=None)}
    return tuple(each for each in limits if each in decisive or each.op in ("==", "!="))


def _joined(curves: list[RuleCurve], more: list[RuleCurve], *, adding: bool) -> list[RuleCurve]:
    """Give the thresholds of further curves to equal ones, and add the others where `adding`."""
    merged = {curve.ref: curve for curve in curves}
    for curve in more:
        if curve.ref in merged:
            own = merged[curve.ref]
            merged[curve.ref] = replace(own, thresholds=tuple(dict.fromkeys((*own.thresholds, *curve.thresholds))))
        elif adding:
            merged[curve.ref] = curve
    return list(merged.values())


# ---------------------------------------------------------------- math expressions


def _split_logic(text: str) -> Iterator[tuple[str, str]]:
    """The parts between `&&` and `||` outside of parentheses, each with the operator before it."""
    text = _unwrapped(text)
    depth, start, operator = 0, 0, ""
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and text[place : place + 2] in ("&&", "||") and place >= start:
            yield operator, text[start:place]
            operator, start = text[place : place + 2], place + 2
    yield operator, text[start:]


def _unwrapped(text: str) -> str:
    """A text without the parentheses around all of it."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")"):
        depth = 0
        for place, sign in enumerate(text):
            depth += (sign == "(") - (sign == ")")
            if depth == 0 and place + 1 < len(text):
                return text
        text = text[1:-1].strip()
    return text
