"""Where somebody writes: which target a chat is, and what the bot is called there; against the simulator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.channels.wechat.wechat_harness import contact, room, settled
from wxbridge.channels.wechat.mentions import SEPARATOR, says_name, without_quote
from wxbridge.core.errors import Offline

ROOM, OTHER = "技术讨论群", "值班群"
TARGETS = {
    "ops": room(ROOM),
    "again": room(f" {ROOM} "),
    "boss": contact("张三"),
    "nobody": contact("谁也不是"),
}
QUOTE = "「小桥：@小桥 status」\n- - - - - - - - - - - - - - -\n"


async def heard(harness, text, **where):
    harness.inbox.clear()
    harness.sim.world.say(text, **where)
    await harness.until(lambda: harness.inbox)
    return harness.inbox[0]


async def test_a_chat_is_told_by_its_targets(make_harness):
    async with make_harness(targets=TARGETS) as harness:
        harness.sim.world.add_room(OTHER, ["张三"])
        await harness.online()
        await settled(harness)
        in_room = await heard(harness, "hi", room=ROOM, talker="张三")
        assert harness.channel.targets_of(in_room) == ("ops", "again")
        assert harness.channel.targets_of(await heard(harness, "hi", room=OTHER)) == ()
        assert harness.channel.targets_of(await heard(harness, "hi", contact="张三")) == ("boss",)
        assert harness.channel.targets_of(await heard(harness, "hi", contact="李四")) == ()
        # Who wrote in the room, as if he had written directly.
        assert harness.channel.targets_of(replace(in_room, room_id=None)) == ("boss",)


def certain(harness, message) -> bool:
    """Whether the channel can tell whose chat it is, or still asks."""
    try:
        harness.channel.targets_of(message)
    except Offline:
        return False
    return True


async def test_a_room_that_takes_the_name_of_another_is_not_its_target(make_harness):
    async with make_harness(targets={"ops": room(ROOM)}) as harness:
        await harness.online()
        await settled(harness)
        right = await heard(harness, "hi", room=ROOM)
        harness.sim.world.add_room(OTHER, ["李四"])
        wrong = await heard(harness, "hi", room=OTHER)
        harness.sim.world.rename_room(OTHER, ROOM)
        await harness.until(lambda: [each.topic for each in harness.channel.directory.rooms.values()].count(ROOM) == 2)
        await settled(harness)
        await harness.until(lambda: certain(harness, wrong))
        assert harness.channel.targets_of(wrong) == ()
        assert harness.channel.targets_of(right) in ((), ("ops",))


async def test_before_the_login_nobody_can_tell(make_harness):
    async with make_harness(targets=TARGETS) as harness:
        await harness.online()
        message = await heard(harness, "hi", room=ROOM)
        await harness.stop()
        with pytest.raises(Offline):
            harness.channel.targets_of(message)


async def test_other_targets_are_taken_over_without_a_login(make_harness):
    async with make_harness(targets={"ops": room(ROOM)}) as harness:
        await harness.online()
        message = await heard(harness, "hi", room=ROOM)
        harness.channel.adopt(replace(harness.context, targets={"new": room(ROOM)}))
        await settled(harness)
        assert harness.channel.targets_of(message) == ("new",)


async def test_a_message_says_what_the_bot_is_called_there(harness):
    world = harness.sim.world
    world.find_room(ROOM).aliases[world.bot.id] = "值班机器"
    await harness.online()
    assert (await heard(harness, "status", room=ROOM)).called == ()
    assert (await heard(harness, f"@值班机器{SEPARATOR}status", room=ROOM, mention=False)).called == (
        "小桥",
        "值班机器",
    )
    # Written by hand, with the name that it has elsewhere; no ids come with it.
    by_hand = await heard(harness, "＠小桥，status", room=ROOM, mention=False)
    assert (by_hand.mentioned, by_hand.called) == (True, ("小桥",))
    assert (await heard(harness, "@小桥 status", contact="张三")).called == ()


async def test_a_mention_in_a_quoted_message_is_none(harness):
    await harness.online()
    quoting = await heard(harness, QUOTE + "看看", room=ROOM, mention=False)
    assert (quoting.mentioned, quoting.text) == (False, QUOTE + "看看")
    assert (await heard(harness, f"{QUOTE}@小桥 ack 3", room=ROOM, mention=False)).mentioned


async def test_another_name_of_the_bot_in_a_room_is_known_at_once(harness):
    world = harness.sim.world
    place = world.find_room(ROOM)
    await harness.online()
    assert not (await heard(harness, "@新名 status", room=ROOM, mention=False)).mentioned
    place.aliases[world.bot.id] = "新名"
    harness.channel.session.on_event("dirty", {"payloadType": 4, "payloadId": place.id})
    assert (await heard(harness, "@新名 status", room=ROOM, mention=False)).mentioned


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (QUOTE + "reply", "reply"),
        ("「a：b」\n—————————————————\nreply\nmore", "reply\nmore"),
        ("「a：「b：c」\n- - - - - -\nd」\n- - - - - -\nreply", "reply"),
        ("「a」 is a word", "「a」 is a word"),
        ("「a：b」\n- -\nreply", "「a：b」\n- -\nreply"),
        ("text\n- - - - - - -\nreply", "text\n- - - - - - -\nreply"),
        (QUOTE.rstrip(), ""),
    ],
)
def test_the_quoted_message_is_taken_off(text, said):
    assert without_quote(text) == said


def test_a_name_counts_in_large_and_small_letters_and_before_a_sign():
    assert says_name("@bot: status", ["Bot"])
    assert says_name("＠小桥、状态", ["小桥"])
    assert not says_name("@bot.example", ["bot"])
