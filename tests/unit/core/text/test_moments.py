"""Times as machines write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.core.text.moments import read_moment, read_span

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        1795953600, 1795953600.0, "1795953600", "1795953600.000", " 1795953600 ",
        1795953600000, "1795953600000", 1795953600000000, "1795953600000000000",
        "2026-11-29T12:00:00Z", "2026-11-29T12:00:00.000000000Z", "2026-11-29T20:00:00+08:00",
        "2026-11-29T20:00:00+0800", "20261129T120000Z", "2026-11-29T12:00Z", "Sun, 29 Nov 2026 20:00:00 +0800",
        "2026-11-29 12:00:00 UTC", "2026-11-29 12:00:00.000 GMT", "2026-11-29 20:00:00 +0800 CST",
        "2026-11-29 12:00:00 +0000 UTC m=+1059.369453470", "2026-11-29 20:00:00 Asia/Shanghai",
        "2026-11-29 07:00:00 America/New_York", "2026-11-29 20:00:00 UTC+8", "2026-11-29T20:00:00 [Asia/Shanghai]",
        "2026-11-29 20:00:00", "2026-11-29 20:00", "2026.11.29 20:00:00", "2026/11/29 20:00:00", "20261129200000",
        20261129200000, "2026年11月29日 20:00:00", "2026年11月29日20时00分", "2026-11-29T20:00:00",
        "2026-11-29 20:00:00 CST", ["", None, "{EVENT.TIMESTAMP}", 0, "2026-11-29 20:00:00", 1],
    ],
)  # fmt: skip
def test_a_time_is_read_however_it_is_written(written: Any) -> None:
    assert read_moment(written, SHANGHAI) == NOON


@pytest.mark.parametrize(
    "written",
    [
        None, True, False, 0, "0", -1, 1, 12345678, "", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z",
        "1970-01-01 08:00:00", "2026-11-29", "2026-11-29 25:00:00", "2026-02-30 10:00:00", "20:00:00", "soon", "now",
        "{EVENT.DATE} {EVENT.TIME}", "2026-11-29 20:00:00 PST", "2026-11-29 20:00:00 Mars/Olympus",
        "2026-11-29 20:00:00 ../../etc/passwd", "2026-11-29 20:00:00 and more", float("nan"), float("inf"), "nan",
        10**30, "9" * 30, {}, [], [None], "9999-12-31T23:59:59Z",
    ],
)  # fmt: skip
def test_what_is_no_time_is_none(written: Any) -> None:
    assert read_moment(written, SHANGHAI) is None


def test_a_local_time_needs_a_zone() -> None:
    assert read_moment("2026-11-29 20:00:00") is None
    assert read_moment("20261129200000") is None
    assert read_moment("2026-11-29 20:00:00 CST", ZoneInfo("America/Chicago")) == NOON + timedelta(hours=14)


MOMENTS = st.integers(1_000_000_000_000, 9_999_999_999_999).map(
    lambda millis: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=millis)
)
OFFSETS = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))


@given(MOMENTS, OFFSETS)
def test_every_moment_is_read_again_from_each_way_to_write_it(moment: datetime, zone: timezone) -> None:
    local = moment.astimezone(zone)
    millis = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    for written in (millis, str(millis), local.isoformat(), f"{local:%Y-%m-%d %H:%M:%S.%f %z}"):
        assert read_moment(written) == moment, written
    for written in (millis / 1000, str(millis / 1000)):
        assert abs(read_moment(written) - moment) < timedelta(milliseconds=1)
    clock = f"{local:%H:%M:%S.%f}"
    for written in (f"{local:%Y-%m-%d} {clock}", f"{local:%Y.%m.%d} {clock}", f"{local:%Y年%m月%d日} {clock}"):
        assert read_moment(written, zone) == moment, written


@given(st.text() | st.text("0123456789-:. TZ+年月日"))
def test_no_text_raises(text: str) -> None:
    found = read_moment(text, SHANGHAI)
    assert found is None or found.tzinfo is UTC
    assert read_span(text) is None or read_span(text) >= 0


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("11s", 11), ("1d 3h 22m 10s", 98530), ("2m 5s", 125), ("1d 0h 0m", 86400), (90, 90), ("90", 90), (1.5, 1.5),
        ("01:02:03", 3723), ("2d 01:02:03", 176523), ("3分钟", 180), ("2 hours", 7200), (0, 0),
        ("{EVENT.DURATION}", None), ("", None), (None, None), (True, None), (-5, None), ("-5", None), ("1e400", None),
        (float("inf"), None), (float("nan"), None), ("900 years", None),
    ],
)  # fmt: skip
def test_a_span_is_read_however_it_is_written(written: Any, seconds: float | None) -> None:
    assert read_span(written) == seconds
