"""Sends that are answered after the deadline, or never: called unknown, repeated and marked, counted apart."""

from __future__ import annotations

import json

import pytest

from .bridge_harness import BridgeHarness
from .test_gateway_faults import firsts
from .test_main_job import legacy

pytestmark = pytest.mark.long

DEADLINE = "wxbridge.channels.wechat.channel:WechatTiming.deadline"
MARK = "(possible repeat) "


async def outcomes(bridge, target: str = "ops") -> dict[str, float]:
    """What `/metrics` says became of the attempts to send to a target; without zeroes."""
    names = ("sent", "unknown", "retried", "dead")
    found = {name: await bridge.counted("wxbridge_messages_total", target=target, outcome=name) for name in names}
    return {name: count for name, count in found.items() if count}


async def test_an_answer_after_the_deadline_costs_one_marked_repeat_that_is_counted_apart(
    harness: BridgeHarness,
) -> None:
    harness.constants[DEADLINE] = 1.0
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    # The room has it at once; the gateway says so when nobody listens any more.
    harness.simulator.gateway.faults.delay(2.0, 1, method="MessageSendText", after=True)
    await bridge.post(legacy("late"))
    await bridge.post(legacy("next"))
    await harness.until(lambda: len(harness.room()) == 3)
    assert firsts(harness.room()) == ["🔥 late", f"{MARK}🔥 late", "🔥 next"]
    await bridge.event("sent", tries=2)
    rows = json.loads((await harness.command("outbox", "list", "--json"))[1])
    assert {row["state"] for row in rows} == {"sent"}
    assert await outcomes(bridge) == {"unknown": 1, "sent": 2}
    assert not any(line["event"] == "wechat state" and line["state"] == "unreachable" for line in bridge.logs)


async def test_late_answers_until_it_expires_leave_it_unknown_and_the_master_is_told(harness: BridgeHarness) -> None:
    harness.constants[DEADLINE] = 1.0
    bridge = await harness.bridge(ops="expires_after: 6s")
    await harness.until(harness.chat)
    harness.simulator.gateway.faults.delay(2.0, 2, method="MessageSendText", after=True)
    await bridge.post(legacy("late"))
    await harness.until(lambda: any("could not be delivered" in text for text in harness.chat()))
    assert firsts(harness.room()) == ["🔥 late", f"{MARK}🔥 late"]
    rows = json.loads((await harness.command("outbox", "list", "--dead", "--json"))[1])
    assert [(row["state"], row["target"]) for row in rows] == [("unknown", "ops")]
    assert "it may have been sent" in rows[0]["error"]
    assert await outcomes(bridge) == {"unknown": 2}
    await bridge.post(legacy("next"))
    await harness.until(lambda: firsts(harness.room())[-1] == "🔥 next")
    assert len(harness.room()) == 3
