"""What the tests of the ilink channel work with: a pretend iLink on a real socket, a person's channel, and a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.fakes.postgresql import database_url
from tests.support import wait_until
from wxbridge.channels import ChannelContext
from wxbridge.channels.ilink.channel import IlinkChannel, IlinkTiming
from wxbridge.channels.ilink.settings import IlinkSettings, IlinkTarget
from wxbridge.core.database import Database
from wxbridge.core.model import ChannelState, Inbound, PictureFile, Receipt, Text
from wxbridge.simulator.ilink.server import IlinkServer

T = TypeVar("T")

FAST = IlinkTiming(poll=0.05, backoff=0.02, backoff_most=0.1)
PERSON = "张三"
TARGET = IlinkTarget(channel="ilink", person=PERSON)


class IlinkHarness:
    """`until` waits for a condition, never for a time. The service's clock is the channel's too."""

    def __init__(self, server: IlinkServer, directory: Path) -> None:
        self.server, self.directory = server, directory
        self.state = server.state
        self.database = Database.open(database_url(directory))
        self.heard: list[Inbound] = []
        self.codes: list[str] = []
        self.task: asyncio.Task[None] | None = None
        self.channel: IlinkChannel

    def context(self, **settings: Any) -> ChannelContext:
        given = {"people": [PERSON, "李四"], "url": self.server.url, "cdn": self.server.cdn, "pace": "none"} | settings
        return ChannelContext(
            settings=IlinkSettings.model_validate(given),
            state_dir=self.directory,
            database=self.database,
            targets={"zhang": TARGET},
            tell_master=_tell,
            lane=f"ilink:{PERSON}",
        )

    def start(self, **settings: Any) -> IlinkChannel:
        self.channel = IlinkChannel(self.context(**settings), FAST, clock=self.state.now, monotonic=self.state.now)

        async def hear(inbound: Inbound) -> None:
            self.heard.append(inbound)

        self.task = asyncio.create_task(
            self.channel.run(hear, lambda status: self.codes.append(status.qrcode) if status.qrcode else None)
        )
        return self.channel

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def close(self) -> None:
        await self.stop()
        self.database.close()

    async def until(self, condition: Callable[[], T]) -> T:
        return await wait_until(condition, explain=lambda: f"{self.channel.status} {self.server.requests[-5:]}")

    async def reach(self, state: ChannelState) -> None:
        await self.until(lambda: self.channel.status.state is state)

    async def scan(self, **how: Any) -> None:
        """Have the person scan the code that is shown, and tap."""
        await self.reach(ChannelState.WAITING_FOR_SCAN)
        self.state.scan(PERSON, **how)
        self.state.confirm()
        await self.reach(ChannelState.WAITING_FOR_WORD)

    async def open(self, **settings: Any) -> IlinkChannel:
        """Start, scan, and have the person write, so that they may be written to."""
        channel = self.start(**settings)
        await self.scan()
        self.state.say(PERSON, "hi")
        await self.reach(ChannelState.ONLINE)
        return channel

    async def send(self, text: str) -> Receipt:
        return await self.channel.send(TARGET, Text(text))

    async def send_picture(self, content: bytes) -> Receipt:
        path = self.directory / "picture.png"
        path.write_bytes(content)
        return await self.channel.send(TARGET, PictureFile(str(path), "picture.png", "image/png", len(content)))

    def read_phone(self) -> list[str]:
        """What the bot has written, as the person sees it."""
        return [one.text or f"[{len(one.content)}]" for one in self.state.find_phone(PERSON).chat if one.from_bot]


async def _tell(_line: str) -> None: ...
