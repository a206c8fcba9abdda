"""Charts of PromQL: which rule, which time, what of it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.prometheus import FakePrometheus, fake_prometheus
from wxbridge.config.types import WebSource
from wxbridge.core import imaging
from wxbridge.core.errors import NothingToDraw, PictureError
from wxbridge.core.model import PictureSpec
from wxbridge.core.pictures import ChartRequest
from wxbridge.pictures.charts.chart import Chart
from wxbridge.pictures.charts.graph import ChartLook, ChartPainter, resolve_period
from wxbridge.pictures.renderer import PictureRenderer

AT = 1_772_860_200.0
DB, WEB = {"instance": "db-1:9100"}, {"instance": "web-1:9100"}
LOAD = {"name": "Load", "query": "node_load1 > 4", "duration": 600, "labels": {"severity": "page"}}


@dataclass
class Drawn:
    """Stands in for the process that draws."""

    charts: list[Chart] = field(default_factory=list)

    async def draw(self, *charts: Chart, title: str = "", columns: int = 0) -> bytes:
        self.charts += charts
        return b"png"


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakePrometheus]:
    async with fake_prometheus() as fake:
        yield fake


async def chart(fake: FakePrometheus, **params: Any) -> Chart:
    drawn = Drawn()
    async with ChartPainter(WebSource(url=fake.url), drawn, ChartLook("Asia/Shanghai")) as graphs:  # type: ignore[arg-type]
        assert await graphs.paint(params) == b"png"
    return drawn.charts[0]


def names(shown: Chart) -> Sequence[dict[str, str]]:
    return [dict(curve.labels) for curve in shown.curves]


async def test_an_alert_whose_rule_is_not_found_still_names_its_chart(fake: FakePrometheus) -> None:
    fake.series["node_load1"] = [DB]
    assert (await chart(fake, rule="Load", expr="node_load1 > 4", at=AT)).title == "Load"


async def test_the_last_point_is_the_end_however_long_the_time(fake: FakePrometheus) -> None:
    fake.series["node_load1"] = [DB]
    shown = await chart(fake, expr="node_load1", start=AT - 30 * 86400, end=AT)
    assert [at for at, _ in shown.curves[0].points][-1] == AT
    assert shown.end - shown.start == 30 * 86400


async def test_the_worst_of_many_instances_are_drawn_and_the_others_counted(fake: FakePrometheus) -> None:
    pods = [{"pod": f"shop-{number:02}"} for number in range(33)]
    fake.series["memory"], fake.above = pods, 10.0
    shown = await chart(fake, expr="memory > 40", labels=pods, more=100, at=AT)
    assert [labels["pod"] for labels in names(shown)][:3] == ["shop-32", "shop-31", "shop-30"]
    assert shown.others == 13 + 100


async def test_an_expression_is_drawn_with_its_threshold(fake: FakePrometheus) -> None:
    fake.series["node_load1"] = [DB, WEB]
    shown = await chart(fake, expr="node_load1 > 4", at=AT, title="Load")
    assert (names(shown), [each.value for each in shown.thresholds]) == ([DB, WEB], [4])
    assert (shown.end, shown.end - shown.start, shown.timezone, shown.now) == (AT, 900, "Asia/Shanghai", True)


async def test_the_firing_instance_alone_is_drawn(fake: FakePrometheus) -> None:
    fake.series["node_load1"] = [WEB, DB]
    assert names(await chart(fake, expr="node_load1 > 4", labels=DB, at=AT)) == [DB]


async def test_a_rule_is_looked_up_by_its_name_and_tells_how_long_it_holds(fake: FakePrometheus) -> None:
    fake.rules.append(LOAD)
    fake.series["node_load1"] = [DB, {"instance": "idle:9100"}, WEB]
    each = {"severity": "page", "alertname": "Load"}
    shown = await chart(fake, rule="Load", labels=[DB | each, WEB | each], at=AT, firing_since=AT - 60)
    assert (shown.title, names(shown), shown.end - shown.start) == ("Load", [DB, WEB], 2400)
    assert [(mark.start, mark.end) for mark in shown.marks] == [(AT - 60, None)]


async def test_an_alert_that_is_over_is_drawn_from_before_its_beginning_to_after_its_end(fake: FakePrometheus) -> None:
    fake.series["node_load1"] = [DB]
    shown = await chart(fake, expr="node_load1", at=AT, firing_since=AT - 7200, resolved_at=AT - 3600)
    assert (shown.start, shown.end) == pytest.approx((AT - 8100, AT - 2700), abs=20)
    assert not shown.now


async def test_however_many_alerts_come_the_rules_are_asked_for_once(fake: FakePrometheus) -> None:
    fake.rules.append(LOAD)
    fake.series["node_load1"] = [DB]
    async with ChartPainter(WebSource(url=fake.url), Drawn()) as graphs:  # type: ignore[arg-type]
        await asyncio.gather(*(graphs.paint({"rule": "Load", "at": AT + number}) for number in range(8)))
    assert [path for path, _ in fake.asked].count("rules") == 1
    assert len(fake.queries()) == 8


async def test_an_unknown_rule_leaves_the_expression_of_the_alerts_own_link(fake: FakePrometheus) -> None:
    fake.series["up"] = [DB]
    assert names(await chart(fake, rule="Gone", expr="up == 0", at=AT)) == [DB]
    with pytest.raises(NothingToDraw, match="no alerting rule Gone") as none:
        await chart(fake, rule="Gone", at=AT)
    assert none.value.reason == "no_rule"


async def test_where_there_is_no_data_there_is_nothing_to_draw(fake: FakePrometheus) -> None:
    with pytest.raises(NothingToDraw, match="no data") as none:
        await chart(fake, expr="up == 0", at=AT)
    assert none.value.reason == "no_data"


async def test_a_prometheus_that_is_away_is_an_error_and_no_lack_of_data(fake: FakePrometheus) -> None:
    fake.status = 503
    for params in ({"rule": "Load"}, {"expr": "up"}):
        with pytest.raises(PictureError, match="HTTP 503") as failed:
            await chart(fake, at=AT, **params)
        assert not isinstance(failed.value, NothingToDraw)
        assert failed.value.retry


async def test_what_it_is_compared_with_is_drawn_as_a_line_of_its_own(fake: FakePrometheus) -> None:
    fake.series |= {"queue": [{"queue": "mail"}], "queue_limit": [{"queue": "mail"}]}
    shown = await chart(fake, expr="queue > queue_limit", at=AT)
    assert [(curve.name, curve.reference) for curve in shown.curves] == [("", False), ("queue_limit", True)]


async def test_what_is_missing_is_drawn_as_long_as_it_was_there(fake: FakePrometheus) -> None:
    fake.series |= {'absent(up{job="a"})': [{"job": "a"}], 'up{job="a"}': [{"job": "a", **DB}]}
    shown = await chart(fake, expr='absent(up{job="a"})', at=AT)
    assert names(shown) == [{"job": "a", **DB}]
    del fake.series['up{job="a"}']
    assert names(await chart(fake, expr='absent(up{job="a"})', at=AT)) == [{"job": "a"}]


async def test_the_unit_is_the_metrics_own(fake: FakePrometheus) -> None:
    fake.series["process_resident_memory_bytes"] = [DB]
    assert (await chart(fake, expr="process_resident_memory_bytes > 1e9", at=AT)).unit == "bytes"
    assert (await chart(fake, expr="process_resident_memory_bytes", at=AT, unit="ms")).unit == "ms"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"expr": "up"}, "needs `expr` or `rule`, and `at`"),
        ({"at": AT}, "needs `expr` or `rule`"),
        ({"expr": "up", "at": AT, "colour": "red"}, "does not know colour"),
        ({"expr": "up", "at": "soon"}, "cannot read its params"),
        ({"expr": "up", "at": AT, "labels": ["a"]}, "cannot read its params"),
        ({"expr": "up", "at": AT, "theme": "pink"}, "no language None or theme pink"),
    ],
)
def test_params_that_are_no_use_are_told(params: dict[str, Any], said: str) -> None:
    with pytest.raises(PictureError, match=said):
        ChartRequest.from_params(params)


def test_a_request_is_read_as_it_was_stored() -> None:
    request = ChartRequest("up", "Up", (DB, WEB), more=3, at=AT, hold=60.0, theme="dark", language="zh")
    spec = request.to_spec("http://p/graph")
    assert (spec.kind, spec.link) == ("chart", "http://p/graph")
    assert spec.params == {
        "expr": "up", "rule": "Up", "labels": [DB, WEB], "more": 3, "at": AT, "hold": 60.0, "theme": "dark",
        "language": "zh",
    }  # fmt: skip
    assert ChartRequest.from_params(spec.params) == request
    assert ChartRequest.from_params({"expr": "up", "at": AT, "labels": DB, "deadline": 5}).instances == (DB,)
    assert ChartRequest.from_params({"grafana_number": 7, "at": AT}).grafana_number == 7, "a rule without a name"


@pytest.mark.parametrize("params", [{"start": AT, "end": AT}, {"start": 1e300, "end": 1e301}, {"at": 1e18}])
def test_times_that_are_none_are_told(params: dict[str, Any]) -> None:
    with pytest.raises(PictureError, match=r"times|end"):
        resolve_period(ChartRequest.from_params({"expr": "up", **params}))


@pytest.mark.parametrize(("seconds", "step"), [(600, 2), (86400, 174), (86400 * 30, 5195)])
def test_a_given_time_has_about_500_points(seconds: float, step: float) -> None:
    assert resolve_period(ChartRequest.from_params({"expr": "up", "start": AT - seconds, "end": AT})).step == step


def test_a_step_that_is_too_fine_for_prometheus_is_made_coarser() -> None:
    assert (
        resolve_period(ChartRequest.from_params({"expr": "up", "start": AT - 110_000, "end": AT, "step": 1})).step == 11
    )


async def test_a_chart_is_a_picture_of_the_bridge_and_is_counted(fake: FakePrometheus) -> None:
    fake.series["up"] = [DB]
    counted: list[tuple[str, str]] = []
    async with PictureRenderer(
        prometheus=WebSource(url=fake.url), count=lambda *given: counted.append(given)
    ) as pictures:
        png = await pictures.draw(PictureSpec("chart", {"expr": "up == 0", "at": AT}))
        with pytest.raises(NothingToDraw):
            await pictures.draw(PictureSpec("chart", {"expr": "down", "at": AT}))
    assert imaging.sniff(png) == "image/png"
    assert counted == [("chart", "drawn"), ("chart", "no_data")]


async def test_without_a_prometheus_or_a_grafana_it_is_said() -> None:
    async with PictureRenderer() as pictures:
        for kind, said in (("chart", "no `prometheus: url:`"), ("panel", "no `grafana: url:`")):
            with pytest.raises(PictureError, match=said):
                await pictures.draw(PictureSpec(kind, {"expr": "up", "at": AT}))
