"""Long-running parts of the bridge: asyncio tasks that are started and ended by name."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import structlog

log = structlog.get_logger()

MAX_END_SECONDS = 4.0
"""How long a cancelled task may take to end; then it is left to itself."""


class NamedTasks:
    """Starts tasks and ends them, by name. One that dies is logged, and stays to be counted."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(list(self._tasks.values()))

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine until it is ended; the name must be free."""
        assert name not in self._tasks, f"{name} is running"  # noqa: S101
        task = self._tasks[name] = asyncio.create_task(work, name=name)
        task.add_done_callback(_log_death)

    async def end(self, name: str) -> None:
        """Cancel the task of a name and wait for its end; nothing happens where there is none."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=MAX_END_SECONDS)

    async def end_all(self) -> None:
        """End every task that is left, the last started first."""
        for name in reversed(list(self._tasks)):
            await self.end(name)


def _log_death(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a service died", service=task.get_name(), exc_info=task.exception())
