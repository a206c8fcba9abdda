"""Takes alerts in and delivers them in one process, without HTTP and a gateway: what that costs each thread.

`python bench/taking.py SIZE DIRECTORY`, run by `bench.growth` with the code that is measured on the path; prints JSON.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from wxbridge.alerts import routing
from wxbridge.alerts.pipeline import AlertSettings
from wxbridge.alerts.render import Destination
from wxbridge.alerts.routing import Route
from wxbridge.alerts.service import AlertService
from wxbridge.alerts.sources import by_content
from wxbridge.alerts.templates import Templates
from wxbridge.config.types import Pace, TargetSettings
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.metrics import Metrics
from wxbridge.delivery.context import DeliveryContext, Lane
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.rate_limit import Pacer
from wxbridge.delivery.service import Delivery
from wxbridge.pictures.store import PictureStore
from wxbridge.testing import FakeChannel

CONNECTIONS = 32
ALERTS = 640
WARM = 64
_ZONE = ZoneInfo("Asia/Shanghai")


class Room(TargetSettings):
    """A room of a channel that keeps what it is sent."""

    channel: str = "fake"

    def address(self, recipient: str | None = None) -> str:
        """Give where it leads."""
        del recipient
        return "room"

    def chat_key(self) -> str:
        """Tell it from others."""
        return "room"


class Nobody:
    """Draws nothing, and hears nothing."""

    names = ()

    async def tell(self, line: str, about: str | None = None) -> None:
        """Hear something."""

    async def draw(self, _: Any) -> bytes:
        """Draw."""
        return b""


class World:
    """A bridge without a network."""

    def __init__(self, directory: Path, database: Database | None = None) -> None:
        self.channel = FakeChannel()
        self.database = database or Database.open(sqlite_url(directory))
        outbox = Outbox(self.database, dedupe_window=600)
        settings = AlertSettings(
            routes=routing.compile_routes([Route((), ("ops",))]),
            timezone=_ZONE,
            targets={"ops": Destination(self.channel.capabilities, 86400.0)},
            sources={"grafana": by_content.parse_grafana},
            templates=Templates(directory / "templates", "en", _ZONE),
        )
        self.alerts = AlertService(self.database, outbox, settings)
        lane = Lane("fake", self.channel, {"ops": Room()}, Pacer(Pace()))
        nobody: Any = Nobody()
        self.delivery = Delivery(
            DeliveryContext(
                outbox=outbox,
                lanes=[lane],
                picture_store=PictureStore.below(directory),
                drawer=nobody,
                operators=nobody,
                composer=self.alerts,
                language="en",
                metrics=Metrics(),
                clock=SystemClock(),
            )
        )

    async def take(self, count: int, mark: str) -> None:
        """Take so many alerts in over several connections, and wait until they are delivered."""
        numbers, already = iter(range(count)), len(self.channel.sent)

        async def post() -> None:
            for number in numbers:
                body = {"title": f"[Alerting] {mark}-{number}", "ruleId": f"{mark}{number}", "state": "alerting",
                        "evalMatches": [{"metric": "cpu", "value": 92.25, "tags": None}]}  # fmt: skip
                await self.alerts.accept("grafana", json.dumps(body).encode(), {})

        await asyncio.gather(*(post() for _ in range(CONNECTIONS)))
        while len(self.channel.sent) < already + count:  # noqa: ASYNC110 - the fake tells nobody
            await asyncio.sleep(0.005)


def threads() -> dict[str, float]:
    """The milliseconds of CPU time that each thread has used."""
    tasks = Path("/proc/self/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) / 1e6 for task in tasks}


async def measure(directory: Path) -> dict[str, float]:
    """Milliseconds of CPU time for each alert, and alerts taken a second."""
    world = World(directory)
    task = asyncio.create_task(world.delivery.run())
    await asyncio.sleep(0.5)
    run = f"{time.time():.3f}"  # nothing is a repeat of what an earlier run said
    await world.take(WARM, f"warm {run}")
    before, began = threads(), time.perf_counter()
    await world.take(ALERTS, f"run {run}")
    took, after = time.perf_counter() - began, threads()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.database.close()
    main = str(os.getpid())
    return {
        "main": (after[main] - before[main]) / ALERTS,
        "others": sum(after[name] - before.get(name, 0.0) for name in after if name != main) / ALERTS,
        "rate": ALERTS / took,
    }


def grow(directory: Path, size: int) -> None:
    """Copy what is kept until it is so much."""
    file = Path(__file__).parent.parent / "tests" / "fakes" / "grown_database.py"
    spec = importlib.util.spec_from_file_location("grown_database", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.grow(directory / "wxbridge.db", size)


def main() -> None:
    """Measure, at a size of the database."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    size, directory = int(sys.argv[1]), Path(sys.argv[2])
    directory.mkdir(exist_ok=True)
    if size:
        grow(directory, size)
    print(json.dumps(asyncio.run(measure(directory))))


if __name__ == "__main__":
    main()
