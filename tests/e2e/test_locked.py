"""The database held by another process for longer than the bridge has patience."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import aiohttp

from .bridge_harness import BridgeHarness, BridgeProcess
from .test_gateway_faults import firsts
from .test_main_job import legacy

PATIENCE = "wxbridge.core.database:LOCK_TIMEOUT_SECONDS"


@contextmanager
def locked(harness: BridgeHarness) -> Iterator[None]:
    """Hold the write lock of the bridge's database, as a backup or a person's sqlite3 shell does."""
    connection = sqlite3.connect(harness.directory / "state" / "wxbridge.db", isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


async def post(bridge: BridgeProcess, title: str) -> tuple[int, str | None]:
    """Post an alert: the answer's status, and its Retry-After."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{bridge.url}/hooks/grafana", json=legacy(title)) as answer,
    ):
        return answer.status, answer.headers.get("Retry-After")


async def test_a_locked_database_is_told_to_the_sender_and_recovers_without_a_restart(harness: BridgeHarness) -> None:
    harness.constants[PATIENCE] = 0.3
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    acknowledged = [f"before {index}" for index in range(5)]
    for title in acknowledged:
        assert (await post(bridge, title))[0] == 202
    with locked(harness):
        refused = [await post(bridge, f"during {index}") for index in range(3)]
        for status, retry_after in refused:
            assert status == 503
            assert retry_after
            assert int(retry_after) > 0
        assert (await bridge.get("/healthz"))[0] == 200
        status, parts = await bridge.get("/readyz")
        assert status == 503
        assert json.loads(parts)["parts"]["database"] == {"ok": False}
        assert await bridge.counted("wxbridge_refused_total", reason="storage") == len(refused)
        assert await bridge.counted("wxbridge_storage_errors_total") >= len(refused)
        assert await bridge.counted("wxbridge_database_up") == 0
    assert (await post(bridge, "after"))[0] == 202
    assert (await bridge.get("/readyz"))[0] == 200
    await harness.until(lambda: len(harness.room()) == 6)
    assert firsts(harness.room()) == [f"🔥 {title}" for title in (*acknowledged, "after")]
    assert await bridge.counted("wxbridge_database_up") == 1


async def test_a_bridge_ends_within_five_seconds_while_another_process_holds_the_database(
    harness: BridgeHarness,
) -> None:
    harness.constants["wxbridge.delivery.send_loop:SETTLE_TIMEOUT_SECONDS"] = 0.5
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    with locked(harness):
        waiting = asyncio.create_task(post(bridge, "during"))
        await asyncio.sleep(0.2)  # it is being refused at this moment
        began = time.monotonic()
        assert await bridge.stop() == 0
        assert time.monotonic() - began < 5
        with suppress(aiohttp.ClientError):
            assert (await waiting)[0] != 202


async def test_what_was_sent_while_nothing_could_be_noted_is_noted_later_and_not_sent_again(
    harness: BridgeHarness,
) -> None:
    harness.constants[PATIENCE] = 0.3
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.gateway.faults.delay(0.3, 1)
    assert (await post(bridge, "under way"))[0] == 202
    await harness.until(lambda: harness.simulator.gateway.calls.get("MessageSendText", 0) == 2)  # one was the greeting
    with locked(harness):
        assert (await post(bridge, "refused"))[0] == 503
        await bridge.event("an outcome cannot be stored, trying again")
    assert (await post(bridge, "after"))[0] == 202
    await harness.until(lambda: len(harness.room()) == 2)
    assert firsts(harness.room()) == ["🔥 under way", "🔥 after"]
    assert await bridge.counted("wxbridge_messages_total", target="ops", outcome="unknown") == 0
