"""What the bot wrote itself: gateways announce that too, and need not be asked what it says."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from wxbridge.channels.connected import SeenIds

ANSWER_SECONDS = 1.0
"""How long an announcement waits for the answers of sends that were under way when it came."""


class OwnMessages:
    """Tells the messages that were sent over one connection from those of others, by the ids of both.

    Args:
        on_other: Called with the id of each message that the bot is not known to have sent, in the order announced.
    """

    def __init__(self, on_other: Callable[[str], None]) -> None:
        self._on_other = on_other
        self._sent_ids = SeenIds()
        self._sends = 0
        self._under_way: dict[int, None] = {}
        """The numbers of sends that are not answered yet, the oldest first."""
        self._announced: deque[tuple[str, int, float]] = deque()
        """What waits for answers: its id, the number of the last send before it, until when (the loop's seconds)."""
        self._timer: asyncio.TimerHandle | None = None

    async def note_sent(self, sending: Awaitable[str]) -> str:
        """Await a send, and remember the id that it gives; returns that, empty where the gateway has none."""
        self._sends += 1
        number = self._sends
        self._under_way[number] = None
        try:
            message_id = await sending
            self._sent_ids.add(message_id)
            return message_id
        finally:
            del self._under_way[number]
            self._pass_on()

    def announce(self, message_id: str) -> None:
        """Take an announcement: it is passed on once it is known not to be of a send that is under way."""
        last = asyncio.get_running_loop().time() + ANSWER_SECONDS
        self._announced.append((message_id, self._sends, last))
        self._pass_on()

    def close(self) -> None:
        """Forget what waits."""
        self._announced.clear()
        self._stop_timer()

    def _pass_on(self) -> None:
        """Pass on what others wrote, until one of which that cannot be told yet."""
        now = asyncio.get_running_loop().time()
        while self._announced:
            message_id, sends_before, last = self._announced[0]
            is_own = message_id in self._sent_ids
            if not is_own and next(iter(self._under_way), sends_before + 1) <= sends_before and now < last:
                break
            self._announced.popleft()
            if not is_own:
                self._on_other(message_id)
        if not self._announced:
            self._stop_timer()
        elif self._timer is None or self._timer.when() <= now:
            self._timer = asyncio.get_running_loop().call_at(self._announced[0][2], self._pass_on)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
