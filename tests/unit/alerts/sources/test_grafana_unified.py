from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from tests.support import payload_bytes
from tests.unit.alerts.sources.source_checks import (
    JSON_TYPE,
    ODD,
    check_told,
    check_usable,
    json_values,
    posted,
    spoiled,
)
from wxbridge.alerts import sources
from wxbridge.alerts.known_alerts import KnownAlerts
from wxbridge.alerts.sources.by_content import parse_alertmanager, parse_grafana
from wxbridge.cli import sample_alerts as samples
from wxbridge.core.errors import BadBody
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, PictureSpec, Value

FIRING: dict[str, Any] = json.loads(payload_bytes("grafana/unified_firing_v12"))
TEST: dict[str, Any] = json.loads(payload_bytes("grafana/unified_test_notification"))


def group_of(changes: dict[str, Any] | None = None, **alert: Any) -> AlertGroup:
    """The documented notification with some of its fields, and some of its alert's, being others."""
    data = copy.deepcopy(FIRING) | (changes or {})
    data["alerts"][0] |= alert
    return posted(parse_grafana, data)


def alert_of(**fields: Any) -> Alert:
    return group_of(**fields).alerts[0]


# ---------------------------------------------------------------- what it says


def test_the_documented_notification_has_all_that_grafana_said() -> None:
    group = parse_grafana(payload_bytes("grafana/unified_firing_v12"), JSON_TYPE)
    assert (group.source, group.group_key, group.title) == ("grafana", "{}:{}", "High memory usage")
    (alert,) = group.alerts
    assert (alert.source, alert.status, alert.state) == ("grafana", AlertStatus.FIRING, "")
    assert alert.title == "High memory usage"
    assert alert.labels == {"alertname": "High memory usage", "team": "blue", "zone": "us-1"}
    assert alert.annotations["summary"] == "This alert was triggered for zone us-1"
    assert alert.values == (Value("B", 44.23943737541908),), "C says only that the condition holds"
    assert alert.starts_at == datetime(2021, 10, 12, 7, 51, 3, 157076, UTC)
    assert alert.ends_at is None
    assert alert.fingerprint == "c6eadffa33fcdf37"
    url = "https://bucket.example.com/abc.png"
    assert alert.picture == PictureSpec("fetch", {"url": url}, link=url)
    check_usable(group)


def test_the_panel_is_the_alerts_own_link_and_all_are_kept_by_name() -> None:
    alert = alert_of()
    assert alert.link
    assert alert.link.endswith("&viewPanel=efgh")
    assert set(alert.links) == {"panel", "dashboard", "generator", "silence", "runbook"}
    assert alert.links["runbook"] == "https://myrunbook.com/runbook/1234"


def test_without_a_panel_the_dashboard_is_shown_and_then_the_rule_but_never_the_silence() -> None:
    assert alert_of(panelURL=None).link == FIRING["alerts"][0]["dashboardURL"]
    alert = alert_of(panelURL="", dashboardURL=None)
    assert alert.link == FIRING["alerts"][0]["generatorURL"]
    assert set(alert.links) == {"generator", "silence", "runbook"}
    assert alert_of(panelURL="", dashboardURL="", generatorURL="").link is None


def test_the_test_notification_has_its_value_in_words_only() -> None:
    (alert,) = posted(parse_grafana, TEST).alerts
    assert alert.title == "TestAlert"
    assert alert.values == (Value("foo", 10.0, labels={"instance": "bar"}),)
    assert (alert.link, set(alert.links)) == (None, {"silence"})


@pytest.mark.parametrize("values", [None, {}, [], "x"])
def test_where_there_are_no_values_they_are_read_from_the_words(values: Any) -> None:
    assert alert_of(values=values).values == (Value("B", 44.23943737541908),)


def test_a_classic_condition_names_the_metric_beside_the_variable() -> None:
    words = "[ var='B0' metric='cpu' labels={host=a, zone=b} value=NaN ], [ var='B1' labels={} value=null ]"
    first, second = alert_of(values=None, valueString=words).values
    assert (first.name, dict(first.labels), str(first.number)) == ("cpu", {"host": "a", "zone": "b"}, "nan")
    assert second == Value("B1")


def test_a_value_that_is_no_number_is_told_in_its_words() -> None:
    values = {"A": None, "B": "12.5", "C": "high", "D": True}
    assert alert_of(values=values).values == (
        Value("A"), Value("B", 12.5), Value("C", text="high"), Value("D", text="true"),
    )  # fmt: skip


def words(*figures: tuple[str, str, str]) -> str:
    parts = [f"[ var='{var}' labels={{}}{kind and f' type={kind!r}'} value={number} ]" for var, kind, number in figures]
    return ", ".join(parts)


@pytest.mark.parametrize(
    ("values", "figures", "told"),
    [
        ({"RD1": 24.77, "TH3": 1}, [("RD1", "reduce", "24.77"), ("TH3", "threshold", "1")], ["RD1"]),
        ({"A": 93.27, "CPU": 93.27, "C": 1}, [], ["CPU"]),
        ({"CPU": 93.27, "any down": 1, "B": 4}, [], ["CPU", "any down"]),
        ({"CPU": 93.27, "threshold": 1}, [], ["CPU"]),
        ({"up": 0, "latency": 250}, [], ["latency", "up"]),
        ({"A": 5, "M": 1}, [("A", "query", "5"), ("M", "math", "1")], ["A"]),
        ({"A": 0, "B": 0, "C": 1}, [("A", "query", "0"), ("B", "reduce", "0"), ("C", "threshold", "1")], ["A", "B"]),
        (None, [("CPU", "query", "93.27"), ("B", "reduce", "1"), ("C", "threshold", "1")], ["CPU"]),
        ({"C": 1}, [("C", "threshold", "1")], ["C"]),
        ({"A": 93.27, "C": 1}, [], ["A"]),
    ],
)
def test_what_was_measured_is_told_by_its_name_and_no_condition(
    values: Any, figures: list[tuple[str, str, str]], told: list[str]
) -> None:
    assert [value.name for value in alert_of(values=values, valueString=words(*figures)).values] == told


@pytest.mark.parametrize("reason", ["MissingSeries", "Paused", "RuleDeleted", "Updated"])
def test_what_is_over_because_it_is_gone_has_no_figures(reason: str) -> None:
    gone = {"status": "resolved", "endsAt": "2021-10-12T10:00:00Z", "annotations": {"grafana_state_reason": reason}}
    assert alert_of(**gone).values == ()
    assert alert_of(**gone | {"annotations": {}}).values


def test_a_picture_that_travels_inside_needs_not_be_fetched() -> None:
    alert = alert_of(embeddedImage="iVBORw0KGgo=")
    url = "https://bucket.example.com/abc.png"
    assert alert.picture == PictureSpec("fetch", {"url": "data:image/png;base64,iVBORw0KGgo="}, link=url)
    alert = alert_of(embeddedImage="data:image/png;base64,xx", imageURL=None)
    assert alert.picture == PictureSpec("fetch", {"url": "data:image/png;base64,xx"})
    assert alert_of(imageURL=None).picture is None


def test_a_resolution_has_an_end_and_an_open_alert_has_none() -> None:
    resolved = alert_of(status="resolved", endsAt="2021-10-12T10:00:00Z")
    assert (resolved.status, resolved.ends_at) == (AlertStatus.RESOLVED, datetime(2021, 10, 12, 10, tzinfo=UTC))
    assert alert_of(endsAt="2021-10-12T10:00:00Z").ends_at is None
    assert alert_of(status="resolved").ends_at is None


@pytest.mark.parametrize(
    ("labels", "annotations", "status", "told"),
    [
        ({"alertname": "DatasourceNoData"}, {}, "firing", (AlertStatus.NO_DATA, "")),
        ({"alertname": "DatasourceNoData"}, {}, "resolved", (AlertStatus.RESOLVED, "")),
        ({"alertname": "DatasourceError"}, {}, "firing", (AlertStatus.FIRING, "Error")),
        ({"alertname": "DatasourceError"}, {"grafana_state_reason": "Error"}, "resolved", (AlertStatus.RESOLVED, "")),
        ({"alertname": "CPU"}, {"grafana_state_reason": "NoData"}, "firing", (AlertStatus.NO_DATA, "")),
        ({"alertname": "CPU"}, {"grafana_state_reason": "Error"}, "firing", (AlertStatus.FIRING, "Error")),
        ({"alertname": "CPU"}, {"grafana_state_reason": "NoData, KeepLast"}, "firing",
         (AlertStatus.FIRING, "NoData, KeepLast")),
        ({"alertname": "CPU"}, {"grafana_state_reason": "MissingSeries"}, "resolved",
         (AlertStatus.RESOLVED, "MissingSeries")),
    ],
)  # fmt: skip
def test_no_data_and_errors_are_told_from_an_alert(labels: Any, annotations: Any, status: str, told: Any) -> None:
    alert = alert_of(labels=labels, annotations=annotations, status=status)
    assert (alert.status, alert.state) == told


def test_an_alert_of_grafana_s_own_is_named_after_the_rule() -> None:
    alert = alert_of(labels={"alertname": "DatasourceNoData", "rulename": "CPU usage", "datasource_uid": "x"})
    assert alert.title == "CPU usage"
    assert alert.labels["alertname"] == "DatasourceNoData"


def test_without_a_name_the_summary_is_the_title() -> None:
    assert alert_of(labels={}).title == "This alert was triggered for zone us-1"
    assert alert_of(labels=None, annotations=None).title == ""


def test_what_finds_the_panel_later_stays_in_the_annotations() -> None:
    annotations = {"__dashboardUid__": "abcd", "__panelId__": "2"}
    assert alert_of(annotations=annotations).annotations == annotations


def test_an_alert_without_a_status_has_that_of_its_group_and_an_unknown_one_is_shown() -> None:
    assert alert_of(status=None).status is AlertStatus.FIRING
    assert group_of({"status": "resolved"}, status=None).alerts[0].status is AlertStatus.RESOLVED
    assert group_of({"status": None, "state": "ok"}, status="").alerts[0].status is AlertStatus.RESOLVED
    pending = alert_of(status="pending")
    assert (pending.status, pending.state) == (AlertStatus.FIRING, "pending")


def test_an_alert_without_a_fingerprint_gets_one_from_its_labels() -> None:
    first, again = (alert_of(fingerprint=None).fingerprint for _ in range(2))
    assert first == again != alert_of(fingerprint=None, labels={"alertname": "other"}).fingerprint


def test_how_many_grafana_left_out_is_counted() -> None:
    assert [group_of({"truncatedAlerts": n}).truncated for n in (3, "4", None, -1, "x", 1e300)] == [
        3, 4, 0, 0, 0, 10**9,
    ]  # fmt: skip


def test_what_is_no_alert_among_the_alerts_is_told_all_the_same() -> None:
    data = copy.deepcopy(FIRING)
    data["alerts"] += ["just words", None]
    assert [alert.title for alert in posted(parse_grafana, data).alerts] == ["High memory usage", "just words", ""]


def test_a_group_without_alerts_tells_its_message() -> None:
    group = group_of({"alerts": [{}]})
    assert len(group.alerts) == 1
    data = FIRING | {"alerts": [], "message": "nothing fires", "truncatedAlerts": 7}
    group = posted(parse_grafana, data)
    assert (group.alerts, group.text, group.truncated) == ((), "nothing fires", 7)
    assert '"receiver"' in (posted(parse_grafana, data | {"message": ""}).text or "")


@pytest.mark.parametrize("field", [*FIRING, *FIRING["alerts"][0]])
def test_a_field_of_any_type_loses_nothing_else(field: str) -> None:
    for value in ODD:
        data = copy.deepcopy(FIRING)
        for place in (data, data["alerts"][0]):
            if field in place:
                place[field] = value
        group = posted(parse_grafana, data)
        if field != "alerts":
            assert group.alerts[0].values or field == "values", value
            assert group.alerts[0].title or field == "labels", value


@pytest.mark.parametrize("field", [*FIRING, *FIRING["alerts"][0]])
def test_any_field_may_be_absent(field: str) -> None:
    data = copy.deepcopy(FIRING)
    data.pop(field, None)
    data.get("alerts", [{}])[0].pop(field, None)
    group = posted(parse_grafana, data)
    assert group.source == "grafana"


# ---------------------------------------------------------------- a repeat and a new firing


def said(*changes: dict[str, Any], **fields: Any) -> str:
    return KnownAlerts().hear(group_of(*changes, **fields), 0.0).said


def test_a_retry_is_the_same_and_what_was_measured_meanwhile_does_not_count() -> None:
    first = said()
    assert said(values={"B": 50}, valueString="[ var='B' labels={} value=50 ]") == first
    assert said({"title": "x", "message": "y"}, annotations={}) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "resolved"},
        {"startsAt": "2021-10-12T09:51:03.157077+02:00"},
        {"fingerprint": "other"},
        {"labels": {"alertname": "other"}, "fingerprint": None},
    ],
)
def test_a_new_firing_and_a_resolution_are_not_the_same(changes: dict[str, Any]) -> None:
    assert said(**changes) != said()


def test_another_receiver_or_group_is_not_the_same() -> None:
    assert len({said(changes) for changes in ({}, {"receiver": "b"}, {"groupKey": "b"})}) == 3
    ended = [said(status="resolved", endsAt=f"2021-10-12T10:0{n}:00Z") for n in range(2)]
    assert ended[0] != ended[1]


def test_the_order_of_alerts_does_not_make_a_repeat_new() -> None:
    data = copy.deepcopy(FIRING)
    data["alerts"].append(data["alerts"][0] | {"fingerprint": "0000"})
    turned = data | {"alerts": data["alerts"][::-1]}
    one, other = (KnownAlerts().hear(posted(parse_grafana, each), 0.0).said for each in (data, turned))
    assert one == other


# ---------------------------------------------------------------- whose it is, and what it is


@pytest.mark.parametrize("parse", [parse_grafana, parse_alertmanager])
@pytest.mark.parametrize(
    ("name", "source", "title"),
    [
        ("grafana/unified_firing_v12", "grafana", "High memory usage"),
        ("grafana/unified_test_notification", "grafana", "TestAlert"),
        ("grafana/legacy_alerting", "grafana", "[Alerting] Panel Title alert"),
        ("grafana/legacy_no_data", "grafana", "[No Data] MQ135  CO2 to HIGH"),
        ("alertmanager/v4_firing", "alertmanager", "TargetDown"),
        ("alertmanager/v4_captured", "alertmanager", "主机宕机"),
    ],
)
def test_a_body_tells_whose_it_is_wherever_it_was_posted(parse: Any, name: str, source: str, title: str) -> None:
    for headers in (JSON_TYPE, {}, {"Content-Type": "text/plain"}, {"Content-Type": "application/octet-stream"}):
        group = parse(payload_bytes(name), headers)
        assert (group.source, group.alerts[0].source, group.alerts[0].title) == (source, source, title)


@pytest.mark.parametrize(
    "data",
    [
        {"what": "a custom payload"},
        {"alerts": []},
        {"alerts": [{"name": "disk"}], "count": 1},
        {"alerts": ["a", "b"]},
        {"alerts": {"a": 1}},
        ["a", {"b": 1}],
        "words",
    ],
)
def test_a_custom_payload_that_is_no_alert_is_told_as_text(data: Any) -> None:
    group = posted(parse_grafana, data)
    assert group.alerts == ()
    assert group.text == data if isinstance(data, str) else json.loads(group.text or "") == data
    assert (group.source, posted(parse_alertmanager, data).source) == ("grafana", "alertmanager")


def test_a_custom_payload_with_a_title_is_an_alert_as_ever() -> None:
    (alert,) = posted(parse_grafana, {"title": "Disk", "message": "is full"}).alerts
    assert (alert.title, dict(alert.annotations)) == ("Disk", {"message": "is full"})


def test_what_is_no_text_is_refused_with_a_sentence_and_what_is_no_json_is_told() -> None:
    for parse in (parse_grafana, parse_alertmanager):
        for body in (b"", b"\xff", b"null", b"[]", b"\x00\x01\x02" * 9):
            with pytest.raises(BadBody, match=r"\.$"):
                parse(body, JSON_TYPE)
        for body in (b"alerts=x", b'{"alerts": [}'):
            assert parse(body, JSON_TYPE).text == body.decode()


def test_of_a_huge_group_the_first_alerts_are_read_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxbridge.alerts.sources.alertmanager.MAX_ALERTS_PER_BODY", 3)
    data = FIRING | {"alerts": FIRING["alerts"] * 5, "truncatedAlerts": 10}
    group = posted(parse_grafana, data)
    assert (len(group.alerts), group.truncated) == (3, 12)


def test_fifty_thousand_alerts_are_read() -> None:
    alert = {"status": "firing", "labels": {"alertname": "a"}, "startsAt": "2026-01-01T00:00:00Z"}
    body = json.dumps({"version": "4", "receiver": "r", "alerts": [alert] * (sources.MAX_ALERTS_PER_BODY + 1)}).encode()
    group = parse_alertmanager(body, JSON_TYPE)
    assert (len(group.alerts), group.truncated) == (sources.MAX_ALERTS_PER_BODY, 1)


def test_words_made_to_be_hard_to_read_are_read_once() -> None:
    hard = "[ var='' labels={" * 20_000 + "[ var='" * 20_000
    assert alert_of(values=None, valueString=hard).values == ()


@given(spoiled([FIRING, TEST, json.loads(samples.SAMPLES["grafana-unified"].body())]))
def test_a_spoiled_notification_is_told(data: Any) -> None:
    posted(parse_grafana, data)


KNOWN = dict.fromkeys((*FIRING, *FIRING["alerts"][0], "grafana_state_reason"), ("firing", "resolved", "NoData"))


@given(json_values(**KNOWN))
def test_any_json_is_told(data: Any) -> None:
    check_told(parse_grafana, data, JSON_TYPE)
    posted(parse_grafana, {"alerts": [data], "receiver": data})
