"""Changes of a machine's figures → the body of a POST to the source `host`: an alert like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from wxbridge.config.hosts import DISK_STATES, FigureLimit
from wxbridge.core.text.i18n import Language, say, say_list
from wxbridge.core.text.units import format_duration, format_quantity
from wxbridge.hosts import chart
from wxbridge.hosts.figures import name_hottest, name_of, unit_of
from wxbridge.hosts.samples import Host
from wxbridge.hosts.thresholds import FigureChange, ThresholdVerdict

WARNING_CHART_SECONDS = 1800.0
"""Seconds of the chart that comes with a warning."""
_NAMES = {"cpu": "HostCpuHigh", "memory": "HostMemoryHigh", "swap": "HostSwapHigh", "disk": "HostDiskFull",
          "inodes": "HostInodesFull", "disk_missing": "HostDiskMissing", "disk_unanswered": "HostDiskUnanswered",
          "load1": "HostLoadHigh", "temperature": "HostTemperatureHigh", "silent": "HostSilent"}  # fmt: skip
_STATES = ("silent", *DISK_STATES)
"""What is or is not: there is no figure to be told."""

Busiest = Mapping[str, Sequence[tuple[str, int, float]]]


@dataclass(frozen=True)
class HostEvent:
    """A change of one figure (or, with the figure `silent`, of hearing of a machine at all)."""

    figure: str
    change: FigureChange
    limit: FigureLimit


@dataclass(frozen=True)
class WarningReader:
    """For whom warnings are written."""

    language: Language = "en"
    timezone: tzinfo = UTC
    picture: bool = True
    """Whether a warning brings a chart."""


def write_body(host: Host, events: Sequence[HostEvent], busiest: Busiest, reader: WarningReader) -> bytes:
    """Write the alerts of one machine at one moment as the body that `alerts.sources.host` reads."""
    picture = _chart(host, events, reader) if reader.picture else None
    alerts = [_alert(host, event, busiest, reader, picture) for event in events]
    at = _moment(max(event.change.at for event in events))
    return json.dumps({"host": host.name, "at": at, "alerts": alerts}, ensure_ascii=False).encode()


def _alert(
    host: Host, event: HostEvent, busiest: Busiest, reader: WarningReader, picture: Mapping[str, Any] | None
) -> dict[str, Any]:
    kind, _, mount = event.figure.partition(":")
    labels = {"host": host.name, "severity": event.limit.severity}
    if mount:
        labels["mount"] = mount
    resolved = event.change.verdict is ThresholdVerdict.RESOLVED
    alert: dict[str, Any] = {
        "alertname": _NAMES[kind],
        "status": "resolved" if resolved else "firing",
        "title": _title(host.name, event.figure, reader.language),
        "labels": labels,
        "annotations": _annotations(host, event, {} if resolved else busiest, reader.language),
        "values": [] if kind in _STATES else [_value(event, reader.language)],
        "starts_at": _moment(event.change.since),
    }
    if resolved:
        alert["ends_at"] = _moment(event.change.at)
    elif picture is not None:
        # The same for all of them: it is sent once.
        alert["chart"] = picture
    return alert


def _title(host: str, name: str, language: Language) -> str:
    kind, _, mount = name.partition(":")
    if kind == "silent":
        return say("hosts.is_silent", language, host=host)
    if kind in ("disk", "inodes", *DISK_STATES):
        return say(f"hosts.title.{kind}", language, host=host, what=mount)
    return say("hosts.high", language, host=host, what=name_of(name, language))


def _value(event: HostEvent, language: Language) -> dict[str, Any]:
    name = name_of(event.figure, language)
    if event.limit.hold:
        name = say("hosts.mean_of", language, what=name, time=format_duration(event.limit.hold, language))
    return {"name": name, "value": round(event.change.mean, 2), "unit": unit_of(event.figure)}


def _annotations(host: Host, event: HostEvent, busiest: Busiest, language: Language) -> dict[str, str]:
    kind, _, mount = event.figure.partition(":")
    if kind == "silent":
        if event.change.verdict is ThresholdVerdict.RESOLVED:
            return {}
        time = format_duration(event.change.at - event.change.since, language)
        return {"message": say("hosts.no_samples", language, time=time)}
    if kind in DISK_STATES:
        return {}
    told = {"threshold": f"{event.limit.above:g}"}
    last = host.history.last
    free = last.figures.get(f"disk_free:{mount}") if last and kind == "disk" else None
    if free is not None:
        told["message"] = say("hosts.free", language, free=format_quantity(free, "bytes", language))
    if kind == "temperature" and last and (sensor := name_hottest(last.figures)):
        told[say("hosts.sensor", language)] = sensor
    if kind in ("cpu", "load1", "temperature") and busiest.get("cpu"):
        told[say("hosts.busiest_cpu", language)] = say_list(
            (f"{name} {format_quantity(amount, '%', language)}" for name, _, amount in busiest["cpu"]), language
        )
    if kind in ("memory", "swap") and busiest.get("memory"):
        told[say("hosts.busiest_memory", language)] = say_list(
            (f"{name} {format_quantity(amount, 'bytes', language)}" for name, _, amount in busiest["memory"]), language
        )
    return told


def _chart(host: Host, events: Sequence[HostEvent], reader: WarningReader) -> Mapping[str, Any] | None:
    """The last minutes of a machine, with what is told marked in it; None where nothing is firing."""
    firing = [event for event in events if event.change.verdict is not ThresholdVerdict.RESOLVED]
    if not firing:
        return None
    end = max(event.change.at for event in firing)
    first = min(event.change.since for event in firing)
    start = max(min(end - WARNING_CHART_SECONDS, first - WARNING_CHART_SECONDS / 3), end - 2 * WARNING_CHART_SECONDS)
    # Of a machine that has been watched for a few minutes these are shown.
    start = max(start, min(host.history.first or start, end - WARNING_CHART_SECONDS / 6))
    spec = chart.make_spec(
        host, start, end, language=reader.language, timezone=reader.timezone,
        panels=chart.panels_for([event.figure for event in firing]),
        marks={event.figure: (event.change.since, None) for event in firing},
    )  # fmt: skip
    return spec.params if spec else None


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
