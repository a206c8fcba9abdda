from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import payload_bytes
from tests.unit.alerts.composing import compose_bodies
from tests.unit.alerts.sources.source_checks import ODD, check_told, check_usable, posted
from wxbridge import registry
from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.sources.by_content import parse_grafana as parse
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import MAX_JSON_DEPTH, as_number, as_text, as_time
from wxbridge.core.model import AlertStatus, PictureSpec, Text, Value


def alert_of(**fields: Any) -> Any:
    (alert,) = parse(json.dumps(fields).encode(), {}).alerts
    return alert


def test_a_firing_alert_has_all_that_grafana_said() -> None:
    alert = parse(payload_bytes("grafana/legacy_alerting"), {}).alerts[0]
    assert alert.status is AlertStatus.FIRING
    assert alert.title == "[Alerting] Panel Title alert"
    assert alert.values == (Value("Count", 1.0),)
    panel = {"__dashboardId__": "1", "__panelId__": "2", "__orgId__": "1", "__ruleId__": "1"}
    assert alert.annotations == {"message": "Notification Message", **panel}
    assert alert.labels == {"tag name": "tag value", "alertname": "Panel Title alert"}
    url = "https://grafana.com/assets/img/blog/mixed_styles.png"
    assert alert.picture == PictureSpec("fetch", {"url": url}, link=url)
    assert alert.link
    assert alert.link.endswith("?fullscreen&edit&tab=alert&panelId=2&orgId=1")
    assert alert.fingerprint == "1:1"


def test_an_old_grafana_leaves_out_the_numbers_of_the_dashboard() -> None:
    alert = parse(payload_bytes("grafana/legacy_ok"), {}).alerts[0]
    assert alert.status is AlertStatus.RESOLVED
    assert alert.values == ()
    assert alert.picture is None


def test_no_data_is_a_status_of_its_own() -> None:
    assert parse(payload_bytes("grafana/legacy_no_data"), {}).alerts[0].status is AlertStatus.NO_DATA


def test_the_test_notification_has_tags_of_null_and_a_huge_rule() -> None:
    alert = parse(payload_bytes("grafana/legacy_test_notification"), {}).alerts[0]
    assert alert.values == (Value("High value", 100.0), Value("Higher Value", 200.0))
    assert (alert.fingerprint, alert.is_test, alert.picture) == ("", True, None)


def test_grafana_four_wrote_its_addresses_with_an_underscore() -> None:
    alert = alert_of(title="t", state="alerting", rule_url="http://g/d", image_url="http://g/i.png")
    assert alert.link == "http://g/d"
    assert alert.picture.params == {"url": "http://g/i.png"}


@pytest.mark.parametrize(
    ("state", "status", "shown"),
    [
        ("alerting", AlertStatus.FIRING, ""),
        ("Alerting", AlertStatus.FIRING, ""),
        ("ok", AlertStatus.RESOLVED, ""),
        ("OK ", AlertStatus.RESOLVED, ""),
        ("no_data", AlertStatus.NO_DATA, ""),
        ("paused", AlertStatus.FIRING, "paused"),
        ("pending", AlertStatus.FIRING, "pending"),
        ("", AlertStatus.FIRING, ""),
        (None, AlertStatus.FIRING, ""),
        (5, AlertStatus.FIRING, "5"),
        ({"a": 1}, AlertStatus.FIRING, '{"a": 1}'),
    ],
)
def test_an_unknown_state_is_told_as_an_alert_with_its_name(state: Any, status: AlertStatus, shown: str) -> None:
    alert = alert_of(title="t", state=state)
    assert (alert.status, alert.state) == (status, shown)


def test_without_a_title_the_rule_gives_its_name() -> None:
    assert alert_of(ruleName="Disk", state="alerting").title == "Disk"
    assert alert_of(title=None, ruleName="Disk").title == "Disk"
    assert alert_of(title="  ", ruleName="").title == ""


def test_an_alert_by_execution_error_has_no_matches() -> None:
    assert alert_of(title="t", state="alerting", evalMatches=[]).values == ()
    assert alert_of(title="t", state="alerting", evalMatches=None).values == ()


@pytest.mark.parametrize(
    ("match", "value"),
    [
        ({"metric": "m", "value": None}, Value("m")),
        ({"metric": "m", "value": "12.5"}, Value("m", 12.5)),
        ({"metric": "m", "value": "high"}, Value("m", text="high")),
        ({"metric": "m", "value": True}, Value("m", text="true")),
        ({"metric": "m", "value": [1]}, Value("m", text="[1]")),
        ({"metric": None, "value": 1}, Value("value", 1.0)),
        ({"metric": 5, "value": 1, "tags": {"a": None, "b": 1}}, Value("5", 1.0, labels={"a": "", "b": "1"})),
        ({"metric": "m", "value": 1, "tags": "x"}, Value("m", 1.0)),
        ("just words", Value("just words")),
        (None, Value("")),
    ],
)
def test_a_match_of_the_wrong_type_tells_what_there_was(match: Any, value: Value) -> None:
    assert alert_of(title="t", evalMatches=[match]).values == (value,)


def matches(*each: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    found = alert_of(title="t", evalMatches=[{"value": 1} | match for match in each]).values
    return [(value.name, dict(value.labels)) for value in found]


def test_matches_without_a_name_are_named_by_what_differs() -> None:
    up = {"__name__": "up", "job": "node"}
    alike = [{"metric": "", "tags": up | {"instance": name, "rack": "1"}} for name in ("a1", "b1")]
    assert [name for name, _ in matches(*alike)] == ["a1", "b1"]
    braces = [{"metric": f'{{instance="{name}"}}', "tags": {"instance": name}} for name in ("a1", "b1")]
    assert [name for name, _ in matches(*braces)] == ["a1", "b1"]
    metrics = [{"metric": "", "tags": {"__name__": name, "job": "node"}} for name in ("up", "down")]
    assert matches(*metrics) == [("up", {}), ("down", {})]
    pairs = [{"metric": "", "tags": up | {"a": a, "b": b}} for a, b in ("12", "13", "23")]
    assert matches(*pairs) == [("up", {"a": a, "b": b}) for a, b in ("12", "13", "23")]
    assert matches({"metric": "", "tags": up}) == [("up", {"job": "node"})]


def test_a_number_beyond_all_floats_is_written_as_it_came() -> None:
    body = b'{"title": "t", "evalMatches": [{"metric": "m", "value": 1' + b"0" * 400 + b"}]}"
    assert parse(body, {}).alerts[0].values[0].text == "1" + "0" * 400


def test_not_a_number_is_said_so() -> None:
    body = b'{"title": "t", "evalMatches": [{"metric": "a", "value": NaN}, {"metric": "b", "value": -Infinity}]}'
    (text,) = compose_bodies(parse(body, {}))
    assert text == Text("🔥 t\na: NaN\nb: -Inf")


@pytest.mark.parametrize("body", ["{}", '"words"', "5", "true", '{"unknown": 1}', "[1, [2]]"])
def test_what_is_json_but_no_alert_is_told_as_text(body: str) -> None:
    group = parse(body.encode(), {})
    assert group.alerts == ()
    assert json.loads(group.text or "") == json.loads(body) if body != '"words"' else group.text == "words"
    check_usable(group)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty"),
        (b" \n", "The body is empty"),
        (b"\xff\xfe", "The body is empty"),
        (b"null", "There is nothing in the body"),
        (b" [ ] ", "There is nothing in the body"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0", "The body is no text"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * (MAX_JSON_DEPTH + 1) + b"]" * (MAX_JSON_DEPTH + 1), "nested too deeply"),
        (b"1" * 5000, "a number too long to read"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(body: bytes, words: str) -> None:
    with pytest.raises(BadBody, match=words):
        parse(body, {})


def test_what_is_no_json_is_told_as_text() -> None:
    for body in ("title=x", '{"title": "x"', "<html></html>"):
        group = parse(body.encode(), {})
        assert (group.alerts, group.text) == ((), body)


OWN = {"title": "Disk", "text": "important words", "severity": "critical", "status": "resolved",
       "labels": {"host": "db-1"}, "link": "http://x.example.com/"}  # fmt: skip


@pytest.mark.parametrize("hook", ["grafana", "alertmanager"])
@pytest.mark.parametrize(
    "data",
    [
        OWN,
        {"title": "Disk", "message": "m", "state": "resolved", "severity": "critical"},
        {"title": "Disk", "ruleName": "Disk", "content": "all of it", "level": "critical"},
        {"alerts": [OWN, OWN | {"title": "Memory"}]},
        [OWN, OWN | {"title": "Memory", "status": "firing"}],
        {"event": {"name": "Disk", "severity": "critical"}, "state": "OK"},
        [{"labels": {"alertname": "Disk"}, "annotations": {}, "startsAt": "2026-01-01T00:00:00Z"}],
    ],
)
def test_what_is_no_notification_of_grafanas_is_read_as_any_other_body(hook: str, data: Any) -> None:
    table = registry.SourceTable({})
    assert posted(table[hook], data) == posted(table["generic"], data)
    assert posted(table[hook], data).alerts


def test_a_text_at_the_wrong_hook_is_told_as_what_it_says() -> None:
    group = posted(registry.SourceTable({})["grafana"], {"message": "hello"})
    assert (group.source, group.alerts, group.title, group.text) == ("grafana", (), "grafana", "hello")


@pytest.mark.parametrize(
    "more", [{"evalMatches": []}, {"ruleId": 1, "ruleName": "Disk"}, {"ruleUrl": "http://g/d", "ruleName": "Disk"}]
)
def test_a_notification_with_a_field_that_nobody_knows_is_grafanas_still(more: dict[str, Any]) -> None:
    body = {"title": "[OK] Disk", "state": "ok", "addedByAProxy": 1, **more}
    (alert,) = posted(registry.SourceTable({})["grafana"], body).alerts
    assert (alert.source, alert.status, alert.title) == ("grafana", AlertStatus.RESOLVED, "[OK] Disk")


@pytest.mark.parametrize(
    "body",
    [
        {"title": "[Alerting] Disk", "evalMatches": [{"metric": "a", "value": 1}], "imageUrl": "http://g/i.png"},
        {"title": "[Alerting] Disk", "imageUrl": "http://g/i.png", "message": "m"},
    ],
)
def test_a_title_with_matches_or_a_picture_is_enough_for_a_notification(body: dict[str, Any]) -> None:
    (alert,) = posted(registry.SourceTable({})["grafana"], body).alerts
    assert alert.source == "grafana"
    assert alert.picture
    assert alert.picture.params == {"url": "http://g/i.png"}


@pytest.mark.parametrize("hook", ["grafana", "generic"])
def test_a_state_that_is_an_end_never_fires(hook: str) -> None:
    for word in ("resolved", "recovered", "OK"):
        (alert,) = posted(registry.SourceTable({})[hook], {"title": "Disk", "message": "m", "state": word}).alerts
        assert alert.status is AlertStatus.RESOLVED


@pytest.mark.parametrize("name", ["grafana/legacy_alerting", "grafana/unified_firing_v12", "alertmanager/v4_captured"])
def test_alerts_of_grafana_and_alertmanager_are_known_where_machines_post(name: str) -> None:
    table, body = registry.SourceTable({}), payload_bytes(name)
    assert table["host"](body, {}) == table["generic"](body, {})


def test_a_deep_body_that_is_read_can_be_told() -> None:
    for body in (
        "[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH,
        '{"title": ' + '{"a": ' * 298 + '"\\ud800"' + "}" * 298 + "}",
    ):
        check_usable(parse(body.encode(), {}))


def test_a_byte_order_mark_does_no_harm() -> None:
    assert parse(b'\xef\xbb\xbf{"title": "t"}', {}).title == "t"


def test_half_a_character_is_replaced_and_a_whole_one_stays() -> None:
    group = parse(rb'{"title": "a\ud83d b\ud83d\ude00", "tags": {"\udc00": "x"}, "message": ["\uD800"]}', {})
    assert group.title == "a\ufffd b😀"
    check_usable(group)


def test_nul_characters_are_left_out() -> None:
    group = parse(rb'{"title": "a\u0000b", "tags": {"\u0000k": "\u0000v"}, "evalMatches": ["\u0000"]}', {})
    assert group.title == "ab"
    assert group.alerts[0].labels == {"k": "v"}
    check_usable(group)
    check_usable(parse(rb'{"x": "a\u0000b"}', {}))
    check_usable(parse(rb'"a\u0000b"', {}))


@pytest.mark.parametrize(
    "field",
    [
        "title",
        "ruleName",
        "state",
        "message",
        "tags",
        "evalMatches",
        "ruleUrl",
        "imageUrl",
        "orgId",
        "ruleId",
        "panelId",
    ],
)
def test_a_field_of_any_type_loses_nothing_else(field: str) -> None:
    for value in ODD:
        data = json.loads(payload_bytes("grafana/legacy_alerting")) | {field: value}
        group = parse(json.dumps(data).encode(), {})
        check_usable(group)
        (text, *_) = compose_bodies(group)
        assert isinstance(text, Text)
        for name, words in {"title": "Panel Title", "message": "Notification Message", "evalMatches": "Count: 1",
                            "ruleUrl": "http://localhost:3000"}.items():  # fmt: skip
            assert field == name or words in text.text, value


def test_a_picture_that_travels_inside_is_no_link_for_a_person() -> None:
    assert alert_of(title="t", imageUrl="data:image/png;base64,xx").picture.link is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
FIELDS = st.sampled_from(
    ["title", "state", "ruleName", "ruleId", "evalMatches", "tags", "message", "imageUrl", "ruleUrl"]
)
MATCHES = st.lists(st.fixed_dictionaries({}, optional={"metric": JSON, "value": JSON, "tags": JSON}), max_size=3)


@given(JSON)
def test_any_json_is_told(data: Any) -> None:
    check_told(parse, data, {})


@given(st.dictionaries(FIELDS, JSON | MATCHES))
def test_any_json_in_the_known_fields_is_told(data: Any) -> None:
    check_usable(parse(json.dumps(data).encode(), {}))


@given(st.binary() | st.text(st.sampled_from('{}[]":,0123456789eE+-.ntrufalsd\\ /\ud800'), max_size=60).map(
    lambda text: text.encode("utf-8", "surrogatepass")))  # fmt: skip
@example(b'"\\ud800"')
@example(b"-")
@example(b"1e999")
@example(b"-0")
def test_any_bytes_are_told_or_refused_with_a_sentence(body: bytes) -> None:
    try:
        group = parse(body, {})
    except BadBody as error:
        assert str(error).endswith(".")  # noqa: PT017 - either outcome is right
    else:
        check_usable(group)


# ---------------------------------------------------------------- what every source reads with


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (1.5, 1.5),
        ("2.5", 2.5),
        (" 3 ", 3.0),
        (True, None),
        ("x", None),
        (None, None),
        ([], None),
        (10**400, None),
    ],
)
def test_a_number_is_a_number_or_a_text_that_is_one(value: Any, number: float | None) -> None:
    assert as_number(value) == number


def test_a_value_becomes_text_as_people_write_it() -> None:
    assert [as_text(value) for value in (None, "a", 5, True, {"数": [1]})] == ["", "a", "5", "true", '{"数": [1]}']


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
        "yesterday",
        "",
        None,
        5,
        {},
    ],
)
def test_what_is_no_moment_is_none(value: Any) -> None:
    assert as_time(value) is None


def test_a_moment_of_any_zone_is_told_in_utc_also_with_nanoseconds() -> None:
    for text in ("2026-01-02T03:04:05Z", "2026-01-02T11:04:05.123456789+08:00"):
        moment = as_time(text)
        assert moment is not None
        assert moment.timestamp() // 1 == 1767323045
        assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("title", "metric", "is_low_worse"),
    [
        ("[Alerting] CPU usage", "cpu", False),
        ("[Alerting] 队列过长", "queue", False),
        ("[Alerting] 磁盘剩余空间不足", "disk", True),
        ("[Alerting] Free space below 10 %", "disk", True),
        ("[Alerting] Disks", "node_filesystem_avail_bytes", True),
        ("[Alerting] 可用内存过低，使用率超过 90%", "memory", False),
    ],
)
def test_of_many_matches_the_worst_is_told_first_and_in_full(title: str, metric: str, is_low_worse: bool) -> None:
    numbers = [50.0 + number * (-1) ** number for number in range(27)]
    matches = [{"metric": f"{metric} h{at}", "value": number, "tags": None} for at, number in enumerate(numbers)]
    body = {"title": title, "state": "alerting", "ruleId": 1, "evalMatches": [*matches, {"metric": "x", "value": None}]}
    group = parse(json.dumps(body).encode(), {})
    (alert,) = group.alerts
    assert [value.number for value in alert.values] == [*sorted(numbers, reverse=not is_low_worse), None]
    told = write_text(group, "en", UTC, datetime.now(UTC)).splitlines()
    assert told[1].endswith(f": {min(numbers) if is_low_worse else max(numbers):g}")
    assert told[-1] == "… and 8 more"
