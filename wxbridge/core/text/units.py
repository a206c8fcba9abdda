"""Write numbers, durations and moments as a person does: 92.3 %, 1.2 GiB, 350 ms, 2 h 5 min, 03-07 14:05."""

from __future__ import annotations

import math
import re
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal

from wxbridge.core.model import Value
from wxbridge.core.text.i18n import Language, say

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_BITS = ("bit", "kbit", "Mbit", "Gbit", "Tbit", "Pbit")
_DECIMAL_BYTES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_SCALES = {"bytes": (_BINARY, 1024), "decbytes": (_DECIMAL_BYTES, 1000), "bits": (_BITS, 1000)}

# What people, Prometheus and Grafana call the same thing. Case counts: `b` is a bit and `B` a byte.
_NAMES = {
    "percent": ("%", "percent", "pct"),
    "ratio": ("ratio", "percentunit"),
    "bytes": ("bytes", "byte", "B", "By"),
    "decbytes": ("decbytes",),
    "bits": ("bits", "bit", "b", "decbits"),
    "bytes/s": ("bytes/s", "B/s", "Bps", "binBps", "By/s", "bytes/sec"),
    "bits/s": ("bits/s", "bit/s", "bps", "b/s", "bits/sec"),
    "seconds": ("seconds", "second", "s", "sec", "dtdurations"),
    "ms": ("ms", "milliseconds", "millisecond"),
    "us": ("us", "µs", "μs", "microseconds"),
    "ns": ("ns", "nanoseconds"),
    "": ("", "short", "none", "number", "1"),
    "°C": ("celsius", "°C"),
}
_UNITS = {name: unit for unit, names in _NAMES.items() for name in names}
_SECONDS = {"seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

# Prometheus, "Metric and label naming": a name ends in its base unit, a counter in `_total` after it.
_METRIC = re.compile(
    r"[a-zA-Z_:][a-zA-Z0-9_:]*_(bytes|seconds|ratio|percent|celsius|milliseconds)(?:_total)?(?:\{[^{}]*\})?"
)
_TIMESTAMP_SUFFIXES = ("_time_seconds", "_timestamp_seconds", "_created_seconds")
"""Of metrics that are moments, not durations."""
_DURATION_UNITS = (("units.days", 86400), ("units.hours", 3600), ("units.minutes", 60), ("units.seconds", 1))
"""Their texts, and how many seconds they are."""
_DIGITS = 6
_PLACES_OF_LONG_NUMBERS = 3
_SHORTEST_LONG_SECONDS = 60.0
"""From here on durations are written in minutes, hours, days."""


def format_duration(seconds: float, language: Language) -> str:
    """Write a duration in at most two units: `42 min`, `2 h 5 min`, `3 d 4 h`."""
    left, words = max(0, round(seconds)), []
    for unit, size in _DURATION_UNITS:
        count, left = divmod(left, size)
        if count:
            words.append(say(unit, language, n=count))
        elif words:
            break
    return say("units.and", language).join(words[:2]) or say("units.no_time", language)


def format_number(value: float | Decimal) -> str:
    """Write a number of unknown unit as it is, without separators and exponent.

    Every digit before the point is kept. Fractions have six significant digits; behind six or more digits, three
    places.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    written = repr(value) if isinstance(value, float) else ""
    # Of so few digits none is rounded away.
    if 0 < len(written) <= _DIGITS + 1 and "e" not in written:
        return _strip_zeros(written)
    exact = Decimal(written or value)
    before = exact.adjusted() + 1
    digits = _DIGITS if before < _DIGITS else before + _PLACES_OF_LONG_NUMBERS
    return _plain(Context(prec=digits).create_decimal(exact))


def _plain(rounded: Decimal) -> str:
    return _strip_zeros(format(rounded, "f"))


def _strip_zeros(text: str) -> str:
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def format_quantity(value: float, unit: str, language: Language = "en") -> str:
    """Write a number with its unit: `92.3 %`, `1.2 GiB`, `350 ms`.

    `unit` is what a monitor calls it: `%`, `ratio` (1 is 100 %), `bytes`, `bits`, `B/s`, `seconds`, `ms` and their
    synonyms in Prometheus and Grafana. A number of unknown (empty) unit is written by `format_number`; one of a unit
    that nothing is known about is written so too, with the unit behind it.
    """
    known = _UNITS.get(unit.strip())
    if known == "" or not math.isfinite(value):
        return format_number(value)
    if known is None or known == "°C":
        return f"{format_number(value)} {known or unit.strip()}"
    if known in ("percent", "ratio"):
        return f"{_percent(value * (100 if known == 'ratio' else 1))} %"
    if known in _SECONDS:
        return _span(value * _SECONDS[known], language)
    kind, _, per = known.partition("/")
    names, step = _SCALES[kind]
    return _scaled(value, names, step) + (f"/{per}" if per else "")


def infer_unit(value: Value, fallback: str = "") -> str:
    """Return the unit of a value: its own, else `fallback`, else what its name says if it is a metric's.

    Only a whole metric name in Prometheus's convention counts (`node_memory_free_bytes`), never a caption.
    """
    unit = value.unit or fallback
    if unit:
        return unit
    found = _METRIC.fullmatch(value.name)
    if not found or value.name.split("{", maxsplit=1)[0].removesuffix("_total").endswith(_TIMESTAMP_SUFFIXES):
        return ""
    # Many a ratio is a percentage in truth; written as it is, neither is wrong.
    return "" if found[1] == "ratio" and abs(value.number or 0) > 1 else found[1]


def format_moment(at: datetime, timezone: tzinfo, now: datetime) -> str:
    """Write a time on the reader's clock, with the date where it is not today's, the year where not this one's.

    Raises:
        OverflowError: it is so near the year 1 or 9999 that there is no such local time.
    """
    local, today = at.astimezone(timezone), now.astimezone(timezone)
    if local.date() == today.date():
        return f"{local:%H:%M}"
    return f"{local:%m-%d %H:%M}" if local.year == today.year else f"{local.year:04}-{local:%m-%d %H:%M}"


def _round(value: float, digits: int = 3) -> Decimal:
    """Round to `digits` significant digits, but never to fewer than the whole number has."""
    exact = Decimal(repr(float(value)))
    return Context(prec=max(digits, exact.adjusted() + 1, 1), rounding=ROUND_HALF_UP).create_decimal(exact)


def _percent(value: float) -> str:
    """Write a percentage so that what is not quite 100 % never looks like it."""
    digits = next((count for count in (3, 4, 5) if _round(value, count) != 100 or value == 100), 6)  # noqa: PLR2004
    return _plain(_round(value, digits))


def _scaled(value: float, names: tuple[str, ...], step: int) -> str:
    size, place = value, 0
    while place < len(names) - 1 and abs(_round(size)) >= step:
        size, place = size / step, place + 1
    return f"{_plain(_round(size))} {names[place]}"


def _span(seconds: float, language: Language) -> str:
    if abs(_round(seconds)) >= _SHORTEST_LONG_SECONDS:
        return ("-" if seconds < 0 else "") + format_duration(abs(seconds), language)
    for name, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(_round(seconds / size)) >= 1:
            return f"{_plain(_round(seconds / size))} {name}"
    return f"{_plain(_round(seconds / 1e-9))} ns" if seconds else "0 s"
