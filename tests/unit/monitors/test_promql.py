from __future__ import annotations

import json
import math
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import REPOSITORY
from wxbridge.monitors import promql_tree
from wxbridge.monitors.promql import (
    ALL,
    MAX_POINTS,
    NONE,
    Curve,
    Labels,
    Period,
    Role,
    analysed,
    chosen,
    explained,
    period,
)
from wxbridge.monitors.promql_tree import (
    Binary,
    Node,
    NotUnderstood,
    Number,
    Paren,
    Selector,
    Sign,
    String,
    Subquery,
    parse,
    tokens,
)

PAYLOADS = REPOSITORY / "tests" / "payloads" / "promql"
PUBLIC = json.loads((PAYLOADS / "alert_expressions.json").read_text(encoding="utf-8"))
SHAPES = json.loads((PAYLOADS / "shapes.json").read_text(encoding="utf-8"))
PROMTOOL = shutil.which("promtool")

SERIES = {"instance": "a:1", "job": "node", "device": "sda"}
ALERT = {**SERIES, "alertname": "High", "severity": "warning"}
NOW = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)


def below(node: Node) -> list[Node]:
    return [node, *(each for part in node.parts for each in below(part))]


# ---------------------------------------------------------------- expressions


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["expr"])
def test_an_expression_of_every_shape_gives_its_curves_thresholds_and_filter(shape: dict) -> None:
    found = analysed(shape["expr"], shape.get("labels", ALERT), added=("severity",))
    assert found.understood
    assert [curve.query for curve in found.curves] == shape["queries"]
    assert [f"{each.op} {each.value:g}" for each in found.thresholds] == shape["thresholds"]
    assert found.filter == shape["filter"]


def test_every_public_expression_is_understood_and_its_curves_are_its_own_words() -> None:
    for expr in PUBLIC:
        found = analysed(expr, ALERT)
        assert found.understood, expr
        for curve in found.curves:
            assert curve.text in expr or curve.role is Role.VANISHED
            parse(curve.query)


@pytest.mark.skipif(not PROMTOOL, reason="needs promtool of Debian's package prometheus")
def test_prometheus_itself_takes_every_query_made_of_the_public_expressions_and_shapes(tmp_path: Path) -> None:
    odd = {**ALERT, "device": 'C:\\ "数据"\n{a|b}.*', "instance": "[::1]:9100"}
    queries = {
        curve.query
        for expr in [*PUBLIC, *(shape["expr"] for shape in SHAPES)]
        for labels in (ALERT, odd)
        for curve in analysed(expr, labels).curves
    }
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(sorted(queries))]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[:2000]
    assert f"{len(queries)} rules found" in done.stdout
    assert len(queries) > 1000


def test_a_label_of_the_rule_or_the_server_does_not_hide_the_series_which_have_none() -> None:
    unknown = analysed("node_load1 > 4", {"instance": "a:1", "severity": "warning"})
    known = analysed("node_load1 > 4", {"instance": "a:1", "severity": "warning"}, added=("severity",))
    assert unknown.curves[0].query == 'node_load1{instance="a:1", severity=~"warning|"}'
    assert known.curves[0].query == 'node_load1{instance="a:1"}'


def test_several_firing_instances_share_one_chart() -> None:
    found = analysed("a > 1", {"instance": "a.b:1", "job": "x"}, {"instance": "c:1", "job": "x", "zone": "eu"})
    assert found.curves[0].query == 'a{instance=~"a\\\\.b:1|c:1", job="x", zone=~"eu|"}'


def test_more_instances_than_a_matcher_should_list_are_chosen_from_the_answer() -> None:
    found = analysed("a > 1", *({"instance": f"i{number}", "job": "x"} for number in range(100)))
    assert found.curves[0].query == 'a{job="x"}'
    series = [{"instance": f"i{number}", "job": "x"} for number in range(50, 150)]
    assert chosen(found.curves[0], series, found.instances).places == tuple(range(50))


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
    found = analysed(text, ALERT, added=("severity",))
    assert not found.understood
    assert [curve.query for curve in found.curves] == [text.strip()]
    assert found.filter == SERIES
    assert found.why.startswith("drawn whole: ")


def test_metrics_are_named_for_guessing_a_unit() -> None:
    found = analysed('rate(a_bytes_total[5m]) / on (x) b{y="z"} + a_bytes_total{} > 3', ALERT)
    assert found.curves[0].metrics == ("a_bytes_total", "b")


def test_explaining_gives_plain_json() -> None:
    found = analysed("topk(3, a) > 5 and a < +Inf", ALERT)
    said = json.loads(json.dumps(explained(found, Period(0, 900, 2)), allow_nan=False))
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
    found = analysed(text, {**ALERT, "bad-name": "x", "lone": "\ud800"})
    assert len(found.curves) >= 1
    for curve in found.curves:
        if found.understood:
            parse(curve.query)


@given(EXPRESSIONS)
def test_the_edited_text_still_parses_and_differs_in_its_matchers_only(expr: str) -> None:
    found = analysed(expr, ALERT)
    assert found.understood
    for curve in found.curves:
        assert shape_of(parse(curve.query)) == shape_of(parse(curve.text))
        for after, before in zip(selectors_of(curve.query), selectors_of(curve.text), strict=True):
            assert after.name == before.name
            assert after.matchers[: len(before.matchers)] == before.matchers
            new = after.matchers[len(before.matchers) :]
            assert {each.name for each in new} <= ALERT.keys() - {"alertname"}
            assert len({each.name for each in new}) == len(new)


@given(EXPRESSIONS)
def test_stripping_keeps_the_exact_words_of_the_left_side(left: str) -> None:
    found = analysed(f"({left}) > 3", ALERT)
    inner = promql_tree.without_parentheses(parse(left))
    if isinstance(inner, Binary) and inner.op in promql_tree.COMPARISONS:
        assert all(curve.text in left for curve in found.curves if curve.role is not Role.VANISHED)
    elif found.curves[0].role is Role.VALUE:
        assert [curve.text for curve in found.curves] == [left[inner.start : inner.end]]
        assert [(each.op, each.value) for each in found.thresholds] == [(">", 3)]


def selectors_of(text: str) -> list[Selector]:
    return [node for node in below(parse(text)) if isinstance(node, Selector)]


def shape_of(node: Node) -> list[object]:
    return [type(each).__name__ + getattr(each, "op", "") for each in below(node)]


def bracketed(text: str, node: Node) -> str:
    """The text with parentheses that say what this parser takes for what."""
    inner, place = "", node.start
    for part in node.parts:
        between = text[place : part.start]
        # Parentheses after a bare group_left would be its labels.
        inner += between + "() " * between.rstrip().endswith(("group_left", "group_right")) + bracketed(text, part)
        place = part.end
    inner += text[place : node.end]
    return inner if is_plain(node) else f"({inner})"


def is_plain(node: Node) -> bool:
    if isinstance(node, Sign):  # the other parser makes one number of a number and its signs
        return isinstance(node.expr, Number) or (isinstance(node.expr, Sign) and is_plain(node.expr))
    return isinstance(node, Number | String | Selector | Paren | Subquery)


@given(EXPRESSIONS)
def test_it_reads_operators_as_another_parser_does(expr: str) -> None:
    check_reading(expr)


def test_it_reads_the_public_expressions_as_another_parser_does() -> None:
    for expr in PUBLIC:
        check_reading(expr)


def check_reading(expr: str) -> None:
    other = pytest.importorskip("promql_parser", reason="needs the package promql-parser")

    def bare(text: str) -> str:
        tree = other.transform(
            other.parse(text), post_visit=lambda node: node.expr if isinstance(node, other.ParenExpr) else None
        )
        return str(repr(tree))

    try:
        whole = bare(expr)
    except ValueError:
        return  # it checks types, which is not done here
    assert bare(bracketed(expr, parse(expr))) == whole


def test_a_sign_binds_weaker_than_a_power() -> None:
    tree = parse("-a ^ 2 * 3")
    assert isinstance(tree, Binary)
    assert tree.op == "*"
    assert isinstance(tree.left, Sign)
    assert isinstance(tree.left.expr, Binary)


def test_a_character_that_is_no_promql_is_named_with_its_place() -> None:
    with pytest.raises(NotUnderstood, match=r"'\$x' at character 4"):
        list(tokens("a > $x"))


# ---------------------------------------------------------------- choosing among series


def test_the_series_of_the_alert_is_the_one_all_of_whose_labels_it_has() -> None:
    series = [
        {"__name__": "a", "instance": "a:1", "device": "sda"},
        {"__name__": "a", "instance": "a:1", "device": "sdb"},
        {"__name__": "a", "instance": "a:1"},
        {"__name__": "a", "instance": "a:1", "device": "sda", "more": "x"},
    ]
    choice = chosen(Curve("a", "a"), series, [{"instance": "a:1", "device": "sda", "severity": "warning"}])
    assert choice.places == (0,)
    assert choice.sure


class Counting(dict[str, str]):
    """Counts how often they are looked at as a whole."""

    looks = 0

    def items(self) -> Any:
        self.looks += 1
        return super().items()


@pytest.mark.parametrize("replica", [{}, {"replica": "r1"}], ids=["all labels are the alert's", "one is not"])
def test_an_alert_is_not_compared_with_each_of_many_series(replica: dict[str, str]) -> None:
    series = [{"instance": f"a:{number}", **replica} for number in range(1000)]
    alerts = [Counting(instance=f"a:{number}", zone="eu") for number in range(0, 1000, 100)]
    assert chosen(Curve("a", "a"), series, alerts).places == tuple(range(0, 1000, 100))
    assert max(each.looks for each in alerts) < 10


def test_labels_that_were_dropped_on_the_alerts_way_do_not_hide_its_series() -> None:
    series = [{"instance": "a:1", "replica": "r1"}, {"instance": "b:1", "replica": "r1"}]
    choice = chosen(Curve("a", "a"), series, [{"instance": "a:1"}])
    assert choice.places == (0,)
    assert not choice.sure


def test_a_label_that_the_rule_overwrites_does_not_hide_its_series() -> None:
    series = [{"instance": "a:1", "job": "node"}, {"instance": "b:1", "job": "node"}]
    choice = chosen(Curve("a", "a"), series, [{"instance": "b:1", "job": "nights"}])
    assert choice.places == (1,)
    assert not choice.sure


def test_where_no_series_has_the_alerts_labels_all_are_kept_and_it_is_said() -> None:
    choice = chosen(Curve("a", "a"), [{"instance": "x"}, {"instance": "y"}], [{"instance": "a:1"}])
    assert choice.places == (0, 1)
    assert "all are drawn" in choice.note


def test_a_label_that_the_comparison_drops_tells_nothing() -> None:
    found = analysed("a > on (instance) b", {"instance": "a:1", "device": "of the rule"})
    series = [{"instance": "a:1", "device": "sda"}, {"instance": "b:1", "device": "sda"}]
    assert chosen(found.curves[0], series, found.instances).places == (0,)


@given(*[st.builds(Labels, st.frozensets(st.sampled_from("abc")), st.booleans())] * 2, st.sampled_from("abcd"))
def test_sets_of_labels_are_sets(one: Labels, other: Labels, name: str) -> None:
    assert (name in (one | other)) == (name in one or name in other)
    assert (name in (one & other)) == (name in one and name in other)
    assert name in ALL
    assert name not in NONE


# ---------------------------------------------------------------- the time to draw


def seconds(moment: datetime) -> float:
    return moment.timestamp()


def test_a_firing_alert_shows_the_last_quarter_of_an_hour() -> None:
    found = period(NOW, hold=60, starts_at=NOW - timedelta(hours=5))
    assert found.end == seconds(NOW)
    assert found.end - found.start == pytest.approx(900, abs=found.step)
    assert found.step == 2


def test_a_rule_that_waits_long_shows_four_times_that() -> None:
    found = period(NOW, hold=3600)
    assert found.end - found.start == pytest.approx(4 * 3600, abs=2 * found.step)


def test_a_resolved_alert_shows_all_of_it_with_something_before_and_after() -> None:
    starts, ends = NOW - timedelta(hours=3), NOW - timedelta(hours=1)
    found = period(NOW, hold=600, starts_at=starts, ends_at=ends)
    assert found.start == pytest.approx(seconds(starts) - 600 - 1800, abs=found.step)
    assert found.end == pytest.approx(seconds(ends) + 1800, abs=found.step)


def test_an_end_that_is_still_to_come_is_no_end() -> None:
    assert period(NOW, starts_at=NOW, ends_at=NOW + timedelta(minutes=5)) == period(NOW)


@given(
    st.floats(0, 1e8), st.integers(-10, 10_000_000), st.integers(0, 10_000_000), st.booleans(), st.integers(-5, 50_000)
)
def test_no_period_is_empty_in_the_future_or_of_too_many_points(
    hold: float, ago: int, length: int, resolved: bool, points: int
) -> None:
    starts = NOW - timedelta(seconds=ago)
    ends = starts + timedelta(seconds=length) if resolved else None
    found = period(NOW, hold=hold, starts_at=starts, ends_at=ends, points=points)
    assert 0 <= found.start < found.end <= seconds(NOW)
    assert (found.end - found.start) / found.step == pytest.approx(round((found.end - found.start) / found.step))
    assert round((found.end - found.start) / found.step) + 1 <= min(MAX_POINTS, max(points, 10))
    assert found.step == math.floor(found.step) >= 1
