"""What the bot wrote itself: gateways announce that too, and need not be asked what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from wxbridge.channels.connected import SeenIds

ANSWER_SECONDS = 1.0
"""How long an announcement waits for the answers of sends that were under way when it came."""


class OwnMessages:
    """The ids of what was sent over one connection."""

    def __init__(self) -> None:
        self._ids = SeenIds()
        self._sends: set[asyncio.Future[None]] = set()

    async def note_sent(self, sending: Awaitable[str]) -> str:
        """Await a send, and remember the id that it gives; returns that, empty where the gateway has none."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sends.add(answered)
        try:
            message_id = await sending
            if message_id:
                self._ids.add(message_id)
            return message_id
        finally:
            self._sends.discard(answered)
            answered.set_result(None)

    def is_known(self, message_id: str) -> bool:
        """Tell whether the bot is known to have sent a message."""
        return message_id in self._ids

    async def is_own(self, message_id: str) -> bool:
        """Tell whether the bot has sent a message, which may be announced before its send is answered."""
        if self._sends and not self.is_known(message_id):
            await asyncio.wait(self._sends, timeout=ANSWER_SECONDS)
        return self.is_known(message_id)
