"""What was given up is told to the person in charge: at once, together where it is much, and after a crash too."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.delivery.delivery_harness import Room
from wxbridge.core.errors import BadAddress, Offline, Permanent, StorageError, Throttled, Unknown
from wxbridge.core.model import ChannelState, MessageState
from wxbridge.core.schema import read_facts
from wxbridge.delivery.failure_notes import GATHER_SECONDS

MARK = "(possible repeat) "


async def test_two_hundred_dead_messages_are_one_line_at_once_and_one_for_the_rest(world) -> None:
    w = world(ops=Room(), boss=Room())
    w.channel.faults = [Permanent(f"refused {number}") for number in range(200)]
    for number in range(199):
        await w.put("ops", f"{number}")
    await w.put("boss", "other")
    await w.drain(most=300)
    assert sorted(about for _, about in w.told) == ["boss", "ops"]
    await w.pass_time(GATHER_SECONDS + 1, tick=5)
    assert len(w.told) == 3
    line, about = w.told[2]
    assert about == "ops"
    first, more = line.splitlines()
    assert "to ops could not be delivered: refused" in first
    assert more == "… and 197 more"
    await w.pass_time(300, tick=20)
    assert len(w.told) == 3


async def test_a_few_that_die_together_are_told_one_by_one(world) -> None:
    w = world()
    w.channel.faults = [Permanent("refused") for _ in range(3)]
    ids = [(await w.put("ops", f"{number}"))[0] for number in range(3)]
    await w.drain()
    assert len(w.told) == 1
    await w.pass_time(GATHER_SECONDS + 1, tick=5)
    assert [line for line, _ in w.told] == [f"Message {id_} to ops could not be delivered: refused" for id_ in ids]


async def test_what_died_is_told_after_a_crash_that_came_before_the_line_was_stored(world) -> None:
    w = world()
    (message,) = await w.put("ops", "hello")
    tell, telling_now = w.tell, asyncio.Event()

    async def never(_line, _about):
        telling_now.set()
        await asyncio.Event().wait()

    w.tell = never
    w.channel.faults = [Permanent("refused")]
    for loop in w.delivery.send_loops:
        await loop.round()
    await telling_now.wait()
    assert (await w.one(message)).state is MessageState.DEAD
    w.tell = tell
    await w.crash()
    assert w.told == []
    await w.pass_time(GATHER_SECONDS + 1, tick=5)
    assert w.told == [(f"Message {message} to ops could not be delivered: refused", "ops")]


async def test_what_is_noted_with_the_settling_itself_is_told_by_the_next_process(world) -> None:
    w = world()
    (row,) = await w.put("ops", "hello")
    message = await w.one(row)

    await w.outbox.give_up(message, MessageState.DEAD, now=w.clock.wall(), error="refused")
    await w.crash()
    await w.delivery.look_after()
    assert w.told == [(f"Message {row} to ops could not be delivered: refused", "ops")]
    await w.crash()
    await w.pass_time(200, tick=10)
    assert len(w.told) == 1


@pytest.mark.parametrize("jump", [-3600, 3600])
async def test_a_clock_that_is_set_delays_no_line_for_longer(world, jump) -> None:
    w = world()
    w.channel.faults = [Permanent("refused"), Permanent("refused")]
    await w.put("ops", "one")
    await w.put("ops", "two")
    await w.drain()
    w.clock.jump(jump)
    await w.pass_time(GATHER_SECONDS + 1, tick=5)
    assert len(w.told) == 2


async def test_what_cannot_be_told_now_stays_noted(world) -> None:
    w = world()
    tell = w.tell

    async def full(_line, _about):
        raise StorageError("disk full")

    w.tell = full
    w.channel.faults = [Permanent("refused")]
    (message,) = await w.put("ops", "hello")
    await w.drain()
    assert (await w.one(message)).state is MessageState.DEAD
    w.tell = tell
    await w.pass_time(GATHER_SECONDS + 1, tick=5)
    assert len(w.told) == 1


async def test_many_that_expire_in_several_bites_are_not_a_line_for_each_bite(world) -> None:
    w = world()
    w.channel.state = ChannelState.UNREACHABLE
    for number in range(1200):
        await w.put("ops", f"{number}", expires_after=100)
    w.clock.advance(101)
    await w.pass_time(GATHER_SECONDS + 2, tick=2)
    assert [line.split(";")[0] for line, _ in w.told] == [
        "1000 messages to ops expired unsent, the first is 1",
        "200 messages to ops expired unsent, the first is 1001",
    ]
    assert await w.database.read(lambda c: read_facts(c, "dead:")) == {}


# ---------------------------------------------------------------- possible repeats at the fallback


async def test_what_may_have_been_sent_is_marked_at_the_fallback_and_at_its_fallback(world) -> None:
    w = world(
        ops=Room(fallback=("robot",), failover_after="60s"),
        robot=Room(channel="b", fallback=("third",), failover_after="60s"), third=Room(channel="c"),
    )  # fmt: skip
    w.channels["a"].faults = [Unknown("no answer")]
    await w.put("ops", "hello")
    await w.put("ops", "certainly not sent")
    await w.step()
    w.channels["a"].state = ChannelState.UNREACHABLE
    await w.delivery.look_after()
    w.clock.advance(61)
    await w.delivery.look_after()
    w.channels["b"].state = ChannelState.UNREACHABLE
    await w.pass_time(75, tick=5)
    marked, plain = w.channels["c"].texts
    assert marked.startswith(f"{MARK}⚠️ robot cannot be reached for 1 min:")
    assert marked.endswith("hello")
    assert plain.startswith("⚠️ robot cannot be reached for 1 min:")


async def test_what_was_being_sent_at_a_crash_and_is_then_refused_is_marked_at_the_fallback(world) -> None:
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"))
    await w.put("ops", "hello")
    w.channels["a"].gate = asyncio.Event()
    await w.begin()
    await w.crash()
    w.channels["a"].gate = None
    w.channels["a"].faults = [Permanent("no longer a member")]
    await w.drain()
    assert w.channels["b"].texts == [f"{MARK}⚠️ ops refused this (no longer a member):\nhello"]


# ---------------------------------------------------------------- back online


async def test_a_room_that_nobody_finds_holds_back_no_line_about_the_end_of_an_outage(world) -> None:
    w = world(ops=Room(), lost=Room())
    await w.delivery.look_after()
    w.channel.state = ChannelState.UNREACHABLE
    await w.put("ops", "hello")
    await w.put("lost", "to nobody")
    await w.put("lost", "behind it")
    w.channel.faults_of["lost"] = [BadAddress("no such room") for _ in range(9)]
    await w.pass_time(120, tick=10)
    w.channel.state = ChannelState.ONLINE
    await w.pass_time(5)
    assert w.told == [("a is back online after 1 min 51 s: 1 messages delivered, 0 sent by fallback.", None)]


async def test_what_waits_for_its_pace_or_a_retry_still_holds_it_back(world) -> None:
    w = world(ops=Room(), busy=Room())
    await w.delivery.look_after()
    w.channel.state = ChannelState.UNREACHABLE
    await w.put("busy", "hello")
    await w.pass_time(120, tick=10)
    w.channel.faults_of["busy"] = [Throttled("slower", retry_after=20, code="RESOURCE_EXHAUSTED"), Offline("not read")]
    w.channel.state = ChannelState.ONLINE
    await w.pass_time(15)
    assert w.told == []
    await w.pass_time(15)
    assert len(w.told) == 1
