"""Time ranges and variables in a dashboard's address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.pictures.pages.address import TimeRange, read_range, with_range, with_variables

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 5, 13, 10, 20, 30, tzinfo=SHANGHAI)  # a Wednesday


def test_a_day_before_is_the_same_hour_also_when_clocks_change() -> None:
    spring = datetime(2026, 3, 29, 9, 0, tzinfo=BERLIN)  # the night before had 23 hours
    before = TimeRange(spring - timedelta(hours=1), spring).before(86400)
    assert before.end == datetime(2026, 3, 28, 9, 0, tzinfo=BERLIN)
    assert spring.timestamp() - before.end.timestamp() == 23 * 3600


def test_two_hours_before_are_two_hours_also_when_clocks_change() -> None:
    spring = datetime(2026, 3, 29, 4, 0, tzinfo=BERLIN)
    assert spring.timestamp() - TimeRange(spring, spring).before(7200).end.timestamp() == 7200


def test_a_relative_range_becomes_absolute_and_all_else_stays() -> None:
    url = "/d/kafka/overview?orgId=1&from=now-1h&var-a=%2Bx&to=now&kiosk#top"
    span = read_range(url, NOW)
    assert with_range(url, span) == (
        "/d/kafka/overview?orgId=1&var-a=%2Bx&kiosk&from=1778635230000&to=1778638830000#top"
    )


def test_without_to_a_range_ends_now() -> None:
    assert read_range("/d/x?from=now-6h", NOW) == TimeRange(NOW - timedelta(hours=6), NOW)


@pytest.mark.parametrize(
    ("url", "words"),
    [("/d/x", "no `from=`"), ("/d/x?from=&to=now", "no `from=`"), ("/d/x?from=now&to=now-1h", "ends before it begins")],
)
def test_a_url_without_a_range_says_what_is_missing(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_range(url, NOW)


def test_variables_replace_those_of_the_same_name() -> None:
    url = with_variables("http://g/d/x?var-host=old&var-host=older&var-env=prod&from=now-1h", {"host": "a"})
    assert url == "http://g/d/x?var-env=prod&from=now-1h&var-host=a"


@given(st.dictionaries(st.from_regex(r"\w{1,8}", fullmatch=True), st.text(min_size=1, max_size=12), max_size=4))
def test_any_value_arrives_as_it_was_written(variables: dict[str, str]) -> None:
    query = parse_qs(urlsplit(with_variables("http://g/d/x?a=1", variables)).query)
    assert query == {"a": ["1"]} | {f"var-{name}": [value] for name, value in variables.items()}


@given(st.integers(10**9, 4 * 10**9), st.integers(1, 10**7))
def test_an_absolute_range_is_read_back_as_it_was(start: int, seconds: int) -> None:
    begin = datetime.fromtimestamp(start, UTC)
    span = TimeRange(begin, begin + timedelta(seconds=seconds))
    assert read_range(with_range("/d/x?from=now-1h", span), NOW) == span
