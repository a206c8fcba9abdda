"""Where a chart's ticks stand and what they are called, and what its curves are called."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.pictures.charts import axis, legend

SHANGHAI, BERLIN, KOLKATA = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")


def at(text: str, zone=SHANGHAI) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def told(ticks) -> list[str]:
    return [f"{tick.label}|{tick.date}" if tick.date else tick.label for tick in ticks]


@pytest.mark.parametrize(
    ("start", "end", "zone", "ticks"),
    [  # local times, and the dates that are told below
        ("2026-03-07 13:10:07", "2026-03-07 13:25:07", SHANGHAI, "13:15 13:20 13:25"),
        ("2026-03-07 13:10", "2026-03-07 14:10", KOLKATA, "13:10 13:20 13:30 13:40 13:50 14:00 14:10"),
        ("2026-03-07 21:10", "2026-03-08 03:10", SHANGHAI, "22:00|03-07 23:00 00:00|03-08 01:00 02:00 03:00"),
        ("2026-03-07 13:10", "2026-03-08 13:10", SHANGHAI, "18:00|03-07 00:00|03-08 06:00 12:00"),
        ("2026-03-07 13:10", "2026-03-14 13:10", SHANGHAI, "03-08 03-09 03-10 03-11 03-12 03-13 03-14"),
        ("2026-03-28 20:00", "2026-03-29 08:00", BERLIN, "20:00|03-28 22:00 00:00|03-29 04:00 06:00 08:00"),
        ("2026-10-25 00:00", "2026-10-25 04:30", BERLIN, "00:00 01:00 02:00 03:00 04:00"),
    ],
)  # fmt: skip
def test_times_are_round_on_the_readers_clock(start, end, zone, ticks) -> None:
    assert told(axis.time_ticks(at(start, zone), at(end, zone), zone, 7)) == ticks.split()


def test_thirty_days_have_a_tick_every_few_midnights() -> None:
    ticks = axis.time_ticks(at("2026-03-07 13:10"), at("2026-04-06 13:10"), SHANGHAI, 7)
    assert 4 <= len(ticks) <= 7
    local = [datetime.fromtimestamp(tick.place, SHANGHAI) for tick in ticks]
    assert all(moment.hour == moment.minute == 0 for moment in local)


@given(
    st.floats(0, 4e9),
    st.floats(60, 4e8),
    st.sampled_from([UTC, SHANGHAI, BERLIN, KOLKATA, ZoneInfo("America/St_Johns")]),
    st.integers(2, 9),
)
def test_ticks_of_any_time_are_within_it_in_order_and_not_too_many(start, length, zone, most) -> None:
    ticks = axis.time_ticks(start, start + length, zone, most)
    places = [tick.place for tick in ticks]
    assert places == sorted(set(places))
    assert len(ticks) <= most + 1
    assert all(start <= place <= start + length for place in places)
    for tick in ticks:
        local = datetime.fromtimestamp(tick.place, UTC).astimezone(zone)
        assert tick.label in (f"{local:%H:%M}", f"{local:%H:%M:%S}", f"{local:%m-%d}")


@pytest.mark.parametrize(
    ("low", "high", "unit", "labels"),
    [
        (50, 99, "%", ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        (0.5, 0.99, "ratio", ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        (99.95, 99.99, "%", ["99.95 %", "99.96 %", "99.97 %", "99.98 %", "99.99 %"]),
        (0, 4 * 2**30, "bytes", ["0 GiB", "1 GiB", "2 GiB", "3 GiB", "4 GiB"]),
        (0, 1.2e9, "decbytes", ["0 GB", "0.2 GB", "0.4 GB", "0.6 GB", "0.8 GB", "1.0 GB", "1.2 GB"]),
        (0, 4e6, "bits/s", ["0 Mbit/s", "1 Mbit/s", "2 Mbit/s", "3 Mbit/s", "4 Mbit/s"]),
        (0, 0.4, "seconds", ["0 ms", "100 ms", "200 ms", "300 ms", "400 ms"]),
        (0, 250, "ms", ["0 ms", "50 ms", "100 ms", "150 ms", "200 ms", "250 ms"]),
        (0, 3 * 86400, "seconds", ["0 d", "1 d", "2 d", "3 d"]),
        (0, 0, "", ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (7, 7, "", ["0", "2", "4", "6"]),
        (-3, 2, "°C", ["-3 °C", "-2 °C", "-1 °C", "0 °C", "1 °C", "2 °C"]),
        (0, 5000, "", ["0", "1000", "2000", "3000", "4000", "5000"]),
        (1e12, 1.02e12, "", ["1.000e12", "1.005e12", "1.010e12", "1.015e12", "1.020e12"]),
        (0, 12, "req", ["0 req", "2 req", "4 req", "6 req", "8 req", "10 req", "12 req"]),
    ],
)
def test_values_have_their_unit_and_round_steps(low, high, unit, labels) -> None:
    assert [tick.label for tick in axis.value_axis(low, high, unit, 6).ticks] == labels


def test_counts_have_no_ticks_between_whole_numbers() -> None:
    assert [tick.label for tick in axis.value_axis(0, 1, "", 6, whole=True).ticks] == ["0", "1"]


def test_time_spans_are_in_chinese_for_chinese_readers() -> None:
    assert [tick.label for tick in axis.value_axis(0, 3 * 86400, "seconds", 6, "zh").ticks][-1] == "3 天"


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "%", "ratio", "bytes", "bytes/s", "seconds", "ms", "apples"]),
    st.integers(3, 8),
    st.booleans(),
)
def test_an_axis_of_any_values_shows_them_all_with_ticks_that_differ(one, other, unit, most, whole) -> None:
    low, high = sorted((one, other))
    found = axis.value_axis(low, high, unit, most, whole=whole)
    assert found.low < found.high
    nothing = 1 / axis.LIMIT
    assert found.low <= max(low, -axis.LIMIT) + nothing
    assert found.high >= min(high, axis.LIMIT) - nothing
    assert math.isfinite(found.high / 2 - found.low / 2)
    labels = [tick.label for tick in found.ticks]
    assert len(labels) <= most + 2
    assert len(set(labels)) == len(labels)
    assert all(
        found.low - abs(found.low) / 1e6 <= tick.place <= found.high + abs(found.high) / 1e6 for tick in found.ticks
    )
    assert all(len(label) < 24 for label in labels)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (92.25, "%", "92.3 %"),
        (1.5 * 2**30, "bytes", "1.5 GiB"),
        (633.1133, "", "633.1"),
        (123456, "", "123456"),
        (1.7e308, "", "1.7e308"),
        (1.234e-7, "", "1.23e-7"),
        (3, "apples", "3 apples"),
        (4e12, "apples", "4e12 apples"),
        (math.inf, "", "+Inf"),
        (-math.inf, "bytes", "-Inf"),
        (0.0, "", "0"),
    ],
)
def test_figures_of_the_legend_are_short(value, unit, text) -> None:
    assert axis.told(value, unit, "en") == text


def test_values_that_differ_little_are_told_with_the_digits_in_which_they_differ() -> None:
    narrow = axis.value_axis(0.9991, 0.9999, "ratio", 6)
    assert narrow.told(0.99912, "ratio", "en") != narrow.told(0.99918, "ratio", "en")


def test_curves_are_called_by_what_tells_them_apart() -> None:
    pods = [{"__name__": "up", "job": "node", "instance": f"web-{number}"} for number in (1, 2)]
    assert legend.names(pods) == ["web-1", "web-2"]
    assert legend.common(pods) == {"job": "node"}
    assert legend.names([{"cpu": "0", "mode": "user"}, {"cpu": "1", "mode": "user"}]) == ["cpu=0", "cpu=1"]
    assert legend.names([{"a": "x1", "b": "y1"}, {"a": "x1", "b": "y2"}, {"a": "x2", "b": "y2"}])[0] == "x1 · y1"
    assert legend.names([{"__name__": "node_load1"}, {"__name__": "node_load5"}]) == ["node_load1", "node_load5"]
    assert legend.names([{"__name__": "up", "instance": "db-1"}]) == ["db-1"]
    assert legend.names([]) == []


def test_many_labels_keep_their_names() -> None:
    wide = [{name: f"{name}-{number}" for name in "abcd"} for number in (1, 2)]
    assert legend.names(wide)[0] == "a=a-1 · b=b-1 · c=c-1 · d=d-1"


def test_the_zone_is_told_as_its_distance_from_utc() -> None:
    start = at("2026-03-07 13:40")
    assert axis.period(start, start + 1800, SHANGHAI) == "03-07 13:40 – 14:10 UTC+8"
    assert axis.period(start, start + 86400, KOLKATA) == "03-07 11:10 – 03-08 11:10 UTC+5:30"
    assert axis.period(start, start + 1800, ZoneInfo("UTC")) == "03-07 05:40 – 06:10 UTC"
