"""JSON that no mapping describes, at `/hooks/generic` and at `/hooks/generic/NAME`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from tests.unit.alerts.sources.source_checks import JSON_TYPE, check_told, json_values, posted
from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.severity import severity_of
from wxbridge.alerts.sources.generic import mapped, parse, parsers
from wxbridge.alerts.sources.presets import PRESETS
from wxbridge.config.hooks import BodyMapping
from wxbridge.core.frozen import replace
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Severity

NOW = datetime(2026, 11, 30, tzinfo=UTC)
MAX_LINES, MAX_CHARS = 14, 900

ARGO = {
    "app": {"metadata": {"name": "cart", "namespace": "shop"}, "status": {"health": {"status": "Healthy"}}},
    "alert": {
        "name": "Sync failed", "state": "firing", "severity": "critical", "uuid": "8f", "description": "no such image",
    },
    "links": {"html_url": "https://argo.example.com/cart"},
}  # fmt: skip


def told(data: Any) -> Alert:
    (alert,) = posted(parse, data).alerts
    return alert


def lines(group: AlertGroup) -> list[str]:
    text = write_text(group, "zh", UTC, NOW)
    assert len(text) <= MAX_CHARS
    return text.splitlines()


def test_the_usual_words_for_a_name_a_state_a_severity_and_a_link_are_found() -> None:
    alert = told(ARGO)
    assert (alert.title, alert.status, alert.labels["severity"]) == ("Sync failed", AlertStatus.FIRING, "critical")
    assert (alert.link, alert.is_test) == ("https://argo.example.com/cart", False)
    assert alert.annotations["message"].startswith("no such image\n")
    assert "alert.uuid: 8f" in alert.annotations["body"]


@pytest.mark.parametrize("name", ["alarmLevel", "criticality", "告警级别", "严重程度"])
def test_how_bad_it_is_is_found_under_any_name_that_a_label_may_have(name: str) -> None:
    alert = told({"name": "Disk", "state": "firing", name: "严重", "host": "db-1"})
    assert severity_of(alert) is Severity.CRITICAL
    assert severity_of(replace(alert, labels={name: "严重"})) is Severity.CRITICAL


@pytest.mark.parametrize(
    "end", [{"state": "resolved"}, {"state": "OK"}, {"state": "✅ Recovered"}, {"state": "", "resolved": True}]
)
def test_a_recovery_ends_what_fired(end: dict[str, Any]) -> None:
    over = told(ARGO | {"alert": ARGO["alert"] | end | {"description": "well again"}})
    assert (over.status, over.fingerprint) == (AlertStatus.RESOLVED, told(ARGO).fingerprint)


@pytest.mark.parametrize(
    ("data", "title"),
    [
        ({"event": "backup", "host": "db-1"}, "backup"),
        ({"message": "first line\nsecond", "host": "db-1"}, "db-1"),
        ({"payload": {"Rule-Name": "Disk", "Value": 93}}, "Disk"),
        ({"alert_name": "磁盘", "name": "rule-7"}, "磁盘"),
        ({"data": [{"title": "in a list", "n": 1}]}, "in a list"),
    ],
)
def test_what_has_no_state_is_a_message_with_its_name(data: Any, title: str) -> None:
    alert = told(data)
    assert (alert.title, alert.is_test) == (title, True)
    assert lines(posted(parse, data))[0] == f"📨 {title}"


def test_a_state_in_the_title_is_no_part_of_the_name() -> None:
    def sns(word: str) -> dict[str, Any]:
        message = json.dumps({"AlarmName": "cpu", "NewStateValue": word, "NewStateReason": "Threshold Crossed"})
        return {"Type": "Notification", "MessageId": word, "Subject": f'{word}: "cpu" in EU', "Message": message}

    fires, ends = told(sns("ALARM")), told(sns("OK"))
    assert (fires.status, ends.status) == (AlertStatus.FIRING, AlertStatus.RESOLVED)
    assert fires.fingerprint == ends.fingerprint
    assert "Message.NewStateReason: Threshold Crossed" in fires.annotations["message"]


def test_the_name_of_an_event_comes_before_the_kind_of_it() -> None:
    data = {"title": "disk full", "status": "triggered", "html_url": "https://x.example.com/P1", "urgency": "high"}
    alert = told({"event": {"event_type": "incident.triggered", "data": data}})
    assert (alert.title, alert.status, alert.link) == ("disk full", AlertStatus.FIRING, "https://x.example.com/P1")
    over = told({"event": {"event_type": "incident.resolved", "data": data | {"status": "resolved"}}})
    assert (over.status, over.fingerprint) == (AlertStatus.RESOLVED, alert.fingerprint)


def test_no_more_than_fits_a_phone_is_shown_and_all_is_kept() -> None:
    data = {"name": "Many", "status": "firing", "severity": "critical", "url": "https://x.example.com/" + "y" * 90}
    data |= {f"field{number}": "words " * 20 for number in range(80)}
    group = posted(parse, data)
    assert len(lines(group)) <= MAX_LINES
    assert "…" in lines(group)[-3:][0] or any(line.endswith("…") for line in lines(group))
    assert "field79: words" in group.alerts[0].annotations["body"]
    nameless = posted(parse, {f"field{number}": number for number in range(80)})
    assert len(lines(nameless)) <= MAX_LINES


def test_the_same_holds_where_a_mapping_finds_nothing() -> None:
    parser = mapped(BodyMapping(title="there.is.none"), "mine")
    (alert,) = posted(parser, ARGO).alerts
    assert (alert.source, alert.title) == ("mine", "Sync failed")
    for name in PRESETS:
        group = posted(parsers({})[f"generic/{name}"], ARGO)
        assert [alert.title for alert in group.alerts] == ["Sync failed"], name
        assert len(lines(group)) <= MAX_LINES


def test_what_grafana_and_alertmanager_send_is_theirs_here_too() -> None:
    group = {
        "receiver": "r", "status": "firing", "groupKey": "k", "groupLabels": {}, "version": "4",
        "alerts": [{"status": "firing", "labels": {"alertname": "Down"}, "annotations": {}, "fingerprint": "f"}],
    }  # fmt: skip
    assert (told(group).source, told(group).title) == ("alertmanager", "Down")
    legacy = {"title": "[Alerting] CPU", "ruleName": "CPU", "ruleId": 7, "state": "alerting", "evalMatches": []}
    assert (told(legacy).source, told(legacy).status) == ("grafana", AlertStatus.FIRING)


def test_a_mapping_of_one_s_own_can_say_what_its_bodies_look_like() -> None:
    own = {"backup": BodyMapping(title="job.name", status="result", shape="job && result")}
    sources = registry_of(own)
    (alert,) = posted(sources["generic"], {"job": {"name": "nightly"}, "result": "failed"}).alerts
    assert (alert.source, alert.title, alert.state) == ("backup", "nightly", "failed")
    # One that takes the place of another is for its bodies.
    (alert,) = posted(
        registry_of({"gitlab": BodyMapping(title="project.name")})["generic"],
        {"object_kind": "pipeline", "project": {"name": "web", "path_with_namespace": "shop/web"}},
    ).alerts
    assert (alert.source, alert.title) == ("gitlab", "web")


def registry_of(mappings: dict[str, BodyMapping]) -> Any:
    from wxbridge import registry

    return registry.SourceTable(mappings)


KNOWN = {"name": ("x",), "status": ("firing", "ok", 1), "url": ("https://x",), "severity": ("high",), "data": ()}


@given(json_values(**KNOWN))
def test_any_json_is_told_within_the_bounds(data: Any) -> None:
    check_told(parse, data, JSON_TYPE)
    if isinstance(data, dict) and json.dumps(data) != "{}":
        group = parse(json.dumps(data).encode(), JSON_TYPE)
        if len(group.alerts) == 1 and "body" in group.alerts[0].annotations:
            assert len(lines(group)) <= MAX_LINES
