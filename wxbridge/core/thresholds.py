"""A line on a chart beyond which an alert is on, and how far a curve came beyond it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class AlertThreshold:
    """The alert is on where `value op number` holds."""

    op: str
    """`>`, `>=`, `<`, `<=`, `==` or `!=`; of the last two there is no side where it is on."""
    value: float


def badness(lowest: float, highest: float, thresholds: Iterable[AlertThreshold]) -> float:
    """Measure how far beyond a threshold a curve came, in shares of the threshold; without one, how high.

    Args:
        lowest: Its lowest value.
        highest: Its highest.
        thresholds: Those that are no finite number are passed over.
    """
    scores = []
    for each in thresholds:
        if math.isfinite(each.value):
            size = abs(each.value) or 1.0
            over, under = (highest - each.value) / size, (each.value - lowest) / size
            scores.append(under if each.op.startswith("<") else over if each.op.startswith(">") else max(over, under))
    return max(scores, default=highest)
