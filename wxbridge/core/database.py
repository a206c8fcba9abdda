"""The one database: its tables, and the thread that alone touches it.

SQLite in WAL mode with full sync: a commit that returned is on disk. All work goes through one
thread, and whoever waits at the same moment shares one transaction, so that a storm costs few
fsyncs. The schema is alembic's (`migrations/`).
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
    sa.Column("dedupe_group", sa.String),
    sa.Column("content", sa.JSON(none_as_null=True)),
    sa.Column("received_id", sa.Integer),
)
sa.Index("notifications_created", notifications.c.created_at)
sa.Index(
    "notifications_dedupe",
    notifications.c.dedupe_key,
    notifications.c.created_at,
    sqlite_where=sa.text("dedupe_key IS NOT NULL"),
    postgresql_where=sa.text("dedupe_key IS NOT NULL"),
)
sa.Index(
    "notifications_dedupe_group",
    notifications.c.dedupe_group,
    notifications.c.id,
    sqlite_where=sa.text("dedupe_group IS NOT NULL"),
    postgresql_where=sa.text("dedupe_group IS NOT NULL"),
)

sa.Index(
    "notifications_received",
    notifications.c.received_id,
    sqlite_where=sa.text("received_id IS NOT NULL"),
    postgresql_where=sa.text("received_id IS NOT NULL"),
)

OPEN = "state IN ('queued', 'sending')"
"""The condition of rows that are still to do."""
OPEN_TEXT = f"{OPEN} AND kind = 'text'"
DRAWN = f"{OPEN} AND kind = 'picture' AND picture_file IS NOT NULL"
"""The condition of pictures that can be sent."""
TO_DRAW = f"{OPEN} AND kind = 'picture' AND picture_file IS NULL"
PUT_BACK = f"{OPEN} AND next_try_at > created_at"
"""The condition of rows that wait for a time."""

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
    sa.Column("format", sa.String),
    sa.Column("mentions", sa.JSON(none_as_null=True)),
    sa.Column("picture_file", sa.String),
    sa.Column("picture_name", sa.String),
    sa.Column("picture_spec", sa.JSON(none_as_null=True)),
    sa.Column("follows", sa.Integer),
    sa.Column("recipient", sa.String),
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


def _partial(name: str, condition: str, *columns: sa.Column[Any]) -> None:
    """An index of the rows that are still to do, so that settled ones slow nothing down.

    SQLite takes a partial index only where the query repeats its condition to the letter.
    """
    sa.Index(name, *columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))


_partial("messages_texts", OPEN_TEXT, messages.c.target, messages.c.priority, messages.c.id)
_partial("messages_drawn", DRAWN, messages.c.target, messages.c.priority, messages.c.id)
_partial("messages_to_draw", TO_DRAW, messages.c.priority, messages.c.id)
_partial("messages_waiting", OPEN, messages.c.target, messages.c.created_at)
_partial("messages_put_back", PUT_BACK, messages.c.target, messages.c.next_try_at)
_partial("messages_expiring", OPEN, messages.c.expires_at)
_partial("messages_settled", "settled_at IS NOT NULL", messages.c.state, messages.c.settled_at)
_partial("messages_pictures", "picture_file IS NOT NULL", messages.c.picture_file)
sa.Index("messages_notification", messages.c.notification_id)
sa.Index("messages_target", messages.c.target, messages.c.notification_id)

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
    sa.Column("since", sa.Integer, nullable=False, server_default="0"),
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
    sa.Column("since", sa.Integer, nullable=False, server_default="0"),
)

identities = sa.Table(
    "identities",
    metadata,
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("chat", sa.String, primary_key=True),
    sa.Column("id", sa.String, nullable=False),
    sa.Column("names", sa.JSON, nullable=False),
    sa.Column("members", sa.JSON, nullable=False),
    sa.Column("account", sa.String, nullable=False),
    sa.Column("seen", sa.Integer, nullable=False),
    sa.Column("guess", sa.Boolean, nullable=False),
    sa.Column("told", sa.String, nullable=False),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("starts_at", sa.Float),
    sa.Column("first_seen", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
)
"""What monitors said last of each alert. `content` is an `AlertGroup` with this one alert."""
sa.Index("alerts_updated", alerts.c.status, alerts.c.updated_at)

told = sa.Table(
    "told",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("target", sa.String, primary_key=True),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("starts_at", sa.Float),
    sa.Column("told_at", sa.Float),
    sa.Column("due_at", sa.Float),
    sa.Column("held", sa.String),
)
"""What a target was told last of an alert, and when it is to be told again. Only where its route repeats, or where
it was held back (`held`: by a silence or a muted time)."""
sa.Index("told_due", told.c.due_at, sqlite_where=sa.text("due_at IS NOT NULL"))

silences = sa.Table(
    "silences",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("matchers", sa.JSON, nullable=False),
    sa.Column("starts_at", sa.Float, nullable=False),
    sa.Column("ends_at", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("created_by", sa.String, nullable=False),
    sa.Column("comment", sa.String, nullable=False),
)
sa.Index("silences_ends", silences.c.ends_at)

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

job_history = sa.Table(
    "job_history",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job", sa.String, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("picture_file", sa.String),
)
"""Every run of a job that ended, for summaries and for the page."""
sa.Index("job_history_job", job_history.c.job, job_history.c.started_at)
sa.Index("job_history_started", job_history.c.started_at)

job_mutes = sa.Table(
    "job_mutes",
    metadata,
    sa.Column("job", sa.String, primary_key=True),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
"""Jobs that do not run until a moment."""

episodes = sa.Table(
    "episodes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("severity", sa.String, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)
"""From when to when each alert fired; `key` is that of `alerts`."""
sa.Index("episodes_open", episodes.c.key, sqlite_where=sa.text("ended_at IS NULL"),
         postgresql_where=sa.text("ended_at IS NULL"))  # fmt: skip
sa.Index("episodes_started", episodes.c.started_at)

acks = sa.Table(
    "acks",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("comment", sa.String, nullable=False),
)
"""Who looks after an alert; `key` is that of `alerts`."""

received = sa.Table(
    "received",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("alerts", sa.Integer, nullable=False),
    sa.Column("routed", sa.JSON, nullable=False),
    sa.Column("told", sa.Integer, nullable=False, server_default="0"),
)
"""What came in, and how it was routed; the notifications it led to name it. `told` counts the messages of these."""
sa.Index("received_at", received.c.at)
NOT_TOLD = "told = 0"
"""The condition of what came in and led to nothing."""
sa.Index("received_untold", received.c.id, sqlite_where=sa.text(NOT_TOLD), postgresql_where=sa.text(NOT_TOLD))

asked = sa.Table(
    "asked",
    metadata,
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("done_at", sa.Float),
)
"""Commands that somebody wrote in a chat; `content` is an `Inbound`."""
sa.Index("asked_open", asked.c.at, sqlite_where=sa.text("done_at IS NULL"),
         postgresql_where=sa.text("done_at IS NULL"))  # fmt: skip

host_samples = sa.Table(
    "host_samples",
    metadata,
    sa.Column("host", sa.String, primary_key=True),
    sa.Column("at", sa.Float, primary_key=True),
    sa.Column("figures", sa.JSON, nullable=False),
)
"""What was measured of each host."""
sa.Index("host_samples_at", host_samples.c.at)

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


SCHEMA_VERSION = "0002"
"""The newest migration. Kept here so that a start with nothing to migrate need not import alembic."""

_BATCH = 256
_PATIENCE = 5
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
            while len(batch) < _BATCH:
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
    for pragma in (f"busy_timeout={_PATIENCE * 1000}", "synchronous=FULL", "foreign_keys=ON"):
        raw.execute(f"PRAGMA {pragma}")
    # The one statement that SQLite's own patience does not cover: of several processes that turn a new
    # file to WAL at the same moment, all but one are refused at once (sqlite.org/wal.html, "BUSY").
    for attempt in stamina.retry_context(_is_busy, attempts=None, timeout=_PATIENCE, wait_initial=0.01, wait_max=0.1):
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
