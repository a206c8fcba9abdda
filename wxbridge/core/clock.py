"""The clocks of the system: the one on the wall, which people and NTP set, and those that nobody sets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from operator import itemgetter

CLOCK_READINGS = 3
"""So often two clocks are read: between one and the other this process may have to wait for a processor."""
MIN_CLOCK_SHIFT_SECONDS = 5.0
"""By which the wall clock must part from the time that has passed to count as set: NTP's small corrections do not."""


def _since_boot() -> float:
    """Seconds since the machine started, with those that it slept; without them where the system cannot tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True)
class SystemClock:
    """Where the time comes from: seconds since the epoch, monotonic ones, those since the start, and a way to wait.

    Tests hand in their own. `monotonic` stands still while the machine sleeps, `boot` does not.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    boot: Callable[[], float] = _since_boot
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


def read_both(clock: SystemClock) -> tuple[float, float]:
    """The wall clock's seconds, and those since the start at the same moment, however busy the machine is."""

    def between() -> tuple[float, float, float]:
        before, wall, after = clock.boot(), clock.wall(), clock.boot()
        return after - before, wall, (before + after) / 2

    _, wall, boot = min((between() for _ in range(CLOCK_READINGS)), key=itemgetter(0))
    return wall, boot
