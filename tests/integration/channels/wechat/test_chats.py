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


async def heard(bench, text, **where):
    bench.inbox.clear()
    bench.sim.say(text, **where)
    await bench.until(lambda: bench.inbox)
    return bench.inbox[0]


async def test_a_chat_is_told_by_its_targets(make_bench):
    async with make_bench(targets=TARGETS) as bench:
        bench.sim.world.add_room(OTHER, ["张三"])
        await bench.online()
        await settled(bench)
        in_room = await heard(bench, "hi", room=ROOM, talker="张三")
        assert bench.channel.targets_of(in_room) == ("ops", "again")
        assert bench.channel.targets_of(await heard(bench, "hi", room=OTHER)) == ()
        assert bench.channel.targets_of(await heard(bench, "hi", contact="张三")) == ("boss",)
        assert bench.channel.targets_of(await heard(bench, "hi", contact="李四")) == ()
        # Who wrote in the room, as if he had written directly.
        assert bench.channel.targets_of(replace(in_room, room_id=None)) == ("boss",)


def certain(bench, message) -> bool:
    """Whether the channel can tell whose chat it is, or still asks."""
    try:
        bench.channel.targets_of(message)
    except Offline:
        return False
    return True


async def test_a_room_that_takes_the_name_of_another_is_not_its_target(make_bench):
    async with make_bench(targets={"ops": room(ROOM)}) as bench:
        await bench.online()
        await settled(bench)
        right = await heard(bench, "hi", room=ROOM)
        bench.sim.world.add_room(OTHER, ["李四"])
        wrong = await heard(bench, "hi", room=OTHER)
        bench.sim.rename_room(OTHER, ROOM)
        await bench.until(lambda: [each.topic for each in bench.channel.directory.rooms.values()].count(ROOM) == 2)
        await settled(bench)
        await bench.until(lambda: certain(bench, wrong))
        assert bench.channel.targets_of(wrong) == ()
        assert bench.channel.targets_of(right) in ((), ("ops",))


async def test_before_the_login_nobody_can_tell(make_bench):
    async with make_bench(targets=TARGETS) as bench:
        await bench.online()
        message = await heard(bench, "hi", room=ROOM)
        await bench.stop()
        with pytest.raises(Offline):
            bench.channel.targets_of(message)


async def test_other_targets_are_taken_over_without_a_login(make_bench):
    async with make_bench(targets={"ops": room(ROOM)}) as bench:
        await bench.online()
        message = await heard(bench, "hi", room=ROOM)
        bench.channel.adopt(replace(bench.channel._context, targets={"new": room(ROOM)}))
        await settled(bench)
        assert bench.channel.targets_of(message) == ("new",)


async def test_a_message_says_what_the_bot_is_called_there(bench):
    world = bench.sim.world
    world.find_room(ROOM).aliases[world.bot.id] = "值班机器"
    await bench.online()
    assert (await heard(bench, "status", room=ROOM)).called == ()
    assert (await heard(bench, f"@值班机器{SEPARATOR}status", room=ROOM, mention=False)).called == ("小桥", "值班机器")
    # Written by hand, with the name that it has elsewhere; no ids come with it.
    by_hand = await heard(bench, "＠小桥，status", room=ROOM, mention=False)
    assert (by_hand.mentioned, by_hand.called) == (True, ("小桥",))
    assert (await heard(bench, "@小桥 status", contact="张三")).called == ()


async def test_a_mention_in_a_quoted_message_is_none(bench):
    await bench.online()
    quoting = await heard(bench, QUOTE + "看看", room=ROOM, mention=False)
    assert (quoting.mentioned, quoting.text) == (False, QUOTE + "看看")
    assert (await heard(bench, f"{QUOTE}@小桥 ack 3", room=ROOM, mention=False)).mentioned


async def test_another_name_of_the_bot_in_a_room_is_known_at_once(bench):
    world = bench.sim.world
    place = world.find_room(ROOM)
    await bench.online()
    assert not (await heard(bench, "@新名 status", room=ROOM, mention=False)).mentioned
    place.aliases[world.bot.id] = "新名"
    bench.channel._session.on_event("dirty", {"payloadType": 4, "payloadId": place.id})
    assert (await heard(bench, "@新名 status", room=ROOM, mention=False)).mentioned


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
