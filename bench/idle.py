"""Memory of a bridge that has nothing to do: its whole process tree, no browser. Logged in, and with robots alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.common import Place, Row, free_port, start_simulator, until_answers, write_config, wxbridge

RUNS = 3
IDLE = 5.0
"""Seconds between logging in and measuring."""
GOAL, ROBOTS_GOAL = 120.0, 75.0


async def measure(place: Place) -> list[Row]:
    gateway = await start_simulator(place)
    rows = []
    for name, goal in (("logged in", GOAL), ("robots alone", ROBOTS_GOAL)):
        figures = []
        for number in range(RUNS):
            port = free_port()
            if goal == GOAL:
                config = write_config(place.path, port=port, gateway=gateway, state=f"idle-{number}")
            else:
                config = _write_robots(place.path, port)
            figures.append(await _idle(place, config, port))
        processes = max(count for _, _, count in figures)
        rows += [
            Row(f"idle RSS, {name}", [rss for rss, _, _ in figures], "MB", goal, note=f"{processes} process(es)"),
            Row("  the same as PSS", [pss for _, pss, _ in figures], "MB"),
        ]
    return rows


def _write_robots(directory: Path, port: int) -> Path:
    """Write a jobs.yaml with a robot of WeCom and nothing else."""
    path = directory / f"robots-{port}.yaml"
    path.write_text(
        f"""\
state_dir: {directory / f"robots-{port}"}
server: {{listen: "127.0.0.1:{port}"}}
operators: [ops]
targets: {{ops: {{channel: wecom_robot, key: 00000000-0000-4000-8000-000000000000}}}}
routes: [{{to: [ops]}}]
""",
        encoding="utf-8",
    )
    return path


async def _idle(place: Place, config: Path, port: int) -> tuple[float, float, int]:
    process = await place.spawn(*wxbridge("run", "-c", str(config)))
    await until_answers(process, port, "/readyz?channels=all", limit=20)
    await asyncio.sleep(IDLE)
    rss, pss = process.memory()
    count = len(process.tree())
    await place.stop(process)
    return rss, pss, count
