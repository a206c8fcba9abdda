"""What people write, as the bridge hears it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.channels.wechat.wechat_harness import FAST, room
from wxbridge.channels.wechat import events
from wxbridge.channels.wechat.mentions import SEPARATOR, says_name, with_mentions
from wxbridge.core.model import ChannelState, Text
from wxbridge.simulator import SimulatedFile

ROOM = "技术讨论群"
EVENTS = {"message": 2, "error": 16, "scan": 22}


async def test_a_message_in_a_room_is_heard_and_is_one_log_line(harness):
    await harness.online()
    with structlog.testing.capture_logs() as logs:
        said = harness.sim.world.say("有人吗\nhello", room=ROOM, talker="张三")
        await harness.until(lambda: harness.inbox)
    (heard,) = harness.inbox
    place, who = harness.sim.world.find_room(ROOM), harness.sim.world.find_contact("张三")
    assert (heard.id, heard.text, heard.channel) == (said.id, "有人吗\nhello", "wechat")
    assert (heard.room_id, heard.room_topic) == (place.id, ROOM)
    assert (heard.sender_id, heard.sender_name) == (who.id, "张三")
    assert not heard.mentioned
    assert abs(heard.at.timestamp() - said.timestamp) <= 1
    (line,) = [line for line in logs if line["event"] == "message"]
    assert {key: line[key] for key in ("room", "topic", "sender", "name", "text", "log_level")} == {
        "room": place.id, "topic": ROOM, "sender": who.id, "name": "张三", "text": "有人吗\nhello", "log_level": "info",
    }  # fmt: skip


async def test_a_direct_message_counts_as_addressed(harness):
    await harness.online()
    harness.sim.world.say("hi", contact="李四")
    await harness.until(lambda: harness.inbox)
    assert (harness.inbox[0].room_id, harness.inbox[0].mentioned) == (None, True)


@pytest.mark.parametrize("with_ids", [True, False])
async def test_a_mention_is_seen_with_and_without_ids(harness, with_ids):
    await harness.online()
    harness.sim.world.say("status", room=ROOM, mention=True, with_mention_ids=with_ids)
    await harness.until(lambda: harness.inbox)
    assert harness.inbox[0].mentioned
    assert harness.inbox[0].text == f"@小桥{SEPARATOR}status"


async def test_a_mention_by_the_bots_name_in_this_room(harness):
    world = harness.sim.world
    world.find_room(ROOM).aliases[world.bot.id] = "值班机器"
    await harness.online()
    harness.sim.world.say("@值班机器 status", room=ROOM, mention=False)
    harness.sim.world.say("@值班机器人 status", room=ROOM, mention=False)
    harness.sim.world.say("@张三 status", room=ROOM, mention=False)
    await harness.until(lambda: len(harness.inbox) == 3)
    assert [heard.mentioned for heard in harness.inbox] == [True, False, False]


async def test_the_bots_own_messages_are_not_heard(harness):
    await harness.online()
    await harness.channel.send(room(ROOM), Text("from me"))
    harness.sim.world.say("from them", room=ROOM)
    await harness.until(lambda: harness.inbox)
    assert [heard.text for heard in harness.inbox] == ["from them"]


async def test_an_event_that_is_repeated_is_heard_once(harness):
    await harness.online()
    said = harness.sim.world.say("once", room=ROOM)
    for _ in range(3):
        harness.sim.gateway.emit(EVENTS["message"], {"messageId": said.id})
    harness.sim.world.say("after", room=ROOM)
    await harness.until(lambda: harness.inbox and harness.inbox[-1].text == "after")
    assert [heard.text for heard in harness.inbox] == ["once", "after"]


async def test_a_picture_is_heard_as_such(harness):
    await harness.online()
    world = harness.sim.world
    with structlog.testing.capture_logs() as logs:
        world._add(
            talker_id=world.find_contact("张三").id, to_id="", room_id=world.find_room(ROOM).id,
            media=SimulatedFile("p.png", "image/png", b"x", 1, 1),
        )  # fmt: skip
        await harness.until(lambda: harness.inbox)
    assert harness.inbox[0].text == "[image]"
    assert [line["text"] for line in logs if line["event"] == "message"] == ["[image]"]


async def test_the_order_is_kept(harness):
    await harness.online()
    harness.sim.gateway.faults.delay(0.1, 1, method="MessagePayload")
    for number in range(30):
        harness.sim.world.say(str(number), room=ROOM)
    await harness.until(lambda: len(harness.inbox) == 30)
    assert [heard.text for heard in harness.inbox] == [str(number) for number in range(30)]


async def test_one_payload_that_fails_does_not_deafen_it(harness):
    await harness.online()
    harness.sim.gateway.faults.fail_next(2, "INTERNAL", method="MessagePayload")
    lost = harness.sim.world.say("lost", room=ROOM)
    await harness.until(lambda: harness.sim.gateway.calls.get("MessagePayload") == 2)
    harness.sim.world.say("heard", room=ROOM)
    await harness.until(lambda: harness.inbox)
    assert [heard.text for heard in harness.inbox] == ["heard"]
    # A gateway that says it again is listened to again.
    harness.sim.gateway.emit(EVENTS["message"], {"messageId": lost.id})
    await harness.until(lambda: len(harness.inbox) == 2)


@pytest.mark.parametrize("announced_early", [True, False])
async def test_the_gateway_is_not_asked_what_the_bot_wrote_itself(harness, announced_early):
    await harness.online()
    if announced_early:
        harness.sim.gateway.faults.delay(0.1, method="MessageSendText", after=True)
    for number in range(3):
        await harness.channel.send(room(ROOM), Text(f"mine {number}"))
    harness.sim.world.say("theirs", room=ROOM)
    await harness.until(lambda: harness.inbox)
    assert [heard.text for heard in harness.inbox] == ["theirs"]
    assert harness.sim.gateway.calls["MessagePayload"] == 1


async def test_what_people_write_is_heard_while_a_send_is_not_answered(make_harness):
    async with make_harness(timing=replace(FAST, deadline=60)) as harness:
        await harness.online()
        harness.sim.gateway.faults.delay(1.9, method="MessageSendText")
        sending = asyncio.create_task(harness.channel.send(room(ROOM), Text("slow")))
        await harness.until(lambda: harness.sim.gateway.calls.get("MessageSendText"))
        harness.sim.world.say("theirs", room=ROOM)
        await harness.until(lambda: harness.inbox)
        assert not sending.done()
        await sending


async def test_a_payload_that_fails_once_is_asked_for_again(harness):
    await harness.online()
    harness.sim.gateway.faults.fail_next(1, "INTERNAL", method="MessagePayload")
    harness.sim.world.say("here", room=ROOM)
    await harness.until(lambda: harness.inbox)


async def test_a_handler_that_fails_or_hangs_does_not_stop_the_log(harness):
    await harness.online()
    free = asyncio.Event()

    async def handler(inbound):
        if inbound.text == "bad":
            raise RuntimeError("handler broke")
        await free.wait()

    harness.handler = handler
    with structlog.testing.capture_logs() as logs:
        for text in ("bad", "slow", "next"):
            harness.sim.world.say(text, room=ROOM)
        await harness.until(lambda: [line for line in logs if line.get("text") == "next"])
        assert [heard.text for heard in harness.inbox] == ["bad", "slow"]
        free.set()
        await harness.until(lambda: len(harness.inbox) == 3)


@pytest.mark.parametrize(
    "payload",
    [{"gerror": json.dumps({"message": "boom"})}, {"data": "boom"}, {"gerror": {"nested": 1}}, {}, {"x": "y"}],
)
async def test_an_error_event_does_not_end_the_hearing(harness, payload):
    await harness.online()
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            harness.sim.gateway.emit(EVENTS["error"], payload)
        harness.sim.world.say("still here", room=ROOM)
        await harness.until(lambda: harness.inbox)
    assert len([line for line in logs if line["event"] == "wechat gateway error"]) == 1
    assert harness.states.count(ChannelState.ONLINE) == 1


async def test_an_echo_of_the_scan_does_not_end_the_login(harness):
    await harness.online()
    for status in (0, 1, 3, 4, 5):
        harness.sim.gateway.emit(EVENTS["scan"], {"status": status, "qrcode": "old"})
    harness.sim.gateway.emit(EVENTS["scan"], {"status": 2})
    harness.sim.world.say("still here", room=ROOM)
    await harness.until(lambda: harness.inbox)
    assert harness.channel.status.state is ChannelState.ONLINE


async def test_events_that_make_no_sense_are_left_out(harness):
    await harness.online()
    for kind in range(30):
        for payload in ({}, {"data": None}, {"messageId": 5}, {"contactId": None}, {"status": "x"}):
            if kind not in (EVENTS["scan"], 26):  # these two say that the login is gone
                harness.sim.gateway.emit(kind, payload)
    harness.sim.world.say("still here", room=ROOM)
    await harness.until(lambda: harness.inbox)
    assert harness.states.count(ChannelState.ONLINE) == 1


async def test_a_stranger_in_a_room_is_named_and_is_nobody_to_write_to(harness):
    await harness.online()
    world = harness.sim.world
    stranger = world.add_contact("路人")
    world.find_room(ROOM).member_ids.append(stranger.id)
    harness.sim.world.say("hello", room=ROOM, talker="路人")
    harness.sim.world.say("again", room=ROOM, talker="路人")
    await harness.until(lambda: len(harness.inbox) == 2)
    assert [heard.sender_name for heard in harness.inbox] == ["路人", "路人"]


async def test_payloads_are_remembered_not_asked_for_at_every_message(harness):
    await harness.online()
    calls = dict(harness.sim.gateway.calls)
    for number in range(20):
        harness.sim.world.say(str(number), room=ROOM)
    await harness.until(lambda: len(harness.inbox) == 20)
    for method in ("RoomPayload", "ContactPayload"):
        assert harness.sim.gateway.calls[method] == calls[method]


# Properties

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.dictionaries(
    st.sampled_from(
        [
            "status",
            "qrcode",
            "data",
            "gerror",
            "messageId",
            "contactId",
            "roomId",
            "timestamp",
            "newTopic",
            "oldTopic",
            "changerId",
            "inviterId",
            "inviteeIdList",
            "removeeIdList",
            "removerId",
        ]
    ),
    json_values,
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 30), fields.map(json.dumps) | json_values.map(json.dumps) | st.text(max_size=30))
def test_no_payload_whatsoever_ends_wechatys_parser(kind, payload):
    from wxbridge.channels.wechat.puppet import GatewayPuppet, pb

    async def parse():
        heard = []
        puppet = GatewayPuppet("127.0.0.1:1", "token", 1.0, lambda *_: None)

        class Stub:
            async def event(self):
                clean = events.sanitise(kind, payload)
                if clean is not None:
                    yield pb.EventResponse(type=kind, payload=clean)

        for name in events.NAMES:
            puppet.on(name, lambda payload, name=name: heard.append((name, payload)))
        puppet._puppet_stub = Stub()
        await puppet._listen_for_event()
        return heard

    heard = asyncio.run(parse())
    assert len(heard) == (events.sanitise(kind, payload) is not None)


names = st.text(st.characters(exclude_categories=["Cs", "Zs", "Cc"]), min_size=1, max_size=10)


@given(names, st.text(max_size=10), st.text(max_size=10))
def test_a_name_followed_by_wechats_separator_is_always_seen(name, before, after):
    assert says_name(f"{before}@{name}{SEPARATOR}{after}", [name])


def test_where_a_name_counts_as_a_mention():
    assert says_name("@bot", ["bot"])
    assert says_name("请@bot 看", ["bot"])
    assert says_name("x\n@bot\nstatus", ["", "bot"])
    assert not says_name("@bots", ["bot"])
    assert not says_name("mail me@bot now", ["bot"])
    assert not says_name("bot", ["bot"])
    assert not says_name("@", [""])


@given(st.text(max_size=30), st.lists(st.tuples(names, st.booleans()), max_size=4))
def test_a_text_with_mentions_ends_with_the_text_itself(text, shown):
    assert with_mentions(text, shown).endswith(text)
    twice = with_mentions(with_mentions(text, shown), [each for each in shown if each[1]])
    assert twice == with_mentions(text, shown)
