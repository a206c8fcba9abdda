"""What a chart of a machine shows, as a `PictureSpec` of the kind `host_chart` with the samples in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from wxbridge.core.model import PictureSpec
from wxbridge.core.text.i18n import Language, has_text, say
from wxbridge.core.text.units import format_quantity
from wxbridge.hosts.figures import DEFAULT_LEVELS, list_disks, name_of, unit_of
from wxbridge.hosts.samples import Host

KIND = "host_chart"
OPTIONS = ("disks", "network", "disk_io", "load", "temperature", "swap")
"""The panels that can be shown besides CPU and memory."""
_PAIRS = {"network": ("net_in", "net_out"), "disk_io": ("disk_read", "disk_write")}


def make_spec(
    host: Host,
    start: float,
    end: float,
    *,
    language: Language,
    timezone: tzinfo,
    panels: Sequence[str] = (),
    levels: tuple[float, float] = DEFAULT_LEVELS,
    marks: Mapping[str, tuple[float, float | None]] | None = None,
) -> PictureSpec | None:
    """Describe the chart of a machine between two moments: CPU and memory, and of `OPTIONS` what `panels` names.

    `marks` tells, by figure, from when to when a warning stood. None where nothing was measured.
    """
    shown = [
        panel
        for name in ("cpu", "memory", *panels)
        if (panel := _panel(name, host, start, end, language, levels, marks or {}))
    ]
    if not shown:
        return None
    params = {
        "title": host.name, "start": round(start, 1), "end": round(end, 1), "timezone": str(timezone),
        "language": language, "panels": shown,
    }  # fmt: skip
    return PictureSpec(KIND, params)


def panels_for(figures: Sequence[str]) -> tuple[str, ...]:
    """List the panels besides CPU and memory that show these figures."""
    kinds = {"disk": "disks", "inodes": "inodes", "load1": "load", "temperature": "temperature", "swap": "swap"}
    return tuple(dict.fromkeys(kinds[kind] for name in figures if (kind := name.partition(":")[0]) in kinds))


def _panel(
    name: str,
    host: Host,
    start: float,
    end: float,
    language: Language,
    levels: tuple[float, float],
    marks: Mapping[str, tuple[float, float | None]],
) -> dict[str, Any] | None:
    figures = _figures(name, host)
    curves = [curve for each in figures if (curve := _curve(each, host, start, end, language))]
    if not curves:
        return None
    alone = name in ("cpu", "memory", "swap")
    thresholds = sorted({host.thresholds[each] for each in figures if each in host.thresholds})
    return {
        "title": say(f"hosts.chart.title.{name}", language),
        "subtitle": " · ".join(_about(name, host, start, end, language)),
        "unit": unit_of(figures[0]),
        "levels": list(levels) if alone else None,
        "thresholds": thresholds[:2],
        "marks": [list(marks[each]) for each in figures if each in marks],
        "curves": curves,
    }


def _figures(name: str, host: Host) -> list[str]:
    names = dict.fromkeys((*host.history.names, *host.history.means.names))
    if name in ("disks", "inodes"):
        kind = "disk" if name == "disks" else "inodes"
        return [f"{kind}:{mount}" for mount in list_disks(list(names))]
    if name == "load":
        return ["load1", "load5", "load15"]
    return list(_PAIRS.get(name, (name,)))


def _curve(name: str, host: Host, start: float, end: float, language: Language) -> dict[str, Any] | None:
    points = host.history.points(name, start, end)
    if not points:
        return None
    digits = 0 if unit_of(name).startswith("bytes") else 2
    return {
        "name": _curve_name(name, language),
        "at": [round(at - start, 1) for at, _ in points],
        "values": [None if value is None else round(value, digits) for _, value in points],
    }


def _curve_name(name: str, language: Language) -> str:
    if mount := name.partition(":")[2]:
        return mount
    keys = (f"hosts.chart.curve.{name}", f"hosts.chart.title.{name}")
    return next((say(key, language) for key in keys if has_text(key)), "") or name_of(name, language)


def _about(name: str, host: Host, start: float, end: float, language: Language) -> Iterator[str]:
    if name == "cpu" and host.cores:
        yield say("hosts.cores", language, n=f"{host.cores:g}")
    total = host.about.get(name)
    if name in ("memory", "swap") and isinstance(total, int | float):
        yield format_quantity(float(total), "bytes", language)
    if host.history.is_by_minute(start) and name in ("cpu", "memory", "swap"):
        stat = host.history.summarize(name, start, end)
        if stat is not None:
            yield say("hosts.chart.minutes", language, value=format_quantity(stat.maximum, "%", language))
