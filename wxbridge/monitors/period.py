"""The stretch of time that a chart shows, and the step between its points. Pure: no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

MAX_POINTS = 11_000
"""Prometheus refuses a query of more points for a series."""
USUAL_POINTS = 500
"""About how many to ask for; the step is whole seconds."""
MIN_PERIOD_SECONDS = 900.0
_MIN_MARGIN_SECONDS = 300.0
_MAX_FIRING_SECONDS = 86400.0
"""How far back the chart of an alert that still fires goes for its beginning."""


@dataclass(frozen=True)
class Period:
    """A stretch of time to draw: seconds since the epoch, both ends and the step between points."""

    start: float
    end: float
    step: float


def choose_period(
    now: datetime,
    *,
    hold: float = 0.0,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> Period:
    """Choose the time to draw.

    A firing alert: the last 15 minutes, or four times the rule's `for` where that is more; where it began before that,
    from before its beginning, a day at most. One that is over (`ends_at` in the past): from before it began to after it
    ended, with a quarter of its length but at least five minutes on both sides, and the time that it was pending.

    Args:
        now: No point lies after it, or before the epoch.
        hold: The rule's `for`, seconds.
        starts_at: When the alert began to fire.
        ends_at: When it was over; None while it fires.
    """
    end = now.timestamp()
    least = max(MIN_PERIOD_SECONDS, 4 * hold)
    start = end - least
    if starts_at is not None and ends_at is not None and starts_at <= ends_at <= now:
        margin = max(_MIN_MARGIN_SECONDS, (ends_at - starts_at) / timedelta(seconds=4))
        end = min(end, ends_at.timestamp() + margin)
        start = min(starts_at.timestamp() - hold - margin, end - least)
    elif starts_at is not None and starts_at <= now:
        margin = max(_MIN_MARGIN_SECONDS, (now - starts_at) / timedelta(seconds=4))
        start = min(start, max(starts_at.timestamp() - hold - margin, end - _MAX_FIRING_SECONDS))
    start = max(0.0, start)
    step = float(max(1, math.ceil((end - start) / (USUAL_POINTS - 1))))
    # The last point is the end itself: what fires as soon as it is there has been there for less than a step.
    end = math.floor(end * 1000) / 1000
    return Period(max(0.0, end - math.floor((end - start) / step) * step), end, step)
