"""What leaves when: order, priorities, pictures, and that nobody waits for somebody else."""

from __future__ import annotations

import asyncio

from tests.integration.delivery.delivery_harness import PNG, Room, picture
from wxbridge.config.types import Pace, Rate
from wxbridge.core.errors import Transient, Unknown
from wxbridge.core.model import Capabilities, ChannelState, MessageState, Picture, Priority, Text


async def test_texts_to_a_target_leave_in_order_one_after_the_other(world) -> None:
    w = world()
    for number in range(5):
        await w.put("ops", f"text {number}")
    await w.step()
    assert w.channel.texts == ["text 0"]
    await w.drain()
    assert w.channel.texts == [f"text {number}" for number in range(5)]
    assert await w.states() == ["sent"] * 5


async def test_urgent_messages_overtake_routine_ones_that_wait(world) -> None:
    w = world()
    for priority in (Priority.ROUTINE, Priority.ALERT, Priority.CRITICAL, Priority.REPLY):
        await w.put("ops", f"{priority.name} 1", f"{priority.name} 2", priority=priority)
    await w.drain()
    assert w.channel.texts == [
        f"{name} {number}" for name in ("REPLY", "CRITICAL", "ALERT", "ROUTINE") for number in (1, 2)
    ]


async def test_a_message_that_is_being_sent_is_not_overtaken_in_its_chat(world) -> None:
    w = world()
    w.channel.gate = asyncio.Event()
    await w.put("ops", "slow", priority=Priority.ROUTINE)
    await w.begin()
    await w.put("ops", "urgent", priority=Priority.CRITICAL)
    await w.begin()
    assert w.channel.tried == [("ops", "slow")]
    w.channel.gate.set()
    await w.settle()
    await w.drain()
    assert w.channel.texts == ["slow", "urgent"]


async def test_under_a_shared_pace_the_more_urgent_of_two_targets_goes_first(world) -> None:
    w = world(a1=Room(), a2=Room(), paces={"a": Pace(total=Rate(1, 60))})
    await w.put("a1", "routine", priority=Priority.ROUTINE)
    await w.put("a2", "critical", priority=Priority.CRITICAL)
    await w.drain()
    assert w.channel.texts == ["critical"]


async def test_a_picture_waits_to_be_drawn_while_later_texts_pass(world) -> None:
    w = world()
    await w.put("ops", "first", picture("graph"))
    await w.put("ops", "second")
    for _ in range(4):
        await w.step()
    assert w.channel.texts == ["first", "second"]
    await w.draw()
    await w.drain()
    assert w.channel.texts == ["first", "second", "🖼 The picture of: first", "[graph.png]"]


async def test_where_each_message_costs_one_of_a_few_a_picture_has_no_caption(world) -> None:
    w = world(capabilities={"a": Capabilities(text_limit=2000, is_scarce=True)})
    await w.put("ops", "first", picture("graph"))
    await w.put("ops", "second")
    for _ in range(4):
        await w.step()
    await w.draw()
    await w.drain()
    assert w.channel.texts == ["first", "second", "[graph.png]"]


async def test_nothing_comes_between_a_caption_and_its_picture(world) -> None:
    w = world()
    await w.put("ops", "first\nwith more", picture("one"), picture("two"))
    await w.put("ops", "second")
    for _ in range(4):
        await w.step()
    await w.draw()
    await w.step()
    await w.put("ops", "urgent", priority=Priority.CRITICAL)
    await w.drain()
    assert w.channel.texts == [
        "first\nwith more", "second", "🖼 The picture of: first", "[one.png]",
        "urgent", "🖼 The picture of: first", "[two.png]",
    ]  # fmt: skip
    assert await w.states() == ["sent"] * 5


async def test_a_drawn_picture_goes_right_behind_its_own_text(world) -> None:
    w = world()
    await w.put("ops", "first", picture("one"))
    await w.put("ops", "second", picture("two"))
    await w.draw()
    await w.drain()
    assert w.channel.texts == ["first", "[one.png]", "second", "[two.png]"]


async def test_a_picture_never_overtakes_its_text_which_waits_for_another_try(world) -> None:
    w = world()
    await w.put("ops", "text", picture("graph"))
    await w.draw()
    w.channel.faults = [Transient("busy")]
    await w.drain()
    assert w.channel.sent == []
    await w.pass_time(3)
    assert w.channel.texts == ["text", "[graph.png]"]


async def test_a_picture_does_not_wait_for_other_texts(world) -> None:
    w = world()
    await w.put("ops", "first", picture("graph"))
    await w.draw()
    await w.step()
    await w.put("ops", "urgent", priority=Priority.CRITICAL)
    w.channel.faults = [Transient("busy")]
    await w.drain()
    assert w.channel.texts == ["first", "[graph.png]"]


async def test_a_mistake_in_a_painter_costs_its_picture_only(world) -> None:
    w = world()

    def broken(spec):
        if spec.params["url"] == "bad":
            raise ZeroDivisionError
        return PNG

    w.paint = broken
    await w.put("ops", "text", picture("bad", None), picture("good"))
    await w.drain()
    assert w.channel.texts == ["text\n(picture missing)", "[good.png]"]


async def test_a_painter_that_is_cancelled_from_within_costs_its_picture_only(world) -> None:
    w = world()

    async def cancelled(_spec):
        raise asyncio.CancelledError

    w.paint = cancelled
    await w.put("ops", "text", picture("graph"))
    await w.drain()
    assert w.channel.texts == ["text\n(picture missing)"]
    assert "CancelledError" in w.told[0][0]


async def test_only_so_many_pictures_are_drawn_at_once_and_the_urgent_ones_first(world) -> None:
    w = world()
    gate, begun = asyncio.Event(), []

    async def slowly(spec):
        begun.append(spec.params["url"])
        await gate.wait()
        return PNG

    w.paint = slowly
    for number in range(3):
        await w.put("ops", picture(f"routine {number}"), priority=Priority.ROUTINE)
    await w.put("ops", picture("urgent"), priority=Priority.CRITICAL)
    await w.delivery.render_loop.round()
    await w.delivery.render_loop.round()
    await asyncio.sleep(0)
    assert begun == ["urgent", "routine 0"]
    gate.set()
    await asyncio.gather(*w.delivery.render_loop.under_way)
    await w.drain()
    assert len(begun) == 4
    assert len(w.channel.sent) == 4


async def test_a_picture_without_a_specification_is_told_in_words(world) -> None:
    w = world()
    await w.put("ops", Picture())
    await w.drain()
    assert w.channel.texts == ["(picture missing)"]
    assert "nobody said what to draw" in w.told[0][0]


async def test_a_picture_whose_file_is_gone_is_dead_and_told(world) -> None:
    w = world()
    (message,) = await w.put("ops", Picture(file="gone.png"))
    await w.put("ops", "next")
    await w.drain()
    assert (await w.one(message)).state is MessageState.DEAD
    assert "gone.png" in w.told[0][0]
    assert w.channel.texts == ["next"]


async def test_a_picture_whose_text_was_dropped_goes_alone(world) -> None:
    w = world()
    text, _ = await w.put("ops", "text", picture("graph"))
    await w.outbox.drop([text], now=w.clock.wall())
    await w.drain()
    assert w.channel.texts == ["[graph.png]"]


async def test_a_stuck_target_delays_no_other(world) -> None:
    w = world(stuck=Room(), ops=Room())
    w.channel.gates["stuck"] = asyncio.Event()
    for number in range(3):
        await w.put("stuck", f"stuck {number}", priority=Priority.CRITICAL)
        await w.put("ops", f"ops {number}", priority=Priority.ROUTINE)
    for _ in range(4):
        await w.begin()
        for _ in range(20):
            await asyncio.sleep(0.001)
    assert w.channel.texts == ["ops 0", "ops 1", "ops 2"]
    w.channel.gates["stuck"].set()
    await w.settle()
    await w.drain()
    assert w.channel.to("stuck") == ["stuck 0", "stuck 1", "stuck 2"]


async def test_two_channels_do_not_know_each_other(world) -> None:
    w = world(ops=Room(channel="a"), robot=Room(channel="b"), third=Room(channel="c"))
    w.channels["a"].state = ChannelState.LOGGED_OUT
    w.channels["c"].faults = [Unknown("no answer")]
    for target in ("ops", "robot", "third"):
        await w.put(target, "hello")
    await w.drain()
    assert w.channels["b"].texts == ["hello"]
    assert w.channels["a"].tried == []
    assert await w.states() == ["queued", "sent", "queued"]


async def test_mentions_go_with_their_text(world) -> None:
    w = world()
    seen = []
    send = w.channel.send

    async def spy(address, body, mentions=()):
        seen.append((body, mentions))
        return await send(address, body, mentions)

    w.channel.send = spy
    await w.put("ops", Text("hello", ("all", "张三")))
    await w.drain()
    assert seen == [(Text("hello", ("all", "张三")), ("all", "张三"))]


async def test_a_target_behind_a_hundred_blocked_texts_sends_its_drawn_pictures(world) -> None:
    """Pictures whose text has left are found behind many whose text waits."""
    w = world()
    await w.put("ops", "told", picture("told"))
    await w.step()
    w.channel.faults = [Transient("busy")]
    for number in range(120):
        await w.put("ops", f"text {number}", picture(f"{number}"))
    await w.step()
    await w.drain()
    assert w.channel.texts == ["told", "[told.png]"]
