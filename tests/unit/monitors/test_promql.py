from __future__ import annotations

import json
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from promql_parser import BinaryExpr

from tests.support import REPOSITORY
from wxbridge.monitors.period import Period
from wxbridge.monitors.promql import CurveRole, analyze_expression, explain_analysis
from wxbridge.monitors.promql_syntax import (
    COMPARISONS,
    InvalidPromQL,
    is_scalar,
    normalize_expression,
    parse_expression,
    strip_parentheses,
)
from wxbridge.monitors.series_choice import choose_series, narrow_query

PAYLOADS = REPOSITORY / "tests" / "payloads" / "promql"
PUBLIC = json.loads((PAYLOADS / "alert_expressions.json").read_text(encoding="utf-8"))
SHAPES = json.loads((PAYLOADS / "shapes.json").read_text(encoding="utf-8"))
PROMTOOL = shutil.which("promtool")

SERIES = {"instance": "a:1", "job": "node", "device": "sda"}
ALERT = {**SERIES, "alertname": "High", "severity": "warning"}
NOW = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)


# ---------------------------------------------------------------- expressions


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["expr"])
def test_an_expression_of_every_shape_gives_its_curves_thresholds_and_filter(shape: dict) -> None:
    found = analyze_expression(shape["expr"], shape.get("labels", ALERT), added=("severity",))
    assert found.understood
    assert [curve.query for curve in found.curves] == shape["queries"]
    assert [f"{each.op} {each.value:g}" for each in found.thresholds] == shape["thresholds"]
    assert found.filter == shape["filter"]


def test_every_public_expression_is_understood_and_its_curves_are_parts_of_it() -> None:
    for expr in PUBLIC:
        found = analyze_expression(expr, ALERT)
        assert found.understood, expr
        for curve in found.curves:
            assert curve.query in normalize_expression(expr) or curve.role is CurveRole.VANISHED
            parse_expression(curve.query)


@pytest.mark.skipif(not PROMTOOL, reason="needs promtool of Debian's package prometheus")
def test_prometheus_itself_takes_every_query_made_of_the_public_expressions_and_shapes(tmp_path: Path) -> None:
    odd = {**ALERT, "device": 'C:\\ "数据"\n{a|b}.*$1', "instance": "[::1]:9100"}
    asked = {
        curve.query
        for expr in [*PUBLIC, *(shape["expr"] for shape in SHAPES)]
        for curve in analyze_expression(expr, ALERT).curves
        if not is_number(curve.query)
    }
    queries = asked | {str(narrow_query(query, [odd], [odd, ALERT])) for query in asked}
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(sorted(queries))]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[:2000]
    assert f"{len(queries)} rules found" in done.stdout
    assert len(queries) > 1000


def test_a_label_of_the_rule_or_the_server_does_not_hide_the_series_which_have_none() -> None:
    alert = {"instance": "a:1", "severity": "warning"}
    unknown = analyze_expression("node_load1 > 4", {**alert, "cluster": "eu"})
    known = analyze_expression("node_load1 > 4", alert, added=("severity",))
    assert (unknown.filter, known.filter) == ({"instance": "a:1", "cluster": "eu"}, {"instance": "a:1"})
    series = [{"instance": "a:1"}, {"instance": "b:1"}]
    for found in (unknown, known):
        choice = choose_series(found.curves[0], series, found.instances)
        assert (choice.places, choice.note) == ((0,), "")


def test_several_firing_instances_share_one_chart() -> None:
    one, other = {"instance": "a.b:1", "job": "x"}, {"instance": "c:1", "job": "x", "zone": "eu"}
    found = analyze_expression("a > 1", one, other)
    assert (found.curves[0].query, found.filter) == ("a", {"job": "x"})
    series = [other, {"instance": "axb:1", "job": "x"}, one]
    assert choose_series(found.curves[0], series, found.instances).places == (0, 2)


def test_many_instances_are_chosen_from_the_answer() -> None:
    found = analyze_expression("a > 1", *({"instance": f"i{number}", "job": "x"} for number in range(100)))
    series = [{"instance": f"i{number}", "job": "x"} for number in range(50, 150)]
    assert choose_series(found.curves[0], series, found.instances).places == tuple(range(50))


@pytest.mark.parametrize(
    "text",
    [
        "sum(a) limit 5 > 3",
        "WITH (x = a) x > 3",
        "a{",
        'a{b="c} > 1',
        "a >",
        "",
        "最大 > 3",
        "a > 1 1",
        "sum(a,) > 1",
        "(" * 100_000 + "a" + ")" * 100_000,
        "-" * 5_000 + "a",
        "a" + " + a" * 4_000,
        "abs(" * 1_000 + "a" + ")" * 1_000,
        "a[5m:]" + "[5m:]" * 3_000,
        "1" * 19_000 + "x",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_not_understood_is_drawn_whole_and_filtered(text: str) -> None:
    found = analyze_expression(text, ALERT, added=("severity",))
    assert not found.understood
    assert [curve.query for curve in found.curves] == [text.strip()]
    assert found.filter == SERIES
    assert found.why.startswith("drawn whole: ")


def test_metrics_are_named_for_guessing_a_unit() -> None:
    found = analyze_expression('rate(a_bytes_total[5m]) / on (x) b{y="z"} + a_bytes_total{} > 3', ALERT)
    assert found.curves[0].metrics == ("a_bytes_total", "b")


def test_explaining_gives_plain_json() -> None:
    found = analyze_expression("topk(3, a) > 5 and a < +Inf", ALERT)
    said = json.loads(json.dumps(explain_analysis(found, Period(0, 900, 2)), allow_nan=False))
    assert said == {
        "queries": ["topk(3, a)"],
        "thresholds": [5],
        "filter": SERIES,
        "range": {"start": 0, "end": 900, "step": 2},
        "why": "the outer comparison (> 5) became the threshold; what follows `and` is a condition and no curve",
    }


# ---------------------------------------------------------------- any text, any expression

NAMES = st.sampled_from(["a", "up", "node_load1", "sum", "job:x:rate5m", "by", "offset"])
LABELS = st.sampled_from(["instance", "job", "device", "le", "x"])
TEXTS = st.sampled_from(['"y"', "'}> 5'", '`a\\d"`', '"\\"{"', '"数据"', '"(a|b).*"'])
BLANKS = st.sampled_from(["", " ", "\n", ' # } > 7 "\n'])


def listed(items: st.SearchStrategy[str], **limits: int) -> st.SearchStrategy[str]:
    return st.lists(items, max_size=3, **limits).map(lambda found: "(" + ", ".join(found) + ")")


@st.composite
def selectors(draw: st.DrawFn) -> str:
    name = draw(NAMES.filter(lambda name: name not in ("by", "offset", "sum")))
    matchers = draw(st.lists(st.tuples(LABELS, st.sampled_from(["=", "!=", "=~", "!~"]), TEXTS), max_size=2))
    inside = ",".join(f"{draw(BLANKS)}{label}{draw(BLANKS)}{op}{text}{draw(BLANKS)}" for label, op, text in matchers)
    braces = draw(st.sampled_from(["{%s}", " {%s}"])) % inside if matchers or draw(st.booleans()) else ""
    return name + braces


def modified(selector: str) -> st.SearchStrategy[str]:
    return st.sampled_from([selector, f"{selector} offset 5m", f"{selector} @ 1600000000", f"{selector} offset -1h30m"])


def larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    matching = st.one_of(
        st.just(""),
        st.tuples(st.sampled_from(["on", "ignoring"]), listed(LABELS)).map(" ".join),
    )
    arithmetic = st.tuples(
        parts, st.sampled_from(["+", "-", "*", "/", "%", "^", "atan2", "and", "or", "unless", ">", "==", "> bool"]),
        matching, parts,
    ).map(" ".join)  # fmt: skip
    grouped = st.tuples(
        parts, st.sampled_from(["*", "/", ">", "!= bool"]), st.sampled_from(["on", "ignoring"]), listed(LABELS),
        st.sampled_from(["group_left", "group_right"]), listed(st.just("team")), parts,
    ).map(" ".join)  # fmt: skip
    aggregated = st.tuples(
        st.sampled_from(["sum", "MAX", "count"]), st.sampled_from(["by", "without"]), listed(LABELS), parts
    ).flatmap(lambda t: st.sampled_from([f"{t[0]} {t[1]} {t[2]} ({t[3]})", f"{t[0]}({t[3]}) {t[1]} {t[2]}"]))
    return st.one_of(
        parts.map("({})".format),
        parts.map("-{}".format),
        parts.map("abs({})".format),
        parts.map("topk(3, {})".format),
        parts.map("absent({})".format),
        parts.map("max_over_time(({})[30m:1m] offset 5m)".format),
        parts.map('label_replace({}, "job", "$1", "x", "(.*)")'.format),
        arithmetic,
        grouped,
        aggregated,
        st.tuples(parts, st.sampled_from(["> 3", "<= 2 * -1e3", "!= bool 0x1F", "== Inf"])).map(" ".join),
        st.tuples(st.sampled_from(["0.5 <", "5m >="]), parts).map(" ".join),
    )


EXPRESSIONS = st.recursive(
    st.one_of(
        selectors().flatmap(modified),
        selectors().map("rate({}[5m])".format),
        selectors().map("absent_over_time({}[5m] offset 1m)".format),
    ),
    larger,
    max_leaves=6,
)


@given(st.one_of(st.text(), st.lists(st.sampled_from([*" (){}[],=~!<>+-*/^@#\"'`\\\n", "a", "sum", "by", "5m", "on", "1", "or"])).map("".join)))  # fmt: skip # noqa: E501
@example('a{x="\ud800"} > 1')
@example("a[5m > 1")
def test_no_text_is_too_strange(text: str) -> None:
    found = analyze_expression(text, {**ALERT, "bad-name": "x", "lone": "\ud800"})
    assert len(found.curves) >= 1
    for curve in found.curves:
        if found.understood:
            parse_expression(curve.query)


@given(EXPRESSIONS)
def test_what_is_asked_for_is_written_as_it_is_read(expr: str) -> None:
    for curve in analyze_expression(expr, ALERT).curves:
        assert normalize_expression(curve.query) == curve.query or not is_valid(expr)


@given(EXPRESSIONS)
def test_stripping_keeps_the_left_side(left: str) -> None:
    if not is_valid(left):
        return
    found = analyze_expression(f"({left}) > 3", ALERT)
    parsed = parse_expression(left)
    inner = strip_parentheses(parsed.tree)
    if isinstance(inner, BinaryExpr) and str(inner.op) in COMPARISONS:
        whole = normalize_expression(left)
        assert all(curve.query in whole for curve in found.curves if curve.role is not CurveRole.VANISHED)
    elif found.understood and found.curves[0].role is CurveRole.VALUE:
        assert [curve.query for curve in found.curves] == [parsed.write(inner)]
        assert [(each.op, each.value) for each in found.thresholds] == [(">", 3)]


def is_number(query: str) -> bool:
    return is_scalar(parse_expression(query).tree)


def is_valid(expr: str) -> bool:
    """Whether it has the types that its operators and functions need; what is made up here often has not."""
    try:
        parse_expression(expr)
    except InvalidPromQL:
        return False
    return True


def test_a_character_that_is_no_promql_is_named() -> None:
    with pytest.raises(InvalidPromQL, match=r"unexpected character: '\$'"):
        parse_expression("a > $x")


def test_an_unmatched_bracket_is_named_with_its_place() -> None:
    with pytest.raises(InvalidPromQL, match=r"unclosed left parenthesis at character 3$"):
        parse_expression('sum(rate(x{a=")"}[5m])')
    with pytest.raises(InvalidPromQL, match=r"at character 12$"):
        parse_expression('a{x="("} > 1)')


def test_no_regular_expression_holds_the_parser_up() -> None:
    begun = time.perf_counter()
    parse_expression("a{" + ",".join(r'x=~"(\\w{200})"' for _ in range(1000)) + "}")
    assert time.perf_counter() - begun < 2


def test_strings_are_written_as_they_were() -> None:
    parsed = parse_expression("a{x=~`\\d+`, y='it\\'s  {', z=\"\\\"#\"} # > 1")
    assert parsed.write(parsed.tree) == "a{x=~`\\d+`,y='it\\'s  {',z=\"\\\"#\"}"


# ---------------------------------------------------------------- queries for the chosen series alone


def test_a_query_for_the_chosen_series_meets_them_with_constants() -> None:
    series = [{"instance": f"{each}:1", "job": "node"} for each in "abc"]
    first, second, _ = (f'label_replace(vector(1), "instance", "{each}:1", "", "")' for each in "abc")
    assert narrow_query("x", series[:1], series) == f"(x) and on (instance) ({first})"
    assert narrow_query("x", series[:2], series) == f"(x) and on (instance) ({first} or {second})"
    assert narrow_query("x", series, series) == "x"
    assert narrow_query("x", [], series) is None
    assert narrow_query("x", series[:1], [series[0], {**series[0], "__name__": "other"}]) is None
    assert narrow_query("x", [{"a b": "1"}], [{"a b": "1"}, {"a b": "2"}]) is None
