"""How fast a channel may send: several sliding windows at once, over the channel and per chat.

Attempts are counted, not tokens refilled: after a restart the windows hold what was really sent. Times inside
are the caller's monotonic seconds, so that a clock that jumps neither bursts nor stalls.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable

from wxbridge.config.types import Pace, Rate
from wxbridge.core.sliding_window import SlidingWindow

DAY_SECONDS = 86400.0
"""No window is longer."""


class Pacer:
    """The windows of one channel: over all, and for each chat its own.

    `jitter` is the longest random pause, in seconds, between two messages of the channel: a person's hand does
    not send to the tick.
    """

    def __init__(self, pace: Pace, *, jitter: float = 0.0, chance: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._chance = chance
        self._not_before = 0.0
        self._total = [SlidingWindow(rate) for rate in (pace.total, pace.day) if rate]
        self._chat_rate = pace.chat
        self._chats: dict[str, list[SlidingWindow]] = defaultdict(self._chat_windows)

    def _chat_windows(self) -> list[SlidingWindow]:
        return [SlidingWindow(self._chat_rate)] if self._chat_rate else []

    def give_own(self, chat: str, pace: Pace) -> None:
        """Give a chat a pace of its own instead of the channel's `chat` rate."""
        self._chats[chat] = [SlidingWindow(rate) for rate in (pace.chat, pace.total, pace.day) if rate]

    @property
    def counts(self) -> bool:
        """Whether there is anything to count: false for `pace: none` throughout."""
        return bool(self._total or self._chat_rate or any(self._chats.values()))

    def windows_left(self, now: float) -> dict[str, int]:
        """What is left in the windows over the whole channel, by rate."""
        return {str(window.rate): window.left(now) for window in self._total}

    def chat_windows_left(self, chat: str, now: float) -> dict[Rate, int]:
        """What is left in the windows of one chat, its own or those of every chat, by rate."""
        windows = self._chats[chat] if chat in self._chats else self._chat_windows()
        return {window.rate: window.left(now) for window in windows}

    def estimate(self, chat: str, count: int, now: float, *, others: int = 0) -> float:
        """Roughly how many seconds `count` messages to a chat take, with `others` waiting for the channel too."""
        own = [window.estimate(count, now) for window in self._chats[chat]]
        shared = [window.estimate(count + others, now) for window in self._total]
        return max([*own, *shared], default=0.0)

    def budget(self, now: float) -> int | None:
        """How many may go over the whole channel now; None for any number."""
        left = [window.left(now) for window in self._total]
        if self._jitter:
            left.append(1 if now >= self._not_before else 0)
        return min(left, default=None)

    def wait(self, chat: str, now: float) -> float:
        """Seconds until a message to this chat may go."""
        held = max(0.0, self._not_before - now)
        return max((held, *(window.wait(now) for window in (*self._total, *self._chats[chat]))))

    def note(self, chat: str, now: float) -> None:
        """Count an attempt."""
        for window in (*self._total, *self._chats[chat]):
            window.note(now)
        if self._jitter:
            self._not_before = now + self._jitter * self._chance()

    def forget(self, chat: str, at: float) -> None:
        """Take back an attempt counted at a moment that never reached the service."""
        for window in (*self._total, *self._chats[chat]):
            window.forget(at)

    def remember(self, past: Iterable[tuple[str, float]], *, wall: float, now: float) -> None:
        """Take over attempts noted before a restart: (chat, wall-clock time), the oldest first."""
        for chat, at in past:
            # A time in the future means the clock was set back: the attempt counts as just made.
            self.note(chat, now - max(0.0, wall - at))
