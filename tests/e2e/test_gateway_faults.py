"""The gateway misbehaves in every way it can; what was acknowledged arrives, and the bridge says what is wrong."""

from __future__ import annotations

from .bridge_harness import BridgeHarness
from .test_main_job import legacy


def firsts(texts: list[str]) -> list[str]:
    return [text.splitlines()[0] for text in texts]


async def test_refused_sends_are_tried_again_in_order(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.fail_next(2, "INTERNAL")
    for index in range(4):
        await bridge.post(legacy(f"n {index}"))
    await harness.until(lambda: len(harness.room()) == 4)
    assert firsts(harness.room()) == [f"🔥 n {index}" for index in range(4)]


async def test_a_gateway_that_dies_in_mid_send_costs_at_most_one_marked_repeat(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.delay(0.5)
    for index in range(3):
        await bridge.post(legacy(f"n {index}"))
    await harness.until(lambda: harness.simulator.gateway.calls.get("MessageSendText", 0) > 1)
    await harness.simulator.kill_gateway()
    await bridge.event("wechat state", state="unreachable")
    harness.simulator.delay(0)
    await harness.simulator.restart_gateway()
    await harness.until(lambda: any("n 2" in text for text in harness.room()))
    texts = [text.splitlines()[0].removeprefix("(possible repeat) ") for text in harness.room()]
    assert list(dict.fromkeys(texts)) == [f"🔥 n {index}" for index in range(3)]
    repeats = [text for text in harness.room() if text.startswith("(possible repeat)")]
    assert len(harness.room()) - 3 <= len(repeats) <= 1


async def test_a_logout_sends_the_code_and_the_alerts_to_the_fallback_once(harness: BridgeHarness) -> None:
    harness.constants["wxbridge.delivery.outages:MIN_OUTAGE_TOLD_SECONDS"] = 0.0
    bridge = await harness.bridge(
        ops="fallback: term, failover_after: 1s", targets="term: {channel: console}", wechat="pace: none"
    )
    await harness.until(harness.chat)
    harness.simulator.gateway.auto_scan = False
    harness.simulator.logout()
    await bridge.event("wechat state", state="waiting_for_scan")
    assert (await bridge.post(legacy("while away")))[0] == 202
    await bridge.printed("needs a new scan")
    await bridge.printed("login.png")
    await bridge.printed("🔥 while away")
    assert any("ops cannot be reached" in line for line in bridge.output)
    assert (await bridge.get("/readyz"))[0] == 200
    harness.simulator.scan()
    await harness.until(lambda: any("back online" in text for text in harness.chat()))
    assert any("0 messages delivered, 1 sent by fallback" in text for text in harness.chat()), harness.chat()
    await bridge.post(legacy("at home again"))
    await harness.until(lambda: any("at home again" in text for text in harness.room()))
    assert firsts(harness.room()) == ["🔥 at home again"]


async def test_another_client_is_not_fought_and_what_waits_leaves_when_it_is_gone(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.takeover()
    await bridge.event("wechat state", state="taken_over")
    assert (await bridge.post(legacy("patience")))[0] == 202
    assert (await bridge.get("/readyz"))[0] == 200
    assert harness.room() == []


async def test_a_room_with_another_id_after_a_new_login_gets_what_waited(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.gateway.auto_scan = False
    harness.simulator.logout()
    await bridge.event("wechat state", state="waiting_for_scan")
    for index in range(3):
        await bridge.post(legacy(f"n {index}"))
    harness.simulator.new_ids()
    harness.simulator.gateway.auto_scan = True
    harness.simulator.scan()
    await harness.until(lambda: len(harness.room()) == 3)
    assert firsts(harness.room()) == [f"🔥 n {index}" for index in range(3)]
