"""Five thousand alerts while the gateway is down."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from tests.support import wait_until

from .bridge_harness import BridgeHarness, BridgeProcess
from .test_main_job import legacy

pytestmark = pytest.mark.long

ALERTS = 5_000
MEMORY = 25 * 1024 * 1024
"""What they may take, in bytes."""
CONNECTIONS = 16


def rss(process: BridgeProcess) -> int:
    """Resident memory of a process, in bytes."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


async def pour(bridge: BridgeProcess, count: int) -> None:
    """Post numbered alerts over several connections; each must be acknowledged."""
    numbers = iter(range(count))

    async def post(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = json.dumps(legacy(f"n {number}", ruleId=number, tags={"severity": "warning"}))
            async with session.post(f"{bridge.url}/hooks/grafana", data=body) as answer:
                assert answer.status == 202
                await answer.read()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(post(session) for _ in range(CONNECTIONS)))


async def test_five_thousand_alerts_wait_in_order_without_filling_the_memory(harness: BridgeHarness) -> None:
    await harness.simulator.gateway.kill()
    bridge = await harness.bridge()
    await pour(bridge, 200)  # what is loaded once is loaded now
    before = rss(bridge)
    await pour(bridge, ALERTS)
    assert rss(bridge) - before < MEMORY
    rows = json.loads((await harness.command("outbox", "list", "--open", "--json", "--limit", "20000"))[1])
    assert len(rows) == ALERTS  # the first two hundred came again, and were absorbed
    await harness.simulator.gateway.restart()
    await harness.until(lambda: len(harness.room()) > 500)
    ids = [row["id"] for row in rows]
    texts = [row["body"].splitlines()[0] for row in sorted(rows, key=lambda row: row["id"])]
    assert ids == sorted(ids, reverse=True)
    arrived = [text.splitlines()[0] for text in harness.room()]
    assert arrived == texts[: len(arrived)]


async def test_a_storm_that_the_pace_cannot_carry_becomes_a_digest(harness: BridgeHarness) -> None:
    bridge = await harness.bridge(wechat="pace: {chat: 2/s}", ops="digest_after: 5s")
    await harness.until(harness.chat)
    await pour(bridge, 300)
    await harness.until(lambda: any(text.startswith("🌊") for text in harness.room()))

    async def read_states() -> list[str]:
        rows = json.loads((await harness.command("outbox", "list", "--json", "--limit", "20000"))[1])
        states = [row["state"] for row in rows if row["body"].startswith("🟡")]
        assert len(states) == 300
        assert set(states) <= {"merged", "sent", "sending", "queued"}
        return states

    async def is_merged() -> bool:
        return (await read_states()).count("merged") > 250

    # What a slow machine takes in after the first digest is merged by the next.
    await wait_until(is_merged)
