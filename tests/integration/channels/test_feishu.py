"""Group robots of Feishu: signed, two quotas, cards and posts, pictures by an application."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.fakes.feishu import FakeFeishu
from tests.integration.channels.wecom.wecom_harness import FAST, PATIENT, noise, picture, screenshot
from wxbridge.channels import ChannelContext
from wxbridge.channels.answers import HttpAnswer, Meaning, judge_answer
from wxbridge.channels.feishu.answers import ANSWER_NAMES, CODES
from wxbridge.channels.feishu.channel import PLUGIN, FeishuChannel, sign
from wxbridge.channels.feishu.message import build_text
from wxbridge.channels.feishu.settings import MAX_BODY_BYTES, MAX_TEXT_BYTES, FeishuSettings, FeishuTarget
from wxbridge.channels.http import encode_json
from wxbridge.core.errors import Offline, Permanent, Throttled, Transient, Unauthorised, Unknown
from wxbridge.core.model import ChannelState, PictureFile, Text

SECRET = "hush-sign"
APP = {"app_id": "cli_a1", "app_secret": "hush-app"}


@pytest.fixture
async def feishu(clock):
    async with FakeFeishu(wall=clock.wall) as running:
        running.add_robot("hush-key", secret=SECRET)
        running.applications["cli_a1"] = "hush-app"
        yield running


@pytest.fixture
def make_channel(database, tmp_path, clock):
    def make(timing=PATIENT, **targets) -> FeishuChannel:
        async def tell(_: str) -> None: ...

        context = ChannelContext(FeishuSettings(), tmp_path, database, targets, tell)
        return FeishuChannel(context, timing=timing, wall=clock.wall, monotonic=clock.monotonic)

    return make


@pytest.fixture
async def channel(make_channel):
    made = make_channel()
    yield made
    await made.close()


@pytest.fixture
def target(feishu) -> FeishuTarget:
    return made(base_url=feishu.url)


def made(**given) -> FeishuTarget:
    return FeishuTarget.model_validate({"key": "hush-key", "secret": SECRET, **given})


# ---------------------------------------------------------------- answers


DOCUMENTED = {
    2200: Transient,
    9499: Permanent,
    10003: Unauthorised,
    10012: Unauthorised,
    10014: Unauthorised,
    10015: Unauthorised,
    11232: Throttled,
    11246: Permanent,
    19001: Unauthorised,
    19002: Permanent,
    19021: Unauthorised,
    19022: Unauthorised,
    19024: Permanent,
    19036: Permanent,
    230099: Permanent,
    234001: Permanent,
    234002: Unauthorised,
    234006: Permanent,
    234007: Unauthorised,
    234010: Permanent,
    234011: Permanent,
    234039: Permanent,
    99991400: Throttled,
    99991543: Unauthorised,
    99991661: Transient,
    99991663: Transient,
    99991664: Transient,
    99991665: Transient,
    99991671: Transient,
    99991672: Unauthorised,
}


def test_the_table_covers_every_code_that_the_channel_knows() -> None:
    assert set(DOCUMENTED) == set(CODES)


@pytest.mark.parametrize(("code", "kind"), DOCUMENTED.items())
def test_a_documented_code_says_whether_a_retry_can_help(code, kind) -> None:
    answer = HttpAnswer(200, json.dumps({"code": code, "msg": "the words"}).encode())
    error = judge_answer(answer, CODES, ANSWER_NAMES).failure("Feishu")
    assert (type(error), error.code) == (kind, str(code))
    assert "the words" in str(error)


@pytest.mark.parametrize(
    ("body", "meaning"),
    [
        ({"code": 0, "msg": "success", "StatusCode": 0}, Meaning.SENT),
        ({"StatusCode": 0, "StatusMessage": "success"}, Meaning.SENT),
        ({"StatusCode": 19001, "StatusMessage": "no"}, Meaning.WRONG_CONFIGURATION),
        ({"code": 4711}, Meaning.PASSING),
        ({"hello": 1}, Meaning.UNKNOWN),
    ],
)
def test_an_answer_of_either_generation_means(body, meaning) -> None:
    answer = HttpAnswer(200, json.dumps(body).encode())
    assert judge_answer(answer, CODES, ANSWER_NAMES).meaning is meaning


def test_the_signature_is_that_of_the_documentation() -> None:
    # Made with OpenSSL, whose key was "1599360473\ndemo", over nothing.
    assert sign("demo", 1599360473) == "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="


# ---------------------------------------------------------------- what arrives


@pytest.mark.parametrize(
    ("first", "colour"),
    [
        ("🔥 磁盘满了", "red"),
        ("↻ 🟠 磁盘满了", "orange"),
        ("🔵 磁盘", "blue"),
        ("✅ 磁盘满了", "green"),
        ("⚪ no data", "grey"),
        ("报表", "blue"),
    ],
)
async def test_an_alert_arrives_as_a_signed_card_in_its_colour(feishu, channel, target, first, colour) -> None:
    await channel.send(target, Text(f"**{first}**\nnode-1: 97 %\n🔗 [g](http://g/d)", format="markdown"))
    (message,) = feishu.messages
    assert message.kind == "interactive"
    assert message.content["header"] == {"title": {"tag": "plain_text", "content": first}, "template": colour}
    assert message.content["elements"] == [{"tag": "markdown", "content": "node-1: 97 %\n🔗 [g](http://g/d)"}]


async def test_a_post_has_a_title_and_its_links_can_be_tapped(feishu, channel, target) -> None:
    await channel.send(target, Text("🔥 disk\nsee http://g/d?x=1 now\n\nnode-1", ("all",), format="post"))
    post = feishu.messages[0].content["post"]["zh_cn"]
    assert post["title"] == "🔥 disk"
    assert post["content"] == [
        [{"tag": "text", "text": "see "}, {"tag": "a", "text": "http://g/d?x=1", "href": "http://g/d?x=1"},
         {"tag": "text", "text": " now"}],
        [{"tag": "text", "text": ""}],
        [{"tag": "text", "text": "node-1"}],
        [{"tag": "at", "user_id": "all"}],
    ]  # fmt: skip


async def test_plain_text_arrives_and_mentions_whom_it_should_alone(feishu, channel, target) -> None:
    await channel.send(target, Text('x <at user_id="all">', ("@ou_1", "所有人", 'no"body')))
    assert feishu.messages[0].content["text"] == (
        'x ＜at user_id="all">\n<at user_id="ou_1">ou_1</at> <at user_id="all">所有人</at>'
    )


async def test_a_card_mentions_by_id_and_by_mail(feishu, channel, target) -> None:
    await channel.send(target, Text("a\nb", ("ou_1", "me@x.cn", "all"), format="markdown"))
    content = feishu.messages[0].content["elements"][0]["content"]
    assert content == "b\n<at id=ou_1></at> <at email=me@x.cn></at> <at id=all></at>"


@pytest.mark.parametrize("kind", ["text", "post", "markdown"])
async def test_a_text_as_long_as_the_capabilities_allow_arrives(feishu, channel, target, kind) -> None:
    line = "node-1 的 CPU 使用率过高 97 % http://g/d\n"
    text = (line * MAX_TEXT_BYTES).encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
    await channel.send(target, Text(text, ("ou_1",), format=kind))
    assert len(feishu.messages) == 1


@given(st.text(max_size=400), st.sampled_from(["text", "post", "markdown"]))
def test_whatever_an_alert_says_becomes_a_request_that_is_not_too_large(text, kind) -> None:
    assert len(encode_json(build_text(Text(text, format=kind), ("ou_1",), MAX_BODY_BYTES))) <= MAX_BODY_BYTES


async def test_a_request_that_would_be_too_large_is_not_even_sent(feishu, channel, target) -> None:
    with pytest.raises(Permanent, match="20,480"):
        await channel.send(target, Text("\x01" * (MAX_BODY_BYTES // 6)))
    assert feishu.requests == []


# ---------------------------------------------------------------- pictures


async def test_a_picture_is_uploaded_once_by_the_application_and_shown_by_the_robot(feishu, channel, tmp_path) -> None:
    body = picture(tmp_path / "a.png", screenshot())
    target = made(base_url=feishu.url, **APP)
    await channel.send(target, body)
    await channel.send(target, body)
    assert [message.picture for message in feishu.messages] == [(tmp_path / "a.png").read_bytes()] * 2
    assert feishu.calls["/open-apis/im/v1/images"] == 1
    assert len(feishu.tokens) == 1


async def test_a_token_that_has_ended_is_renewed_once(feishu, channel, tmp_path, clock) -> None:
    target = made(base_url=feishu.url, **APP)
    await channel.send(target, picture(tmp_path / "a.png", screenshot()))
    feishu.tokens.clear()
    clock.advance(60)
    await channel.send(target, picture(tmp_path / "b.png", screenshot(800, 600)))
    assert len(feishu.messages) == 2


async def test_a_picture_of_more_than_ten_megabytes_is_made_smaller(feishu, channel, tmp_path) -> None:
    body = picture(tmp_path / "a.png", noise(2200, 1800))
    assert body.size > 10 * 1024 * 1024
    await channel.send(made(base_url=feishu.url, **APP), body)
    assert 0 < len(feishu.messages[0].picture) <= 10 * 1024 * 1024


async def test_an_application_that_is_refused_costs_pictures_alone_and_is_seen(feishu, make_channel, tmp_path) -> None:
    target = made(base_url=feishu.url, app_id="cli_a1", app_secret="hush-other")
    channel = make_channel(ops=target)
    with pytest.raises(Permanent, match=r"10015.*look at `app_id`"):
        await channel.send(target, picture(tmp_path / "a.png", screenshot()))
    assert channel.status.state is ChannelState.UNAUTHORISED
    assert channel.status_of(target).state is ChannelState.ONLINE
    await channel.send(target, Text("x"))
    feishu.applications["cli_a1"] = "hush-other"
    await channel.probe(target)
    assert channel.status.state is ChannelState.ONLINE
    await channel.close()


async def test_a_robot_without_an_application_links_to_a_published_picture(feishu, channel, target) -> None:
    await channel.send(target, PictureFile("/x", "cpu.png", "image/png", 1, url="https://x.example/p.png"))
    post = feishu.messages[0].content["post"]["zh_cn"]
    assert post["content"] == [[{"tag": "a", "text": "cpu.png", "href": "https://x.example/p.png"}]]
    with pytest.raises(Permanent, match="app_id"):
        await channel.send(target, PictureFile("/x", "cpu.png", "image/png", 1))
    assert target.capabilities(PLUGIN.capabilities).pictures == "url"
    assert made(**APP).capabilities(PLUGIN.capabilities).pictures == "file"


# ---------------------------------------------------------------- what does not


async def test_what_is_wrong_with_a_robot_is_said_in_the_services_words(feishu, channel, target) -> None:
    feishu.add_robot("words", keyword="告警")
    with pytest.raises(Unauthorised, match=r"19021 sign match fail.*clock"):
        await channel.send(made(base_url=feishu.url, secret="other"), Text("x"))
    with pytest.raises(Permanent, match="Key Words Not Found"):
        await channel.send(made(base_url=feishu.url, key="words"), Text("x"))
    with pytest.raises(Unauthorised, match="19001"):
        await channel.send(made(base_url=feishu.url, key="gone"), Text("x"))
    await channel.send(made(base_url=feishu.url, key="words"), Text("告警 x"))


async def test_a_limited_robot_is_left_alone_for_a_moment(feishu, channel, target, clock) -> None:
    for n in range(5):
        await channel.send(target, Text(str(n)))
    for _ in range(3):
        with pytest.raises(Throttled) as caught:
            await channel.send(target, Text("too many"))
        assert 0 < caught.value.retry_after <= 10
    assert len(feishu.requests) == 6
    clock.advance(10)
    await channel.send(target, Text("well"))


async def test_no_answer_is_not_known_and_no_connection_has_sent_nothing(feishu, make_channel, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    target = made(base_url=feishu.url)
    channel = make_channel(FAST, ops=target)
    errors = []
    for spoil, kind in ((feishu.stall, Unknown), (feishu.cut, Unknown), (feishu.proxy_page, Offline)):
        spoil(path="/hook/hush-key")
        with pytest.raises(kind) as caught:
            await channel.send(target, Text("x"))
        errors.append(str(caught.value))
    await feishu.stop()
    with pytest.raises(Offline) as caught:
        await channel.send(target, Text("x"))
    errors += [str(caught.value), repr(target), repr(target.robot()), target.chat_key(), channel.status.detail]
    await channel.close()
    assert "hush" not in caplog.text + "".join(errors)


async def test_a_removed_robot_is_a_state_that_ends_when_it_is_back(feishu, make_channel, target) -> None:
    channel = make_channel(ops=target)
    feishu.remove_robot("hush-key")
    with pytest.raises(Unauthorised):
        await channel.send(target, Text("x"))
    assert channel.status_of(target).state is ChannelState.UNAUTHORISED
    feishu.add_robot("hush-key", secret=SECRET)
    assert "known" in await channel.probe(target)
    assert channel.status_of(target).state is ChannelState.ONLINE
    assert feishu.messages == []
    await channel.close()


# ---------------------------------------------------------------- jobs.yaml


@pytest.mark.parametrize(
    ("given", "base", "key"),
    [
        ({"key": "abc-1"}, "https://open.feishu.cn", "abc-1"),
        ({"key": "https://open.larksuite.com/open-apis/bot/v2/hook/abc"}, "https://open.larksuite.com", "abc"),
        ({"url": "https://open.feishu.cn/open-apis/bot/v2/hook/abc/"}, "https://open.feishu.cn", "abc"),
        ({"url": "http://10.0.0.1:90/open-apis/bot/hook/abc", "base_url": "http://x"}, "http://x", "abc"),
    ],
)
def test_a_key_may_be_the_whole_webhook_address(given, base, key) -> None:
    robot = FeishuTarget.model_validate(given).robot()
    assert (robot.base_url, robot.key) == (base, key)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"key": ""},
        {"key": " "},
        {"key": "HIDDEN", "url": "http://x/open-apis/bot/v2/hook/b"},
        {"url": "http://x/robot/HIDDEN"},
        {"url": "HIDDEN"},
        {"key": "HIDDEN x"},
        {"key": "a", "app_id": "cli_1"},
        {"key": "a", "app_secret": "HIDDEN"},
        {"key": "a", "format": "html"},
    ],
)
def test_a_target_that_cannot_work_is_refused_and_shows_no_key(given) -> None:
    with pytest.raises(ValidationError) as caught:
        FeishuTarget.model_validate(given)
    assert "HIDDEN" not in "".join(error["msg"] for error in caught.value.errors())


def test_the_pace_keeps_both_quotas() -> None:
    pace = PLUGIN.settings().pace.chat
    assert pace.count <= 5
    assert pace.count / pace.seconds * 60 <= 100
