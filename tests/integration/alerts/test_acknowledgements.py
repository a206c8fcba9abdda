"""Who looks after an alert: until it resolves, and meanwhile it is not repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wxbridge.alerts import acknowledgements, notification_log, routing
from wxbridge.alerts.acknowledgements import Ack
from wxbridge.alerts.muting import MuteSettings
from wxbridge.alerts.notification_log import NotificationLog
from wxbridge.alerts.reminders import Reminders
from wxbridge.alerts.routing import Route, RouteOptions
from wxbridge.alerts.silences import SilenceSet
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.testing import FakeClock

HOUR = 3600.0
START = datetime(2026, 6, 5, 12, tzinfo=UTC)
ALERT = Alert(
    "alertmanager", AlertStatus.FIRING, "DiskFull", {"alertname": "DiskFull"}, starts_at=START, fingerprint="f"
)


class Bench:
    """Reminders of a route that repeats every four hours, beside an intake that does what the bridge's does."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FakeClock(START.timestamp())
        self.ledger = NotificationLog()
        self.told: list[str] = []
        routes = routing.compile_routes([Route((), ("ops",), repeat_interval=4 * HOUR)])
        self.reminders = Reminders(
            database,
            self.ledger,
            SilenceSet(),
            rules=lambda: MuteSettings(routes),
            tell_again=self.tell,
            clock=self.clock.wall,
        )

    async def tell(self, group: AlertGroup, _target: str, _telling: RouteOptions) -> None:
        self.told += [f"{alert.status.value}" for alert in group.alerts]

    async def take(self, alert: Alert) -> bool:
        """Take a post in; tells whether it is told."""
        now = self.clock.wall()
        group = AlertGroup(alert.source, "k", "t", (alert,))
        plan = self.ledger.weigh(
            [notification_log.pending_alert(group, alert, "ops", RouteOptions(repeat_interval=4 * HOUR))], now
        )

        def store(connection: object) -> None:
            notification_log.record_seen(connection, [group], now=now)  # type: ignore[arg-type]
            notification_log.store_entries(connection, plan.changes)  # type: ignore[arg-type]

        await self.database.run(store)
        return plan.tell[0]

    async def look_after(self, hours: float) -> int:
        self.clock.advance(hours * HOUR)
        return await self.reminders.look()

    async def ack(self) -> None:
        now = self.clock.wall()
        await self.database.run(lambda c: acknowledgements.add(c, [KEY], by="张三", comment="on it", now=now))

    async def acked(self) -> dict[str, Ack]:
        return await self.database.read(acknowledgements.of)


KEY = notification_log.alert_key(AlertGroup("alertmanager", "k", "t"), ALERT)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = Database.open(sqlite_url(tmp_path))
    yield Bench(database)
    database.close()


async def test_an_acked_alert_is_not_repeated_until_it_resolves_and_fires_anew(bench: Bench) -> None:
    assert await bench.take(ALERT)
    assert await bench.look_after(4.1) == 1, "it repeats"
    await bench.ack()
    assert [await bench.look_after(4.1) for _ in range(3)] == [0, 0, 0]
    assert not await bench.take(ALERT), "the monitor's own repeat"
    ended = replace(ALERT, status=AlertStatus.RESOLVED, ends_at=START + timedelta(days=1))
    assert await bench.take(ended), "its end is told"
    assert await bench.acked() == {}
    again = replace(ALERT, starts_at=START + timedelta(days=2))
    assert await bench.take(again)
    assert await bench.look_after(4.1) == 1


async def test_what_begins_anew_without_having_been_seen_to_end_is_repeated_again(bench: Bench) -> None:
    await bench.take(ALERT)
    await bench.ack()
    assert await bench.look_after(4.1) == 0
    bench.clock.advance(HOUR)
    began = datetime.fromtimestamp(bench.clock.wall(), UTC)
    assert await bench.take(replace(ALERT, starts_at=began))
    assert await bench.look_after(4.1) == 1


async def test_a_later_ack_takes_the_place_of_an_earlier(bench: Bench) -> None:
    await bench.ack()
    await bench.database.run(
        lambda c: acknowledgements.add(c, [KEY, KEY, "other"], by="李\ud800四\x00", comment="", now=7.0)
    )
    assert await bench.acked() == {KEY: Ack(KEY, 7.0, "李�四"), "other": Ack("other", 7.0, "李�四")}
    assert (await bench.database.read(lambda c: acknowledgements.of(c, [KEY, "nobody"]))).keys() == {KEY}


async def test_acks_of_what_nothing_was_heard_of_are_forgotten_in_the_end(bench: Bench) -> None:
    await bench.ack()
    await bench.reminders.tidy()
    assert (await bench.acked()).keys() == {KEY}
    bench.clock.advance(8 * 24 * HOUR)
    await bench.reminders.tidy()
    assert await bench.acked() == {}
