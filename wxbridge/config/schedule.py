"""When a job runs: `cron`, `every` and `at` of jobs.yaml. The fields of `cron` are read by APScheduler.

APScheduler's own crontab reader counts weekdays from Monday and wants *both* the day of the month
and the weekday to match; crontab(5) counts from Sunday and wants *either*. People write crontab.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONG_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_SHORTCUTS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAY_SECONDS = 86400
_FIRST_MIDNIGHT = datetime(2000, 1, 1)  # noqa: DTZ001 - that of each zone
"""From which intervals are counted."""
_MAX_OFFSET_CHANGE = timedelta(hours=26)
"""By which a zone's clocks were ever set."""
_LEAST_TRIED_ONE_BY_ONE = timedelta(hours=1)
"""Intervals as long as this are few in the hours where clocks may be set; of shorter ones there are thousands."""
_DICT_FIELDS = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")


class Schedule(Protocol):
    """The moments at which something runs."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Tell the first that is later than a moment; None where there is none."""


@dataclass(frozen=True)
class CronSchedule:
    """Runs where every field matches."""

    trigger: Any
    """APScheduler's."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Tell the first run that is later than a moment."""
        # In UTC: adding to a local time forgets which of the two hours it was when clocks go back.
        found: datetime | None = self.trigger.get_next_fire_time(
            None, moment.astimezone(UTC) + timedelta(microseconds=1)
        )
        return found


@dataclass(frozen=True)
class IntervalSchedule:
    """Runs each so many seconds, counted from midnight.

    What divides the day, and whole days, are counted by the local clock: every 6 hours is at 0, 6, 12 and 18
    o'clock in summer as in winter. Where clocks are set, what would fall into the hour that is left out runs at its
    end, and what falls into the hour that comes twice runs once, unless the interval is no longer than that hour.
    Other intervals are counted from the midnight of 2000-01-01, all of the same length.
    """

    interval: timedelta
    timezone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime | None:
        """Tell the first run that is later than a moment."""
        day = timedelta(seconds=_DAY_SECONDS)
        if day % self.interval and self.interval % day:
            start = _FIRST_MIDNIGHT.replace(tzinfo=self.timezone).astimezone(UTC)
            runs = (moment - start) // self.interval + 1
            return (start + runs * self.interval).astimezone(self.timezone)
        moment = moment.astimezone(UTC)  # of two times of one zone Python compares what the clock shows
        local = moment.astimezone(self.timezone).replace(tzinfo=None)
        margin = timedelta(hours=3)
        if self.interval < _LEAST_TRIED_ONE_BY_ONE and self._offset(moment - margin) == self._offset(moment + margin):
            # No clock is set near.
            return (moment + self.interval - (local - _FIRST_MIDNIGHT) % self.interval).astimezone(self.timezone)
        while True:
            later = [each for each in self._between(local - margin, local + self.interval + margin) if each > moment]
            if later:
                return min(later).astimezone(self.timezone)
            margin += _MAX_OFFSET_CHANGE

    def _offset(self, moment: datetime) -> timedelta | None:
        return moment.astimezone(self.timezone).utcoffset()

    def _between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Give the runs (in UTC) at local times from before `start` to `end`."""
        run = start - (start - _FIRST_MIDNIGHT) % self.interval
        while run <= end:
            once, again = (run.replace(tzinfo=self.timezone, fold=fold).astimezone(UTC) for fold in (0, 1))
            is_left_out = once > again
            if not is_left_out or once - again < self.interval:
                yield once
            if again - once >= self.interval:
                yield again
            run += self.interval


@dataclass(frozen=True)
class MomentSchedule:
    """Runs once."""

    moment: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        """Tell the moment, while it is still to come."""
        return self.moment if self.moment.timestamp() > moment.timestamp() else None


@dataclass(frozen=True)
class AnySchedule:
    """Runs when any of several does."""

    schedules: tuple[Schedule, ...]

    def next_after(self, moment: datetime) -> datetime | None:
        """Tell the first run that is later than a moment."""
        found = [run for each in self.schedules if (run := each.next_after(moment))]
        return min(found, key=datetime.timestamp, default=None)


def make_cron_schedule(value: str | Mapping[str, Any], timezone: ZoneInfo) -> Schedule:
    """Read a crontab line (`5 9-18 * * 1-5`, `@hourly`) or APScheduler's fields as a mapping, weekdays as in a line.

    Raises:
        ValueError: it is neither; the text says what is wrong.
    """
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - set(_DICT_FIELDS))
        if unknown or not value:
            raise ValueError(f"a cron mapping has the keys {', '.join(_DICT_FIELDS)}, not {', '.join(unknown)}")
        given = dict(value)
        if "day_of_week" in given:
            given["day_of_week"] = _weekdays(str(given["day_of_week"])) or "*"
        return CronSchedule(_make_trigger(**given, timezone=timezone))
    fields = _SHORTCUTS.get(value.strip(), value).split()
    if len(fields) != 5:  # noqa: PLR2004 - crontab(5)
        raise ValueError(f"{value!r} has {len(fields)} fields; cron has five: minute hour day month weekday")
    minute, hour, day, month, weekday = fields
    common = {"minute": minute, "hour": hour, "month": month.lower(), "timezone": timezone}
    try:
        days = _weekdays(weekday)
        # "If both fields are restricted (do not contain the `*` character)": `*/2` is not (crontab(5)).
        if "*" not in day and "*" not in weekday:
            either = _make_trigger(day=day, **common), _make_trigger(day_of_week=days or "*", **common)
            return AnySchedule(tuple(map(CronSchedule, either)))
        return CronSchedule(_make_trigger(day=day, day_of_week=days or "*", **common))
    except ValueError as error:
        raise ValueError(f"{value!r} is no cron line: {error}") from None


def _make_trigger(**fields: Any) -> Any:
    from apscheduler.triggers.cron import CronTrigger  # where a job has such times

    return CronTrigger(**fields)


def _weekdays(field: str) -> str | None:
    """Spell out a crontab weekday field by name; None where every day is meant."""
    chosen: set[int] = set()
    for part in field.lower().split(","):
        match = re.fullmatch(r"(\*|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/(\d+))?", part)
        if not match:
            raise ValueError(f"{part!r} is no weekday")
        first, last, step = match.groups()
        if first == "*":
            low, high = 0, 6
        else:
            low = _weekday(first)
            high = _weekday(last) if last else (6 if step else low)
        if high < low:
            high += 7
        if step and not int(step):
            raise ValueError(f"{part!r} has a step of zero")
        chosen |= {day % 7 for day in range(low, high + 1, int(step or 1))}
    return None if len(chosen) == len(_DAYS) else ",".join(_DAYS[day] for day in sorted(chosen))


def _weekday(word: str) -> int:
    if word.isdigit() and int(word) <= len(_DAYS):
        return int(word)
    if word in _DAYS or word in _LONG_DAYS:
        return _DAYS.index(word[:3])
    raise ValueError(f"{word!r} is no weekday; write 0-7 (0 and 7 are Sunday) or sun … sat")


def make_interval_schedule(seconds: float, timezone: ZoneInfo) -> Schedule:
    """Make the schedule of an interval; neither a restart nor a change of summer time shifts it.

    Raises:
        ValueError: no whole number of seconds, or none.
    """
    if seconds < 1 or seconds != int(seconds):
        raise ValueError("a job runs every second at the most, and every so many whole seconds")
    return IntervalSchedule(timedelta(seconds=int(seconds)), timezone)


def make_time_schedule(value: str | list[str], timezone: ZoneInfo) -> Schedule:
    """Read a time of day (`09:30`, each day), a moment (`2026-12-31 09:30`, once), or a list of them.

    Raises:
        ValueError: it is neither.
    """
    values = [value] if isinstance(value, str) else value
    schedules = tuple(_make_time_schedule(item.strip(), timezone) for item in values)
    if not schedules:
        raise ValueError("`at` names no time")
    return schedules[0] if len(schedules) == 1 else AnySchedule(schedules)


def _make_time_schedule(value: str, timezone: ZoneInfo) -> Schedule:
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", value):
        moment = time.fromisoformat(value.zfill(5) if value.count(":") == 1 else value.zfill(8))
        return CronSchedule(
            _make_trigger(hour=moment.hour, minute=moment.minute, second=moment.second, timezone=timezone)
        )
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is no time; write 09:30 (each day) or 2026-12-31 09:30 (once)") from None
    return MomentSchedule(when if when.tzinfo else when.replace(tzinfo=timezone))
