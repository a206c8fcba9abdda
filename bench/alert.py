"""One alert at a time: POST → 202, and POST → the first RPC at the gateway, beside what a disk and a server cost.

The bridge and the bare server run in processes of their own; the gateway runs in this one, so that one clock
sees the POST, its answer and the RPC.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.common import (
    OLDER_BOTS,
    TOKEN,
    Place,
    Row,
    free_port,
    percentile,
    start_older,
    time_fsync,
    until_answers,
    write_config,
    wxbridge,
)

ALERTS = 250
WARM_UP = 20
GOAL = 15.0
REACHED_GOAL = 4.0
"""Milliseconds to the gateway; or no more than `TIMES_OLDER` what the bot of python-wechaty takes."""
TIMES_OLDER = 2.2
PAUSE = 0.01
"""Seconds between two alerts, in which the bridge notes that the first one was sent."""


@dataclass
class Times:
    """Milliseconds of each kind."""

    accepted: list[float] = field(default_factory=list)
    reached: list[float] = field(default_factory=list)
    fsync: list[float] = field(default_factory=list)
    commit: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    older: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in OLDER_BOTS})


class Arrivals:
    """When each alert's text reached the gateway."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[float]] = {}

    def expect(self, mark: str) -> asyncio.Future[float]:
        """The time at which a text that holds `mark` will come."""
        self._waiting[mark] = asyncio.get_running_loop().create_future()
        return self._waiting[mark]

    def note(self, message: Any) -> None:
        """Take what the simulator hands over at every message."""
        now = time.perf_counter()
        for mark, future in list(self._waiting.items()):
            if mark in message.text:
                del self._waiting[mark]
                future.set_result(now)


def alert_body(mark: str) -> bytes:
    """Grafana's legacy webhook, without a picture."""
    body = {
        "title": f"[Alerting] Kafka lag {mark}",
        "ruleId": mark,
        "ruleName": "Kafka lag",
        "state": "alerting",
        "evalMatches": [{"value": 92.25, "metric": "lag host-1", "tags": {"instance": "host-1"}}],
        "ruleUrl": "http://grafana:3000/d/kafka",
        "message": "consumers are behind",
    }
    return json.dumps(body).encode()


@contextmanager
def bare_database(path: Path) -> Iterator[sqlite3.Connection]:
    """A database with the bridge's durability settings and one table."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t (body BLOB)")
        yield connection
    finally:
        connection.close()


def time_commit(connection: sqlite3.Connection, body: bytes) -> float:
    """Seconds for one durable insert."""
    began = time.perf_counter()
    connection.execute("INSERT INTO t VALUES (?)", (body,))
    return time.perf_counter() - began


async def time_post(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[float, float]:
    """When a POST began and when its 202 was read."""
    began = time.perf_counter()
    async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
        said = await answer.text()
    if answer.status != 202:
        raise RuntimeError(f"{url} answered {answer.status}: {said}")
    return began, time.perf_counter()


async def measure(place: Place) -> list[Row]:
    from wxbridge.simulator import Simulator

    arrivals = Arrivals()
    async with AsyncExitStack() as stack:

        async def start_gateway() -> str:
            simulator = Simulator(token=TOKEN, auto_scan=True, on_message=arrivals.note)
            return (await stack.enter_async_context(simulator)).endpoint

        hook = await _start_bridge(place, await start_gateway())
        older = [(await start_older(place, script, await start_gateway())).url for script in OLDER_BOTS.values()]
        bare = await _start_bare(place)
        times = Times()
        with bare_database(place.path / "bare.db") as database, (place.path / "bare").open("wb", buffering=0) as file:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
                for number in range(WARM_UP + ALERTS):
                    if number == WARM_UP:
                        times = Times()
                    body = alert_body(f"n{number:05d}")
                    times.fsync.append(time_fsync(file) * 1000)
                    times.commit.append(time_commit(database, body) * 1000)
                    began, answered = await time_post(session, bare, body)
                    times.bare.append((answered - began) * 1000)
                    await _one_alert(session, hook, arrivals, f"n{number:05d}", times)
                    for place_in_turn, (its, url) in enumerate(zip(times.older.values(), older, strict=True)):
                        mark = f"o{place_in_turn}-{number:05d}"
                        arrival = arrivals.expect(mark)
                        began, _ = await time_post(session, url, alert_body(mark))
                        its.append((await asyncio.wait_for(arrival, 10) - began) * 1000)
    return _rows(times)


async def _start_bridge(place: Place, gateway: str) -> str:
    port = free_port()
    config = write_config(place.path, port=port, gateway=gateway)
    process = await place.spawn(*wxbridge("run", "-c", str(config)))
    await until_answers(process, port, "/readyz?channels=all", limit=20)
    return f"http://127.0.0.1:{port}/hooks/grafana"


async def _start_bare(place: Place) -> str:
    port = free_port()
    process = await place.spawn(sys.executable, "-m", "bench.bare_server", str(port))
    await until_answers(process, port, "/", limit=20)
    return f"http://127.0.0.1:{port}/"


async def _one_alert(
    session: aiohttp.ClientSession, hook: str, arrivals: Arrivals, mark: str, times: Times
) -> None:  # fmt: skip
    arrival = arrivals.expect(mark)
    began, answered = await time_post(session, hook, alert_body(mark))
    reached = await asyncio.wait_for(arrival, 10)
    times.accepted.append((answered - began) * 1000)
    times.reached.append((reached - began) * 1000)
    await asyncio.sleep(PAUSE)


def _rows(times: Times) -> list[Row]:
    accepted = Row("alert: POST → 202, durable", times.accepted, limit=GOAL, digits=2, note=_p95(times.accepted))
    bare = Row("  POST → 202, aiohttp alone, nothing stored", times.bare, digits=2, note=_p95(times.bare))
    price = f"; {accepted.median - bare.median:.2f} ms above aiohttp alone: parse, route, compose, commit"
    accepted.note += price
    first = next(iter(times.older.values()))
    return [
        accepted,
        Row("alert: POST → RPC at the gateway", times.reached, limit=REACHED_GOAL, digits=2, note=_p95(times.reached)),
        *(Row(f"  the same by {name}, in memory", its, digits=2, note=_p95(its)) for name, its in times.older.items()),
        Row(
            "  how many times what the first of these takes",
            [Row("", times.reached).median / Row("", first).median],
            "×",
            TIMES_OLDER,
            digits=2,
        ),
        bare,
        Row("  a bare SQLite commit (WAL, full sync)", times.commit, digits=2, note=_p95(times.commit)),
        Row("  a bare fsync of 4 KiB", times.fsync, digits=2, note=_p95(times.fsync)),
    ]


def _p95(values: list[float]) -> str:
    return f"p95 {percentile(values, 0.95):.2f}"
