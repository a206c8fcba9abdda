"""The Python package `wecom-aibot-sdk` as a foreign client, as `wecom_bot_node_client.cjs` is for Node."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Awaitable
from typing import Any

from wecom_aibot_sdk import WSClient, generate_req_id


class Quiet:
    """A logger that keeps still: standard output is for what was seen."""

    def debug(self, *_: Any) -> None:
        pass

    info = warn = error = debug


async def failure(work: Awaitable[Any]) -> str:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - the package raises nothing more exact
        return str(error)
    return "ok"


async def main(ws_url: str, bot_id: str, secret: str, chat: str) -> None:
    client = WSClient(bot_id, secret, ws_url=ws_url, logger=Quiet(), heartbeat_interval=100)
    seen: dict[str, Any] = {"errors": [], "messages": [], "events": []}
    ready, over = asyncio.Event(), asyncio.Event()

    def failed(error: Exception) -> None:
        seen["errors"].append(str(error))
        over.set()

    async def message(frame: Any) -> None:
        body = frame["body"]
        seen["messages"].append([body["msgid"], body["chattype"], body["from"]["userid"], body["text"]["content"]])
        stream = generate_req_id("stream")
        seen["reply"] = [
            await failure(client.reply_stream(frame, stream, "working", False)),
            await failure(client.reply_stream(frame, stream, "working: done", True)),
            await failure(client.reply_media(frame, "image", seen["media"])),
        ]
        seen["connected"] = client.is_connected
        print("replied", flush=True)  # noqa: T201

    async def welcome(frame: Any) -> None:
        seen["events"].append("enter_chat")
        seen["welcome"] = await failure(
            client.reply_welcome(frame, {"msgtype": "text", "text": {"content": "welcome"}})
        )

    def displaced(_frame: Any) -> None:
        seen["events"].append("disconnected_event")
        over.set()

    client.on("error", failed)
    client.on("message.text", message)
    client.on("event.enter_chat", welcome)
    client.on("event.disconnected_event", displaced)
    client.on("authenticated", ready.set)
    await client.connect()
    first = [asyncio.ensure_future(ready.wait()), asyncio.ensure_future(over.wait())]
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if not over.is_set():
        markdown = {"msgtype": "markdown", "markdown": {"content": "**hello** from Python"}}
        seen["sent"] = await failure(client.send_message(chat, markdown))
        seen["asText"] = await failure(client.send_message(chat, {"msgtype": "text", "text": {"content": "plain"}}))
        seen["nobody"] = await failure(client.send_message("nobody", markdown))
        picture = hashlib.sha256(b"a").digest() * 40_000
        seen["media"] = (await client.upload_media(picture, type="image", filename="panel.png"))["media_id"]
        seen["picture"] = await failure(client.send_media_message(chat, "image", seen["media"]))
        seen["size"] = len(picture)
        print("ready", flush=True)  # noqa: T201
    await over.wait()
    print(json.dumps(seen), flush=True)  # noqa: T201
    await client.disconnect()


asyncio.run(main(*sys.argv[1:]))
