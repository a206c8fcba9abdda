"""A state moves from SQLite to PostgreSQL whole, and a bridge goes on with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.fakes import postgresql
from wxbridge.cli.migrate import _share_pictures
from wxbridge.core.database import Database, make_engine, sqlite_url
from wxbridge.core.model import Notification, NotificationKind, Picture, PictureSpec, Text
from wxbridge.core.schema import facts, metadata, remember_fact, sends
from wxbridge.core.transfer import TransferError, transfer
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.outbox_statements import PacedChats
from wxbridge.pictures.store import PictureStore


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    with postgresql.DATABASES.on_postgresql():
        yield postgresql.database_url(tmp_path)


async def fill(state_dir: Path) -> str:
    """A state with messages of all kinds, attempts, facts and a picture; gives the picture's name."""
    database = Database.open(sqlite_url(state_dir))
    try:
        outbox, store = Outbox(database), PictureStore.below(state_dir)
        picture = await store.save(b"\x89PNG bytes")
        bodies = (Text("héllo\0 你好", ("張",), "markdown"), picture, Picture(spec=PictureSpec("fetch", {"url": "x"})))
        content = {"a": [1, None, "ü"]}
        items = [
            Notification("s", target, bodies, kind=NotificationKind.ALERT, content=content, dedupe_key=f"k{number}")
            for number, target in enumerate(["ops", "dev"] * 40)
        ]
        await outbox.put(items)
        await outbox.claim(["ops"], now=1e12, limit=1, paced=PacedChats("wechat", {"ops": "room"}))
        for key in ("token:x", "bridge", "leader", "order:1"):
            await database.run(lambda c, key=key: remember_fact(c, key, {"v": key}, 1.5))
        assert picture.file
        return picture.file
    finally:
        database.close()


def rows(url: str, *, without: tuple[str, ...] = ()) -> dict[str, list[tuple[object, ...]]]:
    engine = make_engine(url)
    with engine.connect() as connection:
        connection.info["write"] = False
        found = {
            table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
            if table.name not in without
        }
    engine.dispose()
    return found


async def test_every_row_arrives_as_it_was_and_numbers_go_on(tmp_path: Path, target: str) -> None:
    state_dir = tmp_path / "state"
    picture = await fill(state_dir)
    source = sqlite_url(state_dir)
    counts = await asyncio.to_thread(transfer, source, target)
    assert counts["messages"] == 240
    assert rows(target, without=("facts",)) == rows(source, without=("facts",))
    assert [row[:2] for row in rows(target)["facts"]] == [("token:x", {"v": "token:x"})]

    assert await _share_pictures(state_dir, target) == 1
    database = Database.open(target)
    try:
        elsewhere = PictureStore(tmp_path / "elsewhere", database)
        assert (await elsewhere.fetch(picture)).read_bytes() == b"\x89PNG bytes"
        outbox = Outbox(database)
        assert await outbox.recover(now=1e12) == 1
        claimed = await outbox.claim(["dev"], now=1e12, limit=1, paced=PacedChats("wechat", {"dev": "other"}))
        assert claimed.messages[0].message.maybe_sent is False
        assert await database.read(lambda c: c.execute(sa.select(sends.c.id)).scalars().all()) == [1, 2]
    finally:
        database.close()


async def test_a_target_that_holds_something_is_left_alone(tmp_path: Path, target: str) -> None:
    state_dir = tmp_path / "state"
    await fill(state_dir)
    database = Database.open(target)
    await database.run(lambda c: remember_fact(c, "leader", {}, 0.0))
    await database.run(lambda c: remember_fact(c, "token:y", {}, 0.0))
    database.close()
    with pytest.raises(TransferError, match="its table facts is not empty"):
        await asyncio.to_thread(transfer, sqlite_url(state_dir), target)
    assert rows(target)["messages"] == []
    assert [row[0] for row in rows(target)[facts.name]] == ["leader", "token:y"]


def test_a_source_that_is_not_there_is_not_made(tmp_path: Path, target: str) -> None:
    with pytest.raises(TransferError, match="there is no SQLite database"):
        transfer(f"sqlite:///{tmp_path}/none.db", target)
    assert not (tmp_path / "none.db").exists()
