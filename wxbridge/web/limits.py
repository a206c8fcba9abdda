"""How much, how long and how often: the limits of the HTTP server, and the clocks that they are measured with."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from wxbridge.core.clock import SystemClock
from wxbridge.core.recent import RecentDict
from wxbridge.core.sliding_window import Rate, SlidingWindow


@dataclass(frozen=True)
class HttpLimits:
    """What a client may take of the server."""

    head_seconds: float = 30.0
    """From the first byte of a request, or from the connection, until its head (address and headers) is there."""
    body_seconds: float = 30.0
    """From the head until the whole body is there; senders themselves give up after 30 s."""
    idle_seconds: float = 3630.0
    """Between two requests of one connection. Long on purpose: a monitor that posts on a connection which we
    are just closing loses its alert, and some try only once."""
    linger_seconds: float = 2.0
    """For which what a refused client still sends is read, so that it gets to read its answer."""
    max_connections: int = 500
    """Open at once; beyond it the answer is 503. Far more than monitors hold, and below the 1,024 files that a
    process may open on most systems. One that is silent makes room for the next."""
    max_connections_per_address: int = 64
    """Of one subscriber; a declared proxy speaks for many and has no limit of its own."""


MAX_KEYS_COUNTED = 5000
"""Beyond it those that were counted longest ago are forgotten."""
MAX_WRONG_TOKENS = Rate(10, 300.0)
"""Wrong tokens and signatures of one subscriber, at all doors together."""


@dataclass(frozen=True)
class RatePerKey:
    """At most `rate` for each key, in a sliding window."""

    rate: Rate
    clock: SystemClock
    _windows: RecentDict[str, SlidingWindow] = field(default_factory=lambda: RecentDict(MAX_KEYS_COUNTED))

    def wait(self, key: str) -> float:
        """Give the seconds until a key may go on; 0 where it may now."""
        window = self._windows.get(key)
        return window.wait(self.clock.monotonic()) if window else 0.0

    def record(self, key: str) -> None:
        """Count one."""
        self._windows.touch(key, SlidingWindow(self.rate)).note(self.clock.monotonic())


LIMITS = web.AppKey("limits", HttpLimits)
"""Where an application keeps what its clients may take."""
CLOCK = web.AppKey("clock", SystemClock)
