"""The one database: its engine, and the thread that alone touches it.

SQLite in WAL mode with full sync: a commit that returned is on disk. All work goes through one
thread, and whoever waits at the same moment shares one transaction, so that a storm costs few
fsyncs. The tables are in `schema`.

PostgreSQL likewise, except that reading has threads of its own (`postgresql`): a server may be slow, or
silent, and then those who wait are told so in time.
"""

from __future__ import annotations

import asyncio
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from wxbridge.core.database_work import STOP, DatabaseWork, WorkQueue, answer_works, make_refusal, run_together
from wxbridge.core.errors import StorageError, UnusableState
from wxbridge.core.prepared import run_text
from wxbridge.core.schema import SCHEMA_VERSION, metadata
from wxbridge.core.state_lock import PRIVATE_DIRECTORY, PRIVATE_FILE

T = TypeVar("T")
Item = TypeVar("Item")

LOCK_TIMEOUT_SECONDS = 5
"""How long another process that has the database is waited for."""
_WAL_PAUSE_SECONDS = 0.02
"""Before a new file is turned to WAL once more."""
MAX_BUSY_SECONDS = 0.5
"""How long a single statement waits for it: in between it is seen whether the database is to be closed."""
CLOSE_TIMEOUT_SECONDS = 5
SAVE_TIMEOUT_SECONDS = 300.0
"""That writing the whole database anew may take."""
DATABASE_FILE = "wxbridge.db"
"""Below the state directory."""
SIDE_FILES = ("-wal", "-shm")
"""What SQLite keeps beside it: endings of the name."""
ANSWER_SECONDS = 1.5
"""For how long a server may be silent until those who wait for it are refused: senders want to hear of it in time."""
READERS = 3
"""Threads that read where the database is a server."""

BatchFunction = Callable[[Connection, Sequence[Item]], Sequence[T]]


class _SavingBack(Future[bool]):
    """What asks the database's thread to write the database to its path again."""


class _Worker:
    """One thread that works on the database with a connection of its own."""

    def __init__(self, take: Callable[[], Sequence[Any]]) -> None:
        self.take = take
        """Waits for something to do, and gives what is to be done together."""
        self.connection: Connection | None = None
        self.is_busy = False
        self.heard_at = time.monotonic()
        """When the database last answered it, or it last began to work; monotonic seconds."""

    @property
    def silence(self) -> float:
        """Seconds for which the database has not answered it; 0 where it has nothing to do."""
        return time.monotonic() - self.heard_at if self.is_busy else 0.0

    def hear(self) -> None:
        """Note that the database has answered."""
        self.heard_at = time.monotonic()


class Database:
    """Runs functions on the database, one thread for all, one commit for those who wait together.

    Open it with `Database.open`; `run`, `run_batched` and `read` may be called from any event loop.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_server = engine.dialect.name != "sqlite"
        """Whether it is a server, which may be silent, and which other bridges may share."""
        self.sender = ""
        """As whose a server notifies others of what is written here."""
        self.fence: Callable[[Connection], None] | None = None
        """Is called in each transaction that only who leads may do; it raises where another leads by now."""
        self.is_in_touch: Callable[[], bool] = lambda: True
        """Whether what comes from outside may be taken: not in a process that was stopped, until the server answers."""
        self._waiting = WorkQueue()
        self._reading: queue.SimpleQueue[Sequence[Any]] = queue.SimpleQueue()
        self._gathered: dict[asyncio.AbstractEventLoop, list[DatabaseWork]] = {}
        """What was asked in the present turn of an event loop, and goes to the thread together."""
        self._workers = [_Worker(self._waiting.take)]
        if self.is_server:
            self._workers += [_Worker(self._reading.get) for _ in range(READERS)]
        self._threads = [threading.Thread(target=self._loop, args=(worker,), name="database", daemon=True)
                         for worker in self._workers]  # fmt: skip
        self._data_version: int | None = None
        self._closed = False
        self._hurry = threading.Event()
        """Set to wait for no other process any more."""
        name = engine.url.database
        self._path = Path(name) if not self.is_server and name and name != ":memory:" else None
        """The file; None where it has none of ours."""
        self._file = _find_file(self._path)
        """What the path led to when it was opened."""
        self._submitting = threading.Lock()
        for thread in self._threads:
            thread.start()

    @classmethod
    def open(cls, url: str) -> Database:
        """Open, and where needed create or migrate, the database at an SQLAlchemy URL.

        Raises:
            UnusableState: it was written by a newer wxbridge, is no database, or may not be used.
            StorageError: it cannot be opened now: the disk is full, say.
        """
        sender = secrets.token_hex(4)
        engine = make_engine(url, sender)
        try:
            migrate(engine)
        except sa.exc.DBAPIError as error:
            engine.dispose()
            kind = StorageError if _may_pass(error.orig) else UnusableState
            what, why = engine.url.database or "of PostgreSQL", " ".join(str(error.orig).split())
            raise kind(f"cannot open the database {what}: {why}") from error
        except BaseException:
            engine.dispose()
            raise
        database = cls(engine)
        database.sender = sender
        return database

    async def run(self, work: Callable[[Connection], T], *, is_patient: bool = False, is_leaders: bool = False) -> T:
        """Call `work(connection)` in a transaction; what it wrote is on disk when this returns.

        What is patient lets others go first, for up to `MAX_PATIENCE_SECONDS`. What is the leader's is
        refused where another leads by now (`fence`).

        Raises:
            StorageError: the database did not take it; nothing of `work` was written. Of a server that was silent it
                is not known: who repeats it must not mind.
        """
        if is_leaders and self.fence is not None:
            work = partial(_run_fenced, self.fence, work)
        result: T = await self._submit(work, write=True, is_patient=is_patient)
        return result

    async def run_batched(self, work: BatchFunction[Item, T], item: Item) -> T:
        """Call `work(connection, items)` once, with the items of all who wait together for the same `work`.

        It returns a result for each item, in order; each caller gets its own. Where it fails with several items it is
        called again with each alone, so that an item harms no other. What it wrote is on disk when this returns.

        Raises:
            StorageError: the database did not take it; nothing of the item was written.
        """
        result: T = await self._submit(work, write=True, item=item)
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Like `run` for a function that only reads: it works on a full or read-only disk too."""
        result: T = await self._submit(work, write=False)
        return result

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Bound what is done with a server in a `with` block: somebody waits for all of it.

        Raises:
            StorageError: it takes longer than a sender is to wait.
        """
        if not self.is_in_touch():
            raise StorageError("this bridge was stopped, or cut off from its database, until now")
        try:
            async with asyncio.timeout(ANSWER_SECONDS + 0.25):
                yield
        except TimeoutError:
            raise StorageError("the database does not answer in time") from None

    async def changed_elsewhere(self) -> bool:
        """Tell whether another process has committed since the last call (SQLite's `data_version`).

        A server tells of it by itself where several bridges share it (`shared_leadership`); else that is not known.
        """
        if self.is_server:
            return self.fence is None
        return await self.read(self._data_version_moved)

    async def read_write_mark(self) -> Hashable:
        """Read something that changes whenever this or another process writes; cheap. Raises `StorageError`."""
        return await self.read(_read_write_mark)

    def is_in_place(self) -> bool:
        """Tell whether the file that is open stands at its path; cheap. Nothing is written while it does not."""
        return self._path is None or self._file is None or _find_file(self._path) == self._file

    def save_back(self) -> bool:
        """Write the database to its path again where its file was deleted; tell whether it is in place now.

        Another file in its place is left alone. Waits: call it in a thread. Raises `StorageError`.
        """
        saving = _SavingBack()
        with self._submitting:
            if self._closed:
                raise StorageError("the database is closed")
            self._waiting.put([saving])
        return saving.result(timeout=SAVE_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Finish what waits, if no other process has the database, then close. Safe to call twice."""
        self._hurry.set()
        with self._submitting:
            self._closed = True
            for works in self._gathered.values():
                self._put(works)
            self._gathered.clear()
            self._waiting.put([STOP])
            for _ in self._workers[1:]:
                self._reading.put([STOP])
        last = time.monotonic() + CLOSE_TIMEOUT_SECONDS
        for thread in self._threads:
            thread.join(timeout=max(0.0, last - time.monotonic()))
        self._engine.dispose()

    def _submit(
        self, run: Callable[..., Any], *, write: bool, item: Any = None, is_patient: bool = False
    ) -> asyncio.Future[Any]:
        if self.is_server and self._silence(write=write) >= ANSWER_SECONDS:
            raise StorageError("the database does not answer")
        work = DatabaseWork(run, write=write, item=item, is_patient=is_patient)
        # Under a lock, so that nothing is queued behind the last word and then waits for ever.
        with self._submitting:
            if self._closed:
                raise StorageError("the database is closed")
            if work.loop not in self._gathered:
                self._gathered[work.loop] = []
                work.loop.call_soon(self._hand_over, work.loop)
            self._gathered[work.loop].append(work)
        if self.is_server:
            work.loop.call_later(ANSWER_SECONDS, self._refuse_silence, work)
        return work.future

    def _refuse_silence(self, work: DatabaseWork) -> None:
        """Refuse what waits for a server that is silent; look again later where it is not."""
        if work.future.done():
            return
        worker: _Worker | None = work.taken_by
        silence = worker.silence if worker else self._silence(write=work.write)
        if silence >= ANSWER_SECONDS:
            work.future.set_exception(StorageError(f"the database has not answered for {silence:.0f} seconds"))
        else:
            work.loop.call_later(ANSWER_SECONDS - silence, self._refuse_silence, work)

    def _silence(self, *, write: bool) -> float:
        """Seconds for which a server has answered none of those who write, or read; 0 where one has nothing to do."""
        return min(worker.silence for worker in (self._workers[:1] if write else self._workers[1:]))

    def _put(self, works: Sequence[DatabaseWork]) -> None:
        """Give works to the threads that do such."""
        if not self.is_server:
            self._waiting.put(works)
            return
        if reading := [work for work in works if not work.write]:
            self._reading.put(reading)
        if writing := [work for work in works if work.write]:
            self._waiting.put(writing)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._submitting:
            if works := self._gathered.pop(loop, None):
                self._put(works)

    def _data_version_moved(self, connection: Connection) -> bool:
        version = int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())
        moved = version != self._data_version
        self._data_version = version
        return moved

    def _loop(self, worker: _Worker) -> None:
        stopping = False
        while not stopping:
            batch = worker.take()
            worker.hear()
            worker.is_busy = True
            stopping = STOP in batch
            works = [work for work in batch if isinstance(work, DatabaseWork) and not work.future.done()]
            for work in works:
                work.taken_by = worker
            for each in batch:
                if isinstance(each, _SavingBack):
                    worker.connection = self._save_back(worker.connection, each)
            # Readers have a transaction of their own: they are answered also while nothing can be written.
            for some in ([work for work in works if not work.write], [work for work in works if work.write]):
                self._serve(worker, some)
            worker.is_busy = False
        if worker.connection is not None:
            worker.connection.close()

    def _save_back(self, connection: Connection | None, saving: _SavingBack) -> Connection | None:
        path = self._path
        if path is None or path.exists():
            saving.set_result(self.is_in_place())
            return connection
        copy = path.with_name(f".{path.name}.saved")
        try:
            copy.unlink(missing_ok=True)
            connection = connection or self._engine.connect()
            connection.connection.cursor().execute("VACUUM INTO ?", (str(copy),))
            copy.chmod(PRIVATE_FILE)
            sync_to_disk(copy)
            connection.close()
            connection = None
            # The side files belong to the deleted one: to the copy they would be foreign pages.
            self._engine.dispose()
            for ending in SIDE_FILES:
                path.with_name(path.name + ending).unlink(missing_ok=True)
            # Not over a file that somebody has put there meanwhile.
            path.hardlink_to(copy)
            copy.unlink()
            sync_to_disk(path.parent)
            self._file = _find_file(path)
        except (OSError, sa.exc.DBAPIError, sqlite3.Error) as error:
            saving.set_exception(StorageError(f"the database cannot be saved back to {path}: {error}"))
        else:
            saving.set_result(True)
        return connection

    def _serve(self, worker: _Worker, works: list[DatabaseWork]) -> None:
        """Run works in one transaction; one that fails costs the connection, which is made anew for the next."""
        if not works:
            return
        try:
            if works[0].write and not self.is_in_place():
                raise StorageError(f"the file {self._path} was deleted or replaced")  # noqa: TRY301 - as all others
            # One connection for the thread's whole life: `data_version` is counted per connection.
            if worker.connection is None:
                worker.connection = self._engine.connect()
                worker.connection.info["hurry"] = self._hurry
                if self.is_server:
                    worker.connection.connection.dbapi_connection.heard = worker.hear  # type: ignore[union-attr]
            run_together(worker.connection, works)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for work in works:
                # What seemed done was rolled back with the rest; who failed by itself keeps its own error.
                if not isinstance(work.outcome, Exception):
                    work.outcome = make_refusal(error)
            if worker.connection is not None:
                with suppress(Exception):
                    if self.is_server:
                        worker.connection.invalidate()
                    worker.connection.close()
            worker.connection = None
        answer_works(works)


def _run_fenced(fence: Callable[[Connection], None], work: Callable[[Connection], T], connection: Connection) -> T:
    fence(connection)
    return work(connection)


def make_engine(url: str, sender: str = "") -> Engine:
    """Make the engine: PostgreSQL's, or with SQLite's durability settings: WAL, `synchronous=FULL`, 5 s of patience.

    As `sender`'s a server notifies others of what is written.

    Raises:
        UnusableState: it is PostgreSQL's, whose driver is not installed.
    """
    if not url.startswith("sqlite:"):
        made: Engine = _import_postgresql().make_engine(url, sender)
        return made
    engine = sa.create_engine(url, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _import_postgresql() -> Any:
    try:
        from wxbridge.core import postgresql
    except ImportError as error:
        raise UnusableState(
            "PostgreSQL needs its driver, which is not installed: "
            f"pip install 'wxbridge-monitoring[postgresql]' ({error})"
        ) from error
    return postgresql


def _sqlite_connect(raw: Any, _record: Any) -> None:
    # The driver's own BEGIN comes too late for savepoints: we say it ourselves (SQLAlchemy, "pysqlite").
    raw.isolation_level = None
    patience = min(LOCK_TIMEOUT_SECONDS, MAX_BUSY_SECONDS)
    for pragma in (f"busy_timeout={round(patience * 1000)}", "synchronous=FULL", "foreign_keys=ON"):
        raw.execute(f"PRAGMA {pragma}")
    # Of several processes that turn a new file to WAL at the same moment, all but one are refused at once, whatever
    # SQLite's patience (sqlite.org/wal.html, "BUSY").
    _repeat_while_busy(lambda: raw.execute("PRAGMA journal_mode=WAL"), pause=_WAL_PAUSE_SECONDS)


def _repeat_while_busy(work: Callable[[], object], *, pause: float = 0.0, hurry: threading.Event | None = None) -> None:
    """Do something until SQLite takes it, for as long as another process is waited for; less where there is a hurry.

    Raises `sqlite3.Error`: what it refused for another reason, or in the end.
    """
    last = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            work()
        except sqlite3.Error as error:
            if not _is_busy(error) or time.monotonic() >= last or (hurry and hurry.is_set()):
                raise
        else:
            return
        time.sleep(pause)


def _may_pass(error: BaseException | None) -> bool:
    """Tell whether the database may be opened later: another has it locked, or the disk fails or is full."""
    if error is not None and not isinstance(error, sqlite3.Error):
        return bool(_import_postgresql().may_pass(error))
    passing = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in passing


def _is_busy(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _sqlite_begin(connection: Connection) -> None:
    # A deferred transaction that starts reading and then writes fails at once when another process wrote.
    begin = "BEGIN IMMEDIATE" if connection.info.get("write", True) else "BEGIN"
    # At the driver: what SQLAlchemy adds to a statement costs ten times as much as this one.
    _repeat_while_busy(lambda: run_text(connection, begin), hurry=connection.info.get("hurry"))


def sqlite_url(state_dir: Path) -> str:
    """The URL of the default database below a state directory; both are made where they are missing, for us alone."""
    state_dir.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    path = state_dir / DATABASE_FILE
    with suppress(FileExistsError):
        # SQLite's side files get the mode of the database.
        path.touch(PRIVATE_FILE, exist_ok=False)
    # By path: closing another handle on it would end SQLite's locks. One that is another's stays as it is.
    for ending in ("", *SIDE_FILES):
        with suppress(OSError):
            path.with_name(path.name + ending).chmod(PRIVATE_FILE)
    return f"sqlite:///{path}"


def _find_file(path: Path | None) -> tuple[int, int] | None:
    """What a path leads to: device and inode. The inode is not given to another file while ours is open."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def sync_to_disk(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk (fsync). Raises `OSError`."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_write_mark(connection: Connection) -> Hashable:
    if connection.dialect.name != "sqlite":
        # Every transaction that writes has an id of its own.
        return connection.exec_driver_sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").scalar()
    # What others have committed, and what we have.
    elsewhere = connection.exec_driver_sql("PRAGMA data_version").scalar()
    return elsewhere, connection.exec_driver_sql("SELECT total_changes()").scalar(), id(connection)


def migrate(engine: Engine) -> None:
    """Bring the schema to `SCHEMA_VERSION`, whole in an empty database; free when it is there already.

    Raises:
        UnusableState: the schema is of a newer wxbridge.
    """
    with engine.connect() as connection:
        connection.info["write"] = False
        if sa.inspect(connection).has_table("alembic_version"):
            version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            if version == SCHEMA_VERSION:
                return
            if version is not None and str(version) > SCHEMA_VERSION:
                raise UnusableState(
                    f"the database has schema {version}, this wxbridge knows {SCHEMA_VERSION}: "
                    "start the newer wxbridge that wrote it",
                )
    with engine.connect() as connection:
        # Two processes that start at the same moment: the second waits, and then finds nothing to do.
        connection.info["write"] = True
        with connection.begin():
            # The conditions of PostgreSQL's indexes stand in the migrations alone.
            if connection.dialect.name != "sqlite" or sa.inspect(connection).get_table_names():
                upgrade(connection, "head")
                return
            # Without alembic, whose import costs as much as the rest of a start.
            metadata.create_all(connection, checkfirst=False)
            connection.exec_driver_sql(_VERSION_TABLE)
            connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (SCHEMA_VERSION,))


_VERSION_TABLE = """CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)"""
"""Alembic's own."""


def upgrade(connection: Connection, version: str) -> None:
    """Run the migrations that lead to a version, `head` for the newest."""
    from alembic import command
    from alembic.config import Config as AlembicConfig

    settings = AlembicConfig()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.attributes["connection"] = connection
    command.upgrade(settings, version)
