"""When a job runs: `cron`, `every` and `at` of jobs.yaml as APScheduler triggers.

APScheduler's own crontab reader counts weekdays from Monday and wants *both* the day of the month
and the weekday to match; crontab(5) counts from Sunday and wants *either*. People write crontab.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

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
_DICT_FIELDS = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")


def make_cron_trigger(value: str | Mapping[str, Any], timezone: ZoneInfo) -> BaseTrigger:
    """Make a trigger of a crontab line (`5 9-18 * * 1-5`, `@hourly`) or of APScheduler's fields as a mapping.

    Raises:
        ValueError: it is neither; the text says what is wrong.
    """
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - set(_DICT_FIELDS))
        if unknown or not value:
            raise ValueError(f"a cron mapping has the keys {', '.join(_DICT_FIELDS)}, not {', '.join(unknown)}")
        return CronTrigger(**dict(value), timezone=timezone)
    fields = _SHORTCUTS.get(value.strip(), value).split()
    if len(fields) != 5:  # noqa: PLR2004 - crontab(5)
        raise ValueError(f"{value!r} has {len(fields)} fields; cron has five: minute hour day month weekday")
    minute, hour, day, month, weekday = fields
    common = {"minute": minute, "hour": hour, "month": month.lower(), "timezone": timezone}
    try:
        days = _weekdays(weekday)
        # "If both fields are restricted (do not contain the `*` character)": `*/2` is not (crontab(5)).
        if "*" not in day and "*" not in weekday:
            return OrTrigger([CronTrigger(day=day, **common), CronTrigger(day_of_week=days or "*", **common)])
        return CronTrigger(day=day, day_of_week=days or "*", **common)
    except ValueError as error:
        raise ValueError(f"{value!r} is no cron line: {error}") from None


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


def make_interval_trigger(seconds: float, timezone: ZoneInfo, now: datetime) -> BaseTrigger:
    """Make a trigger that runs each `seconds`, counted from local midnight, so that a restart does not shift it.

    An interval that does not divide the day is counted from a midnight long ago: from today's it would begin anew
    at every restart, and one of several days might never come.

    Raises:
        ValueError: no whole number of seconds, or none.
    """
    if seconds < 1 or seconds != int(seconds):
        raise ValueError("a job runs every second at the most, and every so many whole seconds")
    midnight = now.astimezone(timezone).replace(hour=0, minute=0, second=0, microsecond=0)
    if _DAY_SECONDS % seconds:
        midnight = datetime(2000, 1, 1, tzinfo=timezone)
    return IntervalTrigger(seconds=int(seconds), start_date=midnight, timezone=timezone)


def make_time_trigger(value: str | list[str], timezone: ZoneInfo) -> BaseTrigger:
    """Make a trigger of a time of day (`09:30`, each day), a moment (`2026-12-31 09:30`, once), or a list of them.

    Raises:
        ValueError: it is neither.
    """
    values = [value] if isinstance(value, str) else value
    triggers = [_at(item.strip(), timezone) for item in values]
    if not triggers:
        raise ValueError("`at` names no time")
    return triggers[0] if len(triggers) == 1 else OrTrigger(triggers)


def _at(value: str, timezone: ZoneInfo) -> BaseTrigger:
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", value):
        moment = time.fromisoformat(value.zfill(5) if value.count(":") == 1 else value.zfill(8))
        return CronTrigger(hour=moment.hour, minute=moment.minute, second=moment.second, timezone=timezone)
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is no time; write 09:30 (each day) or 2026-12-31 09:30 (once)") from None
    return DateTrigger(run_date=when if when.tzinfo else when.replace(tzinfo=timezone), timezone=timezone)


def find_next_run(trigger: BaseTrigger, after: datetime) -> datetime | None:
    """Find when a trigger fires next, after a moment; None where never again."""
    # Through UTC: adding to a local time forgets which of the two hours it was when clocks go back.
    moment = (after.astimezone(UTC) + timedelta(microseconds=1)).astimezone(after.tzinfo)
    fires: datetime | None = trigger.get_next_fire_time(None, moment)
    return fires if fires and fires > after else None
