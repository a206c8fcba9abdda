"""Which picture an alert gets: decided when it comes, drawn later by the first way that gives one."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.pictures import (
    AlertPictureOptions,
    PictureBudget,
    ask_pictures,
    choose_pictures,
    give_pictures,
    image_of,
    limit_pictures,
)
from wxbridge.alerts.serialization import group_from_json, group_to_json
from wxbridge.alerts.sources.by_content import parse_grafana
from wxbridge.config.routes import PICTURE_WAYS
from wxbridge.config.types import PictureSettings, Rate
from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import NothingToDraw, PictureError, PictureRefused, PictureTimeout
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, PictureSpec
from wxbridge.pictures.renderer import PictureRenderer

NOW = datetime(2026, 3, 7, 6, 0, tzinfo=UTC)
BOTH = AlertPictureOptions(grafana=True, prometheus=True, timezone="Asia/Shanghai", language="zh", theme="dark")
IMAGE = PictureSpec("fetch", {"url": "http://grafana/a.png"}, link="http://grafana/a.png")
PANEL = "http://grafana/d/kafka/x?viewPanel=4"


def alert(instance: str = "db-1", *, name: str = "Load", over: float | None = None, **more: Any) -> Alert:
    return Alert(
        "alertmanager",
        AlertStatus.FIRING if over is None else AlertStatus.RESOLVED,
        name,
        labels={"alertname": name, "instance": instance, **more.pop("labels", {})},
        starts_at=NOW - timedelta(minutes=more.pop("since", 10)),
        ends_at=None if over is None else NOW - timedelta(minutes=over),
        **more,
    )


def group(*alerts: Alert) -> AlertGroup:
    return AlertGroup("alertmanager", "key", "title", alerts)


def specs(*alerts: Alert, ways: tuple[str, ...] = PICTURE_WAYS, look: AlertPictureOptions = BOTH) -> list[PictureSpec]:
    decided = choose_pictures(group(*alerts), ways, NOW, look)
    return [each.picture for each in decided.alerts if each.picture is not None]


def ways_of(spec: PictureSpec) -> list[str]:
    return [each["way"] for each in spec.params["tries"]]


def test_the_alerts_own_picture_comes_first_then_the_panel_then_the_chart() -> None:
    (spec,) = specs(alert(picture=IMAGE, link=PANEL))
    assert ways_of(spec) == ["image", "panel", "chart"]
    assert spec.link == IMAGE.link


def test_of_a_rule_that_could_not_be_evaluated_there_is_nothing_to_draw() -> None:
    broken = replace(alert(link=PANEL), source="grafana", state="Error")
    assert specs(broken) == []
    assert [ways_of(spec) for spec in specs(replace(broken, picture=IMAGE))] == [["image"]]


def test_what_a_route_wants_is_tried_in_its_order_and_nothing_else() -> None:
    one = alert(picture=IMAGE, link=PANEL)
    assert [ways_of(spec) for spec in specs(one, ways=("chart", "image"))] == [["chart", "image"]]
    assert specs(one, ways=()) == []


def test_without_grafana_and_prometheus_only_what_came_with_the_alert_is_left() -> None:
    assert [ways_of(spec) for spec in specs(alert(picture=IMAGE, link=PANEL), look=AlertPictureOptions())] == [
        ["image"]
    ]
    assert specs(alert(link=PANEL), look=AlertPictureOptions()) == []


def test_alerts_of_one_rule_share_a_chart_of_all_that_fire() -> None:
    (spec,) = specs(alert("a", since=30), alert("b"), alert("c", over=1))
    (chart,) = (each["params"] for each in spec.params["tries"])
    assert [labels["instance"] for labels in chart["labels"]] == ["a", "b"]
    assert chart["firing_since"] == (NOW - timedelta(minutes=30)).timestamp()
    assert (chart["rule"], chart["at"], "resolved_at" in chart) == ("Load", NOW.timestamp(), False)
    assert (chart["timezone"], chart["language"], chart["theme"]) == ("Asia/Shanghai", "zh", "dark")


def test_of_very_many_instances_some_are_told_to_the_chart_and_the_others_counted() -> None:
    (spec,) = specs(*(alert(f"db-{number}") for number in range(620)))
    (chart,) = (each["params"] for each in spec.params["tries"])
    assert (len(chart["labels"]), chart["more"]) == (500, 120)


def test_where_all_is_over_the_whole_episode_is_shown() -> None:
    (spec,) = specs(alert("a", over=5), alert("b", over=1, since=60))
    params = spec.params["tries"][0]["params"]
    assert (params["firing_since"], params["resolved_at"]) == (NOW.timestamp() - 3600, NOW.timestamp() - 60)


def test_several_rules_have_a_chart_each_and_the_worst_brings_it() -> None:
    first, second, third = alert("a", over=1), alert("b"), alert("c", name="Disk")
    decided = choose_pictures(group(first, second, third), PICTURE_WAYS, NOW, BOTH)
    assert [each.picture is not None for each in decided.alerts] == [False, True, True]


def test_alerts_of_one_name_whose_links_name_different_expressions_are_different_rules() -> None:
    links = [f"http://prometheus/graph?g0.expr={expr}" for expr in ("a", "b")]
    found = specs(*(alert(link=link) for link in links))
    assert [spec.params["tries"][0]["params"]["expr"] for spec in found] == ["a", "b"]


def test_grafanas_own_rules_are_not_looked_for_in_prometheus() -> None:
    assert specs(replace(alert(), source="grafana")) == []
    linked = replace(alert(link="http://prometheus/graph?g0.expr=up+%3D%3D+0"), source="grafana")
    assert [ways_of(spec) for spec in specs(linked)] == [["chart"]]


def charts(body: bytes, **more: Any) -> list[dict[str, Any]]:
    """What is asked of charts for the alerts of a body of Grafana's."""
    found = specs(*parse_grafana(body, {}).alerts, ways=("chart",), look=replace(BOTH, **more))
    return [each["params"] for spec in found for each in spec.params["tries"]]


def unified(*alerts: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"receiver": "r", "version": "1", "orgId": 2, "title": "t", "alerts": alerts, **more}).encode()


def one_of(rule: str, link: str = "https://g.example.com/alerting/grafana/r-queue/view?orgId=2", **labels: str) -> Any:
    started = {"startsAt": "2026-03-07T05:50:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": str(labels)}
    return {"status": "firing", "labels": {"alertname": rule, **labels}, "generatorURL": link, **started}


def test_a_rule_of_grafanas_brings_one_chart_of_all_its_instances_that_fire() -> None:
    (asked,) = charts(unified(one_of("Queue", host="a"), one_of("Queue", host="b")), prometheus=False)
    assert (asked["rule"], asked["grafana_uid"], asked["org"], "expr" in asked) == ("Queue", "r-queue", "2", False)
    assert [labels["host"] for labels in asked["labels"]] == ["a", "b"]
    assert asked["firing_since"] == NOW.timestamp() - 600
    assert charts(unified(one_of("Queue")), grafana=False) == []


def test_a_rule_without_data_is_looked_for_by_its_own_name_and_all_its_series_are_shown() -> None:
    (asked,) = charts(unified(one_of("DatasourceNoData", rulename="Queue", ref_id="A")))
    assert (asked["rule"], asked["grafana_uid"], "labels" in asked) == ("Queue", "r-queue", False)


@pytest.mark.parametrize("link", ["?orgId=1", "https://g/alerting/grafana/..%2f..%2flogout/view", "https://g/x"])
def test_a_link_that_names_no_rule_leads_nowhere(link: str) -> None:
    assert charts(unified(one_of("Queue", link))) == []


def test_a_rule_of_legacy_alerting_is_known_by_its_number_and_its_instances_by_what_matched() -> None:
    matches = [{"metric": host, "value": 9, "tags": {"host": host}} for host in ("a", "b")]
    body = {"ruleId": 4, "orgId": 1, "ruleName": "Disk", "state": "alerting", "evalMatches": matches}
    (asked,) = charts(json.dumps(body).encode())
    assert (asked["rule"], asked["grafana_number"], asked["org"]) == ("Disk", 4, "1")
    assert [labels["host"] for labels in asked["labels"]] == ["a", "b"]
    assert charts(json.dumps(body | {"orgId": 0}).encode()) == [], "a test's rule is made up"


def test_an_alert_that_is_told_again_later_brings_a_picture_of_that_time() -> None:
    once = choose_pictures(group(alert(picture=IMAGE)), PICTURE_WAYS, NOW, BOTH)
    stored = group_from_json(group_to_json(once))
    assert stored == once
    assert image_of(stored.alerts[0]) == IMAGE
    later = choose_pictures(stored, PICTURE_WAYS, NOW + timedelta(hours=1), BOTH)
    assert later.alerts[0].picture
    assert later.alerts[0].picture.params["tries"][1]["params"]["at"] == NOW.timestamp() + 3600


# ---------------------------------------------------------------- how many

RATE = Rate(2, 300)


def key(number: float) -> Hashable:
    return "panel", number


def test_after_the_first_so_many_none_is_admitted_until_their_time_is_over() -> None:
    budget = PictureBudget()
    assert [budget.admit(key(n), RATE, 1000 + n) for n in range(3)] == [True, True, False]
    assert budget.admit(key(1), RATE, 1004), "the same picture for another target costs nothing"
    assert [budget.admit(key(n), RATE, 1300 + n) for n in (0.5, 0.6, 1.7)] == [True, False, True]


def test_a_clock_that_is_set_back_holds_up_nothing() -> None:
    budget = PictureBudget()
    assert [budget.admit(key(n), RATE, 9000) for n in range(3)] == [True, True, False]
    assert budget.admit(key(4), RATE, 100)


def test_a_budget_that_is_spent_admits_what_it_admitted_and_nothing_else() -> None:
    budget = PictureBudget()
    assert [(budget.admit(key(n), RATE, 1000 + n), budget.admit(key(n), RATE, 1000 + n)) for n in range(3)] == [
        (True, True), (True, True), (False, False),
    ]  # fmt: skip
    assert budget.admit(key(2), RATE, 1301)


def test_what_is_given_back_is_admitted_again() -> None:
    budget = PictureBudget()
    assert [budget.admit(key(n), RATE, 1000) for n in range(3)] == [True, True, False]
    budget.give_back([key(1)], None)
    assert [budget.admit(key(n), RATE, 1000) for n in (0, 2, 1)] == [True, True, False]


def keys(*alerts: Alert, ways: tuple[str, ...] = PICTURE_WAYS, at: datetime = NOW) -> list[Hashable]:
    return [each.key for each in ask_pictures(group(*alerts), ways, at, BOTH)]


def test_a_picture_is_the_same_where_all_that_it_shows_is_the_same() -> None:
    later = NOW + timedelta(seconds=1)
    one, other = (alert(host, link=PANEL, fingerprint=host) for host in "ab")
    assert keys(one, other) == keys(one, other)
    differing = [keys(one, other), keys(one), keys(other), keys(one, at=later), keys(one, ways=("panel",))]
    assert len({found for (found,) in differing}) == len(differing)


def test_an_image_is_the_same_at_any_time_unless_something_else_can_take_its_place() -> None:
    later = NOW + timedelta(seconds=1)
    alone = replace(alert(picture=IMAGE), source="generic")
    assert keys(alone) == keys(alone, at=later) == keys(replace(alone, title="x"), ways=("image",))
    assert keys(alert(picture=IMAGE)) != keys(alert(picture=IMAGE), at=later)


def test_each_target_is_told_of_a_storm_once() -> None:
    budget = PictureBudget()
    assert [budget.first_told(name, RATE, at) for name, at in (("a", 0), ("a", 100), ("b", 100), ("a", 350))] == [
        True, False, True, False,
    ]  # fmt: skip
    assert budget.first_told("a", RATE, 700)


def test_a_group_brings_the_pictures_of_its_worst_alerts() -> None:
    told = group(*(alert(name=f"n{n}", labels={"severity": "critical" if n > 2 else "info"}) for n in range(5)))
    asked = ask_pictures(told, PICTURE_WAYS, NOW, BOTH)
    kept, refused = limit_pictures(asked, lambda _: True, 3)
    shown = give_pictures(told, kept)
    assert ([each.picture is not None for each in shown.alerts], refused) == ([True, False, False, True, True], 0)
    kept, refused = limit_pictures(asked, lambda _: False, 3)
    assert (any(each.picture for each in give_pictures(told, kept).alerts), refused) == (False, 3)


@given(st.lists(st.floats(0, 1000), max_size=60))
def test_never_more_than_so_many_are_drawn_within_the_time(moments: list[float]) -> None:
    budget = PictureBudget()
    admitted = [at for number, at in enumerate(sorted(moments)) if budget.admit(key(number), RATE, at)]
    for at in admitted:
        assert sum(at - RATE.seconds < other <= at for other in admitted) <= RATE.count


# ---------------------------------------------------------------- drawing


def pictures(counted: list[tuple[str, str]], **answers: Any) -> PictureRenderer:
    def painter(answer: Any) -> Any:
        async def paint(_params: Mapping[str, Any]) -> bytes:
            if isinstance(answer, Exception):
                raise answer
            return bytes(answer() if callable(answer) else answer)

        return paint

    return PictureRenderer(
        painters={kind: painter(answer) for kind, answer in answers.items()},
        count=lambda *given: counted.append(given),
    )


def tried(*kinds: str) -> PictureSpec:
    return PictureSpec("alert", {"tries": [{"way": kind, "kind": kind, "params": {}} for kind in kinds]})


async def test_the_first_way_that_gives_a_picture_is_taken() -> None:
    counted: list[tuple[str, str]] = []
    drawn = pictures(counted, panel=PictureRefused("nobody is let in"), chart=b"chart")
    assert await drawn.draw(tried("panel", "chart")) == b"chart"
    assert counted == [("panel", "refused"), ("alert", "drawn")]


async def test_tries_are_spread_over_the_whole_time_and_the_error_says_how_long_was_waited(monkeypatch) -> None:
    monkeypatch.setattr("wxbridge.pictures.renderer.FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("wxbridge.pictures.renderer.LONGEST_PAUSE_SECONDS", 0.05)
    failures = iter([PictureError("nothing listens there", retry=True)] * 6 + [PictureTimeout("not within 0.1 s")] * 99)
    drawn = PictureRenderer(painters={"panel": lambda _: _raise(next(failures))})
    with pytest.raises(PictureError, match=r"nothing listens there \((\d\d?) tries in (0\.\d+|1) s\)") as caught:
        await drawn.draw(PictureSpec("panel", {"deadline": 1.0}))
    assert int(str(caught.value).split("(")[1].split()[0]) > 6


async def _raise(error: PictureError) -> bytes:
    raise error


async def test_where_no_way_has_a_picture_there_is_none_and_nothing_is_wrong() -> None:
    counted: list[tuple[str, str]] = []
    drawn = pictures(counted, panel=NothingToDraw("no data here"), chart=NothingToDraw("no rule", reason="no_rule"))
    with pytest.raises(NothingToDraw, match="no data here; no rule"):
        await drawn.draw(tried("panel", "chart"))
    assert counted == [("alert", "no_rule")]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(PictureTimeout("late"), "deadline"), (PictureError("broken"), "failed"), (PictureRefused("no"), "refused")],
)
async def test_where_one_failed_and_no_other_has_a_picture_it_is_a_failure(error: PictureError, reason: str) -> None:
    counted: list[tuple[str, str]] = []
    drawn = pictures(counted, panel=error, chart=NothingToDraw("no rule"))
    spec = tried("panel", "chart")
    with pytest.raises(PictureError, match=str(error)) as failed:
        await drawn.draw(replace(spec, params={**spec.params, "deadline": 0.9}))
    assert not isinstance(failed.value, NothingToDraw)
    assert counted[-1] == ("alert", reason)


async def test_what_was_to_be_drawn_from_a_prometheus_that_is_configured_no_more_is_left_out_in_peace() -> None:
    counted: list[tuple[str, str]] = []
    drawn = PictureRenderer(count=lambda *given: counted.append(given))
    with pytest.raises(NothingToDraw, match=r"no `grafana: url:`.*no `prometheus: url:`"):
        await drawn.draw(tried("panel", "chart"))
    assert counted == [("alert", "no_source")]


async def test_of_several_attempts_that_take_too_long_the_longest_is_told() -> None:
    late = iter([PictureTimeout("no answer within 15 s"), PictureTimeout("no answer within 0.2 s")])

    def look() -> bytes:
        raise next(late)

    spec = PictureSpec("alert", {**tried("chart").params, "deadline": 2.0})
    with pytest.raises(PictureTimeout, match="15 s"):
        await pictures([], chart=look).draw(spec)


async def test_an_alerts_own_picture_that_is_all_white_is_none(blank: bytes) -> None:
    drawn = pictures([], fetch=blank, chart=b"chart")
    assert await drawn.draw(tried("fetch", "chart")) == b"chart"
    with pytest.raises(PictureError, match="empty"):
        await drawn.draw(tried("fetch"))


async def test_a_way_leaves_time_for_the_next() -> None:
    left: list[float] = []

    def look() -> bytes:
        left.append(seconds_left(0))
        raise PictureTimeout("late")

    drawn = pictures([], panel=look, chart=look)
    with pytest.raises(PictureError):
        await drawn.draw(PictureSpec("alert", {**tried("panel", "chart").params, "deadline": 1.0}))
    assert left[0] < 0.6 < left[1] < 1.0


async def test_an_alerts_picture_has_a_deadline_of_its_own() -> None:
    left: list[float] = []

    def look() -> bytes:
        left.append(seconds_left(0))
        return b"chart"

    drawn = pictures([], chart=look)
    drawn.settings = PictureSettings.model_validate({"alerts": {"deadline": "7s"}})
    await drawn.draw(tried("chart"))
    await drawn.draw(PictureSpec("chart", {}))
    assert (round(left[0]), round(left[1])) == (7, 60)


async def test_an_alert_in_an_alert_is_refused() -> None:
    with pytest.raises(PictureError, match="needs `tries`"):
        await pictures([]).draw(tried("alert"))


@pytest.fixture
def blank() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (300, 200), "white").save(out, "PNG")
    return out.getvalue()
