"""Group robots of WeCom: what arrives, and what becomes of what does not."""

from __future__ import annotations

import hashlib
import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat
from pydantic import ValidationError

from tests.fakes.wecom import FakeWecom
from tests.integration.channels.wecom.wecom_harness import FAST, PATIENT, noise, picture, robot, screenshot
from wxbridge.channels.shrinking import shrink_picture
from wxbridge.channels.wecom.robot import PLUGIN, RobotChannel, RobotTarget
from wxbridge.channels.wecom.robot_message import MAX_MARKDOWN_BYTES, MAX_PICTURE_BYTES, add_mentions
from wxbridge.config.types import Pace, Rate
from wxbridge.core.errors import Offline, Permanent, PictureError, Throttled, Transient, Unauthorised, Unknown
from wxbridge.core.model import PictureFile, Text


@pytest.fixture
async def wecom(clock):
    async with FakeWecom(wall=clock.wall) as running:
        for key in "abc":
            running.add_robot(key)
        yield running


@pytest.fixture
async def channel(clock):
    made = RobotChannel(timing=PATIENT, monotonic=clock.monotonic)
    yield made
    await made.close()


# ---------------------------------------------------------------- what arrives


async def test_a_text_arrives(wecom, channel) -> None:
    await channel.send(robot(wecom.url), Text("磁盘满了 🎉\nline two"))
    (message,) = wecom.messages
    assert (message.sender, message.kind, message.content) == ("a", "text", "磁盘满了 🎉\nline two")


async def test_the_requests_have_the_shape_that_the_service_documents(wecom, channel) -> None:
    target = robot(wecom.url, mention_mobiles=["13800001111"])
    await channel.send(target, Text("hello", ("wangqing", "all")))
    await channel.send(target, Text("**b**", format="markdown"))
    await channel.send(target, Text("# t", format="markdown_v2"))
    assert wecom.requests == [
        {
            "msgtype": "text",
            "text": {
                "content": "hello",
                "mentioned_list": ["wangqing", "@all"],
                "mentioned_mobile_list": ["13800001111"],
            },
        },
        {"msgtype": "markdown", "markdown": {"content": "**b**"}},
        {"msgtype": "markdown_v2", "markdown_v2": {"content": "# t"}},
    ]


async def test_mobile_numbers_ids_and_everybody_are_mentioned_each_in_their_way(wecom, channel) -> None:
    await channel.send(robot(wecom.url), Text("x", ("13800001111", "@lisi", "所有人", "lisi", "12345")))
    assert wecom.requests[0]["text"] == {
        "content": "x",
        "mentioned_list": ["lisi", "@all", "12345"],
        "mentioned_mobile_list": ["13800001111"],
    }


async def test_markdown_mentions_in_the_text_and_says_whom_it_could_not(wecom, channel) -> None:
    receipt = await channel.send(robot(wecom.url), Text("**down**", ("lisi", "13800001111", "all"), format="markdown"))
    assert wecom.messages[0].content == "**down**\n<@lisi><@all>"
    assert "13800001111" in receipt.note


async def test_mentions_never_push_a_markdown_over_its_limit(wecom, channel) -> None:
    receipt = await channel.send(robot(wecom.url), Text("字" * 1365, ("lisi",), format="markdown"))
    assert wecom.messages[0].content == "字" * 1365
    assert "lisi" in receipt.note


async def test_markdown_v2_cannot_mention_and_says_so(wecom, channel) -> None:
    receipt = await channel.send(robot(wecom.url), Text("# t", ("lisi",), format="markdown_v2"))
    assert "lisi" in receipt.note


async def test_a_card_opens_the_link_and_what_a_card_would_lose_is_a_text(wecom, channel) -> None:
    alert = "🔥 Disk full\nhost=web-1\n🔗 https://grafana.example.com/d/disk?viewPanel=2"
    for text, mentions in (
        (alert, ()),
        (alert, ("lisi",)),
        ("🔥 no link", ()),
        (f"{alert}\n{'字' * 200}", ()),
    ):
        await channel.send(robot(wecom.url), Text(text, mentions, format="news"))
    assert [request["msgtype"] for request in wecom.requests] == ["news", "text", "text", "text"]
    assert wecom.requests[0]["news"]["articles"] == [
        {
            "title": "🔥 Disk full",
            "description": "host=web-1",
            "url": "https://grafana.example.com/d/disk?viewPanel=2",
        }
    ]
    assert wecom.requests[3]["text"]["content"].endswith("字" * 200)


@given(
    text=st.text(max_size=200),
    names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), max_size=5),
)
def test_a_markdown_with_its_mentions_fits_whatever_stands_in_it(text, names) -> None:
    text = text.encode(errors="replace").decode() * 30
    text = text.encode()[:MAX_MARKDOWN_BYTES].decode(errors="ignore")
    content, left_out = add_mentions(text, names)
    assert content.startswith(text)
    assert len(content.encode()) <= MAX_MARKDOWN_BYTES
    assert all(name in left_out or f"<@{name.removeprefix('@')}>" in content for name in names)


async def test_the_limits_of_the_capabilities_are_those_of_the_service(wecom, channel) -> None:
    limits = {"text": PLUGIN.capabilities.text_limit, **PLUGIN.capabilities.formats}
    for kind, limit in limits.items():
        fits = "字" * (limit // 3) + "x" * (limit % 3)
        await channel.send(robot(wecom.url), Text(fits, format=kind))
        with pytest.raises(Permanent, match="40058"):
            await channel.send(robot(wecom.url), Text(fits + "x", format=kind))
    assert PLUGIN.capabilities.text_unit == "bytes"


async def test_a_small_picture_arrives_byte_for_byte_with_its_md5(wecom, channel, tmp_path) -> None:
    body = picture(tmp_path / "p.png", screenshot(300, 200))
    await channel.send(robot(wecom.url), body)
    assert wecom.messages[0].data == (tmp_path / "p.png").read_bytes()
    assert wecom.requests[0]["image"]["md5"] == hashlib.md5((tmp_path / "p.png").read_bytes()).hexdigest()


async def test_a_picture_beyond_the_limit_arrives_smaller_and_still_legible(wecom, channel, tmp_path) -> None:
    image = screenshot()
    ground = noise(1600, 600)  # hard to compress: as PNG it has megabytes
    image.paste(ground, (0, 400))
    body = picture(tmp_path / "p.png", image)
    assert body.size > MAX_PICTURE_BYTES
    await channel.send(robot(wecom.url), body)
    arrived = Image.open(io.BytesIO(wecom.messages[0].data)).convert("RGB")
    assert len(wecom.messages[0].data) <= MAX_PICTURE_BYTES
    assert arrived.width >= 0.6 * image.width
    upper = (0, 0, 1600, 400)
    difference = ImageChops.difference(arrived.resize(image.size).crop(upper), image.crop(upper))
    assert max(ImageStat.Stat(difference).mean) < 12


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
async def test_what_wecom_does_not_show_is_turned_into_what_it_does(wecom, channel, tmp_path, kind) -> None:
    await channel.send(robot(wecom.url), picture(tmp_path / "p", screenshot(300, 200), kind))
    assert wecom.messages[0].data.startswith(b"\x89PNG")


async def test_a_see_through_picture_stands_on_white(tmp_path) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(out, "WEBP")
    assert Image.open(io.BytesIO(shrink_picture(out.getvalue(), 10_000))).convert("RGB").getpixel((5, 5)) == (
        255,
        255,
        255,
    )


def test_a_picture_that_no_encoding_makes_small_enough_is_said() -> None:
    out = io.BytesIO()
    noise(400, 400).save(out, "PNG")
    with pytest.raises(PictureError, match="even when made smaller"):
        shrink_picture(out.getvalue(), 1000)


async def test_a_file_that_is_no_picture_is_uploaded_and_arrives_under_its_name(wecom, channel, tmp_path) -> None:
    (tmp_path / "r.csv").write_text("a,b\n1,2\n")
    body = PictureFile(str(tmp_path / "r.csv"), "报表.csv", "text/csv", 8)
    await channel.send(robot(wecom.url), body)
    (message,) = wecom.messages
    assert (message.kind, message.name, message.data) == ("file", "报表.csv", b"a,b\n1,2\n")


async def test_a_picture_that_is_gone_or_damaged_is_refused_for_good(wecom, channel, tmp_path) -> None:
    with pytest.raises(Permanent, match=r"p\.png"):
        await channel.send(robot(wecom.url), PictureFile(str(tmp_path / "none"), "p.png", "image/png", 1))
    (tmp_path / "cut.gif").write_bytes(b"GIF89a" + b"\0" * 10)
    with pytest.raises(Permanent):
        await channel.send(robot(wecom.url), PictureFile(str(tmp_path / "cut.gif"), "p.png", "image/png", 16))


# ---------------------------------------------------------------- what does not


async def test_success_on_http_200_with_an_error_in_it_is_none(wecom, channel) -> None:
    wecom.remove_robot("a")
    with pytest.raises(Unauthorised, match="93000 invalid webhook url") as caught:
        await channel.send(robot(wecom.url), Text("x"))
    assert caught.value.code == "93000"


async def test_a_stall_may_have_sent_it_a_refused_connection_has_not(clock) -> None:
    channel = RobotChannel(timing=FAST, monotonic=clock.monotonic)
    async with FakeWecom() as wecom:
        wecom.add_robot("a")
        wecom.stall(after=True)
        with pytest.raises(Unknown):
            await channel.send(robot(wecom.url), Text("x"))
        assert len(wecom.messages) == 1
        url = wecom.url
    with pytest.raises(Offline):
        await channel.send(robot(url), Text("x"))
    await channel.close()


async def test_behind_a_proxys_page_the_service_is_not_reached_and_an_empty_body_is_not_known(wecom, channel) -> None:
    wecom.proxy_page()
    with pytest.raises(Offline, match="a web page"):
        await channel.send(robot(wecom.url), Text("x"))
    wecom.answer(200, "")
    with pytest.raises(Unknown, match="an empty body"):
        await channel.send(robot(wecom.url), Text("x"))


async def test_a_robot_that_was_throttled_is_left_alone_for_a_minute(wecom, channel, clock) -> None:
    target = robot(wecom.url)
    for _ in range(20):
        await channel.send(target, Text("x"))
    for _ in range(3):
        with pytest.raises(Throttled) as caught:
            await channel.send(target, Text("x"))
        assert caught.value.retry_after == 60
    assert wecom.calls["/cgi-bin/webhook/send"] == 21  # it was asked once
    clock.advance(60)
    await channel.send(target, Text("x"))


async def test_several_robots_take_turns_and_carry_as_many_times_more(wecom, channel, clock) -> None:
    target = robot(wecom.url, keys=["a", "b", "c"])
    for _ in range(60):
        await channel.send(target, Text("x"))
    assert [message.sender for message in wecom.messages] == ["a", "b", "c"] * 20
    with pytest.raises(Throttled):
        await channel.send(target, Text("x"))


async def test_the_next_robot_is_asked_at_once_where_one_is_throttled(wecom, channel) -> None:
    wecom.fail(45009, who="key=a", count=5)
    target = robot(wecom.url, keys=["a", "b"])
    for _ in range(4):
        await channel.send(target, Text("x"))
    assert [message.sender for message in wecom.messages] == ["b"] * 4
    assert wecom.calls["/cgi-bin/webhook/send"] == 5


async def test_a_dead_robot_is_passed_over_and_said_once(wecom, channel, clock) -> None:
    wecom.remove_robot("a")
    target = robot(wecom.url, keys=["a", "b"])
    receipts = [await channel.send(target, Text(str(n))) for n in range(3)]
    assert "robot 1 of 2" in receipts[0].note
    assert "93000" in receipts[0].note
    assert [receipt.note for receipt in receipts[1:]] == ["", ""]
    assert len(wecom.messages) == 3
    clock.advance(600)
    wecom.add_robot("a")
    await channel.send(target, Text("x"))
    assert wecom.messages[-1].sender == "a"


async def test_where_every_robot_is_dead_each_message_hears_it_from_the_service(wecom, channel) -> None:
    target = robot(wecom.url, keys=["gone", "left"])
    for _ in range(2):
        with pytest.raises(Unauthorised, match="93000"):
            await channel.send(target, Text("x"))
    wecom.add_robot("left")
    await channel.send(target, Text("x"))


async def test_an_outage_of_the_service_is_no_reason_to_ask_every_robot(wecom, channel) -> None:
    wecom.fail(-1, "system busy")
    with pytest.raises(Transient, match="system busy"):
        await channel.send(robot(wecom.url, keys=["a", "b"]), Text("x"))
    assert wecom.calls["/cgi-bin/webhook/send"] == 1


async def test_a_key_can_be_tried_without_anybody_seeing_it(wecom, channel) -> None:
    assert "2 key(s) known" in await channel.probe(robot(wecom.url, keys=["a", "b"]))
    with pytest.raises(Unauthorised, match="robot 2 of 2"):
        await channel.probe(robot(wecom.url, keys=["a", "gone"]))
    assert wecom.messages == []


# ---------------------------------------------------------------- jobs.yaml


def test_a_whole_webhook_address_is_taken_for_a_key() -> None:
    target = RobotTarget.model_validate({"key": "https://wecom.corp.example/api/cgi-bin/webhook/send?key=abc-1&x=y"})
    (found,) = target.robots()
    assert (found.base_url, found.key) == ("https://wecom.corp.example/api", "abc-1")
    explicit = RobotTarget.model_validate(
        {"key": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=abc", "base_url": "http://10.0.0.1/"}
    )
    assert explicit.robots()[0].base_url == "http://10.0.0.1"
    assert robot("http://x", key="k").robots()[0].key == "k"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "needs one of"),
        ({"key": ""}, "needs one of"),
        ({"key": "a", "keys": ["b"]}, "needs one of"),
        ({"key": "   "}, "empty"),
        ({"key": "sec ret/key"}, "not one"),
        ({"key": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?kei=SECRET"}, "key="),
        ({"keys": ["a", "a"]}, "twice"),
        ({"key": "a", "mention_mobiles": ["123"]}, "11 digits"),
        ({"key": "a", "format": "html"}, "format"),
    ],
)
def test_a_target_that_cannot_work_says_why_and_shows_no_key(given, why) -> None:
    with pytest.raises(ValidationError) as caught:
        RobotTarget.model_validate(given)
    text = "".join(error["msg"] + str(error["loc"]) for error in caught.value.errors())
    assert why in text
    assert "SECRET" not in text
    assert "sec ret" not in text


def test_several_keys_may_come_from_one_variable_or_file(tmp_path) -> None:
    assert [found.key for found in RobotTarget.model_validate({"keys": "a, b\nc"}).robots()] == ["a", "b", "c"]
    (tmp_path / "keys").write_text("a\nb\n")
    assert len(RobotTarget.model_validate({"keys_file": str(tmp_path / "keys")}).robots()) == 2


def test_the_pace_is_twenty_a_minute_for_each_robot_unless_the_target_says_otherwise() -> None:
    assert PLUGIN.settings().pace == Pace(chat=Rate(20, 60))
    assert robot("http://x").pace is None
    assert robot("http://x", keys=["a", "b", "c"]).pace == Pace(chat=Rate(60, 60))
    assert robot("http://x", keys=["a", "b"], pace={"chat": "1/s"}).pace == Pace(chat=Rate(1, 1))
    assert robot("http://x", keys=["a", "b"], pace="none").pace == Pace()
    assert PLUGIN.jitter == 0


def test_targets_of_one_robot_share_its_pace_and_their_name_gives_no_key_away() -> None:
    one, other = robot("http://x", key="topsecret"), robot("http://x", key="topsecret", format="markdown")
    assert one.chat_key() == other.chat_key() != robot("http://x", key="another").chat_key()
    assert "topsecret" not in one.chat_key() + repr(one) + repr(one.robots())


async def test_no_key_reaches_a_log_or_an_error(wecom, clock, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    channel = RobotChannel(timing=FAST, monotonic=clock.monotonic)
    target = robot(wecom.url, key="topsecret")
    errors = []
    for spoil in (wecom.stall, wecom.cut, wecom.proxy_page, lambda: wecom.answer(500), lambda: None):
        spoil()
        with pytest.raises((Unknown, Offline)) as caught:
            await channel.send(target, Text("x"))
        errors.append(str(caught.value))
    await channel.close()
    assert "topsecret" not in caplog.text + json.dumps(errors)
