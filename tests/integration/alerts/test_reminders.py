from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.fakes.postgresql import database_url
from wxbridge.alerts import notification_log, routing, silences, store
from wxbridge.alerts.notification_log import NotificationLog
from wxbridge.alerts.pipeline import AlertSettings, AlertState
from wxbridge.alerts.reminders import Reminders
from wxbridge.alerts.routing import Route, RouteOptions, RouteTree
from wxbridge.alerts.service import AlertService
from wxbridge.alerts.silences import SilenceSet
from wxbridge.config.time_intervals import TimeInterval
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.matchers import parse_matchers
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.testing import FakeClock

HOUR, DAY = 3600.0, 86400.0
MIDNIGHT = datetime(2026, 6, 5, tzinfo=UTC).timestamp()
FIRING, RESOLVED = AlertStatus.FIRING, AlertStatus.RESOLVED


def routes(*to: str, **more: Any) -> RouteTree:
    return routing.compile_routes([Route((), to, **{"repeat_interval": 4 * HOUR, **more})])


@dataclass
class Told:
    target: str
    names: list[str]
    telling: RouteOptions
    text: str | None = None


@dataclass
class ReminderHarness:
    """The service beside an intake that does what the bridge's does."""

    database: Database
    clock: FakeClock = field(default_factory=lambda: FakeClock(MIDNIGHT + 12 * HOUR))
    ledger: NotificationLog = field(default_factory=NotificationLog)
    silences: SilenceSet = field(default_factory=SilenceSet)
    routes: RouteTree = field(default_factory=lambda: routes("ops"))
    told: list[Told] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def settings(self, keep: float) -> AlertSettings:
        night = TimeInterval.model_validate({"times": "22:00-08:00"})
        return AlertSettings(self.routes, {"night": night}, ZoneInfo("UTC"), keep=keep)

    async def tell_again(self, group: AlertGroup, target: str, options: RouteOptions) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.told.append(Told(target, [alert.fingerprint for alert in group.alerts], options, group.text))

    def reminders(self, keep: float = 7 * DAY, **more: Any) -> Reminders:
        return Reminders(_Recording(self, keep), **more)

    async def take(self, group: AlertGroup, to: str = "") -> int:
        """Take a group in; returns how many alerts were told, counted for each target."""
        now = self.clock.wall()
        sightings = []
        for alert in group.alerts or (None,):
            labels = routing.labels_of(group, alert)
            found = routing.find_targets(self.routes, labels) or ()
            chosen = [(to, RouteOptions())] if to else [(decision.target, decision.options) for decision in found]
            for target, telling in chosen:
                held = _Recording(self).held_by(group, alert, telling, now)
                sightings.append(
                    notification_log.pending_alert(group, alert, target, telling, held=held, direct=bool(to))
                )
        selection = self.ledger.select_due(sightings, now)

        def write(connection: Any) -> None:
            store.record_seen(connection, [group], now=now, held=selection.held_keys)
            notification_log.store_entries(connection, selection.changes)

        await self.database.run(write)
        return sum(selection.due)

    async def looks(self, after: float = 0, **more: Any) -> list[list[str]]:
        """Let time pass and look; returns whom of each telling."""
        self.clock.advance(after)
        self.told.clear()
        await self.reminders(**more).look()
        return [told.names for told in self.told]

    async def silence(self, *matchers: str, seconds: float) -> str:
        def add(connection: Any) -> str:
            now = self.clock.wall()
            made = silences.add(connection, parse_matchers(matchers), ends_at=now + seconds, now=now)
            self.silences.reload(connection, now=now)
            return made.id

        return await self.database.run(add)

    async def expire(self, silence_id: str) -> None:
        def expire(connection: Any) -> None:
            silences.expire(connection, silence_id, now=self.clock.wall())
            self.silences.reload(connection, now=self.clock.wall())

        await self.database.run(expire)

    async def rows(self, table: str) -> int:
        return int(await self.database.read(lambda c: c.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()))


class _Recording(AlertService):
    """Notes what it is asked to tell again."""

    def __init__(self, harness: ReminderHarness, keep: float = 7 * DAY) -> None:
        state = AlertState(harness.ledger, harness.silences)
        super().__init__(harness.database, None, harness.settings(keep), state=state, clock=harness.clock.wall)
        self._harness = harness

    async def notify_again(self, group: AlertGroup, target: str, options: RouteOptions) -> None:
        await self._harness.tell_again(group, target, options)


@pytest.fixture
def harness(each_database: str, tmp_path: Path) -> Iterator[ReminderHarness]:
    database = Database.open(database_url(tmp_path))
    yield ReminderHarness(database)
    database.close()


def group(*names: str, status: AlertStatus = FIRING, key: str = "k", **more: Any) -> AlertGroup:
    alerts = [Alert("am", status, "Disk", {"alertname": "Disk", "name": name}, fingerprint=name) for name in names]
    return AlertGroup("am", key, "Disk", tuple(alerts), **more)


async def test_what_still_fires_is_told_again_after_each_interval_until_it_ends(harness: ReminderHarness) -> None:
    assert await harness.take(group("a", "b")) == 2
    assert await harness.looks(4 * HOUR - 1) == []
    assert await harness.looks(1) == [["a", "b"]]
    assert (harness.told[0].target, harness.told[0].telling.repeat_interval) == ("ops", 4 * HOUR)
    assert await harness.looks(5) == []
    assert await harness.take(group("a", status=RESOLVED)) == 1
    assert await harness.looks(4 * HOUR) == [["b"]]


async def test_the_senders_own_repeat_and_the_bridges_are_one(harness: ReminderHarness) -> None:
    await harness.take(group("a"))
    harness.clock.advance(4 * HOUR - 1)
    assert await harness.take(group("a")) == 0
    assert await harness.looks(2) == [["a"]]
    assert await harness.take(group("a")) == 0


async def test_after_a_long_downtime_each_alert_is_told_once(harness: ReminderHarness) -> None:
    await harness.take(group("a"))
    await harness.take(group("b", key="other"))
    harness.ledger = await harness.database.read(notification_log.load)
    assert await harness.looks(3 * DAY) == [["a"], ["b"]]
    assert await harness.looks(5) == []


async def test_what_nobody_mentioned_for_a_day_is_not_told_again_until_it_is_mentioned(
    harness: ReminderHarness,
) -> None:
    await harness.take(group("a"))
    assert await harness.looks(7 * DAY) == [["a"]]
    assert await harness.looks(4 * HOUR) == []
    assert await harness.looks(DAY) == []
    assert await harness.take(group("a")) == 1
    assert await harness.looks(HOUR * 4) == [["a"]]


async def test_the_routes_of_today_decide(harness: ReminderHarness) -> None:
    await harness.take(group("a"))
    harness.routes = routes("ops", mention=("all",), repeat_interval=8 * HOUR)
    assert await harness.looks(4 * HOUR) == []
    assert await harness.looks(4 * HOUR) == [["a"]]
    assert harness.told[0].telling.mention == ("all",)
    harness.routes = routes("dba")
    assert await harness.looks(8 * HOUR) == []
    assert await harness.rows("told") == 0
    harness.routes = routes("ops")
    await harness.take(group("a"))
    harness.routes = routes("ops", repeat_interval=0)
    assert await harness.looks(8 * HOUR) == []
    assert await harness.rows("told") == 0


@pytest.mark.parametrize("repeat", [0, 4 * HOUR])
async def test_what_fires_in_a_muted_time_is_told_when_it_is_over(harness: ReminderHarness, repeat: float) -> None:
    harness.routes = routes("ops", mute=("night",), repeat_interval=repeat)
    harness.clock.advance(11 * HOUR)
    assert await harness.take(group("a", "b", "c")) == 0
    assert await harness.looks(HOUR) == []
    assert await harness.take(group("b", status=RESOLVED)) == 0
    assert await harness.looks(8 * HOUR - 61) == []
    assert await harness.looks(61) == [["a", "c"]]
    assert await harness.looks(61) == []
    assert await harness.take(group("a", status=RESOLVED)) == 1


async def test_the_end_of_what_was_told_before_a_muted_time_is_told_after_it(harness: ReminderHarness) -> None:
    harness.routes = routes("ops", mute=("night",))
    harness.clock.advance(9 * HOUR)
    assert await harness.take(group("a")) == 1
    harness.clock.advance(2 * HOUR)
    assert await harness.take(group("a", status=RESOLVED)) == 0
    assert await harness.looks(9 * HOUR) == [["a"]]
    assert await harness.looks(4 * HOUR) == []


async def test_repeats_keep_quiet_in_a_silence_and_come_once_after_it(harness: ReminderHarness) -> None:
    await harness.take(group("a", "b"))
    await harness.silence("name=a", seconds=10 * HOUR)
    assert await harness.looks(4 * HOUR) == [["b"]]
    assert await harness.looks(4 * HOUR) == [["b"]]
    assert await harness.looks(2 * HOUR) == [["a"]]
    assert await harness.looks(5) == []


async def test_a_silence_that_is_ended_early_is_noticed_within_a_minute(harness: ReminderHarness) -> None:
    silence = await harness.silence("name=a", seconds=DAY)
    assert await harness.take(group("a")) == 0
    assert await harness.looks(HOUR) == []
    await harness.expire(silence)
    assert await harness.looks(notification_log.HELD_AGAIN_SECONDS) == [["a"]]


async def test_what_goes_to_a_target_by_name_is_told_after_a_silence_whatever_the_routes_say(
    harness: ReminderHarness,
) -> None:
    harness.routes = routes("dba")
    await harness.silence("name=a", seconds=HOUR)
    assert await harness.take(group("a"), to="ops") == 0
    assert await harness.looks(HOUR) == [["a"]]
    assert harness.told[0].target == "ops"


async def test_texts_that_were_held_back_are_told_each_and_forgotten(harness: ReminderHarness) -> None:
    harness.routes = routes("ops", mute=("night",))
    harness.clock.advance(11 * HOUR)
    for text in ("one", "two", "two"):
        assert await harness.take(group(text=text)) == 0
    assert await harness.looks(10 * HOUR) == [[], []]
    assert sorted(str(told.text) for told in harness.told) == ["one", "two"]
    assert (await harness.rows("alerts"), await harness.rows("told")) == (0, 0)


async def test_what_could_not_be_stored_is_told_at_the_next_look(harness: ReminderHarness) -> None:
    await harness.take(group("a"))
    harness.faults.append(StorageError("the disk is full"))
    with pytest.raises(StorageError):
        await harness.looks(4 * HOUR)
    assert await harness.looks(5) == [["a"]]


async def test_a_group_that_cannot_be_told_holds_up_no_other(harness: ReminderHarness) -> None:
    await harness.take(group("a"))
    await harness.take(group("b", key="other"))
    harness.faults.append(RuntimeError("a mistake"))
    assert await harness.looks(4 * HOUR) == [["b"]]
    assert await harness.looks(5) == []
    assert await harness.looks(60) == [["a"]]


async def test_an_alert_that_was_forgotten_is_not_told_again(harness: ReminderHarness) -> None:
    await harness.take(group("a"))
    await harness.database.run(lambda c: c.exec_driver_sql("DELETE FROM alerts"))
    assert await harness.looks(4 * HOUR) == []
    assert await harness.rows("told") == 0
