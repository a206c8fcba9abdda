"""From exec to the first 200 of `GET /healthz`, with a state directory that is new, and one that is there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from bench.common import Place, Row, free_port, start_simulator, until_answers, write_config, wxbridge

RUNS = 7
GOAL = 2.0


async def measure(place: Place) -> list[Row]:
    gateway = await start_simulator(place)
    await _start(place, gateway, "warm-up")  # compiles what is not compiled, fills the page cache
    fresh, existing = [], []
    for _ in range(RUNS):
        shutil.rmtree(place.path / "state", ignore_errors=True)
        fresh.append(await _start(place, gateway, "state"))
        existing.append(await _start(place, gateway, "state"))
    return [
        Row("start to serving, new state directory", [run.serving for run in fresh], "s", GOAL, digits=2),
        Row("  CPU time of that", [run.cpu for run in fresh], "s", digits=2, note="the schema is migrated"),
        Row("start to serving, existing state directory", [run.serving for run in existing], "s", GOAL, digits=2),
        Row("  CPU time of that", [run.cpu for run in existing], "s", digits=2),
        Row("  start to logged in at the gateway", [run.online for run in existing], "s", digits=2),
    ]


@dataclass(frozen=True)
class Start:
    """Seconds of one start."""

    serving: float
    cpu: float
    """Of CPU time, until it served."""
    online: float


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
