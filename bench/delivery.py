"""Alerts acknowledged under load, durably, beside the older design that keeps everything in memory."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import psutil

from bench.common import Place, Row, free_port, skipped, start_simulator, time_fsync, until_answers, write_config
from bench.common import wxbridge as command
from bench.load import Load, LoadResult, has_wrk, post_for
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.model import Notification, Text
from wxbridge.delivery.outbox import Outbox

RUNS = 3
SECONDS = 4
WAITING = 100_000


async def measure(place: Place) -> list[Row]:
    """The rows of this figure; needs `wrk` (Debian's package) and, for the older design, `node`."""
    if not has_wrk():
        return [skipped("delivery", "needs wrk: apt install wrk")]
    rows = [*await _bridge(place, "paced", 2500), *await _bridge(place, "none", 1500)]
    if shutil.which("node"):
        rows += await _older(place)
    with (place.path / "fsync").open("wb", buffering=0) as file:
        rows.append(Row("– bare fsync", [time_fsync(file) * 1000 for _ in range(200)], digits=2))
    return rows + await asyncio.to_thread(_claims, place.path / "claims")


async def _bridge(place: Place, pace: str, goal: float) -> list[Row]:
    gateway = await start_simulator(place)
    port = free_port()
    config = write_config(place.path, port=port, gateway=gateway, state=f"state-{pace}")
    if pace == "paced":
        config.write_text(config.read_text(encoding="utf-8").replace(", pace: none", ""), encoding="utf-8")
    process = await place.spawn(*command("run", "-c", str(config)))
    await until_answers(process, port, "/readyz?channels=all", limit=20)
    url = f"http://127.0.0.1:{port}/hooks/grafana"
    alone = [await _post(place, url, 1, f"{pace}-alone-{run}") for run in range(RUNS)]
    rates = [await _post(place, url, 16, f"{pace}-{run}") for run in range(RUNS)]
    memory = psutil.Process(process.pid).memory_info().rss / 1e6
    await place.stop(process)
    words = "sending at the default pace" if pace == "paced" else "pace: none, sending as it takes in"
    return [
        Row(
            f"acknowledged durably, 16 connections, {words}",
            [each.rate for each in rates],
            "/s",
            goal,
            at_least=True,
            digits=0,
        ),
        Row("– one at a time, median", [each.median for each in alone], "ms", 2.5, digits=2),
        Row("– RSS after it", [memory], "MB", 130),
    ]


async def _older(place: Place) -> list[Row]:
    port = free_port()
    process = await place.spawn("node", str(Path(__file__).parent / "older_design" / "server.js"), str(port))
    await until_answers(process, port, "/", limit=20)
    url = f"http://127.0.0.1:{port}/"
    alone = [await _post(place, url, 1, f"older-alone-{run}") for run in range(RUNS)]
    rates = [await _post(place, url, 16, f"older-{run}") for run in range(RUNS)]
    return [
        Row(
            "– the older design (Node.js, nothing stored), 16 connections",
            [each.rate for each in rates],
            "/s",
            digits=0,
        ),
        Row("– the older design, one at a time, median", [each.median for each in alone], "ms", digits=2),
    ]


async def _post(place: Place, url: str, connections: int, mark: str) -> LoadResult:
    return await post_for(Load(place, url, connections, mark, SECONDS))


def _claims(directory: Path) -> list[Row]:
    """The claim query, and its plan, with many rows waiting."""
    directory.mkdir()
    database = Database.open(sqlite_url(directory))
    outbox = Outbox(database, clock=lambda: 1.0)

    async def fill_and_claim() -> list[float]:
        for start in range(0, WAITING, 1000):
            items = [Notification("bench", "ops", (Text(f"n {start + index}"),)) for index in range(1000)]
            await outbox.put(items)
        times = []
        for _ in range(200):
            began = time.perf_counter()
            await outbox.claim(["ops"], now=2.0, limit=1)
            times.append((time.perf_counter() - began) * 1000)
            await database.run(lambda c: c.exec_driver_sql("UPDATE messages SET state = 'sent', settled_at = 2.0 "
                                                           "WHERE state = 'sending'"))  # fmt: skip
        return times

    try:
        times = asyncio.run(fill_and_claim())
    finally:
        database.close()
    query = (
        "EXPLAIN QUERY PLAN SELECT * FROM messages WHERE state IN ('queued', 'sending') AND kind = 'text' "
        "AND target = 'ops' ORDER BY priority, id LIMIT 1"
    )
    with closing(sqlite3.connect(directory / "wxbridge.db")) as connection:
        plan = "; ".join(row[3] for row in connection.execute(query))
    return [Row(f"claim with {WAITING:,} rows waiting, committed", times, "ms", digits=2, note=plan)]
