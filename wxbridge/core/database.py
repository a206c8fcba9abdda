"""The one database: its engine, and the thread that alone touches it.

SQLite in WAL mode with full sync: a commit that returned is on disk. All work goes through one
thread, and whoever waits at the same moment shares one transaction, so that a storm costs few
fsyncs. The tables are in `schema`.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import stamina
from sqlalchemy import Connection, Engine, event

from wxbridge.core.errors import StorageError
from wxbridge.core.schema import SCHEMA_VERSION

T = TypeVar("T")

MAX_WORKS_PER_COMMIT = 256
LOCK_TIMEOUT_SECONDS = 5
"""How long, in seconds, we wait for another process that has the database."""
_STOP = object()


class _Work:
    """One function waiting for its turn in the database's thread."""

    __slots__ = ("done", "fn", "write")

    def __init__(self, fn: Callable[[Connection], Any], *, write: bool) -> None:
        self.fn = fn
        self.write = write
        self.done: Future[Any] = Future()


class Database:
    """Runs functions on the database, one thread for all, one commit for those who wait together.

    Open it with `Database.open`; `run` and `read` may be called from any thread or event loop.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="database", daemon=True)
        self._data_version: int | None = None
        self._closed = False
        self._submitting = threading.Lock()
        self._thread.start()

    @classmethod
    def open(cls, url: str) -> Database:
        """Open, and where needed create or migrate, the database at an SQLAlchemy URL.

        Raises:
            StorageError: it cannot be opened or was written by a newer wxbridge.
        """
        engine = make_engine(url)
        try:
            migrate(engine)
        except sa.exc.DBAPIError as error:
            engine.dispose()
            raise StorageError(f"cannot open the database {engine.url.database}: {error.orig}") from error
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    async def run(self, fn: Callable[[Connection], T]) -> T:
        """Call `fn(connection)` in a transaction; what it wrote is on disk when this returns.

        Raises:
            StorageError: the database did not take it; nothing of `fn` was written.
        """
        return await asyncio.wrap_future(self._submit(fn, write=True))

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Like `run` for a function that only reads: it works on a full or read-only disk too."""
        return await asyncio.wrap_future(self._submit(fn, write=False))

    async def changed_elsewhere(self) -> bool:
        """Tell whether another process has committed since the last call (SQLite's `data_version`)."""
        return await self.read(self._data_version_moved)

    def close(self) -> None:
        """Finish what waits, then close. Safe to call twice."""
        with self._submitting:
            self._closed = True
            self._waiting.put(_STOP)
        self._thread.join(timeout=5)
        self._engine.dispose()

    def _submit(self, fn: Callable[[Connection], T], *, write: bool) -> Future[T]:
        work = _Work(fn, write=write)
        # Under a lock, so that nothing is queued behind the last word and then waits for ever.
        with self._submitting:
            if self._closed:
                raise StorageError("the database is closed")
            self._waiting.put(work)
        return work.done

    def _data_version_moved(self, connection: Connection) -> bool:
        if connection.dialect.name != "sqlite":
            return True
        version = int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())
        moved = version != self._data_version
        self._data_version = version
        return moved

    def _loop(self) -> None:
        connection: Connection | None = None
        stopping = False
        while not stopping:
            batch = [self._waiting.get()]
            while len(batch) < MAX_WORKS_PER_COMMIT:
                try:
                    batch.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            stopping = _STOP in batch
            works = [work for work in batch if isinstance(work, _Work) and work.done.set_running_or_notify_cancel()]
            # Readers have a transaction of their own: they are answered also while nothing can be written.
            for some in ([work for work in works if not work.write], [work for work in works if work.write]):
                connection = self._serve(connection, some)
        if connection is not None:
            connection.close()

    def _serve(self, connection: Connection | None, works: list[_Work]) -> Connection | None:
        """Run functions in one transaction; returns the connection for the next, None where it is to be made anew."""
        if not works:
            return connection
        try:
            # One connection for the thread's whole life: `data_version` is counted per connection.
            if connection is None:
                connection = self._engine.connect()
            _run_batch(connection, works)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            _fail(works, error)
            if connection is not None:
                with suppress(Exception):
                    connection.close()
            return None
        return connection


class _Alone(Exception):
    """The only function of a transaction failed: there is nothing to save, so all is rolled back."""


class _Failed(Exception):
    """One function of several failed; its neighbours go on."""


def _run_batch(connection: Connection, works: list[_Work]) -> None:
    connection.info["write"] = works[0].write
    results: list[tuple[_Work, Any]] = []
    with suppress(_Alone), connection.begin():
        for work in works:
            with suppress(_Failed):
                results.append((work, _run_one(connection, work, alone=len(works) == 1)))
    for work, result in results:
        work.done.set_result(result)


def _run_one(connection: Connection, work: _Work, *, alone: bool) -> Any:
    """Call one function. What it raises goes to its caller, and nothing that it wrote stays.

    Raises:
        _Alone, _Failed: it failed, and its caller knows.
        DBAPIError: the database refused in a way that spoils the transaction for everybody.
    """
    savepoint = None if alone else connection.begin_nested()
    try:
        result = work.fn(connection)
        if savepoint is not None:
            savepoint.commit()
    except Exception as error:
        if savepoint is not None:
            try:
                savepoint.rollback()
            except sa.exc.DBAPIError:
                # SQLite has rolled back everything by itself (disk full, say): all who wait must hear of it.
                raise error from None
        if isinstance(error, sa.exc.DBAPIError):
            _fail([work], error)
        else:
            work.done.set_exception(error)
        raise (_Alone if savepoint is None else _Failed) from error
    return result


def _fail(works: Iterable[_Work], error: Exception) -> None:
    cause = getattr(error, "orig", None) or error
    for work in works:
        if not work.done.done():
            refused = StorageError(f"the database did not take it: {cause}")
            refused.__cause__ = error
            work.done.set_exception(refused)


def make_engine(url: str) -> Engine:
    """Make the engine with SQLite's durability settings: WAL, `synchronous=FULL`, 5 s of patience."""
    engine = sa.create_engine(url, connect_args={"check_same_thread": False} if url.startswith("sqlite") else {})
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_connect)
        event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(raw: Any, _record: Any) -> None:
    # The driver's own BEGIN comes too late for savepoints: we say it ourselves (SQLAlchemy, "pysqlite").
    raw.isolation_level = None
    for pragma in (f"busy_timeout={LOCK_TIMEOUT_SECONDS * 1000}", "synchronous=FULL", "foreign_keys=ON"):
        raw.execute(f"PRAGMA {pragma}")
    # The one statement that SQLite's own patience does not cover: of several processes that turn a new
    # file to WAL at the same moment, all but one are refused at once (sqlite.org/wal.html, "BUSY").
    for attempt in stamina.retry_context(
        _is_busy, attempts=None, timeout=LOCK_TIMEOUT_SECONDS, wait_initial=0.01, wait_max=0.1
    ):
        with attempt:
            raw.execute("PRAGMA journal_mode=WAL")


def _is_busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _sqlite_begin(connection: Connection) -> None:
    # A deferred transaction that starts reading and then writes fails at once when another process wrote.
    immediate = connection.info.get("write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def sqlite_url(state_dir: Path) -> str:
    """The URL of the default database below a state directory, which is made where it is missing."""
    state_dir.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{state_dir / 'wxbridge.db'}"


def migrate(engine: Engine) -> None:
    """Bring the schema to `SCHEMA_VERSION`; free when it is there already.

    Raises:
        StorageError: the schema is of a newer wxbridge.
    """
    with engine.connect() as connection:
        connection.info["write"] = False
        if sa.inspect(connection).has_table("alembic_version"):
            version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            if version == SCHEMA_VERSION:
                return
            if version is not None and str(version) > SCHEMA_VERSION:
                raise StorageError(
                    f"the database has schema {version}, this wxbridge knows {SCHEMA_VERSION}: "
                    "start the newer wxbridge that wrote it",
                )
    from alembic import command
    from alembic.config import Config as AlembicConfig

    settings = AlembicConfig()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        # Two processes that start at the same moment: the second waits, and then finds nothing to do.
        connection.info["write"] = True
        with connection.begin():
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")
