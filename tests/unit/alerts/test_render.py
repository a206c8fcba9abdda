from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import REPOSITORY, payload_bytes
from tests.unit.alerts.composing import ROOMY, compose_bodies
from wxbridge.alerts import render
from wxbridge.alerts.alert_text import write_value
from wxbridge.alerts.sources import by_content
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Capabilities, Picture, PictureSpec, Text, Value
from wxbridge.core.text.i18n import Language
from wxbridge.core.text.splitting import MAX_PARTS, cut_text, measure_length, split_message


def texts(group: AlertGroup, capabilities: Capabilities = ROOMY, language: Language = "en") -> list[str]:
    return [body.text for body in compose_bodies(group, capabilities, language) if isinstance(body, Text)]


# ---------------------------------------------------------------- what people read

LEGACY = {
    "legacy_alerting": (
        "🔥 [Alerting] Panel Title alert\nCount: 1\nNotification Message\n"
        "🔗 http://localhost:3000/d/hZ7BuVbWz/test-dashboard?fullscreen&edit&tab=alert&panelId=2&orgId=1"
    ),
    "legacy_ok": (
        "✅ WORD[OK] 云服务任务成功数量过低\n5分钟内申请云服务流量低于100\n"
        "🔗 http://grafana.example.com/d/pH9lfnrmk/dash?fullscreen=true&edit=true&tab=alert&panelId=28&orgId=1"
    ),
    "legacy_no_data": (
        "⚪ WORD[No Data] MQ135  CO2 to HIGH\n"
        "CO2 Values are to HIGH. \nThereafter (above 1800 ppm, or 1.8%) ...\n"
        "🔗 http://localhost:3000/d/S0mwAVzRz/mq135?fullscreen&edit&tab=alert&panelId=2&orgId=1"
    ),
    "legacy_test_notification": (
        "📨 [Alerting] Test notification\nHigh value: 100\nHigher Value: 200\n"
        "Someone is testing the alert notification within Grafana.\n🔗 http://localhost:3000/"
    ),
}

LEGACY_WORDS = {
    ("legacy_ok", "en"): "resolved · ",
    ("legacy_ok", "zh"): "恢复 · ",
    ("legacy_no_data", "zh"): "无数据 · ",
}
"""What stands before a title that does not begin with it."""


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", LEGACY)
def test_a_grafana_alert_reads_like_this(name: str, language: Language) -> None:
    group = by_content.parse_grafana(payload_bytes(f"grafana/{name}"), {})
    word = LEGACY_WORDS.get((name, language), "")
    assert texts(group, language=language) == [LEGACY[name].replace("WORD", word)]


def legacy(**fields: Any) -> AlertGroup:
    return by_content.parse_grafana(json.dumps(fields).encode(), {})


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            "🔥 Alert without a title\nstate: paused\ncpu: no value (host=a, core=1)\nmem: 1.5\ndisk: full\nvalue: 3",
        ),
        ("zh", "🔥 无标题告警\n状态：paused\ncpu: 无数据 (host=a, core=1)\nmem: 1.5\ndisk: full\nvalue: 3"),
    ],
)
def test_what_is_missing_is_said_in_the_readers_language(language: Language, expected: str) -> None:
    group = legacy(
        state="paused",
        evalMatches=[
            {"metric": "cpu", "value": None, "tags": {"host": "a", "core": 1}},
            {"metric": "mem", "value": "1.50", "tags": None},
            {"metric": "disk", "value": "full"},
            {"value": 3},
        ],
    )
    assert texts(group, language=language) == [expected]


def test_of_very_many_values_twenty_are_written_and_the_rest_is_counted() -> None:
    group = legacy(title="t", evalMatches=[{"metric": f"m{index}", "value": index} for index in range(25)])
    (text,) = texts(group)
    assert text.startswith("🔥 t\nm24: 24\nm23: 23\n"), "the worst first"
    assert "m5: 5\n… and 5 more" in text
    assert "m4:" not in text


def test_a_note_stands_above_the_text_and_free_text_stands_as_it_is() -> None:
    group = AlertGroup("grafana", "", "grafana", text='{\n "a": 1\n}')
    (body,) = compose_bodies(group, ROOMY, "en", "Nobody asked:")
    assert body == Text('Nobody asked:\n\n📨 grafana\n{\n "a": 1\n}')


def test_pictures_follow_the_text_each_once() -> None:
    spec = PictureSpec("fetch", {"url": "http://a/1.png"})
    other = PictureSpec("fetch", {"url": "http://a/2.png"})
    alerts = tuple(Alert("x", AlertStatus.FIRING, "t", picture=item) for item in (spec, spec, other, None))
    bodies = compose_bodies(AlertGroup("x", "", "g", alerts), ROOMY, "en")
    assert bodies[1:] == [Picture(spec=spec), Picture(spec=other)]


def test_a_group_brings_few_pictures_those_of_the_worst_alerts() -> None:
    alerts = tuple(
        Alert("x", AlertStatus.FIRING, "t", {"severity": word}, picture=PictureSpec("fetch", {"url": f"{word}{index}"}))
        for index in range(5)
        for word in ("info", "critical")
    )
    bodies = compose_bodies(AlertGroup("x", "", "g", alerts), ROOMY, "en")
    pictures = [body.spec for body in bodies if isinstance(body, Picture)]
    assert [spec.params["url"] for spec in pictures if spec] == ["critical0", "critical1", "critical2"]


def test_mentions_go_with_the_first_part_only() -> None:
    group = AlertGroup("x", "", "g", (Alert("x", AlertStatus.FIRING, "t", annotations={"message": "m" * 3000}),))
    first, second = compose_bodies(group, ROOMY, "en", mentions=("张三", "all"))
    assert isinstance(first, Text)
    assert isinstance(second, Text)
    assert (first.mentions, second.mentions) == (("张三", "all"), ())


def test_what_stands_in_for_a_picture_says_why_and_where() -> None:
    spec = PictureSpec("fetch", {"url": "u"}, link="http://a/1.png")
    assert render.write_missing_picture(spec, "404", "en") == "The picture could not be made: 404\n🔗 http://a/1.png"
    assert render.write_missing_picture(None, "404", "zh") == "图片生成失败：404"


@given(st.floats() | st.none(), st.text(max_size=5) | st.none())
def test_a_value_is_one_line_whatever_it_holds(number: float | None, text: str | None) -> None:
    line = write_value(Value("cpu", number, text), "en")
    assert line.startswith("cpu: ")
    assert math.isfinite(len(line))


# ---------------------------------------------------------------- splitting

# Each of these is one thing on the screen: cut in two it becomes another, or a blot.
CLUSTERS = [
    "é",  # an e and its accent
    "n\u0303\u0323",
    "👨‍👩‍👧‍👦",
    "👩🏽‍🚀",
    "👍🏿",
    "🇩🇪",
    "🇨🇳",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "1️⃣",
    "❤️",
    "नि",
    "क्ष",  # two consonants written as one
    "\u1112\u1161\u11ab",  # one Korean syllable in its letters
    "각\u11a8",
    "*️⃣",
    "กำ",
    "ی\u200c",
    "ｶﾞ",
    "\r\n",
]
WORDS = st.one_of(
    st.sampled_from(CLUSTERS),
    st.sampled_from(CLUSTERS).map(lambda cluster: cluster * 7),
    st.sampled_from(
        ["告警", "host-1", "a", "🔥", "\n", " ", "\n\n", "http://grafana/d/abc?x=1&y=2", "https://a.b/cdef "]
    ),
    st.text(st.characters(codec="utf-8"), max_size=12),
)
TEXTS = st.lists(WORDS, max_size=60).map("".join)
UNITS = st.sampled_from(["bytes", "characters"])
LIMITS = st.integers(60, 200)


@given(TEXTS, LIMITS, UNITS)
def test_pieces_joined_again_are_the_text_to_the_byte(text: str, limit: int, unit: str) -> None:
    pieces = list(cut_text(text, limit, unit))
    assert "".join(pieces) == text
    assert all(pieces)


@given(TEXTS, LIMITS, UNITS)
def test_no_piece_is_longer_than_the_limit(text: str, limit: int, unit: str) -> None:
    for piece in cut_text(text, limit, unit):
        assert (len(piece.encode()) if unit == "bytes" else len(piece)) <= limit


@given(st.lists(st.sampled_from([*CLUSTERS, "a", "告", " ", "\n"]), max_size=120), LIMITS, UNITS)
@example(["🇩🇪"] * 60, 61, "characters")
@example(["🏴󠁧󠁢󠁥󠁮󠁧󠁿"] * 30, 64, "characters")
@example(["a", *["👨‍👩‍👧‍👦"] * 30], 60, "characters")
def test_what_is_one_thing_on_the_screen_is_never_cut(clusters: list[str], limit: int, unit: str) -> None:
    text = "".join(clusters)
    allowed, position = {0}, 0
    for cluster in clusters:
        position += len(cluster)
        allowed.add(position)
    cut = 0
    for piece in cut_text(text, limit, unit):
        cut += len(piece)
        assert cut in allowed, f"cut inside {text[cut - 4 : cut + 4]!r}"


@given(st.lists(st.sampled_from(["看这里", "x", "alert", "🔥", "\n"]), max_size=80), st.integers(0, 80), LIMITS, UNITS)
def test_a_link_that_fits_into_one_piece_is_never_cut(words: list[str], at: int, limit: int, unit: str) -> None:
    link = "https://grafana.example.com/d/abc?from=1"
    text = "".join(words[:at]) + " " + link + " " + "".join(words[at:])
    assert any(link in piece for piece in cut_text(text, limit, unit))


@given(
    st.text("看这里", max_size=80), st.sampled_from([*range(30, 56), 300]), st.integers(60, 90), UNITS,
)  # fmt: skip
def test_a_link_amid_chinese_without_spaces_is_never_cut(before: str, size: int, limit: int, unit: str) -> None:
    link = "https://a.example/" + "x" * (size - 18)
    text = f"{before}{link},{'后' * 100}"
    pieces = list(cut_text(text, limit, unit))
    assert "".join(pieces) == text
    assert any(link in piece for piece in pieces) == (size < limit)


def test_a_character_with_more_marks_than_fit_is_cut_where_it_must_be() -> None:
    text = "e" + "\u0301" * 500
    pieces = list(cut_text(text, 60, "bytes"))
    assert "".join(pieces) == text
    assert max(len(piece.encode()) for piece in pieces) <= 60


def test_a_text_is_cut_after_a_line_or_a_word_where_there_is_one() -> None:
    lines = "first line\nsecond line\nthird"
    assert list(cut_text(lines, 24, "characters")) == ["first line\nsecond line\n", "third"]
    assert list(cut_text("one two three four", 10, "characters")) == ["one two ", "three four"]
    assert list(cut_text("告警" * 5, 15, "bytes")) == ["告警告警告", "警告警告警"]


def test_a_text_that_fits_is_one_message_without_a_number() -> None:
    assert split_message("x" * 2000, ROOMY, "en") == ["x" * 2000]
    assert split_message("告" * 100, Capabilities(300, "bytes"), "en") == ["告" * 100]


@given(TEXTS, st.integers(120, 300), UNITS)
def test_the_messages_of_a_long_text_are_numbered_and_within_the_limit(text: str, limit: int, unit: str) -> None:
    messages = split_message(text, Capabilities(limit, unit), "zh")
    assert 1 <= len(messages) <= MAX_PARTS
    assert all(measure_length(message, unit) <= limit for message in messages)
    if len(messages) > 1:
        starts = [f"({index}/{len(messages)}) " for index in range(1, len(messages) + 1)]
        assert all(message.startswith(start) for message, start in zip(messages, starts, strict=True))
        bare = "".join(message.removeprefix(start) for message, start in zip(messages, starts, strict=True))
        assert bare == text or "wxbridge outbox show" in messages[-1]


def test_what_is_left_of_an_endless_text_is_counted_not_sent() -> None:
    messages = split_message("x" * 100_000, ROOMY, "en")
    sent = sum(message.count("x") for message in messages[:-1])
    assert len(messages) == MAX_PARTS
    assert messages[-1] == f"(5/5) … {100_000 - sent} characters more; see `wxbridge outbox show`"


def test_splitting_a_huge_text_takes_no_long_time() -> None:
    text = "🇩🇪" * 200_000 + "https://a/" + "b" * 400_000
    assert "".join(cut_text(text, 1990, "bytes")) == text


def test_the_payloads_are_those_of_the_documentation() -> None:
    assert {path.stem for path in (REPOSITORY / "tests" / "payloads" / "grafana").glob("legacy_*")} == set(LEGACY)
