"""Whether an alert is held back now: by a silence, or by the time intervals of its route. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from wxbridge.alerts import routing
from wxbridge.alerts.routing import Routes, Telling
from wxbridge.alerts.silences import Silences
from wxbridge.config import time_intervals as intervals
from wxbridge.config.time_intervals import TimeInterval

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class Rules:
    """What of the configuration decides who is told when."""

    routes: Routes = field(default_factory=lambda: routing.compiled(()))
    intervals: Mapping[str, TimeInterval | Sequence[TimeInterval]] = field(default_factory=dict)
    timezone: ZoneInfo = _UTC


def held_by(rules: Rules, silences: Silences, labels: Mapping[str, str], telling: Telling, now: float) -> str | None:
    """Why an alert may not be told now, in a few words; None where it may. `now` is in seconds since the epoch."""
    silence = silences.by(labels, now)
    if silence is not None:
        return f"silence {silence.id}"
    if not telling.mute and not telling.active:
        return None
    return intervals.muted_by(telling, rules.intervals, datetime.fromtimestamp(now, UTC), rules.timezone)
