"""`demo --channel ilink`: the bridge against the pretend iLink that ships with it, and a phone in the browser."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from wxbridge.cli.common import fail
from wxbridge.cli.demo_setup import PERSON
from wxbridge.core.errors import describe_error
from wxbridge.simulator.ilink.server import IlinkServer
from wxbridge.simulator.ilink.state import IlinkState, PhoneMessage


async def start(stack: AsyncExitStack, port: int, *, auto_scan: bool) -> tuple[str, int]:
    """Start the pretend iLink, for as long as the stack is open; gives its address and port."""
    server = IlinkServer(IlinkState((PERSON,)), port=port)
    try:
        await server.start()
    except OSError as error:
        why = describe_error(error)
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
