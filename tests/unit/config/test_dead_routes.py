"""Routes that can never answer are found, and none that can."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from wxbridge.alerts import routing
from wxbridge.config.dead_routes import find_dead_routes, write_path
from wxbridge.config.routes import RouteSettings


def read(routes: Any) -> list[RouteSettings]:
    return TypeAdapter(list[RouteSettings]).validate_python(routes)


def dead(*routes: Any) -> list[str]:
    return [write_path(each.path) for each in find_dead_routes(read([{"to": "ops", **each} for each in routes]))]


def m(*matchers: str, **more: Any) -> dict[str, Any]:
    return {"match": list(matchers), **more}


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ([m(), m("severity=critical")], ["routes[1]"]),
        ([m(), m()], ["routes[1]"]),
        ([m('team=~".*"'), m("severity=critical")], ["routes[1]"]),
        ([m("team=a"), m("team=a", "severity=critical")], ["routes[1]"]),
        ([m('team=~"a|b"'), m("team=a")], ["routes[1]"]),
        ([m('team=~"a.*"'), m("team=abc")], ["routes[1]"]),
        ([m("team!=b"), m("team=a")], ["routes[1]"]),
        ([m('team!=""'), m("team=a")], ["routes[1]"]),
        ([m("team!=b"), m("team!=b", "x=y")], ["routes[1]"]),
        ([m("team=a", "x=y"), m("x=y", "team=a", "z=1")], ["routes[1]"]),
        ([m("team=a"), m("team=b"), m('team=~"a|b"')], ["routes[2]"]),
        ([m("status=firing"), m("status=resolved"), m("status=no_data"), m()], ["routes[3]"]),
        ([m("team=a", "team=b")], ["routes[0]"]),
        ([m("team=a", "team!=a")], ["routes[0]"]),
        ([m("status=alerting")], ["routes[0]"]),
        (
            [m("team=a", routes=[m("team=b"), m("x=1"), m("x=1", "y=2")])],
            ["routes[0].routes[0]", "routes[0].routes[2]"],
        ),
        ([m("team=a", routes=[m(), m("x=1")])], ["routes[0].routes[1]"]),
        # and what can be reached
        ([m("severity=critical"), m()], []),
        ([m(**{"continue": True}), m("severity=critical")], []),
        ([m("team=a"), m("team=b")], []),
        ([m("team=a"), m('team=~"a|b"')], []),
        ([m("team=a", "x=y"), m("team=a")], []),
        ([m('team=~"a.+"'), m("team=a")], []),
        ([m("team=a"), m("team!=a"), m("x=y")], []),
        ([m("status=firing"), m("status=resolved"), m()], []),
        ([m("team=a", "team=b"), m("team=a")], ["routes[0]"]),
    ],
)
def test_what_can_never_match(routes, found) -> None:
    assert dead(*routes) == found


def test_why_is_told() -> None:
    (why,) = [each.why for each in find_dead_routes(read([{"to": "a"}, {"match": {"x": "y"}, "to": "b"}]))]
    assert why == "routes[0] before it takes everything that it would; put it first, or write `continue: true` there"
    (why,) = [each.why for each in find_dead_routes(read([{"match": {"status": "ok"}, "to": "a"}]))]
    assert why == 'no alert ever fulfils status="ok": `status` is firing, no_data, resolved'


NAMES, VALUES = ("team", "severity", "status"), ("a", "b", "firing", "resolved", "no_data")
MATCHERS = st.builds(
    lambda name, operator, values: f'{name}{operator}"{"|".join(values) if "~" in operator else values[0]}"',
    st.sampled_from(NAMES),
    st.sampled_from(["=", "!=", "=~", "!~"]),
    st.lists(st.sampled_from([*VALUES, "", ".*", "a.*", ".+"]), min_size=1, max_size=2),
)
ROUTES = st.recursive(
    st.fixed_dictionaries({"to": st.just("x"), "match": st.lists(MATCHERS, max_size=2), "continue": st.booleans()}),
    lambda inner: st.fixed_dictionaries(
        {"to": st.just("x"), "match": st.lists(MATCHERS, max_size=2), "routes": st.lists(inner, max_size=3)}
    ),
    max_leaves=4,
)
LABELS = st.fixed_dictionaries(
    {"status": st.sampled_from(["firing", "resolved", "no_data"])},
    optional={"team": st.sampled_from([*VALUES, "abc"]), "severity": st.sampled_from([*VALUES, "abc"])},
)


@given(st.lists(ROUTES, max_size=4), st.lists(LABELS, max_size=20))
def test_no_alert_ever_comes_to_a_route_that_is_called_dead(routes, alerts) -> None:
    settings = read(routes)
    found = {tuple(step for step in each.path if isinstance(step, int)) for each in find_dead_routes(settings)}
    tree = routing.compile_settings(settings)
    for labels in alerts:
        tried = routing.explain_route(tree, labels).tried
        assert not found & {each.path for each in tried if each.failed is None}
