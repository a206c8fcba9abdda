"""The gateway misbehaves in every way it can; what was acknowledged arrives, and the bridge says what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from .bridge_harness import BridgeHarness, BridgeProcess
from .test_main_job import legacy

MARK = "(possible repeat) "


def firsts(texts: list[str]) -> list[str]:
    return [text.splitlines()[0] for text in texts]


async def test_refused_sends_are_tried_again_in_order(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.gateway.faults.fail_next(2, "INTERNAL")
    for index in range(4):
        await bridge.post(legacy(f"n {index}"))
    await harness.until(lambda: len(harness.room()) == 4)
    assert firsts(harness.room()) == [f"🔥 n {index}" for index in range(4)]


async def test_a_gateway_that_dies_in_mid_send_costs_at_most_one_marked_repeat(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.gateway.faults.delay(0.5)
    for index in range(3):
        await bridge.post(legacy(f"n {index}"))
    await harness.until(lambda: harness.simulator.gateway.calls.get("MessageSendText", 0) > 1)
    await harness.simulator.gateway.kill()
    await bridge.event("wechat state", state="unreachable")
    harness.simulator.gateway.faults.delay(0)
    await harness.simulator.gateway.restart()
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
    # The greeting is known to be sent before anything is away, so that it is not counted among what waited.
    await bridge.event("sent", target="master")
    harness.simulator.gateway.auto_scan = False
    harness.simulator.world.logout()
    await bridge.event("wechat state", state="waiting_for_scan")
    assert (await bridge.post(legacy("while away")))[0] == 202
    await bridge.printed("needs a new scan")
    await bridge.printed("login.png")
    await bridge.printed("🔥 while away")
    assert any("ops cannot be reached" in line for line in bridge.output)
    assert (await bridge.get("/readyz"))[0] == 200
    harness.simulator.world.scan()
    await harness.until(lambda: any("back online" in text for text in harness.chat()))
    assert any("0 messages delivered, 1 sent by fallback" in text for text in harness.chat()), harness.chat()
    await bridge.post(legacy("at home again"))
    await harness.until(lambda: any("at home again" in text for text in harness.room()))
    assert firsts(harness.room()) == ["🔥 at home again"]


async def test_another_client_is_not_fought_and_what_waits_leaves_when_it_is_gone(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.gateway.takeover()
    await bridge.event("wechat state", state="taken_over")
    assert (await bridge.post(legacy("patience")))[0] == 202
    assert (await bridge.get("/readyz"))[0] == 200
    assert harness.room() == []


async def test_a_room_with_another_id_after_a_new_login_gets_what_waited(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.gateway.auto_scan = False
    harness.simulator.world.logout()
    await bridge.event("wechat state", state="waiting_for_scan")
    for index in range(3):
        await bridge.post(legacy(f"n {index}"))
    harness.simulator.world.relogin_with_new_ids()
    harness.simulator.gateway.auto_scan = True
    harness.simulator.world.scan()
    await harness.until(lambda: len(harness.room()) == 3)
    assert firsts(harness.room()) == [f"🔥 n {index}" for index in range(3)]


# ------------------------------------------------ a gateway that hangs, and connections that lead nowhere

TWENTIETHS = {"deadline": 0.75, "ding_interval": 1.0, "ding_answer": 0.25, "backoff": 0.05, "patience": 0.75}
"""The channel's times, a twentieth of what they are."""


async def bridge_in_a_hurry(harness: BridgeHarness, endpoint: str | None = None) -> BridgeProcess:
    for name, seconds in TWENTIETHS.items():
        harness.constants[f"wxbridge.channels.wechat.channel:WechatTiming.{name}"] = seconds
    bridge = await harness.bridge(endpoint=endpoint)
    await harness.until(harness.chat)
    return bridge


async def has_all_of(harness: BridgeHarness, count: int) -> None:
    """Wait until the room has so many alerts, in order; what it got more than once is marked."""
    alerts = [f"🔥 n {index}" for index in range(count)]
    await harness.until(lambda: {text.removeprefix(MARK) for text in firsts(harness.room())} >= set(alerts))
    texts = firsts(harness.room())
    assert list(dict.fromkeys(text.removeprefix(MARK) for text in texts)) == alerts
    assert all(texts.count(alert) <= 1 for alert in alerts)


@pytest.mark.parametrize("hang", [17, 32])
async def test_a_gateway_that_hangs_and_is_restarted_loses_no_alert(harness: BridgeHarness, hang: int) -> None:
    bridge = await bridge_in_a_hurry(harness)
    harness.simulator.gateway.freeze()
    for index in range(3):
        assert (await bridge.post(legacy(f"n {index}")))[0] == 202
    await asyncio.sleep(hang / 20)
    await harness.simulator.gateway.kill()
    harness.simulator.gateway.thaw()
    await harness.simulator.gateway.restart()
    await has_all_of(harness, 3)


@dataclass
class Line:
    """A line to the gateway: what has been cut leads nowhere, though neither end hears of it."""

    is_cut: bool = False

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: str) -> None:
        host, port = endpoint.split(":")
        there = await asyncio.open_connection(host, int(port))
        cut = False

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            nonlocal cut
            with suppress(ConnectionError):
                while data := await source.read(65536):
                    cut = cut or self.is_cut
                    if not cut:
                        sink.write(data)
            if not cut:
                sink.close()

        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))


@asynccontextmanager
async def line_to(endpoint: str) -> AsyncIterator[tuple[Line, str]]:
    line = Line()
    server = await asyncio.start_server(lambda *ends: line.connect(*ends, endpoint), "127.0.0.1", 0)
    yield line, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_connection_that_leads_nowhere_loses_no_alert(harness: BridgeHarness) -> None:
    async with line_to(harness.simulator.endpoint) as (line, endpoint):
        bridge = await bridge_in_a_hurry(harness, endpoint)
        line.is_cut = True
        for index in range(3):
            assert (await bridge.post(legacy(f"n {index}")))[0] == 202
        await bridge.event("no clear answer, will repeat it, marked")
        await bridge.event("wechat state", state="unreachable")
        line.is_cut = False
        await has_all_of(harness, 3)
    assert firsts(harness.room())[0] == f"{MARK}🔥 n 0"
