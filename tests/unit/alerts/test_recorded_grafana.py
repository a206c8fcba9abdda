"""Every notification that was recorded from real Grafanas, as people read it.

`told/` has the texts, each below a line `=== VERSION/NAME`; the bodies are in `tests/payloads/grafana/`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support import REPOSITORY, payload_bytes
from tests.unit.alerts.sources.source_checks import check_usable
from wxbridge.alerts.alert_text import MAX_HEADLINE_CHARS, write_text
from wxbridge.alerts.intake import prepare_group
from wxbridge.alerts.panels import panel_of
from wxbridge.alerts.sources.by_content import parse_alertmanager, parse_grafana
from wxbridge.core.model import AlertGroup, AlertStatus, Value
from wxbridge.core.pictures import PanelAddress
from wxbridge.core.text.i18n import Language

NOW = datetime(2026, 11, 29, 18, 30, tzinfo=UTC)
PAYLOADS = REPOSITORY / "tests" / "payloads" / "grafana"
NAMES = sorted(
    str(path.relative_to(PAYLOADS).with_suffix(""))
    for path in PAYLOADS.glob("*/*.json")
    if not path.name.startswith("api-")
)
TOLD = Path(__file__).parent / "told"


def body_of(name: str) -> bytes:
    body = payload_bytes(f"grafana/{name}")
    data = json.loads(body)
    return json.dumps(data["body"]).encode() if "method" in data else body


def group_of(name: str) -> AlertGroup:
    return prepare_group(parse_grafana(body_of(name), {}))


def text_of(name: str, language: Language) -> str:
    return write_text(group_of(name), language, ZoneInfo("Asia/Shanghai"), NOW)


def read_told(language: Language) -> dict[str, str]:
    parts = (TOLD / f"grafana-{language}.txt").read_text(encoding="utf-8").split("=== ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_real_grafanas_sent_reads_like_this(language: Language) -> None:
    told = {name: text_of(name, language) for name in NAMES}
    assert told == read_told(language)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_notification_has_a_headline_for_a_phone_and_its_labels_whole(name: str) -> None:
    group = group_of(name)
    check_usable(group)
    headline = text_of(name, "zh").partition("\n")[0]
    assert len(headline) <= MAX_HEADLINE_CHARS + 2
    assert "[FIRING" not in headline
    assert "__name__" not in text_of(name, "en")


@pytest.mark.parametrize("name", [name for name in NAMES if "test-button" in name])
def test_a_test_press_has_neither_identity_nor_picture_nor_link_to_what_is_made_up(name: str) -> None:
    (alert,) = group_of(name).alerts
    assert (alert.is_test, alert.fingerprint, alert.picture) == (True, "", None)
    assert "dashboard" not in alert.links
    assert not any(note.startswith("__") for note in alert.annotations)


def test_a_real_alert_of_an_instance_called_grafana_is_no_test() -> None:
    data = json.loads(body_of("12.4.0/signed-with-timestamp"))
    data["alerts"][0]["labels"]["instance"] = "Grafana"
    (alert,) = parse_grafana(json.dumps(data).encode(), {}).alerts
    assert (alert.is_test, alert.fingerprint) == (False, "e7935708615a84b0")


def test_an_empty_receiver_is_a_test_whatever_its_labels() -> None:
    data = json.loads(body_of("9.4.0/test-button"))
    data |= {"groupKey": "k", "commonLabels": {}}
    data["alerts"][0]["labels"] = {"alertname": "mine", "instance": "Grafana", "team": "db"}
    assert parse_grafana(json.dumps(data).encode(), {}).alerts[0].is_test


def test_a_test_with_labels_and_a_key_of_its_own_is_known_by_its_dashboard() -> None:
    data = json.loads(body_of("12.4.0/test-button"))
    data["groupKey"] = "k"
    data["alerts"][0]["labels"] = {"alertname": "mine", "team": "db"}
    assert parse_grafana(json.dumps(data).encode(), {}).alerts[0].is_test
    data["alerts"][0]["generatorURL"] = "https://grafana.example.com/alerting/grafana/u1/view?orgId=1"
    assert not parse_grafana(json.dumps(data).encode(), {}).alerts[0].is_test


# ---------------------------------------------------------------- no data


NO_DATA = "9.4.0/no-data-one-rule-for-each-query"


def no_data(*kept: str, status: str = "firing") -> list[tuple[str, AlertStatus]]:
    """What is left of the recorded group with some of its alerts: rule and query, as `Error rule A`."""
    data = json.loads(body_of(NO_DATA))
    called = {f"{each['labels']['rulename']} {each['labels']['ref_id']}": each for each in data["alerts"]}
    data["alerts"] = [called[name] | {"status": status, "endsAt": "2026-11-29T18:30:00Z"} for name in kept]
    group = parse_grafana(json.dumps(data).encode(), {})
    return [(f"{alert.title} {alert.labels['ref_id']}", alert.status) for alert in group.alerts]


def test_a_rule_without_data_is_told_once_and_not_for_its_expressions() -> None:
    assert no_data("Error rule C", "Error rule A", "No data rule A", "No data rule C") == [
        ("Error rule A", AlertStatus.NO_DATA),
        ("No data rule A", AlertStatus.NO_DATA),
    ]
    assert no_data("Error rule A", "Error rule C", status="resolved") == [("Error rule A", AlertStatus.RESOLVED)]


def test_no_data_that_is_to_alert_is_told_once_too() -> None:
    """Seen on 9.4: the rule's own alert, once for each query."""
    data = json.loads(body_of("12.4.0/no-data-as-alerting"))
    query = data["alerts"][0]
    labels = query["labels"] | {"ref_id": "C", "datasource_uid": "__expr__"}
    data["alerts"] = [query | {"labels": labels, "fingerprint": "twin"}, query]
    (alert,) = parse_grafana(json.dumps(data).encode(), {}).alerts
    assert (alert.status, alert.fingerprint) == (AlertStatus.NO_DATA, query["fingerprint"])


def test_an_expression_without_its_query_is_told() -> None:
    assert no_data("Error rule C") == [("Error rule C", AlertStatus.NO_DATA)]


# ---------------------------------------------------------------- made up after public reports


def text_of_case(name: str) -> list[str]:
    group = prepare_group(parse_alertmanager(payload_bytes(name), {}))
    return write_text(group, "zh", ZoneInfo("Asia/Shanghai"), NOW).splitlines()


def test_an_alert_of_grafanas_that_came_by_way_of_an_alertmanager_is_grafanas() -> None:
    (alert,) = parse_alertmanager(payload_bytes("alertmanager/grafana_passed_on"), {}).alerts
    assert (alert.source, alert.values) == ("grafana", (Value("A", 93.27),))
    assert panel_of(alert) == PanelAddress("7", "dash1", org="1")
    assert text_of_case("alertmanager/grafana_passed_on")[:2] == ["🔥 内存使用率", "A: 93.27"]


def test_a_rule_without_data_that_came_by_way_of_an_alertmanager_has_its_own_name() -> None:
    data = json.loads(payload_bytes("alertmanager/grafana_passed_on"))
    data["alerts"][0]["labels"] |= {"alertname": "DatasourceNoData", "rulename": "内存使用率"}
    (alert,) = parse_alertmanager(json.dumps(data).encode(), {}).alerts
    assert (alert.title, alert.status) == ("内存使用率", AlertStatus.NO_DATA)


def test_a_condition_that_says_only_yes_is_not_shown_beside_what_was_measured() -> None:
    assert text_of_case("grafana/threshold_is_one")[:3] == ["🔥 CPU", "RD1: 24.7748", "CPU 过高"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"A": 0, "C": 1}, ["A"]),
        ({"A": 1, "B": 57, "C": 1}, ["A", "B"]),
        ({"C": 1}, ["C"]),
        ({"A": 5, "C": 2}, ["A", "C"]),
    ],
)
def test_where_no_types_are_told_the_first_figure_is_what_was_measured(values: Any, told: list[str]) -> None:
    data = json.loads(payload_bytes("grafana/threshold_is_one"))
    data["alerts"][0] |= {"values": values, "valueString": ""}
    (alert,) = parse_grafana(json.dumps(data).encode(), {}).alerts
    assert [value.name for value in alert.values] == told


@pytest.mark.parametrize(
    ("reason", "words"), [("MissingSeries", "数据序列已消失"), ("Updated", "规则已修改"), ("X", "状态：X")]
)
def test_why_an_alert_ended_is_said_in_the_readers_words(reason: str, words: str) -> None:
    data = json.loads(body_of("12.4.0/resolved-after-failed-tries"))
    data["alerts"][0]["annotations"] = {"grafana_state_reason": reason}
    group = parse_grafana(json.dumps(data).encode(), {})
    assert write_text(group, "zh", UTC, NOW).splitlines()[1] == words


def test_a_classic_condition_that_one_series_matches_names_it() -> None:
    data = json.loads(body_of("9.4.0/classic-condition"))
    data["alerts"][0] |= {"valueString": data["alerts"][0]["valueString"].split(" ], ")[0] + " ]"}
    lines = write_text(parse_grafana(json.dumps(data).encode(), {}), "en", UTC, NOW).splitlines()
    assert lines[1] == "lab_queue: 1234567.891 (host=db-1, instance=web.example.com:9100, job=lab)"


def test_the_end_of_no_data_does_not_say_that_the_series_is_gone() -> None:
    """Seen on 12.4: Grafana ends its own alert of no data with that reason."""
    data = json.loads(body_of("12.4.0/no-data"))
    data["alerts"][0] |= {"status": "resolved", "annotations": {"grafana_state_reason": "MissingSeries"}}
    (alert,) = parse_grafana(json.dumps(data).encode(), {}).alerts
    assert (alert.status, alert.state) == (AlertStatus.RESOLVED, "")
