"""Texts and pictures on their way out, and what is made of the gateway's answers."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.channels.wechat.wechat_harness import FAST, contact, room
from wxbridge.channels.wechat.gateway_errors import (
    GatewayNoAnswer,
    GatewayRefusal,
    GatewayRequestNotSent,
    explain_error,
)
from wxbridge.core.errors import BadAddress, Offline, Permanent, SendError, Throttled, Transient, Unknown
from wxbridge.core.model import PictureFile, Text

ROOM = "技术讨论群"
AT = "\u2005"


def png(size: int) -> bytes:
    """A readable picture of exactly `size` bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    front = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))
    back = chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return front + chunk(b"tEXt", b"x\0" + b"y" * (size - len(front) - len(back) - 14)) + back


def picture(path: Path, size: int) -> PictureFile:
    data = png(size)
    path.write_bytes(data)
    return PictureFile(str(path), "panel 面板.png", "image/png", len(data))


async def test_a_text_arrives_in_the_room_and_the_receipt_is_the_messages_id(harness):
    await harness.online()
    receipt = await harness.channel.send(room(ROOM), Text("第一行\nline two 🎉"))
    (sent,) = harness.sim.world.messages(ROOM, sent_by_bot=True)
    assert (sent.id, sent.text) == (receipt.id, "第一行\nline two 🎉")


async def test_a_text_arrives_at_a_contact(harness):
    await harness.online()
    await harness.channel.send(contact("张三"), Text("hello"))
    assert [message.text for message in harness.sim.world.messages(contact="张三")] == ["hello"]


@pytest.mark.parametrize(
    ("size", "method"),
    [(200, "MessageSendFile"), (3_000_000, "MessageSendFile"), (3_000_001, "MessageSendFileStream")],
)
async def test_a_picture_arrives_byte_for_byte(make_harness, tmp_path, size, method):
    async with make_harness(timing=replace(FAST, deadline=10, ding_answer=5)) as harness:
        await harness.online()
        body = picture(tmp_path / "stored", size)
        assert body.size == size
        receipt = await harness.channel.send(room(ROOM), body)
        (sent,) = harness.sim.world.messages(ROOM, sent_by_bot=True)
        assert sent.id == receipt.id
        assert (sent.media.name, sent.media.data) == (body.name, png(size))
        assert harness.sim.gateway.calls[method] == 1


async def test_twenty_megabytes_arrive_and_texts_pass_meanwhile(make_harness, tmp_path):
    async with make_harness(timing=replace(FAST, deadline=60, ding_answer=60)) as harness:
        await harness.online()
        body = picture(tmp_path / "stored", 20 * 1024 * 1024)
        sending = asyncio.create_task(harness.channel.send(room(ROOM), body))
        await harness.channel.send(room("运维值班"), Text("meanwhile"))
        await sending
        (sent,) = harness.sim.world.messages(ROOM, sent_by_bot=True)
        assert len(sent.media.data) == body.size


async def test_what_cannot_be_sent_is_said_for_good(harness, tmp_path):
    await harness.online()
    too_big = tmp_path / "big"
    with too_big.open("wb") as file:
        file.truncate(20 * 1024 * 1024 + 1)
    (tmp_path / "empty").touch()
    for body, words in (
        (Text(""), "empty"),
        (Text(" \n"), "empty"),
        (PictureFile(str(tmp_path / "gone"), "p.png", "image/png", 1), "No such file"),
        (PictureFile(str(tmp_path / "empty"), "p.png", "image/png", 0), "empty"),
        (PictureFile(str(too_big), "p.png", "image/png", 1), "at most"),
    ):
        with pytest.raises(Permanent, match=words):
            await harness.channel.send(room(ROOM), body)
    assert not harness.sim.world.messages(sent_by_bot=True)


# Mentions


async def test_mentions_carry_ids_and_the_names_that_the_room_sees(harness):
    world = harness.sim.world
    zhang, li = world.find_contact("张三"), world.find_contact("李四")
    world.rename_contact("李四", alias="老李")
    world.find_room(ROOM).aliases[zhang.id] = "值班张三"
    await harness.online()
    await harness.channel.send(room(ROOM), Text("disk full"), ("张三", "老李", "张三", "nobody"))
    (sent,) = harness.sim.world.messages(ROOM, sent_by_bot=True)
    assert sent.mention_ids == (zhang.id, li.id)
    assert sent.text == f"@值班张三{AT}@李四{AT}@nobody disk full"


async def test_a_mention_by_id_in_the_bodys_own_list(harness):
    await harness.online()
    zhang = harness.sim.world.find_contact("张三")
    await harness.channel.send(room(ROOM), Text("one\ntwo", (zhang.id,)))
    (sent,) = harness.sim.world.messages(ROOM, sent_by_bot=True)
    assert (sent.text, sent.mention_ids) == (f"@张三{AT}\none\ntwo", (zhang.id,))


async def test_all_mentions_everybody_but_the_bot(harness):
    await harness.online()
    await harness.channel.send(room(ROOM), Text("up"), ("all",))
    (sent,) = harness.sim.world.messages(ROOM, sent_by_bot=True)
    assert sent.text == f"@所有人{AT}up"
    assert set(sent.mention_ids) == set(harness.sim.world.contacts)


async def test_two_of_one_name_are_only_named(harness):
    harness.sim.world.add_contact("张三")
    harness.sim.world.add_room("双胞胎")
    await harness.online()
    await harness.channel.send(room("双胞胎"), Text("x"), ("张三",))
    (sent,) = harness.sim.world.messages("双胞胎", sent_by_bot=True)
    assert (sent.text, sent.mention_ids) == ("@张三 x", ())


async def test_a_mention_does_not_stop_a_message_when_names_cannot_be_asked(harness):
    await harness.online()
    harness.sim.gateway.faults.fail_next(50, "INTERNAL", method="RoomMemberPayload")
    await harness.channel.send(room(ROOM), Text("x"), ("张三",))
    (sent,) = harness.sim.world.messages(ROOM, sent_by_bot=True)
    assert sent.text == f"@张三{AT}x"


# Errors


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_ARGUMENT", Permanent),
        ("NOT_FOUND", Permanent),
        ("PERMISSION_DENIED", Permanent),
        ("UNAVAILABLE", Transient),
        ("INTERNAL", Transient),
        ("UNKNOWN", Transient),
        ("DEADLINE_EXCEEDED", Unknown),
        ("CANCELLED", Unknown),
        ("RESOURCE_EXHAUSTED", Throttled),
    ],
)
async def test_the_gateways_answer_decides_whether_a_retry_helps(harness, code, kind):
    await harness.online()
    harness.sim.gateway.faults.fail_next(1, code)
    with pytest.raises(SendError) as caught:
        await harness.channel.send(room(ROOM), Text("x"))
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert "simulated failure" in str(caught.value)
    await harness.channel.send(room(ROOM), Text("y"))


async def test_a_text_too_large_for_the_gateway_is_given_up(make_harness):
    async with make_harness(timing=replace(FAST, deadline=10, ding_answer=5)) as harness:
        await harness.online()
        with pytest.raises(Permanent, match="larger than max") as caught:
            await harness.channel.send(room(ROOM), Text("x" * (4 * 1024 * 1024 + 1)))
        assert caught.value.code == "RESOURCE_EXHAUSTED"


async def test_a_send_that_times_out_is_unknown_because_it_may_still_arrive(make_harness):
    async with make_harness(timing=replace(FAST, deadline=0.2)) as harness:
        await harness.online()
        harness.sim.gateway.faults.delay(0.5, 1)
        with pytest.raises(Unknown) as caught:
            await harness.channel.send(room(ROOM), Text("late"))
        assert caught.value.code == "DEADLINE_EXCEEDED"
        (late,) = await harness.sim.wait_for(lambda: harness.sim.world.messages(sent_by_bot=True))
        assert late.text == "late"


@pytest.mark.parametrize("cut", ["drop", "kill"])
async def test_a_send_that_is_cut_off_is_unknown(harness, cut):
    await harness.online()
    harness.sim.gateway.faults.delay(30)
    sending = asyncio.create_task(harness.channel.send(room(ROOM), Text("x")))
    await harness.until(lambda: harness.sim.gateway.calls.get("MessageSendText"))
    if cut == "drop":
        harness.sim.gateway.drop()
    else:
        await harness.sim.gateway.kill()
    with pytest.raises(Unknown):
        await sending


async def test_a_picture_cut_off_in_the_middle_is_unknown(make_harness, tmp_path):
    async with make_harness(timing=replace(FAST, deadline=5)) as harness:
        await harness.online()
        harness.sim.gateway.faults.delay(30)
        sending = asyncio.create_task(harness.channel.send(room(ROOM), picture(tmp_path / "p", 4_000_000)))
        await harness.until(lambda: harness.sim.gateway.calls.get("MessageSendFileStream"))
        await harness.sim.gateway.kill()
        with pytest.raises(Unknown):
            await sending


async def test_nothing_is_sent_while_offline(harness):
    with pytest.raises(Offline, match="starting"):
        await harness.channel.send(room(ROOM), Text("x"))
    harness.start()
    await harness.until(lambda: harness.channel.status.qrcode)
    with pytest.raises(Offline, match="waiting for scan"):
        await harness.channel.send(room(ROOM), Text("x"))
    await harness.sim.gateway.kill()
    with pytest.raises(Offline):
        await harness.channel.send(room(ROOM), Text("x"))


async def test_a_send_to_a_gateway_that_just_died_was_not_sent(harness):
    await harness.online()
    await harness.sim.gateway.kill()
    with pytest.raises(Offline):
        await harness.channel.send(room(ROOM), Text("x"))


async def test_an_unknown_room_names_what_it_could_be(harness):
    await harness.online()
    with pytest.raises(BadAddress, match="wxbridge rooms") as caught:
        await harness.channel.send(room("技术讨论"), Text("x"))
    assert caught.value.candidates == (f"{ROOM} ({harness.sim.world.find_room(ROOM).id})",)


async def test_a_cancelled_send_leaves_the_connection_alone(harness):
    await harness.online()
    harness.sim.gateway.faults.delay(30, 1)
    sending = asyncio.create_task(harness.channel.send(room(ROOM), Text("x")))
    await harness.until(lambda: harness.sim.gateway.calls.get("MessageSendText"))
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await harness.channel.send(room(ROOM), Text("y"))
    assert len(harness.states) == len(set(harness.states)) + 1  # scanned is there twice: scanned, confirmed


CODES = ["CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "PERMISSION_DENIED"]
CODES += ["RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "UNAUTHENTICATED", "ABORTED"]


@given(st.sampled_from(CODES), st.text(max_size=50))
def test_every_failure_has_a_meaning_with_the_services_words(code, words):
    error = explain_error(GatewayRefusal(code, words))
    assert isinstance(error, SendError)
    assert error.code == code
    assert words in str(error)
    assert isinstance(explain_error(GatewayRequestNotSent(words)), Offline)
    assert isinstance(explain_error(GatewayNoAnswer(words)), Unknown)
