"""The gateway misbehaves in every way it can; what was acknowledged arrives, and the bridge says what is wrong."""

from __future__ import annotations

from .conftest import Bench
from .test_main_job import legacy


def firsts(texts: list[str]) -> list[str]:
    return [text.splitlines()[0] for text in texts]


async def test_refused_sends_are_tried_again_in_order(quick: Bench) -> None:
    bridge = await quick.bridge()
    await quick.until(quick.chat)
    quick.simulator.fail_next(2, "INTERNAL")
    for index in range(4):
        await bridge.post(legacy(f"n {index}"))
    await quick.until(lambda: len(quick.room()) == 4)
    assert firsts(quick.room()) == [f"🔥 n {index}" for index in range(4)]


async def test_a_gateway_that_dies_in_mid_send_costs_at_most_one_marked_repeat(quick: Bench) -> None:
    bridge = await quick.bridge()
    await quick.until(quick.chat)
    quick.simulator.delay(0.5)
    for index in range(3):
        await bridge.post(legacy(f"n {index}"))
    await quick.until(lambda: quick.simulator.gateway.calls.get("MessageSendText", 0) > 1)
    await quick.simulator.kill_gateway()
    await bridge.event("wechat state", state="unreachable")
    quick.simulator.delay(0)
    await quick.simulator.restart_gateway()
    await quick.until(lambda: any("n 2" in text for text in quick.room()))
    texts = [text.splitlines()[0].removeprefix("(possible repeat) ") for text in quick.room()]
    assert list(dict.fromkeys(texts)) == [f"🔥 n {index}" for index in range(3)]
    repeats = [text for text in quick.room() if text.startswith("(possible repeat)")]
    assert len(quick.room()) - 3 <= len(repeats) <= 1


async def test_a_logout_sends_the_code_and_the_alerts_to_the_fallback_once(quick: Bench) -> None:
    quick.constants["wxbridge.delivery.outages:MIN_OUTAGE_TOLD_SECONDS"] = 0.0
    bridge = await quick.bridge(
        ops="fallback: term, failover_after: 1s", targets="term: {channel: console}", wechat="pace: none"
    )
    await quick.until(quick.chat)
    quick.simulator.gateway.auto_scan = False
    quick.simulator.logout()
    await bridge.event("wechat state", state="waiting_for_scan")
    assert (await bridge.post(legacy("while away")))[0] == 202
    await bridge.printed("needs a new scan")
    await bridge.printed("login.png")
    await bridge.printed("🔥 while away")
    assert any("ops cannot be reached" in line for line in bridge.output)
    assert (await bridge.get("/readyz"))[0] == 200
    quick.simulator.scan()
    await quick.until(lambda: any("back online" in text for text in quick.chat()))
    assert any("0 messages delivered, 1 sent by fallback" in text for text in quick.chat()), quick.chat()
    await bridge.post(legacy("at home again"))
    await quick.until(lambda: any("at home again" in text for text in quick.room()))
    assert firsts(quick.room()) == ["🔥 at home again"]


async def test_another_client_is_not_fought_and_what_waits_leaves_when_it_is_gone(quick: Bench) -> None:
    bridge = await quick.bridge()
    await quick.until(quick.chat)
    quick.simulator.takeover()
    await bridge.event("wechat state", state="taken_over")
    assert (await bridge.post(legacy("patience")))[0] == 202
    assert (await bridge.get("/readyz"))[0] == 200
    assert quick.room() == []


async def test_a_room_with_another_id_after_a_new_login_gets_what_waited(quick: Bench) -> None:
    bridge = await quick.bridge()
    await quick.until(quick.chat)
    quick.simulator.gateway.auto_scan = False
    quick.simulator.logout()
    await bridge.event("wechat state", state="waiting_for_scan")
    for index in range(3):
        await bridge.post(legacy(f"n {index}"))
    quick.simulator.new_ids()
    quick.simulator.gateway.auto_scan = True
    quick.simulator.scan()
    await quick.until(lambda: len(quick.room()) == 3)
    assert firsts(quick.room()) == [f"🔥 n {index}" for index in range(3)]
