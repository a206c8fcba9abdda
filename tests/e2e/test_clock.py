"""The wall clock of a running bridge is set back and on by an hour: nobody in the room can tell."""

from __future__ import annotations

import json

import pytest

from .bridge_harness import BridgeHarness, BridgeProcess
from .test_gateway_faults import firsts
from .test_main_job import legacy

pytestmark = pytest.mark.long

HOUR = 3600.0


async def test_a_clock_that_jumps_back_and_forth_makes_neither_a_burst_nor_a_stall(harness: BridgeHarness) -> None:
    bridge = harness.process(wechat='pace: {chat: 3/s}\n  greeting: ""', ops="digest_count: 100")
    bridge.set_clock(0)
    await bridge.start()
    await bridge.event("wechat state", state="online")
    titles = [f"n {index}" for index in range(15)]
    for title in titles:
        assert (await bridge.post(legacy(title)))[0] == 202
    for times, offset in ((1, HOUR), (2, -HOUR), (3, 0.0)):
        await harness.until(lambda times=times: len(harness.room()) >= 2 * times)
        bridge.set_clock(offset)
        await bridge.until(lambda times=times: len(_settings(bridge)) == times)
    await harness.until(lambda: len(harness.room()) == len(titles))
    assert firsts(harness.room()) == [f"🔥 {title}" for title in titles]
    at = [message.timestamp for message in harness.simulator.world.messages(room="技术讨论群", sent_by_bot=True)]
    # Three may leave in a second, so the last of fifteen leaves in the fifth; a burst would be there sooner.
    assert at[-1] - at[0] > 3.5
    assert _settings(bridge) == ["the clock was set on", "the clock was set back", "the clock was set on"]
    rows = json.loads((await harness.command("outbox", "list", "--json"))[1])
    assert [row["state"] for row in rows if row["target"] == "ops"] == ["sent"] * len(titles)
    await harness.until(lambda: any("clock" in text for text in harness.chat()))
    told = [text for text in harness.chat() if "clock" in text]
    assert told == ["The clock of this machine was set on by 1 h; jobs and messages go on by the new time."]


async def test_a_clock_that_is_set_on_makes_no_repeat_news_and_no_fallback_early(harness: BridgeHarness) -> None:
    bridge = harness.process(
        wechat='greeting: ""', ops="fallback: shout, failover_after: 10m", targets="shout: {channel: console}"
    )
    bridge.set_clock(0)
    await bridge.start()
    await bridge.event("wechat state", state="online")
    await harness.simulator.gateway.kill()
    await bridge.event("wechat state", state="unreachable")
    assert await bridge.post(legacy("once")) == (202, {"queued": 1, "duplicates": 0})
    bridge.set_clock(HOUR)
    await bridge.event("the clock was set on", seconds=HOUR)
    assert await bridge.post(legacy("once")) == (202, {"queued": 0, "duplicates": 1})
    await harness.simulator.gateway.restart()
    await harness.until(lambda: firsts(harness.room()) == ["🔥 once"])
    assert not any("once" in line for line in bridge.output)


def _settings(bridge: BridgeProcess) -> list[str]:
    return [line["event"] for line in bridge.logs if line["event"].startswith("the clock was set")]


async def test_jobs_go_on_when_the_clock_is_set_back(harness: BridgeHarness) -> None:
    job = "jobs: [{id: tick, every: 1s, kind: text, text: tick, to: [ops]}]"
    bridge = harness.process(job, wechat='greeting: ""')
    bridge.set_clock(0)
    await bridge.start()
    await harness.until(lambda: harness.room().count("tick") >= 2)
    bridge.set_clock(-HOUR)
    await bridge.event("the clock was set back", seconds=HOUR)
    seen = harness.room().count("tick")
    await harness.until(lambda: harness.room().count("tick") >= seen + 3)
