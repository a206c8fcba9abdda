"""`demo --channel ilink`: the bridge against the pretend iLink that ships with it, and a phone in the browser."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

from wxbridge.channels.ilink.settings import IlinkSettings, IlinkTarget
from wxbridge.cli.common import fail
from wxbridge.config.schema import Config
from wxbridge.simulator.ilink.server import IlinkServer
from wxbridge.simulator.ilink.state import IlinkState, PhoneMessage

PERSON = "张三"


def convert(settings: Config, url: str) -> Config:
    """Have every target of the WeChat gateway be the private chat with one person, at a pretend iLink."""
    wechat = settings.section("wechat")
    section = IlinkSettings.model_validate(
        {"people": [PERSON], "master": PERSON, "greeting": wechat.greeting, "url": url, "cdn": f"{url}/c2c"}
    )
    targets = {
        name: IlinkTarget(channel="ilink", person=PERSON, commands=target.commands)
        if target.channel == "wechat"
        else target
        for name, target in settings.targets.items()
    }
    converted = settings.model_copy(update={"wechat": None, "ilink": section, "targets": targets})
    return converted.naming({"ilink", *(target.channel for target in targets.values())})


async def start(stack: AsyncExitStack, port: int, *, auto_scan: bool) -> tuple[str, int]:
    """Start the pretend iLink, for as long as the stack is open; gives its address and port."""
    server = IlinkServer(IlinkState((PERSON,)), port=port)
    try:
        await server.start()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise fail(
            f"cannot listen on 127.0.0.1:{port}: {why}; free the port, or choose another with --page-port"
        ) from None
    stack.push_async_callback(server.stop)
    server.state.on_chat = _tell
    if auto_scan:
        playing = asyncio.create_task(_play_phone(server))
        stack.callback(playing.cancel)
    return server.url, server.port


def _tell(name: str, message: PhoneMessage) -> None:
    if message.from_bot:
        print(f"[WeChat] {name}: {message.text or '[picture]'}", flush=True)  # noqa: T201


async def _play_phone(server: IlinkServer) -> None:
    """Scan the first code, confirm, and write."""
    await server.until(lambda: server.state.codes)
    server.state.scan(PERSON)
    server.state.confirm()
    login = server.state.find_phone(PERSON).login
    await server.until(lambda: login and login.polls)
    server.state.say(PERSON, "你好")
