from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.config import schedule
from wxbridge.config.types import parse_duration

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def fires(schedule_: schedule.Schedule, start: datetime, count: int) -> list[datetime]:
    """The next runs from a moment on, as the scheduler counts them."""
    runs: list[datetime] = []
    moment = (start.astimezone(UTC) - timedelta(microseconds=1)).astimezone(start.tzinfo)
    while len(runs) < count and (following := schedule_.next_after(moment)):
        runs.append(following)
        moment = following
    return runs


def days(line: str, start: str, count: int, zone: ZoneInfo = SHANGHAI) -> list[str]:
    begin = datetime.fromisoformat(start).replace(tzinfo=zone)
    return [
        run.astimezone(zone).strftime("%a %m-%d %H:%M")
        for run in fires(schedule.make_cron_schedule(line, zone), begin, count)
    ]


# 2026-02-01 is a Sunday.
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("5 9-18 * * *", ["Sun 02-01 09:05", "Sun 02-01 10:05"]),
        ("0 0 * * 0", ["Sun 02-01 00:00", "Sun 02-08 00:00"]),
        ("0 0 * * 7", ["Sun 02-01 00:00", "Sun 02-08 00:00"]),
        ("0 0 * * sun", ["Sun 02-01 00:00", "Sun 02-08 00:00"]),
        ("0 0 * * Sunday", ["Sun 02-01 00:00", "Sun 02-08 00:00"]),
        ("0 0 * * 1", ["Mon 02-02 00:00", "Mon 02-09 00:00"]),
        ("0 9 * * 1-5", ["Mon 02-02 09:00", "Tue 02-03 09:00", "Wed 02-04 09:00", "Thu 02-05 09:00",
                         "Fri 02-06 09:00", "Mon 02-09 09:00"]),
        ("0 9 * * mon-fri/2", ["Mon 02-02 09:00", "Wed 02-04 09:00", "Fri 02-06 09:00", "Mon 02-09 09:00"]),
        ("0 9 * * 5-7", ["Sun 02-01 09:00", "Fri 02-06 09:00", "Sat 02-07 09:00", "Sun 02-08 09:00"]),
        ("0 9 * * fri-mon", ["Sun 02-01 09:00", "Mon 02-02 09:00", "Fri 02-06 09:00", "Sat 02-07 09:00"]),
        ("0 9 * * */2", ["Sun 02-01 09:00", "Tue 02-03 09:00", "Thu 02-05 09:00", "Sat 02-07 09:00",
                         "Sun 02-08 09:00"]),
        ("0 9 * * 6,0", ["Sun 02-01 09:00", "Sat 02-07 09:00", "Sun 02-08 09:00"]),
        ("0 9 * * 0-7", ["Sun 02-01 09:00", "Mon 02-02 09:00"]),
        ("*/20 8 * * *", ["Sun 02-01 08:00", "Sun 02-01 08:20", "Sun 02-01 08:40", "Mon 02-02 08:00"]),
        ("0 8-18/5 * * *", ["Sun 02-01 08:00", "Sun 02-01 13:00", "Sun 02-01 18:00", "Mon 02-02 08:00"]),
        ("0,30 8 * * *", ["Sun 02-01 08:00", "Sun 02-01 08:30", "Mon 02-02 08:00"]),
        ("0 0 1 JAN *", ["Fri 01-01 00:00", "Sat 01-01 00:00"]),
        ("0 0 29 2 *", ["Tue 02-29 00:00"]),
        # Both the day and the weekday restricted: either will do.
        ("0 0 13 * 5", ["Fri 02-06 00:00", "Fri 02-13 00:00", "Fri 02-20 00:00", "Fri 02-27 00:00",
                        "Fri 03-06 00:00", "Fri 03-13 00:00"]),
        ("0 0 10 * mon", ["Mon 02-02 00:00", "Mon 02-09 00:00", "Tue 02-10 00:00", "Mon 02-16 00:00"]),
        ("0 0 10 * 0-6", ["Sun 02-01 00:00", "Mon 02-02 00:00"]),
        # A field with a star is not restricted: both must hold.
        ("0 0 */2 * 1", ["Mon 02-09 00:00", "Mon 02-23 00:00"]),
        ("0 0 1 * *", ["Sun 02-01 00:00", "Sun 03-01 00:00"]),
        ("@hourly", ["Sun 02-01 00:00", "Sun 02-01 01:00"]),
        ("@daily", ["Sun 02-01 00:00", "Mon 02-02 00:00"]),
        ("@weekly", ["Sun 02-01 00:00", "Sun 02-08 00:00"]),
        ("@monthly", ["Sun 02-01 00:00", "Sun 03-01 00:00"]),
        ("@yearly", ["Fri 01-01 00:00"]),
        ("@annually", ["Fri 01-01 00:00"]),
        ("  0  0 * *   1 ", ["Mon 02-02 00:00"]),
    ],
)  # fmt: skip
def test_a_crontab_line_means_what_crontab_says(line: str, expected: list[str]) -> None:
    assert days(line, "2026-02-01", len(expected)) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("* * * *", "has 4 fields; cron has five"),
        ("0 0 0 * * *", "has 6 fields"),
        ("", "has 0 fields"),
        ("@reboot", "is no cron line|has 1 fields"),
        ("60 * * * *", "60"),
        ("* 24 * * *", "24"),
        ("* * 0 * *", "0"),
        ("* * 32 * *", "32"),
        ("* * * 13 *", "13"),
        ("* * * * 8", "'8' is no weekday"),
        ("* * * * mondey", "'mondey' is no weekday"),
        ("* * * * 1-", "'1-' is no weekday"),
        ("* * * * */0", "step of zero"),
        ("*/0 * * * *", "Increment"),
        ("* * * foo *", "foo"),
        ("5-1 * * * *", "5-1"),
        ("x * * * *", "x"),
    ],
)
def test_a_bad_crontab_line_is_refused_and_quoted(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        schedule.make_cron_schedule(line, SHANGHAI)
    assert repr(line) in str(caught.value)


@given(st.text(st.sampled_from("0123456789*/-,@ abcfijmnorstuw#L"), max_size=24))
def test_any_line_is_a_schedule_or_a_sentence(line: str) -> None:
    try:
        trigger = schedule.make_cron_schedule(line, SHANGHAI)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
    else:
        trigger.next_after(datetime(2026, 2, 1, tzinfo=SHANGHAI))


def test_cron_may_be_a_mapping_of_fields() -> None:
    trigger = schedule.make_cron_schedule({"hour": "9", "minute": "30", "day_of_week": "mon"}, SHANGHAI)
    start = datetime(2026, 2, 1, tzinfo=SHANGHAI)
    assert fires(trigger, start, 1) == [datetime(2026, 2, 2, 9, 30, tzinfo=SHANGHAI)]


@pytest.mark.parametrize(
    ("line", "weekdays"),
    [("0 9 * * 0", "0"), ("0 9 * * 7", 7), ("0 9 * * 1-5", "1-5"), ("0 9 * * 6,0", "6,0"), ("0 9 * * */2", "*/2"),
     ("0 9 * * fri-mon", "fri-mon"), ("0 9 * * sun", "sun"), ("0 9 * * *", "*")],
)  # fmt: skip
def test_weekdays_mean_the_same_in_a_mapping_and_in_a_line(line: str, weekdays: str | int) -> None:
    start = datetime(2026, 2, 1, tzinfo=SHANGHAI)
    mapping = schedule.make_cron_schedule({"hour": "9", "day_of_week": weekdays}, SHANGHAI)
    assert fires(mapping, start, 9) == fires(schedule.make_cron_schedule(line, SHANGHAI), start, 9)


@pytest.mark.parametrize("mapping", [{}, {"day_of_week": "8"}, {"hours": "9"}, {"timezone": "UTC"}, {"hour": "25"}])
def test_a_bad_mapping_is_refused(mapping: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        schedule.make_cron_schedule(mapping, SHANGHAI)


def test_an_hourly_job_neither_misses_nor_repeats_an_hour_when_the_clocks_change() -> None:
    for start in (datetime(2026, 3, 28, 22, 30, tzinfo=UTC), datetime(2026, 10, 24, 22, 30, tzinfo=UTC)):
        runs = fires(schedule.make_cron_schedule("0 * * * *", BERLIN), start.astimezone(BERLIN), 6)
        assert [run.astimezone(UTC) for run in runs] == [
            start + timedelta(minutes=30) + timedelta(hours=step) for step in range(6)
        ]


def test_a_daily_job_keeps_its_local_hour_when_the_clocks_change() -> None:
    assert days("0 9 * * *", "2026-03-28", 3, BERLIN) == ["Sat 03-28 09:00", "Sun 03-29 09:00", "Mon 03-30 09:00"]
    assert days("0 9 * * *", "2026-10-24", 3, BERLIN) == ["Sat 10-24 09:00", "Sun 10-25 09:00", "Mon 10-26 09:00"]


def test_a_job_in_the_hour_that_is_left_out_runs_once_that_day() -> None:
    runs = fires(schedule.make_cron_schedule("30 2 * * *", BERLIN), datetime(2026, 3, 28, 12, tzinfo=BERLIN), 2)
    assert [run.astimezone(UTC) for run in runs] == [
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
    ]


@pytest.mark.parametrize("seconds", [1, 60, 3600, 5400, 7 * 3600, 86400, 2 * 86400, 10 * 60 + 1])
def test_an_interval_runs_at_the_same_moments_whenever_it_is_looked_at(seconds: int) -> None:
    look = datetime(2026, 2, 10, 11, 7, 13, tzinfo=SHANGHAI)
    runs = fires(schedule.make_interval_schedule(seconds, SHANGHAI), look, 3)
    assert runs == fires(schedule.make_interval_schedule(seconds, SHANGHAI), runs[0], 3)
    assert runs[1:] == fires(schedule.make_interval_schedule(seconds, SHANGHAI), runs[0] + timedelta(milliseconds=1), 2)
    assert {second - first for first, second in itertools.pairwise(runs)} == {timedelta(seconds=seconds)}


def by_the_clock(seconds: int, start: datetime, count: int) -> str:
    runs = fires(schedule.make_interval_schedule(seconds, BERLIN), start, count)
    return " ".join(f"{run.astimezone(BERLIN):%H:%M}" for run in runs)


# In Berlin clocks go from 2 to 3 on 2027-03-28, and from 3 back to 2 on 2026-10-25.
@pytest.mark.parametrize(
    ("seconds", "spring", "autumn"),
    [
        (6 * 3600, "00:00 06:00 12:00 18:00 00:00 06:00", "00:00 06:00 12:00 18:00 00:00 06:00"),
        (86400, "00:00 00:00 00:00 00:00 00:00 00:00", "00:00 00:00 00:00 00:00 00:00 00:00"),
        (2 * 86400, "00:00 00:00 00:00 00:00 00:00 00:00", "00:00 00:00 00:00 00:00 00:00 00:00"),
        (2 * 3600, "00:00 03:00 04:00 06:00 08:00 10:00", "00:00 02:00 04:00 06:00 08:00 10:00"),
        (3600, "00:00 01:00 03:00 04:00 05:00 06:00", "00:00 01:00 02:00 02:00 03:00 04:00"),
        (1800, "00:00 00:30 01:00 01:30 03:00 03:30", "00:00 00:30 01:00 01:30 02:00 02:30"),
        (2700, "00:00 00:45 01:30 03:00 03:45 04:30", "00:00 00:45 01:30 02:15 02:15 03:00"),
    ],
)
def test_an_interval_goes_by_the_local_clock_when_that_is_changed(seconds: int, spring: str, autumn: str) -> None:
    assert by_the_clock(seconds, datetime(2027, 3, 28, tzinfo=BERLIN), 6) == spring
    assert by_the_clock(seconds, datetime(2026, 10, 25, tzinfo=BERLIN), 6) == autumn


@pytest.mark.parametrize("zone", [SHANGHAI, BERLIN])
def test_planning_a_job_that_runs_each_second_costs_next_to_nothing(zone: ZoneInfo) -> None:
    moment, each_second = datetime(2026, 2, 1, tzinfo=zone), schedule.make_interval_schedule(1, zone)
    began = time.process_time()
    assert fires(each_second, moment, 2000)[-1] == moment + timedelta(seconds=1999)
    assert time.process_time() - began < 10  # it was two hundred


ZONES = ("Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu", "UTC")
SCHEDULES = (
    "every 6h",
    "every 1h",
    "every 45m",
    "every 1m",
    "every 2d",
    "every 7h",
    "0 * * * *",
    "30 2 * * *",
    "*/20 0-4 * * *",
)


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    written=st.sampled_from(SCHEDULES),
    moment=st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - in UTC, below
)
def test_the_next_run_is_later_and_none_is_left_out(zone: ZoneInfo, written: str, moment: datetime) -> None:
    duration = written.removeprefix("every ")
    found = (
        schedule.make_cron_schedule(written, zone)
        if duration == written
        else schedule.make_interval_schedule(parse_duration(duration), zone)
    )
    now = moment.replace(tzinfo=UTC).astimezone(zone)
    following = found.next_after(now)
    assert following is not None
    assert following.timestamp() > now.timestamp()
    halfway = datetime.fromtimestamp((now.timestamp() + following.timestamp()) / 2, zone)
    if halfway.timestamp() < following.timestamp():
        again = found.next_after(halfway)
        assert again is not None
        assert again.timestamp() == following.timestamp()


def test_an_interval_that_divides_the_day_counts_from_local_midnight() -> None:
    runs = fires(schedule.make_interval_schedule(6 * 3600, SHANGHAI),
                 datetime(2026, 2, 1, 10, tzinfo=SHANGHAI), 3)  # fmt: skip
    assert [run.strftime("%d %H:%M") for run in runs] == ["01 12:00", "01 18:00", "02 00:00"]


@pytest.mark.parametrize("seconds", [0, 0.5, -1, 1.5])
def test_an_interval_is_whole_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="whole seconds"):
        schedule.make_interval_schedule(seconds, SHANGHAI)


def test_a_time_of_day_runs_each_day() -> None:
    start = datetime(2026, 2, 1, 9, 30, 1, tzinfo=SHANGHAI)
    for written in ("9:30", "09:30", " 09:30:00 "):
        runs = fires(schedule.make_time_schedule(written, SHANGHAI), start, 2)
        assert [run.strftime("%d %H:%M") for run in runs] == ["02 09:30", "03 09:30"]


def test_a_moment_runs_once_in_the_configured_zone_unless_it_names_its_own() -> None:
    start = datetime(2026, 2, 1, tzinfo=SHANGHAI)
    assert fires(schedule.make_time_schedule("2026-12-31 09:30", SHANGHAI), start, 5) == [
        datetime(2026, 12, 31, 9, 30, tzinfo=SHANGHAI),
    ]
    assert fires(schedule.make_time_schedule("2026-12-31T09:30:00Z", SHANGHAI), start, 5) == [
        datetime(2026, 12, 31, 9, 30, tzinfo=UTC),
    ]


def test_several_times_are_all_kept_in_order() -> None:
    runs = fires(schedule.make_time_schedule(["18:00", "09:30"], SHANGHAI), datetime(2026, 2, 1, tzinfo=SHANGHAI), 3)
    assert [run.strftime("%d %H:%M") for run in runs] == ["01 09:30", "01 18:00", "02 09:30"]


@pytest.mark.parametrize("written", ["25:00", "9", "noon", "", "09:60", "2026-13-01", [], ["09:30", "x"]])
def test_what_is_no_time_is_refused(written: str | list[str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        schedule.make_time_schedule(written, SHANGHAI)


def test_the_next_run_is_later_than_now_even_at_the_very_moment() -> None:
    trigger = schedule.make_time_schedule("09:30", SHANGHAI)
    now = datetime(2026, 2, 1, 9, 30, tzinfo=SHANGHAI)
    assert trigger.next_after(now) == now + timedelta(days=1)
    assert schedule.make_time_schedule("2020-01-01 00:00", SHANGHAI).next_after(now) is None


def test_the_next_run_is_right_in_the_hour_that_comes_twice() -> None:
    second_half_past_two = datetime(2026, 10, 25, 1, 30, tzinfo=UTC).astimezone(BERLIN)
    following = schedule.make_cron_schedule("45 * * * *", BERLIN).next_after(second_half_past_two)
    assert following is not None
    assert following.astimezone(UTC) == datetime(2026, 10, 25, 1, 45, tzinfo=UTC)
