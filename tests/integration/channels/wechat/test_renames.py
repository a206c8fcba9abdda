"""Rooms and contacts across renames, new ids and other accounts; over real sockets, against the simulator."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import structlog

from tests.integration.channels.wechat.wechat_harness import contact, remembered_of, room, settled, topics
from wxbridge.channels.wechat.connection import WechatConnection
from wxbridge.channels.wechat.identity_store import IdentityStore
from wxbridge.core.errors import BadAddress, Offline, StorageError
from wxbridge.core.model import ChannelState, Text
from wxbridge.simulator import Simulator
from wxbridge.simulator.world import LoginState

TEAM = [f"队员{number}" for number in range(6)]
OTHERS = [f"路人{number}" for number in range(6)]


@pytest.fixture
async def sim():
    """The room A of the team, and rooms of others that have nothing to do with it."""
    async with Simulator(contacts=[*TEAM, *OTHERS], auto_scan=True) as made:
        for old in list(made.world.rooms):
            del made.world.rooms[old]
        made.world.add_room("A", TEAM)
        made.world.add_room("别的群", OTHERS)
        yield made


async def up(harness):
    harness.start()
    await harness.synced()
    await settled(harness)


async def send(harness, target, text="x"):
    """Send as delivery does: what is offline is tried again."""
    for _ in range(200):
        try:
            return await harness.channel.send(target, Text(text))
        except Offline:
            await harness.until(lambda: harness.channel.session, timeout=5)
            await harness.until(iter([False, True]).__next__)
    raise AssertionError(harness.channel.status)


def texts(sim, name):
    return [message.text for message in sim.world.messages(room=name, sent_by_bot=True)]


async def relogin(harness):
    """All ids become new while the bridge is connected."""
    old = set(harness.sim.world.rooms)
    harness.sim.world.relogin_with_new_ids()
    await harness.until(lambda: harness.channel.directory.rooms.keys() == harness.sim.world.rooms.keys() - old)
    await settled(harness)


async def test_a_renamed_room_goes_on_and_it_is_told_once(make_harness, sim):
    targets = {"ops": room("A"), "dev": room("A")}
    async with make_harness(sim, targets=targets) as harness:
        await up(harness)
        sim.world.rename_room("A", "B")
        await harness.until(lambda: harness.told)
        await send(harness, room("A"))
        assert texts(sim, "B") == ["x"]
        assert "room 'A' is called B" in harness.told[0]
        assert "Put 'B' into jobs.yaml" in harness.told[0]
        assert harness.told[0].startswith("Targets ops, dev: ")
    async with make_harness(sim, targets=targets) as harness:
        await up(harness)
        await send(harness, room("A"), "y")
        assert texts(sim, "B") == ["x", "y"]
        # Back under its name, and away again: that is news.
        sim.world.rename_room("B", "A")
        await harness.until(lambda: "A" in topics(harness))
        await settled(harness)
        assert harness.told == []
        sim.world.rename_room("A", "B")
        await harness.until(lambda: harness.told)


async def test_a_room_renamed_while_the_bridge_was_away_keeps_its_messages_and_is_told(make_harness, sim):
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)
    sim.world.rename_room("A", "B")
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        harness.start()
        await send(harness, room("A"))
        assert texts(sim, "B") == ["x"]
        # The room is the same by its id, so that nothing has to wait until its new name is read.
        await harness.until(lambda: len(harness.told) == 1)


@pytest.mark.parametrize("by", ["id", "topic"])
async def test_new_ids_are_followed_by_the_topic(make_harness, sim, by):
    target = room({"id": sim.world.find_room("A").id, "topic": "A"}[by])
    async with make_harness(sim, targets={"ops": target}) as harness:
        await up(harness)
        await relogin(harness)
        await send(harness, target)
        assert texts(sim, "A") == ["x"]
        await settled(harness)
        assert len(harness.told) == (by == "id")
        assert not harness.told or "Put 'A' into jobs.yaml" in harness.told[0]
    async with make_harness(sim, targets={"ops": target}) as harness:
        await up(harness)
        assert harness.told == []


async def test_new_ids_and_a_new_topic_are_followed_by_the_members_names(make_harness, sim):
    """Everything is new: what is left are the people's names. It is a guess, and it is kept."""
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)
    sim.world.rename_room("A", "C")
    sim.world.relogin_with_new_ids()
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        harness.start()
        await send(harness, room("A"))
        assert texts(sim, "C") == ["x"]
        assert len(harness.told) == 1
        assert "this is a guess" in harness.told[0]
        # A twin of its members does not make it waver.
        sim.world.add_room("D", TEAM)
        harness.channel.session.sync.sync_soon()
        await harness.until(lambda: "D" in topics(harness))
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)
        await send(harness, room("A"), "y")
        assert texts(sim, "C") == ["x", "y"]
        assert harness.told == []
        # The real one does take over, and it is told.
        sim.world.rename_room("D", "A")
        await harness.until(lambda: harness.told)
        await send(harness, room("A"), "z")
        assert texts(sim, "A") == ["z"]
        assert "from now on" in harness.told[0]


async def test_members_that_are_no_friends_are_known_by_the_names_they_have_in_the_room(make_harness, sim, monkeypatch):
    async def nobody(self):
        return []

    monkeypatch.setattr(WechatConnection, "contact_ids", nobody)
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)
        remembered = await remembered_of(harness, "room:A")
        assert {member.name for member in remembered.members} == set(TEAM)
        calls = sim.gateway.calls["RoomMemberPayload"]
        await settled(harness)
        assert sim.gateway.calls["RoomMemberPayload"] == calls
    sim.world.rename_room("A", "C")
    sim.world.relogin_with_new_ids()
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        harness.start()
        await send(harness, room("A"))
        assert texts(sim, "C") == ["x"]
        assert "this is a guess" in harness.told[0]


async def test_what_may_be_one_of_two_waits_and_is_told_once(make_harness, sim):
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)
    sim.world.rename_room("A", "C")
    sim.world.add_room("D", TEAM)
    sim.world.relogin_with_new_ids()
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)
        with pytest.raises(BadAddress) as caught:
            await harness.channel.send(room("A"), Text("x"))
        assert {name[0] for name in caught.value.candidates} == {"C", "D"}
        await settled(harness)
        assert len(harness.told) == 1
        assert all(each.id in harness.told[0] for each in sim.world.rooms.values() if each.topic in "CD")
        assert not sim.world.messages(sent_by_bot=True)


async def test_the_one_used_before_stays_when_another_is_called_the_same(make_harness, sim):
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)
        mine = sim.world.find_room("A").id
        sim.world.add_room("A", OTHERS)
        sim.world.say(
            "hello", room=next(each for each in sim.world.rooms if sim.world.rooms[each].topic == "A" != mine)
        )
        harness.channel.session.sync.sync_soon()
        await harness.until(lambda: harness.told)
        await send(harness, room("A"))
        assert texts(sim, mine) == ["x"]
        assert "2 rooms are called 'A'" in harness.told[0]
        # With new ids, the members say which of the two it was.
        await relogin(harness)
        await send(harness, room("A"), "y")
        assert [message.text for message in sim.world.messages(sent_by_bot=True)] == ["x", "y"]
        used = sim.world.messages(sent_by_bot=True)[-1].room_id
        assert sim.world.find_contact(TEAM[0]).id in sim.world.rooms[used].member_ids
        assert "this is a guess" in harness.told[1]


async def test_a_room_that_the_bot_left_is_told_and_waits_until_it_is_back(make_harness, sim):
    lost = sim.world.find_room("A")
    # By its id: another of the same name and members, that was there all the time, is not taken for it.
    sim.world.add_room("A", TEAM)
    async with make_harness(sim, targets={"ops": room(lost.id)}) as harness:
        await up(harness)
        del sim.world.rooms[lost.id]
        harness.channel.session.on_event("room-leave", SimpleNamespace(room_id=lost.id))
        await harness.until(lambda: harness.told)
        with pytest.raises(BadAddress, match="any more"):
            await harness.channel.send(room(lost.id), Text("x"))
        assert "6 members" in harness.told[0]
        sim.world.rooms[lost.id] = lost
        harness.channel.session.sync.sync_soon()
        await harness.until(lambda: lost.id in harness.channel.directory.rooms)
        await send(harness, room(lost.id), "y")
        assert texts(sim, lost.id) == ["y"]
        await settled(harness)
        assert len(harness.told) == 1


async def test_another_account_makes_a_guess_of_what_was_certain(make_harness, sim):
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)
    sim.world.rename_room("A", "B")
    old, sim.world.bot.id = sim.world.bot.id, "another account"
    for each in sim.world.rooms.values():
        each.member_ids = [sim.world.bot.id if member == old else member for member in each.member_ids]
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        harness.start()
        await send(harness, room("A"))
        assert texts(sim, "B") == ["x"]
        assert "this is a guess" in harness.told[0]


async def test_a_renamed_contact_goes_on_and_new_ids_are_followed_by_the_wechat_id(make_harness, sim):
    async with make_harness(sim, targets={"boss": contact("张三")}) as harness:
        await up(harness)
        sim.world.rename_contact("张三", name="张三疯")
        zhang = sim.world.find_contact("张三疯")
        harness.channel.session.on_event("dirty", {"payloadType": 2, "payloadId": zhang.id})
        await harness.until(lambda: harness.told)
        assert "contact '张三' is called 张三疯" in harness.told[0]
        await relogin(harness)
        await send(harness, contact("张三"))
        assert [message.text for message in sim.world.messages(contact="张三疯")] == ["x"]
        assert "with a new id" in harness.told[1]
        del sim.world.contacts[zhang.id]
        harness.channel.session.sync.sync_soon()
        await harness.until(lambda: len(harness.told) == 3)
        with pytest.raises(BadAddress, match="friend"):
            await harness.channel.send(contact("张三"), Text("x"))


async def test_the_master_is_never_guessed(make_harness, sim):
    for person in sim.world.contacts.values():
        person.weixin = ""
    master = sim.world.find_contact("主人")
    master.alias = "老板"
    async with make_harness(sim, master=master.id) as harness:
        await up(harness)
    # Two share his alias then; only his other names speak for one of them.
    sim.world.find_contact("李四").alias = "老板"
    sim.world.relogin_with_new_ids()
    async with make_harness(sim, master=master_id(harness)) as harness:
        with structlog.testing.capture_logs() as logs:
            await up(harness)
        with pytest.raises(BadAddress, match="this is a guess"):
            await harness.channel.send(contact(master_id(harness)), Text("x"))
        assert harness.told == []
        assert [line["target"] for line in logs if line["event"] == "wechat target not found"] == ["wechat.master"]


def master_id(harness):
    return harness.channel.settings.master


async def test_what_cannot_be_told_or_remembered_is_not_used(make_harness, sim, monkeypatch):
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)

        async def full(self, chat, remembered):
            raise StorageError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(IdentityStore, "put", full)
            sim.world.rename_room("A", "B")
            await harness.until(lambda: harness.told)
            with pytest.raises(Offline, match="the master is told"):
                await harness.channel.send(room("A"), Text("x"))
        harness.master_is_deaf = True
        await settled(harness)
        with pytest.raises(Offline):
            await harness.channel.send(room("A"), Text("x"))
        harness.master_is_deaf = False
        await send(harness, room("A"), "y")
        assert texts(sim, "B") == ["y"]


async def test_nothing_is_guessed_before_everything_has_been_read(make_harness, sim):
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        await up(harness)
    sim.world.rename_room("A", "C")
    sim.world.relogin_with_new_ids()
    sim.gateway.faults.fail_next(1, "INTERNAL", method="ContactList")
    async with make_harness(sim, targets={"ops": room("A")}) as harness:
        harness.start()
        await harness.until(harness.known)
        with pytest.raises(Offline, match="still being read"):
            await harness.channel.send(room("A"), Text("x"))
        assert not harness.channel.session.sync.settled
        assert harness.told == []
        await harness.until(lambda: harness.told)
        await send(harness, room("A"))
        assert texts(sim, "C") == ["x"]
        assert "this is a guess" in harness.told[0]


# A logout without a new QR code


async def test_a_logout_without_a_new_code_is_followed_by_start(make_harness):
    async with make_harness() as harness:
        await harness.online()
        starts = harness.sim.gateway.calls["Start"]
        harness.sim.world.state = LoginState.STOPPED
        harness.channel.session.on_event("logout", SimpleNamespace(data=""))
        await harness.state(ChannelState.WAITING_FOR_SCAN)
        assert harness.sim.gateway.calls["Start"] == starts + 1
        assert harness.sim.gateway.calls.get("Stop", 0) == 0
        asked = [status.detail for status in harness.statuses if "no QR code came" in status.detail]
        assert "restart the gateway" in asked[0]


async def test_a_start_without_a_code_is_followed_by_stop_and_start(make_harness):
    async with make_harness() as harness:
        await harness.online()
        # A gateway whose puppet is stuck: it takes Start for done.
        harness.sim.world.state = LoginState.SCANNED
        harness.channel.session.on_event("logout", SimpleNamespace(data=""))
        await harness.state(ChannelState.WAITING_FOR_SCAN)
        assert harness.sim.gateway.calls["Stop"] == 1
        harness.sim.world.scan()
        await harness.synced()
        assert harness.channel.reconnect.codeless == 0
