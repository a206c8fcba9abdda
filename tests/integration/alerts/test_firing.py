from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.postgresql import database_url
from wxbridge.alerts import firing, store
from wxbridge.alerts.firing import FiringAlert, ReportedBy, merge_firing
from wxbridge.alerts.listing import ListedAlert
from wxbridge.alerts.service import AlertMonitors, AlertService
from wxbridge.alerts.store import Ack, SeenAlert
from wxbridge.config.types import WebSource
from wxbridge.core.database import Database
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.monitors.alertmanager import Alertmanager
from wxbridge.monitors.grafana_alerts import GrafanaAlerts

NOON = datetime(2026, 6, 5, 12, tzinfo=UTC)
AM, GRAFANA, BRIDGE = ReportedBy.ALERTMANAGER, ReportedBy.GRAFANA, ReportedBy.BRIDGE


def alert(fingerprint: str, source: str = "alertmanager", minutes: int = 0, **labels: str) -> Alert:
    labels = {"alertname": "DiskFull", **labels}
    return Alert(
        source, AlertStatus.FIRING, labels["alertname"], labels, starts_at=NOON + timedelta(minutes=minutes),
        fingerprint=fingerprint,
    )  # fmt: skip


def key(one: Alert) -> str:
    return store.alert_key(AlertGroup(one.source, "", ""), one)


def told(one: Alert, silenced_by: str | None = None) -> SeenAlert:
    """As `AlertService.list_firing` gives it."""
    group = AlertGroup(one.source, "", one.title, (one,))
    return SeenAlert(key(one), group, NOON.timestamp(), NOON.timestamp(), silenced_by)


def places(found: tuple[FiringAlert, ...]) -> list[set[ReportedBy]]:
    return [set(each.places) for each in found]


def test_what_alertmanager_lists_and_has_posted_is_one_alert() -> None:
    one = alert("f1", instance="db-1")
    [found] = merge_firing([ListedAlert(one, ("uuid",))], None, [told(one, silenced_by="11112222")])
    assert found.places == {AM, BRIDGE}
    assert found.keys == (key(one),)
    assert found.silenced_by == ("uuid", "11112222")
    assert found.quiet
    assert not found.unlisted


def test_what_grafana_hands_to_alertmanager_is_one_alert_under_the_key_that_the_bridge_knows() -> None:
    theirs, grafanas = alert("f1", instance="a"), alert("g1", "grafana", instance="a")
    [found] = merge_firing([ListedAlert(theirs)], [ListedAlert(grafanas, inhibited=True)], [told(grafanas)])
    assert found.places == {AM, GRAFANA, BRIDGE}
    assert found.keys == (key(grafanas), key(theirs))
    assert found.inhibited


def test_alerts_of_one_server_with_the_same_labels_stay_two() -> None:
    one, other = alert("g1", "grafana"), alert("g2", "grafana")
    assert places(merge_firing(None, [ListedAlert(one), ListedAlert(other)], [])) == [{GRAFANA}, {GRAFANA}]
    assert len(merge_firing([ListedAlert(alert("f1"))], [ListedAlert(one), ListedAlert(other)], [])) == 2


def test_alerts_without_a_name_are_never_taken_for_each_other() -> None:
    one = Alert("openfalcon", AlertStatus.FIRING, "cpu", {"endpoint": "a"}, fingerprint="1")
    other = Alert("alertmanager", AlertStatus.FIRING, "cpu", {"endpoint": "a"}, fingerprint="1")
    assert len(merge_firing([ListedAlert(other)], None, [told(one)])) == 2


def test_what_its_monitor_no_longer_lists_is_kept_and_marked_but_not_where_it_was_not_asked() -> None:
    one, other = alert("f1"), alert("o1", "openfalcon", alertname="Cpu")
    assert {each.alert.title: each.unlisted for each in merge_firing([], None, [told(one), told(other)])} == {
        "DiskFull": True, "Cpu": False,
    }  # fmt: skip
    assert [each.unlisted for each in merge_firing(None, [], [told(one)])] == [False]


def test_the_worst_come_first_then_what_began_last_and_quiet_ones_last() -> None:
    found = merge_firing(
        [
            ListedAlert(alert("1", alertname="old warning", severity="warning")),
            ListedAlert(alert("2", minutes=5, alertname="new warning", severity="warning")),
            ListedAlert(alert("3", alertname="critical", severity="critical")),
            ListedAlert(alert("4", alertname="silenced", severity="critical"), ("s",)),
            ListedAlert(alert("5", alertname="nothing said")),
        ],
        None,
        [],
    )
    assert [each.alert.title for each in found] == [
        "critical",
        "new warning",
        "old warning",
        "nothing said",
        "silenced",
    ]


def test_an_ack_is_shown_until_the_alert_begins_anew() -> None:
    one = alert("f1")
    ack = Ack(key(one), NOON.timestamp() + 60, "张三", "on it")
    assert merge_firing([ListedAlert(one)], None, [], {key(one): ack})[0].ack == ack
    assert merge_firing([ListedAlert(alert("f1", minutes=5))], None, [], {key(one): ack})[0].ack is None


def test_what_says_no_start_is_as_old_as_the_bridge_knows_it() -> None:
    one = Alert("generic", AlertStatus.NO_DATA, "t", fingerprint="1")
    [found] = merge_firing(None, None, [told(one)])
    assert found.since == NOON
    assert firing.as_json(found)["since"] == NOON.isoformat()
    assert firing.as_json(found)["places"] == ["bridge"]


ALERTS = st.lists(
    st.builds(
        alert, st.sampled_from("abc"), st.sampled_from(["alertmanager", "grafana"]), instance=st.sampled_from("xy")
    ),
    max_size=5,
)


@given(ALERTS, ALERTS, ALERTS)
def test_no_alert_is_lost_and_no_key_stands_twice(one: list[Alert], two: list[Alert], three: list[Alert]) -> None:
    found = merge_firing(
        [ListedAlert(each) for each in one], [ListedAlert(each) for each in two], [told(each) for each in three]
    )
    keys = [name for each in found for name in each.keys]
    assert set(keys) == {key(each) for each in (*one, *two, *three)}
    assert len(keys) == len(set(keys))


# ---------------------------------------------------------------- asking them


@asynccontextmanager
async def site(status: int, text: str) -> AsyncIterator[WebSource]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield WebSource(url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


LISTED = '[{"labels": {"alertname": "A"}, "fingerprint": "1", "startsAt": "2026-06-05T12:00:00Z", "status": {}}]'


@pytest.mark.parametrize("status", [403, 404, 500])  # 404: a Grafana without unified alerting
async def test_who_does_not_answer_is_named_and_the_others_are_told(tmp_path: Path, status: int) -> None:
    database = Database.open(database_url(tmp_path))
    service = AlertService(database, None)
    group = AlertGroup("openfalcon", "k", "t", (alert("o1", "openfalcon", alertname="Cpu"),))
    await database.run(lambda c: store.record_seen(c, [group], now=NOON.timestamp()))
    try:
        async with (
            site(200, LISTED) as theirs,
            site(status, "") as refusing,
            Alertmanager(theirs) as alertmanager,
            GrafanaAlerts(refusing) as grafana,
        ):
            asking = AlertService(database, None, monitors=AlertMonitors(alertmanager, grafana))
            overview = await asking.overview()
            assert {each.alert.title for each in overview.alerts} == {"A", "Cpu"}
            assert overview.missing.keys() == (set() if status == 404 else {"Grafana"})
            alone = await service.overview()
            assert [each.alert.title for each in alone.alerts] == ["Cpu"]
            assert alone.missing == {}
    finally:
        database.close()


async def test_the_worst_is_found_however_many_others_were_mentioned_later(tmp_path: Path) -> None:
    database = Database.open(database_url(tmp_path))
    worst = alert("o", "openfalcon", alertname="DiskFull", severity="critical")
    others = [alert(f"o{number}", "openfalcon", alertname="Slow", severity="info") for number in range(1200)]
    for later, group in enumerate(
        (AlertGroup("openfalcon", "k", "t", (worst,)), AlertGroup("openfalcon", "k", "t", others))
    ):
        await database.run(lambda c, g=group, at=later: store.record_seen(c, [g], now=NOON.timestamp() + at))
    try:
        overview = await AlertService(database, None).overview()
        assert (overview.alerts[0].alert.title, len(overview.alerts), overview.left_out) == ("DiskFull", 1201, 0)
    finally:
        database.close()


async def test_more_than_can_be_looked_through_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxbridge.alerts.service.MAX_FIRING_LISTED", 2)
    database = Database.open(database_url(tmp_path))
    for number in range(3):
        group = AlertGroup("openfalcon", "k", "t", (alert(f"o{number}", "openfalcon", alertname=f"A{number}"),))
        await database.run(lambda c, g=group, at=number: store.record_seen(c, [g], now=NOON.timestamp() + at))
    try:
        overview = await AlertService(database, None).overview()
        assert {each.alert.title for each in overview.alerts} == {"A1", "A2"}
        assert overview.left_out == 1
    finally:
        database.close()


def test_what_silences_an_alert_names_its_object_and_not_the_pod_that_measured_it() -> None:
    exporter = {
        "pod": "kube-state-metrics-5d7c",
        "instance": "10.1.1.1:80",
        "job": "kube-state-metrics",
        "endpoint": "x",
    }
    one = alert("a", alertname="Replicas", deployment="cart", namespace="shop", severity="warning", **exporter)
    (found,) = merge_firing(None, None, [told(one)])
    assert [(each.name, each.value) for each in found.silencing_matchers()] == [
        ("alertname", "Replicas"), ("deployment", "cart"), ("namespace", "shop"),
    ]  # fmt: skip
