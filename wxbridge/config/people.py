"""The `people:` section: how people are known in each channel, and rosters of whose turn it is. Pure.

A turn changes by the local clock, also where that is changed: at 09:00, whatever the day before was like. What is
counted from is written in the file, so that a restart changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property, lru_cache
from typing import Annotated, Any, Union

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from wxbridge.config.types import Duration, Names, Section

ROTA = "rota"
"""What the roster is called that has no name of its own."""
MIN_TURN_SECONDS = 3600.0
_WEEK = timedelta(days=7)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CHINESE_WEEKDAYS = "一二三四五六日天"
_FIRST_MONDAY = date(2000, 1, 3)
"""From which turns are counted that begin on a weekday."""
_DATE = r"\d{4}-\d{1,2}-\d{1,2}"
_START = re.compile(rf"\s*({_DATE}|[^\W\d]+)(?:[\sT]+(\d{{1,2}}):(\d\d))?\s*")
_RANGE = re.compile(rf"\s*({_DATE}|[^\W\d]+)(?:\s*(?:\.\.|-|–|~|至|到)\s*({_DATE}|[^\W\d]+)?)?\s*")
_OPEN = re.compile(rf"\s*{_DATE}\s*(?:\.\.|–|~|至|到)\s*")
_LAST_DAY = date.max
_YEARS = (1970, 2199)


def _check_turn(seconds: float) -> float:
    if seconds < MIN_TURN_SECONDS:
        raise ValueError("a turn lasts for an hour at least; write one like 12h, 1d or 1w")
    return seconds


def _read_date(text: str) -> date:
    year, month, day = map(int, text.split("-"))
    try:
        found = date(year, month, day)
    except ValueError:
        raise ValueError(f"there is no day {text}") from None
    if not _YEARS[0] <= year <= _YEARS[1]:
        raise ValueError(f"{text} is not of our time: write a year from {_YEARS[0]} to {_YEARS[1]}")
    return found


def _read_weekday(text: str) -> int | None:
    """Read a weekday, from 0 for Monday; None where it is none."""
    word = text.lower()
    chinese = re.fullmatch("(?:周|星期|礼拜)([一二三四五六日天])", word)
    if chinese:
        return min(_CHINESE_WEEKDAYS.index(chinese[1]), len(_WEEKDAYS) - 1)
    return next((index for index, name in enumerate(_WEEKDAYS) if word in (name, name[:3])), None)


@lru_cache(256)
def _read_start(text: str) -> datetime:
    """Read when the first turn begins, by the local clock."""
    found = _START.fullmatch(text)
    weekday = _read_weekday(found[1]) if found else None
    is_date = found is not None and re.fullmatch(_DATE, found[1]) is not None
    if found is None or not (is_date or weekday is not None):
        raise ValueError(f"{text!r} is neither a date nor a weekday; write one like 2026-11-30, monday or monday 09:00")
    day = _read_date(found[1]) if is_date else _FIRST_MONDAY + timedelta(days=weekday or 0)
    try:
        clock = time(int(found[2] or 0), int(found[3] or 0))
    except ValueError:
        raise ValueError(f"{text!r} has no time of day; write one like 09:00") from None
    return datetime.combine(day, clock)


@lru_cache(256)
def _read_days(text: str) -> tuple[date, date] | frozenset[int]:
    """Read a date or a range of dates, as its first and last day, or weekdays."""
    found = _RANGE.fullmatch(text)
    example = "write one like 2026-12-24, 2026-12-24..2027-01-02, sunday or sat-sun"
    if found is None:
        raise ValueError(f"{text!r} is no day; {example}")
    if re.fullmatch(_DATE, found[1]):
        first = _read_date(found[1])
        if found[2] is None:
            return first, _LAST_DAY if _OPEN.fullmatch(text) else first
        if not re.fullmatch(_DATE, found[2]):
            raise ValueError(f"{text!r} begins with a date and does not end with one; {example}")
        last = _read_date(found[2])
        if last < first:
            raise ValueError(f"{text!r} ends before it begins")
        return first, last
    begin, end = _read_weekday(found[1]), _read_weekday(found[2] or found[1])
    if begin is None or end is None:
        raise ValueError(f"{text!r} is no day; {example}")
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _check_start(text: str) -> str:
    _read_start(text)
    return text


def _check_days(given: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for text in given:
        _read_days(text)
    return given


class RotaSettings(Section):
    """A roster: people who take turns. A name that is not under `people` is known by that name itself."""

    rota: Names = ()
    """Who takes turns, in this order; the first from `start` on."""
    turn: Annotated[Duration, AfterValidator(_check_turn)] = 7 * 86400.0
    """How long each has it, an hour at least: `1w`, `1d`, `12h`; by the local clock, also where that is changed."""
    start: Annotated[str, AfterValidator(_check_start)] = "monday"
    """When the turn of the first begins, with the time of day at which turns change: a date such as `2026-11-30` or
    `2026-11-30 09:00`, or a weekday, `monday 09:00`, which is counted from the first one of the year 2000."""
    days: Annotated[dict[str, Names], AfterValidator(_check_days)] = Field(default_factory=dict)
    """Who has it on certain days, whoever's turn it is: by weekday (`sat-sun`) or date (`2026-12-24`,
    `2026-12-24..2027-01-02`). A date comes before a weekday; a day begins at the time of `start`."""
    away: dict[str, Names] = Field(default_factory=dict)
    """Who is away on which dates (`2026-12-21..2026-12-27`, or from a date on, `2026-12-21..`): the next of the rota
    stands in, and everybody else keeps their turn."""

    @field_validator("away")
    @classmethod
    def _dates(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for texts in value.values():
            _check_days(dict.fromkeys(texts, ()))
        return value

    @model_validator(mode="after")
    def _somebody(self) -> RotaSettings:
        given = self.model_fields_set & {"turn", "start", "away"}
        if given and not self.rota:
            raise ValueError(f"`{min(given)}` without a `rota`: name those who take turns, such as rota: [张三, 李四]")
        strangers = [name for name in self.away if name not in self.rota]
        if strangers:
            raise ValueError(f"`away` names {strangers[0]!r}, who is not in the rota")
        return self

    def find_on_duty(self, at: datetime, zone: tzinfo) -> tuple[str, ...]:
        """Find whose turn it is at a moment; who is away is passed over. Before `start` it is counted backwards.

        Where all are away, it is who would have it; empty where only certain `days` are given, and this is none.
        """
        start = _read_start(self.start)
        day = (at.astimezone(zone).replace(tzinfo=None) - timedelta(hours=start.hour, minutes=start.minute)).date()
        if (chosen := self._find_by_day(day)) is not None:
            return chosen
        if not self.rota:
            return ()
        number = self._count_turns(start, at, zone)
        order = [self.rota[(number + step) % len(self.rota)] for step in range(len(self.rota))]
        return (next((name for name in order if not self._is_away(name, day)), order[0]),)

    def _find_by_day(self, day: date) -> tuple[str, ...] | None:
        read = [(_read_days(text), names) for text, names in self.days.items()]
        dated = [(days[1] - days[0], names) for days, names in read if isinstance(days, tuple) and _holds(days, day)]
        if dated:
            return min(dated, key=lambda each: each[0])[1]  # the shorter stretch says more
        return next((names for days, names in read if not isinstance(days, tuple) and _holds(days, day)), None)

    def _is_away(self, name: str, day: date) -> bool:
        return any(_holds(_read_days(text), day) for text in self.away.get(name, ()))

    def _count_turns(self, start: datetime, at: datetime, zone: tzinfo) -> int:
        """Count the turns that have changed since the start, down from -1 before it."""
        turn = timedelta(seconds=self.turn)
        number = (at.astimezone(zone).replace(tzinfo=None) - start) // turn
        # Where the clock was put back, what it has shown before does not change a turn back.
        while (start + (number + 1) * turn).replace(tzinfo=zone).astimezone(UTC) <= at:
            number += 1
        return number


def _holds(days: tuple[date, date] | frozenset[int], day: date) -> bool:
    return days[0] <= day <= days[1] if isinstance(days, tuple) else day.weekday() in days


def _kind_of(value: Any) -> str:
    is_rota = isinstance(value, RotaSettings) or (isinstance(value, Mapping) and bool({"rota", "days"} & value.keys()))
    return "a rota" if is_rota else "a person"


PersonOrRota = Annotated[
    Union[Annotated[dict[str, str], Tag("a person")], Annotated[RotaSettings, Tag("a rota")]],  # noqa: UP007 - tagged
    Discriminator(_kind_of),
]


class PeopleSettings(RotaSettings):
    """How people are known in each channel, `user2: {wechat: 用户二, wecom: user2}`, and who takes turns.

    Names are those that alerts, routes and rosters give them. Further rosters have names of their own:
    `dba: {rota: [李四, 王五]}`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, PersonOrRota] = Field(init=False)

    @property
    def persons(self) -> dict[str, dict[str, str]]:
        """How each person is known, by channel."""
        return {name: each for name, each in self._entries() if isinstance(each, dict)}

    @cached_property
    def rotas(self) -> dict[str, RotaSettings]:
        """The rosters, by name."""
        own: dict[str, RotaSettings] = {ROTA: self} if self.rota or self.days else {}
        return own | {name: each for name, each in self._entries() if isinstance(each, RotaSettings)}

    def _entries(self) -> Iterator[tuple[str, dict[str, str] | RotaSettings]]:
        yield from (self.__pydantic_extra__ or {}).items()

    def resolve(self, names: tuple[str, ...], at: datetime, zone: tzinfo) -> tuple[str, ...]:
        """Put those whose turn it is in place of the names of rosters, each once."""
        rotas = self.rotas
        if not rotas:
            return names
        found = [who for name in names for who in (rotas[name].find_on_duty(at, zone) if name in rotas else (name,))]
        return tuple(dict.fromkeys(found))
