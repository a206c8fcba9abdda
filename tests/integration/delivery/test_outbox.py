"""The statements on the outbox: their plans and speed with many rows, and what a person does by hand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.fakes.postgresql import database_url
from tests.fakes.statements import recorder_of, recording
from tests.integration.delivery.delivery_harness import OneConnection
from wxbridge.core.database import Database, make_engine, migrate, sqlite_url
from wxbridge.core.model import (
    Message,
    MessageState,
    Notification,
    NotificationKind,
    Picture,
    PictureSpec,
    Priority,
    Text,
)
from wxbridge.delivery import outbox_statements as statements
from wxbridge.delivery.outbox import ClaimResult, Outbox
from wxbridge.delivery.outbox_statements import (
    MergeableNotification,
    MissingPictureWords,
    PacedChats,
    Replacement,
    SentMessage,
)

NOW = 1_800_000_000.0
MANY = 100_000


@pytest.fixture
async def database(each_database: str, tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database.open(database_url(tmp_path))
    yield opened
    opened.close()


# ---------------------------------------------------------------- plans


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Connection]:
    """100,000 open rows of two targets, half of them pictures, and 100,000 settled ones."""
    engine = make_engine(sqlite_url(tmp_path_factory.mktemp("crowded")))
    migrate(engine)
    engine.dispose()
    with recording(), engine.connect() as connection, connection.begin():
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


class SteadyOutbox(Outbox):
    """An outbox whose clock stands where a test sets it."""

    def __init__(self, database: Any, *, now: float = NOW, dedupe_window: float = 0) -> None:
        super().__init__(database, dedupe_window=dedupe_window, clock=lambda: self.now)
        self.now = now


@pytest.fixture
def outbox(database: Database) -> SteadyOutbox:
    return SteadyOutbox(database)


def on(connection: sa.Connection, now: float = NOW) -> SteadyOutbox:
    """An outbox in the transaction of a connection."""
    return SteadyOutbox(OneConnection(connection), now=now, dedupe_window=2000)


async def message(outbox: Outbox, message_id: int) -> Message:
    return (await outbox.get_messages([message_id]))[0]


async def merge(outbox: Outbox, target: str, limit: int) -> list[MergeableNotification]:
    """What could be merged."""
    found: list[MergeableNotification] = []

    def compose(given: Sequence[MergeableNotification]) -> list[Replacement]:
        found.extend(given)
        return []

    assert await outbox.merge(target, compose, now=NOW, limit=limit) == 0
    return found


QUERIES: dict[str, Callable[[sa.Connection], Awaitable[Any]]] = {
    "claim": lambda c: on(c).claim(["ops", "few"], now=NOW, limit=16),
    "claim, and record": lambda c: on(c).claim(
        ["ops", "few"], now=NOW + 30, limit=16, sent=[SentMessage(MANY + 6, NOW)],
        paced=PacedChats("a", {"ops": "ops", "few": "few"}),
    ),
    "overdue": lambda c: on(c).select_overdue("ops", created_before=NOW - 120),
    "overdue, further on": lambda c: on(c).select_overdue("few", created_before=NOW - 1, after=(NOW - 220_000, 9)),
    "count_mergeable": lambda c: on(c).count_mergeable("ops", limit=300),
    "merge": lambda c: merge(on(c), "ops", 300),
    "expire": lambda c: on(c).expire(now=NOW),
    "is_drained": lambda c: on(c).is_drained(["few", "nobody"], moment=NOW),
    "count_outage": lambda c: on(c).count_outage(["ops"], began=NOW - 150_000, ended=NOW),
    "dedupe": lambda c: on(c, NOW - 199_000).put([Notification("s", "ops", (Text("x"),), dedupe_key="key200000")]),
    "dedupe by group": lambda c: on(c).put(
        [Notification("s", "ops", (Text("x"),), dedupe_key="k", dedupe_group="g")]
    ),
    "record_sent": lambda c: on(c).record_sent([SentMessage(MANY + 6, NOW)]),
    "put_back": lambda c: on(c).put_back(MANY + 6, at=NOW, error="x"),
    "list_settled": lambda c: on(c).list_settled(["dead"], since=NOW - 100, limit=10),
}  # fmt: skip
WORDS = MissingPictureWords(lambda _text: "x", lambda _picture: "x")
BY_INDEX_ONLY: dict[str, Callable[[sa.Connection], Awaitable[Any]]] = {
    "select_undrawn": lambda c: on(c).select_undrawn(skip=[1, 2], limit=2),
    "count_backlog": lambda c: on(c).count_backlog(),
    "list_picture_files": lambda c: on(c).list_picture_files(),
    "recover": lambda c: on(c).recover(now=NOW),
    "record_picture": lambda c: drawn(c, lambda outbox, picture: outbox.record_picture(picture, "x.png")),
    "miss_pictures": lambda c: drawn(c, lambda outbox, it: outbox.miss_pictures(it, WORDS, now=NOW, error="x")),
}  # fmt: skip
"""These walk along the index of their kind, some to its end, and look at no other row."""


async def drawn(connection: sa.Connection, work: Callable[[Outbox, Message], Awaitable[Any]]) -> None:
    outbox = on(connection)
    await work(outbox, await message(outbox, MANY + 7))


@contextmanager
def plans(connection: sa.Connection) -> Iterator[list[tuple[str, list[str]]]]:
    """Collect what SQLite plans for each statement; it is there once the block is left."""
    statements = recorder_of(connection).statements
    statements.clear()
    found: list[tuple[str, list[str]]] = []
    yield found
    found += [(each.text, list(each.plan)) for each in statements.values() if each.plan]


@pytest.mark.parametrize("name", [*QUERIES, *BY_INDEX_ONLY])
async def test_no_statement_of_a_tick_looks_at_all_rows(crowded: sa.Connection, name: str) -> None:
    with crowded.begin_nested() as savepoint, plans(crowded) as found:
        await (QUERIES | BY_INDEX_ONLY)[name](crowded)
        savepoint.rollback()
    assert found
    for statement, plan in found:
        shown = "\n".join([statement, *plan])
        for line in plan:
            if line.startswith(("SCAN messages", "SCAN notifications")):
                assert name in BY_INDEX_ONLY, shown
                assert "USING" in line, shown


@pytest.mark.parametrize(
    "name", ["claim", "select_undrawn", "overdue", "count_mergeable", "expire", "dedupe", "dedupe by group"]
)
async def test_a_hundred_thousand_waiting_rows_slow_none_of_them_down(crowded: sa.Connection, name: str) -> None:
    took = []
    for _ in range(5):
        with crowded.begin_nested() as savepoint:
            began = time.thread_time()
            await (QUERIES | BY_INDEX_ONLY)[name](crowded)
            took.append(time.thread_time() - began)
            savepoint.rollback()
    assert min(took) < 0.02, f"{name}: {min(took) * 1000:.1f} ms"


async def test_the_claim_takes_the_head_of_a_hundred_thousand(crowded: sa.Connection) -> None:
    with crowded.begin_nested() as savepoint:
        outbox = on(crowded)
        assert await outbox.claim(["ops", "few"], now=NOW, limit=16) == ClaimResult((), ("ops", "few"))
        assert await outbox.select_dues(["ops", "few"], now=NOW) == {"ops": NOW + 30, "few": NOW + 30}
        heads = await outbox.claim(["ops", "few"], now=NOW + 30, limit=16)
        assert sorted(claimed.message.id for claimed in heads.messages) == [MANY + 2, MANY + 10]
        savepoint.rollback()


async def test_pictures_behind_many_waiting_texts_do_not_slow_the_claim_down(crowded: sa.Connection) -> None:
    with crowded.begin_nested() as savepoint:
        crowded.exec_driver_sql("UPDATE messages SET picture_file = 'x' WHERE kind = 'picture' AND state = 'queued'")
        began = time.thread_time()
        await on(crowded).claim(["ops", "few"], now=NOW, limit=16)
        assert time.thread_time() - began < 0.02
        savepoint.rollback()


# ---------------------------------------------------------------- what the methods say


def texts(target: str, *words: str, **fields: Any) -> Notification:
    return Notification("test", target, tuple(map(Text, words)), **fields)


async def test_what_is_stored_comes_back_whole(database: Database, outbox: SteadyOutbox) -> None:
    spec = PictureSpec("url", {"url": "http://x", "from": 1}, link="http://x")
    bodies = (Text("hello", ("all", "张三")), Picture(spec=spec, name="图.png"), Picture(file="a.png"))
    item = Notification("s", "ops", bodies, Priority.CRITICAL, expires_after=60)
    accepted = await outbox.put([item])
    found = await outbox.get_messages([*accepted.ids, 99])
    assert tuple(message.body for message in found) == bodies
    assert {(m.target, m.priority, m.created_at, m.expires_at, m.tries) for m in found} == {
        ("ops", 20, NOW, NOW + 60, 0)
    }
    raw = await database.read(lambda c: c.exec_driver_sql("SELECT picture_spec IS NULL FROM messages").scalars().all())
    assert raw == [1, 0, 1]


async def test_what_nobody_is_there_for_waits_and_is_listed(outbox: SteadyOutbox) -> None:
    await outbox.put([texts("nobody", "x", waits="no route matches")])
    (message,) = await outbox.list_messages(states=["queued"])
    assert (message.error, message.settled_at) == ("no route matches", None)


async def test_listing_filters_by_state_target_and_age_the_newest_first(outbox: SteadyOutbox) -> None:
    for number, target in enumerate(("a", "b", "a", "b", "a")):
        outbox.now = NOW + number
        await outbox.put([texts(target, f"{number}")])
    await outbox.record_sent([SentMessage(3, NOW)])

    async def ids(**filters: Any) -> list[int]:
        return [message.id for message in await outbox.list_messages(**filters)]

    assert await ids() == [5, 4, 3, 2, 1]
    assert await ids(limit=2) == [5, 4]
    assert await ids(target="a") == [5, 3, 1]
    assert await ids(target="a", states=["queued", "sending"]) == [5, 1]
    assert await ids(since=NOW + 3) == [5, 4]
    assert await ids(target="c") == []


async def test_drop_closes_what_is_queued_and_nothing_else(outbox: SteadyOutbox) -> None:
    await outbox.put([texts("a", "1", "2", "3")])
    await outbox.claim(["a"], now=NOW, limit=1)
    await outbox.record_sent([SentMessage(3, NOW)])
    assert await outbox.drop([1, 2, 3, 4], now=NOW + 1) == 1
    found = await outbox.get_messages([1, 2, 3])
    assert [message.state.value for message in found] == ["sending", "dead", "sent"]
    assert (found[1].error_code, found[1].error, found[1].settled_at) == ("dropped", "dropped by hand", NOW + 1)


async def test_retry_queues_again_whatever_became_of_it_but_not_what_is_being_sent(outbox: SteadyOutbox) -> None:
    await outbox.put([texts("a", "1", "2", "3", "4", expires_after=10)])
    await outbox.claim(["a"], now=NOW, limit=1)
    await outbox.record_sent([SentMessage(2, NOW, "r")])
    await outbox.close([3], MessageState.EXPIRED, now=NOW, error="expired", code="c")
    await outbox.put_back(4, at=NOW + 300, error="busy")
    assert await outbox.retry([1, 2, 3, 4, 5], now=NOW + 100, expires_after=50) == 3
    found = await outbox.get_messages([1, 2, 3, 4])
    assert [message.state.value for message in found] == ["sending", "queued", "queued", "queued"]
    for message in found[1:]:
        assert (message.next_try_at, message.expires_at, message.tries) == (NOW + 100, NOW + 150, 0)
        assert message.settled_at is None
        assert message.receipt is None


async def test_a_message_retried_by_hand_can_be_claimed_expired_and_settled(outbox: SteadyOutbox) -> None:
    """Rows that come back into the partial indexes are found through them."""
    await outbox.put([texts("a", "1")])
    await outbox.close([1], MessageState.DEAD, now=NOW, error="")
    assert await outbox.count_backlog() == []
    assert (await outbox.claim(["a"], now=NOW, limit=1)).messages == ()
    await outbox.retry([1], now=NOW, expires_after=5)
    assert await outbox.count_backlog() == [("a", 1, NOW)]
    assert len((await outbox.claim(["a"], now=NOW, limit=1)).messages) == 1
    assert await outbox.recover(now=NOW) == 1
    assert len(await outbox.expire(now=NOW + 86401)) == 1
    assert await outbox.count_backlog() == []


async def test_a_notification_knows_the_targets_it_was_meant_for(outbox: SteadyOutbox) -> None:
    for number, target in enumerate(("a", "b", "c")):
        await outbox.put([texts(target, "x", origin=number or None)])
    stored = await outbox.find_notification(3)
    assert stored
    assert stored.visited == ("c", "b", "a")
    assert await outbox.find_notification(9) is None


async def test_backlog_and_counts(outbox: SteadyOutbox) -> None:
    await outbox.put([texts("a", "1", "2"), texts("b", "3")])
    outbox.now = NOW + 5
    await outbox.put([texts("a", "4")])
    await outbox.record_sent([SentMessage(1, NOW)])
    assert sorted(await outbox.count_backlog()) == [("a", 2, NOW), ("b", 1, NOW)]
    assert sorted((m.target, m.state.value, m.created_at) for m in await outbox.list_messages()) == [
        ("a", "queued", NOW),
        ("a", "queued", NOW + 5),
        ("a", "sent", NOW),
        ("b", "queued", NOW),
    ]
    assert await outbox.count_settled(since=NOW, until=NOW + 1) == {("a", "sent"): 1}


async def test_prune_forgets_at_most_so_many_and_names_the_files_nobody_needs(
    database: Database, outbox: SteadyOutbox
) -> None:
    for number in range(5):
        outbox.now = NOW + number
        await outbox.put([Notification("s", "a", (Picture(file=f"{number}.png"), Picture(file="shared.png")))])
    ids = [message.id for message in await outbox.list_messages()]
    await outbox.close(ids, MessageState.SENT, now=NOW, error="")
    await outbox.retry([10], now=NOW, expires_after=1)
    prune = partial(statements.prune, before=NOW + 100, sends_before=NOW, limit=3)
    first = await database.run(prune)
    assert (first.count, first.done) == (3, ("0.png", "1.png", "2.png"))
    second = await database.run(prune)
    assert (second.count, second.done) == (1, ("3.png",))
    assert await outbox.list_picture_files() == {"4.png", "shared.png"}


async def test_a_notification_goes_with_its_messages_and_no_message_without(
    database: Database, outbox: SteadyOutbox
) -> None:
    await outbox.put([texts("a", "1", "2")])
    await database.run(lambda c: c.exec_driver_sql("DELETE FROM notifications"))
    assert await outbox.list_messages() == []


async def test_only_texts_of_alerts_and_digests_can_be_merged(outbox: SteadyOutbox) -> None:
    content: Any = {"alerts": []}
    await outbox.put(
        [
            texts("a", "1", "2", kind=NotificationKind.ALERT, content=content),
            texts("a", "3"),
            texts("a", "4", kind=NotificationKind.GREETING, content=content),
            texts("a", "5", kind=NotificationKind.ALERT),
            texts("b", "6", kind=NotificationKind.ALERT, content=content),
            texts("a", "7", kind=NotificationKind.DIGEST, content=content),
        ]
    )
    assert [each.message_ids for each in await merge(outbox, "a", 100)] == [(7,), (1, 2)]
    assert (await outbox.count_mergeable("a", limit=100)).messages == 3
