"""Two bridges on one PostgreSQL under load, whose leader dies: `python -m bench takeover --kills 100 --freezes 20`.

Real processes, a real PostgreSQL of our own, and the gateway that ships with wxbridge. The leader is killed (SIGKILL),
stopped for a minute and continued, cut off from its database while it still reaches WeChat, and PostgreSQL itself is
restarted. Every message is numbered: the account says what was acknowledged, lost, repeated, and out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.common import ROOT, TOKEN, Place, free_port

# The tests are no part of the package: they are found where pytest finds them.
sys.path.insert(0, str(ROOT))

from tests.fakes.postgresql import Cluster, why_missing
from tests.fakes.wire import Wire
from wxbridge.simulator import SimulatedMessage, Simulator

MARK = "(possible repeat)"
POSTERS = 4
PAUSE_SECONDS = 0.15
"""Between two alerts of one poster."""
TAKEOVER_LIMIT_SECONDS = 90.0
DRAIN_SECONDS = 180.0
POST_LIMIT_SECONDS = 6.0
LOOK_SECONDS = 0.1
_NAME = re.compile(r"P(\d+)-(\d+)")

Key = tuple[int, int]
"""The poster, and its number."""


@dataclass
class Account:
    """What was promised, and what arrived."""

    acknowledged: set[Key] = field(default_factory=set)
    arrived: list[tuple[Key, bool, float]] = field(default_factory=list)
    """In the order of arrival: whether it is marked as a possible repeat, and when (monotonic seconds)."""
    slow: list[float] = field(default_factory=list)
    """Seconds of the refusals that took longest."""
    statuses: Counter[int | str] = field(default_factory=Counter)
    takeovers: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds until another leads, by what was done to the leader."""
    first_sends: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds until the next message arrives."""

    @property
    def keys(self) -> set[Key]:
        """What arrived."""
        return {key for key, _, _ in self.arrived}

    def judge(self) -> Verdict:
        """Judge what became of all."""
        seen: Counter[Key] = Counter()
        reached: dict[int, int] = defaultdict(lambda: -1)
        found = Verdict(lost=sorted(self.acknowledged - self.keys))
        for key, marked, _ in self.arrived:
            seen[key] += 1
            if seen[key] > 1:
                found.repeats += 1
                found.unmarked += [] if marked else [key]
                continue
            if key[1] < reached[key[0]]:
                found.disorder.append(key)
            reached[key[0]] = max(reached[key[0]], key[1])
        found.often = [key for key, count in seen.items() if count > 2]
        return found

    def describe(self) -> list[str]:
        """Say it in words."""
        found = self.judge()
        lines = [
            f"acknowledged {len(self.acknowledged)}, arrived {len(self.keys)}, lost {len(found.lost)} {found.lost[:5]}",
            f"repeats {found.repeats}, of them without the mark {len(found.unmarked)} {found.unmarked[:5]}",
            f"messages that came more than twice {len(found.often)} {found.often[:5]}",
            f"out of order {len(found.disorder)} {found.disorder[:5]}",
            f"answers {dict(self.statuses)}; refusals took up to {max(self.slow, default=0.0):.2f} s",
        ]
        for what, seconds in self.takeovers.items():
            sends = self.first_sends[what]
            lines.append(
                f"{what}: {len(seconds)} times, another leads after {_spread(seconds)}, "
                f"the next message arrives after {_spread(sends)}"
            )
        return lines


@dataclass
class Verdict:
    """What broke a promise."""

    lost: list[Key]
    repeats: int = 0
    unmarked: list[Key] = field(default_factory=list)
    disorder: list[Key] = field(default_factory=list)
    often: list[Key] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.unmarked or self.disorder)


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "–"
    return f"{statistics.median(seconds):.1f} s ({min(seconds):.1f}–{max(seconds):.1f})"


class Bridge:
    """One of the two."""

    def __init__(self, directory: Path, name: str, database: str, gateway: str) -> None:
        self.name = name
        self._directory = directory / name
        self._directory.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None
        self.stopped_until = 0.0
        """Until when it was stopped last; monotonic seconds."""
        (self._directory / "jobs.yaml").write_text(
            f"""server: {{listen: "127.0.0.1:{self.port}"}}
database: {database}
wechat: {{endpoint: "{gateway}", token: {TOKEN}, pace: none, greeting: ""}}
targets:
"""
            + "".join(f"  room{number}: {{channel: wechat, room: Room {number}}}\n" for number in range(POSTERS))
            + "routes: [{to: [room0]}]\n"
        )

    async def start(self) -> None:
        """Start its process; `is_ready` tells when it answers."""
        log = (self._directory / "log").open("ab")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wxbridge", "run", "-c", "jobs.yaml", "--log-format", "json",
            cwd=self._directory, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            await self._process.wait()

    def keep_log(self, folder: Path) -> None:
        """Copy its log into a folder."""
        (folder / f"{self.name}.log").write_bytes((self._directory / "log").read_bytes())

    async def read_role(self, session: aiohttp.ClientSession) -> str | None:
        """Its role by `/readyz`; None where it is not ready."""
        try:
            async with session.get(f"{self.url}/readyz", timeout=aiohttp.ClientTimeout(total=2)) as answer:
                told = await answer.json()
                return str(told["role"]) if answer.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None


class World:
    """A cluster, two bridges with a wire each to it, a gateway, and who posts."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.account = Account()
        self._random = random.Random(seed)
        self._directory = directory
        self._over = asyncio.Event()
        self._arrival = asyncio.Event()
        self._session: aiohttp.ClientSession
        self.cluster: Cluster
        self.bridges: list[Bridge] = []
        self.wires: list[Wire] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it for the length of a `with` block."""
        async with AsyncExitStack() as stack:
            self.cluster = await asyncio.to_thread(Cluster, is_durable=True)
            stack.callback(self.cluster.close)
            await asyncio.to_thread(self.cluster.start)
            await asyncio.to_thread(self.cluster.create_database, "bridge")
            rooms = [f"Room {number}" for number in range(POSTERS)]
            simulator = Simulator(token=TOKEN, rooms=rooms, auto_scan=True, on_message=self._take)
            await stack.enter_async_context(simulator)
            self._session = await stack.enter_async_context(aiohttp.ClientSession())
            for name in ("a", "b"):
                wire = await stack.enter_async_context(Wire(self.cluster.port))
                database = self.cluster.url("bridge", port=wire.port)
                bridge = Bridge(self._directory, name, database, simulator.endpoint)
                stack.push_async_callback(bridge.kill)
                self.wires.append(wire)
                self.bridges.append(bridge)
                await bridge.start()
                await self._until(lambda bridge=bridge: self._is_ready(bridge), "a bridge does not start")
            yield

    def _take(self, message: SimulatedMessage) -> None:
        if found := _NAME.search(message.text):
            marked = message.text.startswith(MARK)
            self.account.arrived.append(((int(found[1]), int(found[2])), marked, time.monotonic()))
            self._arrival.set()

    # ------------------------------------------------ the load

    async def load(self) -> None:
        """Post until it is over, then wait until all has arrived."""
        async with asyncio.TaskGroup() as group:
            for poster in range(POSTERS):
                group.create_task(self._post(poster))
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self.account.acknowledged - self.account.keys:
                    self._arrival.clear()
                    await self._arrival.wait()

    async def _post(self, poster: int) -> None:
        number = 0
        while not self._over.is_set():
            body = json.dumps({"title": f"P{poster}-{number}", "state": "alerting", "message": "x" * 200}).encode()
            for turn in range(10_000):
                # One list of addresses: the next where one does not take it.
                if await self._try(self.bridges[(poster + turn) % 2], poster, body):
                    break
                await asyncio.sleep(0.2)
            self.account.acknowledged.add((poster, number))
            number += 1
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * PAUSE_SECONDS)

    async def _try(self, bridge: Bridge, poster: int, body: bytes) -> bool:
        began = time.monotonic()
        try:
            async with self._session.post(
                f"{bridge.url}/hooks/grafana?to=room{poster}", data=body,
                timeout=aiohttp.ClientTimeout(total=POST_LIMIT_SECONDS),
            ) as answer:  # fmt: skip
                await answer.read()
                self.account.statuses[answer.status] += 1
                # One that was stopped answers what came meanwhile once it goes on.
                if answer.status != 202 and began > bridge.stopped_until:
                    self.account.slow.append(time.monotonic() - began)
                return answer.status == 202
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.account.statuses[type(error).__name__] += 1
            return False

    # ------------------------------------------------ what is done to the leader

    async def strike(self, kills: int, freezes: int, cuts: int, restarts: int, frozen: float) -> None:
        """Do it all, one after the other, in an order that chance decides."""
        acts: list[Callable[[], Awaitable[None]]] = [
            *[self._kill] * kills, *[lambda: self._freeze(frozen)] * freezes, *[self._cut] * cuts,
            *[self._restart] * restarts,
        ]  # fmt: skip
        self._random.shuffle(acts)
        try:
            for number, act in enumerate(acts, 1):
                await asyncio.sleep(self._random.uniform(0.2, 2.0))
                await act()
                told = f"  {number} of {len(acts)}: {len(self.account.acknowledged)} acknowledged"
                print(told, file=sys.stderr, flush=True)
        finally:
            self._over.set()

    async def _kill(self) -> None:
        leader, other = await self._find_leader()
        leader.signal(signal.SIGKILL)
        await self._note_takeover("killed", other)
        await leader.kill()
        await leader.start()
        await self._until(lambda: self._is_ready(leader), "the killed bridge does not come back")

    async def _freeze(self, seconds: float) -> None:
        leader, other = await self._find_leader()
        leader.signal(signal.SIGSTOP)
        until = time.monotonic() + seconds
        try:
            await self._note_takeover("frozen", other)
            await asyncio.sleep(max(0.0, until - time.monotonic()))
        finally:
            leader.signal(signal.SIGCONT)
            leader.stopped_until = time.monotonic()
        await self._until(lambda: self._is_ready(leader), "the frozen bridge does not come back")

    async def _cut(self) -> None:
        leader, other = await self._find_leader()
        wire = self.wires[self.bridges.index(leader)]
        wire.cut()
        try:
            await self._note_takeover("cut off", other)
            await asyncio.sleep(self._random.uniform(0, 10))
        finally:
            wire.mend()
        await self._until(lambda: self._is_ready(leader), "the bridge that was cut off does not come back")

    async def _restart(self) -> None:
        began = time.monotonic()
        how = self._random.choice((signal.SIGINT, signal.SIGQUIT))
        await asyncio.to_thread(self.cluster.stop, how)
        await asyncio.sleep(self._random.uniform(0, 5))
        await asyncio.to_thread(self.cluster.start)
        await self._note_takeover("PostgreSQL restarted", None, began)

    async def _note_takeover(self, what: str, other: Bridge | None, began: float | None = None) -> None:
        """Wait until the other leads, or any, and until something arrives."""
        began = time.monotonic() if began is None else began

        async def leads() -> bool:
            some = self.bridges if other is None else [other]
            return "leader" in [await bridge.read_role(self._session) for bridge in some]

        await self._until(leads, "nobody takes over")
        led = time.monotonic()
        self.account.takeovers[what].append(led - began)
        self._arrival.clear()
        await asyncio.wait_for(self._arrival.wait(), TAKEOVER_LIMIT_SECONDS)
        self.account.first_sends[what].append(time.monotonic() - began)

    async def _find_leader(self) -> tuple[Bridge, Bridge]:
        found: list[Bridge] = []

        async def one_leads() -> bool:
            roles = [await bridge.read_role(self._session) for bridge in self.bridges]
            found[:] = [bridge for bridge, role in zip(self.bridges, roles, strict=True) if role == "leader"]
            return sorted(map(str, roles)) == ["leader", "standby"]

        await self._until(one_leads, "there is not one leader and one that stands by")
        return found[0], next(bridge for bridge in self.bridges if bridge is not found[0])

    async def _is_ready(self, bridge: Bridge) -> bool:
        return await bridge.read_role(self._session) is not None

    async def _until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        last = time.monotonic() + TAKEOVER_LIMIT_SECONDS
        while not await condition():
            if time.monotonic() > last:
                raise RuntimeError(what)
            await asyncio.sleep(LOOK_SECONDS)


async def measure(directory: Path, arguments: argparse.Namespace) -> Account:
    """Run one world to its end; gives the account, also where it got stuck."""
    world = World(directory, arguments.seed)
    async with world.running():
        loading = asyncio.create_task(world.load())
        try:
            await world.strike(arguments.kills, arguments.freezes, arguments.cuts, arguments.restarts, arguments.frozen)
        except Exception as error:  # noqa: BLE001 - the account says what was kept until then
            print(f"stopped: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        await loading
        if arguments.keep:
            for bridge in world.bridges:
                bridge.keep_log(Path(arguments.keep))
    return world.account


def main(arguments: list[str]) -> int:
    """Measure; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="bench takeover", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--freezes", type=int, default=2)
    parser.add_argument("--cuts", type=int, default=2)
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--frozen", type=float, default=60.0, help="seconds of a freeze (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--keep", help="a folder for the bridges' logs")
    parsed = parser.parse_args(arguments)
    if reason := why_missing():
        sys.exit(reason)
    print(f"seed {parsed.seed}", file=sys.stderr, flush=True)

    async def run() -> Account:
        async with Place() as place:
            return await measure(place.path, parsed)

    account = asyncio.run(run())
    print("\n".join(account.describe()))
    return 0 if account.judge().is_clean else 1
