from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support import wait_for_change
from wxbridge.channels import ChannelContext
from wxbridge.channels.wechat.channel import WechatChannel
from wxbridge.channels.wechat.identity import Remembered
from wxbridge.channels.wechat.identity_store import IdentityStore
from wxbridge.channels.wechat.settings import WechatSettings, WechatTarget
from wxbridge.channels.wechat.timing import WechatTiming
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.model import ChannelState, ChannelStatus, Inbound
from wxbridge.simulator import Simulator

T = TypeVar("T")

FAST = WechatTiming(
    deadline=10.0,
    ding_interval=0.2,
    ding_answer=5.0,
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
"""Answers have their time, however busy the machine is; all else is soon."""
HURRIED = replace(FAST, deadline=2.0, ding_answer=1.0)
"""For a gateway that hangs, several calls one after the other."""


class WechatHarness:
    """A channel under test with all that it says; `until` waits for a condition, never for a time."""

    def __init__(
        self, channel: WechatChannel, context: ChannelContext, sim: Simulator, database: Database, told: list[str]
    ) -> None:
        self.channel, self.context = channel, context
        self.sim, self.database, self.told = sim, database, told
        self.statuses: list[ChannelStatus] = []
        self.inbox: list[Inbound] = []
        self.handler: Callable[[Inbound], Awaitable[None]] | None = None
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.master_is_deaf = False

    @property
    def states(self) -> list[ChannelState]:
        return [status.state for status in self.statuses]

    def start(self) -> None:
        self.task = asyncio.create_task(self.channel.run(self._inbound, self._status))

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            # The channel's own limits add up to two seconds; a busy machine adds its own.
            async with asyncio.timeout(60):
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

    async def until(self, predicate: Callable[[], T], timeout: float = 60.0) -> T:  # noqa: ASYNC109
        return await wait_for_change(
            self.changed, predicate, seconds=timeout, explain=lambda: f"{self.channel.status} {self.states} {self.told}"
        )

    async def state(self, state: ChannelState) -> ChannelStatus:
        await self.until(lambda: self.channel.status.state is state)
        return self.channel.status

    async def online(self) -> None:
        """Start, scan, and wait until names can be found."""
        self.start()
        await self.state(ChannelState.WAITING_FOR_SCAN)
        self.sim.world.scan()
        await self.synced()

    async def synced(self) -> None:
        await self.state(ChannelState.ONLINE)
        await self.until(lambda: self.channel.directory.rooms and self.known())

    def known(self) -> bool:
        session = self.channel.session
        return session is not None and session.sync.rooms_known and session.sync.contacts_known


async def settled(harness: WechatHarness) -> None:
    """Wait until the targets have been looked up and remembered, as of now."""
    await harness.until(lambda: harness.channel.session and harness.channel.session.sync.settled)
    await harness.channel.check_targets()


async def remembered_of(harness: WechatHarness, chat: str) -> Remembered | None:
    """What a chat was found to be the last time, as the database holds it."""
    store = IdentityStore(harness.database)
    await store.load()
    return store.get(chat)


def topics(harness: WechatHarness) -> set[str]:
    return {place.topic for place in harness.channel.directory.rooms.values()}


def room(name: str) -> WechatTarget:
    return WechatTarget(channel="wechat", room=name)


def contact(name: str) -> WechatTarget:
    return WechatTarget(channel="wechat", contact=name)


@pytest.fixture
def make_harness(tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def make(
        sim: Simulator | None = None,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        master: str | None = None,
        targets: dict[str, WechatTarget] | None = None,
        timing: WechatTiming = FAST,
    ) -> AsyncIterator[WechatHarness]:
        own = Simulator() if sim is None else None
        sim = sim or own
        if own is not None:
            await own.start()
        database = Database.open(f"sqlite:///{tmp_path / 'bridge.db'}")
        told: list[str] = []
        harness: WechatHarness

        async def tell(text: str) -> None:
            if harness.master_is_deaf:
                raise StorageError("nobody can be told")
            told.append(text)
            harness.changed.set()

        settings = WechatSettings(endpoint=endpoint or sim.endpoint, token=token or sim.token, master=master)
        context = ChannelContext(settings, tmp_path, database, targets or {}, tell)
        harness = WechatHarness(WechatChannel(context, timing), context, sim, database, told)
        sim.world.subscribe(lambda _: harness.changed.set())
        generation = _poke(harness)
        try:
            yield harness
        finally:
            generation.cancel()
            await harness.stop()
            database.close()
            if own is not None:
                await own.stop()

    return make


def _poke(harness: WechatHarness) -> asyncio.Task[None]:
    # The directory has no listeners: conditions on it are looked at again now and then.
    async def poke() -> None:
        while True:
            await asyncio.sleep(0.02)
            harness.changed.set()

    return asyncio.create_task(poke())


@pytest.fixture
async def harness(make_harness: Callable[..., Any]) -> AsyncIterator[WechatHarness]:
    async with make_harness() as made:
        yield made
