# ruff: noqa: INP001, S603, S607, S311, E501, PLR2004 - a script, in no package; what it starts is its own; noise is no secret
"""Draws the charts of ten alerts, as they would be sent, from a real Prometheus: `python docs/charts/make.py`.

It needs `prometheus` and `promtool` (Debian's package prometheus), whose storage it fills with two hours of data that
look like a small company's: a database that runs full, a shop that answers with errors, a machine that went away.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from wxbridge.alerts.pictures import AlertPictureOptions, choose_pictures
from wxbridge.config.types import WebSource
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.pictures.renderer import PictureRenderer

HERE = Path(__file__).parent
EVERY, LENGTH = 15, 7200
NODES = ("db-1", "db-2", "web-1", "web-2", "web-3", "cache-1")
GIB = 2**30

RULES = r"""
groups:
  - name: all
    rules:
      - {alert: HostHighLoad, expr: 'node_load1 > 8', for: 2m, labels: {severity: warning}}
      - alert: DiskWillFill
        expr: node_filesystem_avail_bytes{fstype!="tmpfs"} < 20 * 1024 * 1024 * 1024
        for: 5m
        labels: {severity: critical}
      - alert: 磁盘空间不足
        expr: 100 - node_filesystem_avail_bytes / node_filesystem_size_bytes * 100 > 85
        for: 5m
      - alert: HttpErrors
        expr: |
          sum by (service) (rate(http_requests_total{code=~"5.."}[5m]))
            / sum by (service) (rate(http_requests_total[5m])) > 0.05
        for: 1m
      - alert: SlowRequests
        expr: histogram_quantile(0.95, sum by (le, service) (rate(http_request_duration_seconds_bucket[5m]))) > 0.5
        for: 1m
      - {alert: HostDown, expr: 'up{job="node"} == 0', for: 1m}
      - {alert: QueueNotDrained, expr: 'queue_messages > on (queue) queue_limit'}
      - {alert: PodMemory, expr: 'container_memory_working_set_bytes{pod!=""} > 1.5e9', for: 3m}
      - {alert: BackupMissing, expr: 'absent(backup_last_success_timestamp_seconds{job="backup"})'}
      - {alert: NetworkBusy, expr: 'rate(node_network_receive_bytes_total{device="eth0"}[2m]) >= bool 9e7 == 1', for: 1m}
"""


@dataclass(frozen=True)
class Picture:
    """One picture: the rule, the alert's labels (several for one group), and when it fired, seconds before now."""

    name: str
    rule: str
    labels: tuple[dict[str, str], ...]
    since: float
    until: float | None = None
    language: str = "en"
    theme: str = "light"


PICTURES = (
    Picture("load", "HostHighLoad", ({"instance": "db-1:9100", "job": "node"},), 420),
    Picture("load-over", "HostHighLoad", ({"instance": "web-2:9100", "job": "node"},), 4200, 2400),
    Picture("disk", "DiskWillFill", ({"instance": "db-1:9100", "mountpoint": "/data", "fstype": "ext4", "job": "node"},), 300),
    Picture("disk-chinese", "磁盘空间不足", ({"instance": "db-1:9100", "mountpoint": "/data", "fstype": "ext4", "job": "node"},), 600,
            language="zh", theme="dark"),
    Picture("errors", "HttpErrors", ({"service": "checkout"},), 480),
    Picture("slow", "SlowRequests", ({"service": "checkout"}, {"service": "search"}), 400, theme="dark"),
    Picture("down", "HostDown", ({"instance": "web-3:9100", "job": "node"},), 240),
    Picture("queue", "QueueNotDrained", ({"queue": "mail"},), 360, language="zh"),
    Picture("pods", "PodMemory", tuple({"pod": f"shop-{n}", "namespace": "shop"} for n in range(14)), 500),
    Picture("backup", "BackupMissing", ({"job": "backup"},), 300),
    Picture("network", "NetworkBusy", ({"instance": "web-1:9100", "device": "eth0", "job": "node"},), 200, theme="dark"),
)  # fmt: skip


def _wave(size: float, period: float, phase: float = 0.0) -> Callable[[float], float]:
    return lambda at: size * math.sin(2 * math.pi * at / period + phase)


def _rise(start: float, height: float, over: float = 300.0, end: float = math.inf) -> Callable[[float], float]:
    """From 0 to a height within some seconds, from `start` seconds before now on; down again after `end`."""
    return lambda at: height * min(1.0, max(0.0, (at + start) / over)) * (1.0 if at < -end or end == math.inf else 0.0)


def series() -> Iterator[tuple[str, Callable[[float], float | None]]]:
    """Every series: its name with labels, and its value by the time, in seconds before now (negative)."""
    rise, over = _rise(720, 7.5), _rise(4600, 8, 400, 2500)
    for place, node in enumerate(NODES):
        wave, own = _wave(0.7, 2900, place), f'instance="{node}:9100",job="node"'

        def load(at: float, node: str = node, wave: Callable[[float], float] = wave) -> float:
            more = rise(at) if node == "db-1" else over(at) if node == "web-2" else 0.0
            return max(0.05, 2 + wave(at) + more + random.gauss(0, 0.25))

        yield f"node_load1{{{own}}}", load
        yield f"up{{{own}}}", lambda at, node=node: 0.0 if node == "web-3" and at > -300 else 1.0  # type: ignore[misc]
        full = 14.5 if node == "db-1" else 60.0
        disk = f'{own},mountpoint="/data",fstype="ext4"'
        yield f"node_filesystem_size_bytes{{{disk}}}", lambda _: 160.0 * GIB
        yield f"node_filesystem_avail_bytes{{{disk}}}", lambda at, full=full: (full - at / 55) * GIB  # type: ignore[misc]

        def received(at: float, node: str = node, total: list[float] = [0.0]) -> float:  # noqa: B006 - its own state
            total[0] += EVERY * (3e7 + random.random() * 8e6 + (_rise(330, 8e7, 90)(at) if node == "web-1" else 0))
            return total[0]

        yield f'node_network_receive_bytes_total{{{own},device="eth0"}}', _fresh(received, node)
    yield from _services()
    for queue, limit in (("mail", 500.0), ("orders", 500.0)):
        grow = _rise(900, 620, 900) if queue == "mail" else _rise(9e9, 0)
        yield f'queue_messages{{queue="{queue}"}}', lambda at, grow=grow: round(60 + grow(at) + random.random() * 25)  # type: ignore[misc]
        yield f'queue_limit{{queue="{queue}"}}', lambda _, limit=limit: limit  # type: ignore[misc]
    for n in range(17):
        top = 1.62e9 + n * 3e7 if n < 14 else 9e8
        grow = _rise(1500, top - 7e8, 700)
        yield (
            f'container_memory_working_set_bytes{{pod="shop-{n}",namespace="shop"}}',
            (
                lambda at, grow=grow: 7e8 + grow(at) + random.gauss(0, 6e6)  # type: ignore[misc]
            ),
        )
    yield 'backup_last_success_timestamp_seconds{job="backup"}', lambda at: 1.7e9 if at < -600 else None


def _fresh(function: Callable[..., float], node: str) -> Callable[[float], float]:
    total = [0.0]
    return lambda at: function(at, node, total)


def _services() -> Iterator[tuple[str, Callable[[float], float | None]]]:
    for service in ("checkout", "search", "login"):
        bad = _rise(620, 9, 200) if service == "checkout" else _rise(9e9, 0)
        for code, rate in (("200", 80.0), ("500", 0.4)):

            def requests(
                at: float, code: str = code, rate: float = rate, total: list[float] = [0.0],  # noqa: B006
                bad: Callable[[float], float] = bad,
            ) -> float:  # fmt: skip
                total[0] += EVERY * (rate + (bad(at) if code == "500" else 0) + random.random() * rate / 8)
                return total[0]

            yield f'http_requests_total{{service="{service}",code="{code}"}}', _own(requests)
        slow = _rise(700, 0.3, 300) if service != "login" else _rise(9e9, 0)
        for bound, share in (("0.1", 0.6), ("0.25", 0.9), ("0.5", 0.99), ("1", 0.997), ("+Inf", 1.0)):

            def bucket(
                at: float, share: float = share, bound: str = bound, total: list[float] = [0.0],  # noqa: B006
                slow: Callable[[float], float] = slow,
            ) -> float:  # fmt: skip
                part = share - (slow(at) * share if bound in ("0.1", "0.25", "0.5") else 0)
                total[0] += EVERY * 80 * part * (1 + random.random() / 30)
                return total[0]

            yield f'http_request_duration_seconds_bucket{{service="{service}",le="{bound}"}}', _own(bucket)


def _own(function: Callable[..., float]) -> Callable[[float], float]:
    total = [0.0]
    return lambda at: function(at, total=total)


@contextmanager
def prometheus(directory: Path, now: int) -> Iterator[str]:
    """A Prometheus with the data and the rules; gives its address."""
    random.seed(7)
    lines = [
        f"{name} {value!r} {now + at}"
        for name, of in series()
        for at in range(-LENGTH, 1, EVERY)
        if (value := of(float(at))) is not None
    ]
    lines.sort(key=lambda line: line.partition("{")[0])
    (directory / "samples").write_text("\n".join([*lines, "# EOF\n"]), encoding="utf-8")
    (directory / "rules.yml").write_text(RULES, encoding="utf-8")
    (directory / "prometheus.yml").write_text("rule_files: [rules.yml]\n", encoding="utf-8")
    create = [
        "promtool",
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        str(directory / "samples"),
        str(directory / "data"),
    ]
    subprocess.run(create, check=True, capture_output=True)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    process = subprocess.Popen(
        ["prometheus", f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'data'}",
         f"--web.listen-address={address}"], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://{address}/api/v1/rules") as answer:
                    if json.load(answer)["data"]["groups"]:
                        break
            except OSError:
                pass
            time.sleep(0.1)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


async def draw(url: str, now: datetime) -> None:
    """Draw all of them."""
    async with PictureRenderer(prometheus=WebSource(url=url)) as pictures:
        for each in PICTURES:
            over = each.until is not None
            alerts = tuple(
                Alert(
                    "alertmanager",
                    AlertStatus.RESOLVED if over else AlertStatus.FIRING,
                    each.rule,
                    labels={"alertname": each.rule, "cluster": "shanghai", **labels},
                    starts_at=now - timedelta(seconds=each.since),
                    ends_at=now - timedelta(seconds=each.until) if each.until is not None else None,
                )
                for labels in each.labels
            )
            look = AlertPictureOptions(
                prometheus=True, timezone="Asia/Shanghai", language=each.language, theme=each.theme
            )
            group = choose_pictures(AlertGroup("alertmanager", "", "", alerts), ("chart",), now, look)
            (spec,) = [alert.picture for alert in group.alerts if alert.picture]
            begun = time.monotonic()
            png = await pictures.draw(spec)
            (HERE / f"{each.name}.png").write_bytes(png)
            sys.stdout.write(f"{each.name}.png {len(png)} bytes {(time.monotonic() - begun) * 1000:.0f} ms\n")


def main() -> None:
    """Make the pictures."""
    now = int(time.time()) // EVERY * EVERY
    with tempfile.TemporaryDirectory() as directory, prometheus(Path(directory), now) as url:
        asyncio.run(draw(url, datetime.fromtimestamp(now, UTC)))


if __name__ == "__main__":
    main()
