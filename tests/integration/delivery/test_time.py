"""Pace, clocks that jump, expiry, and what is forgotten."""

from __future__ import annotations

import os

import pytest

from tests.integration.delivery.delivery_harness import Room, alert, picture
from wxbridge.config.types import Pace, Rate
from wxbridge.core.clock import SystemClock, read_both
from wxbridge.core.errors import BadAddress, Transient
from wxbridge.core.model import ChannelState, MessageState, Notification, Picture, Priority, Text
from wxbridge.delivery import failure_reports
from wxbridge.delivery.rate_limit import DAY_SECONDS

HOUR = 3600.0


def most_in(moments, seconds):
    return max(sum(first <= moment < first + seconds for moment in moments) for first in moments)


@pytest.fixture
def moments(world):
    """A world whose channel notes at which monotonic second it was called: `(world, moments by room)`."""

    def make(**fields):
        w, noted = world(**fields), {}
        for channel in w.channels.values():
            send = channel.send

            async def spy(address, body, mentions=(), send=send):
                noted.setdefault(address, []).append(w.clock.monotonic())
                return await send(address, body, mentions)

            channel.send = spy
        return w, noted

    return make


PACE = {"a": Pace(chat=Rate(2, 10), total=Rate(5, 60), day=Rate(12, DAY_SECONDS))}


async def test_all_windows_hold_at_once_and_bursts_are_allowed(moments) -> None:
    w, noted = moments(ops=Room(), boss=Room(), paces=PACE)
    for number in range(8):
        await w.put("ops", f"{number}")
        await w.put("boss", f"{number}")
    await w.drain()
    assert {room: len(times) for room, times in noted.items()} == {"ops": 2, "boss": 2}
    await w.pass_time(400)
    everything = sorted(noted["ops"] + noted["boss"])
    assert most_in(noted["ops"], 10) == most_in(noted["boss"], 10) == 2
    assert most_in(everything, 60) == 5
    assert len(everything) == 12
    await w.pass_time(DAY_SECONDS, tick=600)
    assert len(noted["ops"] + noted["boss"]) == 16


async def test_two_targets_in_one_chat_share_its_pace(moments) -> None:
    w, noted = moments(ops=Room(room="R"), boss=Room(room="R"), paces={"a": Pace(chat=Rate(1, 10))})
    for number in range(3):
        await w.put("ops", f"{number}")
        await w.put("boss", f"{number}")
    await w.pass_time(60)
    assert len(noted["R"]) == 6
    assert most_in(noted["R"], 10) == 1


async def test_a_target_with_a_pace_of_its_own(moments) -> None:
    w, noted = moments(
        ops=Room(pace=Pace(chat=Rate(1, 30))), boss=Room(), free=Room(pace="none"), paces={"a": Pace(chat=Rate(1, 10))},
    )  # fmt: skip
    for number in range(4):
        for target in ("ops", "boss", "free"):
            await w.put(target, f"{number}")
    await w.drain()
    await w.pass_time(29)
    assert {room: len(times) for room, times in noted.items()} == {"ops": 1, "boss": 3, "free": 4}


async def test_the_pace_is_kept_across_a_restart(moments) -> None:
    w, noted = moments(ops=Room(), paces=PACE)
    for number in range(30):
        await w.put("ops", f"{number}")
    for _ in range(200):
        await w.drain()
        w.clock.advance(1)
        await w.crash()
    assert most_in(noted["ops"], 10) == 2
    assert most_in(noted["ops"], 60) == 5
    assert len(noted["ops"]) == 12


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_clock_that_jumps_makes_neither_a_burst_nor_a_stall(moments, jump) -> None:
    w, noted = moments(ops=Room(), paces={"a": Pace(chat=Rate(2, 10), total=Rate(5, 60))})
    for number in range(30):
        await w.put("ops", f"{number}")
    await w.pass_time(30)
    w.clock.jump(jump)
    await w.pass_time(300)
    assert most_in(noted["ops"], 10) == 2
    assert most_in(noted["ops"], 60) == 5
    assert w.channel.texts == [f"{number}" for number in range(30)]


@pytest.mark.parametrize("jump", [HOUR, -HOUR, -100, 100])
async def test_a_retry_comes_in_time_though_the_clock_jumps(world, jump) -> None:
    w = world()
    w.channel.faults = [Transient("busy")]
    await w.delivery.look_after()
    await w.put("ops", "hello")
    await w.drain()
    w.clock.jump(jump)
    await w.delivery.look_after()
    await w.pass_time(3)
    assert w.channel.texts == ["hello"]


async def test_new_messages_leave_at_once_after_the_clock_was_set_back(world) -> None:
    w = world()
    w.channel.state = ChannelState.UNREACHABLE
    await w.delivery.look_after()
    await w.put("ops", "before")
    w.clock.jump(-100)
    await w.put("ops", "after")
    w.channel.state = ChannelState.ONLINE
    await w.pass_time(2)
    assert w.channel.texts == ["before", "after"]


@pytest.mark.parametrize("running", [True, False])
async def test_a_restart_after_the_clock_was_set_back_stalls_nothing(world, running) -> None:
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"))
    w.channel.state = ChannelState.UNREACHABLE
    await w.delivery.look_after()
    await w.put("ops", "hello")
    w.clock.jump(-HOUR)
    if running:
        await w.delivery.look_after()
    await w.crash()
    await w.pass_time(135, tick=5)
    assert len(w.channels["b"].sent) == 1


async def test_a_clock_that_is_set_on_in_the_middle_of_a_look_hands_nothing_over_early_and_expires_nothing(
    world, monkeypatch
) -> None:
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"))
    w.channel.state = ChannelState.UNREACHABLE
    await w.delivery.look_after()
    await w.put("ops", "hello")
    real = w.delivery.outages.look

    async def look(lane: object) -> None:
        w.clock.jump(100 * HOUR)
        await real(lane)

    with monkeypatch.context() as patch:
        patch.setattr(w.delivery.outages, "look", look)
        await w.delivery.look_after()
    await w.pass_time(10)
    assert w.channels["b"].sent == []
    w.channel.state = ChannelState.ONLINE
    await w.pass_time(2)
    assert w.channel.texts == ["hello"]


def test_a_process_that_had_to_wait_between_two_clocks_does_not_take_one_for_set() -> None:
    since = iter([0.0, 0.2, 0.2, 0.3, 0.3, 0.5])
    wall = iter([1000.2, 1000.3, 1000.3])
    assert read_both(SystemClock(lambda: next(wall), boot=lambda: next(since))) == (1000.3, 0.25)


async def test_jitter_stays_within_its_bounds(world) -> None:
    w = world(paces={"a": Pace(total=Rate(100, 60))}, jitter=4.0)
    pacer = w.lanes[0].pacer
    for number in range(3):
        await w.put("ops", f"{number}")
    await w.drain()
    assert len(w.channel.sent) == 1
    assert pacer.wait("ops", w.clock.monotonic()) == 2.0
    w.clock.advance(1.9)
    await w.drain()
    assert len(w.channel.sent) == 1
    w.clock.advance(0.2)
    await w.drain()
    assert len(w.channel.sent) == 2


async def test_a_round_tells_when_to_look_again(world) -> None:
    w = world(paces={"a": Pace(chat=Rate(1, 10))})
    sender = w.delivery.send_loops[0]
    assert await sender.round() is None
    await w.put("ops", "one")
    await w.put("ops", "two")
    assert await sender.round() == 0.0
    await w.settle()
    assert await sender.round() == 10
    w.clock.advance(10)
    w.channel.faults = [Transient("busy")]
    assert await sender.round() == 0.0
    await w.settle()
    w.clock.advance(9)
    assert await sender.round() == 1
    w.clock.advance(1)
    assert await sender.round() == 0.0


async def test_estimates_for_digests_count_what_others_wait_for(world) -> None:
    w = world(paces={"a": Pace(chat=Rate(1, 1), total=Rate(30, 60))})
    pacer, now = w.lanes[0].pacer, w.clock.monotonic()
    assert pacer.estimate("ops", 31, now) == 30
    assert pacer.estimate("ops", 90, now) == 120
    assert pacer.estimate("ops", 31, now, others=89) == 180


# ---------------------------------------------------------------- repeats of a sender


async def posted(w, key="grafana:ops:1"):
    return (await w.put_all([Notification("grafana", "ops", (Text("CPU"),), dedupe_key=key)])).queued


async def test_a_senders_repeat_is_absorbed_within_the_window_and_not_after_it(world) -> None:
    w = world()
    assert [await posted(w), await posted(w)] == [1, 0]
    w.clock.advance(599)
    assert await posted(w) == 0
    w.clock.advance(2)
    assert await posted(w) == 1


async def test_repeats_are_told_apart_by_target_and_kept_while_dead_or_merged(world) -> None:
    w = world(ops=Room(), boss=Room())
    items = [Notification("s", name, (Text("a"), Text("b")), dedupe_key=f"s:{name}:1") for name in ("ops", "boss")]
    assert (await w.put_all(items[:1])).queued == 2
    accepted = await w.put_all(items)
    assert (accepted.queued, accepted.duplicates) == (2, 2)
    assert (await w.put_all(items)).duplicates == 4
    assert (await w.put_all([items[0], items[0]], window=0)).queued == 4


async def test_in_a_group_only_the_newest_can_be_repeated(world) -> None:
    """An alert that fires, is resolved and fires again in the same words is news."""
    w = world(ops=Room(), boss=Room())

    async def said(words, target="ops"):
        item = Notification("s", target, (Text(words),), dedupe_key=words, dedupe_group=f"s:{target}:rule")
        return (await w.put_all([item])).queued

    course = ("fires", "fires", "resolved", "resolved", "fires", "fires")
    assert [await said(words) for words in course] == [1, 0, 1, 0, 1, 0]
    assert await said("fires", "boss") == 1
    w.clock.advance(601)
    assert await said("fires") == 1


async def test_two_of_the_same_in_one_request_are_one(world) -> None:
    w = world()
    item = Notification("s", "ops", (Text("a"),), dedupe_key="k")
    assert (await w.put_all([item, item])).queued == 1


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_clock_that_was_set_back_doubles_no_repeat_and_absorbs_none_for_ever(world, noticed) -> None:
    w = world()
    await w.delivery.look_after()
    assert await posted(w, "old") == 1
    w.clock.advance(HOUR)
    assert await posted(w) == 1
    w.clock.jump(-HOUR)
    if noticed:
        await w.delivery.look_after()
    assert await posted(w) == 0
    w.clock.advance(1)
    await w.delivery.look_after()
    assert await posted(w) == 0
    assert await posted(w, "old") == 1
    w.clock.advance(601)
    await w.delivery.look_after()
    assert await posted(w) == 1


async def test_a_clock_set_back_while_the_bridge_was_down_absorbs_no_longer_than_the_window(world) -> None:
    w = world()
    assert await posted(w) == 1
    w.clock.jump(-HOUR)
    await w.crash()
    assert await posted(w) == 0
    w.clock.advance(601)
    assert await posted(w) == 1


# ---------------------------------------------------------------- expiry


async def test_what_is_no_longer_worth_sending_expires_and_is_told(world) -> None:
    w = world()
    w.channel.state = ChannelState.UNREACHABLE
    old, _ = await w.put("ops", "old", picture("graph"), expires_after=100)
    young = (await w.put("ops", "young", expires_after=1000))[0]
    w.clock.advance(101)
    await w.delivery.look_after()
    expired = await w.one(old)
    assert (expired.state, expired.error) == (MessageState.EXPIRED, "expired while waiting")
    assert (await w.one(young)).state is MessageState.QUEUED
    assert len(w.told) == 2
    w.channel.state = ChannelState.ONLINE
    await w.drain()
    assert w.channel.texts == ["young"]
    assert w.drawings == []
    assert w.counted("ops", "expired") == 2


async def test_many_that_expire_together_are_told_in_one_line(world) -> None:
    w = world()
    w.channel.state = ChannelState.UNREACHABLE
    for number in range(failure_reports.MAX_FAILURES_TOLD_SINGLY + 1):
        await w.put("ops", f"{number}", expires_after=100)
    w.clock.advance(101)
    await w.delivery.look_after()
    assert [about for _, about in w.told] == ["ops"]
    assert w.told[0][0].startswith("4 messages to ops expired unsent, the first is 1;")


async def test_what_is_being_sent_does_not_expire(world) -> None:
    import asyncio

    w = world()
    w.channel.gate = asyncio.Event()
    await w.put("ops", "hello", expires_after=10)
    await w.begin()
    w.clock.advance(11)
    await w.delivery.look_after()
    w.channel.gate.set()
    await w.settle()
    assert await w.states() == ["sent"]


async def test_an_expired_message_keeps_the_words_of_its_last_failure(world) -> None:
    w = world()
    w.channel.faults = [Transient("busy", code="-1")]
    (message,) = await w.put("ops", "hello", expires_after=10)
    await w.drain()
    w.clock.advance(11)
    await w.delivery.look_after()
    expired = await w.one(message)
    assert (expired.error, expired.error_code) == ("expired after waiting; last: busy", "-1")
    assert "busy" in w.told[0][0]


# ---------------------------------------------------------------- what is forgotten


async def test_settled_notifications_are_forgotten_with_their_pictures_after_their_time(world) -> None:
    w = world()
    await w.put("ops", "text", picture("graph"))
    await w.drain()
    (file,) = (w.directory / "pictures").iterdir()
    w.clock.advance(29 * DAY_SECONDS)
    await w.delivery.look_after(tidy=True)
    assert len(await w.all()) == 2
    assert file.exists()
    w.clock.advance(2 * DAY_SECONDS)
    await w.delivery.look_after(tidy=True)
    assert await w.all() == []
    assert not file.exists()


async def test_what_is_open_or_settled_lately_is_kept_whole(world) -> None:
    w = world()
    w.channel.faults = [None, Transient("busy")]
    first, second = await w.put("ops", "first", "second", expires_after=100 * DAY_SECONDS)
    await w.step()
    await w.step()
    w.clock.advance(40 * DAY_SECONDS)
    await w.delivery.look_after(tidy=True)
    assert [message.id for message in await w.all()] == [first, second]
    await w.drain()
    await w.delivery.look_after(tidy=True)
    assert await w.states() == ["sent", "sent"]


async def test_a_picture_that_another_message_names_is_kept(world) -> None:
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"))
    w.channel.state = ChannelState.UNREACHABLE
    await w.alert("ops", alert("CPU", picture=picture("graph").spec))
    await w.draw()
    (file,) = (w.directory / "pictures").iterdir()
    w.clock.advance(130)
    await w.delivery.look_after()
    w.channels["b"].state = ChannelState.UNREACHABLE
    w.clock.advance(31 * DAY_SECONDS)
    async for _ in w.outbox.prune(before=w.clock.wall() - DAY_SECONDS, sends_before=0):
        pass
    assert await w.states() == ["queued", "queued"]
    await w.delivery.look_after(tidy=True)
    assert file.exists()


async def test_pictures_that_no_message_names_are_swept_once_they_are_a_day_old(world) -> None:
    w = world()
    directory = w.directory / "pictures"
    directory.mkdir()
    for name, age in (("old.png", 2 * DAY_SECONDS), ("young.png", 60.0), ("named.png", 2 * DAY_SECONDS)):
        (directory / name).write_bytes(b"x")
        os.utime(directory / name, (w.clock.wall() - age,) * 2)
    (directory / "a directory").mkdir()
    os.utime(directory / "a directory", (0, 0))
    await w.put("ops", Picture(file="named.png"))
    await w.delivery.look_after(tidy=True)
    assert sorted(path.name for path in directory.iterdir()) == ["a directory", "named.png", "young.png"]


async def test_more_than_one_bite_is_forgotten_in_one_go(world, monkeypatch) -> None:
    for name in ("FIRST_BITE", "MIN_BITE", "MAX_BITE"):
        monkeypatch.setattr(f"wxbridge.core.bites.{name}", 3)
    w = world()
    for number in range(10):
        await w.put("ops", f"{number}")
    await w.drain()
    w.clock.advance(31 * DAY_SECONDS)
    await w.delivery.look_after(tidy=True)
    assert await w.all() == []


async def test_old_sends_are_forgotten(world) -> None:
    w = world(paces=PACE)
    await w.put("ops", "hello")
    await w.drain()
    w.clock.advance(3 * DAY_SECONDS)
    await w.delivery.look_after(tidy=True)
    assert await w.outbox.list_attempts("a", since=0) == []


async def test_what_is_retried_by_hand_after_the_clock_was_set_back_keeps_its_times(world) -> None:
    """Two wait for a time, one for longer than the other: each comes."""
    w = world()
    await w.put("ops", "first", priority=Priority.CRITICAL)
    await w.put("ops", "second")
    await w.drain()
    w.clock.jump(-HOUR)
    await w.pass_time(1)
    w.channel.faults = [Transient("busy"), BadAddress("which one?")]
    await w.outbox.retry([message.id for message in await w.all()], now=w.clock.wall(), expires_after=HOUR)
    await w.pass_time(120, tick=7)
    assert w.channel.texts == ["first", "second", "first", "second"]
