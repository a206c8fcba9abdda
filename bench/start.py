"""From exec to the first 200 of `GET /healthz`, with a state directory that is new, and one that is there.

Beside it what any bridge of this kind takes, on whatever machine: the import of aiohttp and SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from dataclasses import dataclass

from bench.common import Place, Row, free_port, start_simulator, until_answers, write_config, wxbridge

RUNS = 7
GOAL, HELP_GOAL = 0.8, 0.25
IMPORTS_GOAL = 4.0
"""So many times the import of aiohttp and SQLAlchemy may a start take."""


async def measure(place: Place) -> list[Row]:
    gateway = await start_simulator(place)
    await _start(place, gateway, "warm-up")  # compiles what is not compiled, fills the page cache
    fresh, existing, imports, lists = [], [], [], []
    for _ in range(RUNS):
        imports.append(await _time(sys.executable, "-c", "import aiohttp, sqlalchemy"))
        lists.append(await _time(*wxbridge("--help")))
        shutil.rmtree(place.path / "state", ignore_errors=True)
        fresh.append(await _start(place, gateway, "state"))
        existing.append(await _start(place, gateway, "state"))
    return [
        Row("start to serving, new state directory", [run.serving for run in fresh], "s", GOAL, digits=2),
        Row("  CPU time of that", [run.cpu for run in fresh], "s", digits=2, note="the schema is migrated"),
        Row("start to serving, existing state directory", [run.serving for run in existing], "s", GOAL, digits=2),
        Row("  CPU time of that", [run.cpu for run in existing], "s", digits=2),
        Row("  start to logged in at the gateway", [run.online for run in existing], "s", digits=2),
        Row("import aiohttp, sqlalchemy", imports, "s", digits=2),
        Row(
            "  a start, in such imports run just before it",
            [run.serving / base for run, base in zip(existing, imports, strict=True)],
            "×",
            IMPORTS_GOAL,
        ),
        Row("wxbridge --help", lists, "s", HELP_GOAL, digits=2),
    ]


@dataclass(frozen=True)
class Start:
    """Seconds of one start."""

    serving: float
    cpu: float
    """Of CPU time, until it served."""
    online: float


async def _time(*command: str) -> float:
    """Seconds from exec to the end of a command."""
    began = time.perf_counter()
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    await child.wait()
    return time.perf_counter() - began


async def _start(place: Place, gateway: str, state: str) -> Start:
    """Start and stop a bridge once."""
    port = free_port()
    config = write_config(place.path, port=port, gateway=gateway, state=state)
    process = await place.spawn(*wxbridge("run", "-c", str(config)))
    serving = await until_answers(process, port, "/healthz", limit=20)
    cpu = process.cpu()
    online = await until_answers(process, port, "/readyz?channels=all", limit=20)
    await place.stop(process)
    return Start(serving, cpu, online)
