"""When a target cannot be reached, its fallback takes over; and what is told of an outage."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.delivery.delivery_harness import Room, alert, picture
from wxbridge.config.types import Pace, Rate
from wxbridge.core.errors import Permanent, Transient, Unknown
from wxbridge.core.model import Capabilities, ChannelState, MessageState, Notification, NotificationKind, Text

OFF = ChannelState.LOGGED_OUT
ON = ChannelState.ONLINE


@pytest.fixture
def pair(world):
    """`ops` on channel a, its fallback `robot` on b."""

    def make(**fields):
        return world(ops=Room(channel="a", fallback=("robot",), **fields), robot=Room(channel="b"))

    return make


async def test_the_fallback_takes_over_after_failover_after_saying_so_exactly_once(pair) -> None:
    w = pair(failover_after="120s")
    w.channels["a"].state = OFF
    await w.alert("ops", alert("CPU is high"))
    await w.pass_time(119)
    assert w.channels["b"].sent == []
    await w.pass_time(3)
    (text,) = w.channels["b"].texts
    assert text.startswith("⚠️ ops cannot be reached for 2 min:\n")
    assert "CPU is high" in text
    await w.pass_time(300, tick=10)
    w.channels["a"].state = ON
    await w.pass_time(30)
    assert w.channels["a"].sent == []
    assert len(w.channels["b"].sent) == 1
    assert await w.states(target="ops") == ["failed_over"]
    assert w.counted("ops", "failed_over") == 1
    assert w.told == []


async def test_what_waits_for_a_target_that_is_gone_at_a_start_goes_to_the_operators_marked(pair) -> None:
    w = pair()
    w.channels["a"].faults = [Unknown("no answer")]
    await w.alert("ops", alert("CPU is high"))
    await w.alert("ops", alert("disk is full"))
    await w.drain()
    del w.targets["ops"]
    w.names = ("robot",)
    await w.crash()
    await w.delivery.look_after(tidy=True)
    await w.drain()
    first, second = w.channels["b"].texts
    assert first.startswith("(possible repeat) ⚠️ This was for ops, a target that the configuration no longer has:\n")
    assert "CPU is high" in first
    assert second.startswith("⚠️ This was for ops")
    await w.crash()
    await w.delivery.look_after(tidy=True)
    await w.drain()
    assert len(w.channels["b"].texts) == 2


async def test_what_waits_for_a_target_that_is_gone_waits_on_where_nobody_is_in_charge(pair) -> None:
    w = pair()
    w.channels["a"].state = OFF
    await w.alert("ops", alert("CPU is high"))
    ops = w.targets.pop("ops")
    await w.crash()
    await w.delivery.look_after(tidy=True)
    w.channels["a"].state = ON
    assert await w.states(target="ops") == ["queued"]
    w.targets["ops"] = ops
    await w.crash()
    await w.delivery.look_after(tidy=True)
    await w.drain()
    assert len(w.channels["a"].texts) == 1


async def test_what_is_younger_waits_for_the_channel(pair) -> None:
    w = pair(failover_after="120s")
    w.channels["a"].state = OFF
    await w.put("ops", "old")
    await w.pass_time(100, tick=10)
    await w.put("ops", "young")
    await w.pass_time(30)
    w.channels["a"].state = ON
    await w.drain()
    assert w.channels["a"].texts == ["young"]
    assert len(w.channels["b"].texts) == 1


async def test_what_is_refused_for_good_goes_to_the_fallback_at_once_with_the_reason(pair) -> None:
    w = pair()
    w.channels["a"].faults = [Permanent("no longer a member")]
    ids = await w.alert("ops", alert("CPU"))
    await w.drain()
    assert w.channels["b"].texts == ["⚠️ ops refused this (no longer a member):\n\n🔥 CPU"]
    row = await w.one(ids[0])
    assert (row.state, row.error) == (MessageState.FAILED_OVER, "robot took over: no longer a member")
    assert w.told == []


async def test_refused_by_the_fallback_too_it_is_dead_and_told(pair) -> None:
    w = pair()
    w.channels["a"].faults = [Permanent("no")]
    w.channels["b"].faults = [Permanent("no key", code="93000")]
    await w.alert("ops", alert("CPU"))
    await w.drain()
    assert await w.states() == ["failed_over", "dead"]
    assert [about for _, about in w.told] == ["robot"]


async def test_the_text_is_composed_for_the_limits_of_the_fallback(world) -> None:
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"), capabilities={"b": Capabilities(100, "bytes")})
    w.channels["a"].faults = [Permanent("no")]
    await w.alert("ops", *(alert(f"告警 {number} 磁盘空间不足") for number in range(6)))
    await w.drain()
    texts = w.channels["b"].texts
    assert len(texts) > 1
    assert all(len(text.encode()) <= 100 for text in texts)
    assert texts[0].startswith("(1/")


async def test_of_a_partly_sent_notification_only_the_rest_goes_over(pair) -> None:
    w = pair()
    w.channels["a"].faults = [None, Permanent("no")]
    await w.put("ops", "part one", "part two", "part three")
    await w.drain()
    assert w.channels["a"].texts == ["part one"]
    assert w.channels["b"].texts == ["⚠️ ops refused this (no):\npart two\npart three"]


async def test_a_picture_that_is_drawn_already_is_not_drawn_again(pair) -> None:
    w = pair()
    w.channels["a"].state = OFF
    await w.alert("ops", alert("CPU", picture=picture("graph").spec))
    await w.draw()
    assert len(w.drawings) == 1
    await w.pass_time(135, tick=5)
    assert w.channels["b"].texts[0].endswith("🔥 CPU")
    assert w.channels["b"].texts[1:] == ["[picture.png]"]
    assert len(w.drawings) == 1


async def test_while_a_part_is_being_sent_its_outcome_is_awaited(pair) -> None:
    w = pair(failover_after="60s")
    w.channels["a"].gate = asyncio.Event()
    await w.put("ops", "part one", "part two")
    await w.begin()
    w.channels["a"].state = OFF
    await w.delivery.look_after()
    w.clock.advance(100)
    await w.delivery.look_after()
    assert await w.states(target="robot") == []
    w.channels["a"].gate.set()
    await w.settle()
    await w.delivery.look_after()
    await w.drain()
    assert w.channels["a"].texts == ["part one"]
    assert w.channels["b"].texts == ["⚠️ ops cannot be reached for 1 min:\npart two"]


async def test_the_first_fallback_that_is_online_wins(world) -> None:
    others = {"one": Room(channel="b"), "two": Room(channel="c"), "three": Room(channel="d")}
    w = world(ops=Room(fallback=("one", "two", "three")), **others)
    w.channels["a"].state = w.channels["b"].state = OFF
    await w.put("ops", "hello")
    await w.pass_time(135, tick=5)
    assert (len(w.channels["c"].sent), len(w.channels["d"].sent)) == (1, 0)


async def test_a_fallback_that_is_away_is_passed_over_for_its_own(world) -> None:
    w = world(ops=Room(fallback=("one",)), one=Room(channel="b", fallback=("two",)), two=Room(channel="c"))
    w.channels["a"].state = w.channels["b"].state = OFF
    await w.put("ops", "hello")
    await w.pass_time(135, tick=5)
    assert w.channels["c"].texts == ["⚠️ ops cannot be reached for 2 min:\nhello"]
    assert await w.states() == ["failed_over", "sent"]


async def test_two_targets_that_name_each_other_end(world) -> None:
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b", fallback=("ops",)))
    w.channels["a"].state = w.channels["b"].state = OFF
    await w.put("ops", "hello")
    await w.pass_time(600, tick=10)
    assert await w.states() == ["queued"]
    w.channels["b"].state = ON
    await w.pass_time(2)
    assert len(w.channels["b"].sent) == 1
    w.channels["a"].faults, w.channels["b"].faults = [Permanent("no")], [Permanent("no")]
    w.channels["a"].state = ON
    await w.put("ops", "again")
    await w.drain()
    assert [about for _, about in w.told] == ["robot"]


async def test_what_nobody_can_take_over_hides_nothing_behind_it(world) -> None:
    w = world(
        ops=Room(fallback=("robot",)), robot=Room(channel="b", fallback=("ops", "third")), third=Room(channel="c")
    )
    w.channels["a"].state = w.channels["b"].state = OFF
    # 300 that came over all three, 1 that is new here.
    [old] = await w.put("third", "x")
    [second] = await w.put("ops", "x", origin=(await w.one(old)).notification_id)
    origin = (await w.one(second)).notification_id
    await w.outbox.close([old, second], MessageState.FAILED_OVER, now=w.clock.wall(), error="test")
    worn = [Notification("test", "robot", (Text("worn"),), origin=origin) for _ in range(300)]
    await w.put_all([*worn, Notification("test", "robot", (Text("fresh"),))])
    await w.delivery.look_after()
    w.clock.advance(200)
    await w.delivery.look_after()
    await w.delivery.look_after()
    await w.drain()
    assert w.channels["c"].texts == ["⚠️ robot cannot be reached for 2 min:\nfresh"]


async def test_a_greeting_means_nothing_elsewhere(pair) -> None:
    w = pair()
    w.channels["a"].state = OFF
    await w.put("ops", "hello master!", kind=NotificationKind.GREETING)
    await w.pass_time(300, tick=10)
    assert w.channels["b"].sent == []


async def test_a_content_that_cannot_be_composed_again_goes_over_as_it_is(pair) -> None:
    w = pair()
    w.channels["a"].faults = [Permanent("no")]
    await w.put("ops", "CPU", kind=NotificationKind.ALERT, content={"alerts": [{"nothing": 1}]})
    await w.drain()
    assert w.channels["b"].texts == ["⚠️ ops refused this (no):\nCPU"]


async def test_a_job_of_text_and_picture_goes_over_whole(pair) -> None:
    w = pair()
    w.channels["a"].state = OFF
    await w.put("ops", "report", picture("graph"))
    await w.pass_time(130, tick=5)
    assert w.channels["b"].texts == ["⚠️ ops cannot be reached for 2 min:\nreport", "[graph.png]"]


async def test_a_crash_while_handing_over_repeats_nothing(pair) -> None:
    w = pair()
    w.channels["a"].state = OFF
    await w.put("ops", "hello")
    await w.delivery.look_after()
    w.clock.advance(130)
    await w.delivery.look_after()
    await w.crash()
    await w.pass_time(10)
    assert len(w.channels["b"].sent) == 1


async def test_what_merely_waited_for_the_pace_is_not_handed_over_in_an_outage(world) -> None:
    pace = Pace(total=Rate(30, 60), day=Rate(600, 86400))
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"), paces={"a": pace})
    for number in range(100):
        await w.put("ops", f"{number}")
    await w.pass_time(150)
    assert 0 < len(w.channels["a"].sent) < 100
    w.channels["a"].state = OFF
    await w.pass_time(31)
    w.channels["a"].state = ON
    await w.pass_time(120)
    assert w.channels["a"].texts == [f"{number}" for number in range(100)]
    assert w.channels["b"].sent == []


async def test_what_waits_for_the_rest_of_the_day_is_not_handed_over_after_an_outage(world) -> None:
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"), paces={"a": Pace(day=Rate(1, 86400))})
    await w.put("ops", "1")
    await w.put("ops", "2")
    w.channels["a"].faults = [Unknown("no answer")]
    await w.drain()
    await w.pass_time(600, tick=5)
    assert w.channels["b"].sent == []


async def test_a_fallback_that_fails_itself_gets_nothing_and_the_channel_has_it_back(pair) -> None:
    w = pair()
    w.channels["a"].state = OFF
    w.channels["b"].faults = [Transient("busy")] * 5
    await w.put("robot", "its own")
    await w.put("ops", "hello")
    await w.pass_time(20)
    w.channels["b"].state = OFF
    await w.pass_time(400, tick=5)
    assert await w.states(target="ops") == ["queued"]
    w.channels["a"].state = ON
    await w.pass_time(3)
    assert w.channels["a"].texts == ["hello"]


async def test_what_the_fallback_has_not_sent_comes_back_with_the_channel_and_is_told_once(world) -> None:
    robot = Room(channel="b", digest_after=None)
    w = world(ops=Room(fallback=("robot",)), robot=robot, paces={"b": Pace(chat=Rate(1, 3600))})
    w.channels["a"].state = OFF
    for number in range(4):
        await w.alert("ops", alert(f"alert {number}"))
    await w.pass_time(135, tick=5)
    assert len(w.channels["b"].sent) == 1
    w.channels["a"].state = ON
    await w.pass_time(10)
    assert w.channels["a"].texts == ["🔥 alert 1", "🔥 alert 2", "🔥 alert 3"]
    await w.pass_time(10_000, tick=500)
    assert len(w.channels["b"].sent) == 1
    assert sorted(await w.states()) == ["failed_over"] * 4 + ["sent"] * 4


async def test_what_a_fallback_made_a_digest_of_comes_back_as_one_without_its_own(world) -> None:
    """Alerts of `ops`, and alerts of the fallback's own: each has a digest, and only that of `ops` goes back."""
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"), paces={"b": Pace(chat=Rate(1, 3600))})
    w.channels["a"].state = OFF
    await w.alert("robot", alert("first"))
    for number in range(6):
        await w.alert("ops", alert(f"alert {number}"))
        await w.alert("robot", alert(f"own {number}"))
    await w.pass_time(135, tick=5)
    for number in range(6, 9):
        await w.alert("robot", alert(f"own {number}"))
    await w.pass_time(5)
    assert w.channels["b"].texts == ["🔥 first"]
    w.channels["a"].state = ON
    await w.pass_time(10)
    (digest,) = w.channels["a"].texts
    assert [f"alert {number}" in digest for number in range(6)] == [True] * 6
    assert "own" not in digest
    await w.pass_time(10_000, tick=500)
    assert len(w.channels["a"].texts) == 1
    (_, own) = w.channels["b"].texts
    assert "own 5" in own
    assert "alert" not in own.replace("alerts", "")


async def test_a_digest_that_may_have_been_sent_comes_back_marked(world) -> None:
    paces = {"a": Pace(chat=Rate(1, 600)), "b": Pace(chat=Rate(1, 3600))}
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"), paces=paces)
    await w.alert("robot", alert("first"))
    await w.alert("ops", alert("alert 0"))
    await w.pass_time(5)
    for number in range(1, 7):
        await w.alert("ops", alert(f"alert {number}"))
    w.channels["a"].faults = [Unknown("no answer")]
    await w.pass_time(610, tick=5)
    assert w.channels["a"].faults == [], "the digest was tried"
    w.channels["a"].state = OFF
    await w.pass_time(140, tick=5)
    w.channels["a"].state = ON
    await w.pass_time(1300, tick=5)
    assert [text.startswith("(possible repeat) ") for text in w.channels["a"].texts] == [False, True]
    assert "alert 6" in w.channels["a"].texts[-1]


async def test_few_of_each_of_many_targets_are_one_digest_at_their_fallback(world) -> None:
    rooms = {f"ops{number}": Room(fallback=("robot",)) for number in range(6)}
    w = world(**rooms, robot=Room(channel="b"), paces={"b": Pace(chat=Rate(1, 3600))})
    w.channels["a"].state = OFF
    await w.alert("robot", alert("first"))
    for name in rooms:
        await w.alert(name, alert(f"alert of {name}"))
    await w.pass_time(140, tick=5)
    assert await w.states(target="robot") == ["sent", *["merged"] * 6, "queued"]


async def test_what_was_refused_and_is_in_a_digest_does_not_come_back(world) -> None:
    w = world(ops=Room(fallback=("robot",)), robot=Room(channel="b"), paces={"b": Pace(chat=Rate(1, 3600))})
    await w.alert("robot", alert("first"))
    w.channels["a"].faults = [Permanent("no")] * 6
    for number in range(6):
        await w.alert("ops", alert(f"alert {number}"))
    await w.pass_time(30)
    w.channels["a"].state = OFF
    await w.pass_time(10)
    w.channels["a"].state = ON
    await w.pass_time(10)
    assert w.channels["a"].sent == []


async def test_what_was_refused_for_good_does_not_come_back(pair) -> None:
    w = pair()
    w.channels["b"].state = OFF
    w.channels["a"].faults = [Permanent("no")]
    await w.put("ops", "hello")
    await w.drain()
    await w.pass_time(10)
    w.channels["a"].state = OFF
    await w.pass_time(10)
    w.channels["a"].state = ON
    await w.pass_time(10)
    assert w.channels["a"].sent == []
    w.channels["b"].state = ON
    await w.pass_time(3)
    assert w.channels["b"].texts == ["⚠️ ops refused this (no):\nhello"]


async def test_an_outage_goes_on_over_a_restart(pair) -> None:
    w = pair()
    w.channels["a"].state = OFF
    await w.put("ops", "hello")
    for _ in range(5):
        await w.pass_time(25)
        await w.crash()
    await w.pass_time(3)
    assert len(w.channels["b"].sent) == 1


async def test_a_channel_whose_connection_dies_with_every_send_is_in_trouble_though_it_is_back_each_time(pair) -> None:
    w = pair()
    await w.put("ops", "hello")
    for _ in range(13):
        w.channels["a"].faults = [Unknown("gone", is_cut=True)] * 3
        await w.pass_time(2)
        w.channels["a"].state = OFF
        await w.pass_time(8)
        w.channels["a"].state = ON
    await w.pass_time(3)
    assert w.channels["a"].sent == []
    assert [text.startswith("(possible repeat) ") for text in w.channels["b"].texts] == [True]


# ---------------------------------------------------------------- outages


async def test_back_online_is_told_once_when_the_backlog_has_left(world) -> None:
    w = world(
        ops=Room(fallback=("robot",), failover_after="600s"), boss=Room(), robot=Room(channel="b"),
        paces={"a": Pace(chat=Rate(1, 1))},
    )  # fmt: skip
    await w.put("boss", "before")
    await w.drain()
    await w.delivery.look_after()
    w.clock.advance(1)
    w.channels["a"].state = OFF
    await w.delivery.look_after()
    await w.put("ops", "goes over")
    await w.pass_time(2000, tick=20)
    for number in range(4):
        await w.put("ops", f"{number}")
    await w.pass_time(520, tick=20)
    w.channels["a"].state = ON
    await w.delivery.look_after()
    assert w.told == []
    w.clock.advance(1)
    await w.put("boss", "after")
    await w.pass_time(2)
    assert w.told == []
    await w.pass_time(10)
    assert w.told == [("a is back online after 42 min: 4 messages delivered, 1 sent by fallback.", None)]
    await w.pass_time(60)
    assert len(w.told) == 1


async def test_a_short_interruption_is_not_told(world) -> None:
    w = world()
    await w.delivery.look_after()
    w.channel.state = OFF
    await w.pass_time(50)
    w.channel.state = ON
    await w.pass_time(100)
    assert w.told == []


async def test_an_outage_in_an_outage_is_one(world) -> None:
    w = world(paces={"a": Pace(chat=Rate(1, 10))})
    await w.delivery.look_after()
    w.channel.state = OFF
    for number in range(4):
        await w.put("ops", f"{number}")
    await w.pass_time(120, tick=10)
    w.channel.state = ON
    await w.pass_time(15, tick=5)
    assert 0 < len(w.channel.sent) < 4
    w.channel.state = OFF
    await w.pass_time(65, tick=5)
    w.channel.state = ON
    await w.pass_time(60, tick=5)
    assert [line for line, _ in w.told] == [
        "a is back online after 3 min 15 s: 4 messages delivered, 0 sent by fallback."
    ]


async def test_a_channel_that_was_never_up_has_no_outage(world) -> None:
    w = world()
    w.channel.state = OFF
    await w.pass_time(300, tick=10)
    w.channel.state = ON
    await w.pass_time(10)
    assert w.told == []


async def test_an_unknown_that_waits_for_its_repeat_goes_over_like_any_other(pair) -> None:
    w = pair(failover_after="60s")
    w.channels["a"].faults = [Unknown("no answer")]
    await w.put("ops", "hello")
    await w.drain()
    w.channels["a"].state = OFF
    await w.pass_time(70)
    assert len(w.channels["b"].sent) == 1
