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

from bench.grafana_dashboards import SLOW_SECONDS, SLOW_SOURCE, Board, Generation, Json, Mark, boards, new_boards

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


class Api:
    """Grafana's API as far as the bench asks it."""

    def __init__(self, session: ClientSession, base: str) -> None:
        self._session = session
        self._base = base.rstrip("/")

    async def ask(self, method: str, path: str, body: Json | None = None, *, missing: bool = False) -> Json:
        """Ask; `missing` permits a 404.

        Raises:
            RuntimeError: it refused; the text says what.
        """
        async with self._session.request(method, self._base + path, json=body) as response:
            if response.status >= 400 and not (missing and response.status == 404):
                raise RuntimeError(f"{method} {path}: {response.status} {(await response.text())[:300]}")
            return dict(await response.json(content_type=None) or {}) if response.status < 400 else {}

    async def set_source(self, name: str, kind: str, url: str = "") -> None:
        """Make a data source anew."""
        await self.ask("DELETE", f"/api/datasources/name/{name}", missing=True)
        body = {"name": name, "uid": name, "type": kind, "access": "proxy", "url": url}
        await self.ask("POST", "/api/datasources", body)


@dataclass
class Shelf:
    """What was loaded into a Grafana of that version."""

    version: str
    boards: list[Board]


async def load(api: Api, slow_url: str) -> Shelf:
    """Load the sources and dashboards that fit the Grafana's version."""
    version = str((await api.ask("GET", "/api/health"))["version"])
    generation = Generation(int(version.partition(".")[0]))
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
    """Run what looks like a Prometheus and takes `SLOW_SECONDS` for each answer; gives its address."""

    async def answer(_: web.Request) -> web.Response:
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
    """What became of one dashboard's pictures."""

    board: Board
    seen: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def right(self) -> bool:
        """Whether every picture has every mark."""
        return not self.note and all(seen == self.board.expected for seen in self.seen)


async def shoot(url: str, token: str, board: Board, pictures: Path | None) -> Outcome:
    """Take the dashboard's picture twice with one browser, which starts for the first."""
    from pydantic import SecretStr

    from wxbridge.config.types import GrafanaSettings
    from wxbridge.core.errors import PictureError
    from wxbridge.core.pictures import PageRequest
    from wxbridge.pictures.renderer import PictureRenderer

    outcome = Outcome(board)
    async with PictureRenderer(grafana=GrafanaSettings(url=url, token=SecretStr(token))) as renderer:
        for number, name in enumerate(("cold", "warm")):
            began = time.perf_counter()
            try:
                png = await renderer.draw(PageRequest(f"/d/{board.uid}/bench").to_spec())
            except PictureError as error:
                outcome.note = f"{name}: {error}"
                png = b""
            outcome.seconds.append(time.perf_counter() - began)
            outcome.seen.append(count_marks(png, board.marks) if png else 0)
            if pictures is not None and png:
                await asyncio.to_thread((pictures / f"{board.uid}-{number}.png").write_bytes, png)
    return outcome


# ---------------------------------------------------------------- the command


def show(version: str, outcomes: Sequence[Outcome]) -> None:
    """Print the table."""
    table = Table(
        title=f"Grafana {version}: panels drawn of all, in the cold picture and in the warm one", title_justify="left"
    )
    for name in ("version", "case", "panels right", "cold", "warm", "note"):
        table.add_column(name, overflow="fold", no_wrap=name != "note")
    for each in outcomes:
        of = each.board.expected
        panels = " / ".join(str(seen) for seen in dict.fromkeys(each.seen)) + f" of {of}"
        unmarked = f"{each.board.unmarked} more without a mark" if each.board.unmarked else ""
        note = "; ".join(filter(None, (each.note, unmarked)))
        style = None if each.right else "red"
        table.add_row(
            version, each.board.title, panels, *(f"{seconds:.1f} s" for seconds in each.seconds), note, style=style
        )
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
        shelf = await load(Api(session, arguments.url), slow_url)
        for board in shelf.boards:
            if not arguments.cases or board.uid.removeprefix("bench-") in arguments.cases:
                print(f"{shelf.version}: {board.title} …", file=sys.stderr, flush=True)
                outcomes.append(await shoot(arguments.url, arguments.token, board, arguments.pictures))
    show(shelf.version, outcomes)
    return int(not all(each.right for each in outcomes))


def main(words: Sequence[str]) -> int:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(prog="bench grafana", description=__doc__)
    parser.add_argument("cases", nargs="*", help="of most, sixty, streaming, slow, every, closed, tabs, grid; else all")
    parser.add_argument("--url", required=True, help="Grafana's address")
    parser.add_argument("--token", required=True, help="of a service account (or an API key) of role Admin")
    parser.add_argument("--pictures", type=Path, help="a folder that the pictures are put into")
    arguments = parser.parse_args(words)
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run(arguments))
