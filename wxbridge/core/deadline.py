"""The moment until which what runs now has to be done, for whoever waits on its behalf deep down.

Kept in a `ContextVar`: tasks that are started meanwhile inherit it. Moments are the event loop's time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def seconds_left(default: float) -> float:
    """Tell how many seconds are left, never less than 0; `default` where no deadline was set."""
    deadline = _deadline.get()
    return default if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())


@contextmanager
def deadline_at(moment: float) -> Iterator[None]:
    """Set the deadline for what runs within a `with` block. It is told, not enforced."""
    token = _deadline.set(moment)
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def share_of_time(share: float) -> Iterator[None]:
    """Leave what runs within a `with` block a share of the time that is left, so that another way may be tried."""
    deadline = _deadline.get()
    if deadline is None:
        yield
        return
    with deadline_at(deadline - (1.0 - share) * seconds_left(0.0)):
        yield
