"""Samples of one figure → when it becomes too high and when that is over. Pure.

A figure is too high where the mean over the limit's `hold` reaches `above`; that is over where the mean is below
`clear`. Only samples without a gap between them count: after a machine was suspended or its bridge restarted, nothing
changes until `hold` has been measured again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from wxbridge.config.hosts import FigureLimit
from wxbridge.hosts.samples import MAX_GAP_INTERVALS

MIN_WARNING_INTERVAL_SECONDS = 300.0
"""Seconds between two warnings of one figure, at least; where the limit repeats sooner, that."""


class ThresholdVerdict(StrEnum):
    """What is to be told."""

    FIRING = "firing"
    STILL = "still"
    """It lasts, and it is time to say so again."""
    RESOLVED = "resolved"


@dataclass(frozen=True)
class FigureState:
    """How a figure stands."""

    recent: tuple[tuple[float, float], ...] = ()
    """The samples that count now: time and value."""
    since: float | None = None
    """Since when it has been too high and was told; None while all is well."""
    told_at: float | None = None
    """When it was last told that it is too high."""


@dataclass(frozen=True)
class FigureChange:
    """Something to be told, with the mean that decided it."""

    verdict: ThresholdVerdict
    at: float
    since: float
    mean: float


def apply_sample(
    state: FigureState, at: float, value: float, limit: FigureLimit, every: float
) -> tuple[FigureState, FigureChange | None]:
    """Take a sample; `every` is the interval of samples in seconds.

    Of samples that come out of order the last one counts: those that seem to be later are forgotten.
    """
    recent = _recent(state.recent, at, value, limit.hold, every)
    told_at = None if state.told_at is None else min(state.told_at, at)
    state = replace(state, recent=recent, told_at=told_at)
    if recent[0][0] > at - limit.hold + 1.5 * every:
        return state, None
    mean = math.fsum(each for _, each in recent) / len(recent)
    if state.since is None:
        if mean < limit.above or _too_soon(state, at, limit):
            return state, None
        since = recent[0][0]
        return replace(state, since=since, told_at=at), FigureChange(ThresholdVerdict.FIRING, at, since, mean)
    if mean < limit.clear:
        return replace(state, since=None), FigureChange(ThresholdVerdict.RESOLVED, at, state.since, mean)
    if limit.repeat and state.told_at is not None and at - state.told_at >= limit.repeat:
        return replace(state, told_at=at), FigureChange(ThresholdVerdict.STILL, at, state.since, mean)
    return state, None


def _recent(
    before: tuple[tuple[float, float], ...], at: float, value: float, hold: float, every: float
) -> tuple[tuple[float, float], ...]:
    if before and not 0 < at - before[-1][0] <= MAX_GAP_INTERVALS * every:
        before = ()
    # Half an interval is left to the clock: of 50 s at every 10 s these are always 5 samples.
    first = at - hold + every / 2
    return (*(each for each in before if each[0] > first), (at, value))


def _too_soon(state: FigureState, at: float, limit: FigureLimit) -> bool:
    least = MIN_WARNING_INTERVAL_SECONDS if limit.repeat is None else min(MIN_WARNING_INTERVAL_SECONDS, limit.repeat)
    least = least if limit.pause is None else limit.pause
    return state.told_at is not None and at - state.told_at < least
