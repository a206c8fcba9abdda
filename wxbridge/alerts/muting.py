"""Whether an alert is held back now: by a silence, or by the time intervals of its route. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from wxbridge.alerts import routing
from wxbridge.alerts.routing import RouteOptions, RouteTree
from wxbridge.alerts.silences import SilenceSet
from wxbridge.config.time_intervals import TimeInterval

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class MuteSettings:
    """What of the configuration decides who is told when."""

    routes: RouteTree = field(default_factory=lambda: routing.compile_routes(()))
    intervals: Mapping[str, TimeInterval | Sequence[TimeInterval]] = field(default_factory=dict)
    timezone: ZoneInfo = _UTC


def held_by(
    rules: MuteSettings, silences: SilenceSet, labels: Mapping[str, str], telling: RouteOptions, now: float
) -> str | None:
    """Why an alert may not be told now, in a few words; None where it may. `now` is in seconds since the epoch."""
    silence = silences.by(labels, now)
    if silence is not None:
        return f"silence {silence.id}"
    if not telling.mute and not telling.active:
        return None
    return muted_by(telling, rules.intervals, datetime.fromtimestamp(now, UTC), rules.timezone)


def muted_by(
    telling: RouteOptions,
    intervals: Mapping[str, TimeInterval | Sequence[TimeInterval]],
    now: datetime,
    zone: ZoneInfo | None = None,
) -> str | None:
    """Say why a route is silent at a moment (aware), in a few words; None where it is not.

    Names that stand for nothing (the configuration has changed, say) silence nobody.
    """

    def holds(name: str) -> bool:
        found = intervals[name]
        return any(each.holds(now, zone) for each in ([found] if isinstance(found, TimeInterval) else found))

    for name in telling.mute:
        if name in intervals and holds(name):
            return f"muted by {name}"
    active = [name for name in telling.active if name in intervals]
    if active and not any(map(holds, active)):
        return f"not active outside of {' or '.join(active)}"
    return None
