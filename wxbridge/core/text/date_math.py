"""Grafana's words for moments: `now`, `now-6h`, `now-1d/d`, milliseconds since the epoch, and ISO dates.

Grafana's documentation, "Time units and relative ranges".
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta

_STEP = re.compile(r"([-+])(\d{1,6})?([smhdwMQy])|/([smhdwMQy])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DAYS = {"d": 1, "w": 7}
_MONTHS = {"M": 1, "Q": 3, "y": 12}
_COMPACT = "%Y%m%dT%H%M%S"
_DAY_SECONDS = 86400


def subtract_seconds(moment: datetime, seconds: float) -> datetime:
    """Give the moment that is earlier by some seconds; whole days go by the calendar."""
    if seconds % _DAY_SECONDS == 0:
        return moment - timedelta(seconds=seconds)  # of the clock on the wall
    return (moment.astimezone(UTC) - timedelta(seconds=seconds)).astimezone(moment.tzinfo)


def parse_moment(text: str, now: datetime, *, end: bool = False) -> datetime:
    """Read one of Grafana's moments. A week begins on Monday here.

    Args:
        text: As in the address, decoded.
        now: What `now` is, in the time zone that days are rounded in.
        end: Whether it is a `to`, which is rounded up.

    Raises:
        ValueError: it is none, or beyond all calendars.
    """
    text = text.strip()
    try:
        if text.startswith("now"):
            return _relative(text, now, end=end)
        if re.fullmatch(r"\d{8}T\d{6}", text):
            return datetime.strptime(text, _COMPACT).replace(tzinfo=UTC).astimezone(now.tzinfo)
        if re.fullmatch(r"-?\d{9,15}", text):
            return datetime.fromtimestamp(int(text) / 1000, UTC).astimezone(now.tzinfo)
        if re.match(r"\d{4}-\d\d", text):
            found = datetime.fromisoformat(text)
            return found.astimezone(now.tzinfo) if found.tzinfo else found.replace(tzinfo=now.tzinfo)
    except (OverflowError, OSError, ValueError):
        pass
    raise ValueError(f"{text[:60]!r} is no moment that Grafana knows; write one like now-1h or now/d")


def _relative(text: str, now: datetime, *, end: bool) -> datetime:
    at, place = now, len("now")
    while place < len(text):
        step = _STEP.match(text, place)
        if step is None:
            raise ValueError(text)
        sign, count, unit, rounded = step.groups()
        at = _rounded(at, rounded, end=end) if rounded else _moved(at, int(f"{sign}{count or 1}"), unit)
        place = step.end()
    return at


def _moved(at: datetime, count: int, unit: str) -> datetime:
    if unit in _SECONDS:
        # 24 hours are 24 hours, also when clocks change.
        return (at.astimezone(UTC) + timedelta(seconds=count * _SECONDS[unit])).astimezone(at.tzinfo)
    if unit in _DAYS:
        return at + timedelta(days=count * _DAYS[unit])
    years, month = divmod(at.month - 1 + count * _MONTHS[unit], 12)
    year = at.year + years
    if not 1 <= year <= 9999:  # noqa: PLR2004 - the years of datetime
        raise OverflowError
    return at.replace(year=year, month=month + 1, day=min(at.day, calendar.monthrange(year, month + 1)[1]))


def _rounded(at: datetime, unit: str, *, end: bool) -> datetime:
    if unit in _SECONDS:
        second = at.second if unit == "s" else 0
        start = at.replace(minute=0 if unit == "h" else at.minute, second=second, microsecond=0)
    else:
        start = at.replace(hour=0, minute=0, second=0, microsecond=0)
        if unit == "w":
            start -= timedelta(days=start.weekday())
        elif unit in _MONTHS:
            month = {"M": start.month, "Q": start.month - (start.month - 1) % 3, "y": 1}[unit]
            start = start.replace(month=month, day=1)
    return _moved(start, 1, unit) - timedelta(milliseconds=1) if end else start
