"""The console: the first byte of a timeline of 100,000 messages, and what ten open pages cost a bridge at rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
import sqlalchemy as sa

from bench.common import Place, Process, Row, free_port, start_simulator, until_answers, write_config, wxbridge
from wxbridge.core.audit import AuditAction, AuditDoor
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.model import Notification, Received, Text
from wxbridge.core.schema import audit, messages
from wxbridge.delivery.outbox import Outbox

MESSAGES = 100_000
_AT_ONCE = 2_000
RUNS = 15
GOAL = 50.0
"""Milliseconds to the first byte."""
READERS = 10
REST = 15.0
"""Seconds in which ten pages are open."""
GOAL_CPU = 2.0
"""Percent of a core."""
ASKED = {
    "the newest": "/",
    "far back": f"/?after={MESSAGES // 2}-{MESSAGES // 2}",
    "of one target": "/?target=boss",
    "what failed": "/?state=dead",
    "a text that is rare": "/?text=needle",
    "a text that is nowhere": "/?text=nowhere",
    "the audit log": "/console/audit",
    "the audit log, of one name and action": "/console/audit?by=name-9&action=muted",
    "the audit log, far back": f"/console/audit?after={MESSAGES // 2}",
}
"""What is asked for, by its name in the table."""


async def measure(place: Place) -> list[Row]:
    gateway, port = await start_simulator(place), free_port()
    config = write_config(place.path, port=port, gateway=gateway, state="console")
    await asyncio.to_thread(fill, place.path / "console")
    process = await place.spawn(*wxbridge("run", "-c", str(config)))
    await until_answers(process, port, "/readyz?channels=all", limit=20)
    rows = []
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(headers={"Accept": "text/html"}) as session:
        await _first_byte(session, url + "/console/jobs")  # templates are compiled when first needed
        for name, path in ASKED.items():
            found = [1000 * await _first_byte(session, url + path) for _ in range(RUNS)]
            rows.append(Row(f"console: {name}, of {MESSAGES:,}", found, "ms", GOAL))
        idle = await _cpu(process)
        async with AsyncExitStack() as stack:
            for _ in range(READERS):
                await stack.enter_async_context(session.get(url + "/console/events"))
            busy = await _cpu(process)
    rows.append(
        Row(f"console: CPU of {READERS} open pages at rest", [busy - idle], "%", GOAL_CPU, digits=2,
            note=f"of a core; the bridge alone {idle:.2f} %, over {REST:g} s each")
    )  # fmt: skip
    return rows


async def _first_byte(session: aiohttp.ClientSession, url: str) -> float:
    """Seconds until the answer begins; the whole of it is read."""
    began = time.perf_counter()
    async with session.get(url) as answer:
        took = time.perf_counter() - began
        text = await answer.text()
        assert answer.status == 200, text[:200]
    return took


async def _cpu(process: Process) -> float:
    before = process.cpu()
    await asyncio.sleep(REST)
    return 100 * (process.cpu() - before) / REST


def fill(directory: Path) -> None:
    """Put into a database what came in over weeks: 100,000 messages, sent, a few of them in vain."""
    database = Database.open(sqlite_url(directory))
    now = time.time()
    try:
        for start in range(0, MESSAGES, _AT_ONCE):
            asyncio.run(_put(database, range(start, start + _AT_ONCE), now))
            asyncio.run(database.run(partial(_audit, numbers=range(start, start + _AT_ONCE), now=now)))
    finally:
        database.close()


def _audit(connection: sa.Connection, numbers: Sequence[int], now: float) -> None:
    """Have people done something as often: most of it by a few, and most of it the same."""
    actions = (*[AuditAction.RAN] * 7, AuditAction.SILENCED, AuditAction.DROPPED, AuditAction.MUTED)
    connection.execute(sa.insert(audit), [
        {"at": now - 10 * (MESSAGES - number), "by": f"name-{number % 40}", "action": actions[number % len(actions)],
         "what": f'alertname="Alert{number % 50}", instance="kafka-{number % 9}:9100"', "via": AuditDoor.CONSOLE}
        for number in numbers
    ])  # fmt: skip


async def _put(database: Database, numbers: Sequence[int], now: float) -> None:
    at = now - 10 * (MESSAGES - numbers[0])
    outbox = Outbox(database, clock=lambda: at)
    by = [{"route": "routes[1]", "matches": ['severity="critical"']}]
    routed = [{"target": "ops", "alerts": 1, "told": 1, "by": by}]
    await asyncio.gather(
        *(
            outbox.put([_item(number)], received=Received("alertmanager", f"Alert{number % 50}", 1, routed))
            for number in numbers
        )
    )

    def settle(connection: sa.Connection) -> None:
        mine = messages.c.created_at == at
        connection.execute(sa.update(messages).where(mine).values(state="sent", tries=1, settled_at=at + 1))
        dead = mine & (messages.c.id % 1000 == 0)
        connection.execute(sa.update(messages).where(dead).values(state="dead", error="the room is gone"))

    await database.run(settle)


def _item(number: int) -> Notification:
    words = "needle" if number % 20_000 == MESSAGES // 200 else "hay"
    text = f"🔥 Alert{number % 50}\nthe disk of kafka-{number % 9} has {number % 97} % left, {words}\nsince 03:12"
    return Notification("alertmanager", "boss" if number % 10 == 0 else "ops", (Text(text),))
