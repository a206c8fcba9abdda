"""Statements that are run at the driver give what SQLAlchemy gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.fakes.postgresql import database_url
from wxbridge.core.database import make_engine, migrate
from wxbridge.core.prepared import MAX_KEYS, PreparedStatement
from wxbridge.core.schema import rooms

KEYS = PreparedStatement(
    sa.select(rooms)
    .where(rooms.c.id.in_(sa.bindparam("ids", expanding=True)), rooms.c.seen_at > sa.bindparam("since"))
    .order_by(rooms.c.id),
    keys="ids",
)
INSERT = PreparedStatement(sa.insert(rooms))


@pytest.fixture
def connection(each_database: str, tmp_path: Path) -> Iterator[sa.Connection]:
    engine = make_engine(database_url(tmp_path))
    migrate(engine)
    with engine.connect() as opened, opened.begin():
        yield opened
    engine.dispose()


def room(number: int) -> dict[str, object]:
    return {
        "channel": "wechat", "id": f"r{number}", "topic": "Ops", "member_ids": ["a", "ü"], "account": "",
        "seen_at": 1.0,
        "present": True, "since": 0,
    }  # fmt: skip


def test_rows_hold_what_sqlalchemy_s_do(connection: sa.Connection) -> None:
    INSERT.run_many(connection, [room(1), room(2)])
    theirs = connection.execute(sa.select(rooms).order_by(rooms.c.id)).all()
    ours = KEYS.rows_of(connection, ["r1", "r2", "r3"], {"since": 0.0})
    assert [each._asdict() for each in ours] == [each._asdict() for each in theirs] == [room(1), room(2)]
    assert KEYS.rows_of(connection, ["r1"], {"since": 1.0}) == []
    assert KEYS.rows_of(connection, [], {"since": 0.0}) == []


def test_any_number_of_keys_is_looked_for(connection: sa.Connection) -> None:
    count = MAX_KEYS + 3
    INSERT.run_many(connection, [room(number) for number in range(count)])
    found = KEYS.rows_of(connection, [f"r{number}" for number in range(count)], {"since": 0.0})
    assert sorted(each.id for each in found) == sorted(f"r{number}" for number in range(count))


def test_an_update_tells_how_many_rows_it_changed(connection: sa.Connection) -> None:
    INSERT.run_many(connection, [room(1), room(2)])
    update = PreparedStatement(sa.update(rooms).where(rooms.c.topic == sa.bindparam("was")).values(topic="Dev"))
    assert update.run(connection, {"was": "Ops"}) == 2
    assert update.run(connection, {"was": "Ops"}) == 0
