"""Time intervals for routes: weekdays, times of day and the like, in Alertmanager's words. Pure.

After Alertmanager's `time_intervals` (configuration reference, "time_interval"), with what people miss there: a time
may go over midnight, ranges of weekdays and months may go over their end, and `-` separates as well as `:`.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, BeforeValidator, Field, PrivateAttr, WithJsonSchema, field_validator

from wxbridge.config.types import Names, Section, find_timezone

_DAY = 24 * 60
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_LONGEST_MONTH = 31
_RANGE = re.compile(r"(-?\w+)(?:\s*[:-]\s*(-?\w+))?")
_TIMES = re.compile(r"(\d{1,2}:\d\d)\s*-\s*(\d{1,2}:\d\d)")

Range = tuple[int, int]


def _minutes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,2}):([0-5]\d)", text.strip())
    minutes = int(match[1]) * 60 + int(match[2]) if match else _DAY + 1
    if minutes > _DAY:
        raise ValueError(f"{text!r} is no time of day; write one like 08:30, up to 24:00")
    return minutes


def _times(text: str) -> Range:
    match = _TIMES.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no stretch of the day; write one like 22:00-08:00")
    start, end = _minutes(match[1]), _minutes(match[2])
    if start % _DAY == end % _DAY and (start, end) != (0, _DAY):
        raise ValueError(f"{text!r} is over when it begins; for the whole day write 00:00-24:00")
    if start == _DAY:
        raise ValueError(f"{text!r} begins when the day is over; write 00:00 and the next day")
    return start, end


def _ends(text: str, number: Callable[[str], int], example: str) -> Range:
    """Both ends of a range; of a single value, twice the same."""
    match = _RANGE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no range; write one like {example}")
    return number(match[1]), number(match[2] or match[1])


def _named(names: Sequence[str], what: str) -> Callable[[str], int]:
    """A reader of names, or their first three letters, as numbers from 0."""

    def number(word: str) -> int:
        for index, name in enumerate(names):
            if word.lower() in (name, name[:3]):
                return index
        raise ValueError(f"{word!r} is no {what}; write one like {names[0]} or {names[0][:3]}")

    return number


def _month(word: str) -> int:
    if word.isascii() and word.isdigit() and 1 <= int(word) <= len(_MONTHS):
        return int(word) - 1
    return _named(_MONTHS, "month")(word)


def _day_of_month(word: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,2}", word) or not 1 <= abs(int(word)) <= _LONGEST_MONTH:
        raise ValueError(f"{word!r} is no day of a month; write 1 to 31, or -1 for the last, -2 for the one before")
    return int(word)


def _days_of_month(text: str) -> Range:
    first, last = _ends(text, _day_of_month, "1:7 or -3:-1")
    if ((first > 0) == (last > 0) and first > last) or first < 0 < last:
        raise ValueError(f"{text!r} ends before it begins")
    return first, last


def _year(word: str) -> int:
    if not re.fullmatch(r"[0-9]{4}", word):
        raise ValueError(f"{word!r} is no year; write one like 2026")
    return int(word)


def _years(text: str) -> Range:
    first, last = _ends(text, _year, "2026:2030")
    if first > last:
        raise ValueError(f"{text!r} ends before it begins")
    return first, last


_READERS: Mapping[str, Callable[[str], Range]] = {
    "times": _times,
    "weekdays": lambda text: _ends(text, _named(_WEEKDAYS, "weekday"), "mon-fri"),
    "days_of_month": _days_of_month,
    "months": lambda text: _ends(text, _month, "january:march or 1-3"),
    "years": _years,
}


def _times_as_written(value: Any) -> Any:
    """`{start_time: …, end_time: …}` is Alertmanager's way to write a stretch of the day."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    return [_one_stretch(item) if isinstance(item, Mapping) else item for item in value]


def _one_stretch(item: Mapping[Any, Any]) -> str:
    if set(item) != {"start_time", "end_time"}:
        raise ValueError("a stretch of the day has `start_time` and `end_time`, or is written as 22:00-08:00")
    return f"{item['start_time']}-{item['end_time']}"


_STRETCH = {
    "type": "object",
    "properties": {"start_time": {"type": "string"}, "end_time": {"type": "string"}},
    "required": ["start_time", "end_time"],
    "additionalProperties": False,
}
_STRETCHES = {"anyOf": [{"type": "string"}, _STRETCH]}

Times = Annotated[
    Names,
    BeforeValidator(_times_as_written),
    WithJsonSchema({"anyOf": [*_STRETCHES["anyOf"], {"type": "array", "items": _STRETCHES}]}),
]
"""Stretches of the day: `22:00-08:00`, or Alertmanager's mapping of `start_time` and `end_time`."""


class TimeInterval(Section):
    """One stretch of the week or the year; it holds where all that is given holds, each by any of its values."""

    times: Times = ()
    """`22:00-08:00`; the end is not in it. Over midnight, it belongs to the day on which it starts."""
    weekdays: Names = ()
    """`mon`, or a range such as `mon-fri`."""
    days_of_month: Names = ()
    """`1`, `1:7`, or counted from the end of the month: `-3:-1`."""
    months: Names = ()
    """`january`, `jan`, `1`, or a range such as `november:february`."""
    years: Names = ()
    """`2026`, or a range such as `2026:2030`."""
    timezone: Annotated[str | None, Field(validation_alias=AliasChoices("timezone", "location"))] = None
    """By whose clocks, such as Asia/Shanghai; the file's `timezone` when not given."""
    _ranges: dict[str, list[Range]] = PrivateAttr()
    _zone: ZoneInfo | None = PrivateAttr()

    @field_validator("times", "weekdays", "days_of_month", "months", "years")
    @classmethod
    def _readable(cls, value: tuple[str, ...], info: Any) -> tuple[str, ...]:
        for text in value:
            _READERS[info.field_name](text)
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        return value if value is None else find_timezone(value).key

    def model_post_init(self, _context: Any) -> None:
        """Read what `holds` goes by."""
        self._ranges = {name: [read(text) for text in getattr(self, name)] for name, read in _READERS.items()}
        self._zone = ZoneInfo(self.timezone) if self.timezone else None

    def holds(self, now: datetime, zone: ZoneInfo | None = None) -> bool:
        """Tell whether a moment (aware) falls into it, by the clocks of its zone, else of `zone`, else by UTC.

        The clocks alone decide: where they are set forward over a time it is not there that day, where they are
        set back it is there twice.
        """
        local = now.astimezone(self._zone or zone or UTC)
        minute, today = local.hour * 60 + local.minute, local.date()
        stretches = self._ranges["times"]
        if not stretches:
            return self._on(today)
        for start, end in stretches:
            if start < end:
                if start <= minute < end and self._on(today):
                    return True
            elif (minute >= start and self._on(today)) or (minute < end and self._on(today - timedelta(days=1))):
                return True
        return False

    def _on(self, day: date) -> bool:
        ranges = self._ranges
        return (
            _within(day.weekday(), ranges["weekdays"])
            and _within(day.month - 1, ranges["months"])
            and _within(day.year, ranges["years"])
            and _within_month(day, ranges["days_of_month"])
        )


def _within(value: int, ranges: Sequence[Range]) -> bool:
    return not ranges or any(
        first <= value <= last if first <= last else value >= first or value <= last for first, last in ranges
    )


def _within_month(day: date, ranges: Sequence[Range]) -> bool:
    length = calendar.monthrange(day.year, day.month)[1]
    return not ranges or any(
        (first if first > 0 else length + 1 + first) <= day.day <= (last if last > 0 else length + 1 + last)
        for first, last in ranges
    )


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, Mapping | TimeInterval) else value


def _or_one(schema: dict[str, Any]) -> None:
    items = schema.pop("items", {})
    schema.pop("type", None)
    schema["anyOf"] = [items, {"type": "array", "items": items}]


Intervals = Annotated[
    tuple[TimeInterval, ...],
    BeforeValidator(_one_or_many),
    Field(json_schema_extra=_or_one),
]
"""What a name in `time_intervals:` stands for: one interval, or a list of which any may hold."""
