"""Where a chart's axes have their ticks, and what these are called: local times, and values in their unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from wxbridge.core.text.i18n import Language, has_text, say
from wxbridge.core.text.units import format_quantity

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIME_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * count for count in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * count for count in (1, 2, 3, 6, 12)),
    *(_DAY * count for count in (1, 2, 5, 7, 14, 30, 60, 90, 180, 365)),
)
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = ("", "k", "M", "G", "T", "P", "E")
_SECONDS = {"seconds": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_SPANS = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_STEPS = {
    "%": (1.0, 2.0, 5.0, 10.0, 20.0, 25.0, 50.0),
    "min": (1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    "d": (1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    "h": (0.5, 1.0, 2.0, 3.0, 6.0, 12.0, 24.0),
}
_PLAIN = {"none", "short", "number", "1"}
_PERCENT = {"%": 1.0, "percent": 1.0, "ratio": 0.01, "percentunit": 0.01}
_SCALED = {
    "bytes": (1024, _BINARY, "B"),
    "B": (1024, _BINARY, "B"),
    "bytes/s": (1024, _BINARY, "B/s"),
    "B/s": (1024, _BINARY, "B/s"),
    "decbytes": (1000, _DECIMAL, "B"),
    "bits": (1000, _DECIMAL, "bit"),
    "bits/s": (1000, _DECIMAL, "bit/s"),
    "bps": (1000, _DECIMAL, "bit/s"),
}
_CONSTANT = 1e-11
"""A smaller share of the values than this is no change: it is below what a double keeps through arithmetic."""
_HEADROOM = 0.08
_NARROW = 0.05
"""Percentages that differ by less than this (of 100 %) are shown without their zero."""
_ALIKE = 0.05
"""Values within so small a share of their size are written with the axis's digits."""
_SLACK = 0.88
"""A round step may be so much smaller than the number of ticks asks for."""
_LARGE, _SMALL = 1e9, 1e-4
"""Numbers of no known unit beyond these are written with an exponent."""
LIMIT = 1e300
"""No value is drawn beyond this: the sum of two would overflow."""


@dataclass(frozen=True)
class Tick:
    """A tick at `place` (seconds, or a value), what it is called, and the date where that has to be told."""

    place: float
    label: str
    date: str = ""


@dataclass(frozen=True)
class ValueAxis:
    """The values at the lower and the upper edge, and the ticks between them."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    size: float
    """What one on the axis is, in the values' own unit."""
    name: str
    """What that is called: `GiB`."""
    step: float
    """From tick to tick, as written."""

    def told(self, value: float, unit: str, language: Language) -> str:
        """Write a value for the legend: as in texts, with more digits where only those tell the values apart."""
        if not math.isfinite(value) or self.high - self.low > _ALIKE * max(abs(self.low), abs(self.high)):
            return told(value, unit, language)
        step = self.step / 10
        return _named(_written(value / self.size, step, abs(value) / self.size), self.name)


# ---------------------------------------------------------------- time


def time_ticks(start: float, end: float, zone: tzinfo, most: int) -> tuple[Tick, ...]:
    """At most `most` ticks at round local times between two moments (seconds since the epoch)."""
    step = next((step for step in _TIME_STEPS if (end - start) / step <= most), _TIME_STEPS[-1])
    while (end - start) / step > most:
        step *= 2
    dated = step < _DAY and _local(start, zone).date() != _local(end, zone).date()
    ticks: list[Tick] = []
    seen = None
    for place in _times(start, end, zone, step):
        local = _local(place, zone)
        date = f"{local:%m-%d}" if dated and local.date() != seen else ""
        seen = local.date()
        label = f"{local:%m-%d}" if step >= _DAY else f"{local:%H:%M:%S}" if step < _MINUTE else f"{local:%H:%M}"
        ticks.append(Tick(place, label, date))
    return tuple(ticks)


def _local(at: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone(zone)


def _times(start: float, end: float, zone: tzinfo, step: int) -> Iterator[float]:
    if step < _HOUR:
        # Zones differ from UTC by quarters of an hour, in winter and in summer; only those need the offset.
        offset = (_local(start, zone).utcoffset() or timedelta()).total_seconds()
        place = math.ceil((start + offset) / step) * step - offset
        while place <= end:
            if place >= start:  # else it was moved by rounding
                yield place
            place += step
        return
    local = _local(start, zone).replace(tzinfo=None)
    hours = max(1, step // _HOUR)
    if step < _DAY:
        local = local.replace(hour=local.hour // hours * hours, minute=0, second=0, microsecond=0)
    else:
        days = step // _DAY
        local = datetime.fromordinal(max(1, local.toordinal() // days * days))
    while True:
        place = local.replace(tzinfo=zone).timestamp()
        if place > end:
            return
        # An hour that a clock leaves out in spring is none.
        if place >= start and _local(place, zone).replace(tzinfo=None) == local:
            yield place
        local += timedelta(seconds=step)


def period(start: float, end: float, zone: tzinfo) -> str:
    """The time shown, in words: `03-07 13:40 – 14:10 UTC+8`."""
    first, last = _local(start, zone), _local(end, zone)
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%m-%d %H:%M}"
    return f"{first:%m-%d %H:%M} – {until} {zone_name(last)}"


def zone_name(at: datetime) -> str:
    """How far the clock is from UTC, since names like CST mean several things."""
    minutes = round((at.utcoffset() or timedelta()).total_seconds() / 60)
    if not minutes:
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")


def clock(at: float, zone: tzinfo, *, near: float) -> str:
    """A moment, with its date where that is another one than at `near`."""
    local = _local(at, zone)
    return f"{local:%H:%M}" if local.date() == _local(near, zone).date() else f"{local:%m-%d %H:%M}"


# ---------------------------------------------------------------- values


def value_axis(
    low: float, high: float, unit: str, most: int, language: Language = "en", *, whole: bool = False
) -> ValueAxis:
    """Choose the edges of an axis that shows all from `low` to `high` (finite), and `most` ticks or so.

    There are at most two ticks more. `whole` is for counts: there is no tick between 0 and 1.
    """
    low, high = _edges(max(-LIMIT, low), min(LIMIT, high), _PERCENT.get(unit))
    size, name = _scale(max(abs(low), abs(high)), unit)
    step = _step((high - low) / size / most, name)
    if whole and size == 1:
        step = max(1.0, step)
    first = math.ceil(low / size / step - 1e-9)
    last = math.floor(high / size / step + 1e-9)
    largest = max(abs(first), abs(last)) * step
    shown = say(key, language) if unit in _SECONDS and has_text(key := f"pictures.chart.unit.{name}") else name
    ticks = tuple(
        Tick(number * step * size, _named(_written(number * step, step, largest), shown))
        for number in range(first, last + 1)
    )
    return ValueAxis(low, high, ticks, size, shown, step)


def _named(number: str, name: str) -> str:
    return f"{number} {name}" if name else number


def _edges(low: float, high: float, percent: float | None) -> tuple[float, float]:
    largest = max(abs(low), abs(high))
    if largest < 1 / LIMIT:
        return 0.0, (100 * percent if percent else 1.0)
    if high - low <= _CONSTANT * largest:
        low, high = min(0.0, low), max(0.0, high)
    elif low > 0 and (low < high / 2 if percent is None else high - low > _NARROW * 100 * percent):
        low = 0.0
    elif high < 0 and high > low / 2:
        high = 0.0
    room = (high - low) * _HEADROOM
    top = 100 * percent if percent else None
    if top is not None and low >= 0 and top * 0.6 < high <= top and low == 0:
        return 0.0, top * 1.03
    return (low - room if low else low), (high + room if high else high)


def _scale(largest: float, unit: str) -> tuple[float, str]:
    """The size of one on the axis, and its name."""
    if unit in _PERCENT:
        return _PERCENT[unit], "%"
    if unit in _SECONDS:
        size = next(
            (each for each in _SPANS if largest * _SECONDS[unit] >= each[0] * (2 if each[0] > 1 else 1)), _SPANS[-1]
        )
        return size[0] / _SECONDS[unit], size[1]
    if unit in _SCALED:
        base, names, what = _SCALED[unit]
        place = 0
        while place < len(names) - 1 and largest >= base ** (place + 1):
            place += 1
        return float(base**place), names[place] + what
    return 1.0, "" if unit in _PLAIN else {"celsius": "°C"}.get(unit, unit)


def _step(least: float, name: str) -> float:
    steps = _STEPS.get(name, ())
    if steps and least > steps[0] / 2:
        for step in steps:
            if step >= least * _SLACK:
                return step
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= least * _SLACK)


def _written(value: float, step: float, largest: float) -> str:
    """With as many decimals as the step has; 0 is 0."""
    if not value:
        return "0"
    places = -math.floor(math.log10(step) + 1e-9)
    if largest >= _LARGE or step < _SMALL / 10:
        digits = max(0, math.floor(math.log10(abs(value)) + 1e-9) + places)
        mantissa, _, power = f"{value:.{digits}e}".partition("e")
        return f"{mantissa}e{int(power)}"
    return f"{value:.{max(0, places)}f}"


def told(value: float, unit: str, language: Language) -> str:
    """A value for the legend: as everywhere in texts, but with an exponent where it would be too long."""
    if unit in _PLAIN or (math.isfinite(value) and _scale(abs(value), unit)[0] == 1.0 and unit not in _SECONDS):
        size = abs(value)
        if value and math.isfinite(value) and not (_SMALL <= size < _LARGE):
            mantissa, _, power = f"{value:.3g}".partition("e") if size >= _LARGE else f"{value:.2e}".partition("e")
            return f"{mantissa}e{int(power)}" + ("" if unit in _PLAIN or not unit else f" {unit}")
        if not unit or unit in _PLAIN:
            rounded = float(f"{value:.4g}") if math.isfinite(value) and size < 10_000 else value  # noqa: PLR2004
            return format_quantity(rounded, "", language)
    return format_quantity(value, unit, language)
