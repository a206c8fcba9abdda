"""The painter `bars`: what there was of something over time, stacked, and below it a ranking; readable on a phone.

Params, plain JSON: `title` (needed), `subtitle`, `timezone`, `theme`, and one of these or both:

- `timeline`: `title`, `start` (seconds since the epoch), `step` (seconds), and `series`, the first at the bottom:
  `name`, `colour` (`red`, `amber`, `blue`, `grey`) and `counts`, one for each step.
- `ranking`: `title`, `note` (small print), and `rows` in their order: `name`, `value` (its bar), `text`, `colour`.

It is drawn by the process that draws charts (`worker.ChartWorker.bars`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wxbridge.core.errors import PictureError
from wxbridge.pictures.charts import axis
from wxbridge.pictures.charts.chart import WIDTH
from wxbridge.pictures.charts.sheet import THEMES, Colours, Sheet

MAX_STEPS, MAX_ROWS = 400, 40
_PAD, _TITLE, _HEADING, _SMALL, _NAME = 28, 36, 29, 25, 27
_PLOT = 330
_BAR, _ROW = 22, 86
_TICK = 125
"""Pixels that a tick of the time axis needs."""


def draw_bars(params: Mapping[str, Any]) -> bytes:
    """Draw in the calling thread, as a PNG `WIDTH` pixels wide.

    Raises:
        PictureError: the params are not as described above.
    """
    try:
        return _rendered(params)
    except (KeyError, TypeError, ValueError, AttributeError, ZoneInfoNotFoundError) as error:
        raise PictureError(f"a picture of kind bars has broken params: {error!r}") from None


def _rendered(params: Mapping[str, Any]) -> bytes:
    timeline, ranking = params.get("timeline"), params.get("ranking")
    if not (timeline or ranking):
        raise ValueError("there is neither a timeline nor a ranking")
    zone = ZoneInfo(str(params.get("timezone", "UTC")))
    subtitle = str(params.get("subtitle", ""))
    head = round(_TITLE * 1.5) + (round(_SMALL * 1.6) if subtitle else 0)
    height = 2 * _PAD + head
    height += _timeline_height(timeline, zone) if timeline else 0
    height += _ranking_height(ranking) if ranking else 0
    sheet = Sheet(WIDTH, height, THEMES["dark" if params.get("theme") == "dark" else "light"])
    y = float(height - _PAD)
    sheet.text(_PAD, y - _TITLE, str(params["title"]), _TITLE, bold=True, width=WIDTH - 2 * _PAD)
    if subtitle:
        below = y - round(_TITLE * 1.5) - _SMALL
        sheet.text(_PAD, below, subtitle, _SMALL, colour=sheet.colours.dim, width=WIDTH - 2 * _PAD)
    y -= head
    if timeline:
        _draw_timeline(sheet, timeline, zone, y)
        y -= _timeline_height(timeline, zone)
    if ranking:
        _draw_ranking(sheet, ranking, y)
    return sheet.png()


def _colour(name: str, colours: Colours) -> str:
    return {"red": colours.red, "amber": colours.amber, "blue": colours.curves[0], "grey": colours.dim}[name]


# ---------------------------------------------------------------- over time


def _heading() -> int:
    return round(_HEADING * 2.0)


def _steps(timeline: Mapping[str, Any]) -> int:
    lengths = {len(each["counts"]) for each in timeline["series"]}
    if len(lengths) != 1 or not 1 <= max(lengths) <= MAX_STEPS:
        raise ValueError(f"each of the series has one count for each of 1 to {MAX_STEPS} steps")
    return lengths.pop()


def _ticks(timeline: Mapping[str, Any], zone: ZoneInfo) -> tuple[axis.Tick, ...]:
    start = float(timeline["start"])
    return axis.time_ticks(start, start + _steps(timeline) * float(timeline["step"]), zone, (WIDTH - 120) // _TICK)


def _timeline_height(timeline: Mapping[str, Any], zone: ZoneInfo) -> int:
    dated = any(tick.date for tick in _ticks(timeline, zone))
    return _heading() + round(_SMALL * 1.9) + _PLOT + round(_SMALL * (3.6 if dated else 2.5))


def _draw_timeline(sheet: Sheet, timeline: Mapping[str, Any], zone: ZoneInfo, top: float) -> None:
    colours = sheet.colours
    series, steps = timeline["series"], _steps(timeline)
    sheet.text(_PAD, top - _HEADING * 1.5, str(timeline["title"]), _HEADING, bold=True, width=WIDTH - 2 * _PAD)
    _draw_legend(sheet, series, top - _heading() - _SMALL)
    plot_top = top - _heading() - round(_SMALL * 1.9)
    bottom = plot_top - _PLOT
    most = max((sum(each["counts"][step] for each in series) for step in range(steps)), default=0)
    values = axis.value_axis(0.0, float(max(1, most)), "", 5, whole=True)
    gutter = max((sheet.width(tick.label, _SMALL) for tick in values.ticks), default=0.0) + 14
    left, right = round(_PAD + gutter), WIDTH - _PAD
    scale = _PLOT / values.high
    for tick in values.ticks:
        y = round(bottom + tick.place * scale) + 0.5
        sheet.line([left, right], [y, y], colours.grid if tick.place else colours.edge, 1)
        sheet.text(left - 12, y - _SMALL * 0.36, tick.label, _SMALL, colour=colours.dim, align="right")
    width = (right - left) / steps
    gap = min(6.0, width * 0.2)
    for step in range(steps):
        base = float(bottom)
        for each in series:
            above = base + float(each["counts"][step]) * scale
            edges = round(left + step * width + gap / 2), round(left + (step + 1) * width - gap / 2)
            sheet.box(edges[0], base, edges[1], above, _colour(each["colour"], colours), 1, 3)
            base = above
    _draw_time_axis(sheet, timeline, zone, (left, right, bottom))


def _draw_legend(sheet: Sheet, series: Sequence[Mapping[str, Any]], base: float) -> None:
    x = float(_PAD)
    for each in series:
        sheet.box(x, base - 2, x + 20, base + 18, _colour(each["colour"], sheet.colours), 1, 3)
        x += 30
        x += sheet.text(x, base, str(each["name"]), _SMALL, width=max(60.0, WIDTH - _PAD - x)) + 34


def _draw_time_axis(
    sheet: Sheet, timeline: Mapping[str, Any], zone: ZoneInfo, place: tuple[float, float, float]
) -> None:
    left, right, bottom = place
    start, span = float(timeline["start"]), _steps(timeline) * float(timeline["step"])
    dim = sheet.colours.dim
    base = bottom - round(_SMALL * 1.4)
    for tick in _ticks(timeline, zone):
        x = round(left + (tick.place - start) / span * (right - left)) + 0.5
        sheet.line([x, x], [bottom - 7, bottom], sheet.colours.edge, 1)
        half = sheet.width(tick.label, _SMALL) / 2
        middle = min(max(x, left + half - 40), right - half)
        sheet.text(middle, base, tick.label, _SMALL, colour=dim, align="center")
        if tick.date:
            sheet.text(middle, base - round(_SMALL * 1.15), tick.date, _SMALL, colour=dim, align="center")


# ---------------------------------------------------------------- the ranking


def _ranking_height(ranking: Mapping[str, Any]) -> int:
    if len(ranking["rows"]) > MAX_ROWS:
        raise ValueError(f"a ranking has at most {MAX_ROWS} rows")
    return _heading() + _ROW * len(ranking["rows"]) + (round(_SMALL * 1.5) if ranking.get("note") else 0)


def _draw_ranking(sheet: Sheet, ranking: Mapping[str, Any], top: float) -> None:
    colours = sheet.colours
    sheet.text(_PAD, top - _HEADING * 1.5, str(ranking["title"]), _HEADING, bold=True, width=WIDTH - 2 * _PAD)
    y = top - _heading()
    rows = ranking["rows"]
    largest = max((float(each["value"]) for each in rows), default=0.0) or 1.0
    for each in rows:
        text = str(each["text"])
        wide = sheet.width(sheet.fonts.clean(text), _SMALL)
        base = y - _NAME - 6
        sheet.text(WIDTH - _PAD, base, text, _SMALL, colour=colours.dim, align="right")
        sheet.text(_PAD, base, str(each["name"]), _NAME, width=max(200.0, WIDTH - 2 * _PAD - wide - 24))
        length = float(each["value"]) / largest * (WIDTH - 2 * _PAD)
        # What is nearly nothing is still to be seen.
        shown = max(3.0, length) if float(each["value"]) > 0 else 0.0
        sheet.box(_PAD, base - 16 - _BAR, _PAD + shown, base - 16, _colour(each["colour"], colours), 1, 3)
        y -= _ROW
    if ranking.get("note"):
        sheet.text(_PAD, y - _SMALL, str(ranking["note"]), _SMALL, colour=colours.dim, width=WIDTH - 2 * _PAD)
