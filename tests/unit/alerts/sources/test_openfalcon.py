from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import payload_bytes
from tests.unit.alerts.composing import compose_bodies
from tests.unit.alerts.sources.source_checks import (
    FORM_TYPE,
    JSON_TYPE,
    ODD,
    check_told_or_refused,
    check_usable,
    posted,
)
from wxbridge.alerts.sources.openfalcon import parse
from wxbridge.core.errors import BadBody
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Text, Value

HIGH, TAGGED, MERGED, UNLINKED = (
    {"tos": form["tos"], "content": form["content"]} for form in json.loads(payload_bytes("openfalcon/forms"))["forms"]
)
MAIL = (
    "PROBLEM\r\nP0\r\nEndpoint:host-1\r\nMetric:cpu.idle\r\nTags:\r\nall(#3): 4.2<10\r\nNote:CPU空闲过低\r\n"
    "Max:3, Current:1\r\nTimestamp:2017-03-07 20:18:00\r\nhttp://portal.example.com/expression/view/1\r\n"
)


def group_of(**fields: str) -> AlertGroup:
    group = parse(urlencode(fields).encode(), FORM_TYPE)
    check_usable(group)
    return group


def alert_of(content: str, **fields: str) -> Alert:
    (alert,) = group_of(content=content, **fields).alerts
    return alert


def test_an_event_of_high_priority_is_read_to_the_last_word() -> None:
    group = group_of(**HIGH)
    assert group.recipients == ("zhangsan", "lisi")
    (alert,) = group.alerts
    assert (alert.source, alert.status, alert.title) == ("openfalcon", AlertStatus.FIRING, "CPU空闲过低")
    assert alert.labels == {
        "priority": "P0",
        "severity": "critical",
        "host": "host-1",
        "note": "CPU空闲过低",
        "func": "all(#3)",
        "metric": "cpu.idle",
        "type": "CPU空闲过低 cpu.idle",
    }
    assert alert.values == (Value("cpu.idle", 4.2, "4.2 (< 10)"),)
    assert (alert.annotations, alert.starts_at) == ({"time": "2017-03-07 20:18:00", "step": "1"}, None)
    assert (group.title, group.group_key, group.dedupe) == ("CPU空闲过低", alert.fingerprint, None)


def test_people_read_the_threshold_beside_the_value() -> None:
    (body,) = compose_bodies(group_of(**HIGH))
    assert isinstance(body, Text)
    assert "cpu.idle: 4.2 (< 10)" in body.text
    assert "2017-03-07 20:18:00" in body.text


def test_tags_are_labels_and_a_recovery_is_told() -> None:
    (alert,) = group_of(**TAGGED).alerts
    assert alert.status is AlertStatus.RESOLVED
    assert (alert.labels["fstype"], alert.labels["mount"]) == ("ext4", "/")
    assert alert.values == (Value("df.bytes.free.percent", 40.0, "40 (< 5)"),)


def test_a_problem_and_its_recovery_have_the_same_fingerprint_and_another_disk_has_not() -> None:
    content = TAGGED["content"]
    problem = content.replace("[OK]", "[PROBLEM]").replace("40<5", "3<5").replace("20:30", "20:18")
    first = group_of(content=problem)
    assert first.group_key == group_of(content=content).group_key
    for old, new in (("host-1", "host-2"), ("mount=/", "mount=/data"), ("磁盘不足", "磁盘"), ("df.bytes", "df.inodes")):
        assert group_of(content=content.replace(old, new)).group_key != first.group_key


@pytest.mark.parametrize(
    ("priority", "severity"), [(0, "critical"), (1, "critical"), (2, "warning"), (3, "info"), (6, "info")]
)
def test_the_priority_tells_the_severity(priority: int, severity: str) -> None:
    alert = alert_of(HIGH["content"].replace("[P0]", f"[P{priority}]"))
    assert (alert.labels["priority"], alert.labels["severity"]) == (f"P{priority}", severity)


def test_a_severity_among_the_tags_comes_first_and_other_tags_do_not_hide_what_we_know() -> None:
    alert = alert_of("[P0][PROBLEM][h][][n all(#3) m host=x,severity=page,type=t 1>0][O1 2017-03-07 20:18:00]")
    assert (alert.labels["severity"], alert.labels["host"], alert.labels["type"]) == ("page", "h", "n m")


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        ("数据库*主库延迟", "数据库"),
        ("db * slow", "db"),
        ("延迟", "延迟 m"),
        ("", "m"),
        ("*", "* m"),
        ("load(1min) [core] high", "load(1min) [core] high m"),
        ("all(#3) is odd", "all(#3) is odd m"),
    ],
)
def test_the_type_is_what_stands_before_the_star_else_note_and_metric(note: str, kind: str) -> None:
    alert = alert_of(f"[P1][PROBLEM][h][][{note} avg(#10) m  1>0][O2 2017-03-07 20:18:00]")
    assert alert.labels["type"] == kind
    assert alert.title == (note or "h m")
    assert alert.labels["func"] == "avg(#10)"


@pytest.mark.parametrize(
    ("condition", "number", "text"),
    [
        ("4.2<10", 4.2, "4.2 (< 10)"),
        ("-3<=-1.5", -3.0, "-3 (<= -1.5)"),
        ("0==0", 0.0, "0 (== 0)"),
        ("1!=0", 1.0, "1 (!= 0)"),
        ("12345678901>=1", 12345678901.0, "12345678901 (>= 1)"),
    ],
)
def test_the_condition_keeps_its_operator_and_threshold(condition: str, number: float, text: str) -> None:
    (value,) = alert_of(f"[P1][PROBLEM][h][][n pdiff(#3) m k=v {condition}][O1 2017-03-07 20:18:00]").values
    assert value == Value("m", number, text)


def test_a_function_of_two_numbers_is_one_too() -> None:
    assert (
        alert_of("[P1][PROBLEM][h][][n lookup(#2,3) m  1>0][O1 2017-03-07 20:18:00]").labels["func"] == "lookup(#2,3)"
    )


def test_a_status_that_nobody_documents_is_told_as_an_alert_with_its_name() -> None:
    alert = alert_of(HIGH["content"].replace("PROBLEM", "EVENT"))
    assert (alert.status, alert.state) == (AlertStatus.FIRING, "EVENT")


def test_a_merged_message_has_its_count_its_example_and_its_link() -> None:
    group = group_of(**MERGED)
    (alert,) = group.alerts
    assert (alert.status, alert.title, alert.values) == (AlertStatus.FIRING, "cpu.idle ×12", (Value("count", 12.0),))
    assert alert.labels == {"priority": "P3", "severity": "info", "metric": "cpu.idle", "type": "cpu.idle"}
    assert alert.annotations == {"message": "e.g. host-1"}
    assert alert.link == "http://127.0.0.1:8081/portal/links/abcdef"
    assert group.recipients == ("zhangsan",)


def test_a_merged_message_without_a_link_says_where_the_rest_is() -> None:
    (alert,) = group_of(**UNLINKED).alerts
    assert (alert.labels["metric"], alert.link) == ("cpu.idle", None)
    assert alert.annotations == {"message": "e.g. host-1. detail in email"}


def test_a_mail_is_read_from_its_subject_and_brings_its_link() -> None:
    (alert,) = group_of(tos="a@example.com", subject=HIGH["content"], content=MAIL).alerts
    assert (alert.title, alert.labels["host"]) == ("CPU空闲过低", "host-1")
    assert alert.link == "http://portal.example.com/expression/view/1"
    (merged,) = group_of(tos="a", subject="[P3][OK] 2 cpu.idle", content=MAIL + "\r\n" + MAIL).alerts
    assert (merged.status, merged.values) == (AlertStatus.RESOLVED, (Value("count", 2.0),))
    assert "Endpoint:host-1" in merged.annotations["message"]


def test_the_subject_of_another_mail_is_the_title() -> None:
    group = group_of(tos="a", subject="weekly report", content="all is well")
    assert (group.title, group.text, group.recipients) == ("weekly report", "all is well", ("a",))
    (alert,) = group_of(subject="please look", content=HIGH["content"]).alerts
    assert (alert.title, alert.labels["host"]) == ("please look", "host-1")


@pytest.mark.parametrize(
    "content",
    [
        "plain words",
        "[P0][PROBLEM]",
        "[P0][PROBLEM][h][][no function here][O1 2017-03-07 20:18:00]",
        "[P0][PROBLEM][h][][n all(#3) m  high][O1 2017-03-07 20:18:00]",
        "[P0][PROBLEM][h][][n all(#3) m  1>0][2017-03-07 20:18:00]",
        "[P0][PROBLEM][h][][n all(#3) ][O1 2017-03-07 20:18:00]",
        "[P0][PROBLEM] cpu.idle",
        "[P0][PROBLEM]" + "[" * 5000,
    ],
)
def test_what_does_not_parse_is_told_as_text_to_the_same_people(content: str) -> None:
    group = group_of(tos="zhangsan, lisi,,zhangsan", content=content)
    assert (group.alerts, group.text, group.recipients) == ((), content, ("zhangsan", "lisi"))


@pytest.mark.parametrize("headers", [FORM_TYPE, JSON_TYPE, {}, {"Content-Type": "text/plain"}])
def test_the_content_type_does_not_matter(headers: dict[str, str]) -> None:
    form = parse(urlencode(HIGH).encode(), headers)
    assert form == group_of(**HIGH)
    assert parse(json.dumps(HIGH).encode(), headers) == form
    assert parse(json.dumps(HIGH | {"tos": ["zhangsan", "lisi"]}).encode(), headers) == form


def test_a_content_without_its_field_is_an_alert_too() -> None:
    for body in (HIGH["content"], TAGGED["content"], "\ufeff" + HIGH["content"]):
        assert len(parse(body.encode(), {}).alerts) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"hello", "hello"),
        (b'{"content": "a', '{"content": "a'),
        (b'{"tos": "a", "x": 1}', '{"tos": "a", "x": 1}'),
        (b"tos=a&subject=", "tos=a&subject="),
        (b"[1, 2]", "[1, 2]"),
        (b"content=a%ff", "a\ufffd"),
        (b"content=a%00b", "ab"),
    ],
)
def test_nothing_readable_is_lost(body: bytes, text: str) -> None:
    assert parse(body, FORM_TYPE).text == text


@pytest.mark.parametrize("body", [b"", b" \n", b"\xff\xfe", b"content=\xb4\xa6", b"a=1&" * 101])
def test_what_cannot_be_read_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(BadBody, match=r"\.$"):
        parse(body, FORM_TYPE)


@pytest.mark.parametrize("field", ["tos", "content", "subject"])
def test_a_field_of_any_type_is_told(field: str) -> None:
    for value in ODD:
        group = posted(parse, HIGH | {"subject": ""} | {field: value})
        assert group.alerts or field != "tos", value


PIECES = st.lists(
    st.sampled_from(
        [*"[] \n<>=,*#()", "[P0]", "[PROBLEM]", "[OK]", "[h]", "[]", "note ", "all(#3) ", "m ", "k=v ", "4.2<10", "]",
         "[O1 2017-03-07 20:18:00]", " 12 ", "e.g. ", "http://x/y", "&tos=", "%5B", "\ud7ff"]
    ) | st.text(max_size=3),
    max_size=14,
)  # fmt: skip


@given(PIECES, st.booleans())
@example(["[P0]"], True)
def test_any_content_is_told(pieces: list[str], escaped: bool) -> None:
    content = "".join(pieces)
    body = urlencode({"content": content}, errors="replace") if escaped else f"content={content}"
    check_told_or_refused(parse, body.encode(errors="replace"), FORM_TYPE)


@given(st.binary())
def test_any_bytes_are_told_or_refused(body: bytes) -> None:
    check_told_or_refused(parse, body, {})
