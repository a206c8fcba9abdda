"""What an expression's values are counted in."""

from __future__ import annotations

import pytest

from wxbridge.monitors.promql_units import unit_in, unit_of_metric


@pytest.mark.parametrize(
    ("expr", "unit"),
    [
        ("node_load1", ""),
        ("node_filesystem_avail_bytes", "bytes"),
        ('sum by (pod) (container_memory_working_set_bytes{pod!=""})', "bytes"),
        ("rate(node_network_receive_bytes_total[5m])", "bytes/s"),
        ("increase(node_network_receive_bytes_total[5m])", "bytes"),
        ("node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "ratio"),
        ("100 - node_filesystem_avail_bytes / node_filesystem_size_bytes * 100", "%"),
        ("(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)", "ratio"),
        ('100 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])) * 100', "%"),
        ("node_filesystem_avail_bytes / 1024 / 1024", ""),
        ('sum(rate(requests_total{code="500"}[5m])) / sum(rate(requests_total[5m]))', "ratio"),
        ("sum(rate(errors_total[5m])) / sum(rate(requests_total[5m]))", ""),
        ("histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m])))", "seconds"),
        ("rate(request_duration_seconds_count[5m])", ""),
        ("time() - backup_timestamp_seconds", "seconds"),
        ("node_boot_time_seconds", ""),
        ("count(node_filesystem_avail_bytes)", ""),
        ("absent(node_filesystem_avail_bytes)", ""),
        ("(node_filesystem_avail_bytes) > bool 3", ""),
        ("custom_size", "bytes"),
        ("max_over_time(queue_wait_seconds[10m:1m])", "seconds"),
        ("node_a_bytes + node_b_seconds", ""),
        ("this is ( nothing", ""),
    ],
)
def test_the_unit_follows_from_the_metrics_and_what_is_done_with_them(expr: str, unit: str) -> None:
    known = {"custom_size": "bytes"}
    assert unit_in(expr, lambda name: known.get(name, "")) == unit


def test_what_a_histogram_counts_is_no_time() -> None:
    assert (unit_of_metric("a_seconds_sum"), unit_of_metric("a_seconds_count")) == ("seconds", "")
