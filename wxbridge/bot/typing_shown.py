"""Shows in the chat that an answer is being made, for as long as that takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from wxbridge.core.model import Inbound, TypingChannel

TYPING_SECONDS = 5.0
"""How often it is shown anew: a phone shows it for some seconds."""


@asynccontextmanager
async def showing_typing(channel: object, inbound: Inbound, tasks: set[asyncio.Task[None]]) -> AsyncIterator[None]:
    """Show it while the block runs, where the channel can; the block waits for none of that.

    What is under way is in `tasks`, of whoever has to end it.
    """
    if not isinstance(channel, TypingChannel):
        yield
        return
    over = asyncio.Event()
    task = asyncio.create_task(_show_until(over, channel, inbound), name=f"typing {inbound.id}")
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    try:
        yield
    finally:
        over.set()


async def _show_until(over: asyncio.Event, channel: TypingChannel, inbound: Inbound) -> None:
    while not over.is_set():
        await channel.show_typing(inbound, is_on=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(TYPING_SECONDS):
                await over.wait()
    await channel.show_typing(inbound, is_on=False)
