"""Group robots of DingTalk: signed, twenty a minute, pictures by address."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.fakes.dingtalk import FakeDingtalk
from tests.integration.channels.wecom.wecom_harness import FAST, PATIENT
from wxbridge.channels.answers import HttpAnswer, Meaning, judge_answer
from wxbridge.channels.dingtalk import (
    CODES,
    MAX_BODY_BYTES,
    MAX_TEXT_BYTES,
    PLUGIN,
    DingtalkChannel,
    DingtalkTarget,
    sign,
)
from wxbridge.channels.titles import MAX_TITLE_CHARS, make_title
from wxbridge.core.errors import BadAddress, Offline, Permanent, Throttled, Transient, Unauthorised, Unknown
from wxbridge.core.model import PictureFile, Text

SECRET = "SECe5b8"


@pytest.fixture
async def dingtalk(clock):
    async with FakeDingtalk(wall=clock.wall) as running:
        running.add_robot("token", secret=SECRET)
        yield running


@pytest.fixture
async def channel(clock):
    made = DingtalkChannel(timing=PATIENT, wall=clock.wall, monotonic=clock.monotonic)
    yield made
    await made.close()


@pytest.fixture
def target(dingtalk) -> DingtalkTarget:
    return made(base_url=dingtalk.url, access_token="token", secret=SECRET)


def made(**given) -> DingtalkTarget:
    return DingtalkTarget.model_validate(given)


def said(errcode: int) -> HttpAnswer:
    return HttpAnswer(200, json.dumps({"errcode": errcode, "errmsg": "the words"}).encode())


# ---------------------------------------------------------------- answers


DOCUMENTED = {
    -1: Transient,
    40035: Permanent,
    43004: Permanent,
    130101: Throttled,
    300001: Unauthorised,
    300005: Unauthorised,
    310000: Unauthorised,
    400013: BadAddress,
    400101: Unauthorised,
    400102: Unauthorised,
    400105: Permanent,
    400106: Unauthorised,
    410100: Throttled,
    430101: Permanent,
    430102: Permanent,
    430103: Permanent,
    430104: Permanent,
}


def test_the_table_covers_every_code_that_the_channel_knows() -> None:
    assert set(DOCUMENTED) == set(CODES)


@pytest.mark.parametrize(("errcode", "kind"), DOCUMENTED.items())
def test_a_documented_code_says_whether_a_retry_can_help(errcode, kind) -> None:
    error = judge_answer(said(errcode), CODES).failure("DingTalk")
    assert (type(error), error.code) == (kind, str(errcode))
    assert "the words" in str(error)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (said(0), Meaning.SENT),
        (said(987), Meaning.PASSING),
        (HttpAnswer(200, b""), Meaning.UNKNOWN),
        (HttpAnswer(200, b"<html>"), Meaning.PASSING),
        (HttpAnswer(500, b"oops"), Meaning.UNKNOWN),
    ],
)
def test_an_answer_means(answer, meaning) -> None:
    assert judge_answer(answer, CODES).meaning is meaning


# ---------------------------------------------------------------- what arrives


async def test_markdown_arrives_signed_with_a_title_from_its_first_line(dingtalk, channel, target) -> None:
    await channel.send(target, Text("### **磁盘满了**\n\n- node-1", format="markdown"))
    (message,) = dingtalk.messages
    assert (message.kind, message.title) == ("markdown", "磁盘满了")
    assert message.content == "### **磁盘满了**\n\n- node-1"


async def test_plain_text_arrives(dingtalk, channel, target) -> None:
    await channel.send(target, Text("磁盘满了 🎉"))
    assert dingtalk.requests == [
        {
            "msgtype": "text",
            "text": {"content": "磁盘满了 🎉"},
            "at": {"atMobiles": [], "atUserIds": [], "isAtAll": False},
        }
    ]


@pytest.mark.parametrize(("kind", "end"), [("text", "x\n@13800001111 @lisi"), ("markdown", "x\n\n@13800001111 @lisi")])
async def test_mentions_stand_in_the_text_too_else_nobody_sees_them(dingtalk, channel, target, kind, end) -> None:
    await channel.send(target, Text("x", ("13800001111", "@lisi", "all", "lisi"), format=kind))
    (message,) = dingtalk.messages
    assert (message.mobiles, message.users, message.everybody) == (("13800001111",), ("lisi",), True)
    assert message.content == end


async def test_a_text_as_long_as_the_capabilities_allow_arrives(dingtalk, channel, target) -> None:
    line = "node-1 的 CPU 使用率过高 97 %\n"
    text = (line * MAX_TEXT_BYTES).encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
    for kind in ("text", "markdown"):
        await channel.send(target, Text(text, ("13800001111",), format=kind))
    assert len(dingtalk.messages) == 2


async def test_a_request_that_would_be_too_large_is_not_even_sent(dingtalk, channel, target) -> None:
    with pytest.raises(Permanent, match="20,000"):
        await channel.send(target, Text("\x01" * (MAX_BODY_BYTES // 6)))
    assert dingtalk.requests == []


@dataclass(frozen=True)
class Published(PictureFile):
    """A picture that has an address."""

    url: str = ""


async def test_a_picture_is_shown_from_its_address(dingtalk, channel, target) -> None:
    body = Published("/x", "panel [1].png", "image/png", 1, url="https://x.example/p.png?sign=a")
    await channel.send(target, body)
    assert dingtalk.messages[0].content == "![panel 1.png](https://x.example/p.png?sign=a)"
    with pytest.raises(Permanent, match=r"pictures\.publish"):
        await channel.send(target, PictureFile("/x", "p.png", "image/png", 1))


@given(st.text(max_size=300))
def test_a_title_is_one_short_line_whatever_it_is_made_from(text) -> None:
    made = make_title(text)
    assert made.strip()
    assert len(made) <= MAX_TITLE_CHARS
    assert len(made.splitlines()) == 1


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("", "wxbridge"),
        ("\n\n---\n**[FIRING]** disk", "[FIRING] disk"),
        ('<font color="#f00">告警</font>: [CPU](http://x/y)', "告警: CPU"),
        ("![p](http://x)\nnext", "p"),
        ("> quoted", "quoted"),
    ],
)
def test_a_title_is_the_first_line_without_its_marks(markdown, expected) -> None:
    assert make_title(markdown) == expected


# ---------------------------------------------------------------- what does not


def test_the_signature_is_that_of_the_documentation() -> None:
    # Computed once with OpenSSL: printf '1577262236757\nthis is a secret' | openssl dgst -sha256 -hmac … -binary
    assert quote_plus(sign("this is a secret", 1577262236757)) == "DJrE6qdyVGCQz9z5r2MDuNcNAhwYnuAkyj13cx169CA%3D"


async def test_a_clock_that_is_hours_off_is_said_with_what_to_look_at(dingtalk, target, clock) -> None:
    channel = DingtalkChannel(timing=PATIENT, wall=lambda: clock.wall() - 3700, monotonic=clock.monotonic)
    with pytest.raises(Unauthorised, match=r"310000.*clock") as caught:
        await channel.send(target, Text("x"))
    assert caught.value.code == "310000"
    await channel.close()


async def test_a_wrong_secret_and_a_missing_keyword_are_said_in_the_services_words(dingtalk, channel) -> None:
    dingtalk.add_robot("words", keyword="告警")
    with pytest.raises(Unauthorised, match="签名不匹配"):
        await channel.send(made(base_url=dingtalk.url, access_token="token", secret="other"), Text("x"))
    with pytest.raises(Permanent, match="keywords not in content"):
        await channel.send(made(base_url=dingtalk.url, access_token="words"), Text("x"))
    with pytest.raises(Unauthorised, match="300005"):
        await channel.send(made(base_url=dingtalk.url, access_token="gone"), Text("x"))
    await channel.send(made(base_url=dingtalk.url, access_token="words"), Text("告警 x"))


async def test_a_robot_that_fell_mute_is_left_alone_for_ten_minutes(dingtalk, channel, target, clock) -> None:
    for n in range(20):
        await channel.send(target, Text(str(n)))
    for _ in range(3):
        with pytest.raises(Throttled) as caught:
            await channel.send(target, Text("too many"))
        assert caught.value.retry_after == 600
    assert dingtalk.calls["/robot/send"] == 21
    clock.advance(600)
    await channel.send(target, Text("well"))


async def test_no_answer_is_not_known_and_no_connection_has_sent_nothing(dingtalk, target, clock, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    channel = DingtalkChannel(timing=FAST, wall=clock.wall, monotonic=clock.monotonic)
    errors = []
    for spoil, kind in ((dingtalk.stall, Unknown), (dingtalk.cut, Unknown), (dingtalk.proxy_page, Offline)):
        spoil(path="/robot/send")
        with pytest.raises(kind) as caught:
            await channel.send(target, Text("x"))
        errors.append(str(caught.value))
    await dingtalk.stop()
    with pytest.raises(Offline) as caught:
        await channel.send(target, Text("x"))
    errors.append(str(caught.value))
    await channel.close()
    for secret in (SECRET, "access_token=", "sign="):
        assert secret not in caplog.text + "".join(errors)


async def test_a_robot_can_be_tried_without_anybody_seeing_it(dingtalk, channel, target) -> None:
    assert "known" in await channel.probe(target)
    with pytest.raises(Unauthorised, match="300005"):
        await channel.probe(made(base_url=dingtalk.url, access_token="gone"))
    assert dingtalk.messages == []


# ---------------------------------------------------------------- jobs.yaml


def test_a_whole_webhook_address_is_taken_apart() -> None:
    robot = made(url="https://oapi.dingtalk.com/robot/send?access_token=abc").robot()
    assert (robot.base_url, robot.key) == ("https://oapi.dingtalk.com", "abc")
    robot = made(url="http://10.0.0.1/ding/robot/send?access_token=abc").robot()
    assert (robot.base_url, robot.key) == ("http://10.0.0.1/ding", "abc")
    assert made(access_token="https://oapi.dingtalk.com/robot/send?access_token=abc").robot().key == "abc"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"access_token": ""},
        {"access_token": " "},
        {"access_token": "HIDDEN", "url": "http://x/robot/send?access_token=b"},
        {"url": "http://x/robot/send?token=HIDDEN"},
        {"url": "HIDDEN"},
        {"access_token": "a", "format": "html"},
    ],
)
def test_a_target_that_cannot_work_is_refused_and_shows_no_token(given) -> None:
    with pytest.raises(ValidationError) as caught:
        DingtalkTarget.model_validate(given)
    assert "HIDDEN" not in "".join(error["msg"] for error in caught.value.errors())


def test_the_pace_stays_below_twenty_a_minute_and_the_chat_gives_no_token_away() -> None:
    pace = PLUGIN.settings().pace.chat
    assert (pace.count, pace.seconds >= 60) == (20, True)
    assert "abc" not in made(access_token="abc").chat_key() + repr(made(access_token="abc", secret="abc"))
    assert (PLUGIN.capabilities.pictures, PLUGIN.jitter) == ("url", 0)
