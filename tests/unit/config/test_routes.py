from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from wxbridge.alerts import routing
from wxbridge.alerts.routing import RoutedTarget, RouteOptions
from wxbridge.config.routes import RouteSettings


def read(*routes: Any) -> list[RouteSettings]:
    return TypeAdapter(list[RouteSettings]).validate_python(list(routes))


def test_routes_are_decided_as_they_are_written() -> None:
    routes = routing.compile_settings(
        read(
            {
                "match": {"team": "db", "shard": 7},
                "to": "dba",
                "mention": "张三",
                "repeat_interval": "4h",
                "send_resolved": False,
                "template": "short",
                "mute_time_intervals": "night",
                "active_time_intervals": ["office"],
                "continue": True,
                "routes": [{"match": ['severity=~"critical|page"'], "mention": ["all"], "repeat_interval": "0s"}],
            },
            {"to": ["ops", "dba"]},
        )
    )
    telling = RouteOptions(
        ("张三",), 14400.0, send_resolved=False, template="short", mute=("night",), active=("office",)
    )
    shard = {"team": "db", "shard": "7"}
    assert routing.find_targets(routes, shard) == (
        RoutedTarget("dba", telling, (0,)),
        RoutedTarget("ops", RouteOptions(), (1,)),
    )
    urgent = routing.find_targets(routes, shard | {"severity": "page"})
    assert urgent
    assert (urgent[0].path, urgent[0].options.mention, urgent[0].options.repeat_interval) == ((0, 0), ("all",), None)


def test_nobody_may_be_meant_on_purpose() -> None:
    routes = routing.compile_settings(read({"match": {"severity": "debug"}, "to": []}, {"to": "ops"}))
    assert routing.find_targets(routes, {"severity": "debug"}) == ()


@pytest.mark.parametrize(
    ("route", "places"),
    [
        ({}, [(0, "to")]),
        ({"routes": [{"to": "a"}, {"match": {"a": "b"}}]}, [(0, "routes", 1, "to")]),
        ({"routes": [{"routes": [{}]}]}, [(0, "routes", 0, "routes", 0, "to")]),
        ({"routes": [{"match": ["severity"], "to": "a"}]}, [(0, "routes", 0, "match")]),
        ({"to": "a", "routes": [{"mentoin": "x"}]}, [(0, "routes", 0, "mentoin")]),
        ({"to": "a", "repeat_interval": "often"}, [(0, "repeat_interval")]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(route: dict[str, Any], places: list[tuple[object, ...]]) -> None:
    with pytest.raises(ValidationError) as caught:
        read(route)
    found = [problem["loc"] for problem in caught.value.errors()]
    assert [place for place in found if place in places] == places


def test_a_target_may_come_from_the_route_around_and_a_parent_may_leave_it_to_its_children() -> None:
    read({"to": "a", "routes": [{"match": {"x": "y"}, "mention": "all"}]})
    read({"match": {"x": "y"}, "routes": [{"to": "a"}]})


@pytest.mark.parametrize(
    ("written", "ways"),
    [
        ("auto", ("image", "panel", "chart")),
        ("none", ()),
        ("chart", ("chart",)),
        (["chart", "image"], ("chart", "image")),
    ],
)
def test_a_route_says_which_picture_follows_and_those_within_it_say_otherwise(written: Any, ways: tuple[str]) -> None:
    inner = [{"match": {"a": "b"}, "pictures": "none"}, {"match": {"c": "d"}}]
    routes = routing.compile_settings(read({"to": "ops", "pictures": written, "routes": inner}))
    found = [routing.find_targets(routes, labels) for labels in ({}, {"a": "b"}, {"c": "d"})]
    assert [decisions[0].options.pictures for decisions in found if decisions] == [ways, (), ways]
    assert routing.RouteOptions().pictures == ("image", "panel", "chart")


@pytest.mark.parametrize("written", ["photo", ["auto", "chart"], ["none", "image"], 5])
def test_a_picture_that_there_is_not_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError, match="pictures"):
        read({"to": "ops", "pictures": written})
