"""The statements on the outbox: their plans and speed with many rows, and what a person does by hand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from wxbridge.core.database import Database, make_engine, migrate, sqlite_url
from wxbridge.core.model import MessageState, Notification, NotificationKind, Picture, PictureSpec, Priority, Text
from wxbridge.delivery import outbox

NOW = 1_800_000_000.0
MANY = 100_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database.open(sqlite_url(tmp_path))
    yield opened
    opened.close()


# ---------------------------------------------------------------- plans


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Connection]:
    """100,000 open rows of two targets, half of them pictures, and 100,000 settled ones."""
    engine = make_engine(sqlite_url(tmp_path_factory.mktemp("crowded")))
    migrate(engine)
    with engine.connect() as connection, connection.begin():
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {2 * MANY})"
        connection.exec_driver_sql(
            f"""INSERT INTO notifications (id, created_at, source, target, kind, dedupe_key, dedupe_group,
            content)
            {numbers} SELECT i, {NOW} - 400000 + i, 's', CASE i % 10 WHEN 0 THEN 'few' ELSE 'ops' END, 'alert',
            'key' || i, 'g', '{{"alerts": []}}' FROM n"""
        )
        connection.exec_driver_sql(
            f"""INSERT INTO messages (id, notification_id, target, priority, state, kind, text, picture_file,
            picture_spec, follows, created_at, expires_at, next_try_at, settled_at)
            {numbers} SELECT i, i, CASE i % 10 WHEN 0 THEN 'few' ELSE 'ops' END, 30,
            CASE WHEN i <= {MANY} THEN 'sent' ELSE 'queued' END,
            CASE i % 2 WHEN 0 THEN 'text' ELSE 'picture' END, CASE i % 2 WHEN 0 THEN 'text' END,
            CASE i % 4 WHEN 1 THEN 'file' || i END, NULL, CASE i % 2 WHEN 1 THEN i - 1 END,
            {NOW} - 400000 + i, {NOW} + i, {NOW} - 400000 + i,
            CASE WHEN i <= {MANY} THEN {NOW} - 200000 + i END FROM n"""
        )
        connection.exec_driver_sql(f"UPDATE messages SET state = 'sent' WHERE id = {MANY + 1}")
        # The head of each target waits for another try, so that nothing may leave.
        connection.exec_driver_sql(
            f"UPDATE messages SET next_try_at = {NOW} + 30 WHERE id IN ({MANY + 2}, {MANY + 10})"
        )
        yield connection
        connection.get_transaction().rollback()  # type: ignore[union-attr]
    engine.dispose()


QUERIES: dict[str, Callable[[sa.Connection], Any]] = {
    "claim": lambda c: outbox.claim(c, ["ops", "few"], now=NOW, limit=16),
    "next_due": lambda c: outbox.next_due(c, ["ops", "few"], now=NOW),
    "overdue": lambda c: outbox.overdue(c, "ops", created_before=NOW - 120),
    "overdue, further on": lambda c: outbox.overdue(c, "few", created_before=NOW - 1, after=(NOW - 220_000, 9)),
    "count_mergeable": lambda c: outbox.count_mergeable(c, "ops", limit=300),
    "mergeable": lambda c: outbox.mergeable(c, "ops", limit=300),
    "any_expired": lambda c: outbox.any_expired(c, now=NOW),
    "expire": lambda c: outbox.expire(c, now=NOW),
    "waits_since_before": lambda c: outbox.waits_since_before(c, ["few", "nobody"], moment=NOW),
    "outage_counts": lambda c: outbox.outage_counts(c, ["ops"], began=NOW - 150_000, ended=NOW),
    "dedupe": lambda c: outbox.put(
        c, [Notification("s", "ops", (Text("x"),), dedupe_key="key200000")], now=NOW - 199_000, dedupe_window=2000
    ),
    "dedupe by group": lambda c: outbox.put(
        c, [Notification("s", "ops", (Text("x"),), dedupe_key="k", dedupe_group="g")], now=NOW, dedupe_window=2000
    ),
    "settle": lambda c: outbox.settle(c, MANY + 6, MessageState.SENT, now=NOW),
    "put_back": lambda c: outbox.put_back(c, MANY + 6, at=NOW, error="x"),
    "drawn": lambda c: outbox.drawn(c, MANY + 7, "x.png"),
    "draw_as_text": lambda c: outbox.draw_as_text(c, MANY + 7, "x"),
}
BY_INDEX_ONLY: dict[str, Callable[[sa.Connection], Any]] = {
    "to_draw": lambda c: outbox.to_draw(c, skip=[1, 2], limit=2),
    "backlog": outbox.backlog,
    "picture_files": outbox.picture_files,
    "recover": outbox.recover,
}
"""These walk along the index of their kind, some to its end, and look at no other row."""


@contextmanager
def plans(connection: sa.Connection) -> Iterator[list[tuple[str, list[str]]]]:
    """Collect what SQLite plans for each statement."""
    found: list[tuple[str, list[str]]] = []

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.split(maxsplit=1)[0] in ("SELECT", "UPDATE", "DELETE"):
            plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            found.append((statement, [row[3] for row in plan]))

    sa.event.listen(connection, "before_cursor_execute", explain)
    yield found
    sa.event.remove(connection, "before_cursor_execute", explain)


@pytest.mark.parametrize("name", [*QUERIES, *BY_INDEX_ONLY])
def test_no_statement_of_a_tick_looks_at_all_rows(crowded: sa.Connection, name: str) -> None:
    with crowded.begin_nested() as savepoint, plans(crowded) as found:
        (QUERIES | BY_INDEX_ONLY)[name](crowded)
        savepoint.rollback()
    assert found
    for statement, plan in found:
        shown = "\n".join([statement, *plan])
        for line in plan:
            if line.startswith(("SCAN messages", "SCAN notifications")):
                assert name in BY_INDEX_ONLY, shown
                assert "USING" in line, shown


@pytest.mark.parametrize(
    "name", ["claim", "next_due", "to_draw", "overdue", "count_mergeable", "any_expired", "dedupe", "dedupe by group"]
)
def test_a_hundred_thousand_waiting_rows_slow_none_of_them_down(crowded: sa.Connection, name: str) -> None:
    took = []
    for _ in range(5):
        with crowded.begin_nested() as savepoint:
            began = time.perf_counter()
            (QUERIES | BY_INDEX_ONLY)[name](crowded)
            took.append(time.perf_counter() - began)
            savepoint.rollback()
    assert min(took) < 0.02, f"{name}: {min(took) * 1000:.1f} ms"


def test_the_claim_takes_the_head_of_a_hundred_thousand(crowded: sa.Connection) -> None:
    with crowded.begin_nested() as savepoint:
        assert outbox.claim(crowded, ["ops", "few"], now=NOW, limit=16) == []
        assert outbox.next_due(crowded, ["ops", "few"], now=NOW) == NOW + 30
        heads = outbox.claim(crowded, ["ops", "few"], now=NOW + 30, limit=16)
        assert sorted(message.id for message in heads) == [MANY + 2, MANY + 10]
        savepoint.rollback()


def test_pictures_behind_many_waiting_texts_do_not_slow_the_claim_down(crowded: sa.Connection) -> None:
    with crowded.begin_nested() as savepoint:
        crowded.exec_driver_sql("UPDATE messages SET picture_file = 'x' WHERE kind = 'picture' AND state = 'queued'")
        began = time.perf_counter()
        outbox.claim(crowded, ["ops", "few"], now=NOW, limit=16)
        assert time.perf_counter() - began < 0.02
        savepoint.rollback()


# ---------------------------------------------------------------- what the functions say


def texts(target: str, *words: str, **fields: Any) -> Notification:
    return Notification("test", target, tuple(map(Text, words)), **fields)


async def test_what_is_stored_comes_back_whole(database: Database) -> None:
    spec = PictureSpec("url", {"url": "http://x", "from": 1}, link="http://x")
    bodies = (Text("hello", ("all", "张三")), Picture(spec=spec, name="图.png"), Picture(file="a.png"))
    item = Notification("s", "ops", bodies, Priority.CRITICAL, expires_after=60)
    accepted = await database.run(lambda c: outbox.put(c, [item], now=NOW))
    found = await database.read(lambda c: outbox.get(c, [*accepted.ids, 99]))
    assert tuple(message.body for message in found) == bodies
    assert {(m.target, m.priority, m.created_at, m.expires_at, m.tries) for m in found} == {
        ("ops", 20, NOW, NOW + 60, 0)
    }
    raw = await database.read(lambda c: c.exec_driver_sql("SELECT picture_spec IS NULL FROM messages").scalars().all())
    assert raw == [1, 0, 1]


async def test_what_nobody_is_there_for_is_dead_from_the_start_and_listed(database: Database) -> None:
    await database.run(lambda c: outbox.put(c, [texts("nobody", "x", dead="no route matches")], now=NOW))
    (message,) = await database.read(lambda c: outbox.listing(c, states=["dead"]))
    assert (message.error, message.settled_at) == ("no route matches", NOW)


async def test_listing_filters_by_state_target_and_age_the_newest_first(database: Database) -> None:
    def fill(connection: sa.Connection) -> None:
        for number, target in enumerate(("a", "b", "a", "b", "a")):
            outbox.put(connection, [texts(target, f"{number}")], now=NOW + number)
        outbox.settle(connection, 3, MessageState.SENT, now=NOW)

    await database.run(fill)

    async def ids(**filters: Any) -> list[int]:
        return [message.id for message in await database.read(lambda c: outbox.listing(c, **filters))]

    assert await ids() == [5, 4, 3, 2, 1]
    assert await ids(limit=2) == [5, 4]
    assert await ids(target="a") == [5, 3, 1]
    assert await ids(target="a", states=["queued", "sending"]) == [5, 1]
    assert await ids(since=NOW + 3) == [5, 4]
    assert await ids(target="c") == []


async def test_drop_closes_what_is_queued_and_nothing_else(database: Database) -> None:
    def fill(connection: sa.Connection) -> int:
        outbox.put(connection, [texts("a", "1", "2", "3")], now=NOW)
        outbox.claim(connection, ["a"], now=NOW, limit=1)
        outbox.settle(connection, 3, MessageState.SENT, now=NOW)
        return outbox.drop(connection, [1, 2, 3, 4], now=NOW + 1)

    assert await database.run(fill) == 1
    found = await database.read(lambda c: outbox.get(c, [1, 2, 3]))
    assert [message.state.value for message in found] == ["sending", "dead", "sent"]
    assert (found[1].error_code, found[1].error, found[1].settled_at) == ("dropped", "dropped by hand", NOW + 1)


async def test_retry_queues_again_whatever_became_of_it_but_not_what_is_being_sent(database: Database) -> None:
    def fill(connection: sa.Connection) -> int:
        outbox.put(connection, [texts("a", "1", "2", "3", "4", expires_after=10)], now=NOW)
        outbox.claim(connection, ["a"], now=NOW, limit=1)
        outbox.settle(connection, 2, MessageState.SENT, now=NOW, receipt="r")
        outbox.settle(connection, 3, MessageState.EXPIRED, now=NOW, error="expired", code="c")
        outbox.put_back(connection, 4, at=NOW + 300, error="busy")
        return outbox.retry(connection, [1, 2, 3, 4, 5], now=NOW + 100, expires_after=50)

    assert await database.run(fill) == 3
    found = await database.read(lambda c: outbox.get(c, [1, 2, 3, 4]))
    assert [message.state.value for message in found] == ["sending", "queued", "queued", "queued"]
    for message in found[1:]:
        assert (message.next_try_at, message.expires_at, message.tries) == (NOW + 100, NOW + 150, 0)
        assert message.settled_at is None
        assert message.receipt is None


async def test_a_message_retried_by_hand_can_be_claimed_expired_and_settled(database: Database) -> None:
    """Rows that come back into the partial indexes are found through them."""

    def work(connection: sa.Connection) -> list[Any]:
        outbox.put(connection, [texts("a", "1")], now=NOW)
        outbox.settle(connection, 1, MessageState.DEAD, now=NOW)
        seen = [outbox.backlog(connection), outbox.claim(connection, ["a"], now=NOW, limit=1)]
        outbox.retry(connection, [1], now=NOW, expires_after=5)
        seen += [outbox.backlog(connection), len(outbox.claim(connection, ["a"], now=NOW, limit=1))]
        seen += [outbox.recover(connection), len(outbox.expire(connection, now=NOW + 86401))]
        return [*seen, outbox.backlog(connection)]

    assert await database.run(work) == [[], [], [("a", 1, NOW)], 1, 1, 1, []]


async def test_a_notification_knows_the_targets_it_was_meant_for(database: Database) -> None:
    def fill(connection: sa.Connection) -> Any:
        for number, target in enumerate(("a", "b", "c")):
            outbox.put(connection, [texts(target, "x", origin=number or None)], now=NOW)
        return outbox.stored(connection, 3), outbox.stored(connection, 9)

    stored, nothing = await database.run(fill)
    assert stored.visited == ("c", "b", "a")
    assert nothing is None


async def test_backlog_and_counts(database: Database) -> None:
    def fill(connection: sa.Connection) -> None:
        outbox.put(connection, [texts("a", "1", "2"), texts("b", "3")], now=NOW)
        outbox.put(connection, [texts("a", "4")], now=NOW + 5)
        outbox.settle(connection, 1, MessageState.SENT, now=NOW)

    await database.run(fill)
    assert sorted(await database.read(outbox.backlog)) == [("a", 2, NOW), ("b", 1, NOW)]
    assert sorted(await database.read(outbox.counts)) == [
        ("a", "queued", 2, NOW),
        ("a", "sent", 1, NOW),
        ("b", "queued", 1, NOW),
    ]


async def test_prune_forgets_at_most_so_many_and_names_the_files_nobody_needs(database: Database) -> None:
    def fill(connection: sa.Connection) -> Any:
        for number in range(5):
            item = Notification("s", "a", (Picture(file=f"{number}.png"), Picture(file="shared.png")))
            outbox.put(connection, [item], now=NOW + number)
        ids = [message.id for message in outbox.listing(connection)]
        outbox.close_all(connection, ids, MessageState.SENT, now=NOW, error="")
        outbox.retry(connection, [10], now=NOW, expires_after=1)
        first = outbox.prune(connection, before=NOW + 100, sends_before=NOW, limit=3)
        second = outbox.prune(connection, before=NOW + 100, sends_before=NOW, limit=3)
        return first, second, outbox.picture_files(connection)

    first, second, kept = await database.run(fill)
    assert first == (3, ["0.png", "1.png", "2.png"])
    assert second == (1, ["3.png"])
    assert kept == {"4.png", "shared.png"}


async def test_a_notification_goes_with_its_messages_and_no_message_without(database: Database) -> None:
    await database.run(lambda c: outbox.put(c, [texts("a", "1", "2")], now=NOW))
    await database.run(lambda c: c.exec_driver_sql("DELETE FROM notifications"))
    assert await database.read(outbox.listing) == []


async def test_only_texts_of_alerts_and_digests_can_be_merged(database: Database) -> None:
    def fill(connection: sa.Connection) -> Any:
        content = {"alerts": []}
        outbox.put(
            connection,
            [
                texts("a", "1", "2", kind=NotificationKind.ALERT, content=content),
                texts("a", "3"),
                texts("a", "4", kind=NotificationKind.GREETING, content=content),
                texts("a", "5", kind=NotificationKind.ALERT),
                texts("b", "6", kind=NotificationKind.ALERT, content=content),
                texts("a", "7", kind=NotificationKind.DIGEST, content=content),
            ],
            now=NOW,
        )
        found = outbox.mergeable(connection, "a", limit=100)
        return [each.message_ids for each in found], outbox.count_mergeable(connection, "a", limit=100)

    assert await database.run(fill) == ([(7,), (1, 2)], 3)
