"""Charts of Grafana's own rules: what Grafana is asked, and what of its answer is drawn."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.grafana import TOKEN, FakeGrafana
from tests.support import payload_bytes
from wxbridge.config.types import GrafanaSettings
from wxbridge.core import imaging
from wxbridge.core.errors import NothingToDraw, PictureError
from wxbridge.core.model import PictureSpec
from wxbridge.core.pictures import ALERT, ChartRequest, PanelAddress, PanelRequest
from wxbridge.core.thresholds import AlertThreshold
from wxbridge.monitors.grafana import Grafana
from wxbridge.pictures.charts.chart import WIDTH, Chart
from wxbridge.pictures.charts.rule_graph import RuleChartPainter
from wxbridge.pictures.renderer import PictureRenderer

AT = 1_772_860_200.0
NAME = "Queue too long 队列"
HOSTS = ("db-1", "web-1", "web-2")


@dataclass
class Drawn:
    """Stands in for the process that draws."""

    charts: list[Chart] = field(default_factory=list)

    async def draw(self, chart: Chart) -> bytes:
        self.charts.append(chart)
        return b"png"


def frame(values: list[float | None], *, every: float = 15, name: str = "Value", **labels: str) -> dict[str, Any]:
    """A series that ends at `AT`, as Grafana answers since version 8."""
    times = [round((AT - every * back) * 1000) for back in range(len(values))][::-1]
    fields = [{"name": "Time", "type": "time"}, {"name": name, "type": "number", "labels": labels}]
    return {"schema": {"refId": "A", "fields": fields}, "data": {"values": [times, values]}}


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeGrafana]:
    async with FakeGrafana() as made:
        made.rules["r-queue"] = json.loads(payload_bytes("grafana/12.4.0/api-alert-rule"))["body"]
        frames = [frame([90, 120 + place], host=host, job="lab") for place, host in enumerate(HOSTS)]
        made.results = {"A": {"status": 200, "frames": frames}}
        yield made


async def chart(fake: FakeGrafana, **params: Any) -> Chart:
    drawn = Drawn()
    given = {"rule": NAME, "grafana_uid": "r-queue", "at": AT, **params}
    async with Grafana(GrafanaSettings(url=fake.url, token=TOKEN)) as grafana:
        assert await RuleChartPainter(grafana, drawn).paint(given) == b"png"  # type: ignore[arg-type]
    return drawn.charts[0]


def hosts(shown: Chart) -> list[str]:
    return [curve.labels["host"] for curve in shown.curves]


def alert_of(host: str) -> dict[str, str]:
    return {"alertname": NAME, "grafana_folder": "Ops", "severity": "critical", "host": host, "job": "lab"}


async def test_a_rule_is_drawn_over_time_with_its_threshold_and_the_firing_instances_alone(fake: FakeGrafana) -> None:
    shown = await chart(fake, labels=[alert_of("db-1"), alert_of("web-2")], firing_since=AT - 60, org="1")
    assert (shown.title, hosts(shown)) == (NAME, ["web-2", "db-1"])
    assert shown.thresholds == (AlertThreshold(">", 100),)
    assert [(mark.start, mark.end) for mark in shown.marks] == [(AT - 60, None)]
    (asked,) = fake.rule_queries
    assert (asked["from"], asked["to"]) == (str(int(AT - 900) * 1000), str(int(AT + 60) * 1000))
    (query,) = asked["queries"]
    assert (query["expr"], query["range"], query["instant"], query["datasource"]["uid"]) == (
        "lab_queue", True, False, "prom",
    )  # fmt: skip


async def test_it_begins_before_the_alert_did_and_covers_what_the_rule_looks_back_on(fake: FakeGrafana) -> None:
    shown = await chart(fake, firing_since=AT - 7200)
    assert shown.end - shown.start == pytest.approx(7200 + 7200 / 4 + 150, abs=30)
    fake.rules["r-queue"]["data"][0]["relativeTimeRange"]["from"] = 21600
    shown = await chart(fake, firing_since=AT - 60)
    assert shown.end - shown.start == pytest.approx(21600, abs=60)


async def test_the_last_step_of_a_source_that_computes_whole_steps_is_what_the_rule_fired_for(
    fake: FakeGrafana,
) -> None:
    fake.results = {"A": {"frames": [frame([50, 50, 480, 490], host="a")]}}
    shown = await chart(fake, at=AT - 20)
    assert [(at - AT, value) for at, value in shown.curves[0].points] == [(-45, 50), (-30, 50), (-20, 480)]


async def test_a_grafana_of_which_viewers_may_read_all_rules_at_once_only(fake: FakeGrafana) -> None:
    fake.version = 9
    assert hosts(await chart(fake, labels=alert_of("web-1"))) == ["web-1"]


async def test_a_rule_of_legacy_alerting_is_drawn_by_its_number_on_old_and_newer_grafanas(fake: FakeGrafana) -> None:
    fake.rules["4"] = json.loads(payload_bytes("grafana/7.5.5/api-alert-one"))["body"]
    params: dict[str, Any] = {"grafana_uid": "", "grafana_number": 4, "rule": "数据源坏了", "labels": alert_of("web-1")}
    assert hosts(await chart(fake, **params)) == ["web-1"]
    fake.version = 7
    points = [[90, (AT - 15) * 1000], [None, (AT - 5) * 1000], [91, AT * 1000]]
    fake.results = {"A": {"series": [{"name": host, "tags": {"host": host}, "points": points} for host in HOSTS]}}
    shown = await chart(fake, **params)
    assert (hosts(shown), shown.thresholds) == (["web-1"], (AlertThreshold(">", 5),))
    assert shown.curves[0].points == ((AT - 15, 90), (AT, 91))


async def test_what_is_told_of_no_instance_shows_all_series(fake: FakeGrafana) -> None:
    assert hosts(await chart(fake)) == ["web-2", "web-1", "db-1"]


async def test_rows_with_texts_are_a_series_for_each_text(fake: FakeGrafana) -> None:
    times = [(AT - 60 + 10 * row) * 1000 for row in range(4)]
    fields = [{"name": "time", "type": "time"}, {"name": "host", "type": "string"}, {"name": "used", "type": "number"}]
    data = {"values": [times, ["a", "b", "a", "b"], [1, 2, 3, 4]]}
    fake.results = {"A": {"frames": [{"schema": {"fields": fields}, "data": data}]}}
    shown = await chart(fake, labels={"host": "b"})
    assert [(curve.labels["host"], [value for _, value in curve.points]) for curve in shown.curves] == [("b", [2, 4])]


@pytest.mark.parametrize(
    ("column", "name"), [("Value", ""), ("A", ""), ('{host="a"}', ""), ('queue{host="a"}', "queue"), ("used", "used")]
)
async def test_a_column_is_called_by_its_metric_only(fake: FakeGrafana, column: str, name: str) -> None:
    fake.results = {"A": {"frames": [frame([1, 2], name=column, host="a")]}}
    assert (await chart(fake)).curves[0].labels.get("__name__", "") == name


async def test_infinities_are_kept_and_only_a_long_time_without_a_value_is_a_gap(fake: FakeGrafana) -> None:
    one = frame([1, None, None, 2, None, 3, None, 4], host="a")
    one["data"]["entities"] = [None, {"Inf": [1], "NaN": [6]}]
    one["data"]["values"][0][7] += 200_000
    fake.results = {"A": {"frames": [one]}}
    shown = await chart(fake, at=AT + 200)
    values = [value for _, value in shown.curves[0].points]
    assert values[:4] == [1, math.inf, 2, 3]
    assert [value if value == 4 else math.isnan(value or 0) for value in values[4:]] == [True, True, 4]


@pytest.mark.parametrize("what", ["no rule", "other name", "odd uid", "no entry", "other organisation"])
async def test_a_rule_that_cannot_be_read_is_nothing_to_draw(fake: FakeGrafana, what: str) -> None:
    params: dict[str, Any] = {}
    match what:
        case "no rule":
            fake.rules.clear()
        case "other name":
            params["rule"] = "A rule of another Grafana"
        case "odd uid":
            params["grafana_uid"] = "../../logout"
        case "other organisation":
            params["org"] = "2"
        case "no entry":
            fake.broken = 403
    with pytest.raises(NothingToDraw) as none:
        await chart(fake, **params)
    assert none.value.reason == "no_rule"
    assert not any("logout" in path for path in fake.api_paths)


def table(kind: str, values: Any) -> dict[str, Any]:
    return {"frames": [{"schema": {"fields": [{"name": "count", "type": kind}]}, "data": {"values": values}}]}


@pytest.mark.parametrize(
    "answer",
    [{"status": 500, "error": "connection refused"}, {"frames": []}, table("number", [[7]]), table("time", 7), None],
)
async def test_a_source_that_cannot_be_read_is_nothing_to_draw(fake: FakeGrafana, answer: Any) -> None:
    fake.results = {"A": answer}
    with pytest.raises(NothingToDraw) as none:
        await chart(fake)
    assert none.value.reason == "no_data"


async def test_a_grafana_that_is_away_is_an_error_and_worth_another_try() -> None:
    async with Grafana(GrafanaSettings(url="http://127.0.0.1:9", token=TOKEN)) as grafana:
        with pytest.raises(PictureError) as away:
            await RuleChartPainter(grafana, Drawn()).make_chart(ChartRequest(rule="x", grafana_uid="x", at=AT))  # type: ignore[arg-type]
    assert away.value.retry
    assert not isinstance(away.value, NothingToDraw)


async def test_the_worst_of_very_many_series_are_drawn_and_the_others_counted(fake: FakeGrafana) -> None:
    frames = [frame([number, number + 1], pod=f"shop-{number}") for number in range(30)]
    fake.results = {"A": {"frames": frames}}
    shown = await chart(fake)
    assert (shown.curves[0].labels["pod"], len(shown.curves), shown.others) == ("shop-29", 20, 10)


async def test_where_the_panel_has_no_data_the_chart_of_its_rule_takes_its_place(fake: FakeGrafana) -> None:
    fake.how = "no data"
    panel = PanelRequest(PanelAddress("4", "kfk"), int(AT - 900) * 1000, int(AT) * 1000).to_spec()
    rule = ChartRequest(rule=NAME, grafana_uid="r-queue", at=AT, instances=(alert_of("web-1"),)).to_spec()
    tries = [{"way": each.kind, "kind": each.kind, "params": dict(each.params)} for each in (panel, rule)]
    counted: list[tuple[str, str]] = []
    grafana = GrafanaSettings(url=fake.url, token=TOKEN)
    async with PictureRenderer(grafana=grafana, count=lambda *given: counted.append(given)) as pictures:
        picture = await pictures.draw(PictureSpec(ALERT, {"tries": tries, "deadline": 60.0}))
    with imaging.open_picture(picture, "the chart") as image:
        assert image.width == WIDTH
    assert counted == [("alert", "drawn")]
