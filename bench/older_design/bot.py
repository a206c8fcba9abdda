"""The older bot, for comparison: sends what a POST says by gRPC, and answers then.

`python bot.py PORT GATEWAY TOKEN`. It stores nothing, repeats nothing and keeps no order and no pace, and uses no more
of wechaty than its gateway's stub: the least that such a bot can cost in Python.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from grpclib.client import Channel
from wechaty_grpc.wechaty import PuppetStub


class Bot:
    """Sends to the first room that the gateway has."""

    def __init__(self, gateway: str, token: str) -> None:
        self._gateway, self._token = gateway, token
        self._stub: Any = None
        self._room = ""

    async def take(self, request: web.Request) -> web.Response:
        """Send what an alert says, and answer."""
        alert = json.loads(await request.read())
        values = [f"{match['metric']}: {match['value']}" for match in alert.get("evalMatches") or ()]
        await self._stub.message_send_text(conversation_id=self._room, text="\n".join([alert["title"], *values]))
        return web.json_response({"queued": 1, "duplicates": 0}, status=202)

    async def is_there(self, _: web.Request) -> web.Response:
        """Tell that it runs."""
        return web.Response()

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """Be connected while the server runs."""
        del app
        host, _, port = self._gateway.rpartition(":")
        channel = Channel(host, int(port))
        channel._authority = self._token  # noqa: SLF001 - where the gateway looks for it
        self._stub = PuppetStub(channel)
        await self._stub.start()
        self._room = (await self._stub.room_list()).ids[0]
        yield
        channel.close()


def main() -> None:
    """Serve until killed."""
    port, gateway, token = sys.argv[1:]
    bot = Bot(gateway, token)
    app = web.Application()
    app.add_routes([web.post("/", bot.take), web.get("/", bot.is_there)])
    app.cleanup_ctx.append(bot.run)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
