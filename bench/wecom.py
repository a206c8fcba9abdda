"""1,000 messages through `wecom_app`: one token, and an application that stalls keeps no other waiting.

The fake WeCom runs in a process of its own (`python -m bench.wecom PORT`), the bridge in this one. Two applications
share the channel; the second takes connections and never answers a message.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from aiohttp import web

from bench.common import POLL, Place, Row, free_port, percentile, until_answers
from tests.fakes.wecom import Arrived, FakeWecom
from wxbridge import app, registry
from wxbridge.config.schema import load
from wxbridge.core import logging
from wxbridge.core.model import Notification, Text

MESSAGES = 1000
TARGETS = 40
STUCK = 10
"""Targets of the application that stalls."""
LIMIT = 60.0
"""Seconds for all messages of one run."""
GOAL = 10.0
"""Seconds."""
COUNTS = "/counts"


class Counting(FakeWecom):
    """A fake that tells what arrived, and stalls the application with the secret `stuck` once it has its token."""

    def routes(self) -> list[web.AbstractRouteDef]:
        """The service's, and one that tells."""
        return [*super().routes(), web.get(COUNTS, self._counts)]

    async def _counts(self, _: web.Request) -> web.Response:
        quick = [message for message in self.messages if message.sender == "1"]
        return web.json_response(
            {
                "quick": len(quick),
                "in order": _in_order(quick),
                "tokens": self.applications[0].tokens,
                "stalling": self.stalling,
                "dropped": sum(len(message.dropped) for message in self.messages),
            }
        )

    async def stall_the_second(self) -> None:
        """Wait for its token, then answer it nothing."""
        while not self.applications[1].token:  # noqa: ASYNC110 - the fake tells nobody
            await asyncio.sleep(POLL)
        self.stall(10**6, who=self.applications[1].token)


def _in_order(messages: Sequence[Arrived]) -> bool:
    """Whether each member got theirs in the order in which they were put in."""
    last: dict[tuple[str, ...], int] = {}
    for message in messages:
        number = int(message.content)
        if number < last.get(message.to, -1):
            return False
        last[message.to] = number
    return True


async def serve(port: int) -> None:
    """Be the fake, until killed."""
    wecom = Counting(port=port)
    members = [f"u{index}" for index in range(TARGETS + STUCK)]
    wecom.add_application("corp", "quick", 1, members)
    wecom.add_application("corp", "stuck", 2, members)
    async with wecom:
        await wecom.stall_the_second()
        await asyncio.Event().wait()


async def measure(place: Place) -> list[Row]:
    """Seconds until the first application's 1,000 messages have arrived: alone, and beside one that stalls."""
    rows = []
    for name, stuck in (("alone", 0), ("beside one that stalls", STUCK)):
        port = free_port()
        process = await place.spawn(sys.executable, "-m", "bench.wecom", str(port))
        await until_answers(process, port, COUNTS, limit=20)
        seconds, lags, counts = await _run(place.path / f"wecom-{stuck}", f"http://127.0.0.1:{port}", stuck)
        await place.stop(process)
        order = "in order" if counts["in order"] else "NOT IN ORDER"
        note = (
            f"{counts['quick']} arrived, {order}; dropped by quota: {counts['dropped']}; the other has "
            f"{counts['stalling']} under way; put to sent median {percentile(lags, 0.5):.2f} s, "
            f"95th {percentile(lags, 0.95):.2f} s"
        )
        rows.append(Row(f"wecom_app: {MESSAGES:,} messages, {name}", [seconds], "s", GOAL, note=note, digits=2))
        rows.append(Row(f"wecom_app: tokens fetched, {name}", [counts["tokens"]], "", 2, note="one is meant", digits=0))
    return rows


async def _run(directory: Path, url: str, stuck: int) -> tuple[float, list[float], dict[str, int]]:
    logging.configure("auto", "error")
    config = load(_write(directory, url, stuck), registry.plugin_settings(), {})
    async with app.running(config) as bridge, aiohttp.ClientSession() as session:
        # The application that stalls goes first, so that its messages are under way before the others'.
        await bridge.outbox.put(
            [Notification("bench", f"stuck{n}", (Text("x"),)) for n in range(stuck) for _ in range(5)]
        )
        if stuck:
            await _until(session, url, "stalling", stuck)
        began = time.perf_counter()
        names = [f"quick{n % TARGETS}" for n in range(MESSAGES)]
        await bridge.outbox.put([Notification("bench", name, (Text(str(n)),)) for n, name in enumerate(names)])
        counts = await _until(session, url, "quick", MESSAGES)
        seconds = time.perf_counter() - began
        lags = await bridge.database.read(
            lambda c: [
                row[0]
                for row in c.exec_driver_sql(
                    "SELECT settled_at - created_at FROM messages WHERE state = 'sent' AND target LIKE 'quick%'"
                )
            ]
        )
    return seconds, lags, counts


async def _until(session: aiohttp.ClientSession, url: str, name: str, enough: int) -> dict[str, int]:
    """Wait until there are so many; gives all that is counted.

    Raises:
        TimeoutError: there are not within the limit.
    """
    async with asyncio.timeout(LIMIT):
        while True:
            async with session.get(url + COUNTS) as response:
                counts: dict[str, int] = await response.json()
            if counts[name] >= enough:
                return counts
            await asyncio.sleep(POLL)


def _write(directory: Path, url: str, stuck: int) -> Path:
    targets = [
        f"  {name}{n}: {{channel: wecom_app, secret: {name}, agent_id: {agent}, to: u{n}, digest_after: 1h}}"
        for name, agent, count in (("quick", 1, TARGETS), ("stuck", 2, stuck))
        for n in range(count)
    ]
    directory.mkdir()
    path = directory / "jobs.yaml"
    path.write_text(
        f"state_dir: {directory / 'state'}\nserver: {{listen: '127.0.0.1:0'}}\n"
        f"wecom: {{corp_id: corp, base_url: '{url}'}}\ntargets:\n" + "\n".join(targets) + "\n",
        encoding="utf-8",
    )
    return path


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
