"""Whether an alert is held back now: by a silence, or by the time intervals of its route. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from wxbridge.alerts.routing import RouteOptions
from wxbridge.alerts.silences import SilenceSet
from wxbridge.config.time_intervals import TimeInterval

Intervals = Mapping[str, TimeInterval | Sequence[TimeInterval]]


def held_by(
    options: RouteOptions,
    labels: Mapping[str, str],
    silences: SilenceSet,
    intervals: Intervals,
    timezone: ZoneInfo,
    now: float,
) -> str | None:
    """Say why an alert may not be told now, in a few words; None where it may. `now` is in seconds since the epoch."""
    silence = silences.find(labels, now)
    if silence is not None:
        return f"silence {silence.id}"
    if not options.mute and not options.active:
        return None
    return muted_by(options, intervals, datetime.fromtimestamp(now, UTC), timezone)


def muted_by(
    options: RouteOptions,
    intervals: Intervals,
    now: datetime,
    zone: ZoneInfo | None = None,
) -> str | None:
    """Say why a route is silent at a moment (aware), in a few words; None where it is not.

    Names that stand for nothing (the configuration has changed, say) silence nobody.
    """

    def holds(name: str) -> bool:
        found = intervals[name]
        return any(each.holds(now, zone) for each in ([found] if isinstance(found, TimeInterval) else found))

    for name in options.mute:
        if name in intervals and holds(name):
            return f"muted by {name}"
    active = [name for name in options.active if name in intervals]
    if active and not any(map(holds, active)):
        return f"not active outside of {' or '.join(active)}"
    return None
