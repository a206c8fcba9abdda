"""A command at a time, asked in a room: from the moment it is written to the first RPC that answers it.

The bridge runs in a process of its own; the gateway runs in this one, so that one clock sees question and answer.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from bench.alert import PAUSE
from bench.common import TOKEN, Place, Row, free_port, percentile, until_answers, write_config, wxbridge

ROUNDS = 100
WARM_UP = 10
GOAL = 50.0
PEOPLE = ("主人", "张三", "李四", "王五")
COMMANDS = {"whoami": "asks nobody", "alerts": "asks the database what fires", "status": "asks it for counts too"}
"""What is asked, and what it takes to answer."""
_ROOM, _GRAFANA = "room: 技术讨论群", "grafana:"


async def measure(place: Place) -> list[Row]:
    from wxbridge.simulator import Simulator

    replies: asyncio.Queue[float] = asyncio.Queue()

    def note(message: Any) -> None:
        if message.room_id:
            replies.put_nowait(time.perf_counter())

    async with Simulator(token=TOKEN, auto_scan=True, on_message=note) as simulator:
        port = free_port()
        process = await place.spawn(*wxbridge("run", "-c", str(_config(place, port, simulator.endpoint))))
        await until_answers(process, port, "/readyz?channels=all", limit=20)
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for number in range(WARM_UP + ROUNDS):
            for name, taken in times.items():
                began = time.perf_counter()
                # The number makes no two the same: who repeats himself is left alone.
                simulator.world.say(f"/{name} {number}", room="技术讨论群", talker=PEOPLE[number % len(PEOPLE)])
                taken.append((await asyncio.wait_for(replies.get(), 10) - began) * 1000)
                await asyncio.sleep(PAUSE)
    return [
        Row(f"chat: `{name}` → its answer at the gateway", taken[WARM_UP:], limit=GOAL, digits=2,
            note=f"p95 {percentile(taken[WARM_UP:], 0.95):.2f}; {COMMANDS[name]}")
        for name, taken in times.items()
    ]  # fmt: skip


def _config(place: Place, port: int, gateway: str) -> Path:
    path = write_config(place.path, port=port, gateway=gateway)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    # Nobody else is asked: how long a monitor takes to answer, or not to, is not ours.
    text = "".join(line for line in lines if not line.startswith(_GRAFANA)).replace(
        _ROOM, f"{_ROOM}, commands: true", 1
    )
    path.write_text(f"{text}chat: {{rate: 100000/min}}\n", encoding="utf-8")
    return path
