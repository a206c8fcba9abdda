"""The stock Wechaty puppet against the simulator, in a process that nobody has mended anything in."""

from __future__ import annotations

import asyncio
import os

os.environ |= {"WECHATY_LOG": "warn", "CACHE_DIR": "cache"}

import pyee
import pyee.asyncio
import urllib3
import urllib3.util

# It imports on no library of today; nothing else of it is touched.
pyee.AsyncIOEventEmitter = pyee.asyncio.AsyncIOEventEmitter
urllib3.get_host = lambda url: tuple(urllib3.util.parse_url(url))[0:1]

from wechaty_puppet import FileBox, PuppetOptions
from wechaty_puppet_service import PuppetService

from wxbridge.simulator import MessageKind, Simulator


async def converse(simulator: Simulator) -> None:
    puppet = PuppetService(PuppetOptions(token=simulator.token, end_point=simulator.endpoint))
    told: asyncio.Queue[tuple[str, object]] = asyncio.Queue()
    for name in ("scan", "login", "message", "dong"):
        puppet.on(name, lambda payload, name=name: told.put_nowait((name, payload)))

    async def expect(name):
        while (event := await asyncio.wait_for(told.get(), 10))[0] != name:
            pass
        return event[1]

    running = asyncio.create_task(puppet.start())
    assert (await expect("scan")).qrcode == simulator.world.qrcode
    simulator.world.scan()
    assert (await expect("login")).contact_id == simulator.world.bot.id
    (room_id, _) = await puppet.room_list()
    assert (await puppet.room_payload(room_id)).topic == "技术讨论群"

    sent = await puppet.message_send_text(room_id, "hello", [simulator.world.find_contact("张三").id])
    assert (await expect("message")).message_id == sent
    payload = await puppet.message_payload(sent)
    assert (payload.text, payload.type.name) == ("hello", "MESSAGE_TYPE_TEXT")

    picture = FileBox.from_base64(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==",
        "a.png",
    )
    await puppet.message_send_file(room_id, picture)
    assert [message.kind for message in simulator.world.messages()] == [MessageKind.TEXT, MessageKind.IMAGE]

    await puppet.ding("word")
    assert (await expect("dong")).data == "word"
    simulator.world.say("@机器人 status", room="技术讨论群", talker="主人")
    while (
        payload := await puppet.message_payload((await expect("message")).message_id)
    ).from_id == simulator.world.bot.id:
        pass
    assert payload.mention_ids == [simulator.world.bot.id]
    await puppet.stop()
    await asyncio.wait_for(running, 60)


async def main() -> None:
    async with Simulator() as simulator:
        await converse(simulator)


asyncio.run(main())
print("conversed")
