"""What was made a moment ago, for all who ask for it now."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lately(Generic[T]):
    """Keeps the last `most` things for some seconds. Those who ask for the same share it, and its failure too.

    `at_once` are made at the same time. Use from one event loop.
    """

    def __init__(
        self, seconds: float, most: int = 1, at_once: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._made: OrderedDict[Hashable, tuple[float, asyncio.Task[T]]] = OrderedDict()
        self._turn = asyncio.Semaphore(at_once)

    async def of(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """What there is of `key`, made now where there is nothing. Raises what making it raised."""
        began, task = self._made.get(key, (0.0, None))
        if task is None or (task.done() and self._clock() - began >= self._seconds):
            task = asyncio.create_task(self._make(make), name="console")
            task.add_done_callback(_looked_at)
            self._made[key] = self._clock(), task
            self._made.move_to_end(key)
            while len(self._made) > self._most:
                self._made.popitem(last=False)
        # Who goes away leaves it to the others.
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Have everything made anew."""
        self._made.clear()

    async def _make(self, make: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            return await make()


def _looked_at(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()
