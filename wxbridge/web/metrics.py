"""What Prometheus reads from `/metrics`, gathered when it asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

import wxbridge
from wxbridge.model import ChannelState, ChannelStatus


@dataclass(frozen=True)
class Snapshot:
    """The figures of one moment."""

    outcomes: Mapping[tuple[str, str], int]
    """By target and outcome, since the start."""
    accepted: Mapping[str, int]
    """Messages queued, by source, since the start."""
    duplicates: Mapping[str, int]
    refused: Mapping[str, int]
    """Requests that were not taken, by reason."""
    backlog: list[tuple[str, int, float]]
    """Target, open messages, when the oldest was created (seconds since the epoch)."""
    channels: Mapping[str, ChannelStatus]
    now: float
    database_ok: bool = True


@dataclass
class Intaken:
    """Counts what the hooks took and refused."""

    accepted: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def took(self, source: str, queued: int, duplicates: int) -> None:
        """Count what one request brought."""
        self.accepted[source] = self.accepted.get(source, 0) + queued
        self.duplicates[source] = self.duplicates.get(source, 0) + duplicates

    def refuse(self, reason: str) -> None:
        """Count a request that was not taken."""
        self.refused[reason] = self.refused.get(reason, 0) + 1


class _Collector:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        now = self._snapshot
        yield InfoMetricFamily("wxbridge_build", "The running version.", {"version": wxbridge.__version__})
        yield _counter(
            "wxbridge_messages", "Attempts by target and outcome.", ["target", "outcome"], now.outcomes.items()
        )
        by_source = (((name,), count) for name, count in now.accepted.items())
        yield _counter("wxbridge_accepted", "Messages queued, by source.", ["source"], by_source)
        repeated = (((name,), count) for name, count in now.duplicates.items())
        yield _counter("wxbridge_deduplicated", "Messages absorbed as repeats.", ["source"], repeated)
        refused = (((name,), count) for name, count in now.refused.items())
        yield _counter("wxbridge_refused", "Requests not taken, by reason.", ["reason"], refused)
        waiting = GaugeMetricFamily("wxbridge_backlog_messages", "Messages still to send.", labels=["target"])
        oldest = GaugeMetricFamily("wxbridge_backlog_oldest_seconds", "Age of the oldest.", labels=["target"])
        for target, count, created_at in now.backlog:
            waiting.add_metric([target], count)
            oldest.add_metric([target], max(0.0, now.now - created_at))
        yield waiting
        yield oldest
        yield GaugeMetricFamily("wxbridge_database_up", "Whether alerts can be stored.", value=now.database_ok)
        states = GaugeMetricFamily("wxbridge_channel_state", "1 for the present state.", labels=["channel", "state"])
        for name, status in now.channels.items():
            for state in ChannelState:
                states.add_metric([name, state.value], float(status.state is state))
        yield states


def _counter(
    name: str,
    text: str,
    labels: list[str],
    counts: Iterable[tuple[tuple[str, ...], int]],
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts:
        family.add_metric(list(values), count)
    return family


def exposition(snapshot: Snapshot) -> bytes:
    """The snapshot in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    return generate_latest(registry)
