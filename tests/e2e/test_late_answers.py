"""Sends that are answered after the deadline, or never: called unknown, repeated once and marked, counted apart."""

from __future__ import annotations

import json

from .conftest import Bench
from .test_gateway_faults import firsts
from .test_main_job import legacy

DEADLINE = "wxbridge.channels.wechat.channel:WechatTiming.deadline"
MARK = "(possible repeat) "


async def outcomes(bridge, target: str = "ops") -> dict[str, float]:
    """What `/metrics` says became of the attempts to send to a target; without zeroes."""
    names = ("sent", "unknown", "retried", "dead")
    found = {name: await bridge.counted("wxbridge_messages_total", target=target, outcome=name) for name in names}
    return {name: count for name, count in found.items() if count}


async def test_an_answer_after_the_deadline_costs_one_marked_repeat_that_is_counted_apart(quick: Bench) -> None:
    quick.constants[DEADLINE] = 1.0
    bridge = await quick.bridge()
    await quick.until(quick.chat)
    # The room has it at once; the gateway says so when nobody listens any more.
    quick.simulator.gateway.faults.delay(2.0, 1, method="MessageSendText", after=True)
    await bridge.post(legacy("late"))
    await bridge.post(legacy("next"))
    await quick.until(lambda: len(quick.room()) == 3)
    assert firsts(quick.room()) == ["🔥 late", f"{MARK}🔥 late", "🔥 next"]
    await bridge.event("sent", tries=2)
    rows = json.loads((await quick.command("outbox", "list", "--json"))[1])
    assert {row["state"] for row in rows} == {"sent"}
    assert await outcomes(bridge) == {"unknown": 1, "sent": 2}
    assert not any(line["event"] == "wechat state" and line["state"] == "unreachable" for line in bridge.logs)


async def test_two_late_answers_leave_it_unknown_never_sent_and_the_master_is_told(quick: Bench) -> None:
    quick.constants[DEADLINE] = 1.0
    bridge = await quick.bridge()
    await quick.until(quick.chat)
    quick.simulator.gateway.faults.delay(2.0, 2, method="MessageSendText", after=True)
    await bridge.post(legacy("late"))
    await quick.until(lambda: any("could not be delivered" in text for text in quick.chat()))
    assert firsts(quick.room()) == ["🔥 late", f"{MARK}🔥 late"]
    rows = json.loads((await quick.command("outbox", "list", "--dead", "--json"))[1])
    assert [(row["state"], row["target"]) for row in rows] == [("unknown", "ops")]
    assert "it may have been sent" in rows[0]["error"]
    assert await outcomes(bridge) == {"unknown": 2}
    await bridge.post(legacy("next"))
    await quick.until(lambda: firsts(quick.room())[-1] == "🔥 next")
    assert len(quick.room()) == 3
