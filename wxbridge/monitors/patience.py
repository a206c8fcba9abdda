"""Questions to a server that may be slow or dead, for those who will not wait for it long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from wxbridge.core.http import ApiError

T = TypeVar("T")


class PatientQuestion(Generic[T]):
    """Asks a server one thing, at most once at a time for those in a hurry, and remembers what it said last.

    Args:
        ask: Asks; it may raise `ApiError`.
        not_yet: What is said where there has been no answer yet, nor a failure.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]], not_yet: str) -> None:
        self._ask, self._not_yet = ask, not_yet
        self._running: asyncio.Task[T] | None = None
        self._last: asyncio.Task[T] | None = None
        self._asked_at = 0.0

    async def answer(self, patience: float | None = None) -> T:
        """Return what the server says; with `patience`, after so many seconds what it said last.

        Raises:
            ApiError: it gave no answer of use, or has not yet.
        """
        if patience is None:
            return await self._ask()
        running = self._running
        if running is None:
            running = self._running = asyncio.create_task(self._ask(), name="a question")
            running.add_done_callback(self._note)
            self._asked_at = time.monotonic()
        # From when it was asked: who comes later waits no longer than the first.
        if (left := self._asked_at + patience - time.monotonic()) > 0:
            await asyncio.wait([running], timeout=left)
        told = running if running.done() else self._last
        if told is None or told.cancelled():
            raise ApiError(self._not_yet, passing=True)
        return told.result()

    def close(self) -> None:
        """Ask no longer."""
        if self._running is not None:
            self._running.cancel()

    def _note(self, task: asyncio.Task[T]) -> None:
        self._running = None
        if not task.cancelled():
            self._last = task
            task.exception()  # those who wait have it
