"""Numbers, units, spans and moments as a person writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wxbridge.alerts.alert_text import write_value
from wxbridge.core.model import Value
from wxbridge.core.text.units import format_duration, format_moment, format_number, format_quantity, infer_unit


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (92.25, "92.25"),
        (100.0, "100"),
        (0.0, "0"),
        (-0.0, "0"),
        (1234567.0, "1234567"),
        (123456.7, "123456.7"),
        (1234567.891, "1234567.891"),
        (3286706.6306156404, "3286706.631"),
        (12345.678, "12345.7"),
        (20261129004471, "20261129004471"),
        (1234567890123456789, "1234567890123456789"),
        (1e12, "1000000000000"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333"),
        (2 / 3, "0.666667"),
        (0.00001234567, "0.0000123457"),
        (-1500.5, "-1500.5"),
        (999999.5, "999999.5"),
        (99999.97, "100000"),
        (1e-7, "0.0000001"),
        (9.999999, "10"),
        (float("nan"), "NaN"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (7, "7"),
    ],
)
def test_a_number_is_written_as_it_is(value: float, written: str) -> None:
    assert format_number(value) == written


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(1.7976931348623157e308)
def test_every_number_keeps_what_is_before_its_point_and_six_digits_or_three_places(value: float) -> None:
    written = format_number(value)
    assert re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9])?", written), "no separators, prefixes, exponents or idle zeros"
    exact = Decimal(repr(value))
    unit = Decimal(1).scaleb(max(exact.adjusted() - 5, -3) if exact.adjusted() >= 5 else exact.adjusted() - 5)
    assert abs(Decimal(written) - exact) <= min(unit, Decimal("0.1")) / 2 if exact else written == "0"
    assert written != "-0"


@given(st.integers(-999_999, 999_999), st.integers(0, 5))
def test_a_number_that_fits_into_six_digits_stays_exact(digits: int, places: int) -> None:
    assert Decimal(format_number(digits / 10**places)) == Decimal(digits).scaleb(-places)


# ---------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (92.25, "%", "92.3 %"),
        (100, "percent", "100 %"),
        (99.97, "%", "99.97 %"),
        (99.9999, "%", "99.9999 %"),
        (0.9225, "ratio", "92.3 %"),
        (0.07, "percentunit", "7 %"),
        (1234.5, "%", "1235 %"),
        (1.2 * 2**30, "bytes", "1.2 GiB"),
        (1023.99 * 1024, "bytes", "1 MiB"),
        (512, "B", "512 B"),
        (-2048, "bytes", "-2 KiB"),
        (1.5e6, "decbytes", "1.5 MB"),
        (12.34e6, "bits", "12.3 Mbit"),
        (12.34e6, "bps", "12.3 Mbit/s"),
        (3 * 2**20, "B/s", "3 MiB/s"),
        (350, "ms", "350 ms"),
        (0.35, "seconds", "350 ms"),
        (1.5, "s", "1.5 s"),
        (0.0000421, "seconds", "42.1 µs"),
        (1e-9, "seconds", "1 ns"),
        (0, "seconds", "0 s"),
        (754, "s", "12 min 34 s"),
        (-7200, "s", "-2 h"),
        (59.99, "s", "1 min"),
        (23.5, "celsius", "23.5 °C"),
        (1234567, "req/s", "1234567 req/s"),
        (1234567, "", "1234567"),
        (1234567, "short", "1234567"),
        (float("nan"), "bytes", "NaN"),
        (float("inf"), "%", "+Inf"),
    ],
)
def test_a_figure_of_a_known_unit_is_written_as_a_person_would(value: float, unit: str, written: str) -> None:
    assert format_quantity(value, unit) == written


@given(
    st.floats(),
    st.sampled_from(["%", "ratio", "bytes", "decbytes", "bits", "B/s", "bps", "s", "ms", "us", "ns", "℃", ""]),
)
def test_every_figure_is_one_short_line_without_an_exponent(value: float, unit: str) -> None:
    written = format_quantity(value, unit)
    assert "\n" not in written
    assert not re.search(r"[0-9]e[+-]?[0-9]", written, re.IGNORECASE)


@given(st.floats(0, 99.9999), st.sampled_from([1.0]))
@example(99.99949, 1.0)
def test_what_is_not_quite_all_never_looks_like_all(value: float, factor: float) -> None:
    assert format_quantity(value * factor, "%") != "100 %"


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (Value("node_memory_free_bytes", 1.0), "bytes"),
        (Value('node_filesystem_avail_bytes{instance="a", device="b"}', 1.0), "bytes"),
        (Value("http_request_duration_seconds", 1.0), "seconds"),
        (Value("node_network_receive_bytes_total", 1.0), "bytes"),
        (Value("job:errors_ratio", 0.5), "ratio"),
        (Value("job:errors_ratio", 95.0), ""),
        (Value("disk_used_percent", 1.0), "percent"),
        (Value("node_boot_time_seconds", 1.7e9), ""),
        (Value("backup_last_timestamp_seconds", 1.7e9), ""),
        (Value("free bytes", 1.0), ""),
        (Value("rate(x_bytes[5m])", 1.0), ""),
        (Value("x_bytes_count", 1.0), ""),
        (Value("bytes", 1.0), ""),
        (Value("CPU %", 1.0), ""),
        (Value("free_bytes", 1.0, unit="%"), "%"),
    ],
)
def test_a_unit_is_known_from_the_sender_or_from_a_whole_metric_name_only(value: Value, unit: str) -> None:
    assert infer_unit(value) == unit


def test_the_alerts_unit_counts_before_what_a_name_seems_to_say() -> None:
    assert infer_unit(Value("x_seconds", 1.0), "ms") == "ms"
    assert write_value(Value("latency", 350.0), "en", "ms") == "latency: 350 ms"


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [(0, "0 s", "0秒"), (59.6, "1 min", "1分钟"), (7500, "2 h 5 min", "2小时5分钟"), (86400 * 3 + 60, "3 d", "3天")],
)
def test_a_span_is_told_in_two_units_at_most(seconds: float, english: str, chinese: str) -> None:
    assert (format_duration(seconds, "en"), format_duration(seconds, "zh")) == (english, chinese)


def test_a_moment_is_local_with_its_date_where_it_is_not_today() -> None:
    now, zone = datetime(2026, 3, 7, 17, 0, tzinfo=UTC), ZoneInfo("Asia/Shanghai")
    moments = [now.replace(hour=16), now.replace(hour=15), datetime(2025, 12, 31, 16, 0, tzinfo=UTC),
               datetime(2025, 12, 31, 15, 59, tzinfo=UTC)]  # fmt: skip
    assert [format_moment(at, zone, now) for at in moments] == [
        "00:00", "03-07 23:00", "01-01 00:00", "2025-12-31 23:59",
    ]  # fmt: skip
