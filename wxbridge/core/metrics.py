"""The bridge's own figures, for Prometheus. There is one `Metrics` for a bridge, handed to whoever counts.

Names and labels are relied on by dashboards: `deploy/grafana/wxbridge.json` shows them all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from types import ModuleType

import wxbridge
from wxbridge.core.lean_imports import stand_ins
from wxbridge.core.output import count_dropped_lines


def _list_unused() -> dict[str, ModuleType | None]:
    """List what prometheus_client serves and pushes with: our server is aiohttp's, and nothing is pushed."""
    classes = {
        "http.server": ["BaseHTTPRequestHandler"],
        "socketserver": ["ThreadingMixIn"],
        "urllib.request": [
            "BaseHandler",
            "HTTPHandler",
            "HTTPRedirectHandler",
            "HTTPSHandler",
            "Request",
            "build_opener",
        ],
        "wsgiref.simple_server": ["WSGIRequestHandler", "WSGIServer"],
    }
    modules: dict[str, ModuleType | None] = {}
    for name, names in classes.items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update({each: type(each, (), {}) for each in names}, make_server=None)
    return modules


with stand_ins(_list_unused() if "prometheus_client" not in sys.modules else {}):
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
    from prometheus_client.core import CounterMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

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
        registry = self.registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        Info("wxbridge_build", "The running version.", registry=registry).info({"version": wxbridge.__version__})
        self.accepted = counter("wxbridge_accepted", "Messages queued, by source.", ["source"])
        self.deduplicated = counter("wxbridge_deduplicated", "Messages absorbed as a sender's repeat.", ["source"])
        self._of_sources: dict[str, tuple[Counter, Counter]] = {}
        """The counters of both for each source: to find them by their labels takes much longer than to count."""
        self.refused = counter("wxbridge_refused", "Requests that were not taken, by reason.", ["reason"])
        described = "Alerts that a target was not told of: held (silence, muted time), repeat."
        self.suppressed = counter("wxbridge_suppressed", described, ["reason"])
        described = "Alerts that went to the operators: unrouted, no_target (?to= names none), no_recipient."
        self.without_target = counter("wxbridge_alerts_without_target", described, ["reason"])
        described = (
            "What became of attempts: sent, retried, waited, unknown, merged, failed_over, expired, dead, no_picture."
        )
        self.messages = counter("wxbridge_messages", described, ["target", "outcome"])
        self.dead = counter("wxbridge_dead", "Messages given up, by the service's code.", ["target", "reason"])
        described = (
            "What became of pictures: drawn, no_rule, no_dashboard, no_data, no_source, storm, deadline, refused, "
            "passing, failed."
        )
        self.pictures = counter("wxbridge_pictures", described, ["kind", "outcome"])
        described = "From a message's creation to the service's answer."
        self.lag = Histogram(
            "wxbridge_lag_seconds", described, ["target"], buckets=LAG_BUCKETS_SECONDS, registry=registry
        )
        described = "Chat commands: answered, refused, cannot, failed, timeout, late, unknown, limited."
        self.commands = counter("wxbridge_commands", described, ["command", "outcome"])
        self.inbound = counter("wxbridge_inbound", "Messages that people wrote.", ["channel"])
        self.backlog = gauge("wxbridge_backlog_messages", "Messages still to send.", ["target"])
        self.backlog_oldest = gauge("wxbridge_backlog_oldest_seconds", "Age of the oldest message to send.", ["target"])
        described = "Messages that may still go in a window of the pace."
        self.pace_left = gauge("wxbridge_pace_left", described, ["channel", "window"])
        self.channel_state = gauge("wxbridge_channel_state", "1 for a channel's present state.", ["channel", "state"])
        described = "Messages that may be sent before somebody has to write to the bot."
        self.window_messages_left = gauge("wxbridge_window_messages_left", described, ["channel"])
        described = "Seconds until somebody has to have written to the bot."
        self.window_seconds_left = gauge("wxbridge_window_seconds_left", described, ["channel"])
        described = "Messages that the service took, since the start, and did not show."
        self.not_shown = gauge("wxbridge_not_shown", described, ["channel"])
        self.database_up = gauge("wxbridge_database_up", "Whether alerts can be stored.")
        self.leader = gauge("wxbridge_leader", "Whether this bridge leads; one always does.")
        described = "Since when the bridge leads that does, where several share a database."
        self.leader_since = gauge("wxbridge_leader_since_timestamp_seconds", described, ["name"])
        self.storage_errors = counter("wxbridge_storage_errors", "Times the database did not take something.")
        described = "Times jobs.yaml was read again: ok, invalid, failed."
        self.config_reloads = counter("wxbridge_config_reloads", described, ["outcome"])
        self.config_ok = gauge("wxbridge_config_ok", "Whether the bridge runs what jobs.yaml says now.")
        self.leader.set(1)
        self.config_ok.set(1)
        # A counter that first appears at 1 is no increase to Prometheus.
        for reason in ("unrouted", "no_target", "no_recipient"):
            self.without_target.labels(reason)
        for outcome in ("ok", "invalid", "failed"):
            self.config_reloads.labels(outcome)
        registry.register(_DroppedLines())

    def count_accepted(self, source: str, queued: int, duplicates: int) -> None:
        """Count what was stored of what a source sent."""
        counters = self._of_sources.get(source)
        if counters is None:
            counters = self._of_sources[source] = self.accepted.labels(source), self.deduplicated.labels(source)
        accepted, deduplicated = counters
        accepted.inc(queued)
        if duplicates:
            deduplicated.inc(duplicates)

    def write_exposition(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self.registry)
