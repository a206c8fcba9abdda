"""What waits for the database's thread, who goes together, and how several share one transaction."""

from __future__ import annotations

import asyncio
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.errors import StorageError
from wxbridge.core.prepared import run_text

MAX_WORKS_PER_COMMIT = 256
"""How many who wait share a transaction at most, so that none of them waits long."""
MAX_PATIENCE_SECONDS = 0.025
"""How long the patient let others go first."""
WORKS_OF_A_RUSH = 8
"""How many that write, and are not patient, within `MAX_PATIENCE_SECONDS` are many."""
STOP = object()
"""The last word."""


class DatabaseWork:
    """One function waiting for its turn in the database's thread, and who waits for what it returns."""

    __slots__ = ("asked_at", "future", "is_patient", "item", "loop", "outcome", "run", "taken_by", "write")

    def __init__(self, run: Callable[..., Any], *, write: bool, item: Any, is_patient: bool) -> None:
        self.run = run
        """Called with the connection; where there is an `item`, with the items of all such works too."""
        self.write = write
        self.item = item
        self.is_patient = is_patient
        self.asked_at = time.monotonic()
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.outcome: Any = None
        """The result, or the exception."""
        self.taken_by: Any = None
        """The worker that does it, where the database is a server; None until it begins."""


class WorkQueue:
    """What waits for the database's thread, in order.

    The patient let others go first until they have waited long enough, also those who are still to come in a rush, and
    then share a commit with them: one fsync for all that came meanwhile.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Sequence[Any]] = queue.SimpleQueue()
        self._fetched: list[Any] = []
        self._patient: list[DatabaseWork] = []
        self._rush: deque[float] = deque(maxlen=WORKS_OF_A_RUSH)
        """When the last works came that were not patient; monotonic seconds."""

    def put(self, some: Sequence[Any]) -> None:
        """Add works, or what else the thread understands. May be called from any thread."""
        self._queue.put(some)

    def take(self) -> list[Any]:
        """Wait for something to do, and give what is to be done together."""
        while True:
            self._fetch()
            batch, self._fetched = self._fetched[:MAX_WORKS_PER_COMMIT], self._fetched[MAX_WORKS_PER_COMMIT:]
            hasty = [each for each in batch if not (isinstance(each, DatabaseWork) and each.is_patient)]
            self._patient += [each for each in batch if isinstance(each, DatabaseWork) and each.is_patient]
            now = time.monotonic()
            self._rush.extend(now for each in hasty if isinstance(each, DatabaseWork) and each.write)
            if self._patient and (STOP in hasty or self._patience_left(now, is_alone=not hasty) <= 0):
                hasty, self._patient = [*hasty, *self._patient], []
            if hasty:
                return hasty

    def _patience_left(self, now: float, *, is_alone: bool) -> float:
        """Seconds for which the patient go on waiting; not at all where they are alone, and there is no rush."""
        if not self._patient:
            return 0.0
        is_rush = len(self._rush) == WORKS_OF_A_RUSH and self._rush[0] > now - MAX_PATIENCE_SECONDS
        return 0.0 if is_alone and not is_rush else self._patient[0].asked_at + MAX_PATIENCE_SECONDS - now

    def _fetch(self) -> None:
        if not self._fetched:
            left = self._patience_left(time.monotonic(), is_alone=True) if self._patient else None
            with suppress(queue.Empty):
                self._fetched += self._queue.get(timeout=None if left is None else max(left, 0.0))
        with suppress(queue.Empty):
            while len(self._fetched) < MAX_WORKS_PER_COMMIT:
                self._fetched += self._queue.get_nowait()


class _TransactionFailedError(Exception):
    """The only function of a transaction failed: there is nothing to save, so all is rolled back."""


class _TransactionLostError(Exception):
    """The database has rolled back everything by itself (disk full, say): all who shared the transaction must hear."""


def run_together(connection: Connection, works: list[DatabaseWork]) -> None:
    """Call functions in one transaction; `outcome` has then what each returned, or raised.

    What this raises itself has left nothing of them.
    """
    connection.info["write"] = works[0].write
    groups: dict[Any, list[DatabaseWork]] = {}
    for work in works:
        groups.setdefault(work if work.item is None else work.run, []).append(work)
    if len(groups) == 1 and _run_only(connection, works):
        return
    with connection.begin():
        for group in groups.values():
            if len(groups) == 1 or len(group) == 1 or not _run_group(connection, group):
                for work in group:
                    _run_one(connection, work)


def _run_only(connection: Connection, works: list[DatabaseWork]) -> bool:
    """Call the only function of a transaction; False where it is a batch function that failed for several."""
    with suppress(_TransactionFailedError), connection.begin():
        try:
            _settle(works, _call(connection, works))
        except Exception as error:
            if len(works) == 1:
                works[0].outcome = _told(connection, error)
            raise _TransactionFailedError from error
        return True
    return len(works) == 1


def _run_group(connection: Connection, group: list[DatabaseWork]) -> bool:
    """Call a batch function for several; False where that failed, and left nothing behind."""
    try:
        _settle(group, _in_savepoint(connection, group))
    except _TransactionLostError:
        raise
    except Exception:  # noqa: BLE001 - it belongs to one of them, who is found by calling it for each alone
        return False
    return True


def _run_one(connection: Connection, work: DatabaseWork) -> None:
    """Call one function of several. What it raises goes to its caller, and nothing that it wrote stays."""
    try:
        _settle([work], _in_savepoint(connection, [work]))
    except _TransactionLostError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, its caller must hear of it
        work.outcome = _told(connection, error)


def _call(connection: Connection, works: list[DatabaseWork]) -> Sequence[Any]:
    """Call the function that works have in common; returns a result for each."""
    run = works[0].run
    return [run(connection)] if works[0].item is None else run(connection, [work.item for work in works])


def _settle(works: list[DatabaseWork], results: Sequence[Any]) -> None:
    for work, result in zip(works, results, strict=True):
        work.outcome = result


def _in_savepoint(connection: Connection, works: list[DatabaseWork]) -> Sequence[Any]:
    # At the driver: SQLAlchemy's own objects for a savepoint cost more than what is done within.
    try:
        run_text(connection, "SAVEPOINT work")
    except _database_errors(connection) as error:
        raise _TransactionLostError from error
    try:
        results = _call(connection, works)
        run_text(connection, "RELEASE SAVEPOINT work")
    except Exception as error:
        try:
            run_text(connection, "ROLLBACK TO SAVEPOINT work")
            run_text(connection, "RELEASE SAVEPOINT work")
        except _database_errors(connection):
            raise _TransactionLostError from error
        raise
    return results


def _told(connection: Connection, error: Exception) -> Exception:
    """What a caller hears of an error of its own function."""
    return make_refusal(error) if isinstance(error, _database_errors(connection)) else error


def _database_errors(connection: Connection) -> tuple[type[Exception], ...]:
    """The kinds of errors by which a database does not take something: the driver's, as they are or wrapped.

    Of a connection that broke before, SQLAlchemy says that its transaction is to be rolled back.
    """
    return sa.exc.DBAPIError, sa.exc.PendingRollbackError, connection.dialect.loaded_dbapi.Error


def make_refusal(error: Exception) -> StorageError:
    """Say of an error that the database did not take something."""
    if isinstance(error, StorageError):
        return error
    cause = error.__cause__ if isinstance(error, _TransactionLostError) else error
    reason = " ".join(str(getattr(cause, "orig", None) or cause).split())
    refused = StorageError(f"the database did not take it: {reason}")
    refused.__cause__ = cause
    return refused


def answer_works(works: Iterable[DatabaseWork]) -> None:
    """Hand outcomes to those who wait, with one call into each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[DatabaseWork]] = {}
    for work in works:
        loops.setdefault(work.loop, []).append(work)
    for loop, some in loops.items():
        with suppress(RuntimeError):  # a loop that was closed has nobody who waits
            loop.call_soon_threadsafe(_resolve, some)


def _resolve(works: Iterable[DatabaseWork]) -> None:
    for work in works:
        if work.future.done():
            continue
        if isinstance(work.outcome, Exception):
            work.future.set_exception(work.outcome)
        else:
            work.future.set_result(work.outcome)
