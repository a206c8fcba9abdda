"""What an application may send to one member, and which of its messages are said again on purpose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wxbridge.core.sliding_window import Rate, SlidingWindow

MINUTE = Rate(30, 60.0)
HOUR = Rate(1000, 3600.0)
"""What an application may send to one member; what is more WeCom drops and calls it sent."""
MAX_MEMBERS = 10_000
"""Whose windows are kept before idle ones are let go of."""


class MemberQuotas:
    """The windows of every member, over all targets that reach them: the pace of a chat cannot know of the others."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[str, tuple[SlidingWindow, SlidingWindow]] = {}

    def wait(self, members: Iterable[str]) -> float:
        """Give the seconds until a message would reach them all; 0 where it would now."""
        now = self._clock()
        return max((window.wait(now) for name in members for window in self._windows.get(name, ())), default=0.0)

    def note(self, members: Iterable[str]) -> float:
        """Count a message; gives the moment, for `forget`."""
        now = self._clock()
        if len(self._windows) > MAX_MEMBERS:
            self._windows = {
                name: both for name, both in self._windows.items() if both[1].left(now) < both[1].rate.count
            }
        for name in members:
            for window in self._windows.setdefault(name, (SlidingWindow(MINUTE), SlidingWindow(HOUR))):
                window.note(now)
        return now

    def forget(self, members: Iterable[str], at: float) -> None:
        """Take back a message that was counted at a moment and certainly not sent."""
        for name in members:
            for window in self._windows.get(name, ()):
                window.forget(at)


class RepeatGuard:
    """Tells a repeat after no answer, which WeCom is to swallow, from the same words said again on purpose.

    WeCom's duplicate check (`enable_duplicate_check`) compares whole requests. It would also swallow what is meant to
    be said twice, and call it sent. So what it has confirmed within the interval is said again without the check.
    """

    def __init__(self, interval: float, clock: Callable[[], float]) -> None:
        self._interval = interval
        self._clock = clock
        self._confirmed: dict[bytes, float] = {}

    def was_confirmed(self, application: str, message: Mapping[str, Any]) -> bool:
        """Whether this was sent, for certain, within the interval."""
        at = self._confirmed.get(_digest(application, message))
        return at is not None and self._clock() - at < self._interval

    def confirm(self, application: str, message: Mapping[str, Any]) -> None:
        """Note that it was sent."""
        now = self._clock()
        digest = _digest(application, message)
        # The newest stand last, so that the old ones are found in front.
        self._confirmed.pop(digest, None)
        self._confirmed[digest] = now
        while now - next(iter(self._confirmed.values())) >= self._interval:
            del self._confirmed[next(iter(self._confirmed))]


def _digest(application: str, message: Mapping[str, Any]) -> bytes:
    words = json.dumps([application, message], sort_keys=True)
    return hashlib.sha256(words.encode()).digest()
