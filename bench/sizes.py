"""What an alert costs, taken and delivered without a network, by how many are kept: CPU time, which noise cannot move.

`WXBRIDGE_BENCH_AGAINST=DIR` measures the code of another checkout beside this one, each on a database of its own;
`WXBRIDGE_BENCH_PICTURE=docs/rate-by-size.svg` draws it; `WXBRIDGE_BENCH_SIZES=0,10000` measures other sizes.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from pathlib import Path

from matplotlib.figure import Figure

from bench.common import ROOT, Place, Row

SIZES = (0, 10_000, 100_000, 1_000_000)
RUNS = 7
GOAL = 1.5
"""Milliseconds."""

Costs = dict[int, list[float]]
"""Milliseconds of CPU time of both threads for each alert, by size."""


async def measure(place: Place) -> list[Row]:
    """The rows of this figure."""
    codes = {"wxbridge": ROOT}
    if against := os.environ.get("WXBRIDGE_BENCH_AGAINST"):
        codes = {"before": Path(against)} | codes
    given = os.environ.get("WXBRIDGE_BENCH_SIZES")
    sizes = [int(size) for size in given.split(",")] if given else SIZES
    found: dict[tuple[str, int], list[dict[str, float]]] = {(name, size): [] for size in sizes for name in codes}
    for name, size in found:
        # What is copied until it is so much.
        await _take(codes[name], 0, place.path / f"{name}-{size}")
    # By turns: the machine is not equally fast all the time.
    for _ in range(RUNS):
        for (name, size), runs in found.items():
            runs.append(await _take(codes[name], size, place.path / f"{name}-{size}"))
    costs: dict[str, Costs] = {name: {} for name in codes}
    notes: dict[tuple[str, int], str] = {}
    for (name, size), runs in found.items():
        costs[name][size] = [each["main"] + each["others"] for each in runs]
        main = statistics.median(each["main"] for each in runs)
        notes[name, size] = f"{main:.2f} of it the event loop's thread"
    if picture := os.environ.get("WXBRIDGE_BENCH_PICTURE"):
        draw(costs["wxbridge"], Path(picture))
    rows = [
        Row(f"sizes: {name}, CPU of an alert at {size:,}", took, "ms", GOAL if name == "wxbridge" else None, digits=2,
            note=notes[name, size])
        for name, its in costs.items() for size, took in its.items()
    ]  # fmt: skip
    for name, its in costs.items():
        share = statistics.median(its[min(its)]) / statistics.median(its[max(its)])
        rows.append(Row(f"sizes: {name}, rate at {max(its):,} to that at {min(its)}", [share], "",
                        0.9 if name == "wxbridge" else None, at_least=True, digits=2))  # fmt: skip
    return rows


async def _take(code: Path, size: int, directory: Path) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("taking.py")), str(size), str(directory),
        stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(code)},
    )  # fmt: skip
    out, _ = await process.communicate()
    found: dict[str, float] = json.loads(out.decode().splitlines()[-1])
    return found


def draw(costs: Costs, picture: Path) -> None:
    """Draw how many alerts a second of CPU time is enough for, by size; the median, and from the least to the most."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    places, rates = list(range(len(costs))), [[1000 / cost for cost in costs[size]] for size in sorted(costs)]
    axes.plot(places, [statistics.median(each) for each in rates], marker="o")
    axes.fill_between(places, [min(each) for each in rates], [max(each) for each in rates], alpha=0.2)
    axes.set_xticks(places, [f"{size:,}" for size in sorted(costs)])
    axes.set(xlabel="alerts kept", ylabel="alerts taken and delivered\nin a second of CPU time", ylim=(0, None))
    figure.savefig(picture, format="svg", metadata={"Date": None})
