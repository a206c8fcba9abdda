"""Put the times that people write into one form: English words, plain signs, and amounts of time.

What is written in Chinese is put into English words by a table, so that there is one grammar for both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from wxbridge.core.text.normalise import simplify

MAX_CHARS = 100
"""What is longer is no time."""
DAY_SECONDS = 86400
MAX_AMOUNT_SECONDS = 400 * DAY_SECONDS
"""Beyond all bounds, and not to be computed with."""
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class TooLongAmount(Exception):
    """An amount of time that nothing may have."""


# ---------------------------------------------------------------- Chinese words, in English

_DIGITS = {"零": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}


def _to_digits(found: re.Match[str]) -> str:
    """Write 十二 as 12; texts that are no number below a hundred stay as they are."""
    tens, ten, ones = found[0].partition("十")
    if not ten:
        return "".join(str(_DIGITS[each]) for each in tens)
    if len(tens) > 1 or len(ones) > 1 or "十" in ones:
        return found[0]
    return str(10 * _DIGITS.get(tens, 1) + _DIGITS.get(ones, 0))


_NUMBER = r"[零一二两三四五六七八九十]+(?=\s?个?半?(?:小时|钟头|分|秒|天|日|号|周|星期|年|月|点))"
_WEEK = "(?:周|星期)"
_RECENT = "(?:最近|过去|近)的?"
_WORDS: Sequence[tuple[str, str | Callable[[re.Match[str]], str]]] = (
    *((f"{_WEEK}{sign}", f" {day} ") for sign, day in zip("一二三四五六日天", (*WEEKDAYS, "sunday"), strict=True)),
    (r"上个? (?=\w+day )", "lastweek "), (r"[本这]个? (?=\w+day )", "thisweek "),
    (_NUMBER, _to_digits),
    (r"(\d{4})年(\d{1,2})月(\d{1,2})[日号]?", r" \1-\2-\3 "),
    (r"(\d{1,2})月(\d{1,2})(?:[日号]|(?!\d))", r" month\1day\2 "),
    (r"晚上\s*12点", " 24点"), (r"(\d{1,2})[点时](\d{1,2})分?", r"\1:\2 "), (r"(\d{1,2})[点时]半", r"\1:30 "),
    (r"(\d{1,2})[点时][钟整]?", r"\1:00 "), ("上午|早上|凌晨", " am "), ("下午|晚上|中午", " pm "),
    (f"[本这]个?{_WEEK}", " this week "), (f"上个?{_WEEK}", " last week "),
    ("[本这]个?月", " this month "), ("上个?月", " last month "),
    ("今天", " today "), ("昨天", " yesterday "), ("前天", " beforeyesterday "), ("明天", " tomorrow "),
    ("后天", " overmorrow "), ("现在", " now "),
    (rf"{_RECENT}(\s*\d+)日", r" last \1 d "), (rf"{_RECENT}(\s*\d+)月", r" last \1 mo "), (_RECENT, " last "),
    (r"(\d)\s*个?半(?=个?小时|钟头)", r"\1.5"), ("半个(?!月)|半", " 0.5 "),
    ("个?(?:小时|钟头)", " h "), ("分钟?", " min "), ("秒钟?", " s "), ("天", " d "), (f"个?{_WEEK}", " w "),
    ("个月", " mo "), ("年", " y "), ("[之以]?内", " "), ("(.+?)(?:以来|至今|到现在)", r"since \1"),
    ("[之以]?前", " ago "), ("从", " from "), ("[到至]", "-"),
)  # fmt: skip
"""What is written in Chinese, and the same in English: put in one after the other, in this order."""
_CHINESE = re.compile(r"[\u3400-\u9fff]")


@cache
def _compile_words() -> Sequence[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]:
    return [(re.compile(pattern), english) for pattern, english in _WORDS]


def translate(text: str) -> str:
    """Put a text into plain signs, single blanks and English words; empty where it is too long to be a time."""
    text = simplify(text).rstrip("。")
    if len(text) > MAX_CHARS:
        return ""
    if not _CHINESE.search(text):
        return text
    for pattern, english in _compile_words():
        text = pattern.sub(english, text)
    return " ".join(text.split()).replace("= ", "=")


# ---------------------------------------------------------------- amounts


class TimeAmount(NamedTuple):
    """How long: calendar months and days, and seconds."""

    months: float
    days: float
    seconds: float


_UNITS = {
    "y yr yrs year years": TimeAmount(12, 0, 0),
    "mo month months": TimeAmount(1, 0, 0),
    "w wk wks week weeks": TimeAmount(0, 7, 0),
    "d day days": TimeAmount(0, 1, 0),
    "h hr hrs hour hours": TimeAmount(0, 0, 3600),
    "m min mins minute minutes": TimeAmount(0, 0, 60),
    "s sec secs second seconds": TimeAmount(0, 0, 1),
}
"""By their words, the largest first: an amount names them in this order."""
_UNIT_OF = {word: unit for words, unit in _UNITS.items() for word in words.split()}
_ORDER = list(_UNITS.values())
_COUNTS = {"half an": 0.5, "half a": 0.5, "half": 0.5, "an": 1.0, "a": 1.0}
_PART = re.compile(
    rf"(?P<count>\d{{1,15}}(?:\.\d{{1,3}})?|(?:{'|'.join(_COUNTS)})(?=\s))?\s*"
    rf"(?P<unit>{'|'.join(sorted(_UNIT_OF, key=len, reverse=True))})(?![a-z])[\s,]*(?:and )?",
    re.IGNORECASE,
)


def read_amount(text: str, *, needs_number: bool = True) -> TimeAmount | None:
    """Read `2h`, `1h 30m`, `half an hour`; without a number (`hour`) only where none is needed.

    Raises:
        TooLongAmount: beyond all bounds.
    """
    months = days = seconds = 0.0
    place, last = 0, -1
    while place < len(text):
        part = _PART.match(text, place)
        if part is None or (part["count"] is None and (needs_number or place)):
            return None
        unit = _UNIT_OF[part["unit"].lower()]
        if _ORDER.index(unit) <= last:
            return None
        last, place = _ORDER.index(unit), part.end()
        given = (part["count"] or "a").lower()
        count = _COUNTS[given] if given in _COUNTS else float(given)
        months, days, seconds = (
            so_far + count * each for so_far, each in zip((months, days, seconds), unit, strict=True)
        )
    if last < 0:
        return None
    days += (months % 1) * 30
    seconds += (days % 1) * DAY_SECONDS
    if (months * 30 + days) * DAY_SECONDS + seconds > MAX_AMOUNT_SECONDS:
        raise TooLongAmount
    return TimeAmount(int(months), int(days), seconds)


def parse_duration(text: str) -> float | None:
    """Read how long something is to last, in seconds: `30m`, `1h 30m`, 半天; a month has 30 days.

    None where it is no duration.

    Raises:
        OverflowError: it is more than 400 days.
    """
    try:
        found = read_amount(translate(text))
    except TooLongAmount:
        raise OverflowError(text) from None
    return found and (found.months * 30 + found.days) * DAY_SECONDS + found.seconds
