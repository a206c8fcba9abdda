"""A storm becomes a digest; what a digest says is in tests/test_digest.py."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import select

from tests.integration.delivery.delivery_harness import Room, alert, picture
from wxbridge.config.types import Pace, Rate
from wxbridge.core.errors import Held, StorageError
from wxbridge.core.model import Capabilities, ChannelState, NotificationKind, Priority, SendWindowState
from wxbridge.core.schema import notifications
from wxbridge.delivery import digests as storm
from wxbridge.testing import FakeChannel

SLOW = {"a": Pace(chat=Rate(1, 60))}


async def storm_of(w, count, target="ops", **fields):
    for number in range(count):
        await w.alert(target, alert(f"alert {number % 4}", mark=f"{number}", **fields))


async def digests(w):
    query = select(notifications.c.content).where(notifications.c.kind == NotificationKind.DIGEST)
    return await w.database.read(lambda c: list(c.execute(query).scalars()))


async def test_a_backlog_that_takes_longer_than_digest_after_becomes_one_digest(world) -> None:
    w = world(ops=Room(digest_after="300s"), paces=SLOW)
    await storm_of(w, 20)
    await w.delivery.look_after()
    await w.drain()
    (text,) = w.channel.texts
    assert text.splitlines() == [
        "🌊 20 alerts since 08:00, in short:", "🔥×5 alert 0", "🔥×5 alert 1", "🔥×5 alert 2", "🔥×5 alert 3",
    ]  # fmt: skip
    assert await w.states() == ["merged"] * 20 + ["sent"]
    assert w.counted("ops", "merged") == 20


async def test_of_a_storm_within_the_pace_the_first_are_told_singly_and_the_others_in_a_digest(world) -> None:
    w = world(paces={"a": Pace(chat=Rate(1, 1), total=Rate(30, 60), day=Rate(600, 86400))})
    for number in range(120):
        await w.alert("ops", alert(f"alert {number}", mark=f"{number}"))
    await w.pass_time(30)
    assert [text.splitlines()[0] for text in w.channel.texts] == [
        "🔥 alert 0", "🔥 alert 1", "🔥 alert 2", "🔥 alert 3", "🌊 116 alerts since 08:00, in short:",
    ]  # fmt: skip


class FewMessages(FakeChannel):
    """A channel that may send little until it is written to."""

    hold = False

    def check_priority(self, priority: int) -> None:
        if self.hold:
            raise Held("more may come", retry_after=10.0)

    def count_singly(self) -> int:
        return 3

    def describe_window(self) -> SendWindowState:
        return SendWindowState(9, 60.0, 0)


@pytest.mark.parametrize(("count", "told"), [(3, ["🔥 alert 0", "🔥 alert 1", "🔥 alert 2"]),
                                             (8, ["🌊 8 alerts since 08:00, in short:"])])  # fmt: skip
async def test_where_little_may_be_sent_what_waits_is_merged_early_also_without_a_pace(world, count, told) -> None:
    w = world(channels={"a": FewMessages(state=ChannelState.WAITING_FOR_WORD)})
    await storm_of(w, count)
    await w.pass_time(2)
    assert w.channel.texts == []
    w.channel.state = ChannelState.ONLINE
    await w.drain()
    assert [text.splitlines()[0] for text in w.channel.texts] == told


async def test_what_a_channel_holds_back_to_merge_it_is_no_outage(world) -> None:
    few = FewMessages()
    few.hold = True
    w = world(ops=Room(fallback="other", failover_after="3s"), other=Room(channel="b"), channels={"a": few})
    await storm_of(w, 5)
    await w.pass_time(8)
    few.hold = False
    await w.pass_time(4)
    assert [text.splitlines()[0] for text in w.channel.texts] == ["🌊 5 alerts since 08:00, in short:"]
    assert w.channels["b"].texts == []


async def test_a_storm_that_goes_on_joins_the_digest_that_waits(world) -> None:
    w = world(paces={"a": Pace(chat=Rate(1, 10))})
    for number in range(20):
        await w.alert("ops", alert(f"alert {number}", mark=f"{number}"))
    await w.pass_time(5)
    for number in range(20, 40):
        await w.alert("ops", alert(f"alert {number}", mark=f"{number}"))
    await w.pass_time(60)
    assert [text.splitlines()[0] for text in w.channel.texts] == [
        "🔥 alert 0", "🔥 alert 1", "🔥 alert 2", "🔥 alert 3", "🌊 36 alerts since 08:00, in short:",
    ]  # fmt: skip


async def test_two_targets_of_one_chat_are_counted_together_and_fewer_are_left_alone(world) -> None:
    w = world(ops=Room(room="r"), boss=Room(room="r"), third=Room(), paces={"a": Pace(chat=Rate(1, 1))})
    await storm_of(w, 6, "ops")
    await storm_of(w, 6, "boss")
    await storm_of(w, 9, "third")
    await w.delivery.look_after()
    assert (await w.states(target="ops")).count("merged") == 3
    assert (await w.states(target="boss")).count("merged") == 3
    assert await w.states(target="third") == ["queued"] * 9


async def test_alerts_are_counted_and_not_their_pictures(world) -> None:
    w = world(paces={"a": Pace(chat=Rate(1, 1))})
    await storm_of(w, 9, picture=picture("graph").spec)
    await w.delivery.look_after()
    assert await w.states() == ["queued"] * 18


async def test_a_target_without_a_pace_has_no_digest_though_its_channel_has_one(world) -> None:
    w = world(ops=Room(pace="none"), paces={"a": Pace(total=Rate(1, 3600))})
    await storm_of(w, 50)
    await w.delivery.look_after()
    assert "merged" not in await w.states()


async def test_a_backlog_that_leaves_in_time_is_left_alone(world) -> None:
    w = world(ops=Room(digest_after="300s"), paces=SLOW)
    await storm_of(w, 6)
    await w.delivery.look_after()
    assert await w.states() == ["queued"] * 6


@pytest.mark.parametrize("digest_after", [None, "0s"])
async def test_without_digest_after_there_is_none(world, digest_after) -> None:
    w = world(ops=Room(digest_after=digest_after), paces=SLOW)
    await storm_of(w, 50)
    await w.delivery.look_after()
    assert await w.states() == ["queued"] * 50


async def test_without_a_pace_there_is_none(world) -> None:
    w = world()
    await storm_of(w, 50)
    await w.delivery.look_after()
    assert await w.states() == ["queued"] * 50


async def test_targets_that_share_the_channels_pace_are_relieved_the_largest_first(world) -> None:
    w = world(
        ops=Room(), boss=Room(), third=Room(), paces={"a": Pace(total=Rate(10, 60))},
    )  # fmt: skip
    await storm_of(w, 60, "ops")
    await storm_of(w, 4, "boss")
    await storm_of(w, 8, "third")
    await w.delivery.look_after()
    assert await w.states(target="ops") == ["merged"] * 60 + ["queued"]
    assert await w.states(target="boss") == ["queued"] * 4
    assert await w.states(target="third") == ["queued"] * 8


async def test_a_digest_that_still_waits_merges_with_what_comes_after_it(world) -> None:
    w = world(paces={"a": Pace(chat=Rate(1, 600))})
    await w.put("ops", "takes the only place")
    await w.drain()
    await w.alert("ops", alert("flaps", mark="f"))
    await w.alert("ops", alert("stays", mark="s"))
    await w.alert("ops", alert("third", mark="t"))
    await w.delivery.look_after()
    assert len(await digests(w)) == 1
    w.clock.advance(10)
    await w.alert("ops", alert("flaps", "resolved", mark="f"))
    await w.alert("ops", alert("fourth", mark="4"))
    await w.delivery.look_after()
    await w.pass_time(600, tick=60)
    text = w.channel.texts[1]
    assert text.splitlines() == [
        "🌊 5 alerts since 08:00, in short:", "🔥×1 fourth", "🔥×1 stays", "🔥×1 third",
        "↩️ ×1 fired and resolved meanwhile",
    ]  # fmt: skip
    assert len(w.channel.texts) == 2
    assert len(await w.all()) == 8
    assert set(await w.states()) == {"merged", "sent"}


async def test_a_storm_larger_than_a_bite_ends_in_one_digest(world, monkeypatch) -> None:
    monkeypatch.setattr(storm, "MAX_MESSAGES_PER_MERGE", 10)
    w = world(paces=SLOW)
    await storm_of(w, 45)
    for _ in range(6):
        await w.delivery.look_after()
    await w.drain()
    (text,) = w.channel.texts
    assert text.startswith("🌊 45 alerts")
    assert sorted(set(await w.states())) == ["merged", "sent"]


async def test_pictures_of_merged_alerts_are_neither_drawn_nor_sent(world) -> None:
    w = world(paces=SLOW)
    await storm_of(w, 10, picture=picture("graph").spec)
    await w.delivery.look_after()
    await w.drain()
    assert w.drawings == []
    assert len(w.channel.sent) == 1


async def test_what_is_being_sent_or_partly_sent_is_not_merged(world) -> None:
    w = world(paces=SLOW)
    w.channel.gate = asyncio.Event()
    await storm_of(w, 10, picture=picture("graph").spec)
    await w.begin()
    await w.delivery.look_after()
    w.channel.gate.set()
    await w.settle()
    await w.pass_time(200, tick=20)
    assert w.channel.texts[0] == "🔥 alert 0"
    assert w.channel.texts[1] in ("[picture.png]", w.channel.texts[-1])
    assert "🌊 9 alerts" in "".join(w.channel.texts)
    assert w.channel.texts.count("[picture.png]") == 1


async def test_what_is_no_alert_is_left_alone(world) -> None:
    w = world(paces=SLOW)
    await w.put("ops", "report")
    await storm_of(w, 10)
    await w.delivery.look_after()
    assert (await w.all())[0].state == "queued"


async def test_a_digest_is_as_urgent_as_its_most_urgent_and_as_old_as_its_oldest(world) -> None:
    w = world(ops=Room(fallback=("robot",), failover_after="900s"), robot=Room(channel="b"), paces=SLOW)
    w.channels["a"].state = "logged_out"
    await w.delivery.look_after()
    await storm_of(w, 5)
    began = w.clock.wall()
    w.clock.advance(500)
    await storm_of(w, 5)
    await w.alert("ops", alert("critical"), priority=Priority.CRITICAL)
    await w.delivery.look_after()
    digest = (await w.all())[-1]
    assert (digest.priority, digest.created_at) == (Priority.CRITICAL, began)
    w.clock.advance(450)
    await w.delivery.look_after()
    await w.drain()
    (text,) = w.channels["b"].texts
    assert text.startswith("⚠️ ops cannot be reached for 15 min:\n🌊 11 alerts")


async def test_the_merge_is_one_transaction(world, monkeypatch) -> None:
    w = world(paces=SLOW)
    await storm_of(w, 10)

    def refuse(*_args, **_kwargs):
        raise StorageError("no")

    with monkeypatch.context() as patch:
        patch.setattr("wxbridge.delivery.outbox_statements.insert_requests", refuse)
        await w.delivery.look_after()
    assert await w.states() == ["queued"] * 10
    monkeypatch.setattr(type(w.intake), "recompose", lambda *_args: [])
    await w.delivery.look_after()
    assert await w.states() == ["queued"] * 10


async def test_a_digest_fits_the_limit_of_its_channel(world) -> None:
    w = world(paces=SLOW, capabilities={"a": Capabilities(300, "bytes")})
    for number in range(40):
        await w.alert("ops", alert(f"磁盘空间不足 {number} " + "很长" * 100, severity="critical"))
    await w.delivery.look_after()
    texts = [message.body.text for message in await w.all() if message.state == "queued"]
    assert texts
    assert all(len(text.encode()) <= 300 for text in texts)


async def test_ten_thousand_alerts_are_merged_quickly_into_little(world) -> None:
    w = world(paces=SLOW)
    content = [alert(f"alert {number % 300}", mark=f"{number}") for number in range(10_000)]
    for start in range(0, 10_000, 10):
        await w.alert("ops", *content[start : start + 10])
    for _ in range(3):
        await w.delivery.look_after()
    await w.drain()
    assert w.channel.texts[0].startswith("🌊 10000 alerts")
    assert len(json.dumps((await digests(w))[-1])) < 150_000
    assert len(await w.all()) == 1000 + len(await digests(w))


async def test_the_log_is_not_filled_where_there_is_nothing_to_merge(world) -> None:
    w = world(paces={"a": Pace(day=Rate(1, 86400))}, capabilities={"a": Capabilities(40)})
    await w.put("ops", "takes the only place of the day")
    await w.drain()
    await w.alert("ops", alert("a title that is longer than the limit of the channel, by a good deal of characters"))
    waker, stirred = asyncio.Event(), []
    w.outbox.connect(render_waker=waker, stir=[stirred.append])
    await w.delivery.look_after()
    assert not waker.is_set()
    assert not stirred
