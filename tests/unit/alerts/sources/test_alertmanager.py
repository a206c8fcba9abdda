from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from tests.support import payload_bytes
from tests.unit.alerts.sources.source_checks import JSON_TYPE, ODD, check_told, json_values, posted, spoiled
from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.known_alerts import KnownAlerts
from wxbridge.alerts.sources.by_content import parse_alertmanager
from wxbridge.cli import sample_alerts as samples
from wxbridge.core.model import AlertGroup, AlertStatus

FIRING: dict[str, Any] = json.loads(payload_bytes("alertmanager/v4_firing"))
CAPTURED: dict[str, Any] = json.loads(payload_bytes("alertmanager/v4_captured"))


def group_of(changes: dict[str, Any] | None = None, **alert: Any) -> AlertGroup:
    data = copy.deepcopy(CAPTURED) | (changes or {})
    data["alerts"][0] |= alert
    return posted(parse_alertmanager, data)


def test_a_captured_notification_has_all_that_alertmanager_said() -> None:
    group = parse_alertmanager(payload_bytes("alertmanager/v4_captured"), JSON_TYPE)
    assert (group.source, group.group_key, group.title) == ("alertmanager", '{}:{alertname="主机宕机"}', "主机宕机")
    (alert,) = group.alerts
    assert (alert.status, alert.title, alert.fingerprint) == (AlertStatus.FIRING, "主机宕机", "1b8b4a0383fec52b")
    assert alert.labels == CAPTURED["alerts"][0]["labels"]
    assert alert.annotations == CAPTURED["alerts"][0]["annotations"]
    assert alert.starts_at == datetime(2026, 11, 21, 0, 47, 58, 418000, UTC)
    assert (alert.ends_at, alert.picture, alert.values) == (None, None, ())


def test_a_dashboard_in_the_annotations_is_worth_more_than_the_expression() -> None:
    (alert,) = group_of().alerts
    assert alert.link == "http://127.0.0.1:3900/d/abc"
    assert alert.links == {
        "dashboard": alert.link,
        "generator": CAPTURED["alerts"][0]["generatorURL"],
        "runbook": 'https://example.invalid/run "q"',
    }


def test_without_a_dashboard_the_expression_is_shown() -> None:
    (alert,) = posted(parse_alertmanager, FIRING).alerts
    assert alert.link == FIRING["alerts"][0]["generatorURL"]
    assert alert.links == {"generator": alert.link}
    (alert,) = group_of(annotations={"dashboard": "see the wiki", "runbook": "ask Li"}).alerts
    assert (alert.link, set(alert.links)) == (CAPTURED["alerts"][0]["generatorURL"], {"generator"})


def test_a_nanosecond_of_go_s_is_no_obstacle() -> None:
    (alert,) = posted(parse_alertmanager, FIRING).alerts
    assert alert.starts_at == datetime(2020, 5, 21, 2, 58, 7, 830216, UTC)


def test_the_labels_that_make_the_group_are_its_title() -> None:
    assert group_of({"groupLabels": {"alertname": "Disk", "cluster": "a"}}).title == "Disk a"
    assert group_of({"groupLabels": {}}).title == "主机宕机"
    assert group_of({"groupLabels": None, "commonLabels": None}).title == "ok"
    assert group_of({"groupLabels": None, "commonLabels": None, "receiver": ""}).title == "主机宕机"


def test_a_resolution_has_its_end() -> None:
    (alert,) = group_of(status="resolved", endsAt="2026-11-21T01:00:00Z").alerts
    assert (alert.status, alert.ends_at) == (AlertStatus.RESOLVED, datetime(2026, 11, 21, 1, tzinfo=UTC))


def said(*changes: dict[str, Any], **fields: Any) -> str:
    return KnownAlerts().hear(group_of(*changes, **fields), 0.0).said


def test_a_repeat_is_the_same_and_what_follows_is_not() -> None:
    first = said()
    assert said({"notification_reason": "x"}) == first
    later = [
        said(status="resolved", endsAt="2026-11-21T01:00:00Z"),
        said(startsAt="2026-11-21T02:00:00Z"),
        said({"alerts": CAPTURED["alerts"] * 2}),
        said({"receiver": "b"}),
        said({"groupKey": "b"}),
        said({"externalURL": "http://other:9093"}),
    ]
    assert len({first, *later}) == 7


def test_a_group_without_a_key_gets_one_from_its_labels() -> None:
    first = group_of({"groupKey": None}).group_key
    assert first
    assert first == group_of({"groupKey": ""}, status="resolved").group_key
    assert first != group_of({"groupKey": None, "groupLabels": {"a": "b"}}).group_key


@pytest.mark.parametrize("field", [*CAPTURED, *CAPTURED["alerts"][0]])
def test_a_field_of_any_type_loses_nothing_else(field: str) -> None:
    for value in ODD:
        data = copy.deepcopy(CAPTURED)
        for place in (data, data["alerts"][0]):
            if field in place:
                place[field] = value
        group = posted(parse_alertmanager, data)
        assert group.source == "alertmanager"
        if field != "alerts":
            title = "实例 127.0.0.1:9899 已宕机" if field == "labels" else "主机宕机"
            assert group.alerts[0].title == title, value


@given(spoiled([FIRING, CAPTURED, json.loads(samples.SAMPLES["alertmanager"].body())]))
def test_a_spoiled_notification_is_told(data: Any) -> None:
    posted(parse_alertmanager, data)


@given(json_values(**dict.fromkeys((*CAPTURED, *CAPTURED["alerts"][0]), ("firing", "resolved", "4"))))
def test_any_json_is_told(data: Any) -> None:
    check_told(parse_alertmanager, data, JSON_TYPE)
    posted(parse_alertmanager, {"alerts": [data, data], "groupLabels": data})


@pytest.mark.parametrize(
    ("name", "headline"), [("DatasourceNoData", "⚪ no data · Memory"), ("DatasourceError", "🔥 Memory (the rule")]
)
def test_what_grafana_could_not_evaluate_bears_the_name_of_its_rule_here_too(name: str, headline: str) -> None:
    alert = {
        "status": "firing", "labels": {"alertname": name, "rulename": "Memory", "grafana_folder": "prod"},
        "annotations": {"summary": "low"}, "startsAt": "2026-11-29T12:40:00Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://grafana.example.com/alerting/grafana/abc/view", "fingerprint": "f",
    }  # fmt: skip
    body = {"receiver": "wx", "status": "firing", "version": "4", "groupKey": "k", "alerts": [alert],
            "groupLabels": {"alertname": name, "grafana_folder": "prod"}}  # fmt: skip
    group = parse_alertmanager(json.dumps(body).encode(), {})
    assert group.source == "grafana"
    assert write_text(group, "en", UTC, datetime(2026, 11, 29, 13, tzinfo=UTC)).startswith(headline)
