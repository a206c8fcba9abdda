"""Memory of a bridge that is logged in and has nothing to do: its whole process tree, no browser."""

from __future__ import annotations

import asyncio

from bench.common import Place, Row, free_port, start_simulator, until_answers, write_config, wxbridge

RUNS = 3
IDLE = 5.0
"""Seconds between logging in and measuring."""
GOAL = 120.0


async def measure(place: Place) -> list[Row]:
    gateway = await start_simulator(place)
    figures = [await _idle(place, gateway, number) for number in range(RUNS)]
    processes = max(count for _, _, count in figures)
    return [
        Row("idle RSS, logged in", [rss for rss, _, _ in figures], "MB", GOAL, note=f"{processes} process(es)"),
        Row("  the same as PSS", [pss for _, pss, _ in figures], "MB"),
    ]


async def _idle(place: Place, gateway: str, number: int) -> tuple[float, float, int]:
    port = free_port()
    config = write_config(place.path, port=port, gateway=gateway, state=f"idle-{number}")
    process = await place.spawn(*wxbridge("run", "-c", str(config)))
    await until_answers(process, port, "/readyz?channels=all", limit=20)
    await asyncio.sleep(IDLE)
    rss, pss = process.memory()
    count = len(process.tree())
    await place.stop(process)
    return rss, pss, count
