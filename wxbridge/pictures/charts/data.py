"""A chart's points made ready for drawing: which curves, their figures, and no more points than pixels can show."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import copysign, inf, isfinite, isnan, nan
from statistics import median

from wxbridge.core.thresholds import badness
from wxbridge.pictures.charts import legend
from wxbridge.pictures.charts.axis import LIMIT
from wxbridge.pictures.charts.chart import MAX_CURVES, WIDTH, Chart, Curve, PackedChart

Values = list[float]

_MIN_RUNS = 8
"""Stretches of the same value from which it can be told how long a sample is repeated."""
_MAX_STEP_VALUES = 12
"""Whole numbers that take so few values are drawn as steps."""


@dataclass
class PreparedCurve:
    """A curve made ready: `at` and `values` are reduced to what pixels can show, the figures are of all its points.

    A value beyond `LIMIT` is infinite, a gap is NaN.
    """

    name: str
    curve: Curve
    at: Values
    values: Values
    colour: str = ""
    dashes: tuple[float, ...] = ()
    minimum: float = math.nan
    maximum: float = math.nan
    last: float = math.nan
    worst: float = -math.inf
    """Its `badness`."""


@dataclass(frozen=True)
class ChosenCurves:
    """What of a chart's curves is drawn: the worst first."""

    lines: tuple[PreparedCurve, ...]
    references: tuple[PreparedCurve, ...]
    others: int
    """How many are left out."""
    shared: str
    """The labels that all have, in one line."""


def lines_of(packed: PackedChart, unnamed: str) -> ChosenCurves:
    """Choose and reduce the curves; `unnamed` is what one is called that neither name nor labels tell from others."""
    chart = packed.chart
    values = [curve for curve in chart.curves if not curve.reference]
    named = iter(legend.names([curve.labels for curve in values]))
    lines: list[PreparedCurve] = []
    references: list[PreparedCurve] = []
    for curve, data in zip(chart.curves, packed.data, strict=True):
        name = curve.name if curve.reference else curve.name or next(named)
        if curve.name and not curve.reference:
            next(named)
        (references if curve.reference else lines).append(_line(curve, name or unnamed, data, chart))
    shared = "" if any(curve.name for curve in values) else legend.line(legend.common([each.labels for each in values]))
    lines.sort(key=lambda line: -line.worst)
    others = chart.others + max(0, len(lines) - MAX_CURVES)
    return ChosenCurves(tuple(lines[:MAX_CURVES]), tuple(references[:MAX_CURVES]), others, shared)


def _line(curve: Curve, name: str, data: bytes, chart: Chart) -> PreparedCurve:
    numbers = array("d")
    numbers.frombytes(data)
    at, values = numbers[0::2].tolist(), numbers[1::2].tolist()
    if any(later < earlier for earlier, later in pairwise(at)):
        order = sorted(range(len(at)), key=at.__getitem__)
        at, values = [at[place] for place in order], [values[place] for place in order]
    within = slice(bisect_left(at, chart.start), bisect_right(at, chart.end))
    at, values = at[within], values[within]
    line = PreparedCurve(name, curve, at, values)
    known = [value for value in values if not isnan(value)]
    if known:
        line.minimum, line.maximum, line.last = min(known), max(known), known[-1]
        line.worst = badness(line.minimum, line.maximum, chart.thresholds)
    line.at, line.values = _reduced(*_stepped(*_sampled(at, values)), chart)
    line.values = [value if abs(value) < LIMIT or isnan(value) else copysign(inf, value) for value in line.values]
    return line


def _sampled(at: Values, values: Values) -> tuple[Values, Values]:
    """Undo that a range query repeats each sample until the next: stairs that nobody measured.

    Of a value's stretch of about the usual length its first point is kept, of a longer one the place of its last
    sample too, so that what stayed and then jumped does not become a slope.
    """
    if not values:
        return at, values
    starts = [place for place in range(len(values)) if not place or values[place] != values[place - 1]]
    stretches = [*zip(starts, [*starts[1:], len(values)], strict=True)]
    measured = [end - start for start, end in stretches if not isnan(values[start])]
    if len(measured) < _MIN_RUNS:
        return at, values
    usual = int(median(measured))
    if usual < 2:  # noqa: PLR2004 - nothing is repeated
        return at, values
    kept = {*starts, *(end - usual for start, end in stretches if end - start > 1.5 * usual + 1)}
    # A line reaches to where its gap begins, and to the end.
    kept |= {place - 1 for place in starts if place and isnan(values[place])}
    kept.add(len(values) - 1)
    places = sorted(kept)
    return [at[place] for place in places], [values[place] for place in places]


def _stepped(at: Values, values: Values) -> tuple[Values, Values]:
    """Whole numbers of few kinds, as states and counts are, change at once and not along a slope."""
    numbers = [value for value in values if isfinite(value)]
    if len(numbers) < 3 or not all(map(float.is_integer, numbers)) or len({*numbers}) > _MAX_STEP_VALUES:  # noqa: PLR2004
        return at, values
    if sum(before != after for before, after in pairwise(numbers)) > len(numbers) / 3:
        return at, values
    held_at, held = at[:1], values[:1]
    for place, before, value in zip(at[1:], values, values[1:], strict=False):
        held_at += (place, place)
        held += (nan if isnan(value) else before, value)
    return held_at, held


def _reduced(at: Values, values: Values, chart: Chart) -> tuple[Values, Values]:
    """Keep of each pixel's column the first, lowest, highest and last value, and every gap: it looks the same."""
    if len(at) <= 4 * WIDTH:
        return at, values
    start, scale = chart.start, WIDTH / (chart.end - chart.start)
    columns = [(int((place - start) * scale), isnan(value)) for place, value in zip(at, values, strict=True)]
    starts = [0, *(place for place in range(1, len(columns)) if columns[place] != columns[place - 1])]
    kept_at: Values = []
    kept: Values = []
    for first, end in zip(starts, [*starts[1:], len(at)], strict=True):
        of_column = values[first:end]
        kept_at += (at[first], at[first], at[end - 1], at[end - 1])
        kept += (of_column[0], min(of_column), max(of_column), of_column[-1])
    return kept_at, kept
