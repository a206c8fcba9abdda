"""A bridge under load that is killed again and again, and the account of what became of every message.

Also run by `bench/crash.py`.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import re
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from wxbridge.simulator import SimulatedMessage, Simulator

from .bridge_harness import WAIT, BridgeHarness, BridgeProcess, Launcher

MARK = "(possible repeat)"
TARGETS = ("ops", "duty", "boss")
POSTERS = 2
"""For each target; each posts its alerts one after another, as a monitor does."""
PICTURE_EVERY = 5
BACKLOG = 25
"""How many acknowledged messages of one poster may be on their way: a load, but not a flood that takes hours."""
_NAME = re.compile(r"P(\d+)-(\d+)")

Key = tuple[str, int, int]
"""`text` or `picture`, the poster, the number."""


@dataclass
class Account:
    """What was promised, what arrived, and what was being sent whenever the bridge was killed."""

    acknowledged: list[Key] = field(default_factory=list)
    arrived: list[tuple[Key, bool]] = field(default_factory=list)
    """In the order of arrival; True for those that carry the mark of a possible repeat."""
    counts: Counter[Key] = field(default_factory=Counter)
    under_way: Counter[Key] = field(default_factory=Counter)
    """How many kills found it being sent."""
    waiting: dict[int, set[Key]] = field(default_factory=lambda: defaultdict(set))
    """By poster: promised and not arrived."""
    kills: Counter[str] = field(default_factory=Counter)
    """By the moment of the kill."""

    def acknowledge(self, key: Key) -> None:
        self.acknowledged.append(key)
        # The gateway may have it before the poster has its answer.
        if key not in self.counts:
            self.waiting[key[1]].add(key)

    def arrive(self, key: Key, *, marked: bool) -> None:
        self.waiting[key[1]].discard(key)
        self.arrived.append((key, marked))
        self.counts[key] += 1

    @property
    def repeats(self) -> int:
        return sum(count - 1 for count in self.counts.values())

    def faults(self) -> list[str]:
        """Everything that breaks a promise, in words."""
        found = [f"{key} was acknowledged and never arrived" for key in self.acknowledged if key not in self.counts]
        found += [
            f"{key} arrived {count} times, though only {self.under_way[key]} kills found it being sent"
            for key, count in self.counts.items()
            if count > 1 + self.under_way[key]
        ]
        seen: set[Key] = set()
        reached: dict[int, int] = defaultdict(lambda: -1)
        for key, marked in self.arrived:
            kind, poster, number = key
            if marked and not self.under_way[key]:
                found.append(f"{key} was marked as a possible repeat, and no kill found it being sent")
            if key in seen:
                if kind == "text" and not marked:
                    found.append(f"{key} was repeated without the mark")
                continue
            seen.add(key)
            if kind == "text":
                if number != reached[poster] + 1:
                    found.append(f"{key} came after number {reached[poster]}")
                reached[poster] = number
            elif ("text", poster, number) not in seen:
                found.append(f"{key} came before its text")
        return found

    def summary(self) -> str:
        return (
            f"{self.kills.total()} kills ({', '.join(f'{count} {name}' for name, count in self.kills.items())}), "
            f"{len(self.acknowledged)} messages acknowledged, {len(self.arrived)} arrived, {self.repeats} of them "
            f"repeats; {self.under_way.total()} were found being sent at a kill"
        )


class Crashes:
    """One simulator, one state directory, and a bridge that is killed; `run` gives the account."""

    def __init__(self, directory: Path, launcher: Launcher, rng: random.Random) -> None:
        self.account = Account()
        self._rng = rng
        self._simulator = Simulator(auto_scan=True, on_message=self._take)
        self._harness = BridgeHarness(self._simulator, directory, launcher=launcher)
        self._up = asyncio.Event()
        self._over = asyncio.Event()
        self._news = asyncio.Condition()
        self._told: set[asyncio.Task[None]] = set()
        self._on_arrival: Callable[[], None] = lambda: None
        self._on_acknowledgement: Callable[[], None] = lambda: None
        self._pictures: dict[str, Key] = {}
        self._sizes: dict[tuple[int, int], Key] = {}
        self._next: Counter[int] = Counter()

    async def run(self, kills: int) -> Account:
        """Post, kill `kills` times, then let everything arrive."""
        async with self._simulator, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * WAIT)) as session:
            # Only now is it known where the gateway listens.
            bridge = self._harness.process(
                "jobs: []\npictures: {alerts: {storm: 1000/s}}",
                wechat='pace: none\n  greeting: ""',
                targets="duty: {channel: wechat, room: 运维值班}",
            )
            try:
                async with asyncio.TaskGroup() as group:
                    for poster in range(len(TARGETS) * POSTERS):
                        group.create_task(self._post(session, bridge, poster))
                    for _ in range(kills):
                        await self._live_and_die(bridge)
                    await self._start(bridge)
                    self._over.set()
                    await self._tell()
                await self._until(lambda: not any(self.account.waiting.values()))
                await self._until(lambda: len(self.account.counts) >= len(set(self.account.acknowledged)))
            finally:
                await bridge.kill()
        return self.account

    # -------------------------------------------------------- the load

    async def _post(self, session: aiohttp.ClientSession, bridge: BridgeProcess, poster: int) -> None:
        target = TARGETS[poster % len(TARGETS)]
        number = 0
        while not self._over.is_set():
            await self._until(lambda: len(self.account.waiting[poster]) < BACKLOG or self._over.is_set(), limit=None)
            keys: list[Key] = [("text", poster, number)]
            alert: dict[str, Any] = {"title": f"P{poster}-{number}", "state": "alerting", "message": "x" * 200}
            if number % PICTURE_EVERY == 0:
                keys.append(("picture", poster, number))
                alert["imageUrl"] = self._picture(keys[1])
            body = json.dumps(alert).encode()
            while not await self._try(session, bridge, target, body):
                self._up.clear()
                await self._up.wait()
            for key in keys:
                self.account.acknowledge(key)
            self._on_acknowledgement()
            await self._tell()
            number += 1

    async def _try(self, session: aiohttp.ClientSession, bridge: BridgeProcess, target: str, body: bytes) -> bool:
        await self._up.wait()
        try:
            async with session.post(f"{bridge.url}/hooks/grafana?to={target}", data=body) as answer:
                assert answer.status == 202, await answer.text()
                await answer.read()
        except (aiohttp.ClientError, OSError):
            return False
        return True

    def _picture(self, key: Key) -> str:
        """A picture that is like no other: its size is its number."""
        count = len(self._sizes)
        size = (count % 1000 + 2, count // 1000 + 1)
        out = io.BytesIO()
        image = Image.new("L", size)
        image.putpixel((0, 0), 255)  # one of a single colour is no picture
        image.save(out, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
        self._sizes[size] = self._pictures[url] = key
        return url

    def _take(self, message: SimulatedMessage) -> None:
        if message.media:
            self.account.arrive(self._sizes[message.media.width, message.media.height], marked=False)
        else:
            found = _NAME.search(message.text)
            assert found, message.text
            self.account.arrive(("text", int(found[1]), int(found[2])), marked=message.text.startswith(MARK))
        self._on_arrival()
        task = asyncio.create_task(self._tell())
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _until(self, condition: Callable[[], bool], limit: float | None = 4 * WAIT) -> None:
        try:
            async with asyncio.timeout(limit), self._news:
                await self._news.wait_for(condition)
        except TimeoutError:
            account, last = self.account, self._harness.processes[-1].logs[-20:]
            raise AssertionError(
                f"stuck: {account.summary()}; waiting {account.waiting}; {account.faults()[:5]}\n"
                + "\n".join(map(str, last))
            ) from None

    # -------------------------------------------------------- the deaths

    async def _start(self, bridge: BridgeProcess) -> None:
        await bridge.start()
        self._up.set()

    async def _live_and_die(self, bridge: BridgeProcess) -> None:
        """One life, ended at a random moment: while starting, at an answer, in the middle of a send, or just so."""
        moment = self._rng.choices(("starting", "answering", "sending", "any"), (2, 3, 4, 3))[0]
        dead = asyncio.Event()

        def strike() -> None:
            if not dead.is_set():
                bridge.strike()
                dead.set()

        if moment == "starting":
            await bridge.spawn()
            await asyncio.sleep(self._rng.uniform(0, 0.15))  # a random moment is what this is about
            strike()
        else:
            await self._start(bridge)
            if moment == "any":
                await asyncio.sleep(self._rng.uniform(0, 0.3))
                strike()
            else:
                left = self._rng.randint(1, 60 if moment == "answering" else 40)

                def count() -> None:
                    nonlocal left
                    left -= 1
                    if left <= 0:
                        strike()

                if moment == "answering":
                    self._on_acknowledgement = count
                else:
                    self._on_arrival = count
                with suppress(TimeoutError):
                    await asyncio.wait_for(dead.wait(), WAIT)
                self._on_acknowledgement = self._on_arrival = lambda: None
                assert dead.is_set(), f"nothing happens: {bridge.logs[-20:]}"
        self._up.clear()
        await bridge.kill()
        self.account.kills[moment] += 1
        self.account.under_way.update(self._being_sent())

    def _being_sent(self) -> list[Key]:
        """What the database says was being sent. Read from a copy: to open it would do the next start's work."""
        state = self._harness.directory / "state"
        with tempfile.TemporaryDirectory() as name:
            for part in ("wxbridge.db", "wxbridge.db-wal"):
                with suppress(FileNotFoundError):
                    shutil.copy(state / part, name)
            with closing(sqlite3.connect(Path(name) / "wxbridge.db")) as database:
                try:
                    rows = database.execute(
                        "SELECT text, picture_spec FROM messages WHERE state = 'sending'"
                    ).fetchall()
                except sqlite3.OperationalError:
                    return []  # killed before there was a table
        keys: list[Key] = []
        for text, spec in rows:
            if found := _NAME.search(text or ""):
                keys.append(("text", int(found[1]), int(found[2])))
            else:
                [way] = json.loads(spec)["params"]["tries"]
                keys.append(self._pictures[way["params"]["url"]])
        return keys


async def crash(directory: Path, launcher: Launcher, *, kills: int, worlds: int, seed: int) -> list[Account]:
    """Kill bridges in several worlds at the same time; gives their accounts."""
    async with asyncio.TaskGroup() as group:
        tasks = []
        for index in range(worlds):
            place = directory / f"world-{index}"
            place.mkdir()
            share = kills // worlds + (index < kills % worlds)
            tasks.append(group.create_task(Crashes(place, launcher, random.Random(f"{seed}-{index}")).run(share)))
    return [task.result() for task in tasks]
