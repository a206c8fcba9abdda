"""Names are compared as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.channels.wechat.directory import Contact, Room
from wxbridge.channels.wechat.identity import AddressProblem, Found, Known, Remembered, resolve_contact, resolve_room
from wxbridge.channels.wechat.names import fold_name, read_name

FIRE = '运维&amp;告警<img class="emoji emoji1f525" text="_web" src="/zh_CN/htmledition/v2/images/spacer.gif" />'


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (FIRE, "运维&告警🔥"),
        ('中国<span class="emoji emoji1f1e81f1f3"></span>群', "中国🇨🇳群"),
        ('<span class="emoji emoji2600"></span>', "☀"),
        ('<span class="emoji emoji3120e3"></span>', "1\u20e3"),
        ('<img class="qqemoji qqemoji0" text="[微笑]_web" src="/x.gif" />', "[微笑]"),
        ("&lt;prod&gt; &#39;a&#39;", "<prod> 'a'"),
        ("R&D <b>x</b> 5 < 6", "R&D <b>x</b> 5 < 6"),
        ('<img class="emoji emojizz">', '<img class="emoji emojizz">'),
        ("", ""),
    ],
)
def test_a_name_is_shown_as_on_a_phone(raw: str, shown: str) -> None:
    assert read_name(raw) == shown


@pytest.mark.parametrize(
    ("wanted", "topic"),
    [
        ("运维&告警🔥", FIRE),
        (FIRE, "运维&告警🔥"),
        ("值班～群", "值班~群"),
        ("值班〜群", "值班～群"),
        ("告警（一）", "告警(一)"),
        ("Ops：Ａ1", "Ops:A1"),
        ("❤️ 群", "❤ 群"),
        ("运维\u3000群", "运维  群"),
        ("运维\u00a0群 ", " 运维 群"),
        ("运维\u200b群", "运维群"),
        ("Bob’s “team”", 'Bob\'s "team"'),
    ],
)
def test_a_topic_that_is_read_alike_is_the_room(wanted: str, topic: str) -> None:
    found = resolve_room(wanted, None, Known([Room("1@chatroom", topic), Room("2@chatroom", "another")]))
    assert found == Found(Room("1@chatroom", topic))
    person = Contact("p", topic, "", "")
    assert resolve_contact(wanted, None, Known([person])) == Found(person)


def test_what_is_written_exactly_so_comes_before_what_is_read_alike() -> None:
    rooms = [Room("1@chatroom", "值班~群"), Room("2@chatroom", "值班～群")]
    assert resolve_room("值班～群", None, Known(rooms)) == Found(rooms[1])


def test_several_that_are_read_alike_are_several() -> None:
    rooms = [Room("1@chatroom", "值班 ~群"), Room("2@chatroom", "值班 ～群")]
    assert isinstance(resolve_room("值班\u3000~群", None, Known(rooms)), AddressProblem)


def test_letters_and_signs_that_are_seen_to_differ_do() -> None:
    known = Known([Room("1@chatroom", "运维群"), Room("2@chatroom", "ops")])
    for wanted in ("运维 群", "运维-群", "Ops", "运維群"):
        assert isinstance(resolve_room(wanted, None, known), AddressProblem)


def test_a_topic_that_was_remembered_as_the_gateway_wrote_it_is_no_other_one_now() -> None:
    before = Remembered("1@chatroom", "bot", (FIRE,))
    assert resolve_room("运维&告警🔥", before, Known([Room("1@chatroom", "运维&告警🔥")], "bot")) == Found(
        Room("1@chatroom", "运维&告警🔥")
    )


@given(st.text())
def test_whatever_a_name_is_it_is_read(text: str) -> None:
    assert fold_name(fold_name(text)) == fold_name(text) or "&" in text or "<" in text


def test_a_long_name_takes_no_time() -> None:
    fold_name("<img " * 200_000)
    fold_name('<img class="emoji emoji' + "1f525" * 100_000 + '">')
