"""Taking alerts in and delivering them, by the size of the database: rate, CPU an alert, and listings at the end.

`WXBRIDGE_BENCH_AGAINST=DIR` measures the code of another checkout beside this one, each on a database of its own;
`WXBRIDGE_BENCH_SIZES=0,10000` measures other sizes.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.common import (
    OLDER_BOTS,
    ROOT,
    OlderBot,
    Place,
    Process,
    Row,
    free_port,
    percentile,
    skipped,
    start_older,
    start_simulator,
    until_answers,
    write_config,
)
from bench.common import wxbridge as command
from bench.load import Load, has_wrk, post_for

# The tests are no part of the package: they are found where pytest finds them.
sys.path.insert(0, str(ROOT))
from tests.fakes.grown_database import grow

SIZES = (0, 10_000, 100_000, 1_000_000)
"""Alerts that are kept, each with what came in, what was told and from when to when it fired."""
RUNS = 5
SECONDS = 3
READY_SECONDS = 120.0
"""What a start may take, with a schema to be brought up to date."""
DRAIN_SECONDS = 120.0
REST = 3.0
"""Seconds in which it is seen what the bridge uses with nothing to do; that is no part of an alert's price."""
ASKED = 40
"""Times that each page is asked for: a 95th percentile of fewer would be the slowest."""
LISTED = 5
"""The same of each listing."""
PAGES = (
    "/", "/?state=sent", "/?state=dead", "/?state=untold", "/?target=ops", "/?text=nowhere",
    "/console/alerts", "/console/targets", "/console/jobs", "/console/rooms", "/console/host", "/console/silences",
    "/api/alerts", "/api/silences", "/metrics", "/readyz",
)  # fmt: skip
LISTINGS = ("status", "outbox list", "outbox list --dead", "alerts", "jobs list")
PAGE_GOAL = 200.0
LISTING_GOAL = 300.0
"""Milliseconds that a listing may take longer than on an empty database."""
CPU_GOAL = 1.5
TIMES_OLDER = 2.0
"""How much faster than each of them the bridge is to take alerts, on an empty database; they take turns."""
SHARE_AT_MOST = 0.9
"""Of the rate of an empty database, at the largest size."""


@dataclass
class Measured:
    """One bridge on its database as that grows."""

    name: str
    code: Path
    """Where its package is."""
    state: Path
    rates: dict[int, list[float]] = field(default_factory=dict)
    older: dict[str, list[float]] = field(default_factory=dict)
    """The rates of older bots, each beside one of its own on an empty database."""
    older_cpu: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds of CPU time that an alert takes of them."""
    cpu: dict[int, list[float]] = field(default_factory=dict)
    """Milliseconds of CPU time for each alert taken and delivered."""
    ready: dict[int, float] = field(default_factory=dict)
    """Milliseconds until it is ready."""
    shares: list[float] = field(default_factory=list)
    """Its rates at the largest size, each as a share of the rate beside it on an empty database."""
    listings: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Milliseconds on an empty database, and at the largest size, by turns."""
    pages: dict[str, list[float]] = field(default_factory=dict)
    """At the largest size."""
    bytes_an_alert: float = 0.0

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process run its code."""
        return {"PYTHONPATH": str(self.code)}


async def measure(place: Place) -> list[Row]:
    """The rows of this figure; needs `wrk` (Debian's package)."""
    if not has_wrk():
        return [skipped("growth", "needs wrk: apt install wrk")]
    gateway = await start_simulator(place)
    measured = [Measured("wxbridge", ROOT, place.path / "here")]
    if against := os.environ.get("WXBRIDGE_BENCH_AGAINST"):
        measured.insert(0, Measured("before", Path(against), place.path / "before"))
    sizes = _sizes()
    for size in sizes:
        for each in measured:
            await _measure_size(place, each, size, gateway, last=size == sizes[-1])
    return (
        [row for each in measured for row in _rows(each)]
        + [
            Row(f"growth: {name} (in memory), sending by gRPC, 16 connections", rates, "/s", digits=0)
            for name, rates in measured[-1].older.items()
        ]
        + [Row(f"growth: {name}, CPU an alert", cpu, "ms", digits=2) for name, cpu in measured[-1].older_cpu.items()]
    )


def _sizes() -> tuple[int, ...]:
    given = os.environ.get("WXBRIDGE_BENCH_SIZES")
    return tuple(int(size) for size in given.split(",")) if given else SIZES


async def _measure_size(place: Place, it: Measured, size: int, gateway: str, *, last: bool) -> None:
    port = free_port()
    config = write_config(place.path, port=port, gateway=gateway, state=it.state.name)
    if size:
        if not it.rates:
            raise ValueError("the first size is 0")
        await asyncio.to_thread(grow, it.state / "wxbridge.db", size)
        it.bytes_an_alert = (it.state / "wxbridge.db").stat().st_size / size
    process = await _start(place, it, config, port)
    # A second start: the first one brings the schema up to date.
    await place.stop(process)
    process = await _start(place, it, config, port)
    it.ready[size] = 1000 * (time.perf_counter() - process.began)
    url = f"http://127.0.0.1:{port}"
    await post_for(Load(place, f"{url}/hooks/grafana", 16, f"warm-{it.name}-{size}", 1))
    if last or not size:
        await _price(place, it, size, process, url)
    bots = {} if size else {name: await _start_older(place, script) for name, script in OLDER_BOTS.items()}
    for run in range(RUNS):
        load = await post_for(Load(place, f"{url}/hooks/grafana", 16, f"{it.name}-{size}-{run}", SECONDS))
        it.rates.setdefault(size, []).append(load.rate)
        if bots:
            await _drain(it, process)
        for number, (name, bot) in enumerate(bots.items()):
            before = bot.process.cpu()
            load = await post_for(Load(place, bot.url, 16, f"older-{number}-{run}", SECONDS))
            it.older.setdefault(name, []).append(load.rate)
            it.older_cpu.setdefault(name, []).append(1000 * (bot.process.cpu() - before) / load.count)
    for bot in bots.values():
        await place.stop(bot.process)
    if last:
        await _ask_pages(it, url)
    if last and size:
        await _compare_with_empty(place, it, process, url, config)
    await place.stop(process)


async def _price(place: Place, it: Measured, size: int, process: Process, url: str) -> None:
    """Measure the CPU time of alerts that are taken and delivered, without what is used with nothing to do."""
    await _drain(it, process)
    before, began = process.cpu(), time.monotonic()
    await asyncio.sleep(REST)
    idle = (process.cpu() - before) / (time.monotonic() - began)
    before, began = process.cpu(), time.monotonic()
    load = await post_for(Load(place, f"{url}/hooks/grafana", 16, f"{it.name}-{size}-price", SECONDS))
    await _drain(it, process)
    used = process.cpu() - before - idle * (time.monotonic() - began)
    it.cpu.setdefault(size, []).append(1000 * used / load.count)


async def _start(place: Place, it: Measured, config: Path, port: int) -> Process:
    process = await place.spawn(*command("run", "-c", str(config)), environment=it.environment)
    await until_answers(process, port, "/readyz?channels=all", limit=READY_SECONDS)
    return process


async def _drain(it: Measured, process: Process) -> None:
    """Wait until all that was taken is delivered; the CPU time of that is part of an alert's price."""
    until = time.monotonic() + DRAIN_SECONDS
    while _count_open(it.state / "wxbridge.db"):
        if time.monotonic() > until or process.child.returncode is not None:
            raise RuntimeError(f"{it.name} does not deliver: {process.last_words()}")
        await asyncio.sleep(0.2)


def _count_open(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT count(*) FROM messages WHERE state IN ('queued', 'sending')"
        return int(connection.execute(query).fetchone()[0])


async def _ask_pages(it: Measured, url: str) -> None:
    async with aiohttp.ClientSession(headers={"Accept": "text/html"}) as session:
        for page in PAGES:
            for _ in range(ASKED):
                began = time.perf_counter()
                async with session.get(url + page) as answer:
                    await answer.read()
                if answer.status == 200:
                    it.pages.setdefault(page, []).append(1000 * (time.perf_counter() - began))


async def _compare_with_empty(place: Place, it: Measured, process: Process, url: str, config: Path) -> None:
    """Take turns with a bridge on an empty database: the machine is not equally fast all the time."""
    beside = Measured(it.name, it.code, it.state.with_name(f"{it.state.name}-empty"))
    gateway, port = await start_simulator(place), free_port()
    its_config = write_config(place.path, port=port, gateway=gateway, state=beside.state.name)
    its_process = await _start(place, beside, its_config, port)
    its_url = f"http://127.0.0.1:{port}/hooks/grafana"
    await post_for(Load(place, its_url, 16, f"warm-beside-{it.name}", 1))
    for run in range(RUNS):
        await _drain(it, process)
        await _drain(beside, its_process)
        own = await post_for(Load(place, f"{url}/hooks/grafana", 16, f"{it.name}-full-{run}", SECONDS))
        await _drain(it, process)
        other = await post_for(Load(place, its_url, 16, f"{it.name}-empty-{run}", SECONDS))
        it.shares.append(own.rate / other.rate)
    for words in LISTINGS:
        it.listings[words] = [
            (await _listing(it, words, its_config), await _listing(it, words, config)) for _ in range(LISTED)
        ]
    await place.stop(its_process)


async def _listing(it: Measured, words: str, config: Path) -> float:
    """Milliseconds that a command takes, from its start to its end."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command(*words.split(), "-c", str(config)),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=os.environ | it.environment,
    )  # fmt: skip
    await process.wait()
    return 1000 * (time.perf_counter() - began)


async def _start_older(place: Place, script: str) -> OlderBot:
    # At a gateway of its own: each tells all who listen what is said there.
    bot = await start_older(place, script, await start_simulator(place))
    await post_for(Load(place, bot.url, 16, "older-warm", 1))
    return bot


# ---------------------------------------------------------------- what is shown


def _rows(it: Measured) -> list[Row]:
    rows = []
    here = it.name == "wxbridge"
    first, last = min(it.rates), max(it.rates)
    for size, rates in it.rates.items():
        rows.append(Row(f"growth: {it.name}, taken and delivered at {size:,}", rates, "/s", digits=0,
                        note=f"start → ready {it.ready[size]:.0f} ms"))  # fmt: skip
    for name, rates in it.older.items():
        times = [own / other for own, other in zip(it.rates[first], rates, strict=True)]
        rows.append(Row(f"growth: {it.name}, rate at {first} to that of {name}", times, "",
                        TIMES_OLDER if here else None, at_least=True, digits=2))  # fmt: skip
    if it.shares:
        rows.append(Row(f"growth: {it.name}, rate at {last:,} to that at {first}", it.shares, "",
                        SHARE_AT_MOST if here else None, at_least=True, digits=2))  # fmt: skip
    for size, cpu in it.cpu.items():
        rows.append(Row(f"growth: {it.name}, CPU an alert at {size:,}", cpu, "ms", CPU_GOAL if here else None,
                        digits=2, note=f"{it.bytes_an_alert:.0f} bytes an alert"))  # fmt: skip
    for page, took in it.pages.items():
        note = f"median {Row('', took).median:.0f}, first {took[0]:.0f}"
        rows.append(Row(f"growth: {it.name}, {page} at {last:,}, p95", [percentile(took, 0.95)], "ms",
                        PAGE_GOAL if here else None, note=note))  # fmt: skip
    for words, pairs in it.listings.items():
        empty, full = (Row("", list(each)).median for each in zip(*pairs, strict=True))
        rows.append(Row(f"growth: {it.name}, `{words}` at {last:,}, longer by", [its - other for other, its in pairs],
                        "ms", LISTING_GOAL if here else None, note=f"{empty:.0f} → {full:.0f}"))  # fmt: skip
    return rows
