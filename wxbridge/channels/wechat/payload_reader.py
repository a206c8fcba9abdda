"""Many questions to the gateway at once, though not all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from wxbridge.channels.wechat.directory import WechatDirectory
from wxbridge.channels.wechat.gateway_errors import GatewayError, GatewayRequestNotSent

log = structlog.get_logger()
T = TypeVar("T")

MAX_CONCURRENT_LOOKUPS = 8


class PayloadReader:
    """Asks for payloads, eight at a time, and notes in the directory when each was read."""

    def __init__(self, directory: WechatDirectory) -> None:
        self._directory = directory
        self._turn = asyncio.Semaphore(MAX_CONCURRENT_LOOKUPS)

    async def read_all(self, ids: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> list[T]:
        """Ask for each id, and leave out what the gateway does not tell.

        Raises:
            GatewayRequestNotSent: the connection is gone.
        """

        async def read(entry_id: str) -> T | None:
            async with self._turn:
                try:
                    found = await ask(entry_id)
                except GatewayRequestNotSent:
                    raise
                except GatewayError as error:
                    log.debug("wechat payload not read", id=entry_id, error=str(error))
                    return None
                self._directory.read_at[entry_id] = time.monotonic()
                return found

        tasks = [asyncio.ensure_future(read(entry_id)) for entry_id in ids]
        try:
            found = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [entry for entry in found if entry is not None]
