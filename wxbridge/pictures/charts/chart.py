"""What a chart shows: measured series with their thresholds, to be drawn as a picture that can be read on a phone.

`drawing` draws it (Pillow, in the calling thread), and `worker` has it drawn in a process of its own, which is how
the bridge does it. Importing this costs nothing.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from wxbridge.core.pictures import Theme
from wxbridge.core.text.i18n import Language
from wxbridge.core.thresholds import AlertThreshold

Points = tuple[tuple[float, float | None], ...]

MAX_CURVES = 10
"""Curves of one chart; the others are counted below its legend."""
WIDTH = 1080
"""Pixels: what a phone's screen has."""


@dataclass(frozen=True)
class Curve:
    """One series. `points` are (seconds since the epoch, value); NaN or None as a value is a gap in the line."""

    points: Points
    labels: Mapping[str, str] = field(default_factory=dict)
    """Told in the legend, less those that all curves of the chart share."""
    name: str = ""
    """What the legend calls it, in place of its labels."""
    reference: bool = False
    """Whether it is what the others are compared with: drawn as a dashed red line like a threshold, never left out."""


@dataclass(frozen=True)
class Mark:
    """When the alert fired: a vertical band. Times are seconds since the epoch; `end` is None while it still fires."""

    start: float
    end: float | None = None


@dataclass(frozen=True)
class Chart:
    """What one chart shows.

    `start` and `end` are seconds since the epoch: the time axis, whatever the curves cover.
    """

    title: str
    curves: tuple[Curve, ...]
    start: float
    end: float
    now: bool = False
    """Whether it ends at the present, so that its time is told as the last so many minutes."""
    subtitle: str = ""
    """A line below the title; without one the labels that all curves share are told."""
    thresholds: tuple[AlertThreshold, ...] = ()
    """Lines; the side where the alert is on is shaded."""
    marks: tuple[Mark, ...] = ()
    unit: str = ""
    """What the values are counted in: `%`, `ratio` (1 is 100 %), `bytes`, `bytes/s`, `seconds`, `ms`, … as in
    `core.text.units`; a unit that nothing is known about is written as it is, an empty one says nothing."""
    levels: tuple[float, float] | None = None
    """Where given, lines are green below the first value, amber between the two, red from the second on."""
    others: int = 0
    """How many more series there are than `curves` has."""
    note: str = ""
    """Small print below the legend."""
    timezone: str = "UTC"
    """An IANA name."""
    language: Language = "en"
    theme: Theme = "light"


@dataclass(frozen=True)
class PackedChart:
    """A chart whose points are bytes (pairs of doubles, curve by curve): quickly handed to another process."""

    chart: Chart
    data: tuple[bytes, ...]


def pack_chart(chart: Chart) -> PackedChart:
    """Pack a chart's points. Some ms for 100,000 points."""
    data = tuple(_pack(curve.points) for curve in chart.curves)
    return PackedChart(replace(chart, curves=tuple(replace(curve, points=()) for curve in chart.curves)), data)


def _pack(points: Points) -> bytes:
    flat: Iterable[Any] = chain.from_iterable(points)
    try:
        return array("d", flat).tobytes()
    except TypeError:
        return array("d", (math.nan if each is None else each for each in chain.from_iterable(points))).tobytes()
