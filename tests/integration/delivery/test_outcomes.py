"""What follows from a channel's answer, and from none."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.integration.delivery.delivery_harness import Room, picture
from tests.support import wait_until
from wxbridge.config.types import Pace, Rate
from wxbridge.core.errors import (
    BadAddress,
    Held,
    NotReady,
    Offline,
    Permanent,
    Throttled,
    Transient,
    Unauthorised,
    Unknown,
)
from wxbridge.core.model import ChannelState, MessageState, Priority
from wxbridge.delivery.send_loop import MAX_TRIES

MARK = "(possible repeat) "


async def test_a_sent_message_keeps_the_services_receipt(world) -> None:
    w = world()
    (message,) = await w.put("ops", "hello")
    w.clock.advance(7)
    await w.drain()
    sent = await w.one(message)
    assert (sent.state, sent.receipt, sent.settled_at) == (MessageState.SENT, "fake-1", w.clock.wall())
    assert w.counted("ops", "sent") == 1
    assert w.metrics.registry.get_sample_value("wxbridge_lag_seconds_sum", {"target": "ops"}) == 7


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(Offline("gone"), 1), (Throttled("slower", retry_after=20), 20), (BadAddress("which one?"), 30)],
)
async def test_what_the_message_cannot_help_spends_no_try(world, error, seconds) -> None:
    w = world()
    (message,) = await w.put("ops", "hello")
    for _ in range(MAX_TRIES + 3):
        w.channel.faults = [error]
        await w.drain()
        waiting = await w.one(message)
        assert (waiting.state, waiting.tries, waiting.maybe_sent) == (MessageState.QUEUED, 0, False)
        assert waiting.error == str(error)
        assert waiting.next_try_at == w.clock.wall() + seconds
        w.clock.advance(seconds)
    await w.drain()
    assert w.channel.texts == ["hello"]
    assert w.told == []


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (NotReady("its rooms are still being read"), "info"),
        (Held("what else comes is merged", retry_after=1), "debug"),
        (Offline("the picture cannot be read now"), "warning"),
        (Unauthorised("the key is refused"), "warning"),
    ],
)
async def test_of_a_channel_that_is_up_a_wait_in_which_nothing_is_wrong_is_no_warning(world, error, level) -> None:
    w = world()
    w.channel.faults = [error]
    await w.put("ops", "hello")
    with capture_logs() as lines:
        await w.drain()
    assert [line["log_level"] for line in lines if line["event"] == "not sent, will try again"] == [level]


async def test_a_new_process_repeats_what_may_have_been_sent_at_its_time_and_before_all_else(world) -> None:
    w = world()
    w.channel.faults = [Unknown("no answer")]
    await w.put("ops", "one")
    await w.drain()
    await w.put("ops", "two", priority=Priority.REPLY)
    await w.crash()
    w.clock.advance(0.5)
    await w.drain()
    assert w.channel.texts == []
    w.clock.advance(0.6)
    await w.drain()
    assert w.channel.texts == [f"{MARK}one", "two"]


async def test_a_repeat_waits_until_the_service_has_shown_that_it_lives(world, monkeypatch) -> None:
    w = world()
    silence: list[Exception | None] = [Offline("no sign of life", retry_after=1)] * 2

    async def prove_alive(_address) -> None:
        if silence and (error := silence.pop()):
            raise error

    monkeypatch.setattr(w.channel, "prove_alive", prove_alive, raising=False)
    w.channel.faults = [Unknown("no answer")]
    (message,) = await w.put("ops", "one")
    await w.drain()
    for _ in range(2):
        w.clock.advance(1)
        await w.drain()
        assert w.channel.texts == []
    assert (await w.one(message)).tries == 1
    w.clock.advance(1)
    await w.drain()
    assert w.channel.texts == [f"{MARK}one"]


async def test_a_channel_that_is_offline_is_not_asked(world) -> None:
    w = world()
    w.channel.state = ChannelState.WAITING_FOR_SCAN
    await w.put("ops", "hello")
    assert await w.delivery.send_loops[0].round() is None
    assert w.channel.tried == []
    w.channel.state = ChannelState.ONLINE
    await w.drain()
    assert w.channel.texts == ["hello"]


@pytest.mark.parametrize("error", [Offline("gone"), BadAddress("which one?")])
async def test_what_never_reached_the_service_leaves_the_pace_untouched(world, error) -> None:
    w = world(paces={"a": Pace(day=Rate(3, 86400))})
    for _ in range(10):
        w.channel.faults = [error]
        await w.put("ops", "hello")
        await w.drain()
        w.clock.advance(60)
    assert w.lanes[0].pacer.budget(w.clock.monotonic()) == 3
    await w.crash()
    assert w.lanes[0].pacer.budget(w.clock.monotonic()) == 3


async def test_a_passing_fault_is_tried_again_with_growing_pauses_then_given_up_and_told(world) -> None:
    w = world()
    (message,) = await w.put("ops", "hello")
    w.channel.faults = [Transient("busy", code="-1") for _ in range(MAX_TRIES)]
    pauses = []
    for _ in range(MAX_TRIES):
        assert w.told == []
        await w.drain()
        row = await w.one(message)
        pauses.append(row.next_try_at - w.clock.wall())
        w.clock.advance(121 * 1.2)
    assert len(w.channel.tried) == MAX_TRIES
    for index, pause in enumerate(pauses[:-1]):
        assert 0.8 * 2**index <= pause <= 1.2 * 2**index
    assert (row.state, row.error_code, row.error) == (MessageState.DEAD, "-1", "busy")
    ((line, about),) = w.told
    assert (about, str(message) in line, "busy" in line) == ("ops", True, True)
    assert w.metrics.registry.get_sample_value("wxbridge_dead_total", {"target": "ops", "reason": "-1"}) == 1
    await w.drain()
    assert len(w.channel.tried) == MAX_TRIES


async def test_a_passing_fault_that_passes_is_no_repeat(world) -> None:
    w = world()
    await w.put("ops", "hello")
    w.channel.faults = [Transient("busy"), Transient("busy")]
    await w.pass_time(10)
    assert w.channel.texts == ["hello"]
    assert w.counted("ops", "retried") == 2


async def test_no_answer_is_repeated_marked_with_growing_pauses_until_it_expires_and_never_called_sent(world) -> None:
    w = world(ops=Room(expires_after="20m"))
    (message,) = await w.put("ops", "hello", expires_after=1200.0)
    w.channel.faults = [Unknown("no answer in 15 s")] * 50
    await w.drain()
    at = []
    for _ in range(1200):
        before = len(w.channel.tried)
        await w.pass_time(1)
        at += [w.clock.monotonic() - 1000] if len(w.channel.tried) > before else []
    assert at == [1, 6, 36, 156, 456, 756, 1056]
    assert w.channel.tried == [("ops", "hello"), *[("ops", MARK + "hello")] * 7]
    row = await w.one(message)
    assert (row.state, row.error) == (MessageState.UNKNOWN, "expired after waiting; last: no answer in 15 s")
    assert len(w.told) == 1
    assert (w.counted("ops", "sent"), w.counted("ops", "unknown")) == (0, 8)


@pytest.mark.parametrize("fault", [Unknown("HTTP 502"), Unknown("reset", is_cut=True)])
async def test_ten_bad_seconds_lose_nothing_and_spend_nothing_of_the_others(world, fault) -> None:
    w = world()
    for number in range(5):
        await w.put("ops", f"{number}", priority=Priority.CRITICAL if number == 4 else Priority.ALERT)
    w.channel.faults = [fault] * 3
    await w.pass_time(1)
    late = await w.put("ops", "urgent", priority=Priority.REPLY)
    await w.pass_time(10)
    assert (await w.one(late[0])).tries == 0
    await w.pass_time(30)
    assert w.channel.texts == [MARK + "4", "urgent", "0", "1", "2", "3"]
    assert await w.states() == ["sent"] * 6
    assert w.told == []


async def test_an_attempt_that_a_dying_connection_ended_is_none(world) -> None:
    w = world()
    (message,) = await w.put("ops", "hello")
    w.channel.faults = [Unknown("cut", is_cut=True)] * 3
    await w.pass_time(20)
    row = await w.one(message)
    assert (row.tries, row.maybe_sent) == (0, True)


async def test_what_stays_unknown_goes_to_the_fallback_marked_and_to_the_operators(world) -> None:
    w = world(ops=Room(fallback=("robot",), failover_after="1h"), robot=Room(channel="b"))
    await w.put("ops", "hello", expires_after=60.0)
    w.channel.faults = [Unknown("no answer")] * 50
    await w.pass_time(65)
    assert w.channels["b"].texts == [MARK + "⚠️ ops did not confirm this (no answer):\nhello"]
    assert [about for _, about in w.told] == ["ops"]


async def test_a_marked_repeat_that_is_answered_is_sent(world) -> None:
    w = world()
    (message,) = await w.put("ops", "hello")
    w.channel.faults = [Unknown("no answer"), Offline("gone"), Transient("busy")]
    await w.pass_time(10)
    assert w.channel.texts == [MARK + "hello"]
    assert (await w.one(message)).state is MessageState.SENT


async def test_texts_behind_one_without_an_answer_keep_their_order(world) -> None:
    w = world()
    await w.put("ops", "first")
    await w.put("ops", "second")
    w.channel.faults = [Unknown("no answer")]
    await w.pass_time(5)
    assert w.channel.texts == [MARK + "first", "second"]


async def test_what_is_refused_for_good_is_dead_and_told_at_once(world) -> None:
    w = world()
    (message,) = await w.put("ops", "hello")
    await w.put("ops", "next")
    w.channel.faults = [Permanent("too big", code="45002")]
    await w.drain()
    row = await w.one(message)
    assert (row.state, row.error_code, row.tries) == (MessageState.DEAD, "45002", 1)
    assert len(w.told) == 1
    assert w.channel.texts == ["next"]


@pytest.mark.parametrize("error", [RuntimeError("bug"), TimeoutError(), asyncio.CancelledError()])
async def test_a_mistake_in_a_channel_counts_as_no_answer_and_harms_nobody_else(world, error) -> None:
    w = world(ops=Room(), boss=Room())
    (message,) = await w.put("ops", "hello")
    await w.put("boss", "hello boss")
    w.channel.faults_of["ops"] = [error]
    await w.drain()
    row = await w.one(message)
    assert (row.state, row.maybe_sent) == (MessageState.QUEUED, True)
    assert type(error).__name__ in row.error
    assert w.channel.to("boss") == ["hello boss"]
    await w.pass_time(3)
    assert w.channel.to("ops") == [MARK + "hello"]


async def test_a_mistake_of_ours_blocks_nothing_and_is_listed(world, monkeypatch) -> None:
    w = world()
    (message,) = await w.put("ops", "hello")
    await w.put("ops", "next")

    async def broken(*_args):
        raise KeyError("oh")

    monkeypatch.setattr("wxbridge.delivery.failover.hand_over_refused", broken)
    w.channel.faults = [Permanent("refused")]
    await w.drain()
    assert (await w.one(message)).state is MessageState.UNKNOWN
    assert w.channel.texts == ["next"]


async def test_a_line_for_the_person_in_charge_that_dies_starts_no_chain_of_lines(world) -> None:
    w = world(master=Room())
    (message,) = await w.put("master", "a message died", source="wxbridge")
    w.channel.faults = [Permanent("refused")]
    await w.drain()
    assert (await w.one(message)).state is MessageState.DEAD
    assert w.told == []


async def test_what_was_being_sent_at_a_crash_is_repeated_once_and_marked_and_nothing_else_is(world) -> None:
    w = world(ops=Room(), boss=Room())
    done, cut, waits = [(await w.put("ops", text))[0] for text in ("done", "cut", "waits")]
    await w.step()
    w.channel.gate = asyncio.Event()
    await w.begin()
    assert [(await w.one(each)).state.value for each in (done, cut, waits)] == ["sent", "sending", "queued"]
    await w.crash()
    w.channel.gate = None
    await w.drain()
    assert w.channel.texts == ["done", MARK + "cut", "waits"]
    assert await w.states() == ["sent"] * 3
    await w.crash()
    await w.drain()
    assert len(w.channel.sent) == 3


async def test_a_second_silence_after_a_crash_is_repeated_again(world) -> None:
    w = world()
    (message,) = await w.put("ops", "cut")
    w.channel.gate = asyncio.Event()
    await w.begin()
    await w.crash()
    w.channel.gate = None
    w.channel.faults = [Unknown("no answer")]
    await w.pass_time(10)
    assert [what for _, what in w.channel.tried] == ["cut", MARK + "cut", MARK + "cut"]
    assert (await w.one(message)).state is MessageState.SENT


async def test_a_stop_lets_what_is_being_sent_come_to_its_end(world) -> None:
    w = world()
    await w.put("ops", "hello")
    w.channel.gate = asyncio.Event()
    running = asyncio.create_task(w.delivery.run())
    await wait_until(lambda: w.channel.tried)
    running.cancel()
    await asyncio.sleep(0.001)
    w.channel.gate.set()
    await asyncio.wait([running])
    assert await w.states() == ["sent"]


async def test_the_loops_deliver_what_is_put_in_and_drawn(world) -> None:
    w = world()
    await w.put("ops", "hello", picture("graph"), priority=Priority.REPLY)
    running = asyncio.create_task(w.delivery.run())
    await wait_until(lambda: len(w.channel.sent) == 2)
    await wait_until(lambda: not w.delivery.send_loops[0].under_way)
    running.cancel()
    await asyncio.wait([running])
    assert w.channel.texts == ["hello", "[graph.png]"]


async def test_half_a_surrogate_pair_is_stored_and_sent_as_something_readable(world) -> None:
    w = world()
    (message,) = await w.put("ops", "CPU \ud83d high, \ud83d\ude00 fine")
    w.channel.faults = [Transient("words \udc00 of a service", code="\udc00")]
    await w.pass_time(3)
    assert w.channel.texts == ["CPU \ufffd high, 😀 fine"]
    assert (await w.one(message)).state is MessageState.SENT


async def test_retried_by_hand_a_settled_message_goes_again(world) -> None:
    w = world()
    (message,) = await w.put("ops", "hello")
    w.channel.faults = [Permanent("refused")]
    await w.drain()
    w.clock.advance(100_000)
    await w.outbox.retry([message], now=w.clock.wall(), expires_after=3600)
    await w.delivery.look_after()
    await w.drain()
    assert w.channel.texts == ["hello"]
    assert (await w.one(message)).state is MessageState.SENT
