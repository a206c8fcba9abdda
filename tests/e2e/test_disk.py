"""A full disk: nothing is acknowledged that is not stored, and nobody has to restart anything."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from .bridge_harness import BridgeHarness
from .test_main_job import legacy


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk_is_told_to_the_sender_and_recovers_without_a_restart(
    harness: BridgeHarness, small_disk: Path
) -> None:
    await harness.simulator.gateway.kill()
    bridge = await harness.bridge(f"state_dir: {small_disk}/state")
    acknowledged = []
    fill(small_disk, leave=64 * 1024)
    status = 202
    for index in range(500):
        status, answer = await bridge.post(legacy(f"n {index}", message="x" * 1500))
        if status != 202:
            break
        acknowledged.append(index)
    assert status == 503
    assert "Not stored" in answer["error"]
    # Health is answered all the while; whether it is ready depends on whether something small still fits.
    assert (await bridge.get("/healthz"))[0] == 200
    assert "wxbridge_storage_errors_total" in (await bridge.get("/metrics"))[1]
    await bridge.event("not stored, told the sender to try again")
    (small_disk / "filler").unlink()
    status, _ = await bridge.post(legacy("room again"))
    assert status == 202
    assert (await bridge.get("/readyz"))[0] == 200
    await harness.simulator.gateway.restart()
    await harness.until(lambda: any("room again" in text for text in harness.room()))
    arrived = [text.splitlines()[0] for text in harness.room() if "\n" in text]
    assert [text for text in arrived if text.startswith("🔥 n")] == [f"🔥 n {index}" for index in acknowledged]


@pytest.mark.parametrize("state", ["new", "left by a bridge"])
async def test_a_bridge_that_starts_on_a_full_disk_answers_and_takes_up_work_once_there_is_room(
    harness: BridgeHarness, small_disk: Path, state: str
) -> None:
    harness.constants["wxbridge.web.waiting:START_RETRY_SECONDS"] = 0.1
    port = free_port()
    bridge = harness.process(f"state_dir: {small_disk}/state", port=port)
    if state != "new":
        await bridge.start()
        await harness.until(harness.chat)
        await bridge.stop()
    fill(small_disk, leave=0)
    await bridge.spawn()
    await bridge.event("the start waits: nothing can be stored, and senders are told to try again")
    bridge.url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session, session.post(f"{bridge.url}/hooks/grafana", json=legacy("n")) as no:
        assert (no.status, int(no.headers["Retry-After"]) > 0) == (503, True)
    assert (await bridge.get("/healthz"))[0] == 200
    assert (await bridge.get("/readyz"))[0] == 503
    (small_disk / "filler").unlink()
    await bridge.event("serving")
    assert (await bridge.post(legacy("room again")))[0] == 202
    assert (await bridge.get("/readyz"))[0] == 200
    await harness.until(lambda: any("room again" in text for text in harness.room()))


async def test_a_bridge_that_waits_for_room_ends_at_once_when_it_is_told_to(
    harness: BridgeHarness, small_disk: Path
) -> None:
    bridge = harness.process(f"state_dir: {small_disk}/state")
    fill(small_disk, leave=0)
    await bridge.spawn()
    await bridge.event("the start waits: nothing can be stored, and senders are told to try again")
    began = time.monotonic()
    assert await bridge.stop() == 0
    assert time.monotonic() - began < 5


def free_port() -> int:
    """Find a port that nobody has."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def fill(place: Path, *, leave: int) -> None:
    """Write a file until only some bytes are free."""
    stat = os.statvfs(place)
    with suppress(OSError), (place / "filler").open("ab", buffering=0) as file:
        file.write(b"x" * (stat.f_bavail * stat.f_frsize - leave))
