"""Two bridges that want the same gateway: they do not fight, and the one that was sent away comes back by itself."""

from __future__ import annotations

import asyncio
import json

import pytest

from .bridge_harness import BridgeHarness, BridgeProcess
from .test_gateway_faults import firsts
from .test_main_job import legacy

pytestmark = pytest.mark.long

TIMING = "wxbridge.channels.wechat.channel:WechatTiming"
PROBE = 0.4
"""Seconds between two looks whether the other is gone."""


async def state_of(bridge: BridgeProcess) -> dict[str, str]:
    """What `/readyz` says of WeChat."""
    part: dict[str, str] = json.loads((await bridge.get("/readyz"))[1])["parts"]["wechat"]
    return part


async def test_who_is_sent_away_says_so_does_not_fight_and_comes_back_when_the_other_is_gone(
    harness: BridgeHarness,
) -> None:
    harness.constants.update({f"{TIMING}.takeover_probe": PROBE, f"{TIMING}.ended": 0.2})
    calls = harness.simulator.gateway.calls
    first = await harness.bridge(wechat='pace: none\n  greeting: ""')
    await first.event("wechat state", state="online")

    # Somebody starts another bridge with the same gateway, elsewhere: it waits, then sends the first one away.
    other = harness.process(
        f"state_dir: {harness.directory}/other", wechat='pace: none\n  greeting: "it is me now"', name="other.yaml"
    )
    other.constants = {f"{TIMING}.patience": 0.5, f"{TIMING}.backoff": 0.2}
    await other.start()
    await other.event("wechat gateway taken")
    await first.event("wechat state", state="taken_over")
    await harness.until(lambda: "it is me now" in harness.chat())

    stops, events, began = calls["Stop"], calls["Event"], asyncio.get_running_loop().time()
    assert (await first.post(legacy("patience")))[0] == 202
    assert (await first.get("/readyz"))[0] == 200
    assert (await first.get("/readyz?channels=all"))[0] == 503
    part = await state_of(first)
    assert part["state"] == "taken_over"
    assert "another client has taken over" in part["detail"]
    _, out, _ = await harness.command("status", "--json")
    wechat = next(row for row in json.loads(out) if row["part"] == "wechat")
    assert wechat["state"] == "taken_over"
    assert await first.counted("wxbridge_channel_state", state="taken_over") == 1
    assert await first.counted("wxbridge_backlog_messages", target="ops") == 1
    # It looks at its pace, and only looks: nobody was sent away.
    looks = calls["Event"]
    await harness.until(lambda: calls["Event"] > looks + 1)
    assert calls["Event"] - events <= (asyncio.get_running_loop().time() - began) / PROBE + 2
    assert calls["Stop"] == stops
    assert (await state_of(other))["state"] == "online"
    assert harness.room() == []

    # The other goes away again, with the login that it took.
    await other.kill()
    await harness.until(lambda: len(harness.room()) == 1)
    assert firsts(harness.room()) == ["🔥 patience"]
    assert calls["Stop"] == stops
    assert (await state_of(first))["state"] == "online"
    states = [line["state"] for line in first.logs if line["event"] == "wechat state"]
    assert states.count("taken_over") == 1


async def test_another_client_that_stays_is_sent_away_only_after_a_long_while(harness: BridgeHarness) -> None:
    harness.constants.update(
        {f"{TIMING}.takeover": 2.0, f"{TIMING}.takeover_probe": PROBE, f"{TIMING}.ended": 0.1}
    )  # fmt: skip
    bridge = await harness.bridge(wechat='pace: none\n  greeting: ""')
    await bridge.event("wechat state", state="online")
    harness.simulator.gateway.takeover()
    await bridge.event("wechat state", state="taken_over")
    assert harness.simulator.gateway.calls.get("Stop", 0) == 0
    assert (await bridge.post(legacy("at last")))[0] == 202
    await bridge.event("wechat gateway taken back")
    await harness.until(lambda: firsts(harness.room()) == ["🔥 at last"])
    assert harness.simulator.gateway.calls["Stop"] == 1
