from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.postgresql import database_url
from wxbridge.alerts import notification_log, store
from wxbridge.alerts.notification_log import HELD_AGAIN_SECONDS, LogEntry, NotificationLog, PendingAlert
from wxbridge.alerts.routing import RouteOptions
from wxbridge.alerts.store import SeenAlert, alert_key
from wxbridge.core import schema
from wxbridge.core.database import make_engine, migrate
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Value

NOW = 1_800_000_000.0
HOUR = 3600.0
REPEATS = RouteOptions(repeat_interval=4 * HOUR)
PLAIN = RouteOptions()
FIRING, RESOLVED, NO_DATA = AlertStatus.FIRING, AlertStatus.RESOLVED, AlertStatus.NO_DATA


@pytest.fixture
def connection(each_database: str, tmp_path: Path) -> Iterator[sa.Connection]:
    engine = make_engine(database_url(tmp_path))
    migrate(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def alert(fingerprint: str = "f", status: AlertStatus = FIRING, **more: Any) -> Alert:
    more = {"title": "Disk", "starts_at": datetime.fromtimestamp(NOW, UTC), "labels": {"team": "db"}} | more
    return Alert("am", status, fingerprint=fingerprint, **more)


def group(*alerts: Alert, **more: Any) -> AlertGroup:
    return AlertGroup("am", "k", "Disk", alerts, **more)


def list_firing(connection: sa.Connection) -> list[SeenAlert]:
    """What fires, what was mentioned last at the top."""
    return store.read_firing(connection, store.list_firing_keys(connection, limit=100))


# ---------------------------------------------------------------- what monitors said


def test_an_alert_has_one_key_whatever_is_said_of_it_and_others_have_others() -> None:
    assert alert_key(group(), alert()) == alert_key(
        group(truncated=3), alert(status=RESOLVED, title="Disk!", labels={})
    )
    different = [alert(), alert("g"), replace(alert(), source="grafana"), alert(""), alert("", labels={})]
    assert len({alert_key(group(), each) for each in different}) == len(different)
    assert alert_key(group(text="a"), None) != alert_key(group(text="b"), None)
    assert alert_key(group(), alert("\ud800"))


def test_alerts_are_remembered_as_they_were_seen_last(connection: sa.Connection) -> None:
    firing = alert(values=(Value("a", float("inf")),))
    store.record_seen(connection, [group(firing, alert("g"), truncated=5, text=None)], now=NOW)
    store.record_seen(connection, [group(alert("g", RESOLVED))], now=NOW + 60)
    (found,) = list_firing(connection)
    assert found.alert == firing
    assert (found.group.group_key, found.group.truncated, found.first_seen, found.updated_at) == ("k", 0, NOW, NOW)
    assert sorted(connection.execute(sa.select(schema.alerts.c.status)).scalars()) == ["firing", "resolved"]
    store.record_seen(connection, [group(alert("g", NO_DATA))], now=NOW + 90)
    store.record_seen(connection, [group(alert("g"), alert("g", title="last"))], now=NOW + 120)
    newest, _ = list_firing(connection)
    assert newest.alert
    assert (newest.alert.title, newest.first_seen, newest.updated_at) == ("last", NOW + 90, NOW + 120)
    assert store.list_firing_keys(connection, limit=1) == [newest.key]


def test_what_has_no_identity_is_remembered_only_where_it_is_held_back(connection: sa.Connection) -> None:
    text, nameless = group(text="hello"), group(alert(""))
    store.record_seen(connection, [text, nameless], now=NOW)
    assert not connection.execute(sa.select(schema.alerts)).all()
    store.record_seen(
        connection, [text, nameless], now=NOW, held={alert_key(text, None), alert_key(nameless, nameless.alerts[0])}
    )
    assert list_firing(connection) == []
    assert connection.execute(sa.text("SELECT count(*) FROM alerts")).scalar() == 2
    notification_log.forget_held(connection, [alert_key(text, None), alert_key(group(), alert())])
    assert connection.execute(sa.text("SELECT count(*) FROM alerts")).scalar() == 1


def test_old_alerts_are_forgotten_with_all_that_was_told_of_them(connection: sa.Connection) -> None:
    store.record_seen(connection, [group(alert("a", RESOLVED), alert("b"))], now=NOW)
    store.record_seen(connection, [group(alert("c", RESOLVED), alert("d"))], now=NOW + HOUR)
    ledger = NotificationLog()
    keys = {name: alert_key(group(), alert(name)) for name in "abcd"}
    selection = ledger.select_due([PendingAlert(key, "ops", FIRING, None, REPEATS) for key in keys.values()], NOW)
    notification_log.store_entries(connection, selection.changes)
    gone = store.prune_alerts(connection, resolved_before=NOW + 60, unheard_before=NOW - 60).done
    assert gone == [keys["a"]]
    ledger.forget(gone)
    assert ledger.find(keys["a"], "ops") is None
    assert notification_log.load(connection).find(keys["a"], "ops") is None
    assert notification_log.load(connection).find(keys["c"], "ops") == ledger.find(keys["c"], "ops") is not None
    assert store.prune_alerts(connection, resolved_before=NOW - 60, unheard_before=NOW + 60).done == [keys["b"]]
    assert store.find_firing_since(connection, keys.values()) == {keys["d"]: (NOW, NOW + HOUR)}


# ---------------------------------------------------------------- whether it is told

START, LATER = NOW - 60, NOW + HOUR


class Story:
    """What one target is told of one alert, as sightings come in."""

    def __init__(self, telling: RouteOptions = REPEATS) -> None:
        self.telling = telling
        self.ledger = NotificationLog()

    def sees(self, status: AlertStatus, at: float, starts_at: float | None = START, **more: Any) -> bool:
        selection = self.ledger.select_due(
            [PendingAlert("k", "ops", status, starts_at, self.telling, **more)], NOW + at
        )
        return selection.due[0]

    @property
    def known(self) -> LogEntry | None:
        return self.ledger.find("k", "ops")


def test_the_same_firing_is_told_again_only_after_the_repeat_interval() -> None:
    story = Story()
    assert [story.sees(FIRING, at) for at in (0, 60, 4 * HOUR - 1, 4 * HOUR, 5 * HOUR)] == [
        True, False, False, True, False,
    ]  # fmt: skip
    assert story.known
    assert story.known.due_at == NOW + 8 * HOUR


def test_a_new_firing_and_another_status_are_news_at_once() -> None:
    story = Story()
    assert story.sees(FIRING, 0)
    assert story.sees(FIRING, 1, LATER)
    assert story.sees(NO_DATA, 2, LATER)
    assert story.sees(FIRING, 3, LATER)


def test_the_end_is_told_once() -> None:
    story = Story()
    assert [story.sees(FIRING, 0), story.sees(RESOLVED, 1), story.sees(RESOLVED, 2)] == [True, True, False]
    assert story.known
    assert story.known.due_at is None
    # An alert without times fires and ends again.
    story = Story()
    told = [story.sees(status, at, None) for at, status in enumerate((FIRING, RESOLVED, FIRING, RESOLVED, RESOLVED))]
    assert told == [True, True, True, True, False]


def test_an_end_is_told_where_the_firing_was_never_seen() -> None:
    assert Story().sees(RESOLVED, 0)
    assert Story(PLAIN).sees(RESOLVED, 0)


def test_an_end_is_not_told_where_the_route_does_not_want_it_and_ends_the_repeats() -> None:
    story = Story(replace(REPEATS, send_resolved=False))
    assert [story.sees(FIRING, 0), story.sees(RESOLVED, 1)] == [True, False]
    assert story.known
    assert story.known.due_at is None
    assert story.sees(FIRING, 2)
    assert not Story(RouteOptions(send_resolved=False)).sees(RESOLVED, 0)


def test_without_repeats_all_is_told_and_nothing_is_kept() -> None:
    story = Story(PLAIN)
    assert all(story.sees(status, at) for at, status in enumerate((FIRING, FIRING, RESOLVED, RESOLVED, FIRING)))
    assert story.known is None


@pytest.mark.parametrize("telling", [REPEATS, PLAIN])
def test_what_was_held_back_is_told_when_nothing_holds_it_any_more(telling: RouteOptions) -> None:
    story = Story(telling)
    assert not story.sees(FIRING, 0, held="night")
    assert story.known
    assert (story.known.told_at, story.known.due_at, story.known.held) == (None, NOW + HELD_AGAIN_SECONDS, "night")
    assert story.sees(FIRING, 2 * HOUR)
    assert story.sees(RESOLVED, 3 * HOUR)


@pytest.mark.parametrize("telling", [REPEATS, PLAIN])
@pytest.mark.parametrize("held", [None, "night"])
def test_the_end_of_a_firing_that_was_held_back_is_not_told_either(telling: RouteOptions, held: str | None) -> None:
    story = Story(telling)
    assert not story.sees(FIRING, 0, held="night")
    assert not story.sees(RESOLVED, 1, held=held)
    assert not story.sees(RESOLVED, 2)
    assert story.known
    assert story.known.due_at is None
    assert story.sees(FIRING, 3, LATER)


def test_the_end_of_what_was_told_waits_while_it_is_held_back() -> None:
    story = Story()
    assert story.sees(FIRING, 0)
    assert not story.sees(RESOLVED, 1, held="night")
    assert story.sees(RESOLVED, 2)
    story = Story()
    assert story.sees(FIRING, 0)
    assert not story.sees(RESOLVED, 1, held="night")
    assert not story.sees(FIRING, 2, LATER, held="night")
    assert not story.sees(RESOLVED, 3, LATER, held="night")
    assert story.sees(RESOLVED, 4, LATER)


def test_what_begins_and_ends_while_it_is_held_back_is_not_told_where_an_earlier_end_was() -> None:
    story = Story()
    assert [story.sees(FIRING, 0), story.sees(RESOLVED, 1)] == [True, True]
    assert not story.sees(FIRING, 2, LATER, held="night")
    assert not story.sees(RESOLVED, 3, LATER, held="night")
    assert not story.sees(RESOLVED, 4, LATER)


def test_a_silence_of_what_was_told_before_keeps_its_end_for_later() -> None:
    story = Story(PLAIN)
    assert story.sees(FIRING, 0)
    assert not story.sees(FIRING, 60, held="silence", seen_at=NOW)
    assert not story.sees(RESOLVED, 90, held="silence")
    assert story.sees(RESOLVED, 120)


def test_a_repeat_within_its_interval_is_nothing_to_hold_back() -> None:
    story = Story()
    assert story.sees(FIRING, 0)
    assert not story.sees(FIRING, 60, held="night")
    assert story.known
    assert (story.known.held, story.known.due_at) == (None, NOW + 4 * HOUR)


def test_what_has_no_identity_is_always_told_unless_it_is_held_back() -> None:
    ledger = NotificationLog()
    hello = group(text="hello")
    free = notification_log.pending_alert(hello, None, "ops", REPEATS)
    assert [ledger.select_due([free], NOW).due for _ in range(2)] == [(True,), (True,)]
    selection = ledger.select_due([replace(free, held="night", direct=True)], NOW)
    assert (selection.due, selection.held_keys) == ((False,), {alert_key(hello, None)})
    row = ledger.find(free.key, "ops")
    assert row
    assert row.direct
    assert ledger.select_due([free], NOW + 60).due == (True,)
    assert ledger.find(free.key, "ops") is None


def test_a_clock_that_is_set_back_makes_nothing_wait_longer_than_its_interval() -> None:
    story = Story()
    assert story.sees(FIRING, 0)
    assert not story.sees(FIRING, -30 * HOUR)
    assert story.known
    assert story.known.due_at == NOW - 26 * HOUR


STEPS = st.lists(
    st.tuples(st.sampled_from([FIRING, RESOLVED]), st.sampled_from([None, 1.0, 2.0]), st.sampled_from([None, "night"]),
              st.integers(0, 20000)),
    max_size=12,
)  # fmt: skip


@given(STEPS, st.sampled_from([REPEATS, PLAIN]))
def test_once_nothing_holds_it_back_what_fires_has_been_told(steps: list[Any], telling: RouteOptions) -> None:
    story = Story(telling)
    at, last_told = 0.0, None
    for status, start, held, seconds in [*steps, (FIRING, 3.0, None, 1)]:
        at += seconds
        if story.sees(status, at, start, held=held):
            assert held is None
            last_told = (status, start)
        if held is None and status is FIRING:
            assert last_told == (FIRING, start)


@given(STEPS, STEPS)
def test_a_selection_that_could_not_be_stored_leaves_no_trace(before: list[Any], undone: list[Any]) -> None:
    story = Story()
    for at, (status, start, held, _) in enumerate(before):
        story.sees(status, at, start, held=held)
    known = story.known
    sightings = [PendingAlert("k", "ops", status, start, REPEATS, held) for status, start, held, _ in undone]
    story.ledger.undo(story.ledger.select_due(sightings, NOW + 60))
    assert story.known == known


@given(STEPS)
def test_the_table_holds_what_the_ledger_does(steps: list[Any]) -> None:
    engine = sa.create_engine("sqlite://")
    schema.told.create(engine)
    ledger = NotificationLog()
    with engine.begin() as connection:
        for at, (status, start, held, seconds) in enumerate(steps):
            key = f"k{seconds % 3}"
            selection = ledger.select_due([PendingAlert(key, "ops", status, start, REPEATS, held)], NOW + at * HOUR)
            notification_log.store_entries(connection, selection.changes)
        loaded = notification_log.load(connection)
    assert [loaded.find(f"k{n}", "ops") for n in range(3)] == [ledger.find(f"k{n}", "ops") for n in range(3)]


def test_what_is_due_comes_with_its_alert_the_longest_overdue_first(connection: sa.Connection) -> None:
    keys = [alert_key(group(), alert(name)) for name in "abc"]
    store.record_seen(connection, [group(alert("a"), alert("b"))], now=NOW)
    ledger = NotificationLog()
    for index, key in enumerate(keys):
        selection = ledger.select_due([PendingAlert(key, "ops", FIRING, NOW, REPEATS)], NOW - index)
        notification_log.store_entries(connection, selection.changes)
    assert notification_log.list_due(connection, now=NOW + HOUR, limit=9) == []
    found = notification_log.list_due(connection, now=NOW + 4 * HOUR, limit=9)
    assert [row.key for row, _ in found] == keys[::-1]
    assert found[0][1] is None
    assert [each.alert.fingerprint for _, each in found[1:] if each and each.alert] == ["b", "a"]
    assert len(notification_log.list_due(connection, now=NOW + 4 * HOUR, limit=1)) == 1
    assert len(notification_log.list_due(connection, now=NOW - HOUR, limit=9)) == 3
