"""Calls that may never return, such as a question to a file system whose server is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

T = TypeVar("T")


def begin_call(work: Callable[[], T], name: str) -> Future[T]:
    """Run something in a thread of its own, which the end of the process does not wait for."""
    call: Future[T] = Future()
    # From here on nobody can cancel it: its thread goes on also where its caller has gone.
    call.set_running_or_notify_cancel()

    def run() -> None:
        try:
            call.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is the caller's
            call.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return call


class TimedCalls(Generic[T]):
    """Makes calls at the same time, each in a thread of its own.

    A call that has not returned in time is not made again before it has: what hangs costs one thread and, once, the
    time limit.
    """

    def __init__(self) -> None:
        self._running: dict[str, Future[T]] = {}

    def run(self, calls: Mapping[str, Callable[[], T]], limit: float) -> dict[str, Future[T]]:
        """Make calls, by name; gives those that returned within `limit` seconds.

        A call that hung before is not waited for; where it has returned meanwhile, it is that one.
        """
        fresh = {name: begin_call(work, name) for name, work in calls.items() if name not in self._running}
        self._running |= fresh
        wait(fresh.values(), timeout=limit)
        return {name: self._running.pop(name) for name in calls if self._running[name].done()}
