"""`demo --channel ilink`: the bridge against the pretend iLink that ships with it, and a phone in the browser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from wxbridge.channels.ilink.settings import IlinkSettings, IlinkTarget
from wxbridge.cli.common import fail, say
from wxbridge.config.schema import Config
from wxbridge.simulator.ilink.server import IlinkServer
from wxbridge.simulator.ilink.state import IlinkState, PhoneMessage

if TYPE_CHECKING:
    from wxbridge.app import App

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


async def serve(
    load: Callable[[], Config],
    port: int,
    start: Callable[[AsyncExitStack, Config, Callable[[], Config], asyncio.Event], Awaitable[App | None]],
    stop: asyncio.Event,
    *,
    auto_scan: bool,
) -> None:
    """Run both until told to stop; `start` starts a bridge."""
    server = IlinkServer(IlinkState((PERSON,)), port=port)
    try:
        await server.start()
    except OSError as error:
        raise fail(f"the simulator cannot listen: {error}; choose another --page-port") from None

    def changed() -> Config:
        return convert(load(), server.url)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        server.state.on_chat = _tell
        playing = asyncio.create_task(_play_phone(server)) if auto_scan else None
        if bridge := await start(stack, changed(), changed, stop):
            say(f"phone          {server.url}/")
            say(f"bridge         {bridge.url}/")
            say("an alert       wxbridge alert test   (in another shell)")
            if not auto_scan:
                say("log in         open the phone, scan, confirm, and write any word")
            await stop.wait()
        if playing is not None:
            playing.cancel()


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
