from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
from sqlalchemy import Connection

from wxbridge import app
from wxbridge.channels.manager import ChannelSetup
from wxbridge.config.schema import Config
from wxbridge.core.model import ChannelStatus, Message

TOKEN = "a-t0ken-of-ours"

SETTINGS = """\
server: {listen: "127.0.0.1:0", token: a-t0ken-of-ours, max_body: 6000000}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops}
  dba: {channel: wechat, room: DBA}
routes:
  - {match: {team: db}, to: [dba, ops]}
  - {match: {team: nobody}, to: []}
  - {to: [ops]}
"""


@dataclass
class Bench:
    """A bridge's HTTP server on a real socket over a real database, without anything that delivers."""

    bridge: app.App
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, *, token: bool = True, **options: Any) -> tuple[int, Any]:
        """The status and the JSON of an answer, or its text where it is none."""
        headers = {"Authorization": f"Bearer {TOKEN}"} if token else {}
        headers |= options.pop("headers", {})
        async with self.session.request(method, self.bridge.url + path, headers=headers, **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else await response.text()

    async def post(self, path: str, data: Any, **options: Any) -> tuple[int, Any]:
        return await self.ask("POST", path, data=data, **options)

    async def messages(self) -> list[Message]:
        """What is stored, the oldest first."""
        found = await self.bridge.outbox.list_messages(limit=1000)
        return found[::-1]

    async def texts(self) -> list[tuple[str, str]]:
        """The target and the text of every message; pictures by their name."""
        return [(item.target, getattr(item.body, "text", "[picture]")) for item in await self.messages()]

    async def pragma(self, text: str) -> Any:
        """Say something to SQLite on the very connection that the bridge writes with."""

        def say(connection: Connection) -> Any:
            result = connection.exec_driver_sql(f"PRAGMA {text}")
            return result.scalar() if result.returns_rows else None

        return await self.bridge.database.read(say)

    def show_channel(self, status: ChannelStatus) -> None:
        """Have the bridge believe that it has a channel in this state."""
        channel: Any = SimpleNamespace(status=status)
        self.bridge.channels.use(ChannelSetup(channels={"wechat": channel}))


async def start(stack: AsyncExitStack, config: Config) -> Bench:
    database = app.open_database(config)
    stack.callback(database.close)
    bridge = app.App(config, database)
    stack.push_async_callback(bridge.close)
    await bridge.open()
    bridge.channels.use(ChannelSetup())
    await bridge.serve()
    session = await stack.enter_async_context(aiohttp.ClientSession())
    return Bench(bridge, session)
