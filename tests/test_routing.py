from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge import routing
from wxbridge.model import Alert, AlertGroup, AlertStatus
from wxbridge.routing import Matcher, Route, parse_matcher, parse_matchers

NAMES = st.sampled_from(["severity", "team", "job"])
VALUES = st.sampled_from(["", "a", "b", "critical", "a|b"])
LABELS = st.dictionaries(NAMES, VALUES)


@pytest.mark.parametrize(
    ("written", "matcher"),
    [
        ('severity="critical"', Matcher("severity", "=", "critical")),
        ("severity=critical", Matcher("severity", "=", "critical")),
        (' team =~ "a|b" ', Matcher("team", "=~", "a|b")),
        ('team!="a"', Matcher("team", "!=", "a")),
        ('team!~"a.*"', Matcher("team", "!~", "a.*")),
        ("team=", Matcher("team", "=", "")),
        ('team=""', Matcher("team", "=", "")),
        (r'msg="say \"hi\" \\ there"', Matcher("msg", "=", r'say "hi" \ there')),
        (r'msg="two\nlines"', Matcher("msg", "=", "two\nlines")),
        ('msg="a=~b,{c}"', Matcher("msg", "=", "a=~b,{c}")),
        ('"tag name"="tag value"', Matcher("tag name", "=", "tag value")),
        ("服务=支付 网关", Matcher("服务", "=", "支付 网关")),
        ("url=http://a/?b=c", Matcher("url", "=", "http://a/?b=c")),
    ],
)
def test_a_matcher_is_read_as_alertmanager_reads_it(written: str, matcher: Matcher) -> None:
    assert parse_matcher(written) == matcher


@pytest.mark.parametrize("written", ["", "severity", "=critical", 'a="b', 'a="b"c', "a b=c", "{a=b}", 'a="b" "c"'])
def test_what_is_no_matcher_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match="is no matcher; write one like"):
        parse_matcher(written)


@pytest.mark.parametrize("written", ['a=~"("', "a!~*", 'a=~"[z-a]"'])
def test_a_broken_expression_is_told(written: str) -> None:
    with pytest.raises(ValueError, match="the regular expression is broken"):
        parse_matcher(written)


@given(st.text())
def test_any_text_is_a_matcher_or_a_sentence(text: str) -> None:
    try:
        parse_matcher(text)
    except ValueError as error:
        assert "matcher" in str(error) or "expression" in str(error)  # noqa: PT017 - either outcome is right


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: "\n" not in text), st.text())
def test_a_matcher_in_quotes_holds_any_name_and_value(name: str, value: str) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    assert parse_matcher(f"{quoted(name)}={quoted(value)}") == Matcher(name, "=", value)


@pytest.mark.parametrize(
    ("matcher", "labels", "holds"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {}, False),
        ("a=", {}, True),
        ("a!=b", {}, True),
        ("a!=", {"a": "x"}, True),
        ('a=~"b"', {"a": "abc"}, False),
        ('a=~"b|c"', {"a": "c"}, True),
        ('a=~".*"', {"a": "two\nlines"}, True),
        ('a=~".*"', {}, True),
        ('a=~".+"', {}, False),
        ('a!~"b.*"', {"a": "abc"}, True),
        ('a!~"b.*"', {"a": "bcd"}, False),
        ('a=~"(?i)CRIT.*"', {"a": "critical"}, True),
    ],
)
def test_a_matcher_is_anchored_and_takes_an_absent_label_for_empty(
    matcher: str, labels: dict[str, str], holds: bool
) -> None:
    assert parse_matcher(matcher).matches(labels) is holds


@given(LABELS, NAMES, VALUES)
def test_each_matcher_and_its_opposite_share_all_labels_between_them(
    labels: dict[str, str], name: str, value: str
) -> None:
    assert Matcher(name, "=", value).matches(labels) is not Matcher(name, "!=", value).matches(labels)
    assert Matcher(name, "=~", value).matches(labels) is not Matcher(name, "!~", value).matches(labels)
    assert Matcher(name, "=", value).matches(labels) is Matcher(name, "=~", re.escape(value)).matches(labels)


def test_a_mapping_asks_for_equality_of_every_label() -> None:
    matchers = parse_matchers({"severity": "critical", "team": "a|b"})
    assert all(matcher.matches({"severity": "critical", "team": "a|b"}) for matcher in matchers)
    assert not all(matcher.matches({"severity": "critical", "team": "a"}) for matcher in matchers)


def route(match: dict[str, str], *to: str, goes_on: bool = False) -> Route:
    return Route(parse_matchers(match), to, goes_on)


def test_the_first_route_that_matches_wins_unless_it_continues() -> None:
    routes = [
        route({"severity": "debug"}, "nowhere"),
        route({"severity": "critical"}, "ops", "boss", goes_on=True),
        route({"team": "db"}, "dba", "ops"),
        route({}, "all"),
    ]
    assert routing.targets_of(routes, {"severity": "critical", "team": "db"}) == ("ops", "boss", "dba")
    assert routing.targets_of(routes, {"severity": "critical"}) == ("ops", "boss", "all")
    assert routing.targets_of(routes, {}) == ("all",)
    assert routing.targets_of(routes[:3], {"severity": "info"}) == ()


ROUTES = st.lists(
    st.builds(route, st.dictionaries(NAMES, VALUES, max_size=2), st.sampled_from(["x", "y", "z"]),
              goes_on=st.booleans()),
    max_size=5,
)  # fmt: skip


@given(ROUTES, LABELS)
def test_targets_are_those_of_the_matching_routes_up_to_the_first_that_stops(
    routes: list[Route], labels: dict[str, str]
) -> None:
    expected: list[str] = []
    for entry in routes:
        if all(labels.get(matcher.name, "") == matcher.value for matcher in entry.matchers):
            expected += entry.to
            if not entry.goes_on:
                break
    assert routing.targets_of(routes, labels) == tuple(dict.fromkeys(expected))


ALERTS = st.builds(Alert, source=st.just("grafana"), status=st.sampled_from(AlertStatus), title=st.just("t"),
                   labels=LABELS)  # fmt: skip


@given(st.lists(ALERTS, min_size=1, max_size=5), ROUTES)
def test_no_alert_of_a_group_is_lost_or_told_twice_to_one_target(alerts: list[Alert], routes: list[Route]) -> None:
    group = AlertGroup("grafana", "k", "t", tuple(alerts), truncated=2)
    parts, left = routing.split(group, routes)
    for index, alert in enumerate(alerts):
        names = routing.targets_of(routes, routing.labels_of(group, alert))
        assert set(names) == {name for name, part in parts.items() if any(alert is item for item in part.alerts)}
        assert (not names) == (left is not None and any(alert is item for item in left.alerts)), index
    told = [part for part in (*parts.values(), left) if part is not None]
    assert all(part.alerts and part.truncated == 2 for part in told)


def test_an_alert_that_no_route_matches_is_left_over_and_the_others_are_not() -> None:
    critical = Alert("grafana", AlertStatus.FIRING, "a", {"severity": "critical"})
    other = Alert("grafana", AlertStatus.FIRING, "b")
    parts, left = routing.split(
        AlertGroup("grafana", "", "g", (critical, other)), [route({"severity": "critical"}, "ops")]
    )
    assert parts["ops"].alerts == (critical,)
    assert left
    assert left.alerts == (other,)


def test_what_is_no_alert_is_routed_as_one_text() -> None:
    group = AlertGroup("grafana", "", "grafana", text="hello")
    assert routing.split(group, [route({"source": "grafana"}, "ops")]) == ({"ops": group}, None)
    assert routing.split(group, []) == ({}, group)


def test_routes_see_the_source_the_status_and_a_name_besides_the_labels() -> None:
    alert = Alert("grafana", AlertStatus.RESOLVED, "Disk", {"team": "db", "status": "from the sender"})
    labels = routing.labels_of(AlertGroup("grafana", "", "g", (alert,)), alert)
    assert labels == {"alertname": "Disk", "team": "db", "source": "grafana", "status": "resolved"}
