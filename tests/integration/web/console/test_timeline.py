"""The timeline reads whatever is kept at the same cost, and tells how each POST was routed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from tests.integration.delivery.delivery_harness import OneConnection
from wxbridge import registry
from wxbridge.alerts.notification_log import LogUpdate, NotificationLog
from wxbridge.alerts.pipeline import AlertPipeline, AlertSettings
from wxbridge.alerts.render import Destination
from wxbridge.alerts.routing import Route, compile_routes
from wxbridge.core import database
from wxbridge.core.matchers import parse_matchers
from wxbridge.core.model import Capabilities, MessageState, Notification, Received, Text
from wxbridge.delivery import timeline
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.outbox_statements import SentMessage
from wxbridge.delivery.timeline import TimelineFilter, TimelinePage


class TimedOutbox(Outbox):
    """An outbox in one transaction that a test holds, and whose clock stands at `at`."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(OneConnection(connection), clock=lambda: self.at)
        self.connection, self.at = connection, 1000.0


@pytest.fixture
def outbox(connection: Connection) -> TimedOutbox:
    return TimedOutbox(connection)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = database.make_engine(database.sqlite_url(tmp_path))
    database.migrate(engine)
    with engine.connect() as made, made.begin():
        yield made
    engine.dispose()


async def came(
    outbox: TimedOutbox, title: str, *targets: str, at: float = 1000.0, text: str = "", told: bool = True
) -> list[int]:
    """A POST that led to a message for each target."""
    outbox.at = at
    items = [Notification("test", target, (Text(text or title),)) for target in targets] if told else []
    return list((await outbox.put(items, received=Received("test", title, 1, []))).ids)


def titles(found: TimelinePage) -> list[str]:
    return [entry.title for entry in found.entries]


async def all_pages(outbox: Outbox, asked: TimelineFilter, per_page: int) -> list[TimelinePage]:
    pages = [await outbox.read_timeline(asked, per_page=per_page)]
    while pages[-1].next:
        pages.append(await outbox.read_timeline(asked, timeline.TimelinePosition.read(str(pages[-1].next)), per_page))
    return pages


async def test_what_came_in_stands_with_the_messages_it_led_to_and_the_newest_is_first(outbox: TimedOutbox) -> None:
    await came(outbox, "first", "ops", "boss")
    await came(outbox, "second", "ops", at=1001)
    outbox.at = 1002
    await outbox.put([Notification("job:x", "ops", (Text("by itself"),))])
    found = await outbox.read_timeline(TimelineFilter())
    assert [(entry.title, [told.target for told in entry.told]) for entry in found.entries] == [
        ("", ["ops"]), ("second", ["ops"]), ("first", ["ops", "boss"]),
    ]  # fmt: skip
    assert found.next is None


@pytest.mark.parametrize("per_page", [1, 2, 3, 5, 7])
async def test_pages_lose_nothing_and_repeat_nothing_and_cut_no_post_in_two(outbox: TimedOutbox, per_page: int) -> None:
    for number in range(20):
        targets = ["ops", "boss", "dba"][: 1 + number % 3]
        await came(outbox, f"n{number}", *targets, at=1000 + number, told=number % 4 != 0)
    pages = await all_pages(outbox, TimelineFilter(), per_page)
    shown = [entry for page in pages for entry in page.entries]
    assert [entry.title for entry in shown] == [f"n{number}" for number in reversed(range(20))]
    assert [len(entry.told) for entry in shown] == [
        0 if number % 4 == 0 else 1 + number % 3 for number in reversed(range(20))
    ]


async def test_a_filter_finds_by_target_state_time_and_text(outbox: TimedOutbox) -> None:
    ids = [await came(outbox, f"n{n}", "ops" if n % 2 else "boss", at=1000 + n, text=f"disk {n}%") for n in range(10)]
    await came(outbox, "quiet", at=1010, told=False)
    await outbox.close(ids[3], MessageState.DEAD, now=2000, error="no")
    await outbox.record_sent([SentMessage(ids[4][0], 2000)])
    assert titles(await outbox.read_timeline(TimelineFilter(target="boss"))) == ["n8", "n6", "n4", "n2", "n0"]
    assert titles(await outbox.read_timeline(TimelineFilter(state="dead"))) == ["n3"]
    assert titles(await outbox.read_timeline(TimelineFilter(state="sent"))) == ["n4"]
    assert len((await outbox.read_timeline(TimelineFilter(state="open"))).entries) == 8
    assert titles(await outbox.read_timeline(TimelineFilter(target="boss", state="queued"))) == [
        "n8",
        "n6",
        "n2",
        "n0",
    ]
    assert titles(await outbox.read_timeline(TimelineFilter(state="untold"))) == ["quiet"]
    assert titles(await outbox.read_timeline(TimelineFilter(text="DISK 7%"))) == ["n7"], (
        "a sign of LIKE is a sign like others"
    )
    assert titles(await outbox.read_timeline(TimelineFilter(text="qui"))) == ["quiet"]
    assert titles(await outbox.read_timeline(TimelineFilter(since=1003, until=1005))) == ["n5", "n4", "n3"]
    assert titles(await outbox.read_timeline(TimelineFilter(target="ops", since=1004, until=1008))) == ["n7", "n5"]
    assert titles(await outbox.read_timeline(TimelineFilter(since=5000))) == []


async def test_a_search_that_looked_at_enough_says_how_far_it_came_and_goes_on(
    outbox: TimedOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MAX_NOTIFICATIONS_SEARCHED", 10)
    await came(outbox, "needle", "ops")
    for number in range(35):
        await came(outbox, "hay", "ops", at=1001 + number)
    pages = await all_pages(outbox, TimelineFilter(text="needle"), 5)
    assert [titles(page) for page in pages] == [[], [], [], ["needle"]]
    assert [page.searched_to is None for page in pages] == [False, False, False, True]


def test_a_place_is_read_as_it_was_written_and_nothing_else_is_one() -> None:
    assert str(timeline.TimelinePosition.read("12-7")) == "12-7"
    for wrong in ("", "12", "12-", "-1-2", "a-b", "1-2-3", "9" * 20 + "-1", "\u0661-2"):
        assert timeline.TimelinePosition.read(wrong) is None


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (TimelineFilter(), "INTEGER PRIMARY KEY"),
        (TimelineFilter(target="ops"), "messages_target"),
        (TimelineFilter(target="ops", state="sent"), "messages_target"),
        (TimelineFilter(state="dead"), "messages_settled"),
        (TimelineFilter(state="open"), "messages_"),
        (TimelineFilter(text="x"), "messages_notification"),
        (TimelineFilter(since=1.0), "INTEGER PRIMARY KEY"),
    ],
)
async def test_no_page_walks_over_all_that_is_kept(outbox: TimedOutbox, asked: TimelineFilter, index: str) -> None:
    plans = await plans_of(outbox, outbox.read_timeline(asked, timeline.TimelinePosition(50, 50)))
    steps = [step for plan in plans for step in plan]
    fine = ("INDEX", "subquery", "CONSTANT")
    assert not [step for step in steps if step.startswith("SCAN") and not any(word in step for word in fine)]
    assert any(index in step for step in steps), steps
    # What came in and led to nothing has an index of its own.
    assert asked.narrow or any("received_untold" in step for step in steps)


async def plans_of(outbox: TimedOutbox, work: Awaitable[Any]) -> list[list[str]]:
    """How SQLite goes about each statement."""
    connection = outbox.connection
    said: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", note)
    await work
    sa.event.remove(connection, "before_cursor_execute", note)
    return [
        [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        for statement, parameters in said
    ]


# ---------------------------------------------------------------- what the intake notes


async def test_each_post_is_kept_with_where_it_was_routed_and_why(tmp_path: Path) -> None:
    store = database.Database.open(database.sqlite_url(tmp_path))
    outbox = Outbox(store, dedupe_window=600)
    routes = compile_routes([
        Route(tuple(parse_matchers({"team": "db"})), to=(), routes=(
            Route(tuple(parse_matchers({"severity": "critical"})), to=("dba", "ops")),)),
        Route((), to=("ops",)),
    ])  # fmt: skip
    where = Destination(Capabilities(text_limit=2000), 86400.0)
    intake = AlertPipeline(
        AlertSettings(routes=routes, targets={"ops": where, "dba": where}, sources=registry.SourceTable({})), outbox
    )

    async def post(*labels: dict[str, str], to: tuple[str, ...] = ()) -> None:
        body = {"version": "4", "groupKey": str(labels), "status": "firing", "alerts": [
            {"status": "firing", "labels": each, "annotations": {}, "startsAt": "2026-02-01T00:00:00Z"}
            for each in labels
        ]}  # fmt: skip
        await intake.accept("alertmanager", json.dumps(body).encode(), {}, to)

    critical = {"alertname": "Down", "team": "db", "severity": "critical"}
    await post(critical, {"alertname": "Load"})
    await post(critical, {"alertname": "Load"})
    await post({"alertname": "Idle", "team": "db"})
    await post({"alertname": "Asked"}, to=("dba", "nobody"))
    found = (await outbox.read_timeline(TimelineFilter())).entries
    store.close()
    asked, idle, repeat, first = found
    down = {"route": "routes[0].routes[0]", "matches": ['team="db"', 'severity="critical"']}
    assert list(first.routed) == [
        {"target": "dba", "alerts": 1, "told": 1, "by": [down]},
        {"target": "ops", "alerts": 2, "told": 2, "by": [down, {"route": "routes[1]", "matches": []}]},
    ]
    assert (first.title, first.alerts, {told.target for told in first.told}) == ("Down, Load", 2, {"dba", "ops"})
    assert (repeat.title, repeat.told) == ("Down, Load", ()), "the sender's own retry led to nothing"
    assert (idle.routed, idle.told) == ([], ())
    assert [(part["target"], part["why"]) for part in asked.routed] == [("dba", "asked"), ("nobody", "no_target")]


async def test_nothing_came_in_where_it_could_not_be_stored(tmp_path: Path) -> None:
    store = database.Database.open(database.sqlite_url(tmp_path))
    outbox = Outbox(store, dedupe_window=600)
    plan = NotificationLog().select_due([], 0.0)
    broken = Notification("test", "ops", (Text("x"),), content=object())
    with pytest.raises(Exception, match="not JSON serializable"):
        await outbox.put([broken], received=Received("test", "lost", 1, []), also=LogUpdate((), plan))
    assert not (await outbox.read_timeline(TimelineFilter())).entries
    store.close()


async def test_what_came_in_long_ago_is_forgotten_with_its_messages(outbox: TimedOutbox) -> None:
    [old] = await came(outbox, "old", "ops", at=1000)
    await came(outbox, "quiet", at=1000, told=False)
    await came(outbox, "new", "ops", at=5000)
    await outbox.record_sent([SentMessage(old, 1001)])
    async for _ in outbox.prune(before=2000, sends_before=0):
        pass
    assert titles(await outbox.read_timeline(TimelineFilter())) == ["new"]
