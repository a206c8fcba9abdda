"""How much, how long and how often: the limits of the HTTP server, and the clocks that they are measured with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from wxbridge.config.types import Rate
from wxbridge.core.sliding_window import SlidingWindow


@dataclass(frozen=True)
class Limits:
    """What a client may take of the server. Times are in seconds."""

    head: float = 30.0
    """From the first byte of a request, or from the connection, until its head (address and headers) is there."""
    read: float = 30.0
    """From the head until the whole body is there; senders themselves give up after 30 s."""
    idle: float = 3630.0
    """Between two requests of one connection. Long on purpose: a monitor that posts on a connection which we
    are just closing loses its alert, and some try only once."""
    linger: float = 2.0
    """How long what a refused client still sends is read, so that it gets to read its answer."""
    connections: int = 500
    """Open at once; beyond it the answer is 503. Far more than monitors hold, and below the 1,024 files that a
    process may open on most systems."""


@dataclass(frozen=True)
class Clock:
    """Where the time is read, so that tests can hand in their own. Both in seconds."""

    wall: Callable[[], float] = time.time
    """Since the epoch."""
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class InboundRate:
    """At most `rate` requests for each of those who come in, in a sliding window; no limit where it is None."""

    rate: Rate | None
    monotonic: Callable[[], float]
    _windows: dict[str, SlidingWindow] = field(default_factory=dict)

    def take(self, opener: str) -> float:
        """Count a request of `opener`. 0 where it may come in, else the seconds until the next may."""
        if self.rate is None:
            return 0.0
        now = self.monotonic()
        window = self._windows.get(opener)
        if window is None:
            window = self._windows[opener] = SlidingWindow(self.rate)
        wait = window.wait(now)
        if not wait:
            window.note(now)
        return wait
