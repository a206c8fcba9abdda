"""Read the times that machines write: since the epoch, ISO 8601, mail's, Go's, local ones with or without a zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo

from wxbridge.core.text.time_words import parse_duration

_FIRST_SECOND = 946_684_800
"""2000-01-01, in seconds since the epoch: what is earlier is a zero, or no time of an alert."""
_LAST_YEAR = 2999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SECONDS = 1e11
"""From here on a number since the epoch is none of seconds."""
_MAX_CHARS = 80
"""What is longer is no time."""
_DIGITS = re.compile(r"\d{9,20}(?:\.\d{1,9})?")
_COMPACT = re.compile(r"(?:19|20)\d{12}")
_LOCAL = re.compile(
    r"(?P<year>\d{4})(?P<sign>[-/.]|年)(?P<month>\d{1,2})(?:(?P=sign)|月)(?P<day>\d{1,2})"
    r"(?:(?:日\s*|[T\s]+)(?P<hour>\d{1,2})[:时](?P<minute>\d{1,2})(?:[:分](?P<second>\d{1,2})(?:秒|[.,](?P<fraction>\d{1,9}))?|分)?)?"
    r"\s*(?P<zone>\S.*)?",
    re.IGNORECASE,
)
_GO_CLOCK = re.compile(r"\s+m=[+-][\d.]+$")
"""What Go writes behind a time that it took itself."""
_OFFSET = re.compile(
    r"(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?(?:\s+\(?[A-Za-z+-]\w*\)?)?"
)
_UTC_NAMES = {"Z", "UTC", "GMT", "UT", "ETC/UTC"}


def read_moment(value: Any, zone: tzinfo | None = None) -> datetime | None:
    """Read a time, in UTC; None for a zero, for what is before the year 2000 or after 2999, and for anything else.

    A number, also as a text, is seconds since the epoch, or by its size milliseconds, micro- or nanoseconds; one of 14
    digits is a date and clock (`20261129205501`). A text is ISO 8601, mail's (`Sun, 29 Nov 2026 20:55:01 +0800`), or a
    date and clock (`2026.11.29 20:55:01`, `2026年11月29日 20:55`) with an offset or a zone's name behind it (`+0800
    CST`, `UTC`, `Asia/Shanghai`), else in `zone`; without one it is none. Of a list it is the first that is a time.
    """
    if isinstance(value, list):
        return next((found for each in value if (found := read_moment(each, zone))), None)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        if isinstance(value, str) or _COMPACT.fullmatch(str(value)):
            found = _read_text(str(value).strip(), zone)
        else:
            found = _since_epoch(value)
        return found if found and found.timestamp() >= _FIRST_SECOND and found.year <= _LAST_YEAR else None
    except (ValueError, OverflowError, OSError):
        return None


def read_span(value: Any) -> float | None:
    """Read how long something lasted, in seconds: a number of them, `1d 3h 22m 10s`, `01:02:03`; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        if isinstance(value, str):
            clock = re.fullmatch(r"(?:(\d+)[dD天]\s*)?(\d{1,3}):(\d\d):(\d\d)", text := value.strip())
            if clock:
                days, hours, minutes, seconds = (int(each or 0) for each in clock.groups())
                return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
            span = float(text) if re.fullmatch(r"\d{1,12}(?:\.\d{1,9})?", text) else parse_duration(text)
        else:
            span = float(value)
    except (ValueError, OverflowError):
        return None
    return span if span is not None and 0 <= span < timedelta.max.total_seconds() else None


def _since_epoch(number: float) -> datetime | None:
    """Read a number by its size: seconds until the year 5138, then milliseconds, micro- and nanoseconds."""
    if number < _MAX_SECONDS:
        return _EPOCH + timedelta(seconds=number)
    if number < _MAX_SECONDS * 1e3:
        return _EPOCH + timedelta(milliseconds=number)
    return _EPOCH + timedelta(microseconds=number if number < _MAX_SECONDS * 1e6 else number // 1000)


def _read_text(text: str, zone: tzinfo | None) -> datetime | None:
    if not 8 <= len(text) <= _MAX_CHARS:  # noqa: PLR2004 - a date at least
        return None
    if _COMPACT.fullmatch(text):
        return _in_zone(datetime.fromisoformat(f"{text[:8]}T{text[8:]}"), zone)
    if _DIGITS.fullmatch(text):
        return _since_epoch(float(text) if "." in text else int(text))
    local = _LOCAL.fullmatch(_GO_CLOCK.sub("", text))
    if local:
        return _read_local(local, zone)
    if text[:4].isdigit():
        return _in_zone(datetime.fromisoformat(text), zone)
    return _in_zone(parsedate_to_datetime(text), zone)


def _read_local(parts: re.Match[str], zone: tzinfo | None) -> datetime | None:
    year, month, day = (int(parts[name]) for name in ("year", "month", "day"))
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    micros = int((parts["fraction"] or "0").ljust(6, "0")[:6])
    naive = datetime(year, month, day, hour, minute, second, micros)  # noqa: DTZ001 - the zone is added below
    if not parts["zone"]:
        # A day alone is no moment.
        return _in_zone(naive, zone) if parts["hour"] else None
    found = _read_zone(parts["zone"].strip(" []()"), naive, zone)
    return _in_zone(naive, found) if found else None


def _read_zone(name: str, at: datetime, usual: tzinfo | None) -> tzinfo | None:
    """The zone that stands behind a time; None where it is not known for sure."""
    if name.upper() in _UTC_NAMES:
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset:
        span = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"] or 0))
        return timezone(span if offset["sign"] == "+" else -span)
    # `CST` is China's and America's: it is the usual zone's, or nobody's.
    if usual and usual.tzname(at) == name:
        return usual
    if not re.fullmatch(r"[A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+", name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _in_zone(at: datetime, zone: tzinfo | None) -> datetime | None:
    if at.tzinfo is None:
        if zone is None:
            return None
        at = at.replace(tzinfo=zone)
    return at.astimezone(UTC)
