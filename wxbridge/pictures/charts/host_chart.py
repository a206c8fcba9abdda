"""Pictures of kind `host_chart`: a machine's figures in stacked panels.

Params: `title`, `start` and `end` (seconds since the epoch), `timezone`, `language`, `theme`, and `panels`, each with
`title`, `subtitle`, `unit`, `levels` (two values, or null), `thresholds`, `marks` (pairs of times) and `curves`:
`name`, `at` (seconds after `start`) and `values` (null for a gap). Every measured point is drawn; nothing is smoothed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.core.errors import PictureError
from wxbridge.core.pictures import Theme
from wxbridge.core.text.i18n import FALLBACK_LANGUAGE, LANGUAGES
from wxbridge.core.thresholds import AlertThreshold
from wxbridge.pictures.charts.chart import Chart, Curve, Mark


def charts_of(params: Mapping[str, Any]) -> tuple[Chart, ...]:
    """Read the charts that the params describe, one for a panel.

    Raises:
        PictureError: they are not as described above.
    """
    try:
        return tuple(_chart(params, panel) for panel in params["panels"])
    except (KeyError, TypeError, ValueError) as error:
        raise PictureError(f"a picture of kind host_chart has broken params: {error!r}") from None


def _chart(params: Mapping[str, Any], panel: Mapping[str, Any]) -> Chart:
    start, end = float(params["start"]), float(params["end"])
    language = params["language"] if params.get("language") in LANGUAGES else FALLBACK_LANGUAGE
    theme: Theme = "dark" if params.get("theme") == "dark" else "light"
    levels = panel.get("levels")
    return Chart(
        title=str(panel["title"]),
        subtitle=str(panel.get("subtitle", "")),
        curves=tuple(_curve(start, curve) for curve in panel["curves"]),
        start=start,
        end=end,
        thresholds=tuple(AlertThreshold(">=", float(value)) for value in panel.get("thresholds", ())),
        marks=tuple(
            Mark(float(first), None if last is None else float(last)) for first, last in panel.get("marks", ())
        ),
        unit=str(panel.get("unit", "")),
        levels=(float(levels[0]), float(levels[1])) if levels else None,
        timezone=str(params.get("timezone", "UTC")),
        language=language,
        theme=theme,
    )


def _curve(start: float, curve: Mapping[str, Any]) -> Curve:
    points = zip(curve["at"], curve["values"], strict=True)
    return Curve(
        tuple((start + float(at), None if value is None else float(value)) for at, value in points),
        name=str(curve["name"]),
    )
