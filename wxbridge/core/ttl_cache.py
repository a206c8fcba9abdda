"""What was computed a moment ago, for all who ask for it now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from wxbridge.core.recent import RecentDict

T = TypeVar("T")


class TTLCache(Generic[T]):
    """Keeps values for some time. Use it from one event loop.

    Args:
        ttl_seconds: How long a value is kept, from when it was asked for first.
        failure_ttl_seconds: Likewise a failure, for those who ask a moment later; as long as a value where it is None.
        max_entries: How many are kept; beyond it the oldest are dropped.
        max_at_once: How many are computed at the same time.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        ttl_seconds: float,
        max_entries: int = 1,
        max_at_once: int = 1,
        clock: Callable[[], float] = time.monotonic,
        failure_ttl_seconds: float | None = None,
    ) -> None:
        self._ttl_seconds, self._clock = ttl_seconds, clock
        self._failure_ttl_seconds = ttl_seconds if failure_ttl_seconds is None else failure_ttl_seconds
        self._entries = RecentDict[Hashable, tuple[float, asyncio.Task[T]]](max_entries)
        self._turn = asyncio.Semaphore(max_at_once)

    async def get_or_create(self, key: Hashable, factory: Callable[[], Awaitable[T]]) -> T:
        """Return the value of a key, computed by the factory where there is none.

        Concurrent callers for one key share one computation, including its failure; whoever is cancelled leaves it to
        the others. Raises what the factory raises.
        """
        began, task = self._entries.get(key, (0.0, None))
        if task is None or (task.done() and self._clock() - began >= self._life_of(task)):
            task = asyncio.create_task(self._compute(factory), name="cache")
            task.add_done_callback(_retrieve)
            self._entries[key] = self._clock(), task
        return await asyncio.shield(task)

    def clear(self) -> None:
        """Have everything computed anew."""
        self._entries.clear()

    def _life_of(self, done: asyncio.Task[T]) -> float:
        is_failure = done.cancelled() or done.exception() is not None
        return self._failure_ttl_seconds if is_failure else self._ttl_seconds

    async def _compute(self, factory: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            return await factory()


def _retrieve(task: asyncio.Task[T]) -> None:
    """Take a failure that nobody waits for, so that it is not logged as forgotten."""
    if not task.cancelled():
        task.exception()
