"""Many who put at the same moment share a transaction, and harm each other in nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.fakes.postgresql import database_url
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.model import Notification, Text
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.outbox_rows import MAX_GROUPS


@pytest.fixture
def database(each_database: str, tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(database_url(tmp_path))
    yield opened
    opened.close()


def alert(number: int, **more: Any) -> Notification:
    return Notification("test", "ops", (Text(f"alert {number}"),), **more)


async def test_a_hundred_at_once_are_stored_in_the_order_they_came_in_few_transactions(database: Database) -> None:
    runs = 0
    real = database.run

    async def counted(fn: Any) -> Any:
        nonlocal runs
        runs += 1
        return await real(fn)

    database.run = counted  # type: ignore[method-assign]
    outbox = Outbox(database, dedupe_window=600)
    answers = await asyncio.gather(*(outbox.put([alert(number)]) for number in range(100)))
    assert [answer.ids for answer in answers] == [(number,) for number in range(1, 101)]
    assert runs < 5
    stored = await outbox.list_messages(limit=200)
    assert [message.body for message in reversed(stored)] == [Text(f"alert {number}") for number in range(100)]


async def test_a_look_for_what_may_be_sent_that_is_asked_right_behind_finds_what_is_put(database: Database) -> None:
    now = [1000.0]
    outbox = Outbox(database, clock=lambda: now[0])
    asked = []
    commits: list[int] = []
    sa.event.listen(database._engine, "commit", lambda _connection: commits.append(1))

    def stir(targets: Any) -> None:
        assert not commits, "it is asked before that is stored"
        asked.append(asyncio.ensure_future(outbox.claim(sorted(targets), now=now[0], limit=1)))
        now[0] += 0.5  # what is stored is a moment newer than the look

    outbox.connect(render_waker=asyncio.Event(), stir=[stir])
    await outbox.put([alert(1)])
    (claim,) = await asyncio.wait_for(asyncio.gather(*asked), 60)
    assert [each.message.body for each in claim.messages] == [Text("alert 1")]


async def test_a_repeat_among_those_who_wait_together_is_absorbed(database: Database) -> None:
    outbox = Outbox(database, dedupe_window=600)
    answers = await asyncio.gather(*(outbox.put([alert(1, dedupe_key="same")]) for _ in range(10)))
    assert sum(answer.queued for answer in answers) == 1
    assert sum(answer.duplicates for answer in answers) == 9


async def test_in_a_group_only_the_newest_can_be_repeated(database: Database) -> None:
    outbox = Outbox(database, dedupe_window=600)
    keys = ["fires", "fires", "resolves", "fires", "fires", "resolves"]
    answers = await asyncio.gather(*(outbox.put([alert(1, dedupe_key=key, dedupe_group="rule")]) for key in keys))
    assert [answer.queued for answer in answers] == [1, 0, 1, 1, 0, 1]


async def test_the_newest_of_each_group_is_found_however_many_are_asked_about(database: Database) -> None:
    outbox = Outbox(database, dedupe_window=600)
    for key in ("fires", "resolves"):
        fresh = [alert(1, dedupe_key=key, dedupe_group=f"rule {number}") for number in range(MAX_GROUPS + 3)]
        assert (await outbox.put(fresh)).queued == len(fresh)
        assert (await outbox.put(fresh)).duplicates == len(fresh)


async def test_one_that_cannot_be_stored_harms_nobody_else(database: Database) -> None:
    outbox = Outbox(database, dedupe_window=600)
    bad = Notification("test", "ops", (Text("bad"),), content=object())
    results = await asyncio.gather(
        outbox.put([alert(1)]), outbox.put([bad]), outbox.put([alert(2)]), return_exceptions=True
    )
    assert [isinstance(result, BaseException) for result in results] == [False, True, False]
    stored = await outbox.list_messages()
    assert len(stored) == 2


async def test_a_full_database_is_told_to_everybody_who_waits_and_recovers(database: Database) -> None:
    if database.is_server:
        pytest.skip("it is SQLite that is made full")
    outbox = Outbox(database, dedupe_window=600)
    await database.read(lambda c: c.exec_driver_sql("PRAGMA query_only=ON"))
    results = await asyncio.gather(*(outbox.put([alert(number)]) for number in range(5)), return_exceptions=True)
    assert all(isinstance(result, StorageError) for result in results)
    await database.read(lambda c: c.exec_driver_sql("PRAGMA query_only=OFF"))
    assert (await outbox.put([alert(9)])).queued == 1


async def test_who_gives_up_waiting_keeps_nobody_else_from_being_stored(database: Database) -> None:
    outbox = Outbox(database, dedupe_window=600)
    first = asyncio.create_task(outbox.put([alert(1)]))
    second = asyncio.create_task(outbox.put([alert(2)]))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).queued == 1
