from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from wxbridge.alerts.muting import muted_by
from wxbridge.alerts.routing import RouteOptions
from wxbridge.config.time_intervals import Intervals, TimeInterval

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def interval(**keys: Any) -> TimeInterval:
    return TimeInterval.model_validate(keys)


def holds(interval: TimeInterval, local: str, zone: ZoneInfo = SHANGHAI) -> bool:
    """Whether it holds when the clocks of a zone show this."""
    return interval.holds(datetime.fromisoformat(local).replace(tzinfo=zone).astimezone(UTC), zone)


# 2026-06-05 is a Friday.
@pytest.mark.parametrize(
    ("keys", "inside", "outside"),
    [
        ({}, ["2026-06-05 00:00"], []),
        ({"times": "09:00-17:30"}, ["2026-06-05 09:00", "2026-06-05 17:29:59"],
         ["2026-06-05 08:59", "2026-06-05 17:30"]),
        ({"times": "00:00-24:00"}, ["2026-06-05 00:00", "2026-06-05 23:59:59"], []),
        ({"times": "18:00-24:00"}, ["2026-06-05 23:59"], ["2026-06-06 00:00"]),
        ({"times": "22:00-08:00"}, ["2026-06-05 22:00", "2026-06-06 07:59"], ["2026-06-05 21:59", "2026-06-06 08:00"]),
        ({"times": ["08:00-09:00", "10:00-11:00"]}, ["2026-06-05 08:30", "2026-06-05 10:30"], ["2026-06-05 09:30"]),
        ({"times": [{"start_time": "22:00", "end_time": "8:00"}]}, ["2026-06-05 03:00"], ["2026-06-05 12:00"]),
        ({"times": {"start_time": "1:00", "end_time": "2:00"}}, ["2026-06-05 01:00"], ["2026-06-05 02:00"]),
        ({"weekdays": "mon-fri"}, ["2026-06-05 23:59"], ["2026-06-06 00:00", "2026-06-07 00:00"]),
        ({"weekdays": ["Monday:Tuesday", "sat"]}, ["2026-06-06 12:00", "2026-06-08 12:00"], ["2026-06-10 12:00"]),
        ({"weekdays": "fri-mon"}, ["2026-06-05 12:00", "2026-06-07 12:00", "2026-06-08 12:00"], ["2026-06-09 12:00"]),
        # The night belongs to the day on which it begins: that of Friday goes into Saturday, that of Sunday is none.
        ({"weekdays": "mon-fri", "times": "22:00-08:00"}, ["2026-06-06 07:00", "2026-06-01 22:00"],
         ["2026-06-06 22:00", "2026-06-08 07:00"]),
        ({"days_of_month": "31", "times": "22:00-08:00"}, ["2026-06-01 07:00"], ["2026-05-31 07:00"]),
        ({"days_of_month": 1}, ["2026-06-01 12:00"], ["2026-06-02 12:00"]),
        ({"days_of_month": ["1:5", "-1"]}, ["2026-06-05 12:00", "2026-06-30 12:00"], ["2026-06-29 12:00"]),
        ({"days_of_month": -1}, ["2026-02-28 12:00", "2028-02-29 12:00"], ["2028-02-28 12:00"]),
        ({"days_of_month": "-3:-1"}, ["2026-06-28 12:00"], ["2026-06-27 12:00", "2026-06-01 12:00"]),
        ({"days_of_month": "25:-1"}, ["2026-06-25 12:00", "2026-06-30 12:00"], ["2026-06-24 12:00"]),
        ({"days_of_month": "31"}, ["2026-05-31 12:00"], ["2026-06-30 12:00", "2026-06-01 12:00"]),
        ({"days_of_month": "-31:-1"}, ["2026-02-01 12:00", "2026-05-01 12:00"], []),
        ({"months": "january:march"}, ["2026-03-31 12:00"], ["2026-04-01 12:00"]),
        ({"months": ["1-3", "DEC"]}, ["2026-02-01 12:00", "2026-12-01 12:00"], ["2026-06-05 12:00"]),
        ({"months": "november:february"}, ["2026-01-01 12:00", "2026-11-01 12:00"], ["2026-06-05 12:00"]),
        ({"years": 2026}, ["2026-06-05 12:00"], ["2027-06-05 12:00"]),
        ({"years": ["2024:2025", "2027"]}, ["2025-06-05 12:00", "2027-06-05 12:00"], ["2026-06-05 12:00"]),
        ({"years": "2026", "months": "june", "weekdays": "fri", "times": "9:00-10:00"}, ["2026-06-05 09:30"],
         ["2026-06-05 10:30", "2026-06-04 09:30", "2026-07-03 09:30", "2027-06-04 09:30"]),
    ],
)  # fmt: skip
def test_an_interval_holds_where_each_of_its_keys_does(
    keys: dict[str, Any], inside: list[str], outside: list[str]
) -> None:
    found = interval(**keys)
    assert [moment for moment in inside if not holds(found, moment)] == []
    assert [moment for moment in outside if holds(found, moment)] == []


def test_an_interval_goes_by_its_own_zone_and_else_by_that_of_the_file() -> None:
    moment = datetime(2026, 6, 5, 1, 30, tzinfo=UTC)
    assert interval(times="09:00-10:00", timezone="Asia/Shanghai").holds(moment)
    assert interval(times="09:00-10:00", location="Asia/Shanghai").holds(moment, BERLIN)
    assert interval(times="09:00-10:00").holds(moment, SHANGHAI)
    assert interval(times="01:00-02:00").holds(moment)


def test_where_clocks_are_changed_the_clock_on_the_wall_decides() -> None:
    night = interval(times="02:30-03:30", timezone="Europe/Berlin")
    forward = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
    back = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    assert [night.holds(forward + timedelta(minutes=each)) for each in (59, 60, 89, 90)] == [False, True, True, False]
    assert [night.holds(back + timedelta(minutes=each)) for each in (29, 30, 59, 60, 90, 149, 150)] == [
        False, True, True, False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"times": "25:00-26:00"}, "'25:00' is no time of day"),
        ({"times": "10:60-11:00"}, "is no time of day"),
        ({"times": "8-9"}, "'8-9' is no stretch of the day; write one like 22:00-08:00"),
        ({"times": "08:00-08:00"}, "is over when it begins"),
        ({"times": "24:00-00:00"}, "is over when it begins"),
        ({"times": "24:00-08:00"}, "begins when the day is over"),
        ({"times": [{"start_time": "08:00"}]}, "has `start_time` and `end_time`"),
        ({"weekdays": "weekend"}, "'weekend' is no weekday; write one like monday or mon"),
        ({"weekdays": "mon,tue"}, "is no range"),
        ({"days_of_month": 0}, "'0' is no day of a month"),
        ({"days_of_month": "1:32"}, "'32' is no day of a month"),
        ({"days_of_month": "9:3"}, "ends before it begins"),
        ({"days_of_month": "-1:3"}, "ends before it begins"),
        ({"months": 13}, "'13' is no month"),
        ({"years": "26"}, "'26' is no year"),
        ({"years": "2027:2026"}, "ends before it begins"),
        ({"timezone": "Mars/Olympus"}, "'Mars/Olympus' is no time zone"),
        ({"weekday": "mon"}, "Extra inputs"),
    ],
)
def test_what_cannot_be_an_interval_is_told_in_words(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        interval(**keys)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - what the clocks show
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.lists(st.integers(0, 6), max_size=3),
    st.lists(st.integers(-31, 31).filter(bool), max_size=3),
)
def test_any_stretch_of_any_days_holds_on_those_days_only(
    moment: datetime, start: int, length: int, weekdays: list[int], days: list[int]
) -> None:
    end = (start + length) % 1440
    if end == start and start:
        return
    text = "00:00-24:00" if end == start else f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    names = [calendar.day_name[day] for day in weekdays]
    found = interval(times=text, weekdays=names, days_of_month=[str(day) for day in days])

    def on(day: date) -> bool:
        last = calendar.monthrange(day.year, day.month)[1]
        in_month = not days or any(day.day == (each if each > 0 else last + 1 + each) for each in days)
        return in_month and (not weekdays or day.weekday() in weekdays)

    midnights = [datetime.combine(moment.date() - timedelta(days=back), datetime.min.time()) for back in (0, 1)]
    expected = any(
        on(midnight.date()) and start <= (moment - midnight).total_seconds() // 60 < start + length
        for midnight in midnights
    )
    assert found.holds(moment.replace(tzinfo=UTC)) is expected


@given(
    st.text() | st.integers(), st.sampled_from(["times", "weekdays", "days_of_month", "months", "years", "timezone"])
)
def test_any_value_is_part_of_an_interval_or_a_sentence(value: object, key: str) -> None:
    try:
        interval(**{key: value}).holds(datetime(2026, 6, 5, tzinfo=UTC))
    except ValidationError as error:
        assert error.errors()[0]["msg"]  # noqa: PT017 - either outcome is right


def test_a_name_stands_for_one_interval_or_for_several_of_which_any_may_hold() -> None:
    reader = TypeAdapter(Intervals)
    night, weekend = {"times": "22:00-08:00"}, {"weekdays": "sat-sun"}
    assert reader.validate_python(night) == (interval(**night),)
    assert reader.validate_python([night, weekend]) == (interval(**night), interval(**weekend))
    with pytest.raises(ValidationError) as caught:
        reader.validate_python({"times": "nights"})
    assert [problem["loc"] for problem in caught.value.errors()] == [(0, "times")]


@pytest.mark.parametrize(
    ("mute", "active", "hour", "words"),
    [
        (["night"], [], 23, "muted by night"),
        (["night"], [], 12, None),
        ([], ["office"], 12, None),
        ([], ["office"], 20, "not active outside of office"),
        ([], ["office", "night"], 20, "not active outside of office or night"),
        ([], ["office", "night"], 23, None),
        (["night"], ["night"], 23, "muted by night"),
        (["gone"], ["gone too"], 23, None),
    ],
)
def test_a_route_is_silent_in_its_muted_times_and_outside_of_its_active_ones(
    mute: list[str], active: list[str], hour: int, words: str | None
) -> None:
    intervals = {
        "night": interval(times="22:00-08:00"),
        "office": [interval(times="09:00-12:00"), interval(times="12:00-18:00")],
    }
    moment = datetime(2026, 6, 5, hour, tzinfo=SHANGHAI)
    assert muted_by(RouteOptions(mute=tuple(mute), active=tuple(active)), intervals, moment, SHANGHAI) == words
