"""The one database: its tables, and the thread that alone touches it.

SQLite in WAL mode with full sync: a commit that returned is on disk. All work goes through one
thread, and whoever waits at the same moment shares one transaction, so that a storm costs few
fsyncs. The schema is alembic's (`migrations/`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from wxbridge.errors import StorageError

T = TypeVar("T")

metadata = sa.MetaData()

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("origin", sa.Integer),
    sa.Column("dedupe_key", sa.String),
    sa.Column("content", sa.JSON),
)
sa.Index("notifications_dedupe", notifications.c.dedupe_key, notifications.c.created_at)

OPEN = "state IN ('queued', 'sending')"
"""The condition of rows that are still to do."""

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("notification_id", sa.ForeignKey("notifications.id", ondelete="CASCADE"), nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("text", sa.Text),
    sa.Column("mentions", sa.JSON),
    sa.Column("picture_file", sa.String),
    sa.Column("picture_name", sa.String),
    sa.Column("picture_spec", sa.JSON),
    sa.Column("follows", sa.Integer),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("next_try_at", sa.Float, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("maybe_sent", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("settled_at", sa.Float),
    sa.Column("receipt", sa.String),
    sa.Column("error_code", sa.String),
    sa.Column("error", sa.Text),
)
# The claim query reads open rows of one target in order; settled rows must not slow it down.
# SQLite takes a partial index only where the query repeats its condition to the letter.
sa.Index(
    "messages_open",
    messages.c.target,
    messages.c.priority,
    messages.c.id,
    sqlite_where=sa.text(OPEN),
    postgresql_where=sa.text(OPEN),
)
sa.Index("messages_settled", messages.c.state, messages.c.settled_at)
sa.Index("messages_notification", messages.c.notification_id)

sends = sa.Table(
    "sends",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("chat", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
sa.Index("sends_channel", sends.c.channel, sends.c.at)

rooms = sa.Table(
    "rooms",
    metadata,
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("topic", sa.String, nullable=False),
    sa.Column("member_ids", sa.JSON, nullable=False),
    sa.Column("account", sa.String, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
)

contacts = sa.Table(
    "contacts",
    metadata,
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("alias", sa.String, nullable=False),
    sa.Column("handle", sa.String, nullable=False),
    sa.Column("account", sa.String, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
)

job_runs = sa.Table(
    "job_runs",
    metadata,
    sa.Column("job", sa.String, primary_key=True),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("ok", sa.Boolean),
    sa.Column("error", sa.Text),
    sa.Column("told", sa.Boolean, nullable=False, server_default=sa.false()),
)

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)


def remember_fact(connection: Connection, key: str, value: Any, now: float) -> None:
    """Keep a small fact for other processes (`wxbridge status`)."""
    connection.execute(sa.delete(facts).where(facts.c.key == key))
    connection.execute(sa.insert(facts).values(key=key, value=value, at=now))


def read_facts(connection: Connection, prefix: str) -> dict[str, tuple[Any, float]]:
    """The facts whose key begins with a prefix: value, and when it was noted (seconds since the epoch)."""
    rows = connection.execute(sa.select(facts).where(facts.c.key.startswith(prefix, autoescape=True)))
    return {row.key.removeprefix(prefix): (row.value, row.at) for row in rows}


SCHEMA_VERSION = "0001"
"""The newest migration. Kept here so that a start with nothing to migrate need not import alembic."""

_BATCH = 256
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
        self._waiting.put(_STOP)
        self._thread.join(timeout=5)
        self._engine.dispose()

    def _submit(self, fn: Callable[[Connection], T], *, write: bool) -> Future[T]:
        if not self._thread.is_alive():
            raise StorageError("the database is closed")
        work = _Work(fn, write=write)
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
            while len(batch) < _BATCH:
                try:
                    batch.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            stopping = _STOP in batch
            works = [work for work in batch if isinstance(work, _Work)]
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
                connection = None
        if connection is not None:
            connection.close()


def _run_batch(connection: Connection, works: list[_Work]) -> None:
    works = [work for work in works if work.done.set_running_or_notify_cancel()]
    if not works:
        return
    connection.info["write"] = any(work.write for work in works)
    results: list[tuple[_Work, Any]] = []
    with connection.begin():
        for work in works:
            savepoint = connection.begin_nested() if len(works) > 1 else None
            try:
                result = work.fn(connection)
            except sa.exc.DBAPIError:
                raise
            except Exception as error:  # noqa: BLE001 - it is the caller's own and goes back to the caller
                if savepoint is None:
                    connection.get_transaction().rollback()  # type: ignore[union-attr]
                    work.done.set_exception(error)
                    return
                savepoint.rollback()
                work.done.set_exception(error)
            else:
                if savepoint is not None:
                    savepoint.commit()
                results.append((work, result))
    for work, result in results:
        work.done.set_result(result)


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
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        raw.execute(f"PRAGMA {pragma}")


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
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
