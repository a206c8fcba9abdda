"""The least that an aiohttp server can do with an alert: read it and answer 202, storing nothing."""

from __future__ import annotations

import sys

from aiohttp import web


async def take(request: web.Request) -> web.Response:
    await request.json()
    return web.json_response({"queued": 1, "duplicates": 0}, status=202)


async def alive(_: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.post("/", take), web.get("/", alive)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
