from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts import routing
from wxbridge.alerts.routing import Route, RoutedTarget, RouteOptions
from wxbridge.core.matchers import Matcher, parse_matcher, parse_matchers
from wxbridge.core.model import Alert, AlertGroup, AlertStatus

NAMES = st.sampled_from(["severity", "team", "job"])
VALUES = st.sampled_from(["", "a", "b", "critical", "a|b"])
LABELS = st.dictionaries(NAMES, VALUES)


def route(match: dict[str, str] | list[str], *to: str, goes_on: bool = False, **more: object) -> Route:
    return Route(parse_matchers(match), to, goes_on, **more)  # type: ignore[arg-type]


def branch(match: dict[str, str] | list[str], *routes: Route, **more: object) -> Route:
    """A route without a `to` of its own."""
    return Route(parse_matchers(match), routes=routes, **more)  # type: ignore[arg-type]


def targets(routes: Sequence[Route], labels: Mapping[str, str]) -> list[str] | None:
    found = routing.find_targets(routing.compile_routes(routes), labels)
    return None if found is None else [decision.target for decision in found]


def told(routes: Sequence[Route], labels: Mapping[str, str]) -> dict[str, RouteOptions]:
    return {item.target: item.options for item in routing.find_targets(routing.compile_routes(routes), labels) or ()}


def test_the_first_route_that_matches_wins_unless_it_continues() -> None:
    routes = [
        route({"severity": "debug"}, "nowhere"),
        route({"severity": "critical"}, "ops", "boss", goes_on=True),
        route({"team": "db"}, "dba", "ops"),
        route({}, "all"),
    ]
    assert targets(routes, {"severity": "critical", "team": "db"}) == ["ops", "boss", "dba"]
    assert targets(routes, {"severity": "critical"}) == ["ops", "boss", "all"]
    assert targets(routes, {}) == ["all"]
    assert targets(routes[:3], {"severity": "info"}) is None


def test_the_deepest_route_that_matches_answers_and_its_parent_where_none_does() -> None:
    routes = [
        route(
            {"team": "db"},
            "dba",
            routes=(route({"severity": "critical"}, "boss"), branch({"severity": "page"}), route({"job": "x"})),
        ),
        route({}, "all"),
    ]
    assert targets(routes, {"team": "db", "severity": "critical"}) == ["boss"]
    assert targets(routes, {"team": "db", "severity": "page"}) == ["dba"]
    assert targets(routes, {"team": "db"}) == ["dba"]
    assert targets(routes, {"severity": "critical"}) == ["all"]


def test_several_children_answer_where_they_continue_and_the_parent_then_does_not() -> None:
    children = (route({"severity": "critical"}, "boss", goes_on=True), route({"job": "x"}, "x"))
    routes = [route({}, "all", routes=children)]
    assert targets(routes, {"severity": "critical", "job": "x"}) == ["boss", "x"]
    assert targets(routes, {"severity": "critical"}) == ["boss"]
    assert targets(routes, {}) == ["all"]


def test_nobody_on_purpose_is_something_else_than_no_route() -> None:
    routes = [route({"severity": "debug"}), branch({"team": "db"}), branch({"team": "x"}, goes_on=True)]
    assert targets(routes, {"severity": "debug"}) == []
    assert targets(routes, {"team": "db"}) is None
    assert targets(routes, {"team": "web"}) is None
    assert targets([*routes, route({"team": "x"}, "ops")], {"team": "x"}) == ["ops"]


def test_a_route_inherits_all_that_it_does_not_say_itself() -> None:
    inner = Route(parse_matchers({"severity": "critical"}), mention=("all",), repeat_interval=60.0)
    undone = Route(mention=(), repeat_interval=0, send_resolved=True, template="", mute=(), active=())
    outer = RouteOptions(("张三",), 3600.0, False, "short", ("night",), ("office",))
    routes = [
        Route(
            (), ("ops",), False, (inner, replace(undone, matchers=parse_matchers({"severity": "page"}))),
            ("张三",), 3600.0, send_resolved=False, template="short", mute=("night",), active=("office",),
        )
    ]  # fmt: skip
    assert told(routes, {}) == {"ops": outer}
    assert told(routes, {"severity": "critical"}) == {"ops": replace(outer, mention=("all",), repeat_interval=60.0)}
    assert told(routes, {"severity": "page"}) == {"ops": RouteOptions()}


def test_of_two_routes_to_one_target_the_first_says_how_it_is_told() -> None:
    routes = [
        route({"severity": "critical"}, "ops", goes_on=True, mention=("all",)),
        route({}, "ops", "web", repeat_interval=60.0),
    ]
    assert routing.find_targets(routing.compile_routes(routes), {"severity": "critical"}) == (
        RoutedTarget("ops", RouteOptions(mention=("all",)), (0,)),
        RoutedTarget("web", RouteOptions(repeat_interval=60.0), (1,)),
    )


MATCHERS = st.builds(
    Matcher, NAMES, st.sampled_from(["=", "!=", "=~", "!~"]), st.sampled_from([*VALUES.elements, "a.*"])
)  # type: ignore[attr-defined]
TOS = st.none() | st.lists(st.sampled_from(["x", "y", "z"]), max_size=2).map(tuple)
LEAVES = st.builds(Route, st.lists(MATCHERS, max_size=2).map(tuple), TOS, st.booleans())
ROUTES = st.lists(
    st.recursive(
        LEAVES,
        lambda inner: st.builds(
            Route, st.lists(MATCHERS, max_size=2).map(tuple), TOS, st.booleans(),
            st.lists(inner, max_size=4).map(tuple), st.none() | st.just(("all",)),
        ),
        max_leaves=8,
    ),
    max_size=8,
)  # fmt: skip


def answers(routes: Sequence[Route], labels: Mapping[str, str], to: tuple[str, ...] | None = None) -> list[object]:
    """Alertmanager's dispatch/route.go in a few lines: the `to` of every route that answers."""
    found: list[object] = []
    for entry in routes:
        if all(matcher.matches(labels) for matcher in entry.matchers):
            its = to if entry.to is None else entry.to
            found += answers(entry.routes, labels, its) or [its]
            if not entry.goes_on:
                break
    return found


@given(ROUTES, LABELS)
def test_the_tree_answers_as_alertmanagers_does(routes: list[Route], labels: dict[str, str]) -> None:
    named = [to for to in answers(routes, labels) if to is not None]
    expected = list(dict.fromkeys(name for to in named for name in to)) if named else None  # type: ignore[attr-defined]
    assert targets(routes, labels) == expected


@given(ROUTES, LABELS)
def test_what_is_explained_is_what_is_decided(routes: list[Route], labels: dict[str, str]) -> None:
    explanation = routing.explain_route(routing.compile_routes(routes), labels)
    assert explanation.targets == routing.find_targets(routing.compile_routes(routes), labels)
    answering = [visit for visit in explanation.tried if visit.answers]
    assert [visit.to for visit in answering] == [
        None if to is None else tuple(dict.fromkeys(to))  # type: ignore[call-overload]
        for to in answers(routes, labels)
    ]
    for visit in explanation.tried:
        assert (visit.failed is None) == all(matcher.matches(labels) for matcher in visit.matchers)
    paths = [visit.path for visit in explanation.tried]
    assert paths == sorted(set(paths))


def test_an_explanation_names_the_first_matcher_that_does_not_hold() -> None:
    routes = [
        route(["severity=critical", 'team=~"a|b"'], "ops"),
        route({"severity": "critical"}, "boss", routes=(route({"job": "x"}, "x"), route({}, "rest"))),
    ]
    first, parent, child, last = routing.explain_route(routing.compile_routes(routes), {"severity": "critical"}).tried
    assert (first.failed, first.answers) == (parse_matcher('team=~"a|b"'), False)
    assert (parent.failed, parent.answers) == (None, False)
    assert (str(child.failed), routing.format_path(child.path)) == ('job="x"', "routes[1].routes[0]")
    assert (last.to, last.answers) == (("rest",), True)


# ---------------------------------------------------------------- groups

ALERTS = st.builds(Alert, source=st.just("grafana"), status=st.sampled_from(AlertStatus), title=st.just("t"),
                   labels=LABELS)  # fmt: skip


@given(st.lists(ALERTS, min_size=1, max_size=5), ROUTES)
def test_no_alert_of_a_group_is_lost_or_told_twice_to_one_target(alerts: list[Alert], routes: list[Route]) -> None:
    group = AlertGroup("grafana", "k", "t", tuple(alerts), truncated=2)
    division = routing.split_by_target(group, routing.compile_routes(routes))
    for alert in alerts:
        names = targets(routes, routing.labels_of(group, alert))
        reached = [part.target for part in division.parts for item in part.group.alerts if item is alert]
        assert sorted(reached) == sorted(names or [])
        left = division.unrouted
        assert (names is None) == (left is not None and any(alert is item for item in left.alerts))
    whole = [part.group for part in division.parts] + ([division.unrouted] if division.unrouted else [])
    for part in whole:
        assert part.alerts
        assert part.truncated == 2
        places = [next(index for index, alert in enumerate(alerts) if alert is item) for item in part.alerts]
        assert places == sorted(places)


def test_a_group_goes_to_one_target_in_as_many_parts_as_there_are_ways_to_tell_it() -> None:
    critical = Alert("grafana", AlertStatus.FIRING, "a", {"severity": "critical"})
    others = tuple(Alert("grafana", AlertStatus.FIRING, name) for name in "bc")
    routes = [route({"severity": "critical"}, "ops", mention=("all",)), route({"alertname": "b"}, "ops"),
              route({}, "ops")]  # fmt: skip
    division = routing.split_by_target(
        AlertGroup("grafana", "", "g", (others[0], critical, others[1])), routing.compile_routes(routes)
    )
    assert [(part.target, part.options.mention, part.group.alerts) for part in division.parts] == [
        ("ops", (), others),
        ("ops", ("all",), (critical,)),
    ]
    assert division.unrouted is None


def test_an_alert_that_no_route_matches_is_left_over_and_one_for_nobody_is_not() -> None:
    critical = Alert("grafana", AlertStatus.FIRING, "a", {"severity": "critical"})
    debug = Alert("grafana", AlertStatus.FIRING, "a", {"severity": "debug"})
    other = Alert("grafana", AlertStatus.FIRING, "b")
    routes = routing.compile_routes([route({"severity": "critical"}, "ops"), route({"severity": "debug"})])
    division = routing.split_by_target(AlertGroup("grafana", "", "g", (critical, debug, other)), routes)
    assert [(part.target, part.group.alerts) for part in division.parts] == [("ops", (critical,))]
    assert division.unrouted
    assert division.unrouted.alerts == (other,)


def test_what_is_no_alert_is_routed_as_one_text() -> None:
    group = AlertGroup("grafana", "", "grafana", text="hello")
    division = routing.split_by_target(group, routing.compile_routes([route({"source": "grafana"}, "ops")]))
    assert [(part.target, part.group) for part in division.parts] == [("ops", group)]
    assert division.unrouted is None
    assert routing.split_by_target(group, routing.compile_routes([])).unrouted == group
    assert routing.split_by_target(group, routing.compile_routes([route({})])) == routing.SplitGroup((), None)


def test_routes_see_the_source_the_status_a_name_and_a_severity_besides_the_labels() -> None:
    alert = Alert("grafana", AlertStatus.RESOLVED, "Disk", {"team": "db", "status": "from the sender"})
    labels = routing.labels_of(AlertGroup("grafana", "", "g", (alert,)), alert)
    assert labels == {"alertname": "Disk", "team": "db", "source": "grafana", "status": "resolved", "severity": ""}


def test_of_ten_thousand_routes_only_those_that_ask_for_a_label_of_the_alert_are_looked_at() -> None:
    asked = []

    class Labels(dict[str, str]):
        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            asked.append(name)
            return super().get(name, default)

    routes = [route({"severity": "critical", "team": f"t{index}"}, "ops") for index in range(10_000)]
    assert targets(routes, Labels(severity="critical", team="t9999")) == ["ops"]
    assert len(asked) < 10
