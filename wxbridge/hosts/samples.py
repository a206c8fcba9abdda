"""Samples in memory: every one of the last hours, and the means and maxima of minutes for a day.

A sample is taken at a moment (seconds since the epoch) and tells figures by name: `cpu`, `memory`, `disk:/data`, …
(`figures` has the list). Figures are kept as columns of 4-byte floats: 10 figures every 10 s take 0.2 MB a machine.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

SAMPLES_KEPT_SECONDS = 6 * 3600.0
"""Seconds for which every sample is kept."""
MINUTES_KEPT_SECONDS = 26 * 3600.0
"""Seconds for which minutes are kept: a day, and what is needed around it."""
MAX_GAP_INTERVALS = 2.5
"""Intervals between two samples beyond which something is missing between them."""
_MINUTE_SECONDS = 60.0

Points = tuple[tuple[float, float | None], ...]
"""Seconds since the epoch, and a value; None is a gap."""


@dataclass(frozen=True)
class Sample:
    """What was measured of a machine at a moment."""

    at: float
    figures: Mapping[str, float]


class SampleRing:
    """Figures over the last so many seconds, in the order of their times.

    A sample that is older than the last one (a clock was set back) takes the place of all that seem to be later.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.at = array("d")
        self._columns: dict[str, array[float]] = {}

    def add(self, at: float, figures: Mapping[str, float]) -> None:
        """Add a sample, and forget what is too old."""
        if self.at and at <= self.at[-1]:
            self._cut(slice(bisect_left(self.at, at), None))
        self.at.append(at)
        for name in [name for name in figures if name not in self._columns]:
            self._columns[name] = array("f", [math.nan]) * (len(self.at) - 1)
        for name, column in self._columns.items():
            column.append(figures.get(name, math.nan))
        # Now and then, so that a sample costs no moving of thousands of others.
        if at - self.at[0] > self._seconds * 1.1 + _MINUTE_SECONDS:
            self._cut(slice(0, bisect_left(self.at, at - self._seconds)))

    def _cut(self, part: slice) -> None:
        del self.at[part]
        for name, column in list(self._columns.items()):
            del column[part]
            if not any(value == value for value in column[-1:]) and all(math.isnan(value) for value in column):  # noqa: PLR0124 - is a number
                del self._columns[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The figures there are."""
        return tuple(self._columns)

    def column(self, figure: str, start: float, end: float) -> Iterator[tuple[float, float]]:
        """What was measured of a figure between two moments, both included."""
        column = self._columns.get(figure)
        if column is None:
            return
        for index in range(bisect_left(self.at, start), bisect_right(self.at, end)):
            value = column[index]
            if not math.isnan(value):
                yield self.at[index], value

    def last(self) -> Sample | None:
        """The newest sample."""
        if not self.at:
            return None
        figures = {name: column[-1] for name, column in self._columns.items() if not math.isnan(column[-1])}
        return Sample(self.at[-1], figures)


@dataclass(frozen=True)
class FigureStats:
    """What a figure was like over a period."""

    mean: float
    maximum: float
    p95: float
    """95 % of the time it was not above this. Over more than `SAMPLES_KEPT_SECONDS`, by the means of minutes."""
    last: float
    above: float
    """Seconds at or above the level asked for."""
    covered: float
    """Seconds for which there are samples."""


class HostHistory:
    """All that is remembered of one machine's figures. `every` is the interval of its samples in seconds."""

    def __init__(self, every: float = 10.0) -> None:
        self.every = every
        self.raw = SampleRing(SAMPLES_KEPT_SECONDS)
        self.means, self.maxima = SampleRing(MINUTES_KEPT_SECONDS), SampleRing(MINUTES_KEPT_SECONDS)
        self._minute = -1
        self._open: dict[str, list[float]] = {}

    def add(self, sample: Sample) -> None:
        """Take a sample."""
        minute = int(sample.at // _MINUTE_SECONDS)
        if minute != self._minute:
            self._close_minute()
            self._minute = minute
        self.raw.add(sample.at, sample.figures)
        for name, value in sample.figures.items():
            self._open.setdefault(name, []).append(value)

    def _close_minute(self) -> None:
        if self._open:
            at = (self._minute + 0.5) * _MINUTE_SECONDS
            self.means.add(at, {name: math.fsum(values) / len(values) for name, values in self._open.items()})
            self.maxima.add(at, {name: max(values) for name, values in self._open.items()})
            self._open = {}

    @property
    def last(self) -> Sample | None:
        """The newest sample."""
        return self.raw.last()

    @property
    def names(self) -> tuple[str, ...]:
        """The figures of the last hours."""
        return self.raw.names

    def is_by_minute(self, start: float) -> bool:
        """Whether what is known since a moment is by the minute: it lies before the oldest sample that is kept."""
        if not self.means.at or not self.raw.at or start >= self.raw.at[0]:
            return False
        # The middle of the first minute lies before its first sample, also where nothing is forgotten yet.
        return self.means.at[0] < self.raw.at[0] - _MINUTE_SECONDS

    @property
    def first(self) -> float | None:
        """When the oldest of what is known was measured, in seconds since the epoch; None where nothing is."""
        return min((ring.at[0] for ring in (self.raw, self.means) if ring.at), default=None)

    def points(self, figure: str, start: float, end: float) -> Points:
        """A figure as measured between two moments, with None where something is missing."""
        pairs, interval = self._pairs(figure, start, end)
        return tuple(with_gaps(pairs, interval))

    def _pairs(self, figure: str, start: float, end: float) -> tuple[Iterator[tuple[float, float]], float]:
        """A figure's samples, or where they are not kept any more its minutes; and their interval."""
        if not self.is_by_minute(start):
            return self.raw.column(figure, start, end), self.every
        pairs = self.means.column(figure, start, end)
        values = self._open.get(figure)
        if values and self.raw.at and start <= self.raw.at[-1] <= end:
            # The minute that is not over yet.
            pairs = chain(pairs, ((self.raw.at[-1], math.fsum(values) / len(values)),))
        return pairs, max(_MINUTE_SECONDS, self.every)

    def summarize(self, figure: str, start: float, end: float, level: float = math.inf) -> FigureStats | None:
        """What a figure was like; None where nothing is known of it."""
        found, interval = self._pairs(figure, start, end)
        values = [value for _, value in found]
        if not values:
            return None
        last = values[-1]
        highest = max(values)
        if self.is_by_minute(start):
            exact = [value for _, value in self.raw.column(figure, start, end)]
            last = exact[-1] if exact else last
            highest = max((highest, *exact, *(value for _, value in self.maxima.column(figure, start, end))))
        values.sort()
        return FigureStats(
            mean=math.fsum(values) / len(values),
            maximum=highest,
            p95=values[max(0, math.ceil(0.95 * len(values)) - 1)],
            last=last,
            above=sum(value >= level for value in values) * interval,
            covered=len(values) * interval,
        )


def with_gaps(pairs: Iterator[tuple[float, float]], interval: float) -> Iterator[tuple[float, float | None]]:
    """Points with a None between two that are too far apart to be joined."""
    before: float | None = None
    for at, value in pairs:
        if before is not None and at - before > MAX_GAP_INTERVALS * interval:
            yield (before + at) / 2, None
        yield at, value
        before = at


@dataclass(frozen=True)
class Host:
    """One machine as it is known now."""

    name: str
    history: HostHistory
    about: Mapping[str, float | str] = field(default_factory=dict)
    """What does not change: `cores`, `memory` (bytes), `system`, `limited` (what of it this process may use)."""
    silent_since: float | None = None
    """Where it has fallen silent: when it was last heard, in seconds since the epoch."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By figure."""
    exceeded: Mapping[str, str] = field(default_factory=dict)
    """The severities of those thresholds that are exceeded now, by figure."""

    @property
    def cores(self) -> float:
        """How many cores it has; 0 where that is not known."""
        cores = self.about.get("cores", 0)
        return float(cores) if isinstance(cores, int | float) else 0.0


def make_history(samples: Sequence[Sample], every: float) -> HostHistory:
    """A history made of samples."""
    history = HostHistory(every)
    for sample in samples:
        history.add(sample)
    return history
