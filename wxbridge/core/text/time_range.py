"""Read the times that people write: ranges (`6h`, `yesterday 9-18`, 最近2小时, `from=now-6h to=now-1h`), and how long.

What is written in Chinese is put into English words by a table; there is one grammar. What is counted in hours or less
is so much time; days, weeks and months are the calendar's, in the zone of `now`, so that yesterday has 23 or 25 hours
where the clock is changed. Date math (`now-1d/d`) is Grafana's.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from wxbridge.core.errors import CannotAnswer
from wxbridge.core.text.date_math import parse_moment as parse_date_math
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.time_words import (
    DAY_SECONDS,
    MAX_CHARS,
    WEEKDAYS,
    TimeAmount,
    TooLongAmount,
    read_amount,
    translate,
)
from wxbridge.core.text.units import format_duration

MAX_RANGE = timedelta(days=92)
"""By the calendar: where the clock is put back within, an hour more."""
USUAL_RANGE = timedelta(hours=6)
"""What is shown where nobody says: Grafana's own choice."""
_CLOCK_CHANGE = timedelta(hours=1)
MAX_WORDS = 12


@dataclass(frozen=True)
class Span:
    """A stretch of time: two moments in UTC, the first before the second."""

    start: datetime
    end: datetime

    @property
    def milliseconds(self) -> tuple[int, int]:
        """Both ends as Grafana wants them, since the epoch."""
        return round(self.start.timestamp() * 1000), round(self.end.timestamp() * 1000)


_Ends = tuple[datetime, datetime] | None

# ---------------------------------------------------------------- what others call


def parse_range(text: str, now: datetime, language: Language = "en") -> Span:
    """Read a time range; what it says of a time to come is cut off at `now`.

    Args:
        text: Such as `6h`, `from=6h to=1h`, `last 2 hours`, `today`, `yesterday 9-18`, `2026-11-20 9:00-18:00`, 近7天,
            昨天9-18点, 上周.
        now: Aware; its zone is the one that clocks and calendars are read in.
        language: Of the error.

    Raises:
        CannotAnswer: it is no time range; it is longer than 92 days, begins in the future, or ends before it begins.
    """
    try:
        found = _read_range(translate(text), now)
    except TooLongAmount:
        raise _too_long(text, language) from None
    if found is None:
        raise CannotAnswer(say("bot.time_range.unknown", language, text=shorten(text)))
    return _bound(*found, text, now, language)


def parse_ends(
    start: str | None, end: str | None, now: datetime, language: Language = "en", *, usual: timedelta = USUAL_RANGE
) -> Span:
    """Read the two ends of a range, as in `from=` and `to=`: `now-6h`, `6h` (ago), `09:00`, `2026-11-20T09:00`, 昨天.

    A clock without a day is the latest one that is over, for `end` the first one after `start`. Without `end` it is
    `now`; without `start` the range is as long as `usual`.

    Raises:
        CannotAnswer: as `parse_range`.
    """
    shown = " ".join(f"{name}={text}" for name, text in (("from", start), ("to", end)) if text)
    if not shown:
        return Span(now.astimezone(UTC) - usual, now.astimezone(UTC))
    first, last = translate(start or ""), translate(end or "")
    # What cannot be read at all must not pass for an end that was not given.
    is_unread = bool(start and not first) or bool(end and not last)
    try:
        found = None if is_unread else _read_both_ends(first, last, now, usual)
    except TooLongAmount:
        raise _too_long(shown, language) from None
    if found is None:
        raise CannotAnswer(say("bot.time_range.unknown_time", language, text=shorten(shown)))
    return _bound(*found, shown, now, language)


def is_range(text: str, now: datetime) -> bool:
    """Tell whether a text is written like a time range, be it within the bounds or not."""
    try:
        return _read_range(translate(text), now) is not None
    except TooLongAmount:
        return True


def split_off_ranges(text: str, now: datetime) -> Iterator[tuple[str, str]]:
    """Give every way to take a time range off the end of a text, the longest range first: (the rest, the range).

    Only at blanks, and never the whole text.
    """
    whole = text.strip()
    for cut in [found for found in re.finditer(r"\s+", whole) if found.start()][-MAX_WORDS:]:
        rest, tail = whole[: cut.start()], whole[cut.end() :]
        if len(tail) <= MAX_CHARS and is_range(tail, now):
            yield rest, tail


def format_range(span: Span, now: datetime, language: Language) -> str:
    """Write a range as people read it, on the clock of `now`: `11-20 09:00 – 18:00 (9 h)`."""
    first, last = span.start.astimezone(now.tzinfo), span.end.astimezone(now.tzinfo)
    day = "%m-%d" if first.year == last.year == now.year else "%Y-%m-%d"
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:{day} %H:%M}"
    return f"{first:{day} %H:%M} – {until} ({format_duration((span.end - span.start).total_seconds(), language)})"


def parse_until(text: str, now: datetime) -> datetime | None:
    """Read until when something is to last: `until 18:00`, `until tomorrow`, 到明天9点; None where it is no such time.

    A clock without a day is the next such time.

    Raises:
        ValueError: there is no such time.
    """
    found = _UNTIL.fullmatch(text.strip())
    parts = found and _UNTIL_PARTS.fullmatch(translate(found[1]).replace(",", " "))
    if not parts or not (parts["day"] or parts["date"] or parts["clock"]):
        return None
    clock = _read_clock(parts["clock"] or "0:00")
    if clock is None:
        raise ValueError(text)
    days_to_come = {"today": 0, "tomorrow": 1, "overmorrow": 2}
    day = date.fromisoformat(parts["date"]) if parts["date"] else now.date()
    at = _at(day + timedelta(days=days_to_come.get((parts["day"] or "today").lower(), 0)), clock, now)
    if not (parts["day"] or parts["date"]) and at <= now.astimezone(UTC):
        at = _at(day + timedelta(days=1), clock, now)
    return at.astimezone(now.tzinfo)


def _bound(start: datetime, end: datetime, text: str, now: datetime, language: Language) -> Span:
    moment = now.astimezone(UTC)
    # What ends before it begins is said first: of `from=now to=now-1h` nothing is to come.
    if start > moment or start == moment <= end:
        raise CannotAnswer(say("bot.time_range.to_come", language, text=shorten(text)))
    end = min(end, moment)
    if end <= start:
        raise CannotAnswer(say("bot.time_range.backwards", language, text=shorten(text)))
    if end - start > MAX_RANGE + _CLOCK_CHANGE:
        raise _too_long(text, language)
    return Span(start, end)


def _too_long(text: str, language: Language) -> CannotAnswer:
    return CannotAnswer(say("bot.time_range.too_long", language, text=shorten(text), days=MAX_RANGE.days))


# ---------------------------------------------------------------- whole ranges

_LAST = re.compile(r"(?:(?:in|for|over|during|since) )?(?:the )?(?:last|past|previous) (.+)", re.IGNORECASE)
_FROM_TO = re.compile(r"(?:from=(?P<start>.+?))?(?: ?\bto=(?P<end>.+))?", re.IGNORECASE)
_TO_FROM = re.compile(r"to=(?P<end>.+?) from=(?P<start>.+)", re.IGNORECASE)
_SINCE = re.compile(r"(?:since|from) (.+)|(now.+)", re.IGNORECASE)
_FROM = re.compile(r"(?:from|between) ", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*(?:--|[-—–~])\s*| (?:to|until|till|and) | (?=now)", re.IGNORECASE)
_SHORT_DATE = re.compile(r"\d{1,2}-\d{1,2}")


def _read_range(text: str, now: datetime) -> _Ends:
    """Read both ends of a range, unbounded; None where the text is none."""
    for reader in _READERS if text else ():
        try:
            found = reader(text, now)
        except (OverflowError, ValueError):
            continue  # a date that the calendar does not have
        if found is not None:
            return found
    return None


def _read_named_ends(text: str, now: datetime) -> _Ends:
    """Read `from=6h to=1h`."""
    found = _TO_FROM.fullmatch(text) or _FROM_TO.fullmatch(text)
    if found is None or not (found["start"] or found["end"]):
        return None
    return _read_both_ends(found["start"] or "", found["end"] or "", now, USUAL_RANGE)


def _read_period(text: str, now: datetime) -> _Ends:
    """Read `this week`, `last month`."""
    today = now.date()
    monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
    periods = {
        "this week": (monday, monday + timedelta(days=7)),
        "last week": (monday - timedelta(days=7), monday),
        "this month": (first, first + timedelta(days=31)),
        "last month": ((first - timedelta(days=1)).replace(day=1), first),
    }
    found = periods.get(text.lower().removeprefix("the "))
    return (_midnight(found[0], now), _midnight(found[1], now)) if found else None


def _read_last(text: str, now: datetime) -> _Ends:
    """Read `6h`, `last 2 hours`, `the last hour`."""
    last = _LAST.fullmatch(text)
    amount = read_amount(last[1], needs_number=False) if last else read_amount(text.removeprefix("since "))
    return (_ago(now, amount), now.astimezone(UTC)) if amount is not None and any(amount) else None


def _read_day_range(text: str, now: datetime) -> _Ends:
    """Read a day, or hours of it: `yesterday 9-18`."""
    found = _read_day(text, now)
    if found is None:
        return None
    day, rest = found
    if not rest:
        whole = _midnight(day, now), _midnight(day + timedelta(days=1), now)
        return None if _SHORT_DATE.fullmatch(text) else whole
    for left, right in _halves(_FROM.sub("", rest, count=1) if _FROM.match(rest) else rest):
        first, last = _read_clock(left), _read_clock(right)
        if first is not None and last is not None:
            first, last = _in_same_half(first, last)
            end_day = day if last.seconds > first.seconds else day + timedelta(days=1)
            return _at(day, first, now), _at(end_day, last, now, late=True)
    return None


def _read_two_moments(text: str, now: datetime) -> _Ends:
    """Read two moments with a word or a dash between them, or hubot-grafana's `now-6h now-1h`."""
    for left, right in _halves(_FROM.sub("", text, count=1) if _FROM.match(text) else text):
        start = _read_moment(left, now)
        end = _read_moment(right, now, end=True, after=start) if start else None
        if start is not None and end is not None:
            return start, end
    return None


def _read_since(text: str, now: datetime) -> _Ends:
    """Read `since 9:00`, and `now-6h`."""
    since = _SINCE.fullmatch(text)
    start = _read_moment(since[1] or since[2], now) if since else None
    return None if start is None else (start, now.astimezone(UTC))


_READERS: Sequence[Callable[[str, datetime], _Ends]] = (
    _read_named_ends, _read_period, _read_last, _read_day_range, _read_two_moments, _read_since,
)  # fmt: skip
"""Tried in this order."""


def _read_both_ends(start: str, end: str, now: datetime, usual: timedelta) -> _Ends:
    """Read `from=` and `to=`; each may be a moment, or a range of which it is the beginning or the end."""
    first = last = None
    try:
        if start:
            whole = _read_range(start, now) if "=" not in start else None
            first = _read_moment(start, now, is_end_of_range=True) or (whole[0] if whole else None)
        if end:
            whole = _read_range(end, now) if "=" not in end else None
            last = _read_moment(end, now, end=True, after=first, is_end_of_range=True) or (whole[1] if whole else None)
    except (OverflowError, ValueError):
        return None
    if (start and first is None) or (end and last is None):
        return None
    last = last or now.astimezone(UTC)
    return first or last - usual, last


def _halves(text: str) -> Iterator[tuple[str, str]]:
    for cut in _BETWEEN.finditer(text):
        if text[: cut.start()] and text[cut.end() :]:
            yield text[: cut.start()], text[cut.end() :]


# ---------------------------------------------------------------- moments

_DAYS_AGO = {"the day before yesterday": 2, "day before yesterday": 2, "beforeyesterday": 2, "yesterday": 1, "today": 0}
_DAY_WORD = re.compile(rf"({'|'.join(_DAYS_AGO)})(?![a-z])", re.IGNORECASE)
_WEEKDAY = re.compile(rf"(?:(last|lastweek|thisweek) )?({'|'.join(WEEKDAYS)})(?![a-z])", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?![\d:])")
_MONTH_DAY = re.compile(r"month(\d{1,2})day(\d{1,2})|(\d{1,2})-(\d{1,2})(?![\d:-])")
_AFTER_DAY = re.compile(r"(?:T(?=\d)|[\s,的])*", re.IGNORECASE)
_CLOCK = re.compile(
    r"(?P<before>[ap]m)?\s*(?P<hour>\d{1,2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2}))?)?\s*(?P<behind>[ap]m)?",
    re.IGNORECASE,
)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})", re.IGNORECASE)
_EPOCH = re.compile(r"(\d{10})(\d{3})?")
_AGO = re.compile(r"(.+?) ago", re.IGNORECASE)
_MATH = re.compile(r"now((?:[+-]\d{1,6}[a-zA-Z]{1,3}|/[a-zA-Z])*)", re.IGNORECASE)
_UNTIL = re.compile(r"(?:until|till|直到|到|至)\s*(.+)", re.IGNORECASE)
_UNTIL_PARTS = re.compile(
    r"(?:(?P<day>today|tomorrow|overmorrow)|(?P<date>\d{4}-\d{2}-\d{2})T?)?\s*(?P<clock>(?:[ap]m )?\d{1,2}:\d{2})?",
    re.IGNORECASE,
)


class _ClockTime(NamedTuple):
    """A time of day."""

    seconds: int
    is_afternoon: bool | None
    """None where nothing says which half of the day is meant."""
    is_marked: bool
    """Whether anything says that it is an hour."""


def _read_moment(  # noqa: PLR0911 - one for each way to write it
    text: str, now: datetime, *, end: bool = False, after: datetime | None = None, is_end_of_range: bool = False
) -> datetime | None:
    """Read one moment. `is_end_of_range`: it is told to be one, so that `6h` is that long ago, and `9` a clock."""
    if text.casefold() == "now":
        return now.astimezone(UTC)
    math = _read_date_math(text, now, end=end)
    if math is not None:
        return math
    if epoch := _EPOCH.fullmatch(text):
        return datetime.fromtimestamp(int(epoch[1]), UTC)
    if _ISO.fullmatch(text):
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    ago = _AGO.fullmatch(text)
    amount = read_amount(ago[1]) if ago else read_amount(text) if is_end_of_range else None
    if amount is not None and any(amount):
        return _ago(now, amount)
    found = _read_day(text, now)
    if found is not None:
        day, rest = found
        if not rest:
            return _midnight(day + timedelta(days=1) if end else day, now)
        clock = _read_clock(rest)
        return None if clock is None else _at(day, clock, now, late=end)
    clock = _read_clock(text)
    if clock is None or not (clock.is_marked or is_end_of_range):
        return None
    return _latest(clock, now, late=end) if after is None else _first_after(clock, after, now)


def _latest(clock: _ClockTime, now: datetime, *, late: bool) -> datetime:
    """Give the latest such time that is over."""
    at = _at(now.date(), clock, now, late=late)
    return at if at <= now.astimezone(UTC) else _at(now.date() - timedelta(days=1), clock, now, late=late)


def _first_after(clock: _ClockTime, after: datetime, now: datetime) -> datetime | None:
    day = after.astimezone(now.tzinfo).date()
    times = (_at(each, clock, now, late=True) for each in (day, day + timedelta(days=1)))
    return next((at for at in times if at > after), None)


def _read_day(text: str, now: datetime) -> tuple[date, str] | None:
    """Read the day that a text begins with; give it, and what follows it.

    Raises:
        ValueError: the calendar has no such day.
    """
    today = now.date()
    if word := _DAY_WORD.match(text):
        day = today - timedelta(days=_DAYS_AGO[word[1].lower()])
    elif word := _WEEKDAY.match(text):
        day = _find_weekday(WEEKDAYS.index(word[2].lower()), (word[1] or "").lower(), today)
    elif word := _DATE.match(text):
        day = date(int(word[1]), int(word[3]), int(word[4]))
    elif word := _MONTH_DAY.match(text):
        day = _find_latest(int(word[1] or word[3]), int(word[2] or word[4]), today)
    else:
        return None
    gap = _AFTER_DAY.match(text, word.end())
    return day, text[gap.end() if gap else word.end() :]


def _find_weekday(number: int, which: str, today: date) -> date:
    """Find the day that somebody means by `friday`: the latest one, if they do not say which week's."""
    if which in ("thisweek", "lastweek"):
        monday = today - timedelta(days=today.weekday())
        return monday + timedelta(days=number - (7 if which == "lastweek" else 0))
    back = (today.weekday() - number) % 7
    return today - timedelta(days=7 if which == "last" and not back else back)


def _find_latest(month: int, number: int, today: date) -> date:
    """Find the latest such day that has begun."""
    for year in range(today.year, today.year - 9, -1):
        try:
            day = date(year, month, number)
        except ValueError:
            continue  # 29 February comes every four years, or after eight
        if day <= today:
            return day
    raise ValueError("there is no such day")


def _read_clock(text: str) -> _ClockTime | None:
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute, second = int(found["hour"]), int(found["minute"] or 0), int(found["second"] or 0)
    half = (found["before"] or found["behind"] or "").lower()
    if half and hour <= 12:  # noqa: PLR2004 - hours of a clock
        hour = hour % 12 + (12 if half == "pm" else 0)
    seconds = hour * 3600 + minute * 60 + second
    if minute > 59 or second > 59 or seconds > DAY_SECONDS:  # noqa: PLR2004
        return None
    return _ClockTime(seconds, half == "pm" if half else None, is_marked=bool(found["minute"] or half))


def _in_same_half(first: _ClockTime, last: _ClockTime) -> tuple[_ClockTime, _ClockTime]:
    """Put both into the afternoon where one is: `3-5pm`, 下午3点到5点."""
    noon = DAY_SECONDS // 2
    if first.is_afternoon and last.is_afternoon is None and last.seconds <= first.seconds < last.seconds + noon:
        return first, last._replace(seconds=min(last.seconds + noon, DAY_SECONDS))
    if last.is_afternoon and first.is_afternoon is None and first.seconds + noon < last.seconds:
        return first._replace(seconds=first.seconds + noon), last
    return first, last


def _ago(now: datetime, amount: TimeAmount) -> datetime:
    if not amount.months and not amount.days:
        return now.astimezone(UTC) - timedelta(seconds=amount.seconds)
    local = now.replace(tzinfo=None)
    year, month = divmod(local.year * 12 + local.month - 1 - int(amount.months), 12)
    # The last day of a month stays in its month.
    day = min(local.day, calendar.monthrange(year, month + 1)[1])
    local = local.replace(year=year, month=month + 1, day=day) - timedelta(days=amount.days)
    return _utc(local, now.tzinfo) - timedelta(seconds=amount.seconds)


def _utc(local: datetime, zone: tzinfo | None, *, late: bool = False) -> datetime:
    """Give the moment of a local time. Of an hour that comes twice the first, or the second if `late`.

    An hour that the clock leaves out is the one after it.
    """
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return max(first, second) if late else first


def _midnight(day: date, now: datetime) -> datetime:
    return _utc(datetime(day.year, day.month, day.day), now.tzinfo)  # noqa: DTZ001 - the zone comes next


def _at(day: date, clock: _ClockTime, now: datetime, *, late: bool = False) -> datetime:
    if clock.seconds == DAY_SECONDS:
        return _midnight(day + timedelta(days=1), now)
    local = datetime(day.year, day.month, day.day) + timedelta(seconds=clock.seconds)  # noqa: DTZ001 - the zone is next
    return _utc(local, now.tzinfo, late=late)


def _read_date_math(text: str, now: datetime, *, end: bool = False) -> datetime | None:
    """Read date math: `now-6h`, `now-1d/d` (the beginning of that day, or its end), and hubot's `now-12hr`."""
    found = _MATH.fullmatch(text)
    if found is None:
        return None
    steps = re.sub(r"(?<=\d)(h|m)(?:rs?|ins?)\b", r"\1", found[1])
    try:
        at = parse_date_math(f"now{steps}", now, end=end).astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    # Grafana's last millisecond of a day is the next day's beginning to us.
    return at + timedelta(milliseconds=1) if end and "/" in steps and at.microsecond == 999000 else at  # noqa: PLR2004
