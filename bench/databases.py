"""Alerts taken in on SQLite and on a PostgreSQL of our own, beside each other on one disk: how many, and how soon.

Without a network but PostgreSQL's: what a bridge acknowledges is on the disk of either (fsync).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import statistics
import sys
import time
from pathlib import Path

import structlog

from bench.common import ROOT, Place, Row, skipped
from bench.taking import CONNECTIONS, World
from wxbridge.core.database import Database, sqlite_url

ALERTS = 600
ROUNDS = 4
SINGLE = 60
"""Alerts that come one after another."""


async def measure(place: Place) -> list[Row]:
    """Take alerts in on both, in turns."""
    # The tests are no part of the package: they are found where pytest finds them.
    sys.path.insert(0, str(ROOT))
    from tests.fakes.postgresql import Cluster, why_missing

    if reason := why_missing():
        return [skipped("databases", reason)]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    cluster = await asyncio.to_thread(Cluster, is_durable=True, parent=_visible(place.path))
    try:
        await asyncio.to_thread(cluster.start)
        urls = {
            "SQLite": sqlite_url(place.path / "state"),
            "PostgreSQL": await asyncio.to_thread(cluster.create_database, "bench"),
        }
        worlds = {name: World(place.path / name, Database.open(url)) for name, url in urls.items()}
        rates: dict[str, list[float]] = {name: [] for name in worlds}
        waits: dict[str, list[float]] = {name: [] for name in worlds}
        marks = itertools.count()
        for _ in range(ROUNDS):
            for name, world in worlds.items():
                rates[name].append(await _rate(world, f"r{next(marks)}"))
                waits[name] += await _wait(world, f"w{next(marks)}")
        for world in worlds.values():
            await asyncio.to_thread(world.database.close)
    finally:
        await asyncio.to_thread(cluster.close)
    return [
        *(Row(f"taken in, {CONNECTIONS} at a time: {name}", some, "/s", digits=0) for name, some in rates.items()),
        *(Row(f"taken in, one at a time: {name}", [statistics.median(some)], "ms") for name, some in waits.items()),
    ]


def _visible(path: Path) -> Path | None:
    """A folder on the same disk that another user may enter; None for the temporary one."""
    return path.parent if path.parent.stat().st_mode & 0o001 else None


async def _rate(world: World, mark: str) -> float:
    numbers = iter(range(ALERTS))

    async def post() -> None:
        for number in numbers:
            await world.alerts.accept("grafana", _body(f"{mark}-{number}"), {})

    began = time.perf_counter()
    await asyncio.gather(*(post() for _ in range(CONNECTIONS)))
    return ALERTS / (time.perf_counter() - began)


async def _wait(world: World, mark: str) -> list[float]:
    found = []
    for number in range(SINGLE):
        began = time.perf_counter()
        await world.alerts.accept("grafana", _body(f"{mark}-{number}"), {})
        found.append(1000 * (time.perf_counter() - began))
    return found


def _body(name: str) -> bytes:
    return json.dumps(
        {"title": f"[Alerting] {name}", "ruleId": name, "state": "alerting", "message": "x" * 200}
    ).encode()
