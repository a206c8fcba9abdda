"""What PostgreSQL does otherwise than SQLite: its address, its one writer, its silence, what others are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.fakes import postgresql
from tests.fakes.postgresql import shared_cluster
from tests.fakes.wire import Wire
from wxbridge.config.schema import Config
from wxbridge.core import database as module
from wxbridge.core.database import Database
from wxbridge.core.errors import ConfigError, StorageError, UnusableState
from wxbridge.core.leadership import note_changed
from wxbridge.core.schema import SCHEMA_VERSION, facts, metadata, read_fact, read_facts, remember_fact, silences

PATIENCE = 30.0
"""Seconds that a busy machine may take for what takes a moment."""


@pytest.fixture(autouse=True)
def _on_postgresql() -> Iterator[None]:
    with postgresql.DATABASES.on_postgresql():
        yield


@pytest.fixture
def url(tmp_path: Path) -> str:
    return postgresql.database_url(tmp_path)


@pytest.fixture
def open_one(url: str) -> Iterator[Callable[..., Database]]:
    opened: list[Database] = []

    def open_it(address: str = url) -> Database:
        opened.append(Database.open(address))
        return opened[-1]

    yield open_it
    for each in opened:
        each.close()


# ---------------------------------------------------------------- its address


def test_jobs_yaml_names_it_and_no_error_shows_the_password(read: Callable[..., Config]) -> None:
    small = "targets: {ops: {channel: console}}\nroutes: [{to: [ops]}]\n"
    config = read(small + 'database: "${DB}"\n', DB="postgresql://me:sekrit@db/bridge")
    assert config.database
    assert config.database.get_secret_value() == "postgresql://me:sekrit@db/bridge"
    assert "sekrit" not in repr(config)
    assert read(small + 'database: ""\n').database is None
    with pytest.raises(ConfigError, match=r"jobs\.yaml:3: `database`: .*postgresql://") as caught:
        read(small + "database: mysql://me:sekrit@db/bridge\n")
    assert "sekrit" not in str(caught.value)


def test_what_cannot_be_reached_says_so_and_may_be_tried_again() -> None:
    with pytest.raises(StorageError, match=r"cannot open the database of PostgreSQL: .*refused") as caught:
        Database.open("postgresql://me:sekrit@127.0.0.1:1/x")
    assert not isinstance(caught.value, UnusableState)
    assert "sekrit" not in str(caught.value)


# ---------------------------------------------------------------- its tables


def test_an_empty_database_gets_the_tables_of_the_migrations(open_one: Callable[..., Database], tmp_path: Path) -> None:
    name = f"empty_{tmp_path.name[-6:]}".replace("-", "_").lower()
    shared_cluster().execute(f'CREATE DATABASE "{name}"')
    try:
        opened = open_one(shared_cluster().url(name))
        with opened._engine.connect() as connection:
            connection.info["write"] = False
            inspected = sa.inspect(connection)
            assert {*metadata.tables, "alembic_version"} == set(inspected.get_table_names())
            for table in metadata.tables.values():
                assert {each["name"] for each in inspected.get_columns(table.name)} == {each.name for each in table.c}
                assert {each["name"] for each in inspected.get_indexes(table.name)} == {x.name for x in table.indexes}
            version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            assert version == SCHEMA_VERSION
        opened.close()
    finally:
        shared_cluster().drop_database(f'"{name}"')


def test_a_newer_schema_is_refused(url: str, open_one: Callable[..., Database]) -> None:
    shared_cluster().execute("UPDATE alembic_version SET version_num = '9999'", url.rpartition("/")[2])
    with pytest.raises(UnusableState, match="the database has schema 9999"):
        open_one()


async def test_what_postgresql_has_no_place_for_is_replaced(open_one: Callable[..., Database]) -> None:
    database = open_one()
    row = {"id": "1", "matchers": ["a\0b"], "starts_at": 0, "ends_at": 1, "created_at": 0, "created_by": "m\0e"}
    await database.run(lambda c: c.execute(sa.insert(silences).values(**row, comment="")))
    found = (await database.read(lambda c: c.execute(sa.select(silences)).all()))[0]
    assert (found.created_by, found.matchers) == ("m\ufffde", ["a\0b"])


async def test_what_is_acknowledged_is_on_the_disk_also_where_the_server_is_set_otherwise(
    open_one: Callable[..., Database],
) -> None:
    assert shared_cluster().execute("SHOW synchronous_commit") == [("off",)]
    assert await open_one().run(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar()) == "on"


# ---------------------------------------------------------------- its one writer


async def test_who_writes_is_alone_also_among_several_bridges(open_one: Callable[..., Database]) -> None:
    one, other = open_one(), open_one()

    def count(connection: sa.Connection) -> None:
        number = read_fact(connection, "count") or 0
        remember_fact(connection, "count", number + 1, 0.0)

    await asyncio.gather(*(database.run(count) for _ in range(50) for database in (one, other)))
    assert await one.read(lambda c: read_fact(c, "count")) == 100


async def test_a_reader_sees_one_state_and_changes_nothing(open_one: Callable[..., Database]) -> None:
    one, other = open_one(), open_one()
    loop = asyncio.get_running_loop()

    def read_twice(connection: sa.Connection) -> tuple[int, int]:
        before = len(read_facts(connection, "x"))
        write = other.run(lambda c: remember_fact(c, "x", 1, 0.0))
        asyncio.run_coroutine_threadsafe(write, loop).result(PATIENCE)
        return before, len(read_facts(connection, "x"))

    assert await one.read(read_twice) == (0, 0)
    assert await one.read(lambda c: len(read_facts(c, "x"))) == 1
    with pytest.raises(StorageError, match="read-only"):
        await one.read(lambda c: remember_fact(c, "y", 1, 0.0))


async def test_who_shares_a_transaction_with_one_that_fails_is_harmed_by_nothing(
    open_one: Callable[..., Database],
) -> None:
    database = open_one()

    def fail(connection: sa.Connection) -> None:
        remember_fact(connection, "bad", 1, 0.0)
        connection.exec_driver_sql("SELECT no_such_thing")

    done = await asyncio.gather(
        database.run(lambda c: remember_fact(c, "good", 1, 0.0)), database.run(fail),
        database.run(lambda c: remember_fact(c, "better", 1, 0.0)), return_exceptions=True,
    )  # fmt: skip
    assert [type(each) for each in done] == [type(None), StorageError, type(None)]
    assert sorted(await database.read(lambda c: c.execute(sa.select(facts.c.key)).scalars().all())) == [
        "better",
        "good",
    ]


# ---------------------------------------------------------------- its silence


async def test_a_server_that_is_silent_is_told_of_in_time_and_nothing_hangs(
    url: str, open_one: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wxbridge.core.postgresql.ServerConnection.silence_limit", 3.0)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1.5)
    async with Wire(shared_cluster().port) as wire:
        database = await asyncio.to_thread(open_one, shared_cluster().url(url.rpartition("/")[2], port=wire.port))
        await database.run(lambda c: remember_fact(c, "x", 1, 0.0))
        wire.cut()
        began = time.monotonic()
        asked = [
            database.run(lambda c: remember_fact(c, "x", 2, 0.0)),
            database.read(lambda c: read_facts(c, "x")),
            database.run(lambda c: remember_fact(c, "y", 2, 0.0)),
        ]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, StorageError) and "not answer" in str(each) for each in found), found
        assert time.monotonic() - began < module.ANSWER_SECONDS + 1.5
        wire.mend()

        async def insist() -> None:
            while True:
                try:
                    await database.run(lambda c: remember_fact(c, "back", 1, 0.0))
                except StorageError:
                    await asyncio.sleep(0.1)
                else:
                    return

        await asyncio.wait_for(insist(), PATIENCE)


async def test_a_restarted_server_is_gone_on_with(url: str, open_one: Callable[..., Database]) -> None:
    database = open_one()
    await database.run(lambda c: remember_fact(c, "x", 1, 0.0))
    shared_cluster().execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
    )
    outcomes = await asyncio.gather(database.run(lambda c: read_facts(c, "x")), return_exceptions=True)
    assert isinstance(outcomes[0], StorageError)
    assert await database.run(lambda c: read_fact(c, "x")) == 1


# ---------------------------------------------------------------- what others are told


async def test_others_are_told_what_was_written_once_it_is(url: str, open_one: Callable[..., Database]) -> None:
    import psycopg

    database = open_one()
    with psycopg.connect(url, autocommit=True) as listening:
        listening.execute("LISTEN wxbridge")
        keys = [f"{number:038d}" for number in range(400)]
        await database.run(lambda c: note_changed(c, keys))
        await database.run(lambda c: remember_fact(c, "x", 1, 0.0))
        with pytest.raises(StorageError):
            await database.run(lambda c: c.exec_driver_sql("SELECT no_such_thing"))
        heard = [each.payload.split(" ") for each in listening.notifies(timeout=2, stop_after=4)]
    assert {sender for sender, _ in heard} == {database.sender}
    assert [key for _, some in heard for key in some.split(",") if key] == keys
    assert heard[-1][1] == ""
    assert len(heard) == 4
