"""`python -m bench [NAME…]`: measure and print one table. Bounded in time; Ctrl-C leaves nothing behind.

`python -m bench grafana --url … --token …` takes pictures of a real Grafana instead, and
`python -m bench takeover --kills 100` kills the leader of two bridges on one PostgreSQL, again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from functools import partial

try:
    from bench.common import Figure, Place, Row, commit, machine, skipped
except ModuleNotFoundError as error:
    sys.exit(f"{error}; bring it with: {sys.executable} -m pip install --group bench")

from rich.console import Console
from rich.table import Table

from bench import (
    alert,
    chart,
    chat,
    compat,
    console,
    crash,
    databases,
    delivery,
    grafana,
    growth,
    host,
    idle,
    intake,
    prune,
    screenshot,
    sizes,
    start,
    wecom,
)

FIGURES = (
    Figure("start", start.measure, 150, "exec to the first 200 of /healthz"),
    Figure("idle", idle.measure, 120, "memory with nothing to do: logged in, and with robots alone"),
    Figure("alert", alert.measure, 60, "POST to 202 and to the gateway, beside fsync and a bare server"),
    Figure("intake", intake.measure, 60, "parse, route, compose a large group; many routes"),
    Figure("databases", databases.measure, 90, "alerts taken in on SQLite and on PostgreSQL, on the same disk"),
    Figure("wecom", wecom.measure, 150, "1,000 messages through wecom_app, beside an application that stalls"),
    Figure("delivery", delivery.measure, 150, "acknowledged under load, beside the older design in memory"),
    Figure("compat", compat.measure, 120, "acknowledged at the robots' addresses, beside Grafana's hook"),
    Figure("chart", chart.measure, 120, "an alert's chart, cold and warm, and what it costs the event loop"),
    Figure("chat", chat.measure, 60, "a command in a room, until its answer is at the gateway"),
    Figure("host", host.measure, 90, "watching this machine for six hours: CPU and memory"),
    Figure("prune", prune.measure, 150, "acknowledgements while 300,000 old alerts are thrown away"),
    Figure("console", console.measure, 120, "the first byte of a long timeline; ten open pages at rest"),
    Figure("screenshot", screenshot.measure, 120, "warm, against a fresh Selenium Chrome"),
)
LIMIT = 480.0
"""Seconds for everything that is measured by default."""
ROUNDS = 300
"""How many kills of `crash`, unless the command line says so."""
LARGE = Figure("growth", growth.measure, 900, "rate, CPU, pages and listings at 0 to 1,000,000 alerts")
SIZES = Figure("sizes", sizes.measure, 900, "CPU of an alert at 0 to 1,000,000 alerts, without a network")
"""Both are measured only where they are named: they take minutes."""
WIDTH = 190
"""Columns of the table where it is not printed to a terminal."""


def crash_figure(rounds: int) -> Figure:
    """The figure that is measured only where it is named: it takes minutes, as many as `rounds` says."""
    about = f"{rounds} kills under load, and what became of every message"
    return Figure("crash", partial(crash.measure, rounds=rounds), crash.limit(rounds), about)


async def run(names: list[str], rounds: int) -> list[Row]:
    """Measure the named figures one after another, each in a place of its own."""
    _end_on_signals()
    rows: list[Row] = []
    longer = crash_figure(rounds)
    until = time.monotonic() + LIMIT + sum(figure.limit for figure in (longer, LARGE, SIZES) if figure.name in names)
    for figure in (*FIGURES, longer, LARGE, SIZES):
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
    if sys.argv[1:2] == ["grafana"]:
        return grafana.main(sys.argv[2:])
    if sys.argv[1:2] == ["takeover"]:
        from bench import takeover  # with the tests, and the driver of PostgreSQL

        return takeover.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    usual = ", ".join(figure.name for figure in FIGURES)
    words = f"of {usual}, crash, growth, sizes; without a name all but the last three"
    parser.add_argument("names", nargs="*", metavar="NAME", help=words)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how many kills of crash (default: %(default)s)")
    arguments = parser.parse_args()
    names = arguments.names or [figure.name for figure in FIGURES]
    unknown = set(names) - {figure.name for figure in (*FIGURES, crash_figure(0), LARGE, SIZES)}
    if unknown:
        parser.error(f"there is no figure {min(unknown)!r}")
    if arguments.rounds < 1:
        parser.error("--rounds is at least 1")
    try:
        facts = asyncio.run(describe())
        rows = asyncio.run(run(names, arguments.rounds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted; everything that was started has been stopped", file=sys.stderr)
        return 130
    print(facts)
    show(rows)
    return int(any(not row.values for row in rows))


if __name__ == "__main__":
    sys.exit(main())
