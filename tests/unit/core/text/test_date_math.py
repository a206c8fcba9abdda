"""Grafana's words for moments."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.core.text.date_math import parse_moment

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 5, 13, 10, 20, 30, tzinfo=SHANGHAI)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("now", "2026-05-13T10:20:30", "2026-05-13T10:20:30"),
        ("now-1h", "2026-05-13T09:20:30", "2026-05-13T09:20:30"),
        ("now-90s", "2026-05-13T10:19:00", "2026-05-13T10:19:00"),
        ("now+2d", "2026-05-15T10:20:30", "2026-05-15T10:20:30"),
        ("now-h", "2026-05-13T09:20:30", "2026-05-13T09:20:30"),
        ("now/d", "2026-05-13T00:00:00", "2026-05-13T23:59:59.999"),
        ("now-1d/d", "2026-05-12T00:00:00", "2026-05-12T23:59:59.999"),
        ("now/w", "2026-05-11T00:00:00", "2026-05-17T23:59:59.999"),
        ("now/M", "2026-05-01T00:00:00", "2026-05-31T23:59:59.999"),
        ("now-1Q/Q", "2026-01-01T00:00:00", "2026-03-31T23:59:59.999"),
        ("now-1y/y", "2025-01-01T00:00:00", "2025-12-31T23:59:59.999"),
        ("now/h", "2026-05-13T10:00:00", "2026-05-13T10:59:59.999"),
        ("now/m", "2026-05-13T10:20:00", "2026-05-13T10:20:59.999"),
        ("now-1d/d+8h", "2026-05-12T08:00:00", "2026-05-13T07:59:59.999"),
        ("now-3M", "2026-02-13T10:20:30", "2026-02-13T10:20:30"),
        ("1767225600000", "2026-01-01T08:00:00", "2026-01-01T08:00:00"),
        ("2026-01-01T00:00:00.000Z", "2026-01-01T08:00:00", "2026-01-01T08:00:00"),
        ("2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("20260101T000000", "2026-01-01T08:00:00", "2026-01-01T08:00:00"),
    ],
)
def test_moments_are_read_as_grafana_reads_them(text: str, start: str, end: str) -> None:
    assert parse_moment(text, NOW) == datetime.fromisoformat(start).replace(tzinfo=SHANGHAI)
    assert parse_moment(text, NOW, end=True) == datetime.fromisoformat(end).replace(tzinfo=SHANGHAI)


@pytest.mark.parametrize("text", ["", "yesterday", "now-", "now-1", "now-1x", "now/", "now 1h", "1", "now-99999y"])
def test_what_is_no_moment_is_refused_with_its_words(text: str) -> None:
    with pytest.raises(ValueError, match="no moment that Grafana knows"):
        parse_moment(text, NOW)


@given(st.text(max_size=20) | st.from_regex(r"now([-+][0-9]{0,7}[smhdwMQy]|/[smhdwMQy]){0,4}", fullmatch=True))
def test_reading_a_moment_raises_nothing_else(text: str) -> None:
    for end in (False, True):
        try:
            assert parse_moment(text, NOW, end=end).tzinfo is not None
        except ValueError:
            continue


def test_the_last_day_of_a_month_stays_in_its_month() -> None:
    assert parse_moment("now-1M", datetime(2026, 3, 31, 9, tzinfo=SHANGHAI)).date().isoformat() == "2026-02-28"
