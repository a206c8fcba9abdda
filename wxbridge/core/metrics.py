"""The bridge's own figures, for Prometheus. There is one `Metrics` for a bridge, handed to whoever counts.

Names and labels are relied on by dashboards: `deploy/grafana/wxbridge.json` shows them all.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import wxbridge
from wxbridge.core.output import count_dropped_lines

LAG_BUCKETS_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400)
"""Of the time from a message's creation to the service's answer."""


class _DroppedLines(Collector):
    """What the process's own output lost; it began to count before there were metrics."""

    def collect(self) -> Iterable[Metric]:
        """Give the present count."""
        described = "Log lines that nobody took: the reader stopped or went away, or its disk was full."
        yield CounterMetricFamily("wxbridge_log_lines_dropped", described, value=count_dropped_lines())


class Metrics:
    """Counters that grow while the bridge runs, and gauges that are set when they are asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        Info("wxbridge_build", "The running version.", registry=registry).info({"version": wxbridge.__version__})
        self.accepted = Counter(
            "wxbridge_accepted", "Messages queued, by source.", ["source"], registry=registry,
        )  # fmt: skip
        self.deduplicated = Counter(
            "wxbridge_deduplicated", "Messages absorbed as a sender's repeat.", ["source"], registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            "wxbridge_refused", "Requests that were not taken, by reason.", ["reason"], registry=registry,
        )  # fmt: skip
        self.suppressed = Counter(
            "wxbridge_suppressed", "Alerts that a target was not told of: held (silence, muted time), repeat.",
            ["reason"], registry=registry,
        )  # fmt: skip
        self.without_target = Counter(
            "wxbridge_alerts_without_target",
            "Alerts that went to the operators: unrouted, no_target (?to= names none), no_recipient.",
            ["reason"], registry=registry,
        )  # fmt: skip
        for reason in ("unrouted", "no_target", "no_recipient"):
            self.without_target.labels(reason)  # a counter that first appears at 1 is no increase to Prometheus
        self.messages = Counter(
            "wxbridge_messages",
            "What became of attempts: sent, retried, waited, unknown, merged, failed_over, expired, dead, no_picture.",
            ["target", "outcome"],
            registry=registry,
        )
        self.dead = Counter(
            "wxbridge_dead", "Messages given up, by the service's code.", ["target", "reason"], registry=registry,
        )  # fmt: skip
        self.pictures = Counter(
            "wxbridge_pictures",
            "What became of pictures: drawn, no_rule, no_dashboard, no_data, no_source, storm, deadline, refused, "
            "passing, failed.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.lag = Histogram(
            "wxbridge_lag_seconds", "From a message's creation to the service's answer.", ["target"],
            buckets=LAG_BUCKETS_SECONDS, registry=registry,
        )  # fmt: skip
        self.commands = Counter(
            "wxbridge_commands",
            "Chat commands: answered, refused, cannot, failed, timeout, late, unknown, limited.",
            ["command", "outcome"],
            registry=registry,
        )
        self.inbound = Counter("wxbridge_inbound", "Messages that people wrote.", ["channel"], registry=registry)
        self.backlog = Gauge("wxbridge_backlog_messages", "Messages still to send.", ["target"], registry=registry)
        self.backlog_oldest = Gauge(
            "wxbridge_backlog_oldest_seconds", "Age of the oldest message to send.", ["target"], registry=registry,
        )  # fmt: skip
        self.pace_left = Gauge(
            "wxbridge_pace_left", "Messages that may still go in a window of the pace.", ["channel", "window"],
            registry=registry,
        )  # fmt: skip
        self.channel_state = Gauge(
            "wxbridge_channel_state", "1 for a channel's present state.", ["channel", "state"], registry=registry,
        )  # fmt: skip
        self.window_messages_left = Gauge(
            "wxbridge_window_messages_left", "Messages that may be sent before somebody has to write to the bot.",
            ["channel"], registry=registry,
        )  # fmt: skip
        self.window_seconds_left = Gauge(
            "wxbridge_window_seconds_left", "Seconds until somebody has to have written to the bot.", ["channel"],
            registry=registry,
        )  # fmt: skip
        self.not_shown = Gauge(
            "wxbridge_not_shown", "Messages that the service took, since the start, and did not show.", ["channel"],
            registry=registry,
        )  # fmt: skip
        self.database_up = Gauge("wxbridge_database_up", "Whether alerts can be stored.", registry=registry)
        self.leader = Gauge("wxbridge_leader", "Whether this bridge leads; one always does.", registry=registry)
        self.leader.set(1)
        self.leader_since = Gauge(
            "wxbridge_leader_since_timestamp_seconds", "Since when the bridge leads that does, where several share a "
            "database.", ["name"], registry=registry,
        )  # fmt: skip
        self.storage_errors = Counter(
            "wxbridge_storage_errors", "Times the database did not take something.", registry=registry,
        )  # fmt: skip
        self.config_reloads = Counter(
            "wxbridge_config_reloads", "Times jobs.yaml was read again: ok, invalid, failed.", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self.config_ok = Gauge(
            "wxbridge_config_ok", "Whether the bridge runs what jobs.yaml says now.", registry=registry,
        )  # fmt: skip
        self.config_ok.set(1)
        for outcome in ("ok", "invalid", "failed"):
            # A counter that first appears at 1 is no increase to Prometheus.
            self.config_reloads.labels(outcome)
        registry.register(_DroppedLines())

    def write_exposition(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self.registry)
