"""Machines, watched by a real bridge: its own, whose figures the test sets, and one that pushes."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from .bridge_harness import BridgeHarness, BridgeProcess
from .conversation import PICTURE, hold, turn
from .test_commands import up

CONFIG = """\
host: {name: web-1, every: 1s, for: 1s, cpu: null, memory: 90, disk: null, disks: [/], silent: 600}
hooks: {host: {token: a-token-of-its-own}}
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")


def proc(folder: Path) -> Path:
    """The files below /proc that sensors read, to be changed by a test."""
    made = folder / "proc"
    made.mkdir()
    for name in ("stat", "meminfo", "vmstat", "diskstats", "filesystems"):
        shutil.copy(f"/proc/{name}", made / name)
    (made / "self").symlink_to("/proc/self")
    (made / "net").symlink_to("/proc/net")
    (made / str(psutil.Process().pid)).symlink_to("/proc/self")
    return made


def use_memory(made: Path, share: float) -> None:
    """Have so much of the memory in use."""
    lines = {"MemTotal": 10_000_000, "MemFree": 0, "MemAvailable": round(10_000_000 * (1 - share)), "Buffers": 0}
    lines |= {"Cached": 0, "SwapTotal": 0, "SwapFree": 0, "Active": 0, "Inactive": 0, "Shmem": 0, "Slab": 0}
    beside = made / "meminfo.new"
    beside.write_text("".join(f"{name}: {value} kB\n" for name, value in lines.items()), encoding="utf-8")
    beside.replace(made / "meminfo")


@asynccontextmanager
async def pushing(harness: BridgeHarness, bridge: BridgeProcess) -> AsyncIterator[None]:
    """`wxbridge host --push` in a process of its own."""
    words = ("host", "--push", bridge.url, "--token", "a-token-of-its-own", "--name", "db-1", "--every", "1s")
    with (harness.directory / "push.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wxbridge", *words, cwd=harness.directory, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        child.terminate()
        assert await child.wait() == 0


async def watched(harness: BridgeHarness, name: str) -> None:
    """Wait until the bridge has figures of a machine from several moments: a chart of one has no line."""
    seen = set()
    while len(seen) < 4:
        await asyncio.sleep(0.2)
        _, out, _ = await harness.command("host", "--json")
        seen |= {str(row) for row in json.loads(out) if name in str(row)}


def since_the_warning(room: list[str]) -> list[str]:
    """What came into the room since the first warning, with it."""
    return list(itertools.dropwhile(lambda text: not text.startswith("🟡"), room))


@linux
async def test_machines_warn_in_their_room_with_a_chart_recover_and_are_asked_about_also_after_a_restart(
    harness: BridgeHarness,
) -> None:
    made = proc(harness.directory)
    use_memory(made, 0.3)
    harness.constants |= {"psutil:PROCFS_PATH": str(made), "wxbridge.hosts.monitor:FLUSH_SECONDS": 0.0}
    bridge = await up(harness, CONFIG)
    await hold(harness, bridge, [turn("张三", "/host", "host answered", "^📊 web-1 · ")])
    use_memory(made, 0.97)
    async with pushing(harness, bridge):
        # On a slow machine the answer to the question has a chart too, which may come by now.
        text, picture = await harness.until(lambda: len(found := since_the_warning(harness.room())) == 2 and found)
        assert text.startswith("🟡 warning · web-1: memory high\nmemory, mean of 1 s: 97 %\nthreshold: 90 %\n")
        assert picture.startswith("[")
        use_memory(made, 0.3)
        assert await harness.until(lambda: harness.room()[-1].startswith("✅ resolved · web-1: memory high"))
        await watched(harness, "db-1")
    assert await bridge.counted("wxbridge_pictures_total", kind="alert", outcome="drawn") == 1
    await hold(harness, bridge, [
        turn("张三", "/host", "host answered", "^1\\. . web-1 · memory 30 %.*^2\\. . db-1 · CPU .* %"),
        turn("张三", "/host db", "host answered", "^📊 db-1 · .*CPU [0-9.]+ %", PICTURE),
        turn("张三", "/host db-1 2020-01-01", "host cannot", "is kept for 1 d"),
    ])  # fmt: skip
    status, said = await bridge.post(b'{"host": "x", "samples": []}', "/hooks/host")
    assert (status, "token" in str(said).lower()) == (401, True)
    await bridge.stop()
    bridge = await harness.bridge(CONFIG, ops="commands: true")
    await bridge.event("wechat state", state="online")
    await hold(harness, bridge, [
        turn("李四", "/主机", "host answered", "^1\\. . web-1 · .*^2\\. . db-1 · CPU .* %"),
        turn("李四", "/主机 web-1", "host answered", "最高 97 %", PICTURE),
    ])  # fmt: skip
