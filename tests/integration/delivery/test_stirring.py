"""The outbox is asked only for targets that something stirred; and whatever was put back goes at its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.integration.delivery.delivery_harness import DeliveryHarness
from wxbridge.core.errors import Throttled
from wxbridge.core.model import ChannelState, Priority


def watch_claims(w: DeliveryHarness) -> list[Sequence[str]]:
    """The targets of each look into the outbox from now on."""
    asked: list[Sequence[str]] = []
    claim = w.outbox.claim

    async def noted(targets: Sequence[str], **options: Any) -> Any:
        asked.append(sorted(targets))
        return await claim(targets, **options)

    w.outbox.claim = noted  # type: ignore[method-assign]
    return asked


async def test_only_what_was_stirred_is_looked_at(world) -> None:
    w = world()
    await w.put("ops", "one")
    await w.drain()
    asked = watch_claims(w)
    await w.drain()
    assert asked == []
    await w.put("ops", "two")
    await w.drain()
    assert asked == [["ops"], ["ops"]]
    assert w.channel.texts == ["one", "two"]


async def test_two_that_were_put_back_go_each_at_its_time(world) -> None:
    w = world()
    w.channel.faults = [Throttled("slower", retry_after=5), Throttled("slower", retry_after=30)]
    await w.put("ops", "soon", priority=Priority.CRITICAL)
    await w.put("ops", "later")
    await w.drain()
    assert w.channel.texts == []
    await w.pass_time(7)
    assert w.channel.texts == ["soon"]
    asked = watch_claims(w)
    await w.pass_time(20)
    assert len(asked) <= 1
    await w.pass_time(8)
    assert w.channel.texts == ["soon", "later"]


async def test_what_waits_for_an_account_goes_once_it_is_back(world) -> None:
    w = world()
    w.channel.state = ChannelState.UNREACHABLE
    await w.put("ops", "hello")
    await w.drain()
    sender = w.delivery.send_loops[0]
    sender._waker.clear()
    sender.look_at_states()
    assert not sender._waker.is_set()
    w.channel.state = ChannelState.ONLINE
    sender.look_at_states()
    assert sender._waker.is_set()
    await w.drain()
    assert w.channel.texts == ["hello"]
