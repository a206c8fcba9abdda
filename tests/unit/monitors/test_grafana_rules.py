"""What the chart of a rule of Grafana's asks for, and with which thresholds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import payload_bytes
from wxbridge.monitors.grafana_rules import GrafanaRule, read_legacy_rule, read_unified_rule

LOKI = {"type": "loki", "uid": "logs"}


def query(ref: str, source: str = "sql", **model: Any) -> dict[str, Any]:
    return {"refId": ref, "datasourceUid": source, "relativeTimeRange": {"from": 600, "to": 0}, "model": model}


def computed(ref: str, kind: str, **model: Any) -> dict[str, Any]:
    return {"refId": ref, "datasourceUid": "__expr__", "model": {"type": kind, "refId": ref, **model}}


def threshold(ref: str, expression: str, kind: str = "gt", *params: float) -> dict[str, Any]:
    evaluator = {"type": kind, "params": list(params)}
    return computed(ref, "threshold", expression=expression, conditions=[{"evaluator": evaluator}])


def condition(ref: str, kind: str, *params: float, by: str = "last", operator: str = "and") -> dict[str, Any]:
    return {
        "evaluator": {"type": kind, "params": list(params)}, "operator": {"type": operator},
        "query": {"params": [ref]}, "reducer": {"type": by},
    }  # fmt: skip


def rule(*data: dict[str, Any], **more: Any) -> GrafanaRule:
    return read_unified_rule({"title": "Queue", "condition": data[-1]["refId"], "data": data, **more})


def shown(found: GrafanaRule) -> list[tuple[str, list[str]]]:
    """Each curve with its thresholds, as `> 5`."""
    return [(curve.ref, [f"{each.op} {each.value:g}" for each in curve.thresholds]) for curve in found.curves]


def asked(found: GrafanaRule) -> dict[str, Any]:
    """What is asked for, by its name: an expression's text, or the rest of the query."""
    return {each["refId"]: each.get("expression") or each.get("expr") for each in found.queries}


def test_a_recorded_rule_of_grafana_12_is_its_query_with_the_threshold() -> None:
    found = read_unified_rule(json.loads(payload_bytes("grafana/12.4.0/api-alert-rule"))["body"])
    assert (found.title, found.hold, found.window) == ("Queue too long 队列", 0, 600)
    assert (shown(found), asked(found)) == ([("A", ["> 100"])], {"A": "lab_queue"})
    assert found.queries[0]["datasource"] == {"type": "prometheus", "uid": "prom"}


def test_a_recorded_rule_of_grafana_7_is_its_query_with_the_threshold() -> None:
    found = read_legacy_rule(json.loads(payload_bytes("grafana/7.5.5/api-alert-one"))["body"])
    assert (found.title, found.hold, found.window) == ("数据源坏了", 0, 60)
    assert (shown(found), asked(found)) == ([("A", ["> 5"])], {"A": "up"})
    assert found.queries[0]["datasourceId"] == 3


def test_the_ruler_puts_a_rule_into_another_envelope() -> None:
    inner = {"title": "Queue", "condition": "C", "data": [query("A"), threshold("C", "A", "lt", 2)]}
    found = read_unified_rule({"for": "5m", "grafana_alert": inner})
    assert (found.title, found.hold, shown(found)) == ("Queue", 300, [("A", ["< 2"])])


@pytest.mark.parametrize("by", ["last", "mean", "max", "min"])
def test_a_reduction_to_one_of_its_values_is_drawn_as_the_series(by: str) -> None:
    found = rule(query("A"), computed("B", "reduce", expression="A", reducer=by), threshold("C", "B", "gt", 5))
    assert (shown(found), list(asked(found))) == ([("A", ["> 5"])], ["A"])


@pytest.mark.parametrize(
    ("kind", "params", "thresholds"),
    [
        ("gte", (5,), [">= 5"]),
        ("outside_range", (1, 9), ["< 1", "> 9"]),
        ("within_range", (1, 9), ["> 1", "< 9"]),
        ("no_value", (), []),
    ],
)
def test_every_evaluator_becomes_a_line(kind: str, params: tuple[float, ...], thresholds: list[str]) -> None:
    assert shown(rule(query("A"), threshold("C", "A", kind, *params))) == [("A", thresholds)]


def test_a_count_is_no_line_among_the_values_that_it_counts() -> None:
    found = rule(query("A"), computed("B", "reduce", expression="A", reducer="count"), threshold("C", "B", "gt", 5))
    assert shown(found) == [("A", [])]
    classic = computed("C", "classic_conditions", conditions=[condition("A", "gt", 5, by="count")])
    assert shown(rule(query("A"), classic)) == [("A", [])]


def test_a_classic_condition_is_drawn_with_the_line_of_each_of_its_parts() -> None:
    parts = [condition("A", "gt", 9), condition("A", "lt", 1, operator="or"), condition("B", "gt", 5, operator="or")]
    found = rule(query("A"), query("B"), computed("C", "classic_conditions", conditions=parts))
    assert shown(found) == [("A", ["> 9", "< 1"]), ("B", ["> 5"])]
    parts = [condition("A", "gt", 9), condition("B", "gt", 5)]
    assert shown(rule(query("A"), query("B"), computed("C", "classic_conditions", conditions=parts))) == [
        ("A", ["> 9"])
    ]


@pytest.mark.parametrize(
    ("expression", "curves", "asks"),
    [
        ("$B > 80", [("A", ["> 80"])], {"A": None}),
        ("(80 < ${B})", [("A", ["> 80"])], {"A": None}),
        ("$B > 80 && $B < 90", [("A", ["> 80", "< 90"])], {"A": None}),
        ("($B > 80) || ($D <= 1)", [("A", ["> 80"]), ("D", ["<= 1"])], {"A": None, "D": None}),
        ("$B / $D * 100 >= 5", [("C", [">= 5"])], {"A": None, "D": None, "C": "${A} / ${D} * 100"}),
        ("$B - $D", [("C", [])], {"A": None, "D": None, "C": "${A} - ${D}"}),
        ("is_nan($B) || $B > 3", [("A", []), ("D", [])], {"A": None, "D": None}),
        ("$B > $D", [("A", []), ("D", [])], {"A": None, "D": None}),
    ],
)
def test_of_a_math_expression_what_is_compared_is_computed_over_time(
    expression: str, curves: list[tuple[str, list[str]]], asks: dict[str, Any]
) -> None:
    reduced = computed("B", "reduce", expression="A", reducer="last")
    found = rule(query("A"), query("D"), reduced, computed("C", "math", expression=expression))
    assert (shown(found), asked(found)) == (curves, asks)


def test_a_threshold_on_a_math_expression_asks_for_the_expression() -> None:
    share = computed("S", "math", expression="$R * 100")
    resampled = computed("R", "resample", expression="A", window="1m")
    found = rule(query("A"), resampled, share, threshold("C", "S", "gt", 5))
    assert (shown(found), asked(found)) == ([("S", ["> 5"])], {"A": None, "R": "A", "S": "${R} * 100"})


@pytest.mark.parametrize(
    ("expr", "limit", "curves", "asks"),
    [
        ("node_load1 > 4", ("gt", 0), [("A", ["> 4"])], "node_load1"),
        ("node_load1 > bool 4", ("gt", 0), [("A", ["> 4"])], "node_load1"),
        ("node_load1 > bool 4", ("lt", 1), [("A", ["<= 4"])], "node_load1"),
        ("rate(errors[$__rate_interval])", ("gt", 2), [("A", ["> 2"])], "rate(errors[$__rate_interval])"),
        ("a > 1 or b > 2", ("gt", 0), [("A", ["> 0"])], "a > 1 or b > 2"),
    ],
)
def test_a_comparison_within_promql_is_taken_off(
    expr: str, limit: tuple[str, float], curves: list[tuple[str, list[str]]], asks: str
) -> None:
    source = {"type": "prometheus", "uid": "prom"}
    found = rule(query("A", "prom", datasource=source, expr=expr), threshold("C", "A", *limit))
    assert (shown(found), asked(found)) == (curves, {"A": asks})


def test_what_is_no_promql_is_left_as_it_is() -> None:
    logs = 'sum(count_over_time({app="shop"} |= "error" [5m])) > 3'
    found = rule(query("A", "logs", datasource=LOKI, expr=logs), threshold("C", "A", "gt", 0))
    assert (shown(found), asked(found)) == ([("A", ["> 0"])], {"A": logs})


def test_a_condition_that_leads_nowhere_or_in_a_circle_shows_the_queries() -> None:
    assert shown(rule(query("A"), threshold("C", "Z", "gt", 1))) == [("A", [])]
    circle = [computed(ref, "math", expression=f"${other} + 1") for ref, other in ("BC", "CB")]
    assert shown(rule(query("A"), *circle)) == [("A", [])]
    assert rule(computed("C", "math", expression="1 > 0")).curves == ()
