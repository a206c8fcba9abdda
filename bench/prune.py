"""Acknowledgements while a bridge throws away what is old: 200 POSTs a second beside 300,000 alerts to forget."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import aiohttp

from bench.alert import alert_body
from bench.common import Place, Row, free_port, percentile, start_simulator, until_answers, write_config
from bench.common import wxbridge as command
from bench.growth import READY_SECONDS, grow
from wxbridge.web.limits import HttpLimits

OLD = 300_000
PER_SECOND = 200
SECONDS = 15
WARM_UP = 20
"""POSTs that load what is loaded when it is first needed."""
GOAL = 100.0
"""Milliseconds, of the 99th percentile."""


async def measure(place: Place) -> list[Row]:
    """The rows of this figure; `WXBRIDGE_BENCH_AGAINST=DIR` measures the code of another checkout too."""
    gateway = await start_simulator(place)
    rows = await _measure(place, gateway, "wxbridge", {})
    if against := os.environ.get("WXBRIDGE_BENCH_AGAINST"):
        rows += await _measure(place, gateway, "before", {"PYTHONPATH": against})
    return rows


async def _measure(place: Place, gateway: str, name: str, environment: dict[str, str]) -> list[Row]:
    port = free_port()
    config = write_config(place.path, port=port, gateway=gateway, state=f"prune-{name}")
    database = place.path / f"prune-{name}" / "wxbridge.db"
    url = f"http://127.0.0.1:{port}/hooks/grafana"
    words = command("run", "-c", str(config))
    # One alert to copy.
    process = await place.spawn(*words, environment=environment)
    await until_answers(process, port, "/readyz?channels=all", limit=READY_SECONDS)
    async with aiohttp.ClientSession() as session:
        await _post(session, url, "first")
    await asyncio.sleep(2)
    await place.stop(process)
    await asyncio.to_thread(grow, database, OLD)
    config.write_text(config.read_text(encoding="utf-8") + "keep: 1m\n", encoding="utf-8")
    process = await place.spawn(*words, environment=environment)
    await until_answers(process, port, "/readyz?channels=all", limit=READY_SECONDS)
    before = await asyncio.to_thread(_count, database)
    # As many connections as one address may hold.
    connector = aiohttp.TCPConnector(limit=HttpLimits.max_connections_per_address)
    async with aiohttp.ClientSession(connector=connector) as session:
        for number in range(WARM_UP):
            await _post(session, url, f"warm{number}")
        times = await _post_all(session, url)
    forgotten = before - await asyncio.to_thread(_count, database)
    await place.stop(process)
    note = f"p50 {percentile(times, 0.5):.0f}, the slowest {max(times):.0f}; {forgotten:,} forgotten meanwhile"
    goal = GOAL if name == "wxbridge" else None
    return [
        Row(f"prune: {name}, acknowledged at {PER_SECOND}/s, p99", [percentile(times, 0.99)], "ms", goal, note=note)
    ]


async def _post_all(session: aiohttp.ClientSession, url: str) -> list[float]:
    """Post at a steady rate, whether the answers come or not; milliseconds of each."""
    began = time.perf_counter()
    tasks = []
    for number in range(PER_SECOND * SECONDS):
        await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.perf_counter()))
        tasks.append(asyncio.create_task(_post(session, url, f"n{number}")))
    return await asyncio.gather(*tasks)


async def _post(session: aiohttp.ClientSession, url: str, mark: str) -> float:
    began = time.perf_counter()
    async with session.post(url, data=alert_body(mark)) as answer:
        await answer.read()
        assert answer.status == 202
    return 1000 * (time.perf_counter() - began)


def _count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM notifications").fetchone()[0])
