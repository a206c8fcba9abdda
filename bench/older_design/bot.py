"""The older bot, for comparison: answers at once, keeps alerts in memory, and sends them one after another by gRPC.

`python bot.py PORT GATEWAY TOKEN`. It stores nothing, repeats nothing and keeps no pace, and uses no more of wechaty
than its gateway's stub: the least that such a bot can cost in Python.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiohttp import web
from grpclib.client import Channel
from wechaty_grpc.wechaty import PuppetStub


class Bot:
    """Answers POSTs, and sends what they say to the first room that the gateway has."""

    def __init__(self, gateway: str, token: str) -> None:
        self._gateway, self._token = gateway, token
        self._waiting: asyncio.Queue[str] = asyncio.Queue()

    async def take(self, request: web.Request) -> web.Response:
        """Keep an alert's text in memory, and answer."""
        alert = json.loads(await request.read())
        values = [f"{match['metric']}: {match['value']}" for match in alert.get("evalMatches") or ()]
        self._waiting.put_nowait("\n".join([alert["title"], *values]))
        return web.json_response({"queued": 1, "duplicates": 0}, status=202)

    async def waits(self, _: web.Request) -> web.Response:
        """Tell how many are not sent yet."""
        return web.json_response(self._waiting.qsize())

    async def run(self, app: web.Application) -> Any:
        """Send while the server runs."""
        del app
        host, _, port = self._gateway.rpartition(":")
        channel = Channel(host, int(port))
        channel._authority = self._token  # noqa: SLF001 - where the gateway looks for it
        stub = PuppetStub(channel)
        await stub.start()
        room = (await stub.room_list()).ids[0]
        task = asyncio.create_task(self._send(stub, room))
        yield
        task.cancel()
        channel.close()

    async def _send(self, stub: PuppetStub, room: str) -> None:
        while True:
            text = await self._waiting.get()
            await stub.message_send_text(conversation_id=room, text=text)


def main() -> None:
    """Serve until killed."""
    port, gateway, token = sys.argv[1:]
    bot = Bot(gateway, token)
    app = web.Application()
    app.add_routes([web.post("/", bot.take), web.get("/", bot.waits)])
    app.cleanup_ctx.append(bot.run)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
