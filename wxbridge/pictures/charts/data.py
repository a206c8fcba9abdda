"""A chart's points made ready for drawing: which curves, their figures, and no more points than pixels can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wxbridge.core.thresholds import badness
from wxbridge.pictures.charts import legend
from wxbridge.pictures.charts.axis import LIMIT
from wxbridge.pictures.charts.chart import MAX_CURVES, WIDTH, Chart, Curve, PackedChart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

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
    import numpy as np

    pairs = np.frombuffer(data, dtype=np.float64).reshape(-1, 2)
    at, values = pairs[:, 0], pairs[:, 1]
    within = (at >= chart.start) & (at <= chart.end)
    at, values = at[within], values[within]
    if len(at) > 1 and np.any(np.diff(at) < 0):
        order = np.argsort(at, kind="stable")
        at, values = at[order], values[order]
    line = PreparedCurve(name, curve, at, values)
    numbers = values[~np.isnan(values)]
    if len(numbers):
        line.minimum, line.maximum, line.last = float(numbers.min()), float(numbers.max()), float(numbers[-1])
        line.worst = badness(line.minimum, line.maximum, chart.thresholds)
    at, values = _stepped(*_sampled(at, values))
    line.at, line.values = _reduced(at, np.clip(values, -LIMIT, LIMIT), chart)
    line.values = np.where(np.abs(line.values) >= LIMIT, np.copysign(math.inf, line.values), line.values)
    return line


def _sampled(at: Values, values: Values) -> tuple[Values, Values]:
    """Undo that a range query repeats each sample until the next: stairs that nobody measured.

    Of a value's stretch of about the usual length its first point is kept, of a longer one the place of its last
    sample too, so that what stayed and then jumped does not become a slope.
    """
    import numpy as np

    changed = np.r_[True, values[1:] != values[:-1]] if len(values) else np.zeros(0, dtype=bool)
    starts = np.flatnonzero(changed)
    lengths = np.diff(np.r_[starts, len(values)])
    measured = ~np.isnan(values[starts])
    if np.count_nonzero(measured) < _MIN_RUNS:
        return at, values
    usual = int(np.median(lengths[measured]))
    if usual < 2:  # noqa: PLR2004 - nothing is repeated
        return at, values
    kept = changed
    long = lengths > 1.5 * usual + 1
    kept[(starts + lengths - usual)[long]] = True
    # A line reaches to where its gap begins, and to the end.
    kept[:-1] |= np.isnan(values[1:])
    kept[-1] = True
    return at[kept], values[kept]


def _stepped(at: Values, values: Values) -> tuple[Values, Values]:
    """Whole numbers of few kinds, as states and counts are, change at once and not along a slope."""
    import numpy as np

    numbers = values[np.isfinite(values)]
    if len(numbers) < 3 or np.any(numbers != np.rint(numbers)) or len(np.unique(numbers)) > _MAX_STEP_VALUES:  # noqa: PLR2004
        return at, values
    if np.count_nonzero(np.diff(numbers)) > len(numbers) / 3:
        return at, values
    held = np.empty(2 * len(values) - 1)
    held[0::2], held[1::2] = values, np.where(np.isnan(values[1:]), np.nan, values[:-1])
    return np.repeat(at, 2)[1:], held


def _reduced(at: Values, values: Values, chart: Chart) -> tuple[Values, Values]:
    """Keep of each pixel's column the first, lowest, highest and last value, and every gap: it looks the same."""
    import numpy as np

    if len(at) <= 4 * WIDTH:
        return at, values
    column = np.floor((at - chart.start) / (chart.end - chart.start) * WIDTH)
    gap = np.isnan(values)
    new = np.flatnonzero((np.diff(column) != 0) | (np.diff(gap.view(np.int8)) != 0)) + 1
    starts = np.concatenate(([0], new))
    ends = np.concatenate((new - 1, [len(at) - 1]))
    kept_at = np.stack((at[starts], at[starts], at[ends], at[ends]), axis=1).ravel()
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    kept = np.stack((values[starts], low, high, values[ends]), axis=1).ravel()
    return kept_at, kept
