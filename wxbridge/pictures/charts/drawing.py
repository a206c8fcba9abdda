"""Drawing charts: where everything stands on a picture as wide as a phone's screen.

Lines and letters are placed by us in pixels and drawn by Pillow: a plotting library would have to be talked into a
phone's measures, and takes longer, 150 MB of disk and twice the memory. No state is kept but fonts.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, nan
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wxbridge.core.errors import PictureError
from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_duration
from wxbridge.pictures.charts import axis
from wxbridge.pictures.charts.chart import WIDTH, Chart, PackedChart
from wxbridge.pictures.charts.data import PreparedCurve, lines_of
from wxbridge.pictures.charts.fonts import fonts
from wxbridge.pictures.charts.sheet import THEMES, Clip, Sheet, pieces

MAX_CHARTS_PER_PICTURE = 24
_MAX_FILLED_CURVES = 3
"""Up to so many curves are filled below: more would hide each other."""
_DASHES = ((), (10.0, 5.0))


@dataclass(frozen=True)
class _Style:
    """Sizes in pixels."""

    pad: int
    title: int
    small: int
    legend: int
    row: int
    plot: int
    line: float
    columns: tuple[str, ...]
    time_width: int
    """What a tick of the time axis needs."""


_LARGE = _Style(28, 36, 25, 26, 42, 430, 2.6, ("min", "max", "last"), 125)
_STACKED = _Style(28, 30, 24, 25, 38, 250, 2.4, ("min", "max", "last"), 125)
_SMALL = _Style(20, 26, 21, 21, 32, 200, 2.0, ("max", "last"), 120)


@dataclass(frozen=True)
class _Plot:
    """A chart's data with what its layout needs to know before there is a picture to draw on."""

    chart: Chart
    style: _Style
    zone: ZoneInfo
    lines: tuple[PreparedCurve, ...]
    references: tuple[PreparedCurve, ...]
    others: int
    shared: str

    @property
    def subtitle(self) -> str:
        return self.chart.subtitle or self.shared

    def height(self) -> int:
        """Pixels from the top of its title to the end of its note."""
        return self.head() + self.style.plot + self.foot()

    def head(self) -> int:
        style = self.style
        rows = round(style.title * 1.45) + round(style.small * 1.5)
        rows += round(style.small * 1.4) if self.subtitle else 0
        return rows + (round(style.small * 1.45) if self.chart.marks else round(style.small * 0.9))

    def foot(self) -> int:
        style = self.style
        rows = len(self.lines) + len(self.references)
        table = (rows + 1) * style.row if rows else 0
        below = round(style.small * 1.5) * (bool(self.others) + bool(self.chart.note))
        return round(style.small * (3.0 if self.dated() else 1.85)) + table + below

    def dated(self) -> bool:
        """Whether the time axis tells dates below its hours."""
        return any(tick.date for tick in self.ticks())

    def ticks(self) -> tuple[axis.Tick, ...]:
        width = WIDTH if self.style is not _SMALL else WIDTH // 2
        return axis.time_ticks(self.chart.start, self.chart.end, self.zone, (width - 150) // self.style.time_width)


def draw_packed(charts: Sequence[PackedChart], *, title: str = "", columns: int = 0) -> bytes:
    """Draw packed charts as one PNG, `WIDTH` pixels wide. A chart without any data says so.

    It takes 0.1 s for each, and once that for the fonts: an event loop calls `worker` instead.

    Args:
        charts: 1 to 24.
        title: Above them all.
        columns: One or two; 0 is one for up to three charts, else two.

    Raises:
        PictureError: there are none or too many, or one cannot be drawn (an unknown time zone, an end before its
            start).
    """
    if not 1 <= len(charts) <= MAX_CHARTS_PER_PICTURE:
        raise PictureError(f"a picture holds 1 to {MAX_CHARTS_PER_PICTURE} charts, not {len(charts)}")
    columns = min(columns, 2) or (1 if len(charts) <= 3 else 2)  # noqa: PLR2004 - as said above
    style = _SMALL if columns > 1 else _LARGE if len(charts) == 1 else _STACKED
    plots = [_prepared(each, style) for each in charts]
    rows = [plots[first : first + columns] for first in range(0, len(plots), columns)]
    top = round(_LARGE.title * 1.6) if title else 0
    height = top + _LARGE.pad + sum(max(plot.height() for plot in row) + style.pad for row in rows)
    sheet = Sheet(WIDTH, height, THEMES[charts[0].chart.theme])
    y = float(height - _LARGE.pad)
    if title:
        sheet.text(style.pad, y - _LARGE.title, title, _LARGE.title, bold=True, width=WIDTH - 2 * style.pad)
        y -= top
    for row in rows:
        for place, plot in enumerate(row):
            left = WIDTH * place / columns
            _draw(sheet, plot, left + style.pad, y, WIDTH / columns - 2 * style.pad)
        y -= max(plot.height() for plot in row) + style.pad
    return sheet.png()


def has_unwritable(packed: Sequence[PackedChart], title: str = "") -> bool:
    """Whether the charts have letters that no font here can draw."""
    known = fonts()
    texts = [title]
    for each in packed:
        chart = each.chart
        texts += [chart.title, chart.subtitle, chart.note, say("pictures.chart.no_data", chart.language)]
        texts += [text for curve in chart.curves for text in (curve.name, *curve.labels.values())]
    return any(map(known.lacks, texts))


def _prepared(packed: PackedChart, style: _Style) -> _Plot:
    chart = packed.chart
    if not (math.isfinite(chart.start) and math.isfinite(chart.end) and chart.start < chart.end):
        raise PictureError("a chart's end has to be after its start")
    try:
        zone = ZoneInfo(chart.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PictureError(f"{chart.timezone!r} is no time zone") from None
    chosen = lines_of(packed, say("pictures.chart.value", chart.language))
    colours = THEMES[chart.theme]
    for place, line in enumerate(chosen.lines):
        line.colour = colours.curves[place % len(colours.curves)]
        line.dashes = _DASHES[place // len(colours.curves) % len(_DASHES)]
    for line in chosen.references:
        line.colour, line.dashes = colours.red, (7.0, 5.0)
    return _Plot(chart, style, zone, chosen.lines, chosen.references, chosen.others, chosen.shared)


# ---------------------------------------------------------------- one chart


Path = tuple[list[float], list[float]]
"""Where a curve's points are, across and up, in pixels of the sheet; NaN where there is none."""


@dataclass(frozen=True)
class _Frame:
    """Where the curves are, in pixels, and what the edges stand for."""

    left: float
    right: float
    bottom: float
    top: float
    start: float
    end: float
    low: float
    high: float

    def x(self, at: float) -> float:
        return self.left + (at - self.start) / (self.end - self.start) * (self.right - self.left)

    def y(self, value: float) -> float:
        # Halved, so that the widest range does not overflow.
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return self.bottom + share * (self.top - self.bottom)

    def path(self, line: PreparedCurve) -> Path:
        """Where a curve's points are; what is infinite is nowhere."""
        left, start, across = self.left, self.start, (self.right - self.left) / (self.end - self.start)
        bottom, low, up = self.bottom, self.low / 2, (self.top - self.bottom) / (self.high / 2 - self.low / 2)
        ys = [bottom + (value / 2 - low) * up if isfinite(value) else nan for value in line.values]
        return [left + (at - start) * across for at in line.at], ys


def _draw(sheet: Sheet, plot: _Plot, left: float, top: float, width: float) -> None:
    chart, style, colours = plot.chart, plot.style, sheet.colours
    y = top
    sheet.text(left, y - style.title, chart.title, style.title, bold=True, width=width)
    y -= round(style.title * 1.45)
    if plot.subtitle:
        sheet.text(left, y - style.small, plot.subtitle, style.small, colour=colours.dim, width=width)
        y -= round(style.small * 1.4)
    period = axis.period(chart.start, chart.end, plot.zone)
    if chart.now:
        span = format_duration(round((chart.end - chart.start) / 60) * 60.0, chart.language)
        period = f"{say('pictures.chart.past', chart.language, time=span)} · {period}"
    sheet.text(left, y - style.small, period, style.small, colour=colours.dim, width=width)

    plot_top = top - plot.head()
    values = _value_axis(plot)
    gutter = max((sheet.width(tick.label, style.small) for tick in values.ticks), default=0) + 14
    frame = _Frame(
        round(left + gutter), round(left + width), plot_top - style.plot, plot_top, chart.start, chart.end,
        values.low, values.high,
    )  # fmt: skip
    _draw_grid(sheet, plot, frame, values)
    _draw_marks(sheet, plot, frame)
    paths = [frame.path(line) for line in (*plot.lines, *plot.references)]
    _draw_curves(sheet, plot, frame, paths)
    _draw_thresholds(sheet, plot, frame, paths)
    if not any(not math.isnan(line.last) for line in plot.lines):
        middle = (frame.left + frame.right) / 2, (frame.bottom + frame.top) / 2 - style.title / 3
        text = say("pictures.chart.no_data", chart.language)
        sheet.text(*middle, text, style.title, colour=colours.dim, align="center")
    below = frame.bottom - round(style.small * (3.0 if plot.dated() else 1.85))
    _draw_legend(sheet, plot, values, (left, below, width))


def _value_axis(plot: _Plot) -> axis.ValueAxis:
    extremes = [float(each.value) for each in plot.chart.thresholds if math.isfinite(each.value)]
    for line in (*plot.lines, *plot.references):
        if numbers := [*filter(math.isfinite, line.values)]:
            extremes += [min(numbers), max(numbers)]
    if not extremes:
        extremes = [0.0]
    whole = all(map(float.is_integer, extremes)) and all(
        value.is_integer() for line in plot.lines for value in line.values if math.isfinite(value)
    )
    most = max(3, plot.style.plot // 65)
    return axis.value_axis(min(extremes), max(extremes), plot.chart.unit, most, plot.chart.language, whole=whole)


def _draw_grid(sheet: Sheet, plot: _Plot, frame: _Frame, values: axis.ValueAxis) -> None:
    style, colours = plot.style, sheet.colours
    for tick in values.ticks:
        y = round(frame.y(tick.place)) + 0.5
        sheet.line([frame.left, frame.right], [y, y], colours.edge if tick.place == 0 else colours.grid, 1)
        sheet.text(frame.left - 12, y - style.small * 0.36, tick.label, style.small, colour=colours.dim, align="right")
    base = frame.bottom - round(style.small * 1.4)
    for tick in plot.ticks():
        x = round(frame.x(tick.place)) + 0.5
        sheet.line([x, x], [frame.bottom, frame.top], colours.grid, 1)
        half = sheet.width(tick.label, style.small) / 2
        middle = min(max(x, frame.left + half - 40), frame.right - half + 4)
        sheet.label_tick(tick, middle, base, style.small)
    sheet.line([frame.left, frame.right], [frame.bottom + 0.5] * 2, colours.edge, 1)


def _draw_marks(sheet: Sheet, plot: _Plot, frame: _Frame) -> None:
    chart, style, colours = plot.chart, plot.style, sheet.colours
    free = frame.left
    for mark in sorted(chart.marks, key=lambda each: each.start):
        end = chart.end if mark.end is None else mark.end
        if mark.start > chart.end or end < chart.start:
            continue
        first, last = ((frame.x(min(max(at, chart.start), chart.end))) for at in (mark.start, end))
        last = max(last, first + 2)
        sheet.box(first, frame.bottom, last, frame.top, colours.red, colours.shade * 0.6, 0)
        sheet.box(first, frame.top, last, frame.top + 5, colours.red, 1, 3)
        if mark.start >= chart.start:
            sheet.line([first, first], [frame.bottom, frame.top], colours.red, 1.5, dashes=(4, 4), order=1.5)
        if mark.end is not None and mark.end <= chart.end:
            sheet.line([last, last], [frame.bottom, frame.top + 5], colours.green, 2, order=1.5)
        start = axis.clock(mark.start, plot.zone, near=chart.end)
        text = say("pictures.chart.since", chart.language, start=start)
        if mark.end is not None:
            until = axis.clock(mark.end, plot.zone, near=mark.start)
            lasted = format_duration(end - mark.start, chart.language)
            text = say("pictures.chart.over", chart.language, start=start, end=until, time=lasted)
        size = style.small * 0.92
        width = sheet.width(sheet.fonts.clean(text), size)
        x = max(min(first, frame.right - width), frame.left)
        if x >= free:
            sheet.text(x, frame.top + 13, text, size, colour=colours.red)
            free = x + width + 20


def _draw_curves(sheet: Sheet, plot: _Plot, frame: _Frame, paths: Sequence[Path]) -> None:
    # A little more than the frame, so that a line along its edge keeps its width.
    clip = Clip(frame.left - 1, frame.bottom - 2, frame.right + 5, frame.top + 2)
    base = frame.y(min(max(0.0, frame.low), frame.high))
    width = plot.style.line * (1 if len(plot.lines) <= _MAX_FILLED_CURVES else 0.8)
    # The worst is drawn last: on top of the others.
    for place, line in reversed(list(enumerate((*plot.lines, *plot.references)))):
        xs, ys = paths[place]
        order = 5 if line.curve.reference else 4 - place / 100
        if len(plot.lines) <= _MAX_FILLED_CURVES and not line.curve.reference and plot.chart.levels is None:
            sheet.fill(xs, ys, base, line.colour, clip)
        for colour, box in _levels(sheet, plot, frame, line, clip):
            if plot.chart.levels is not None and not line.curve.reference:
                sheet.fill(xs, ys, base, colour, box)
            sheet.line(xs, ys, colour, width, order=order, dashes=line.dashes, clip=box)
        alone = [piece.start for piece in pieces(ys) if piece.stop - piece.start == 1]
        if alone:
            dots = [xs[place] for place in alone], [ys[place] for place in alone]
            sheet.line(*dots, line.colour, plot.style.line * 1.3, order=5.5, marker="o", clip=clip)
        for end, edge, marker in ((math.inf, frame.top - 8, "^"), (-math.inf, frame.bottom + 8, "v")):
            if marks := [x for x, value in zip(xs, line.values, strict=True) if value == end]:
                sheet.line(marks, [edge] * len(marks), line.colour, plot.style.line * 2, order=5.5, marker=marker)


def _levels(sheet: Sheet, plot: _Plot, frame: _Frame, line: PreparedCurve, clip: Clip) -> Iterator[tuple[str, Clip]]:
    """The colours of a line, each with the part of the frame where it has that colour."""
    if plot.chart.levels is None or line.curve.reference:
        yield line.colour, clip
        return
    low, high = (min(max(frame.y(level), clip.bottom), clip.top) for level in plot.chart.levels)
    colours = sheet.colours
    bands = ((colours.green, clip.bottom, low), (colours.amber, low, high), (colours.red, high, clip.top))
    for colour, bottom, top in bands:
        if top > bottom:
            yield colour, Clip(clip.left, bottom, clip.right, top)


def _draw_thresholds(sheet: Sheet, plot: _Plot, frame: _Frame, paths: Sequence[Path]) -> None:
    chart, style, colours = plot.chart, plot.style, sheet.colours
    taken: list[tuple[float, float, float, float]] = []
    # A few curves that lie on the line are to be seen, many would hide it.
    order = 4.5 if len(plot.lines) > _MAX_FILLED_CURVES else 2.7
    for limit in chart.thresholds:
        if not math.isfinite(limit.value):
            continue
        y = frame.y(limit.value)
        if limit.op.startswith(">"):
            sheet.box(frame.left, y, frame.right, frame.top, colours.red, colours.shade, 0)
        elif limit.op.startswith("<"):
            sheet.box(frame.left, frame.bottom, frame.right, y, colours.red, colours.shade, 0)
        line = round(y) + 0.5
        sheet.line([frame.left, frame.right], [line, line], colours.red, 2, order=order)
        sign = {">=": "≥", "<=": "≤", "==": "=", "!=": "≠"}.get(limit.op, limit.op)
        text = f"{sign} {axis.told(limit.value, chart.unit, chart.language)}"
        width = sheet.width(sheet.fonts.clean(text), style.small, bold=True)
        box = _free_place(frame, (y, width, style.small * 1.2), taken, paths)
        taken.append(box)
        sheet.box(*box[:2], *box[2:], colours.back, 0.88, 5)
        sheet.text(box[0] + 6, box[1] + style.small * 0.24, text, style.small, colour=colours.red, bold=True)


def _free_place(
    frame: _Frame,
    label: tuple[float, float, float],
    taken: Sequence[tuple[float, float, float, float]],
    paths: Sequence[Path],
) -> tuple[float, float, float, float]:
    """Where beside a threshold's line its value hides the least of the curves: left, bottom, right and top.

    `label` is the line's height, and the width and height of what is written.
    """
    y, width, height = label
    best, least = None, math.inf
    for right in (True, False):
        for above in (True, False):
            left = frame.right - width - 16 if right else frame.left + 4
            bottom = y + 4 if above else y - 4 - height
            box = (left, bottom, left + width + 12, bottom + height)
            hidden = 0.0
            if box[3] > frame.top + 2 or box[1] < frame.bottom - 2:
                hidden += 1e9
            hidden += sum(
                1e6 for each in taken if box[0] < each[2] and each[0] < box[2] and box[1] < each[3] and each[1] < box[3]
            )
            columns = [box[0] - 6 + 4 * place for place in range(math.ceil((width + 28) / 4))]
            for xs, ys in paths:
                here = [_height_at(xs, ys, column) for column in columns]
                for pair in pairwise(here):
                    known = [each for each in pair if not math.isnan(each)]
                    hidden += bool(known) and max(known) >= box[1] - 4 and min(known) <= box[3] + 4
                # A point that stands alone, or a few close together, may lie between two columns.
                close = slice(bisect_left(xs, columns[0]), bisect_right(xs, columns[-1]))
                hidden += sum(box[1] - 8 <= y <= box[3] + 8 for y in ys[close])
            if hidden < least:
                best, least = box, hidden
    assert best is not None  # noqa: S101 - there are four places
    return best


def _height_at(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """How high a line is at a place; NaN where there is none."""
    place = bisect_left(xs, x)
    if place == len(xs) or (place == 0 and xs[0] != x):
        return math.nan
    if xs[place] == x:
        return ys[place]
    share = (x - xs[place - 1]) / (xs[place] - xs[place - 1])
    return ys[place - 1] + share * (ys[place] - ys[place - 1])


def _draw_legend(sheet: Sheet, plot: _Plot, values: axis.ValueAxis, place: tuple[float, float, float]) -> None:
    left, y, width = place
    chart, style, colours = plot.chart, plot.style, sheet.colours
    lines = [*plot.lines, *plot.references]
    if lines:
        columns = style.columns
        names = {name: say(f"pictures.chart.{name}", chart.language) for name in columns}
        cells = [
            [
                "–" if math.isnan(value) else values.told(value, chart.unit, chart.language)
                for value in ({"min": line.minimum, "max": line.maximum, "last": line.last}[name] for name in columns)
            ]
            for line in lines
        ]
        widths = [
            max(sheet.width(row[place], style.legend) for row in [*cells, [names[name] for name in columns]]) + 26
            for place in range(len(columns))
        ]
        rights = [left + width - sum(widths[place + 1 :]) for place in range(len(columns))]
        y -= style.row
        base = y + style.row * 0.3
        for name, right in zip(columns, rights, strict=True):
            sheet.text(right, base, names[name], style.small, colour=colours.dim, align="right")
        for line, row in zip(lines, cells, strict=True):
            sheet.line([left, left + width], [y + 0.5] * 2, colours.grid, 1)
            y -= style.row
            base = y + style.row * 0.3
            middle = base + style.legend * 0.34
            colour = line.colour
            if chart.levels is not None and not line.curve.reference:
                reached = sum(line.last >= level for level in chart.levels)
                colour = (colours.green, colours.amber, colours.red)[reached]
            sheet.line([left, left + 34], [middle] * 2, colour, style.line * 1.8, dashes=line.dashes)
            sheet.text(left + 46, base, line.name, style.legend, width=width - sum(widths) - 46)
            for name, cell, right in zip(columns, row, rights, strict=True):
                sheet.text(right, base, cell, style.legend, align="right", bold=name == "last")
    for text in (say("pictures.chart.more", chart.language, n=plot.others) if plot.others else "", chart.note):
        if text:
            y -= round(style.small * 1.5)
            sheet.text(left, y + style.small * 0.4, text, style.small, colour=colours.dim, width=width)
