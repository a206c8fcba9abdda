from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.postgresql import database_url
from wxbridge.alerts import history, store
from wxbridge.alerts.history import EpisodeTotal, count_beginnings, sum_up_episodes
from wxbridge.core.database import make_engine, migrate
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.schema import episodes as table
from wxbridge.core.schema import metadata

NOW = 1_800_000_000.0
HOUR = 3600.0
FIRING, RESOLVED, NO_DATA = AlertStatus.FIRING, AlertStatus.RESOLVED, AlertStatus.NO_DATA


@pytest.fixture
def connection(each_database: str, tmp_path: Path) -> Iterator[sa.Connection]:
    engine = make_engine(database_url(tmp_path))
    migrate(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(scope="module")
def scratch() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def alert(status: AlertStatus = FIRING, fingerprint: str = "f", **more: Any) -> Alert:
    return Alert(
        "am", status, **{"title": "Disk", "labels": {"severity": "warning"}, "fingerprint": fingerprint} | more
    )


def hear(connection: sa.Connection, at: float, *alerts: Alert) -> None:
    store.record_seen(connection, [AlertGroup("am", "k", "Disk", (each,)) for each in alerts], now=at)


def spans(connection: sa.Connection) -> list[tuple[float, float | None]]:
    rows = connection.execute(sa.select(table.c.started_at, table.c.ended_at).order_by(table.c.id))
    return [(row[0] - NOW, None if row[1] is None else row[1] - NOW) for row in rows]


# ---------------------------------------------------------------- when one begins and ends


def test_an_episode_lasts_from_the_first_firing_to_the_resolution_however_often_it_is_repeated(
    connection: sa.Connection,
) -> None:
    for at, status in ((0, FIRING), (60, FIRING), (90, NO_DATA), (120, RESOLVED), (180, RESOLVED), (240, FIRING)):
        hear(connection, NOW + at, alert(status))
    assert spans(connection) == [(0, 120), (240, None)]
    row = connection.execute(sa.select(table)).first()
    assert row is not None
    assert (row.source, row.name, row.severity) == ("am", "Disk", "warning")
    assert row.labels == {"alertname": "Disk", "severity": "warning", "source": "am"}


def test_the_monitors_own_times_count_where_it_gives_them(connection: sa.Connection) -> None:
    hear(connection, NOW, alert(starts_at=moment(NOW - 300)))
    hear(connection, NOW + 90, alert(RESOLVED, starts_at=moment(NOW - 300), ends_at=moment(NOW + 60)))
    assert spans(connection) == [(-300, 60)]


@pytest.mark.parametrize(
    ("starts", "ends", "span"),
    [
        (NOW + 999, NOW + 5000, (0, 90)),  # a clock that is ahead of ours
        (-62135596800.0, -62135596800.0, (0, 90)),  # Go's zero time
        (NOW - 10, NOW - 60, (-10, -10)),  # an end before its beginning
    ],
)
def test_times_that_cannot_be_are_not_believed(
    connection: sa.Connection, starts: float, ends: float, span: tuple[float, float]
) -> None:
    hear(connection, NOW, alert(starts_at=moment(starts)))
    hear(connection, NOW + 90, alert(RESOLVED, starts_at=moment(starts), ends_at=moment(ends)))
    assert spans(connection) == [span]


def test_a_late_repeat_of_what_has_ended_counts_no_time_twice(connection: sa.Connection) -> None:
    fires, ends = alert(starts_at=moment(NOW)), alert(RESOLVED, starts_at=moment(NOW), ends_at=moment(NOW + 60))
    hear(connection, NOW, fires)
    hear(connection, NOW + 90, ends)
    hear(connection, NOW + 100, fires)
    hear(connection, NOW + 130, alert(RESOLVED, starts_at=moment(NOW)))
    assert spans(connection) == [(0, 60), (100, 130)]


def test_many_changes_in_one_transaction_are_taken_in_their_order(connection: sa.Connection) -> None:
    hear(connection, NOW - 60, alert())
    hear(
        connection,
        NOW,
        alert(RESOLVED),
        alert(),
        alert(fingerprint="g"),
        alert(RESOLVED),
        alert(RESOLVED, "g"),
        alert(),
    )
    assert sorted(spans(connection), key=str) == sorted([(-60, 0), (0, 0), (0, 0), (0, None)], key=str)


def test_the_end_of_what_was_never_seen_and_what_has_no_identity_are_no_episodes(connection: sa.Connection) -> None:
    hear(connection, NOW, alert(RESOLVED, starts_at=moment(NOW - 60), ends_at=moment(NOW)), alert(fingerprint=""))
    assert spans(connection) == []


def test_what_utf_8_cannot_hold_does_not_stop_the_intake(connection: sa.Connection) -> None:
    hear(connection, NOW, alert(title="half \ud800 " + "x" * 5000, labels={"severity": "\udfff", "a": "\ud800"}))
    (total,) = sum_up_episodes(connection, NOW - 1, NOW + 1)
    assert total.name.startswith("half ")
    assert len(total.name) == 200


def test_a_repeat_writes_nothing(connection: sa.Connection) -> None:
    hear(connection, NOW, *(alert(fingerprint=str(each)) for each in range(700)))
    written: list[str] = []
    sa.event.listen(connection, "before_cursor_execute", lambda *given: written.append(given[2]), named=False)
    hear(connection, NOW + 60, *(alert(fingerprint=str(each)) for each in range(700)))
    assert not [statement for statement in written if "episodes" in statement and not statement.startswith("SELECT")]
    assert len(written) < 10  # and few are asked for at once


def test_an_alert_that_is_forgotten_unresolved_ended_when_it_was_heard_of_last(connection: sa.Connection) -> None:
    hear(connection, NOW, alert())
    hear(connection, NOW + 60, alert())
    store.prune_alerts(connection, resolved_before=NOW + HOUR, unheard_before=NOW + HOUR)
    assert spans(connection) == [(0, 60)]


def test_old_episodes_are_forgotten_and_what_still_fires_is_kept(connection: sa.Connection) -> None:
    hear(connection, NOW - 9 * HOUR, alert(), alert(fingerprint="g"), alert(fingerprint="h"))
    hear(connection, NOW - 8 * HOUR, alert(RESOLVED))
    hear(connection, NOW, alert(RESOLVED, "g"))
    assert history.prune(connection, before=NOW - HOUR).count == 1
    assert history.prune(connection, before=NOW - HOUR).count == 0
    assert spans(connection) == [(-9 * HOUR, 0), (-9 * HOUR, None)]


# ---------------------------------------------------------------- summing up


def put(connection: sa.Connection, *rows: tuple[str, str, float, float | None]) -> None:
    for index, (name, severity, started, ended) in enumerate(rows):
        connection.execute(
            sa.insert(table).values(
                key=str(index), source="am", name=name, severity=severity, labels={}, started_at=started, ended_at=ended
            )
        )


def test_a_summary_tells_the_noisiest_first_and_counts_time_within_the_period_alone(connection: sa.Connection) -> None:
    put(
        connection,
        ("CPU", "warning", NOW - 100, NOW + 10),
        ("CPU", "warning", NOW + 50, NOW + 60),
        ("CPU", "critical", NOW + 20, NOW + 25),
        ("Disk", "critical", NOW - 500, None),
        ("Disk", "critical", NOW + 90, NOW + 500),
        ("Old", "warning", NOW - 500, NOW),
        ("Next", "warning", NOW + 100, None),
        ("Net", "info", NOW + 30, NOW + 30),
    )
    assert sum_up_episodes(connection, NOW, NOW + 100) == [
        EpisodeTotal("Disk", "critical", 2, 110.0, 2),
        EpisodeTotal("CPU", "warning", 2, 20.0, 0),
        EpisodeTotal("CPU", "critical", 1, 5.0, 0),
        EpisodeTotal("Net", "info", 1, 0.0, 0),
    ]
    assert sum_up_episodes(connection, NOW - 900, NOW - 800) == []


def test_beginnings_are_counted_in_their_stretch(connection: sa.Connection) -> None:
    put(
        connection,
        ("a", "critical", NOW - 1, None),
        ("a", "critical", NOW, None),
        ("b", "", NOW + 9.9, None),
        ("b", "", NOW + 10, None),
        ("b", "critical", NOW + 29, None),
        ("b", "critical", NOW + 30, None),
    )
    assert count_beginnings(connection, NOW, 10, 3) == {"critical": [1, 0, 1], "": [1, 1, 0]}


times = st.integers(-50, 150).map(float)
spans_of = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["", "critical"]), times, st.none() | times)


def rows_of(drawn: list[tuple[str, str, float, float | None]]) -> list[tuple[str, str, float, float | None]]:
    return [(name, word, start, None if end is None else max(start, end)) for name, word, start, end in drawn]


@given(st.lists(spans_of.map(lambda each: rows_of([each])[0]), max_size=12), times, st.integers(1, 80))
def test_a_second_is_counted_where_it_was_fired_in_and_an_episode_where_it_fired(
    scratch: sa.Engine, drawn: list[tuple[str, str, float, float | None]], since: float, length: int
) -> None:
    until = since + length
    with scratch.connect() as connection:
        put(connection, *drawn)
        totals = sum_up_episodes(connection, since, until)
        connection.rollback()
    expected: dict[tuple[str, str], list[float]] = {}
    for name, word, start, end in drawn:
        # Whole seconds, asked one by one.
        fired = sum(1 for second in range(int(since), int(until)) if start <= second and (end is None or second < end))
        if fired or since <= start < until:
            its = expected.setdefault((name, word), [0, 0.0, 0])
            its[0] += 1
            its[1] += fired
            its[2] += end is None or end > until
    assert {(each.name, each.severity): [each.count, each.seconds, each.firing] for each in totals} == expected
    assert [each.count for each in totals] == sorted((each.count for each in totals), reverse=True)


@given(st.lists(spans_of.map(lambda each: rows_of([each])[0]), max_size=12), times, times)
def test_the_time_of_two_neighbouring_periods_is_the_time_of_both_together(
    scratch: sa.Engine, drawn: list[tuple[str, str, float, float | None]], one: float, other: float
) -> None:
    since, until = min(one, other), max(one, other) + 2
    middle = (since + until) // 2
    with scratch.connect() as connection:
        put(connection, *drawn)
        parts = [
            sum(each.seconds for each in sum_up_episodes(connection, *span))
            for span in ((since, middle), (middle, until))
        ]
        whole = sum(each.seconds for each in sum_up_episodes(connection, since, until))
        began = sum(sum(row) for row in count_beginnings(connection, since, 1.0, int(until - since)).values())
        connection.rollback()
    assert sum(parts) == whole
    assert began == sum(1 for _, _, start, _ in drawn if since <= start < until)


heard = st.lists(st.tuples(st.sampled_from("fg"), st.sampled_from([FIRING, NO_DATA, RESOLVED])), max_size=8)


@given(st.lists(heard, max_size=5))
def test_at_most_one_episode_of_an_alert_is_open_and_none_overlap(
    scratch: sa.Engine, posts: list[list[tuple[str, AlertStatus]]]
) -> None:
    with scratch.connect() as connection:
        for index, post in enumerate(posts):
            hear(connection, NOW + index, *(alert(status, key, starts_at=moment(NOW - 60)) for key, status in post))
        rows = connection.execute(
            sa.select(table.c.key, table.c.started_at, table.c.ended_at).order_by(table.c.id)
        ).all()
        firing = set(store.list_firing_keys(connection, limit=100))
        connection.rollback()
    for key in {row.key for row in rows}:
        its = [row for row in rows if row.key == key]
        assert all(before.ended_at is not None and before.ended_at <= after.started_at
                   for before, after in pairwise(its))  # fmt: skip
    assert {row.key for row in rows if row.ended_at is None} == firing
