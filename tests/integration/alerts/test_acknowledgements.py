"""Who looks after an alert: until it resolves, and meanwhile it is not repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes.postgresql import database_url
from wxbridge.alerts import notification_log, routing, store
from wxbridge.alerts.pipeline import AlertSettings
from wxbridge.alerts.reminders import Reminders
from wxbridge.alerts.routing import Route, RouteOptions
from wxbridge.alerts.service import AlertService
from wxbridge.alerts.store import Ack
from wxbridge.core.database import Database
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.testing import FakeClock

HOUR = 3600.0
START = datetime(2026, 6, 5, 12, tzinfo=UTC)
ALERT = Alert(
    "alertmanager", AlertStatus.FIRING, "DiskFull", {"alertname": "DiskFull"}, starts_at=START, fingerprint="f"
)


class _Recording(AlertService):
    """Notes what it is asked to tell again."""

    told: list[str]

    async def notify_again(self, group: AlertGroup, target: str, options: RouteOptions) -> None:
        del target, options
        self.told += [f"{alert.status.value}" for alert in group.alerts]


class AcknowledgementHarness:
    """Reminders of a route that repeats every four hours, beside an intake that does what the bridge's does."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FakeClock(START.timestamp())
        self.told: list[str] = []
        routes = routing.compile_routes([Route((), ("ops",), repeat_interval=4 * HOUR)])
        self.alerts = _Recording(database, None, AlertSettings(routes), clock=self.clock.wall)
        self.alerts.told = self.told
        self.reminders = Reminders(self.alerts)

    async def take(self, alert: Alert) -> bool:
        """Take a post in; tells whether it is told."""
        now = self.clock.wall()
        group = AlertGroup(alert.source, "k", "t", (alert,))
        selection = self.alerts.state.log.select_due(
            [notification_log.pending_alert(group, alert, "ops", RouteOptions(repeat_interval=4 * HOUR))], now
        )

        def write(connection: object) -> None:
            store.record_seen(connection, [group], now=now)  # type: ignore[arg-type]
            notification_log.store_entries(connection, selection.changes)  # type: ignore[arg-type]

        await self.database.run(write)
        return selection.due[0]

    async def look_after(self, hours: float) -> int:
        self.clock.advance(hours * HOUR)
        return await self.reminders.look()

    async def ack(self) -> None:
        now = self.clock.wall()
        await self.database.run(lambda c: store.add_acks(c, [KEY], by="张三", comment="on it", now=now))

    async def acked(self) -> dict[str, Ack]:
        return await self.database.read(store.read_acks)


KEY = store.alert_key(AlertGroup("alertmanager", "k", "t"), ALERT)


@pytest.fixture
def harness(each_database: str, tmp_path: Path) -> Iterator[AcknowledgementHarness]:
    database = Database.open(database_url(tmp_path))
    yield AcknowledgementHarness(database)
    database.close()


async def test_an_acked_alert_is_not_repeated_until_it_resolves_and_fires_anew(harness: AcknowledgementHarness) -> None:
    assert await harness.take(ALERT)
    assert await harness.look_after(4.1) == 1, "it repeats"
    await harness.ack()
    assert [await harness.look_after(4.1) for _ in range(3)] == [0, 0, 0]
    assert not await harness.take(ALERT), "the monitor's own repeat"
    ended = replace(ALERT, status=AlertStatus.RESOLVED, ends_at=START + timedelta(days=1))
    assert await harness.take(ended), "its end is told"
    assert await harness.acked() == {}
    again = replace(ALERT, starts_at=START + timedelta(days=2))
    assert await harness.take(again)
    assert await harness.look_after(4.1) == 1


async def test_what_begins_anew_without_having_been_seen_to_end_is_repeated_again(
    harness: AcknowledgementHarness,
) -> None:
    await harness.take(ALERT)
    await harness.ack()
    assert await harness.look_after(4.1) == 0
    harness.clock.advance(HOUR)
    began = datetime.fromtimestamp(harness.clock.wall(), UTC)
    assert await harness.take(replace(ALERT, starts_at=began))
    assert await harness.look_after(4.1) == 1


async def test_a_later_ack_takes_the_place_of_an_earlier(harness: AcknowledgementHarness) -> None:
    await harness.ack()
    await harness.database.run(
        lambda c: store.add_acks(c, [KEY, KEY, "other"], by="李\ud800四\x00", comment="", now=7.0)
    )
    assert await harness.acked() == {KEY: Ack(KEY, 7.0, "李�四"), "other": Ack("other", 7.0, "李�四")}
    assert (await harness.database.read(lambda c: store.read_acks(c, [KEY, "nobody"]))).keys() == {KEY}


async def test_acks_of_what_nothing_was_heard_of_are_forgotten_in_the_end(harness: AcknowledgementHarness) -> None:
    await harness.ack()
    await harness.reminders.tidy()
    assert (await harness.acked()).keys() == {KEY}
    harness.clock.advance(8 * 24 * HOUR)
    await harness.reminders.tidy()
    assert await harness.acked() == {}
