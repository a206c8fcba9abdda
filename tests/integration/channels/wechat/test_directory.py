"""Rooms and contacts: found by the names people use, kept for other processes, followed when they change."""

from __future__ import annotations

from functools import partial

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.integration.channels.wechat.wechat_harness import FAST, contact, room, settled, topics
from tests.support import wait_until
from wxbridge.channels.wechat import sync
from wxbridge.channels.wechat.channel import PLUGIN
from wxbridge.channels.wechat.directory import Contact, Room, WechatDirectory, list_contacts, list_rooms
from wxbridge.channels.wechat.identity import AddressProblem, Known, resolve_contact, resolve_room
from wxbridge.channels.wechat.settings import WechatSettings, WechatTarget, split_endpoint
from wxbridge.core.database import Database
from wxbridge.core.errors import BadAddress, StorageError
from wxbridge.core.model import ChannelState, Text
from wxbridge.simulator import Simulator

ROOM = "技术讨论群"


async def test_another_process_lists_rooms_and_contacts(harness, tmp_path):
    harness.sim.world.rename_contact("张三", alias="小张")
    await harness.online()
    await harness.until(lambda: len(harness.channel.directory.contacts) == 5)
    other = Database.open(f"sqlite:///{tmp_path / 'bridge.db'}")
    try:
        places, people = await list_rooms(other), await list_contacts(other)
    finally:
        other.close()
    world = harness.sim.world
    assert {place.id: place.topic for place in places} == {key: value.topic for key, value in world.rooms.items()}
    assert set(places[0].member_ids) == set(world.rooms[places[0].id].member_ids)
    zhang = world.find_contact("张三")
    assert Contact(zhang.id, "张三", "小张", zhang.weixin) in people
    assert len(people) == 5


@pytest.mark.parametrize("how", ["id", "alias", "handle", "name"])
async def test_a_contact_is_found_by_whatever_name_it_has(harness, how):
    harness.sim.world.rename_contact("张三", alias="老板")
    await harness.online()
    zhang = harness.sim.world.find_contact("张三")
    name = {"id": zhang.id, "alias": "老板", "handle": zhang.weixin, "name": "张三"}[how]
    await harness.channel.send(contact(name), Text(how))
    assert [message.text for message in harness.sim.world.messages(contact=zhang.id)] == [how]


async def test_after_a_login_with_all_ids_new_a_topic_still_finds_its_room(harness):
    await harness.online()
    old = harness.sim.world.find_room(ROOM).id
    await harness.channel.send(room(ROOM), Text("before"))
    harness.sim.world.relogin_with_new_ids()
    new = harness.sim.world.find_room(ROOM).id
    assert new != old
    await harness.until(lambda: new in harness.channel.directory.rooms and harness.known())
    await harness.channel.send(room(ROOM), Text("after"))
    with pytest.raises(BadAddress):
        await harness.channel.send(room(old), Text("x"))
    assert {place.id for place in await list_rooms(harness.database)} == set(harness.sim.world.rooms)
    assert harness.channel.status.account == f"小桥 ({harness.sim.world.bot.id})"


async def test_a_new_topic_is_followed(harness):
    await harness.online()
    harness.sim.world.rename_room(ROOM, "新名字")
    await harness.until(lambda: "新名字" in topics(harness))
    await harness.channel.send(room("新名字"), Text("x"))
    with pytest.raises(BadAddress, match=ROOM):
        await harness.channel.send(room(ROOM), Text("x"))

    async def is_remembered() -> bool:
        return "新名字" in {place.topic for place in await list_rooms(harness.database)}

    await wait_until(is_remembered)


async def test_a_new_room_is_known_once_somebody_talks_there(harness):
    await harness.online()
    harness.sim.world.add_room("刚建的群")
    harness.sim.world.say("hello", room="刚建的群")
    await harness.until(lambda: harness.inbox)
    assert harness.inbox[0].room_topic == "刚建的群"
    await harness.channel.send(room("刚建的群"), Text("welcome"))


async def test_a_new_friend_is_known_once_he_writes(harness):
    await harness.online()
    harness.sim.world.add_contact("新朋友")
    harness.sim.world.say("hello", contact="新朋友")
    await harness.until(lambda: harness.inbox)
    assert harness.inbox[0].sender_name == "新朋友"
    await harness.channel.send(contact("新朋友"), Text("welcome"))


async def test_thousands_of_contacts_do_not_hold_up_the_login(make_harness):
    contacts = [f"联系人{number}" for number in range(2000)]
    async with Simulator(contacts=contacts) as sim, make_harness(sim) as harness:
        harness.start()
        await harness.state(ChannelState.WAITING_FOR_SCAN)
        sim.world.scan()
        await harness.state(ChannelState.ONLINE)
        await harness.until(lambda: harness.channel.session.sync.rooms_known)
        await harness.channel.send(room(ROOM), Text("first"))
        assert len(harness.channel.directory.contacts) < 2000
        await harness.until(harness.known, timeout=60)
        await harness.channel.send(contact("联系人1999"), Text("last"))
        # Those that could not be read in time are read again.
        await wait_until(partial(_has_contacts, harness.database, 2005))


async def _has_contacts(database: Database, count: int) -> bool:
    return len(await list_contacts(database)) == count


async def test_what_was_known_is_not_waited_for_after_a_restart(make_harness):
    async with Simulator() as sim:
        async with make_harness(sim) as harness:
            await harness.online()
        sim.gateway.faults.delay(30, method="ContactPayload")
        async with make_harness(sim) as harness:
            harness.start()
            await harness.until(harness.known)
            await harness.channel.send(contact("张三"), Text("at once"))


async def test_a_directory_that_cannot_be_read_is_read_again(make_harness, monkeypatch):
    monkeypatch.setattr(sync, "RETRY_SECONDS", 0.1)
    async with make_harness() as harness:
        harness.sim.gateway.faults.fail_next(1, "INTERNAL", method="RoomList")
        harness.start()
        await harness.state(ChannelState.WAITING_FOR_SCAN)
        with structlog.testing.capture_logs() as logs:
            harness.sim.world.scan()
            await harness.until(lambda: harness.channel.directory.rooms, timeout=15)
        assert [line for line in logs if line["event"] == "wechat directory not synced"]


# Targets at login


async def test_targets_that_find_nobody_or_several_are_told_once(make_harness):
    async with Simulator() as sim:
        sim.world.add_room("双胞胎")
        sim.world.add_room("双胞胎")
        targets = {"ops": room(ROOM), "typo": room("技术讨论"), "twins": room("双胞胎"), "boss": contact("张三")}
        async with make_harness(sim, targets=targets, master="无名") as harness:
            with structlog.testing.capture_logs() as logs:
                await harness.online()
                await harness.until(lambda: "wechat.master" in str(logs))
                seen = len(harness.statuses)
                sim.gateway.drop()
                await harness.until(lambda: ChannelState.ONLINE in harness.states[seen:])
                # A second login, and then a rename: both look again.
                await settled(harness)
                sim.world.rename_room("运维值班", "运维")
                await harness.until(lambda: "运维" in topics(harness))
                await harness.channel.check_targets()
            typo, twins = sorted(harness.told, key=lambda text: "twins" in text)
            assert typo.startswith("Target typo: ")
            assert f"{ROOM} ({sim.world.find_room(ROOM).id})" in typo
            assert all(place.id in twins for place in sim.world.rooms.values() if place.topic == "双胞胎")
            told = [line["target"] for line in logs if line["event"] == "wechat target not found"]
            assert sorted(told) == ["twins", "typo", "wechat.master"]


# Finding, with properties that hold for all names

ids = st.text("abcdef@", min_size=1, max_size=6)
labels = st.text("xyz 群值班", max_size=5)
places = st.lists(st.builds(Room, ids, labels), unique_by=lambda place: place.id, max_size=12)
people = st.lists(st.builds(Contact, ids, labels, labels, labels), unique_by=lambda person: person.id, max_size=12)


@given(places)
def test_every_room_is_found_by_its_id(known):
    for place in known:
        assert resolve_room(place.id, None, Known(known)).entry == place


@given(people)
def test_every_contact_is_found_by_its_id(known):
    for person in known:
        assert resolve_contact(person.id, None, Known(known)).entry == person


@given(labels, people)
def test_a_contact_is_found_by_the_first_kind_of_name_that_fits_and_only_alone(name, known):
    wanted = name.strip()
    kinds = [
        [person for person in known if wanted and getattr(person, kind).strip() == wanted]
        for kind in ("id", "alias", "handle", "name")
    ]
    first = next((found for found in kinds if found), [])
    found = resolve_contact(name, None, Known(known))
    if len(first) == 1:
        assert found.entry == first[0]
        return
    assert isinstance(found, AddressProblem)
    if first:
        assert set(found.candidates) == {str(person) for person in first}
        assert "the id" in found.text
    assert "wxbridge contacts" in found.text
    assert len(found.text) < 1000


def test_an_unknown_name_offers_what_is_alike_and_part_of():
    known = Known([Room("1@chatroom", "运维值班群"), Room("2@chatroom", "Ops on call"), Room("3@chatroom", "家人")])
    assert resolve_room("运维值班", None, known).candidates == ("运维值班群 (1@chatroom)",)
    assert resolve_room("ops", None, known).candidates == ("Ops on call (2@chatroom)",)


async def test_a_change_of_the_directory_is_on_disk(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path / 'x.db'}")
    try:
        first = WechatDirectory(database)
        await first.load("me")
        await first.save_rooms([Room(str(number), f"t{number}", ("a",)) for number in range(450)])
        await first.keep_rooms([str(number) for number in range(449)])
        await first.save_contacts([Contact("s", "路人")], friends=False)
        second = WechatDirectory(database)
        await second.load("me")
        assert second.rooms == first.rooms
        assert len(second.rooms) == 449
        assert second.contacts == {}
        assert second.person("s") == Contact("s", "路人")
        await second.load("somebody else")
        assert second.rooms == {}
        assert await list_rooms(database) == []
    finally:
        database.close()


async def test_what_the_disk_did_not_take_is_written_later(tmp_path, monkeypatch):
    database = Database.open(f"sqlite:///{tmp_path / 'x.db'}")
    try:
        directory = WechatDirectory(database)
        await directory.load("me")

        async def full(_):
            raise StorageError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(database, "run", full)
            with pytest.raises(StorageError):
                await directory.save_rooms([Room("1", "t")])
        assert directory.rooms == {"1": Room("1", "t")}
        assert await list_rooms(database) == []
        await directory.save_rooms([Room("1", "t")])
        assert await list_rooms(database) == [Room("1", "t")]
    finally:
        database.close()


# Configuration


def test_a_target_is_one_room_or_one_contact():
    assert WechatTarget(channel="wechat", room="x").chat_key() != WechatTarget(channel="wechat", contact="x").chat_key()
    for keys in ({}, {"room": "a", "contact": "b"}, {"room": " "}):
        with pytest.raises(ValidationError, match="one of `room:`"):
            WechatTarget(channel="wechat", **keys)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:8788", ("127.0.0.1", 8788)),
        ("gateway:1", ("gateway", 1)),
        ("[::1]:8788", ("::1", 8788)),
        ("http://h:80/", ("h", 80)),
        (" h:80 ", ("h", 80)),
    ],
)
def test_endpoints_that_are_understood(text, parts):
    assert split_endpoint(text) == parts
    assert split_endpoint(WechatSettings(endpoint=text, token="t").endpoint) == parts


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "h:", "h:x", "h:0", "h:65536", "https://h:1", "a b:1", "::1:8788", "h:٣"]
)
def test_endpoints_that_are_not(text):
    with pytest.raises(ValidationError, match=r"gateway address|valid port"):
        WechatSettings(endpoint=text, token="t")


def test_the_token_is_not_shown_and_the_pace_is_careful():
    section = WechatSettings(endpoint="h:1", token="s3cret")
    assert "s3cret" not in repr(section)
    assert str(section.pace.chat) == "1/s"
    assert WechatSettings(endpoint="h:1", token="t", pace="none").pace.total is None
    assert PLUGIN.section == "wechat"
    assert FAST.deadline > 0
