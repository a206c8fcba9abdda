"""A time range as people write it (`6h`, `yesterday 9-18`, 最近2小时, `from=now-6h to=now-1h`) → two moments. Pure.

What is counted in hours or less is so much time; days, weeks and months are the calendar's, in the zone of `now`, so
that yesterday has 23 or 25 hours where the clock is changed. Date math (`now-1d/d`) is Grafana's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from wxbridge.bot.command import CannotAnswer
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.normalise import simplify
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_duration
from wxbridge.pictures.pages import address

LONGEST = timedelta(days=92)
"""By the calendar: where the clock is put back within, an hour more."""
USUAL = timedelta(hours=6)
"""What is shown where nobody says: Grafana's own choice."""
_SLACK = timedelta(hours=1)
_WORDS_AT_MOST = 12
_LENGTH_AT_MOST = 100
_HOPELESS = 400 * 86400.0
"""Seconds: beyond all bounds, and not to be computed with."""


@dataclass(frozen=True)
class Span:
    """A stretch of time: two moments in UTC, the first before the second."""

    start: datetime
    end: datetime

    @property
    def milliseconds(self) -> tuple[int, int]:
        """Both ends as Grafana wants them, since the epoch."""
        return round(self.start.timestamp() * 1000), round(self.end.timestamp() * 1000)


class _TooLong(Exception):
    """An amount that no range may have."""


# ---------------------------------------------------------------- what others call


def parse(text: str, now: datetime, language: Language = "en") -> Span:
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
        found = _read(_normal(text), now)
    except _TooLong:
        raise _too_long(text, language) from None
    if found is None:
        raise CannotAnswer(say("bot.time_range.unknown", language, text=shorten(text)))
    return _bounded(*found, text, now, language)


def between(
    start: str | None, end: str | None, now: datetime, language: Language = "en", *, usual: timedelta = USUAL
) -> Span:
    """Read the two ends of a range, as in `from=` and `to=`: `now-6h`, `6h` (ago), `09:00`, `2026-11-20T09:00`, 昨天.

    A clock without a day is the latest one that is over, for `end` the first one after `start`. Without `end` it is
    `now`; without `start` the range is as long as `usual`.

    Raises:
        CannotAnswer: as `parse`.
    """
    shown = " ".join(f"{name}={text}" for name, text in (("from", start), ("to", end)) if text)
    if not shown:
        return Span(now.astimezone(UTC) - usual, now.astimezone(UTC))
    first, last = _normal(start or ""), _normal(end or "")
    # What cannot be read at all must not pass for an end that was not given.
    unread = bool(start and not first) or bool(end and not last)
    try:
        found = None if unread else _between(first, last, now, usual)
    except _TooLong:
        raise _too_long(shown, language) from None
    if found is None:
        raise CannotAnswer(say("bot.time_range.unknown_time", language, text=shorten(shown)))
    return _bounded(*found, shown, now, language)


def is_range(text: str, now: datetime) -> bool:
    """Whether a text is written like a time range, be it within the bounds or not."""
    try:
        return _read(_normal(text), now) is not None
    except _TooLong:
        return True


def endings(text: str, now: datetime) -> Iterator[tuple[str, str]]:
    """Every way to take a time range off the end of a text, the longest range first: (the rest, the range).

    Only at blanks, and never the whole text.
    """
    cuts = [found for found in re.finditer(r"\s+", text.strip()) if found.start()]
    whole = text.strip()
    for cut in cuts[-_WORDS_AT_MOST:]:
        rest, tail = whole[: cut.start()], whole[cut.end() :]
        if len(tail) <= _LENGTH_AT_MOST and is_range(tail, now):
            yield rest, tail


def written(span: Span, now: datetime, language: Language) -> str:
    """A range as people read it, on the clock of `now`: `11-20 09:00 – 18:00 (9 h)`."""
    zone = now.tzinfo
    first, last = span.start.astimezone(zone), span.end.astimezone(zone)
    day = "%m-%d" if first.year == last.year == now.year else "%Y-%m-%d"
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:{day} %H:%M}"
    return f"{first:{day} %H:%M} – {until} ({format_duration((span.end - span.start).total_seconds(), language)})"


# ---------------------------------------------------------------- bounds


def _bounded(start: datetime, end: datetime, text: str, now: datetime, language: Language) -> Span:
    moment = now.astimezone(UTC)
    # What ends before it begins is said first: of `from=now to=now-1h` nothing is to come.
    if start > moment or start == moment <= end:
        raise CannotAnswer(say("bot.time_range.to_come", language, text=shorten(text)))
    end = min(end, moment)
    if end <= start:
        raise CannotAnswer(say("bot.time_range.backwards", language, text=shorten(text)))
    if end - start > LONGEST + _SLACK:
        raise _too_long(text, language)
    return Span(start, end)


def _too_long(text: str, language: Language) -> CannotAnswer:
    return CannotAnswer(say("bot.time_range.too_long", language, text=shorten(text), days=LONGEST.days))


# ---------------------------------------------------------------- words

_CHINESE_DIGITS = {"零": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_CHINESE_NUMBER = re.compile(
    r"(?<![周期拜])[零一二两三四五六七八九十]+(?=\s?个?半?(?:小时|钟头|分|秒|天|日|号|周|星期|礼拜|年|月|点|时))"
)


def _normal(text: str) -> str:
    """Full-width signs and Chinese numbers as plain ones, single blanks."""
    text = simplify(text).rstrip("。")
    if len(text) > _LENGTH_AT_MOST:
        return ""
    return _CHINESE_NUMBER.sub(lambda found: _digits(found[0]), text)


def _digits(text: str) -> str:
    """`12` of 十二; texts that are no number below a hundred as they are."""
    tens, ten, ones = text.partition("十")
    if not ten:
        return "".join(str(_CHINESE_DIGITS[each]) for each in text)
    if len(tens) > 1 or len(ones) > 1 or "十" in ones:
        return text
    return str(10 * _CHINESE_DIGITS.get(tens, 1) + _CHINESE_DIGITS.get(ones, 0))


_DAY, _WEEK, _MONTH, _YEAR = "day", "week", "month", "year"
_UNITS: dict[str, tuple[str, ...]] = {
    _YEAR: ("y", "yr", "yrs", "year", "years", "年"),
    _MONTH: ("month", "months", "mo", "个月"),
    _WEEK: ("w", "wk", "wks", "week", "weeks", "周", "个星期", "星期", "个礼拜", "礼拜"),
    _DAY: ("d", "day", "days", "天"),
    "3600": ("h", "hr", "hrs", "hour", "hours", "小时", "个小时", "钟头", "个钟头", "个钟"),
    "60": ("m", "min", "mins", "minute", "minutes", "分钟", "分"),
    "1": ("s", "sec", "secs", "second", "seconds", "秒", "秒钟"),
}
"""The largest first: an amount names them in this order."""
_UNIT_OF = {word: unit for unit, words in _UNITS.items() for word in words}
_ORDER = list(_UNITS)
_UNIT = "|".join(sorted(_UNIT_OF, key=len, reverse=True))
_PART = re.compile(
    rf"(?P<number>\d{{1,6}}(?:\.\d{{1,3}})?|半|half an|half a|half|an|a)?\s*"
    rf"(?P<more>个半)?(?P<unit>{_UNIT})(?P<tail>半)?(?![a-z])[\s,]*(?:and )?",
    re.IGNORECASE,
)
_LAST = re.compile(
    r"(?:(?:in|for|over|during) )?(?:the )?(?:last|past|previous)\s+(?P<english>.+)"
    r"|(?:最近的?|过去的?|近)这?\s*(?P<chinese>.+?)\s*(?:以?内|之内|以来|的)?",
    re.IGNORECASE,
)
_AGO = re.compile(r"(?P<amount>.+?)\s*(?:ago|之前|以前|前)", re.IGNORECASE)
_HALF_UNITS = {_YEAR: (6, 0.0, 0.0), _MONTH: (0, 15.0, 0.0), _WEEK: (0, 0.0, 302400.0), _DAY: (0, 0.0, 43200.0)}


class _Amount(NamedTuple):
    """How long ago: calendar months and days, and seconds."""

    months: int
    days: int
    seconds: float


def _amount(text: str, *, number: bool = True) -> _Amount | None:
    """`2h`, `1h 30m`, `half an hour`, 1个半小时, 7天; without a number (`hour`) only where none is asked for.

    Raises:
        _TooLong: beyond all bounds.
    """
    months, days, seconds, place, last = 0.0, 0.0, 0.0, 0, -1
    while place < len(text):
        part = _PART.match(text, place)
        if part is None or (part["number"] is None and (number or place)):
            return None
        unit = _UNIT_OF[part["unit"].lower()]
        if _ORDER.index(unit) <= last:
            return None
        last, place = _ORDER.index(unit), part.end()
        count = _count(part["number"]) + (0.5 if part["more"] or part["tail"] else 0.0)
        if unit in (_YEAR, _MONTH):
            months += count * (12 if unit == _YEAR else 1)
        elif unit in (_WEEK, _DAY):
            days += count * (7 if unit == _WEEK else 1)
        else:
            seconds += count * int(unit)
    if not months and not days and not seconds:
        return None
    days += (months % 1) * 30
    seconds += (days % 1) * 86400
    if months * 30 * 86400 + days * 86400 + seconds > _HOPELESS:
        raise _TooLong
    return _Amount(int(months), int(days), seconds)


def _count(text: str | None) -> float:
    given = (text or "1").lower()
    if given.startswith("half") or given == "半":
        return 0.5
    return 1.0 if given in ("a", "an") else float(given)


def _ago(now: datetime, amount: _Amount) -> datetime:
    if not amount.months and not amount.days:
        return now.astimezone(UTC) - timedelta(seconds=amount.seconds)
    local = now.replace(tzinfo=None)
    local = _months_before(local, amount.months) - timedelta(days=amount.days)
    return _utc(local, now.tzinfo) - timedelta(seconds=amount.seconds)


def _months_before(local: datetime, months: int) -> datetime:
    year, month = divmod(local.year * 12 + local.month - 1 - months, 12)
    for day in range(local.day, 0, -1):
        try:
            return local.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue  # there is no such day in that month
    raise AssertionError  # pragma: no cover - every month has a first


def _utc(local: datetime, zone: tzinfo | None, *, late: bool = False) -> datetime:
    """The moment of a local time. Of an hour that comes twice the first, or the second if `late`.

    An hour that the clock leaves out is the one after it.
    """
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return max(first, second) if late else first


def _midnight(day: date, now: datetime) -> datetime:
    return _utc(datetime(day.year, day.month, day.day), now.tzinfo)  # noqa: DTZ001 - the zone comes next


def _days(first: date, count: int, now: datetime) -> tuple[datetime, datetime]:
    return _midnight(first, now), _midnight(first + timedelta(days=count), now)


# ---------------------------------------------------------------- whole ranges

_NOW = frozenset(("now", "现在", "此刻", "目前"))
_THIS_WEEK = re.compile(r"(?:this week|week to date|[本这](?:个)?(?:周|星期|礼拜))", re.IGNORECASE)
_LAST_WEEK = re.compile(r"(?:the )?(?:last|previous) week|上(?:个)?(?:周|星期|礼拜)", re.IGNORECASE)
_THIS_MONTH = re.compile(r"this month|month to date|[本这](?:个)?月", re.IGNORECASE)
_LAST_MONTH = re.compile(r"(?:the )?(?:last|previous) month|上(?:个)?月", re.IGNORECASE)
_FROM_TO = re.compile(r"(?:from=(?P<start>.+?))?(?: ?\bto=(?P<end>.+))?", re.IGNORECASE)
_TO_FROM = re.compile(r"to=(?P<end>.+?) from=(?P<start>.+)", re.IGNORECASE)
_SINCE = re.compile(
    r"(?:since|from)\s+(?P<english>.+)|[从自]\s*(?P<chinese>.+?)\s*(?:以来|起|开始|至今|到现在)?|(?P<bare>.+?)\s*(?:以来|至今)",
    re.IGNORECASE,
)
_OPENING = re.compile(r"(?:from|between)\s+|[从自]\s*", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*(?:--|\.\.|[-—–~到至])\s*|\s+(?:to|until|till|and)\s+", re.IGNORECASE)
_SHORT_DATE = re.compile(r"\d{1,2}-\d{1,2}")

_Found = tuple[datetime, datetime] | None


def _read(text: str, now: datetime) -> _Found:
    """Both ends of a range, unbounded; None where the text is none."""
    if not text:
        return None
    for reader in _READERS:
        try:
            found = reader(text, now)
        except (OverflowError, ValueError):
            continue  # a date that the calendar does not have
        if found is not None:
            return found
    return None


def _as_ends(text: str, now: datetime) -> _Found:
    found = _TO_FROM.fullmatch(text) or _FROM_TO.fullmatch(text)
    if found is None or not (found["start"] or found["end"]):
        return None
    return _between(found["start"] or "", found["end"] or "", now, USUAL)


def _as_calendar(text: str, now: datetime) -> _Found:
    today = now.date()
    monday = today - timedelta(days=today.weekday())
    if _THIS_WEEK.fullmatch(text):
        return _days(monday, 7, now)
    if _LAST_WEEK.fullmatch(text):
        return _days(monday - timedelta(days=7), 7, now)
    first = today.replace(day=1)
    if _THIS_MONTH.fullmatch(text):
        return _days(first, 31, now)
    if _LAST_MONTH.fullmatch(text):
        before = (first - timedelta(days=1)).replace(day=1)
        return _midnight(before, now), _midnight(first, now)
    return None


def _as_amount(text: str, now: datetime) -> _Found:
    last = _LAST.fullmatch(text)
    amount = None
    if last is not None:
        # 日 and 月 alone are dates; after 最近 they are amounts.
        said = last["english"] or re.sub(r"(?<=\d)日$", "天", re.sub(r"(?<=\d)月$", "个月", last["chinese"]))
        amount = _amount(said, number=last["english"] is None)
    amount = amount or _amount(re.sub(r"以?内$|以来$", "", text))
    return None if amount is None else (_ago(now, amount), now.astimezone(UTC))


def _as_day(text: str, now: datetime) -> _Found:
    """A day, or hours of it."""
    found = _day(text, now)
    if found is None:
        return None
    day, rest = found
    if not rest:
        return None if _SHORT_DATE.fullmatch(text) else _days(day, 1, now)
    rest = _OPENING.sub("", rest, count=1) if _OPENING.match(rest) else rest
    for left, right in _halves(rest):
        first, last = _clock(left), _clock(right)
        if first is not None and last is not None:
            first, last = _same_half(first, last)
            start = _at(day, first, now)
            after = last.seconds > first.seconds
            return start, _at(day if after else day + timedelta(days=1), last, now, late=True)
    return None


def _as_math(text: str, now: datetime) -> _Found:
    """`now-6h`, and hubot-grafana's `now-6h now-1h`."""
    first, _, last = text.partition(" ")
    start, end = _math(first, now), _math(last, now, end=True) if last else now.astimezone(UTC)
    return (start, end) if start is not None and end is not None and start != end else None


def _as_two(text: str, now: datetime) -> _Found:
    """Two moments with a word or a dash between them."""
    opening = _OPENING.match(text)
    inner = text[opening.end() :] if opening else text
    for left, right in _halves(inner):
        start = _moment(left, now)
        if start is None:
            continue
        end = _moment(right, now, end=True, after=start)
        if end is not None:
            return start, end
    return None


def _as_since(text: str, now: datetime) -> _Found:
    since = _SINCE.fullmatch(text)
    start = _moment(since["english"] or since["chinese"] or since["bare"], now) if since else None
    return None if start is None else (start, now.astimezone(UTC))


_READERS: Sequence[Callable[[str, datetime], _Found]] = (
    _as_ends, _as_calendar, _as_amount, _as_day, _as_math, _as_two, _as_since,
)  # fmt: skip


def _between(start: str, end: str, now: datetime, usual: timedelta) -> _Found:
    first = last = None
    try:
        if start:
            whole = _read(start, now) if "=" not in start else None
            first = _moment(start, now, loose=True) or (whole[0] if whole else None)
        if end:
            whole = _read(end, now) if "=" not in end else None
            last = _moment(end, now, end=True, after=first, loose=True) or (whole[1] if whole else None)
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

_DAY_WORDS = {
    "the day before yesterday": 2, "day before yesterday": 2, "yesterday": 1, "today": 0,
    "大前天": 3, "前天": 2, "前日": 2, "昨天": 1, "昨日": 1, "今天": 0, "今日": 0,
}  # fmt: skip
_DAY_WORD = re.compile("|".join(_DAY_WORDS) + r"(?![a-z])", re.IGNORECASE)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY = re.compile(rf"(?P<last>last )?(?P<name>{'|'.join(_WEEKDAYS)})(?![a-z])", re.IGNORECASE)
_CHINESE_WEEKDAY = re.compile(r"(?P<which>[上本这])?个?(?:周|星期|礼拜)(?P<name>[一二三四五六日天])")
_DATE = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?![\d:])")
_CHINESE_DATE = re.compile(r"(?:(\d{4})年)?(\d{1,2})月(\d{1,2})(?:[日号]|(?!\d))")
_MONTH_DAY = re.compile(r"(\d{1,2})-(\d{1,2})(?![\d:点时-])")
_AFTER_DAY = re.compile(r"(?:T(?=\d)|[\s,的])*", re.IGNORECASE)
_CLOCK = re.compile(
    r"(?P<part>凌晨|清晨|早晨|早上|上午|中午|下午|傍晚|晚上|早|晚)?\s*(?P<hour>\d{1,2})"
    r"(?::(?P<minute>\d{2})(?::(?P<second>\d{2}))?|(?P<dot>[点时])(?:(?P<half>半)|(?P<minutes>\d{1,2})分?)?[钟整]?)?"
    r"\s*(?P<m>[ap]m)?",
    re.IGNORECASE,
)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})", re.IGNORECASE)
_EPOCH = re.compile(r"(\d{10})(\d{3})?")
_MATH = re.compile(r"now((?:[+-]\d{1,6}[a-zA-Z]{1,3}|/[a-zA-Z])*)", re.IGNORECASE)


class _Clock(NamedTuple):
    """A time of day."""

    seconds: int
    afternoon: bool | None
    """None where nothing says which half of the day is meant."""
    marked: bool
    """Whether anything says that it is an hour."""


def _moment(
    text: str, now: datetime, *, end: bool = False, after: datetime | None = None, loose: bool = False
) -> datetime | None:
    """One end of a range. `loose`: where it is told to be one, so that `6h` is that long ago, and `9` a clock."""
    if text.casefold() in _NOW:
        return now.astimezone(UTC)
    math = _math(text, now, end=end)
    if math is not None:
        return math
    epoch = _EPOCH.fullmatch(text)
    if epoch:
        return datetime.fromtimestamp(int(epoch[1]), UTC)
    if _ISO.fullmatch(text):
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    ago = _AGO.fullmatch(text)
    amount = _amount(ago["amount"]) if ago else _amount(text) if loose else None
    if amount is not None:
        return _ago(now, amount)
    return _on_the_calendar(text, now, end=end, after=after, loose=loose)


def _on_the_calendar(text: str, now: datetime, *, end: bool, after: datetime | None, loose: bool) -> datetime | None:
    found = _day(text, now)
    if found is not None:
        day, rest = found
        if not rest:
            return _midnight(day + timedelta(days=1) if end else day, now)
        clock = _clock(rest)
        return None if clock is None else _at(day, clock, now, late=end)
    clock = _clock(text)
    if clock is None or not (clock.marked or loose):
        return None
    today = now.date()
    if after is not None:
        first = after.astimezone(now.tzinfo).date()
        return next(
            (at for day in (first, first + timedelta(days=1)) if (at := _at(day, clock, now, late=True)) > after), None
        )
    at = _at(today, clock, now, late=end)
    return at if at <= now.astimezone(UTC) else _at(today - timedelta(days=1), clock, now, late=end)


def _day(text: str, now: datetime) -> tuple[date, str] | None:
    """The day that a text begins with, and what follows it.

    Raises:
        ValueError: the calendar has no such day.
    """
    today = now.date()
    monday = today - timedelta(days=today.weekday())
    if word := _DAY_WORD.match(text):
        day = today - timedelta(days=_DAY_WORDS[word[0].lower()])
    elif word := _WEEKDAY.match(text):
        back = (today.weekday() - _WEEKDAYS.index(word["name"].lower())) % 7
        day = today - timedelta(days=7 if word["last"] and not back else back)
    elif word := _CHINESE_WEEKDAY.match(text):
        day = monday + timedelta(days="一二三四五六日".index(word["name"].replace("天", "日")))
        # 周五 on a Monday is the last one: there is nothing to see of the next.
        if word["which"] == "上" or (word["which"] is None and day > today):
            day -= timedelta(days=7)
    elif word := _DATE.match(text):
        day = date(int(word[1]), int(word[3]), int(word[4]))
    elif (word := _CHINESE_DATE.match(text)) and word[1]:
        day = date(int(word[1]), int(word[2]), int(word[3]))
    elif word:
        day = _latest(int(word[2]), int(word[3]), today)
    elif word := _MONTH_DAY.match(text):
        day = _latest(int(word[1]), int(word[2]), today)
    else:
        return None
    gap = _AFTER_DAY.match(text, word.end())
    return day, text[gap.end() if gap else word.end() :]


def _latest(month: int, number: int, today: date) -> date:
    """The latest such day that has begun."""
    for year in range(today.year, today.year - 9, -1):
        try:
            day = date(year, month, number)
        except ValueError:
            continue  # 29 February comes every four years, or after eight
        if day <= today:
            return day
    raise ValueError("there is no such day")


def _clock(text: str) -> _Clock | None:
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    hour = int(found["hour"])
    minute = 30 if found["half"] else int(found["minute"] or found["minutes"] or 0)
    second = int(found["second"] or 0)
    part, half = found["part"] or "", (found["m"] or "").lower()
    afternoon = None
    if part in ("下午", "傍晚", "晚上", "晚") or half == "pm" or (part == "中午" and hour < 10):  # noqa: PLR2004
        afternoon = True
        late = part in ("晚上", "晚")
        hour += 12 if hour < 12 or (late and hour == 12) else 0  # noqa: PLR2004 - hours of a clock
    elif part or half:
        afternoon = False
        hour = 0 if hour == 12 and part != "中午" else hour  # noqa: PLR2004
    seconds = hour * 3600 + minute * 60 + second
    if minute > 59 or second > 59 or seconds > 86400:  # noqa: PLR2004
        return None
    marked = bool(found["minute"] or found["dot"] or part or half)
    return _Clock(seconds, afternoon=afternoon, marked=marked)


def _same_half(first: _Clock, last: _Clock) -> tuple[_Clock, _Clock]:
    """`3-5pm` and 下午3点到5点 are both in the afternoon."""
    noon = 43200
    if first.afternoon and last.afternoon is None and last.seconds <= first.seconds < last.seconds + noon <= 2 * noon:
        return first, last._replace(seconds=last.seconds + noon)
    if last.afternoon and first.afternoon is None and first.seconds + noon < last.seconds:
        return first._replace(seconds=first.seconds + noon), last
    return first, last


def _at(day: date, clock: _Clock, now: datetime, *, late: bool = False) -> datetime:
    if clock.seconds == 86400:  # noqa: PLR2004 - 24:00
        return _midnight(day + timedelta(days=1), now)
    local = datetime(day.year, day.month, day.day) + timedelta(seconds=clock.seconds)  # noqa: DTZ001 - the zone is next
    return _utc(local, now.tzinfo, late=late)


def _math(text: str, now: datetime, *, end: bool = False) -> datetime | None:
    """Grafana's date math: `now-6h`, `now-1d/d` (the beginning of that day, or its end); hubot's `now-12hr` too."""
    found = _MATH.fullmatch(text)
    if found is None:
        return None
    steps = re.sub(r"(?<=\d)(h|m)(?:rs?|ins?)\b", r"\1", found[1])
    try:
        at = address.parse_moment(f"now{steps}", now, end=end).astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    # Grafana's last millisecond of a day is the next day's beginning to us.
    return at + timedelta(milliseconds=1) if end and "/" in steps and at.microsecond == 999000 else at  # noqa: PLR2004
