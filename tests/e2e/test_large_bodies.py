"""Bodies made to take long: whoever posts one holds nobody else up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import psutil
import pytest

from .bridge_harness import BridgeHarness, BridgeProcess

MAX_STALL_SECONDS = 2.0
"""Of a processor; where these bodies stall the bridge, it is three to fifty."""


def nested_lists(size: int) -> bytes:
    return b'{"a": [' + b",".join([b"[" * 90 + b"]" * 90] * (size // 181)) + b"]}"


def many_labels(size: int) -> bytes:
    labels = {"alertname": "many"} | {f"label{index}": "value" for index in range(size // 24)}
    return json.dumps({"version": "4", "status": "firing", "alerts": [{"status": "firing", "labels": labels}]}).encode()


def many_alerts(size: int) -> bytes:
    alerts = [{"status": "firing", "labels": {"alertname": f"a{index}"}} for index in range(size // 60)]
    return json.dumps({"version": "4", "status": "firing", "groupKey": "g", "alerts": alerts}).encode()


async def longest_stall(bridge: BridgeProcess, posted: asyncio.Task[object]) -> float:
    """Ask for `/healthz` until something is answered; gives the most that the bridge worked before it answered one.

    In seconds of a processor: how long that takes on a machine that does much else is not the bridge's.
    """
    process = psutil.Process(bridge.pid)
    longest = 0.0
    while not posted.done():
        began = worked(process)
        assert (await bridge.get("/healthz"))[0] == 200
        longest = max(longest, worked(process) - began)
        await asyncio.sleep(0.01)
    return longest


def worked(process: psutil.Process) -> float:
    """For how many seconds processors have worked for a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize(
    ("make_body", "size", "status"),
    [
        (nested_lists, 4_000_000, 400),
        (many_labels, 3_900_000, 202),
        (many_alerts, 2_900_000, 202),
        (many_alerts, 5_000_000, 413),
    ],
)
async def test_a_large_body_holds_nobody_up(
    harness: BridgeHarness, make_body: Callable[[int], bytes], size: int, status: int
) -> None:
    bridge = await harness.bridge(wechat='greeting: ""')
    body = make_body(size)
    posted = asyncio.create_task(bridge.post(body, "/hooks/alertmanager"))
    assert await longest_stall(bridge, posted) < MAX_STALL_SECONDS
    assert (await posted)[0] == status
    if status == 202:
        await harness.until(harness.room)
