"""What several test modules share besides fixtures."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

REPOSITORY = Path(__file__).parent.parent

SMALL = """\
server: {listen: "127.0.0.1:0"}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops}
routes:
  - {to: [ops]}
"""


def payload_bytes(name: str) -> bytes:
    """A sample of what a monitor sends: `grafana/legacy_ok`."""
    return (REPOSITORY / "tests" / "payloads" / f"{name}.json").read_bytes()


def free_port() -> int:
    """Choose a TCP port of 127.0.0.1 on which nobody listens at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def wait_until(
    condition: Callable[[], Any], *, seconds: float = 60.0, explain: Callable[[], str] | None = None
) -> Any:
    """Look every 5 ms whether something is so, and return what was found.

    Args:
        condition: Gives something true in the end. It may be a coroutine function.
        seconds: How long it may take; much more than it needs, as the machine may be busy.
        explain: Says what there is instead, for the failure.
    """
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(explain() if explain else f"not within {seconds:g} seconds") from None


async def wait_for_change(
    changed: asyncio.Event,
    condition: Callable[[], Any],
    *,
    seconds: float = 60.0,
    explain: Callable[[], str] | None = None,
) -> Any:
    """Look whether something is so each time that `changed` is set, and return what was found; see `wait_until`."""
    try:
        async with asyncio.timeout(seconds):
            while not (found := condition()):
                changed.clear()
                await changed.wait()
            return found
    except TimeoutError:
        raise AssertionError(explain() if explain else f"not within {seconds:g} seconds") from None


async def wait_until_served(url: str, *, seconds: float = 60.0) -> None:
    """Wait until an address answers 200."""

    async def is_served() -> bool:
        try:
            async with session.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async with aiohttp.ClientSession() as session:
        await wait_until(is_served, seconds=seconds, explain=lambda: f"{url} does not answer 200")
