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
_PAD_PX, _TITLE_PX, _HEADING_PX, _SMALL_PX, _NAME_PX = 28, 36, 29, 25, 27
_PLOT_PX = 330
_BAR_PX, _ROW_PX = 22, 86
_TICK_PX = 125
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
    head = round(_TITLE_PX * 1.5) + (round(_SMALL_PX * 1.6) if subtitle else 0)
    height = 2 * _PAD_PX + head
    height += _timeline_height(timeline, zone) if timeline else 0
    height += _ranking_height(ranking) if ranking else 0
    sheet = Sheet(WIDTH, height, THEMES["dark" if params.get("theme") == "dark" else "light"])
    y = float(height - _PAD_PX)
    sheet.text(_PAD_PX, y - _TITLE_PX, str(params["title"]), _TITLE_PX, bold=True, width=WIDTH - 2 * _PAD_PX)
    if subtitle:
        below = y - round(_TITLE_PX * 1.5) - _SMALL_PX
        sheet.text(_PAD_PX, below, subtitle, _SMALL_PX, colour=sheet.colours.dim, width=WIDTH - 2 * _PAD_PX)
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


def _heading_height() -> int:
    return round(_HEADING_PX * 2.0)


def _steps(timeline: Mapping[str, Any]) -> int:
    lengths = {len(each["counts"]) for each in timeline["series"]}
    if len(lengths) != 1 or not 1 <= max(lengths) <= MAX_STEPS:
        raise ValueError(f"each of the series has one count for each of 1 to {MAX_STEPS} steps")
    return lengths.pop()


def _ticks(timeline: Mapping[str, Any], zone: ZoneInfo) -> tuple[axis.Tick, ...]:
    start = float(timeline["start"])
    return axis.time_ticks(start, start + _steps(timeline) * float(timeline["step"]), zone, (WIDTH - 120) // _TICK_PX)


def _timeline_height(timeline: Mapping[str, Any], zone: ZoneInfo) -> int:
    dated = any(tick.date for tick in _ticks(timeline, zone))
    return _heading_height() + round(_SMALL_PX * 1.9) + _PLOT_PX + round(_SMALL_PX * (3.6 if dated else 2.5))


def _draw_timeline(sheet: Sheet, timeline: Mapping[str, Any], zone: ZoneInfo, top: float) -> None:
    colours = sheet.colours
    series, steps = timeline["series"], _steps(timeline)
    sheet.text(
        _PAD_PX, top - _HEADING_PX * 1.5, str(timeline["title"]), _HEADING_PX, bold=True, width=WIDTH - 2 * _PAD_PX
    )
    _draw_legend(sheet, series, top - _heading_height() - _SMALL_PX)
    plot_top = top - _heading_height() - round(_SMALL_PX * 1.9)
    bottom = plot_top - _PLOT_PX
    most = max((sum(each["counts"][step] for each in series) for step in range(steps)), default=0)
    values = axis.value_axis(0.0, float(max(1, most)), "", 5, whole=True)
    gutter = max((sheet.width(tick.label, _SMALL_PX) for tick in values.ticks), default=0.0) + 14
    left, right = round(_PAD_PX + gutter), WIDTH - _PAD_PX
    scale = _PLOT_PX / values.high
    for tick in values.ticks:
        y = round(bottom + tick.place * scale) + 0.5
        sheet.line([left, right], [y, y], colours.grid if tick.place else colours.edge, 1)
        sheet.text(left - 12, y - _SMALL_PX * 0.36, tick.label, _SMALL_PX, colour=colours.dim, align="right")
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
    x = float(_PAD_PX)
    for each in series:
        sheet.box(x, base - 2, x + 20, base + 18, _colour(each["colour"], sheet.colours), 1, 3)
        x += 30
        x += sheet.text(x, base, str(each["name"]), _SMALL_PX, width=max(60.0, WIDTH - _PAD_PX - x)) + 34


def _draw_time_axis(
    sheet: Sheet, timeline: Mapping[str, Any], zone: ZoneInfo, place: tuple[float, float, float]
) -> None:
    left, right, bottom = place
    start, span = float(timeline["start"]), _steps(timeline) * float(timeline["step"])
    base = bottom - round(_SMALL_PX * 1.4)
    for tick in _ticks(timeline, zone):
        x = round(left + (tick.place - start) / span * (right - left)) + 0.5
        sheet.line([x, x], [bottom - 7, bottom], sheet.colours.edge, 1)
        half = sheet.width(tick.label, _SMALL_PX) / 2
        middle = min(max(x, left + half - 40), right - half)
        sheet.label_tick(tick, middle, base, _SMALL_PX)


# ---------------------------------------------------------------- the ranking


def _ranking_height(ranking: Mapping[str, Any]) -> int:
    if len(ranking["rows"]) > MAX_ROWS:
        raise ValueError(f"a ranking has at most {MAX_ROWS} rows")
    return _heading_height() + _ROW_PX * len(ranking["rows"]) + (round(_SMALL_PX * 1.5) if ranking.get("note") else 0)


def _draw_ranking(sheet: Sheet, ranking: Mapping[str, Any], top: float) -> None:
    colours = sheet.colours
    sheet.text(
        _PAD_PX, top - _HEADING_PX * 1.5, str(ranking["title"]), _HEADING_PX, bold=True, width=WIDTH - 2 * _PAD_PX
    )
    y = top - _heading_height()
    rows = ranking["rows"]
    largest = max((float(each["value"]) for each in rows), default=0.0) or 1.0
    for each in rows:
        text = str(each["text"])
        wide = sheet.width(sheet.fonts.clean(text), _SMALL_PX)
        base = y - _NAME_PX - 6
        sheet.text(WIDTH - _PAD_PX, base, text, _SMALL_PX, colour=colours.dim, align="right")
        sheet.text(_PAD_PX, base, str(each["name"]), _NAME_PX, width=max(200.0, WIDTH - 2 * _PAD_PX - wide - 24))
        length = float(each["value"]) / largest * (WIDTH - 2 * _PAD_PX)
        # What is nearly nothing is still to be seen.
        shown = max(3.0, length) if float(each["value"]) > 0 else 0.0
        sheet.box(_PAD_PX, base - 16 - _BAR_PX, _PAD_PX + shown, base - 16, _colour(each["colour"], colours), 1, 3)
        y -= _ROW_PX
    if ranking.get("note"):
        sheet.text(
            _PAD_PX, y - _SMALL_PX, str(ranking["note"]), _SMALL_PX, colour=colours.dim, width=WIDTH - 2 * _PAD_PX
        )
