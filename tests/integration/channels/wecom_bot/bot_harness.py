"""What the tests of the wecom_bot channel work with: a server on a real socket, a bot, and all that it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest_asyncio

from tests.fakes.postgresql import database_url
from tests.fakes.wecom_bot import WecomBotServer
from tests.support import wait_for_change
from wxbridge.channels import ChannelContext
from wxbridge.channels.wecom_bot.channel import WecomBotChannel
from wxbridge.channels.wecom_bot.connection import BotTiming
from wxbridge.channels.wecom_bot.settings import BotSettings, WecomBotTarget
from wxbridge.core.database import Database
from wxbridge.core.model import ChannelState, ChannelStatus, Inbound, PictureFile

T = TypeVar("T")

GROUP = "wrGROUP"
USER = "zhangsan"

FAST = BotTiming(
    connect=2.0,
    answer=2.0,
    upload=2.0,
    upload_pause=0.01,
    ping=60.0,
    pong=2.0,
    backoff=0.02,
    backoff_most=0.1,
    steady=60.0,
    unauthorised=0.1,
    takeover=60.0,
    takeover_most=60.0,
    close=0.2,
)


def target(chat: str = GROUP, bot: str = "main", **more: Any) -> WecomBotTarget:
    return WecomBotTarget(bot=bot, chat=chat, **more)


class BotHarness:
    """`until` waits for a condition, never for a time."""

    def __init__(self, server: WecomBotServer, database: Database, tmp_path: Path) -> None:
        self.server, self.database, self.tmp_path = server, database, tmp_path
        self.statuses: list[ChannelStatus] = []
        self.inbox: list[Inbound] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.told: list[str] = []

    def make(self, timing: BotTiming = FAST, **settings: Any) -> WecomBotChannel:
        self.channel = WecomBotChannel(self.context(**settings), timing)
        return self.channel

    def context(self, **settings: Any) -> ChannelContext:
        bot = {"bot_id": "bot-1", "secret": "secret-1", "ws_url": self.server.url} | settings
        return ChannelContext(
            settings=BotSettings.model_validate(bot),
            state_dir=self.tmp_path,
            database=self.database,
            targets={"ops": target()},
            tell_master=self._tell,
            lane="wecom_bot:main",
        )

    async def _tell(self, line: str) -> None:
        self.told.append(line)

    async def _inbound(self, inbound: Inbound) -> None:
        self.inbox.append(inbound)
        self.server.changed.set()

    def _status(self, status: ChannelStatus) -> None:
        self.statuses.append(status)
        self.server.changed.set()

    @property
    def states(self) -> list[ChannelState]:
        return [status.state for status in self.statuses]

    @property
    def texts(self) -> list[str]:
        return [sent.text for sent in self.server.sent]

    def start(self) -> None:
        self.tasks.append(asyncio.create_task(self.channel.run(self._inbound, self._status)))

    async def online(self, timing: BotTiming = FAST, **settings: Any) -> WecomBotChannel:
        self.server.chats |= {GROUP, USER}
        channel = self.make(timing, **settings)
        self.start()
        await self.state(ChannelState.ONLINE)
        return channel

    async def stop(self) -> None:
        self.server.thaw()
        for task in self.tasks:
            task.cancel()
        async with asyncio.timeout(60):
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def state(self, state: ChannelState) -> ChannelStatus:
        await self.until(lambda: self.channel.status.state is state)
        return self.channel.status

    async def until(self, predicate: Callable[[], T], timeout: float = 20.0) -> T:  # noqa: ASYNC109
        return await wait_for_change(
            self.server.changed, predicate, seconds=timeout,
            explain=lambda: f"{self.channel.status} {self.states} {self.server.frames}",
        )  # fmt: skip

    def picture(self, data: bytes, name: str = "panel.png") -> PictureFile:
        path = self.tmp_path / name
        path.write_bytes(data)
        return PictureFile(str(path), name, "image/png", len(data))


@pytest_asyncio.fixture(name="bot")
async def bot_fixture(tmp_path: Path):
    database = Database.open(database_url(tmp_path))
    async with WecomBotServer() as server:
        harness = BotHarness(server, database, tmp_path)
        yield harness
        await harness.stop()
    database.close()
