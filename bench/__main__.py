"""`python -m bench [NAME…]`: measure and print one table. Bounded in time; Ctrl-C leaves nothing behind."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time

try:
    from bench.common import Figure, Place, Row, commit, machine, skipped
except ModuleNotFoundError as error:
    sys.exit(f"{error}; bring it with: {sys.executable} -m pip install --group bench")

from rich.console import Console
from rich.table import Table

from bench import alert, delivery, idle, screenshot, start

FIGURES = (
    Figure("start", start.measure, 90, "exec to the first 200 of /healthz"),
    Figure("idle", idle.measure, 60, "memory, logged in, nothing to do"),
    Figure("alert", alert.measure, 60, "POST to 202 and to the gateway, beside fsync and a bare server"),
    Figure("delivery", delivery.measure, 150, "acknowledged under load, beside the older design in memory"),
    Figure("screenshot", screenshot.measure, 120, "warm, against a fresh Selenium Chrome"),
)
LIMIT = 480.0
"""Seconds for everything."""
WIDTH = 190
"""Columns of the table where it is not printed to a terminal."""


async def run(names: list[str]) -> list[Row]:
    """Measure the named figures one after another, each in a place of its own."""
    _end_on_signals()
    rows: list[Row] = []
    until = time.monotonic() + LIMIT
    for figure in FIGURES:
        if figure.name in names:
            print(f"measuring {figure.name}: {figure.about} …", file=sys.stderr, flush=True)
            rows += await _measure(figure, min(figure.limit, until - time.monotonic()))
    return rows


def _end_on_signals() -> None:
    """Have the first Ctrl-C or SIGTERM begin the clean-up, and no further one interrupt it."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        if task is not None and not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)


async def _measure(figure: Figure, limit: float) -> list[Row]:
    try:
        async with Place() as place, asyncio.timeout(limit):
            return await figure.measure(place)
    except TimeoutError:
        return [skipped(figure.name, f"not done within {limit:.0f} s")]
    except Exception as error:  # noqa: BLE001 - the other figures are measured all the same
        return [skipped(figure.name, f"{type(error).__name__}: {error}")]


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="wxbridge bench: median (min–max, runs)", title_justify="left")
    for name in ("figure", "goal", "measured", "verdict", "note"):
        table.add_column(name, overflow="fold", no_wrap=name in ("goal", "verdict"))
    for row in rows:
        style = "red" if row.verdict in ("MISSED", "NOT MEASURED") else None
        table.add_row(row.figure, row.goal, row.measured, row.verdict, row.note, style=style)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(table, markup=False)


async def describe() -> str:
    """The machine's facts."""
    async with Place() as place:
        return f"{machine(place.path)}; wxbridge at {await commit()}"


def main() -> int:
    """Measure what the command line names, everything by default. 0 unless a figure could not be measured."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(f.name for f in FIGURES)}; else all")
    names = parser.parse_args().names or [figure.name for figure in FIGURES]
    unknown = set(names) - {figure.name for figure in FIGURES}
    if unknown:
        parser.error(f"there is no figure {min(unknown)!r}")
    try:
        facts = asyncio.run(describe())
        rows = asyncio.run(run(names))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted; everything that was started has been stopped", file=sys.stderr)
        return 130
    print(facts)
    show(rows)
    return int(any(not row.values for row in rows))


if __name__ == "__main__":
    sys.exit(main())
