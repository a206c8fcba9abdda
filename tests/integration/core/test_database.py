"""The database's thread, its shared commits, and what it does when the disk refuses."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from wxbridge.alerts import store
from wxbridge.core import database as module
from wxbridge.core import database_work
from wxbridge.core.database import Database, make_engine, migrate, sqlite_url, upgrade
from wxbridge.core.database_work import WORKS_OF_A_RUSH
from wxbridge.core.errors import StorageError, UnusableState
from wxbridge.core.schema import SCHEMA_VERSION, facts, read_facts, remember_fact


@pytest.fixture(autouse=True)
def _tables_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tables of each database, which is tried here, where other tests take a copy."""
    monkeypatch.setattr(module, "migrate", migrate)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database.open(sqlite_url(tmp_path))
    yield opened
    opened.close()


def keep(key: str) -> Callable[[sa.Connection], None]:
    return lambda connection: remember_fact(connection, key, {}, 1.0)


async def keys(database: Database) -> set[str]:
    return set(await database.read(lambda c: read_facts(c, "")))


def pragma(database: Database, text: str) -> Any:
    def ask(connection: sa.Connection) -> Any:
        result = connection.exec_driver_sql(f"PRAGMA {text}")
        return result.scalar() if result.returns_rows else None

    return database.read(ask)


class Held:
    """Keeps the database's thread busy, so that what is asked meanwhile comes in one batch."""

    def __init__(self, database: Database) -> None:
        self.go, self.busy = threading.Event(), threading.Event()
        self.task = asyncio.ensure_future(database.read(self._wait))

    def _wait(self, _connection: sa.Connection) -> None:
        self.busy.set()
        self.go.wait(10)

    async def release(self) -> None:
        self.go.set()
        await self.task


async def held(database: Database) -> Held:
    hold = Held(database)
    assert await asyncio.to_thread(hold.busy.wait, 5)
    return hold


# ---------------------------------------------------------------- durability


async def test_a_commit_is_on_disk_when_run_returns(database: Database) -> None:
    assert await pragma(database, "journal_mode") == "wal"
    assert await pragma(database, "synchronous") == 2
    assert await pragma(database, "foreign_keys") == 1
    await database.run(keep("a"))
    with sqlite3.connect(str(database._engine.url.database)) as other:
        assert other.execute("SELECT key FROM facts").fetchall() == [("a",)]


async def test_many_that_wait_together_share_a_commit(database: Database) -> None:
    commits: list[int] = []
    sa.event.listen(database._engine, "commit", lambda _connection: commits.append(1))
    hold = await held(database)
    waiting = [asyncio.ensure_future(database.run(keep(f"{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    before = len(commits)
    await hold.release()
    await asyncio.gather(*waiting)
    assert len(commits) - before <= 3
    assert len(await keys(database)) == 100


async def test_what_one_returns_is_its_own(database: Database) -> None:
    hold = await held(database)
    waiting = [asyncio.ensure_future(database.run(lambda _c, number=number: number)) for number in range(600)]
    await asyncio.sleep(0)
    await hold.release()
    assert await asyncio.gather(*waiting) == list(range(600))


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("kind", ["its own mistake", "a constraint", "no such table"])
async def test_one_that_fails_leaves_nothing_behind_and_harms_no_neighbour(
    database: Database, kind: str, together: bool
) -> None:
    def fails(connection: sa.Connection) -> None:
        remember_fact(connection, "half", {}, 1.0)
        if kind == "its own mistake":
            raise KeyError("oh")
        if kind == "a constraint":
            connection.execute(sa.insert(facts).values(key="half", value={}, at=1.0))
        connection.exec_driver_sql("SELECT * FROM nowhere")

    hold = await held(database) if together else None
    waiting = [asyncio.ensure_future(database.run(fn)) for fn in (keep("before"), fails, keep("after"))]
    if hold:
        await asyncio.sleep(0)
        await hold.release()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[1], KeyError if kind == "its own mistake" else StorageError)
    assert await keys(database) == {"before", "after"}


async def test_whoever_no_longer_waits_is_passed_over(database: Database) -> None:
    hold = await held(database)
    waiting = [asyncio.ensure_future(database.run(keep(f"{number}"))) for number in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    await hold.release()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await keys(database) == {"0", "2"}


async def test_cancelled_while_the_function_runs_it_is_done_all_the_same(database: Database) -> None:
    go, busy = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        busy.set()
        go.wait(10)
        remember_fact(connection, "slow", {}, 1.0)

    task = asyncio.ensure_future(database.run(slow))
    assert await asyncio.to_thread(busy.wait, 5)
    task.cancel()
    await asyncio.wait([task])
    go.set()
    assert await keys(database) == {"slow"}


async def test_close_finishes_what_waits_and_then_refuses(database: Database) -> None:
    hold = await held(database)
    waiting = [asyncio.ensure_future(database.run(keep(f"{number}"))) for number in range(300)]
    await asyncio.sleep(0)
    hold.go.set()
    await asyncio.to_thread(database.close)
    await asyncio.gather(*waiting)
    database.close()
    with pytest.raises(StorageError, match="closed"):
        await database.run(keep("late"))


async def test_whoever_asks_while_it_closes_gets_an_answer(database: Database) -> None:
    hold = await held(database)
    closing = asyncio.create_task(asyncio.to_thread(database.close))
    await asyncio.sleep(0.05)
    assert database._closed
    with pytest.raises(StorageError, match="closed"):
        await asyncio.wait_for(database.run(keep("late")), 60)
    await hold.release()
    await closing


# ---------------------------------------------------------------- a disk that refuses


async def test_a_full_disk_is_a_storage_error_and_passes(database: Database) -> None:
    await pragma(database, f"max_page_count={await pragma(database, 'page_count')}")
    big = {"text": "x" * 1_000_000}
    with pytest.raises(StorageError, match="full"):
        await database.run(lambda c: remember_fact(c, "big", big, 1.0))
    assert await keys(database) == set()
    await pragma(database, "max_page_count=1000000000")
    await database.run(lambda c: remember_fact(c, "big", big, 1.0))
    assert await keys(database) == {"big"}


async def test_on_a_full_disk_what_still_fits_is_taken(database: Database) -> None:
    await database.run(keep("there"))
    await pragma(database, f"max_page_count={await pragma(database, 'page_count')}")
    hold = await held(database)
    big = {"text": "x" * 1_000_000}
    waiting = [
        asyncio.ensure_future(database.run(fn))
        for fn in (keep("small"), lambda c: remember_fact(c, "big", big, 1.0), keep("there"))
    ]
    await asyncio.sleep(0)
    await hold.release()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    told = [isinstance(result, StorageError) for result in results]
    assert told[1]
    # Whatever SQLite makes of it: who was told that it is stored finds it, who was not does not.
    assert await keys(database) == {"there"} | (set() if told[0] else {"small"})


async def test_closing_waits_for_no_other_process(database: Database) -> None:
    await database.run(keep("there"))
    other = sqlite3.connect(str(database._engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(database.run(keep("new")))
    await asyncio.sleep(0)
    began = time.monotonic()
    database.close()
    assert time.monotonic() - began < module.LOCK_TIMEOUT_SECONDS
    with pytest.raises(StorageError, match="locked"):
        await writing
    other.close()


@pytest.mark.parametrize(("reason", "error"), [("full", StorageError), ("not a database", UnusableState)])
def test_what_waiting_mends_is_told_from_what_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, error: type[StorageError]
) -> None:
    if reason == "full":
        monkeypatch.setattr(module, "_sqlite_connect", lambda raw, _record: raw.execute("PRAGMA max_page_count=1"))
    else:
        (tmp_path / "wxbridge.db").write_text("a picture, say" * 100)
    with pytest.raises(StorageError, match=reason) as found:
        Database.open(sqlite_url(tmp_path))
    assert found.type is error


async def test_reading_goes_on_while_nothing_can_be_written(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT_SECONDS", 0.02)
    await database.run(keep("there"))
    await pragma(database, "busy_timeout=20")
    other = sqlite3.connect(str(database._engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    hold = await held(database)
    writing = asyncio.ensure_future(database.run(keep("new")))
    reading = asyncio.ensure_future(keys(database))
    await asyncio.sleep(0)
    await hold.release()
    assert await reading == {"there"}
    with pytest.raises(StorageError, match="locked"):
        await writing
    other.execute("ROLLBACK")
    await database.run(keep("new"))
    other.close()


async def test_a_read_only_database_refuses_and_recovers(database: Database) -> None:
    await pragma(database, "query_only=ON")
    for _ in range(3):
        with pytest.raises(StorageError, match="readonly"):
            await database.run(keep("a"))
    assert await keys(database) == set()
    await pragma(database, "query_only=OFF")
    await database.run(keep("a"))


async def test_a_refused_commit_is_told_to_all_who_shared_it(database: Database) -> None:
    refuse = [True]

    def fail(_connection: sa.Connection) -> None:
        if refuse[0]:
            raise sa.exc.OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))

    sa.event.listen(database._engine, "commit", fail)
    refuse[0] = False
    hold = await held(database)
    waiting = [asyncio.ensure_future(database.run(keep(f"{number}"))) for number in range(3)]
    await asyncio.sleep(0)
    hold.go.set()
    await hold.task
    refuse[0] = True
    results = await asyncio.gather(*waiting, return_exceptions=True)
    refuse[0] = False
    stored = await keys(database)
    for number, result in enumerate(results):
        assert (f"{number}" in stored) == (result is None)


async def test_another_process_s_commit_is_noticed_and_ones_own_is_not(database: Database, tmp_path: Path) -> None:
    other = Database.open(sqlite_url(tmp_path))
    await database.changed_elsewhere()
    assert not await database.changed_elsewhere()
    await database.run(keep("mine"))
    assert not await database.changed_elsewhere()
    await other.run(keep("theirs"))
    assert await database.changed_elsewhere()
    assert not await database.changed_elsewhere()
    other.close()


async def test_a_function_that_failed_does_not_hide_another_process_s_commit(
    database: Database, tmp_path: Path
) -> None:
    other = Database.open(sqlite_url(tmp_path))
    await database.changed_elsewhere()
    await other.run(keep("theirs"))
    with pytest.raises(StorageError):
        await database.run(lambda c: c.exec_driver_sql("SELECT * FROM nowhere"))
    assert await database.changed_elsewhere()
    other.close()


# ---------------------------------------------------------------- the schema


VERSIONS = (
    "CREATE TABLE alembic_version ( version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num) )"
)
"""Alembic's own table, as it makes it."""


def at_version(version: str, file: Path) -> sa.Engine:
    """A database that migrations have brought to a version."""
    engine = make_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        connection.info["write"] = True
        with connection.begin():
            upgrade(connection, version)
    return engine


def shape(engine: sa.Engine) -> dict[str, Any]:
    """Tables with their columns, and indexes with their conditions, as SQLite has them."""
    with engine.connect() as connection:
        found: dict[str, Any] = {}
        rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master").all()
        for kind, name, _table, sql in rows:
            if name.startswith("sqlite_") or name == "alembic_version":
                continue
            if kind == "table":
                found[name] = (
                    [tuple(row) for row in connection.exec_driver_sql(f"PRAGMA table_xinfo('{name}')")],
                    [tuple(row) for row in connection.exec_driver_sql(f"PRAGMA foreign_key_list('{name}')")],
                )
            else:
                found[name] = " ".join(sql.replace('"', "").split())
        return found


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    migrated, made = at_version("head", tmp_path / "migrated.db"), make_engine(f"sqlite:///{tmp_path / 'made'}.db")
    migrate(made)
    assert shape(migrated) == shape(made)
    assert len(shape(made)) > 10
    migrate(migrated)
    for engine in (migrated, made):
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT version_num, sql FROM alembic_version, sqlite_master "
                                               "WHERE name = 'alembic_version'").one()  # fmt: skip
        assert (found[0], " ".join(found[1].split())) == (SCHEMA_VERSION, VERSIONS)


def test_the_known_schema_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    settings = Config()
    settings.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(settings).get_current_head() == SCHEMA_VERSION


def test_a_schema_of_a_newer_wxbridge_is_left_alone(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    Database.open(url).close()
    with sqlite3.connect(tmp_path / "wxbridge.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="schema 9999"):
        Database.open(url)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "wxbridge.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError, match="not a database"):
        Database.open(sqlite_url(tmp_path))


def test_several_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    url, problems = sqlite_url(tmp_path), []
    barrier = threading.Barrier(6)

    def start() -> None:
        barrier.wait()
        try:
            Database.open(url).close()
        except Exception as error:  # noqa: BLE001 - shown below
            problems.append(repr(error))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_migration_that_fails_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    url = sqlite_url(tmp_path)
    at_version("0001", tmp_path / "wxbridge.db").dispose()
    with sqlite3.connect(tmp_path / "wxbridge.db") as raw:
        before = raw.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    with monkeypatch.context() as patch:

        def broken(*_args: Any, **_kwargs: Any) -> None:
            raise sa.exc.OperationalError("CREATE INDEX", {}, sqlite3.OperationalError("disk full"))

        patch.setattr(op, "create_index", broken)
        with pytest.raises(StorageError):
            Database.open(url)
    with sqlite3.connect(tmp_path / "wxbridge.db") as raw:
        assert raw.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall() == before
    Database.open(url).close()


async def test_facts_are_replaced_and_found_by_prefix(database: Database) -> None:
    await database.run(lambda c: remember_fact(c, "channel:a%", {"n": 1}, 1.0))
    await database.run(lambda c: remember_fact(c, "channel:a%", {"n": 2}, 2.0))
    await database.run(lambda c: remember_fact(c, "channelXb", {}, 1.0))
    assert await database.read(lambda c: read_facts(c, "channel:")) == {"a%": ({"n": 2}, 2.0)}


def test_an_alert_that_fires_in_a_database_of_before_is_over_a_day_after_it_was_heard_of(tmp_path: Path) -> None:
    engine = at_version("0002", tmp_path / "wxbridge.db")
    with engine.connect() as connection, connection.begin():
        connection.info["write"] = True
        for key, status in (("a", "firing"), ("b", "resolved")):
            connection.execute(
                sa.text("INSERT INTO alerts VALUES (:key, :status, '{}', NULL, 100.0, 200.0)"),
                {"key": key, "status": status},
            )
    engine.dispose()
    Database.open(sqlite_url(tmp_path)).close()
    with sqlite3.connect(tmp_path / "wxbridge.db") as raw:
        assert raw.execute("SELECT key, over_at FROM alerts ORDER BY key").fetchall() == [("a", 86600.0), ("b", None)]


def test_what_a_database_of_the_schema_before_holds_is_there_after_the_start(tmp_path: Path) -> None:
    engine = make_engine(sqlite_url(tmp_path))
    with engine.connect() as connection, connection.begin():
        upgrade(connection, "0003")
        for key, status in (("a", "firing"), ("b", "resolved")):
            content = '{"source": "s", "group_key": "g", "title": "t", "alerts": []}'
            connection.exec_driver_sql(
                "INSERT INTO alerts (key, status, content, first_seen, updated_at) VALUES (?, ?, ?, 1.0, 2.0)",
                (key, status, content),
            )
    engine.dispose()
    Database.open(sqlite_url(tmp_path)).close()
    engine = make_engine(sqlite_url(tmp_path))
    with engine.connect() as connection:
        assert store.list_firing_keys(connection, limit=100) == ["a"]
        assert store.prune_alerts(connection, resolved_before=3.0, unheard_before=0.0).done == ["b"]
    engine.dispose()


async def test_the_patient_let_a_rush_go_first_and_then_share_its_commit(database: Database) -> None:
    done: list[str] = []

    def note(name: str) -> Callable[[sa.Connection], None]:
        return lambda _connection: done.append(name)

    hold = await held(database)
    waiting = [asyncio.ensure_future(database.run(note("patient"), is_patient=True))]
    waiting += [asyncio.ensure_future(database.run(note("hasty"))) for _ in range(WORKS_OF_A_RUSH)]
    await asyncio.sleep(0)
    await hold.release()
    await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert done == ["hasty"] * WORKS_OF_A_RUSH + ["patient"]


async def test_the_patient_do_not_lengthen_the_commit_of_one_who_came_with_them(database: Database) -> None:
    commits: list[int] = []
    sa.event.listen(database._engine, "commit", lambda _connection: commits.append(1))
    await database.run(keep("warm"))
    before = len(commits)
    both = asyncio.gather(database.run(keep("patient"), is_patient=True), database.run(keep("hasty")))
    await asyncio.wait_for(both, 60)
    assert len(commits) - before == 2


async def test_where_there_is_no_rush_nobody_is_patient(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_work, "MAX_PATIENCE_SECONDS", 3600.0)
    await database.run(keep("one"))
    await asyncio.wait_for(database.run(keep("two"), is_patient=True), 60)
