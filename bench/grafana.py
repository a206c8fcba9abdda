"""`python -m bench grafana --url … --token …`: the product against a real Grafana, judged by the pictures themselves.

Loads dashboards whose panels each draw a colour of their own, takes each picture as a job would, with a browser that
starts (cold) and with the same again (warm), and counts the colours that are to be seen. Loading needs a token of role
Admin; what it makes in Grafana begins with `bench-` and is made anew each time. Not part of what is measured by
default: it needs a Grafana, of whatever version.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from aiohttp import ClientSession, ClientTimeout, web
from PIL import Image
from rich.console import Console
from rich.table import Table

from bench.grafana_api import Api
from bench.grafana_dashboards import SLOW_SECONDS, SLOW_SOURCE, Board, Generation, Mark, boards, new_boards
from bench.grafana_rules import RULES, tell_rules

CELL = 12
"""Pixels of a cell's side in which colours are looked for."""
CELL_PIXELS = 8
"""How many pixels of its colour make a cell count."""
PATCH_PIXELS = 60
"""How many make a patch; a mark is larger in every type of panel."""


# ---------------------------------------------------------------- reading a picture


def count_marks(png: bytes, marks: Sequence[Mark]) -> int:
    """Count the marks that a picture shows, each at most as often as it is expected."""
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int16)
    return sum(min(mark.times, count_patches(pixels, mark)) for mark in marks)


def count_patches(pixels: np.ndarray, mark: Mark) -> int:
    """Count the separate patches of a mark's colour in a picture (height × width × 3); cells that touch are one."""
    alike = (np.abs(pixels - np.array(mark.colour, dtype=np.int16)) <= mark.tolerance).all(axis=2)
    high, wide = (size // CELL * CELL for size in alike.shape)
    cells = alike[:high, :wide].reshape(high // CELL, CELL, wide // CELL, CELL).sum(axis=(1, 3))
    left = {(int(y), int(x)): int(cells[y, x]) for y, x in zip(*np.nonzero(cells >= CELL_PIXELS), strict=True)}
    patches = 0
    while left:
        reached, size = [next(iter(left))], 0
        while reached:
            y, x = reached.pop()
            if (y, x) in left:
                size += left.pop((y, x))
                # Strokes of one figure may have a cell between them.
                reached += [(y + down, x + right) for down in range(-2, 3) for right in range(-2, 3)]
        patches += size >= PATCH_PIXELS
    return patches


# ---------------------------------------------------------------- loading


@dataclass
class Shelf:
    """What was loaded into a Grafana of that version."""

    version: str
    boards: list[Board]


def generation_of(version: str) -> Generation:
    """Tell the generation of a version such as `9.4.0-pre`."""
    return Generation(int(version.partition(".")[0]))


async def load(api: Api, slow_url: str) -> Shelf:
    """Load the sources and dashboards that fit the Grafana's version."""
    version = str((await api.ask("GET", "/api/health"))["version"])
    generation = generation_of(version)
    await api.set_source(generation.source, generation.source_type)
    await api.set_source(SLOW_SOURCE, "prometheus", slow_url)
    shelf = boards(generation)
    for board in shelf:
        await api.ask("POST", "/api/dashboards/db", {"dashboard": board.json, "overwrite": True})
    if generation.major >= 12:
        path = "/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards"
        for board, body in new_boards(generation):
            await api.ask("DELETE", f"{path}/{board.uid}", missing=True)
            await api.ask("POST", path, body)
            shelf.append(board)
    return Shelf(version, shelf)


@asynccontextmanager
async def slow_prometheus() -> AsyncIterator[str]:
    """Run what looks like a Prometheus and takes `SLOW_SECONDS` to list a label's values; gives its address."""

    async def answer(request: web.Request) -> web.Response:
        if "/label/" in request.path or request.path.endswith("/series"):
            await asyncio.sleep(SLOW_SECONDS)
        return web.json_response({"status": "success", "data": []})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


# ---------------------------------------------------------------- the pictures


@dataclass
class Outcome:
    """What became of one case's pictures."""

    case: str
    expected: int
    seen: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether every picture has every mark."""
        return all(seen == self.expected for seen in self.seen)


async def shoot(url: str, token: str, board: Board, pictures: Path | None) -> Outcome:
    """Take the dashboard's picture twice with one browser, which starts for the first."""
    from pydantic import SecretStr

    from wxbridge.config.types import GrafanaSettings
    from wxbridge.core.errors import PictureError
    from wxbridge.core.pictures import PageRequest
    from wxbridge.pictures.renderer import PictureRenderer

    outcome = Outcome(board.title, board.expected)
    if board.unmarked:
        outcome.notes.append(f"{board.unmarked} more without a mark")
    async with PictureRenderer(grafana=GrafanaSettings(url=url, token=SecretStr(token))) as renderer:
        for name in ("cold", "warm"):
            began = time.perf_counter()
            try:
                png = await renderer.draw(PageRequest(f"/d/{board.uid}/bench").to_spec())
            except PictureError as error:
                outcome.notes.append(f"{name}: {error}")
                png = b""
            outcome.seconds.append(time.perf_counter() - began)
            outcome.seen.append(count_marks(png, board.marks) if png else 0)
            if png:
                _keep(pictures, f"{board.uid}-{name}", png)
    return outcome


async def watch_rules(api: Api, url: str, token: str, version: str, pictures: Path | None) -> list[Outcome]:
    """Have the program tell of rules in every state: how many states were told, how many pictures came."""
    outcome = await tell_rules(api, generation_of(version), url, token)
    told, board = outcome.told, outcome.board
    panels = sum(count_marks(png, board.marks) > 0 for png in told.pictures)
    for number, png in enumerate(told.pictures):
        _keep(pictures, f"{board.uid}-{number}", png)
    if pictures is not None:
        said = "\n\n".join([*told.texts, outcome.log])
        (pictures / f"{board.uid}.txt").write_text(said, encoding="utf-8")
    wrong = [rule.title for rule in RULES if not told.right(rule)]
    states = Outcome("Bench: rules, states told", len(RULES), [len(RULES) - len(wrong)], [outcome.seconds], wrong)
    drawn = sum(rule.drawn for rule in RULES)
    note = f"{panels} of a panel, {len(told.pictures) - panels} of charts"
    return [states, Outcome("Bench: rules, pictures", drawn, [len(told.pictures)], [outcome.seconds], [note])]


def _keep(pictures: Path | None, name: str, png: bytes) -> None:
    if pictures is not None:
        (pictures / f"{name}.png").write_bytes(png)


# ---------------------------------------------------------------- the command


def show(version: str, outcomes: Sequence[Outcome]) -> None:
    """Print the table."""
    table = Table(
        title=f"Grafana {version}: panels drawn of all, in the cold picture and in the warm one", title_justify="left"
    )
    for name in ("version", "case", "panels right", "cold", "warm", "note"):
        table.add_column(name, overflow="fold", no_wrap=name != "note")
    for each in outcomes:
        panels = " / ".join(str(seen) for seen in dict.fromkeys(each.seen)) + f" of {each.expected}"
        cold, *warm = (f"{seconds:.1f} s" for seconds in each.seconds)
        style = None if each.right else "red"
        table.add_row(version, each.case, panels, cold, *(warm or [""]), "; ".join(each.notes), style=style)
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table, markup=False)


async def run(arguments: argparse.Namespace) -> int:
    """Load, take the pictures, print. 0 where every panel of every picture is right."""
    headers = {"Authorization": f"Bearer {arguments.token}"}
    outcomes = []
    async with (
        slow_prometheus() as slow_url,
        ClientSession(headers=headers, timeout=ClientTimeout(total=60)) as session,
    ):
        api = Api(session, arguments.url)
        shelf = await load(api, slow_url)
        for board in shelf.boards:
            if _is_wanted(arguments, board.uid.removeprefix("bench-")):
                print(f"{shelf.version}: {board.title} …", file=sys.stderr, flush=True)
                outcomes.append(await shoot(arguments.url, arguments.token, board, arguments.pictures))
        if _is_wanted(arguments, "rules"):
            print(f"{shelf.version}: rules in every state …", file=sys.stderr, flush=True)
            outcomes += await watch_rules(api, arguments.url, arguments.token, shelf.version, arguments.pictures)
    show(shelf.version, outcomes)
    return int(not all(each.right for each in outcomes))


def _is_wanted(arguments: argparse.Namespace, case: str) -> bool:
    return not arguments.cases or case in arguments.cases


def main(words: Sequence[str]) -> int:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(prog="bench grafana", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", help="of most, sixty, streaming, slow, every, closed, tabs, grid, rules; else all"
    )
    parser.add_argument("--url", required=True, help="Grafana's address")
    parser.add_argument("--token", required=True, help="of a service account (or an API key) of role Admin")
    parser.add_argument("--pictures", type=Path, help="a folder that the pictures are put into")
    arguments = parser.parse_args(words)
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run(arguments))
