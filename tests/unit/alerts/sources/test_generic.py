from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.alerts.sources.source_checks import (
    FORM_TYPE,
    JSON_TYPE,
    ODD,
    check_told,
    check_told_or_refused,
    check_usable,
    json_values,
    posted,
    spoiled,
)
from wxbridge.alerts.sources.generic import parse
from wxbridge.alerts.sources.status_words import ReadStatus, read_status
from wxbridge.cli import sample_alerts as samples
from wxbridge.core.errors import BadBody
from wxbridge.core.model import Alert, AlertStatus, PictureSpec, Value

WHOLE: dict[str, Any] = {
    "title": "Backup failed",
    "text": "the disk is full",
    "status": "failed",
    "severity": "warning",
    "labels": {"host": "db-1"},
    "values": {"used": 92.3},
    "link": "https://example.com/backup",
    "image": "https://example.com/backup.png",
}
BOUNDARY = b"--XX\r\n"


def alert_of(**fields: Any) -> Alert:
    (alert,) = posted(parse, {"title": "t"} | fields).alerts
    return alert


def multipart(**fields: str) -> bytes:
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode() for name, text in fields.items()
    ]
    return BOUNDARY + BOUNDARY.join(parts) + b"--XX--\r\n"


# ---------------------------------------------------------------- what it takes


def test_every_field_is_read() -> None:
    group = posted(parse, WHOLE)
    (alert,) = group.alerts
    assert (group.source, group.title, group.group_key) == ("generic", "Backup failed", alert.fingerprint)
    assert (alert.status, alert.state, alert.title) == (AlertStatus.FIRING, "failed", "Backup failed")
    assert alert.labels == {"host": "db-1", "severity": "warning"}
    assert alert.annotations == {"message": "the disk is full"}
    assert alert.values == (Value("used", 92.3),)
    assert alert.link == "https://example.com/backup"
    url = "https://example.com/backup.png"
    assert alert.picture == PictureSpec("fetch", {"url": url}, link=url)


@pytest.mark.parametrize(
    "headers",
    [JSON_TYPE, FORM_TYPE, {}, {"Content-Type": "text/plain"}, {"content-type": "APPLICATION/JSON; charset=x"}],
)
def test_json_is_read_whatever_its_content_type_says(headers: dict[str, str]) -> None:
    assert parse(json.dumps(WHOLE).encode(), headers) == posted(parse, WHOLE)


@pytest.mark.parametrize("headers", [FORM_TYPE, {}, {"Content-Type": "text/html"}])
def test_a_form_is_read_with_its_objects_as_json_or_as_tags(headers: dict[str, str]) -> None:
    simple = {name: text for name, text in WHOLE.items() if isinstance(text, str)}
    for labels in ('{"host": "db-1"}', "host=db-1", "host: db-1"):
        fields = simple | {"labels": labels, "values": '{"used": 92.3}'}
        assert parse(urlencode(fields).encode(), headers) == posted(parse, WHOLE)
        assert parse(multipart(**fields), headers) == posted(parse, WHOLE)


def test_several_alerts_may_come_together() -> None:
    group = posted(parse, {"title": "Nightly", "alerts": [{"title": "a", "status": "ok"}, {"title": "b"}, "c"]})
    assert (group.title, [alert.title for alert in group.alerts]) == ("Nightly", ["a", "b", "c"])
    assert [alert.status for alert in group.alerts[:2]] == [AlertStatus.RESOLVED, AlertStatus.FIRING]
    assert [alert.title for alert in posted(parse, [{"title": "a"}, {"title": "b"}]).alerts] == ["a", "b"]


def test_of_very_many_alerts_the_first_are_read_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxbridge.alerts.sources.generic.MAX_ALERTS_PER_BODY", 3)
    group = posted(parse, {"alerts": [{"title": "a"}] * 5})
    assert (len(group.alerts), group.truncated) == (3, 2)


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (b'{"text": "hello"}', JSON_TYPE, "hello"),
        (b'{"text": "hello", "channel": "#ops"}', JSON_TYPE, "hello"),
        (b'"hello"', JSON_TYPE, "hello"),
        (b"text=hello+world", FORM_TYPE, "hello world"),
        (b"disk is full", {"Content-Type": "text/plain"}, "disk is full"),
        (b"disk is full", FORM_TYPE, "disk is full"),
        (b"disk is full\n", {}, "disk is full"),
        (b"a=b & c", {"Content-Type": "text/plain"}, "a=b & c"),
        (b"[WARN] disk", {"Content-Type": "text/plain; charset=utf-8"}, "[WARN] disk"),
        (b"{not json}", FORM_TYPE, "{not json}"),
        ("磁盘已满".encode(), {}, "磁盘已满"),
        (b"5", JSON_TYPE, "5"),
        (b'{"unknown": 1}', JSON_TYPE, '{\n "unknown": 1\n}'),
        (b'{"text": null}', JSON_TYPE, '{\n "text": null\n}'),
        (b'{"status": "down"}', JSON_TYPE, '{\n "status": "down"\n}'),
        (b"disk", JSON_TYPE, "disk"),
        (b'{"title": ', JSON_TYPE, '{"title":'),
        (b'{"title": ', {}, '{"title":'),
        (b'["a", 1]', JSON_TYPE, '[\n "a",\n 1\n]'),
    ],
)
def test_what_is_no_alert_is_told_as_text(body: bytes, headers: dict[str, str], text: str) -> None:
    group = parse(body, headers)
    assert (group.alerts, group.text, group.dedupe) == ((), text, None)
    check_usable(group)


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"", {}, "empty"),
        (b" ", FORM_TYPE, "empty"),
        (b"\xff", {"Content-Type": "text/plain"}, "no text"),
        (b"null", {}, "nothing in the body"),
        (b"[]", {}, "nothing in the body"),
        (b"title=\xff", FORM_TYPE, "not UTF-8"),
        (b"a=1&" * 101 + b"title=x", FORM_TYPE, "more than 100 fields"),
        (BOUNDARY + b"Content-Disposition: form-data\r\n\r\nx\r\n" + BOUNDARY * 101, FORM_TYPE, "100 fields"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(body: bytes, headers: dict[str, str], words: str) -> None:
    with pytest.raises(BadBody, match=words):
        parse(body, headers)


# ---------------------------------------------------------------- the parts of an alert


def test_without_a_title_the_first_line_of_the_text_is_one() -> None:
    (alert,) = posted(parse, {"text": "disk full\non db-1", "severity": "page"}).alerts
    assert (alert.title, dict(alert.annotations)) == ("disk full", {"message": "on db-1"})


@pytest.mark.parametrize("signs", ["{}", "✅ {}", "[{}]", "🔴{}!"])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("ok UP Resolved success recovery false 已恢复", AlertStatus.RESOLVED),
        ("PROBLEM alert 故障", AlertStatus.FIRING),
        ("no_data NoData No-Data", AlertStatus.NO_DATA),
    ],
)
def test_a_status_is_read_by_its_word_whatever_signs_stand_around_it(
    words: str, status: AlertStatus, signs: str
) -> None:
    for word in words.split():
        assert read_status(signs.format(word)) == ReadStatus(status)


@pytest.mark.parametrize("value", ["0", 0, 0.0, False, " Resolved "])
def test_these_values_say_that_it_is_over(value: Any) -> None:
    assert read_status(value) == ReadStatus(AlertStatus.RESOLVED)


@pytest.mark.parametrize("value", [1, "1", True, "", None])
def test_these_values_say_that_it_goes_on(value: Any) -> None:
    assert read_status(value) == ReadStatus(AlertStatus.FIRING)


@pytest.mark.parametrize(
    ("words", "state"),
    [("failure FAILED failed 失败 构建失败", "failed"), ("timed_out Timed-Out", "timed_out"),
     ("startup_failure", "startup_failure"), ("UNSTABLE", "unstable")],
)  # fmt: skip
def test_what_failed_fires_and_says_how(words: str, state: str) -> None:
    assert {read_status(word) for word in words.split()} == {ReadStatus(state=state)}
    assert alert_of(status=words.split(maxsplit=1)[0]).fingerprint


@pytest.mark.parametrize(
    ("words", "state"),
    [("skipped 已跳过", "skipped"), ("neutral", "neutral"), ("cancelled CANCELED 已取消", "cancelled"),
     ("ABORTED", "aborted"), ("NOT_BUILT", "not_built"), ("stale", "stale"), ("action_required", "action_required"),
     ("maintenance 维护中", "maintenance")],
)  # fmt: skip
def test_what_ended_without_a_verdict_is_told_and_does_not_fire(words: str, state: str) -> None:
    for word in words.split():
        alert = alert_of(status=word, severity="critical")
        assert (alert.is_test, alert.fingerprint, alert.state) == (True, "", state)


@pytest.mark.parametrize("word", ["queued", "in_progress", "In Progress", "STARTED", "pending", "running", "进行中"])
def test_what_only_goes_on_is_no_news(word: str) -> None:
    assert not posted(parse, {"title": "CI", "status": word}).is_news
    group = posted(parse, {"alerts": [{"title": "a", "status": word}, {"title": "b", "status": "failed"}]})
    assert [alert.title for alert in group.alerts] == ["b"]


def test_an_unknown_word_is_told_as_an_alert_with_it() -> None:
    assert read_status("acknowledged") == ReadStatus(AlertStatus.FIRING, "acknowledged")
    assert read_status(7) == ReadStatus(AlertStatus.FIRING, "7")
    alert = alert_of(status={"a": 1})
    assert (alert.status, alert.state) == (AlertStatus.FIRING, '{"a": 1}')


@pytest.mark.parametrize(
    ("given_labels", "labels"),
    [
        ({"a": "x", "b": 5, "c": True, "d": None, "e": ""}, {"a": "x", "b": "5", "c": "true"}),
        ({"tags": {"team": "db"}, "list": ["env:prod"]}, {"team": "db", "env": "prod"}),
        ("a=x,b = y ,c", {"a": "x", "b": "y"}),
        ("scope:performance, url:http://x", {"scope": "performance", "url": "http://x"}),
        (["a=x", "b=c=d", ""], {"a": "x", "b": "c=d"}),
        ([{"tag": "a", "value": "x"}, {"name": "b", "value": 1}, {"key": "c"}, {}], {"a": "x", "b": "1"}),
        ('[{"tag": "a", "value": "x"}]', {"a": "x"}),
        (None, {}),
    ],
)
def test_labels_are_read_as_monitors_write_them(given_labels: Any, labels: dict[str, str]) -> None:
    found = alert_of(labels=given_labels).labels
    assert {name: text for name, text in found.items() if text} == labels


@pytest.mark.parametrize(
    ("given_values", "values"),
    [
        ({"a": 1, "b": "2.5", "c": "high"}, [Value("a", 1.0), Value("b", 2.5), Value("c", text="high")]),
        ({"d": None}, [Value("d")]),
        ({"ping": {"value": 12, "unit": "ms"}}, [Value("ping", 12.0, unit="ms")]),
        ([{"name": "a", "value": 1, "labels": {"x": "y"}}], [Value("a", 1.0, labels={"x": "y"})]),
        ([5], [Value("value", 5.0)]),
        (92.5, [Value("value", 92.5)]),
        ("92 %", [Value("value", text="92 %")]),
        (None, []),
        ("", []),
        (False, []),
    ],
)  # fmt: skip
def test_values_are_read_with_name_number_and_unit(given_values: Any, values: list[Value]) -> None:
    assert alert_of(values=given_values).values == tuple(values)


def test_a_picture_may_be_an_address_or_travel_inside() -> None:
    inside = base64.b64encode(samples.chart_png()).decode()
    expected = PictureSpec("fetch", {"url": f"data:image/png;base64,{inside}"})
    assert alert_of(image=inside).picture == expected
    assert alert_of(image="\n".join(inside[at : at + 76] for at in range(0, len(inside), 76))).picture == expected
    assert alert_of(image="data:image/gif;base64,xx").picture == PictureSpec(
        "fetch", {"url": "data:image/gif;base64,xx"}
    )
    assert alert_of(image=None).picture is None


def test_a_picture_may_be_uploaded_with_the_form() -> None:
    body = (
        BOUNDARY + b'Content-Disposition: form-data; name="title"\r\n\r\nDisk\r\n' + BOUNDARY
        + b'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        + b"\x89PNG\r\n\x1a\n\r\n" + b"--XX--\r\n"
    )  # fmt: skip
    (alert,) = parse(body, {"Content-Type": "multipart/form-data; boundary=XX"}).alerts
    encoded = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    assert alert.picture == PictureSpec("fetch", {"url": f"data:image/png;base64,{encoded}"})


def test_a_problem_and_its_recovery_are_of_one_alert() -> None:
    down = alert_of(title="[DOWN] Web", labels={"host": "a"}, status="down", severity="critical", values={"v": 1})
    up = alert_of(title="[UP] Web", labels={"host": "a"}, status="up", values={"v": 2})
    assert down.fingerprint == up.fingerprint
    assert alert_of(title="Web", labels={"host": "b"}).fingerprint != down.fingerprint
    assert alert_of(title="anything", id=4711).fingerprint == "4711"


@pytest.mark.parametrize("field", [*WHOLE, "id", "alerts"])
def test_a_field_of_any_type_loses_nothing_else(field: str) -> None:
    for value in ODD:
        group = posted(parse, WHOLE | {field: value})
        if field != "alerts":
            assert group.alerts[0].link or field == "link", value
            assert group.alerts[0].title, value


@given(spoiled([WHOLE, {"alerts": [WHOLE, WHOLE]}, json.loads(samples.SAMPLES["generic"].body())]))
def test_a_spoiled_body_is_told(data: Any) -> None:
    posted(parse, data)


@given(json_values(alerts=(), **dict.fromkeys((*WHOLE, "id", "tag", "value", "name"), ("k=v", "[]", "{", '{"a":1}'))))
def test_any_json_is_told(data: Any) -> None:
    check_told(parse, data, JSON_TYPE)


FORM_WORDS = ["title=", "text=", "&", "=", "%7B", "{", "[", '"', "}", "labels=", "--XX\r\n", "\r\n\r\n", "payload=",
              'Content-Disposition: form-data; name="title"', "--XX--", "a"]  # fmt: skip


FORMS = st.lists(st.sampled_from(FORM_WORDS) | st.text(max_size=3), max_size=12).map("".join).map(str.encode)
TYPES = st.sampled_from([JSON_TYPE, FORM_TYPE, {"Content-Type": "text/plain"}, {"Content-Type": "multipart/form-data"}])


@given(FORMS | st.binary(), TYPES | st.just({}))
def test_any_bytes_are_told_or_refused_with_a_sentence(body: bytes, headers: dict[str, str]) -> None:
    check_told_or_refused(parse, body, headers)
