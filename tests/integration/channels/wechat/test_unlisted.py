"""Rooms and contacts that the gateway knows, but leaves out of its lists."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.integration.channels.wechat.wechat_harness import contact, room, settled
from tests.support import wait_until
from wxbridge.channels.wechat import sync
from wxbridge.channels.wechat.directory import list_contacts, list_rooms
from wxbridge.core.errors import BadAddress, Permanent, SendError
from wxbridge.core.model import Text
from wxbridge.simulator import Simulator
from wxbridge.simulator.world import SimulatedContact

TOPIC = "没有保存的群"


@pytest.fixture
async def sim():
    async with Simulator() as simulator:
        yield simulator


def add_unlisted(sim, topic=TOPIC):
    place = sim.world.add_room(topic)
    sim.world.unlisted.add(place.id)
    return place


def texts(sim):
    return [(message.room_id or message.to_id, message.text) for message in sim.world.messages(sent_by_bot=True)]


async def ids_of(harness):
    return {each.id for each in await list_rooms(harness.database)}


async def test_a_target_by_id_works_where_no_list_has_the_room(make_harness, sim):
    place = add_unlisted(sim)
    async with make_harness(sim, targets={"byid": room(place.id)}) as harness:
        await harness.online()
        await harness.channel.send(room(place.id), Text("at once"))
        await settled(harness)
        await harness.channel.send(room(place.id), Text("later"))
        assert texts(sim) == [(place.id, "at once"), (place.id, "later")]
        assert harness.told == []
        assert place.id in await ids_of(harness)


async def test_a_room_is_asked_for_by_its_id_once_not_at_every_send(make_harness, sim):
    async with make_harness(sim, targets={"byid": room("404@chatroom")}) as harness:
        await harness.online()
        await settled(harness)
        before = sim.gateway.calls["RoomPayload"]
        for _ in range(5):
            with pytest.raises(BadAddress):
                await harness.channel.send(room("404@chatroom"), Text("x"))
            with pytest.raises(BadAddress):
                await harness.channel.send(room("不是编号"), Text("x"))
        assert sim.gateway.calls["RoomPayload"] == before
        assert len(harness.told) == 1


async def test_a_room_that_was_heard_is_kept_and_listed_also_after_a_restart(make_harness, sim):
    place = add_unlisted(sim)
    async with make_harness(sim, targets={"ops": room(TOPIC)}) as harness:
        await harness.online()
        sim.world.say("hello", room=TOPIC)
        await harness.until(lambda: harness.inbox)
        assert harness.inbox[0].room_topic == TOPIC
        for _ in range(2):
            harness.channel.session.sync.sync_soon()
            await settled(harness)
        await harness.channel.send(room(TOPIC), Text("x"))
        assert place.id in await ids_of(harness)
    async with make_harness(sim, targets={"ops": room(TOPIC)}) as harness:
        harness.start()
        await harness.synced()
        await settled(harness)
        await harness.channel.send(room(TOPIC), Text("y"))
        assert texts(sim) == [(place.id, "x"), (place.id, "y")]
        assert harness.channel.targets_of(harness.inbox[0]) if harness.inbox else True
        assert place.id in await ids_of(harness)


async def test_a_room_that_the_gateway_lists_no_more_is_kept_where_it_was_heard(make_harness, sim):
    place = sim.world.add_room(TOPIC)
    quiet = sim.world.add_room("还没有人说话")
    async with make_harness(sim) as harness:
        await harness.online()
        sim.world.say("hello", room=TOPIC)
        await harness.until(lambda: harness.inbox)
        sim.world.unlisted |= {place.id, quiet.id}
        harness.channel.session.sync.sync_soon()
        await harness.until(lambda: quiet.id not in harness.channel.directory.rooms)
        assert place.id in await ids_of(harness)
        assert quiet.id not in await ids_of(harness)


async def test_a_room_that_was_heard_is_forgotten_when_the_bot_leaves_it(make_harness, sim):
    place = add_unlisted(sim)
    async with make_harness(sim, targets={"byid": room(place.id)}) as harness:
        await harness.online()
        sim.world.say("hello", room=TOPIC)
        await harness.until(lambda: harness.inbox)
        await settled(harness)
        leave = SimpleNamespace(room_id=place.id, removed_ids=[sim.world.bot.id])
        harness.channel.session.on_event("room-leave", leave)
        await harness.until(lambda: harness.told)

        async def is_forgotten() -> bool:
            return place.id not in await ids_of(harness)

        await wait_until(is_forgotten)
        # The gateway would still tell of it; that the bot left counts.
        with pytest.raises(BadAddress, match="any more"):
            await harness.channel.send(room(place.id), Text("x"))
        sim.world.say("back", room=TOPIC)
        await harness.until(lambda: place.id in harness.channel.directory.rooms)
        await settled(harness)
        await harness.channel.send(room(place.id), Text("y"))


async def test_somebody_elses_leave_changes_nothing(make_harness, sim):
    place = add_unlisted(sim)
    async with make_harness(sim) as harness:
        await harness.online()
        sim.world.say("hello", room=TOPIC)
        await harness.until(lambda: harness.inbox)
        harness.channel.session.on_event("room-leave", SimpleNamespace(room_id=place.id, removed_ids=["somebody"]))
        harness.channel.session.sync.sync_soon()
        await settled(harness)
        assert place.id in await ids_of(harness)


@pytest.mark.parametrize("code", ["NOT_FOUND", "PERMISSION_DENIED"])
async def test_a_room_where_the_gateway_refuses_to_send_is_forgotten(make_harness, sim, code):
    place = add_unlisted(sim)
    async with make_harness(sim) as harness:
        await harness.online()
        sim.world.say("hello", room=TOPIC)
        await harness.until(lambda: harness.inbox)
        sim.gateway.faults.fail_next(1, "INTERNAL")
        with pytest.raises(SendError):
            await harness.channel.send(room(TOPIC), Text("x"))
        assert place.id in await ids_of(harness)
        sim.gateway.faults.fail_next(1, code)
        with pytest.raises(Permanent):
            await harness.channel.send(room(TOPIC), Text("x"))
        assert place.id not in await ids_of(harness)
        with pytest.raises(BadAddress):
            await harness.channel.send(room(TOPIC), Text("x"))


async def test_a_room_of_which_the_gateway_tells_no_more_is_forgotten(make_harness, sim):
    place = add_unlisted(sim)
    async with make_harness(sim) as harness:
        await harness.online()
        sim.world.say("hello", room=TOPIC)
        await harness.until(lambda: harness.inbox)
        del sim.world.rooms[place.id]
        harness.channel.directory.read_at.clear()
        harness.channel.session.sync.sync_soon()

        async def is_forgotten() -> bool:
            return place.id not in {*harness.channel.directory.rooms, *await ids_of(harness)}

        await wait_until(is_forgotten)


async def test_a_room_of_which_the_gateway_tells_nothing_is_kept_by_its_id(make_harness, sim):
    place = add_unlisted(sim)
    async with make_harness(sim, targets={"byid": room(place.id)}) as harness:
        await harness.online()
        await settled(harness)
        sim.gateway.faults.fail_next(100, "INTERNAL", method="RoomPayload")
        sim.world.say("hello", room=TOPIC)
        await harness.until(lambda: harness.inbox)
        assert harness.inbox[0].room_id == place.id
        assert place.id in await ids_of(harness)
        await harness.channel.send(room(place.id), Text("x"))
        assert texts(sim) == [(place.id, "x")]


@pytest.mark.parametrize("name", ["filehelper", "文件传输助手"])
@pytest.mark.parametrize("told", [True, False])
async def test_the_file_helper_is_in_no_list_and_is_there(make_harness, sim, monkeypatch, name, told):
    monkeypatch.setattr(sync, "RETRY_SECONDS", 0.1)
    world = sim.world
    helper = SimulatedContact("filehelper", "文件传输助手")
    world.contacts[helper.id] = helper
    world.unlisted.add(helper.id)
    if not told:
        sim.gateway.faults.fail_next(100, "INTERNAL", method="ContactPayload")
    async with make_harness(sim, targets={"notes": contact(name)}) as harness:
        await harness.online()
        await harness.channel.send(contact(name), Text("x"))
        harness.channel.session.sync.sync_soon()
        await settled(harness)
        await harness.channel.send(contact(name), Text("y"))
        assert texts(sim) == [("filehelper", "x"), ("filehelper", "y")]
        assert harness.told == []
        assert "filehelper" in {each.id for each in await list_contacts(harness.database)}


async def test_somebody_who_wrote_is_kept_though_no_list_has_them(make_harness, sim):
    friend = sim.world.add_contact("新朋友")
    sim.world.unlisted.add(friend.id)
    async with make_harness(sim) as harness:
        await harness.online()
        sim.world.say("hello", contact="新朋友")
        await harness.until(lambda: harness.inbox)
        harness.channel.session.sync.sync_soon()
        await settled(harness)
        await harness.channel.send(contact("新朋友"), Text("welcome"))


async def test_topics_of_the_web_client_are_shown_readable(make_harness, sim):
    raw = '运维&amp;告警<img class="emoji emoji1f525" text="_web" src="/x.gif" />'
    place = sim.world.add_room(raw)
    async with make_harness(sim, targets={"html": room("运维&告警🔥")}) as harness:
        await harness.online()
        await settled(harness)
        await harness.channel.send(room("运维&告警🔥"), Text("x"))
        await harness.channel.send(room(raw), Text("as it stood in a jobs.yaml before"))
        assert [where for where, _ in texts(sim)] == [place.id, place.id]
        assert "运维&告警🔥" in {each.topic for each in await list_rooms(harness.database)}
        assert harness.told == []
