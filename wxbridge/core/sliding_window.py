"""At most so many in so many seconds, counted in a sliding window.

Attempts are counted, not tokens refilled: after a restart the windows hold what was really sent. Times inside
are the caller's monotonic seconds, so that a clock that jumps neither bursts nor stalls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

_UNIT_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Rate:
    """At most `count` in any `seconds`."""

    count: int
    seconds: float

    def __str__(self) -> str:
        unit, size = next((each for each in reversed(_UNIT_SECONDS.items()) if self.seconds % each[1] == 0), ("s", 1))
        several = f"{self.seconds / size:g}" if self.seconds != size else ""
        return f"{self.count}/{several}{unit}"


class SlidingWindow:
    """At most `rate.count` in any `rate.seconds`; `sent` are those that count already, the oldest first."""

    def __init__(self, rate: Rate, sent: Iterable[float] = ()) -> None:
        self.rate = rate
        self._sent = deque(sent)

    def left(self, now: float) -> int:
        """Give how many may go at once."""
        while self._sent and self._sent[0] <= now - self.rate.seconds:
            self._sent.popleft()
        return max(0, self.rate.count - len(self._sent))

    def wait(self, now: float) -> float:
        """Give the seconds until one may go; 0 where one may go now."""
        if self.left(now):
            return 0.0
        # The place that matters frees once all but `count - 1` have left the window.
        return max(0.0, self._sent[len(self._sent) - self.rate.count] + self.rate.seconds - now)

    def note(self, now: float) -> None:
        """Count one."""
        self._sent.append(now)

    def forget(self, at: float) -> None:
        """Take one back that was counted at a moment; nothing happens where it has left the window."""
        with suppress(ValueError):
            self._sent.remove(at)

    def estimate(self, count: int, now: float) -> float:
        """Estimate how many seconds `count` take."""
        return self.wait(now) + max(0, count - max(1, self.left(now))) / self.rate.count * self.rate.seconds
