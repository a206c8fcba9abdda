"""What watching this machine costs a bridge: processor time as a share of a core, and memory, after six hours.

A process of its own lives through six hours at every 10 s as fast as it can: a clock is handed in, everything else is
real, the threads, the sensors and the database included. Beside it the sensors alone, without anything kept.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import psutil

from bench.common import Place, Row

EVERY = 10.0
SAMPLES = 2160
RUNS = 3
GOAL_CPU = 0.2
"""Percent of a core."""
GOAL_MEMORY = 20.0
"""MB."""


async def measure(place: Place) -> list[Row]:
    found = [await _run(place, number) for number in range(RUNS)]
    per_sample = 1000 * EVERY / 100
    return [
        Row(
            "host: CPU of a core", [each["cpu"] for each in found], "%", GOAL_CPU, digits=3,
            note=f"{found[0]['cpu'] * per_sample:.2f} ms a sample; {found[0]['figures']:.0f} figures every {EVERY:g} s",
        ),
        Row("  the sensors alone", [each["sensors"] for each in found], "%", digits=3),
        Row("host: memory after 6 h", [each["memory"] for each in found], "MB", GOAL_MEMORY),
    ]  # fmt: skip


async def _run(place: Place, number: int) -> dict[str, float]:
    process = await place.spawn(
        sys.executable, "-m", "bench.host", str(place.path / f"host-{number}"), stdout=asyncio.subprocess.PIPE
    )
    assert process.child.stdout is not None
    said = await process.child.stdout.read()
    await place.stop(process)
    if not said:
        raise RuntimeError(process.last_words())
    found: dict[str, float] = json.loads(said)
    return found


# ---------------------------------------------------------------- the process


class Clock:
    """Time that passes as fast as it is slept away."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.now += seconds
        await asyncio.sleep(0)


async def live(directory: Path) -> dict[str, float]:
    """Live through six hours; gives shares of a core in percent, and MB."""
    # What a bridge has loaded anyway counts for nothing.
    from wxbridge import app
    from wxbridge.core import logging
    from wxbridge.core.database import Database, sqlite_url

    assert app
    logging.configure("auto", "error")
    database = Database.open(sqlite_url(directory))
    await database.read(lambda connection: connection.exec_driver_sql("SELECT 1"))
    before = psutil.Process().memory_info().rss

    from wxbridge.config.hosts import HostSettings
    from wxbridge.hosts.monitor import HostMonitor, SystemClock
    from wxbridge.hosts.sensors import Sensors

    clock = Clock()
    began = time.time()
    settings = HostSettings.model_validate({"name": "bench", "cpu": None, "memory": 100, "disk": 100})
    monitor = HostMonitor(
        settings, database, lambda *_: asyncio.sleep(0),
        times=SystemClock(lambda: began + clock.now, lambda: clock.now, sleep=clock.sleep),
    )  # fmt: skip
    await monitor.tick()
    spent = time.process_time()
    for _ in range(SAMPLES):
        clock.now += EVERY
        await monitor.tick()
    spent = time.process_time() - spent
    (host,) = monitor.list_hosts()
    assert len(host.history.raw.at) >= SAMPLES - 1
    memory = psutil.Process().memory_info().rss - before
    sensors = Sensors()
    sensors.sample()
    alone = time.process_time()
    for _ in range(SAMPLES // 4):
        sensors.sample()
    alone = (time.process_time() - alone) * 4
    database.close()
    return {
        "cpu": 100 * spent / (SAMPLES * EVERY),
        "sensors": 100 * alone / (SAMPLES * EVERY),
        "memory": memory / 1e6,
        "figures": float(len(host.history.names)),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(live(Path(sys.argv[1])))))
