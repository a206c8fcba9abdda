from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wxbridge.core.errors import CannotAnswer
from wxbridge.core.text import time_range
from wxbridge.core.text.time_range import MAX_RANGE, Span

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 16, 20, tzinfo=SHANGHAI)  # a Saturday


def local(span: Span, zone=SHANGHAI) -> str:
    first, last = span.start.astimezone(zone), span.end.astimezone(zone)
    return f"{first:%m-%d %H:%M}/{last:%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6h", "11-21 10:20/11-21 16:20"),
        ("1h30m", "11-21 14:50/11-21 16:20"),
        ("90 minutes", "11-21 14:50/11-21 16:20"),
        ("from=6h", "11-21 10:20/11-21 16:20"),
        ("from=6h to=1h", "11-21 10:20/11-21 15:20"),
        ("to=1h from=6h", "11-21 10:20/11-21 15:20"),
        ("to=1h", "11-21 09:20/11-21 15:20"),
        ("from=now-6h to=now-1h", "11-21 10:20/11-21 15:20"),
        ("now-6h now-1h", "11-21 10:20/11-21 15:20"),
        ("now-12hr", "11-21 04:20/11-21 16:20"),
        ("now-1d/d now-1d/d", "11-20 00:00/11-21 00:00"),
        ("from=now/d", "11-21 00:00/11-21 16:20"),
        ("from=2026-11-20T09:00 to=18:00", "11-20 09:00/11-20 18:00"),
        ("from=2026-11-20 09:00 to=18:00", "11-20 09:00/11-20 18:00"),
        ("from=2026-11-20T01:00Z to=2026-11-20T10:00:00+00:00", "11-20 09:00/11-20 18:00"),
        ("from=1795136400000 to=1795140000", "11-20 09:00/11-20 10:00"),
        ("from=9 to=12", "11-21 09:00/11-21 12:00"),
        ("from=18:00", "11-20 18:00/11-21 16:20"),
        ("from=yesterday to=today", "11-20 00:00/11-21 16:20"),
        ("from=上周 to=昨天", "11-09 00:00/11-21 00:00"),
        ("last 2 hours", "11-21 14:20/11-21 16:20"),
        ("the last hour", "11-21 15:20/11-21 16:20"),
        ("for the past half an hour", "11-21 15:50/11-21 16:20"),
        ("Past 30 Min", "11-21 15:50/11-21 16:20"),
        ("past week", "11-14 16:20/11-21 16:20"),
        ("last 3 months", "08-21 16:20/11-21 16:20"),
        ("today", "11-21 00:00/11-21 16:20"),
        ("yesterday", "11-20 00:00/11-21 00:00"),
        ("day before yesterday", "11-19 00:00/11-20 00:00"),
        ("yesterday 9-18", "11-20 09:00/11-20 18:00"),
        ("yesterday from 9:30 to 18", "11-20 09:30/11-20 18:00"),
        ("yesterday 3-5pm", "11-20 15:00/11-20 17:00"),
        ("yesterday 22-6", "11-20 22:00/11-21 06:00"),
        ("yesterday 20:00-24:00", "11-20 20:00/11-21 00:00"),
        ("yesterday 18:00 to today 9:00", "11-20 18:00/11-21 09:00"),
        ("today 9-18", "11-21 09:00/11-21 16:20"),
        ("9:00-12:00", "11-21 09:00/11-21 12:00"),
        ("22:00-6:00", "11-20 22:00/11-21 06:00"),
        ("since 9:00", "11-21 09:00/11-21 16:20"),
        ("2h ago to 1h ago", "11-21 14:20/11-21 15:20"),
        ("this week", "11-16 00:00/11-21 16:20"),
        ("last week", "11-09 00:00/11-16 00:00"),
        ("last month", "10-01 00:00/11-01 00:00"),
        ("monday", "11-16 00:00/11-17 00:00"),
        ("last saturday", "11-14 00:00/11-15 00:00"),
        ("2026-11-20", "11-20 00:00/11-21 00:00"),
        ("2026/11/20 9-18", "11-20 09:00/11-20 18:00"),
        ("11-20 9-18", "11-20 09:00/11-20 18:00"),
        ("最近2小时", "11-21 14:20/11-21 16:20"),
        ("最近 两 小时", "11-21 14:20/11-21 16:20"),
        ("过去半小时", "11-21 15:50/11-21 16:20"),
        ("最近一个半小时", "11-21 14:50/11-21 16:20"),
        ("最近十二小时内", "11-21 04:20/11-21 16:20"),
        ("半小时", "11-21 15:50/11-21 16:20"),
        ("近7天", "11-14 16:20/11-21 16:20"),
        ("近七日", "11-14 16:20/11-21 16:20"),
        ("近一个月", "10-21 16:20/11-21 16:20"),
        ("今天", "11-21 00:00/11-21 16:20"),
        ("昨天", "11-20 00:00/11-21 00:00"),
        ("前天", "11-19 00:00/11-20 00:00"),
        ("昨天9-18点", "11-20 09:00/11-20 18:00"),
        ("昨天九点到十八点", "11-20 09:00/11-20 18:00"),
        ("昨天9点半-18点", "11-20 09:30/11-20 18:00"),
        ("昨天 9：30～18：00", "11-20 09:30/11-20 18:00"),
        ("昨天下午3点到5点", "11-20 15:00/11-20 17:00"),
        ("从昨天9点到今天9点", "11-20 09:00/11-21 09:00"),
        ("昨天9点至今", "11-20 09:00/11-21 16:20"),
        ("11月20日", "11-20 00:00/11-21 00:00"),
        ("11月20日9-18点", "11-20 09:00/11-20 18:00"),
        ("十一月二十日", "11-20 00:00/11-21 00:00"),
        ("本周", "11-16 00:00/11-21 16:20"),
        ("上周", "11-09 00:00/11-16 00:00"),
        ("上周五 9-18", "11-13 09:00/11-13 18:00"),
        ("上个月", "10-01 00:00/11-01 00:00"),
    ],
)
def test_a_range_in_words_is_two_moments(text, expected) -> None:
    assert local(time_range.parse_range(text, NOW)) == expected


@pytest.mark.parametrize(
    "text",
    ["cpu", "9-18", "11-20", "24h 6h", "now", "last", "2026-02-30", "yesterday 25-26", "tomorrow", "", "from=", "h",
     "1,3", "x" * 500, "now-1z", "近", "kafka 6h"],
)  # fmt: skip
def test_what_is_no_range_says_so_with_two_examples(text) -> None:
    assert not time_range.is_range(text, NOW)
    with pytest.raises(CannotAnswer, match=r"Write it like: .+, .+"):
        time_range.parse_range(text, NOW)
    with pytest.raises(CannotAnswer, match=r"可以写：.+、.+"):
        time_range.parse_range(text, NOW, "zh")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("last 200 days", "longer than 92 days"),
        ("from=2026-01-01", "longer than 92 days"),
        ("3 years", "longer than 92 days"),
        ("999999h", "longer than 92 days"),
        ("from=now+1h", "still to come"),
        ("today 20-22", "still to come"),
        ("from=2027-01-01 to=2027-01-02", "still to come"),
        ("from=1h to=6h", "ends before it begins"),
        ("from=now to=now-1h", "ends before it begins"),
    ],
)
def test_a_range_out_of_bounds_is_a_range_and_is_refused(text, said) -> None:
    assert time_range.is_range(text, NOW)
    with pytest.raises(CannotAnswer, match=said):
        time_range.parse_range(text, NOW)


@pytest.mark.parametrize(
    ("now", "text", "hours"),
    [
        (datetime(2026, 3, 30, 12, tzinfo=BERLIN), "yesterday", 23),
        (datetime(2026, 10, 26, 12, tzinfo=BERLIN), "yesterday", 25),
        (datetime(2026, 10, 26, 12, tzinfo=BERLIN), "last 24 hours", 24),
        (datetime(2026, 10, 26, 12, tzinfo=BERLIN), "last 7 days", 169),
        (datetime(2026, 10, 25, 12, tzinfo=BERLIN), "last 24h", 24),
        (datetime(2026, 10, 26, 12, tzinfo=BERLIN), "yesterday 2:00-2:30", 1.5),  # the hour comes twice
        (datetime(2026, 3, 30, 12, tzinfo=BERLIN), "yesterday 1:30-2:30", 1),  # the hour is left out
        (datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1), "1h", 1),
    ],
)
def test_where_the_clock_is_changed_days_are_the_calendars_and_hours_are_hours(now, text, hours) -> None:
    span = time_range.parse_range(text, now)
    assert span.end - span.start == timedelta(hours=hours)


def test_one_day_ends_where_the_next_begins_also_where_midnight_is_left_out() -> None:
    now = datetime(2018, 11, 5, 12, tzinfo=ZoneInfo("America/Sao_Paulo"))
    today, yesterday = time_range.parse_range("2018-11-04", now), time_range.parse_range("2018-11-03", now)
    assert yesterday.end == today.start
    assert today.end - today.start == timedelta(hours=23)


def test_the_end_alone_keeps_the_usual_length() -> None:
    span = time_range.parse_ends(None, "now-1h", NOW, usual=timedelta(hours=2))
    assert local(span) == "11-21 13:20/11-21 15:20"
    assert time_range.parse_ends(None, None, NOW) == Span(NOW.astimezone(UTC) - timedelta(hours=6), NOW.astimezone(UTC))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("up 6h", [("up", "6h")]),
        ("up last 2 hours", [("up", "last 2 hours"), ("up last", "2 hours")]),
        ("up", []),
        ("6h", []),
        ("rate(x[5m])6h", []),
        ("rate(x[5m]) from=6h to=1h", [("rate(x[5m])", "from=6h to=1h"), ("rate(x[5m]) from=6h", "to=1h")]),
    ],
)
def test_a_range_is_taken_off_the_end_only_where_a_blank_parts_it(text, found) -> None:
    assert list(time_range.split_off_ranges(text, NOW)) == found


def test_a_range_is_told_with_its_length_on_the_readers_clock() -> None:
    assert (
        time_range.format_range(time_range.parse_range("yesterday 9-18", NOW), NOW, "en") == "11-20 09:00 – 18:00 (9 h)"
    )
    assert time_range.format_range(time_range.parse_range("昨天", NOW), NOW, "zh") == "11-20 00:00 – 11-21 00:00 (1天)"
    new_year = datetime(2027, 1, 1, 12, tzinfo=SHANGHAI)
    assert (
        time_range.format_range(time_range.parse_range("24h", new_year), new_year, "en")
        == "2026-12-31 12:00 – 2027-01-01 12:00 (1 d)"
    )


ZONES = st.sampled_from(
    ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut"]
)
NOWS = st.builds(
    lambda at, zone: at.astimezone(ZoneInfo(zone)),
    st.integers(946684800, 2114380800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    ZONES,
)
PIECES = st.sampled_from((
    "6h", "now", "-", "now-1d/d", "to", "from=", "to=", "yesterday", "today", "昨天", "前天", "9", "18", "9:30", "点",
    "最近", "过去", "2", "小时", "半", "天", "last", "hours", "本周", "上周五", "2026-11-20", "T", "11月20日", "下午",
    "到", "ago", "since", "24:00", "2:30", "week", "months", "个月", "近", "一", "十", "pm", "1795136400",
))  # fmt: skip
TEXTS = st.builds(str.join, st.sampled_from(["", " "]), st.lists(PIECES, min_size=1, max_size=6))


@given(TEXTS, NOWS)
@example("from=02:30 to=02:45", datetime(2026, 3, 29, 12, tzinfo=BERLIN))
@example("2:30-2:45", datetime(2026, 10, 25, 12, tzinfo=BERLIN))
def test_whatever_is_written_there_is_a_range_within_the_bounds_or_a_sentence(text, now) -> None:
    try:
        span = time_range.parse_range(text, now)
    except CannotAnswer:
        return
    assert span.start < span.end <= now.astimezone(UTC)
    assert span.end - span.start <= MAX_RANGE + timedelta(hours=1)
    assert span.start.tzinfo is span.end.tzinfo is UTC
    assert time_range.is_range(text, now)


@given(st.text(max_size=40), NOWS)
def test_no_text_breaks_it(text, now) -> None:
    for _ in time_range.split_off_ranges(text, now):
        pass
    if not time_range.is_range(text, now):
        with pytest.raises(CannotAnswer, match="no time range"):
            time_range.parse_range(text, now)


@given(st.integers(1, 92 * 24), NOWS)
def test_hours_are_so_much_time_whatever_the_clock_does(hours, now) -> None:
    span = time_range.parse_range(f"最近{hours}小时", now)
    assert span == time_range.parse_range(f"last {hours} hours", now) == time_range.parse_range(f"from={hours}h", now)
    assert span.end - span.start == timedelta(hours=hours)


@given(NOWS)
def test_yesterday_is_the_whole_day_before_today(now) -> None:
    day, today = time_range.parse_range("昨天", now), time_range.parse_range("2 days", now)
    start = day.start.astimezone(now.tzinfo)
    assert day.start < day.end
    assert timedelta(hours=22) < day.end - day.start < timedelta(hours=26)
    assert (now.date() - start.date()).days == 1
    assert today.start < day.end
