"""Calls that may never return, such as a question to a file system whose server is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class CallResult(Generic[T]):
    """What a call came to: its value, or the error that it raised."""

    value: T | None = None
    error: Exception | None = None


class _RunningCall(Generic[T]):
    """One call in a thread, which the end of the process does not wait for."""

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        self._work = work
        self.result: CallResult[T] = CallResult()
        self.is_done = threading.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self.result = CallResult(self._work())
        except Exception as error:  # noqa: BLE001 - it is the caller's
            self.result = CallResult(error=error)
        self.is_done.set()


class TimedCalls(Generic[T]):
    """Makes calls at the same time, each in a thread of its own.

    A call that has not returned in time is not made again before it has: what hangs costs one thread and, once, the
    time limit.
    """

    def __init__(self) -> None:
        self._running: dict[str, _RunningCall[T]] = {}

    def run(self, calls: Mapping[str, Callable[[], T]], limit: float) -> dict[str, CallResult[T]]:
        """Make calls, by name; gives the results of those that returned within `limit` seconds.

        A call that hung before is not waited for; where it has returned meanwhile, that is its result.
        """
        deadline = {name: 0.0 for name in calls if name in self._running}
        for name in calls.keys() - deadline.keys():
            self._running[name] = _RunningCall(name, calls[name])
        end = time.monotonic() + limit
        results: dict[str, CallResult[T]] = {}
        for name in calls:
            call = self._running[name]
            if call.is_done.wait(deadline.get(name, max(0.0, end - time.monotonic()))):
                results[name] = call.result
                del self._running[name]
        return results
