from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from wxbridge.channels import ChannelContext
from wxbridge.channels.wechat.channel import WechatChannel, WechatTiming
from wxbridge.channels.wechat.settings import WechatSettings, WechatTarget
from wxbridge.core.database import Database
from wxbridge.core.model import ChannelState, ChannelStatus, Inbound
from wxbridge.simulator import Simulator

T = TypeVar("T")

FAST = WechatTiming(
    deadline=2.0,
    ding_interval=0.2,
    ding_answer=1.0,
    backoff=0.02,
    backoff_most=0.1,
    patience=0.1,
    unauthorised=0.1,
    ended=0.05,
    takeover=0.6,
    takeover_probe=0.05,
    resync=60,
    settle=0.3,
    code=0.4,
)


class Bench:
    """A channel under test with all that it says; `until` waits for a condition, never for a time."""

    def __init__(self, channel: WechatChannel, sim: Simulator, database: Database, told: list[str]) -> None:
        self.channel, self.sim, self.database, self.told = channel, sim, database, told
        self.statuses: list[ChannelStatus] = []
        self.inbox: list[Inbound] = []
        self.handler: Callable[[Inbound], Awaitable[None]] | None = None
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def states(self) -> list[ChannelState]:
        return [status.state for status in self.statuses]

    def start(self) -> None:
        self.task = asyncio.create_task(self.channel.run(self._inbound, self._status))

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            async with asyncio.timeout(2):
                await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def _inbound(self, inbound: Inbound) -> None:
        self.inbox.append(inbound)
        self.changed.set()
        if self.handler is not None:
            await self.handler(inbound)

    def _status(self, status: ChannelStatus) -> None:
        self.statuses.append(status)
        self.changed.set()

    async def until(self, predicate: Callable[[], T], timeout: float = 20.0) -> T:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(timeout):
                while not (value := predicate()):
                    self.changed.clear()
                    await self.changed.wait()
                return value
        except TimeoutError:
            raise TimeoutError(f"{self.channel.status} {self.states} {self.told}") from None

    async def state(self, state: ChannelState) -> ChannelStatus:
        await self.until(lambda: self.channel.status.state is state)
        return self.channel.status

    async def online(self) -> None:
        """Start, scan, and wait until names can be found."""
        self.start()
        await self.state(ChannelState.WAITING_FOR_SCAN)
        self.sim.scan()
        await self.synced()

    async def synced(self) -> None:
        await self.state(ChannelState.ONLINE)
        await self.until(lambda: self.channel.directory.rooms and self.known())

    def known(self) -> bool:
        session = self.channel._session
        return session is not None and session.rooms_known and session.contacts_known


async def settled(bench: Bench) -> None:
    """Wait until the targets have been looked up and remembered, as of now."""
    await bench.until(lambda: bench.channel._session and bench.channel._session.settled)
    await bench.channel._check_targets()


def topics(bench: Bench) -> set[str]:
    return {place.topic for place in bench.channel.directory.rooms.values()}


def room(name: str) -> WechatTarget:
    return WechatTarget(channel="wechat", room=name)


def contact(name: str) -> WechatTarget:
    return WechatTarget(channel="wechat", contact=name)


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def make(
        sim: Simulator | None = None,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        master: str | None = None,
        targets: dict[str, WechatTarget] | None = None,
        timing: WechatTiming = FAST,
    ) -> AsyncIterator[Bench]:
        own = Simulator() if sim is None else None
        sim = sim or own
        if own is not None:
            await own.start()
        database = Database.open(f"sqlite:///{tmp_path / 'bridge.db'}")
        told: list[str] = []
        bench: Bench

        async def tell(text: str) -> None:
            told.append(text)
            bench.changed.set()

        settings = WechatSettings(endpoint=endpoint or sim.endpoint, token=token or sim.token, master=master)
        context = ChannelContext(settings, tmp_path, database, targets or {}, tell)
        bench = Bench(WechatChannel(context, timing), sim, database, told)
        unwatch = sim.watch(lambda _: bench.changed.set())
        generation = _poke(bench)
        try:
            yield bench
        finally:
            generation.cancel()
            unwatch()
            await bench.stop()
            database.close()
            if own is not None:
                await own.stop()

    return make


def _poke(bench: Bench) -> asyncio.Task[None]:
    # The directory has no listeners: conditions on it are looked at again now and then.
    async def poke() -> None:
        while True:
            await asyncio.sleep(0.02)
            bench.changed.set()

    return asyncio.create_task(poke())


@pytest.fixture
async def bench(make_bench: Callable[..., Any]) -> AsyncIterator[Bench]:
    async with make_bench() as made:
        yield made
