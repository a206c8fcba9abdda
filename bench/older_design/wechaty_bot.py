"""The older bot as teams have it, for comparison: python-wechaty in one process with an HTTP endpoint.

`python wechaty_bot.py PORT GATEWAY TOKEN`. A POST is written as a text, sent by `Room.say`, and answered then. It
stores nothing, repeats nothing and keeps no order and no pace. It logs what python-wechaty logs unless it is told not
to, as the bridge logs what it does. `bot.py` beside it leaves wechaty's own objects out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import web

from wxbridge.channels.wechat import compat


class Bot:
    """Says alerts in the first room that the gateway has."""

    def __init__(self, gateway: str, token: str, cache: Path) -> None:
        # It is only made to start on today's Python; nothing is changed of how wechaty sends.
        wechaty = compat.load(cache)
        _log_again()
        from apscheduler.schedulers.asyncio import AsyncIOScheduler
        from wechaty_puppet import PuppetOptions
        from wechaty_puppet_service import PuppetService
        from wechaty_puppet_service import puppet as service

        service.ping_endpoint = lambda _: True  # by telnet, which today's Python has not
        owner = self

        class Wechaty(wechaty.Wechaty):  # type: ignore[misc, name-defined] # the wechaty family is untyped
            async def on_ready(self, _: Any) -> None:
                owner.room = (await self.Room.find_all())[0]

        puppet = PuppetService(PuppetOptions(token=token, end_point=gateway), name="older")
        options = wechaty.WechatyOptions(puppet=puppet, puppet_options=PuppetOptions(), scheduler=AsyncIOScheduler())
        self.wechaty = Wechaty(options)
        self.room: Any = None

    async def take(self, request: web.Request) -> web.Response:
        """Say what an alert says, and answer."""
        alert = json.loads(await request.read())
        values = [f"{match['metric']}: {match['value']}" for match in alert.get("evalMatches") or ()]
        await self.room.say("\n".join([alert["title"], *values]))
        return web.json_response({"queued": 1, "duplicates": 0}, status=202)

    async def is_there(self, _: web.Request) -> web.Response:
        """Tell that it runs, and has a room."""
        return web.Response(status=200 if self.room is not None else 503)

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """Be connected while the server runs."""
        del app
        running = asyncio.create_task(self.wechaty.start())
        yield
        running.cancel()


def _log_again() -> None:
    """Have the loggers that the bridge silences log as by themselves: from INFO on, to standard error."""
    from wechaty_puppet import get_logger

    os.environ["WECHATY_LOG"] = "info"
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.disabled:
            logger.disabled = False
            get_logger(name)


def main() -> None:
    """Serve until killed."""
    port, gateway, token = sys.argv[1:]
    with TemporaryDirectory() as cache:
        bot = Bot(gateway, token, Path(cache))
        app = web.Application()
        app.add_routes([web.post("/", bot.take), web.get("/", bot.is_there)])
        app.cleanup_ctx.append(bot.run)
        web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main()
