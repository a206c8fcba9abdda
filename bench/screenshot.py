"""A warm screenshot through `pictures.renderer` against the older bot's: fresh Selenium Chrome, login, `sleep(5)`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass, field

from bench.common import Place, Process, Row, skipped
from bench.grafana_page import DASHBOARD_PATH, PANELS, PASSWORD, USER, GrafanaPage, panels_in

PAIRS = 5
AT_ONCE = 10
"""Dashboards that are due at the same minute."""
GOAL = 4.0
LIMIT = 40.0
"""Seconds that one picture of either may take."""
OLDER = "screenshot: fresh Selenium Chrome, login, sleep 5"
_CHROMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chromium-headless-shell")


@dataclass
class Series:
    """The pictures of one way."""

    seconds: list[float] = field(default_factory=list)
    panels: list[int] = field(default_factory=list)

    def note(self) -> str:
        """How many panels the pictures show."""
        low, high = min(self.panels), max(self.panels)
        return f"{low if low == high else f'{low}–{high}'} of {PANELS} panels"


@dataclass
class Older:
    """The older bot's process."""

    process: Process

    async def shoot(self, file: str) -> dict[str, float]:
        """Take a picture; gives its seconds by part.

        Raises:
            RuntimeError: it ended; the text has its last words.
        """
        assert self.process.child.stdin
        assert self.process.child.stdout
        self.process.child.stdin.write(f"{file}\n".encode())
        line = await asyncio.wait_for(self.process.child.stdout.readline(), LIMIT)
        if not line:
            raise RuntimeError(f"the Selenium bot ended: {self.process.last_words()}")
        return dict(json.loads(line))


def missing() -> str:
    """What the older bot lacks on this machine, with the line that brings it; empty for nothing."""
    if importlib.util.find_spec("selenium") is None:
        return "no selenium: pip install --group bench"
    if shutil.which("chromedriver") is None or not any(map(shutil.which, _CHROMES)):
        return "no Chrome with its driver: apt-get install chromium chromium-driver"
    return ""


async def start_older(place: Place, url: str) -> Older:
    """Start the older bot's process; it starts a Chrome for every picture."""
    chrome = next(filter(None, map(shutil.which, _CHROMES)))
    scratch = place.path / "chrome"
    scratch.mkdir()
    process = await place.spawn(
        *(sys.executable, "-m", "bench.selenium_bot", chrome, str(shutil.which("chromedriver")), url, USER, PASSWORD),
        environment={"TMPDIR": str(scratch), "SE_OFFLINE": "true"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    return Older(process)


async def measure(place: Place) -> list[Row]:
    from wxbridge.config.types import GrafanaSettings
    from wxbridge.pictures.pages.program import find_browser
    from wxbridge.pictures.renderer import PictureRenderer

    program = find_browser()
    if program is None:
        return [skipped("screenshot", "no browser: apt-get install chromium-headless-shell")]
    lacking = missing()
    async with GrafanaPage() as page:
        settings = GrafanaSettings(url=page.url, user=USER, password=PASSWORD)
        older = None if lacking else await start_older(place, page.url + DASHBOARD_PATH)
        async with PictureRenderer(grafana=settings) as pictures:
            cold = (await _shoot(pictures))[0]
            ours, theirs, parts = Series(), Series(), []
            after: list[float] = []
            for number in range(PAIRS):
                for _ in range(2):
                    taken = await _shoot(pictures)
                    after.append(time.perf_counter() - page.answered)
                    _add(ours, *taken)
                if older is not None:
                    file = place.path / f"selenium-{number}.png"
                    part = await older.shoot(str(file))
                    parts.append(part)
                    _add(theirs, part["seconds"], file.read_bytes())
            together, alone = await _shoot_at_once(pictures), await _shoot_in_turn(pictures)
    rows = [Row("screenshot: wxbridge, warm", ours.seconds, "s", digits=2, note=f"{ours.note()}; {program}")]
    rows.append(Row("  of it after the last panel's data had come", after, "s", digits=2))
    rows.append(Row("  its first one, with the start of the browser and the login", [cold], "s", digits=2))
    rows.append(Row(f"  {AT_ONCE} that are due together, side by side", [together], "s", digits=2))
    rows.append(Row(f"  {AT_ONCE}, one after the other", [alone], "s", digits=2))
    return [*rows, *(_compared(ours, theirs, parts) if theirs.seconds else [skipped(OLDER, lacking)])]


async def _shoot(pictures: object) -> tuple[float, bytes]:
    from wxbridge.core.model import PictureSpec

    began = time.perf_counter()
    png = await asyncio.wait_for(
        pictures.draw(PictureSpec("page", {"url": DASHBOARD_PATH, "width": 1920, "height": 1080})),  # type: ignore[attr-defined]
        LIMIT,
    )
    return time.perf_counter() - began, png


async def _shoot_at_once(pictures: object) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(_shoot(pictures) for _ in range(AT_ONCE)))
    return time.perf_counter() - began


async def _shoot_in_turn(pictures: object) -> float:
    began = time.perf_counter()
    for _ in range(AT_ONCE):
        await _shoot(pictures)
    return time.perf_counter() - began


def _add(series: Series, seconds: float, png: bytes) -> None:
    series.seconds.append(seconds)
    series.panels.append(panels_in(png))


def _compared(ours: Series, theirs: Series, parts: list[dict[str, float]]) -> list[Row]:
    mine = statistics.median(ours.seconds)
    start, login = (statistics.median(part[name] for part in parts) for name in ("start", "login"))
    awake = statistics.median(theirs.seconds) - 5
    note = f"{theirs.note()}; start {start:.2f}, login {login:.2f}, sleep 5"
    return [
        Row(OLDER, theirs.seconds, "s", digits=2, note=note),
        Row(
            "screenshot: times faster than that", [seconds / mine for seconds in theirs.seconds], "×", GOAL,
            at_least=True, note=f"of which its sleep is most: {awake / mine:.1f} × without it",
        ),
    ]  # fmt: skip
