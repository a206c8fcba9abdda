"""Sample alerts for `wxbridge alert test` and `wxbridge template render`, each as its monitor would post it."""

from __future__ import annotations

import base64
import io
import json
import math
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from PIL import Image, ImageDraw, ImageFont

from wxbridge import registry
from wxbridge.cli import sample_senders as senders
from wxbridge.core.model import AlertGroup
from wxbridge.hosts import chart
from wxbridge.hosts.samples import Host, Sample, make_history


def chart_png() -> bytes:
    """A picture that looks like a panel: a curve that crosses a threshold."""
    width, height = 900, 360
    image = Image.new("RGB", (width, height), "#181b1f")
    draw = ImageDraw.Draw(image)
    for step in range(1, 6):
        y = height * step // 6
        draw.line([(50, y), (width - 20, y)], fill="#2c3235")
    threshold = height // 3
    draw.line([(50, threshold), (width - 20, threshold)], fill="#e24d42", width=2)
    points: list[tuple[float, float]] = []
    for x in range(50, width - 20, 4):
        share = (x - 50) / (width - 70)
        level = height * (0.78 - 0.55 * share**3 - 0.05 * math.sin(share * 24))
        points.append((x, level))
    draw.line(points, fill="#7eb26d", width=3, joint="curve")
    font = ImageFont.load_default(size=24)
    draw.text((50, 12), "CPU usage host-1: 92.25 %   (test alert)", fill="#d8d9da", font=font)
    draw.text((60, threshold - 32), "max 90 %", fill="#e24d42", font=font)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def grafana(*, resolved: bool) -> dict[str, Any]:
    """Grafana's legacy webhook, firing, with two values; its picture travels inside as a `data:` address."""
    body = {
        "ruleId": time.time_ns(),
        "ruleName": "Test notification",
        "orgId": 0,
        "dashboardId": 1,
        "panelId": 1,
        "tags": {"severity": "critical"},
        "ruleUrl": "http://localhost:3000/d/test",
        "message": senders.SAID,
    }
    if resolved:
        return body | {"title": "[OK] Test notification", "state": "ok", "evalMatches": []}
    return body | {
        "title": "[Alerting] Test notification",
        "state": "alerting",
        "evalMatches": [
            {"value": 92.25, "metric": "CPU usage host-1", "tags": {"instance": "host-1"}},
            {"value": 7.5, "metric": "load1 host-1", "tags": {"instance": "host-1"}},
        ],
        "imageUrl": f"data:image/png;base64,{base64.b64encode(chart_png()).decode()}",
    }


def grafana_unified(*, resolved: bool) -> dict[str, Any]:
    """Grafana's unified alerting: two alerts fire, one has ended; a picture travels inside."""
    alerts = (
        [_unified("host-1", 41.0, resolved=True), _unified("host-2", 38.5, resolved=True)]
        if resolved
        else [
            _unified("host-1", 92.25) | {"embeddedImage": base64.b64encode(chart_png()).decode()},
            _unified("host-2", 88.5),
            _unified("host-3", 41.0, resolved=True),
        ]
    )
    return {
        "receiver": "wxbridge",
        "status": "resolved" if resolved else "firing",
        "orgId": 1,
        "alerts": alerts,
        "groupLabels": {"alertname": "CPU usage"},
        "commonLabels": {"alertname": "CPU usage", "severity": "critical"},
        "commonAnnotations": {},
        "externalURL": "http://localhost:3000/",
        "appVersion": "12.1.0",
        "version": "1",
        "groupKey": '{}:{alertname="CPU usage"}',
        "truncatedAlerts": 0,
        "title": f"[{'RESOLVED:2' if resolved else 'FIRING:2, RESOLVED:1'}] CPU usage (critical)",
        "state": "ok" if resolved else "alerting",
        "message": "**Resolved**" if resolved else "**Firing**\n\nValue: B=92.25, C=1",
    }


def _unified(host: str, figure: float, *, resolved: bool = False) -> dict[str, Any]:
    url = f"http://localhost:3000/d/test/hosts?orgId=1&var-host={host}"
    return _alert("CPU usage", host, resolved=resolved) | {
        "generatorURL": "http://localhost:3000/alerting/grafana/cpu/view?orgId=1",
        "silenceURL": f"http://localhost:3000/alerting/silence/new?alertmanager=grafana&matcher=host%3D{host}",
        "dashboardURL": url,
        "panelURL": f"{url}&viewPanel=2",
        "values": {"B": figure, "C": float(not resolved)},
        "valueString": f"[ var='B' labels={{host={host}}} value={figure} ]",
    }


def alertmanager(*, resolved: bool) -> dict[str, Any]:
    """Alertmanager's webhook: one alert fires, one has ended."""
    query = {"generatorURL": "http://localhost:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1"}
    return {
        "receiver": "wxbridge",
        "status": "resolved" if resolved else "firing",
        "alerts": [
            _alert("HostDown", "host-1", resolved=resolved) | query,
            _alert("HostDown", "host-2", resolved=True) | query,
        ],
        "groupLabels": {"alertname": "HostDown"},
        "commonLabels": {"alertname": "HostDown", "severity": "critical"},
        "commonAnnotations": {},
        "externalURL": "http://localhost:9093",
        "version": "4",
        "groupKey": '{}:{alertname="HostDown"}',
        "truncatedAlerts": 0,
    }


def _alert(name: str, host: str, *, resolved: bool = False) -> dict[str, Any]:
    """What Grafana and Alertmanager both send of an alert."""
    now = datetime.now(UTC)
    return {
        "status": "resolved" if resolved else "firing",
        "labels": {"alertname": name, "host": host, "severity": "critical"},
        "annotations": {
            "summary": f"{name}: {host}",
            "description": senders.SAID,
            "runbook_url": "https://example.com/runbook",
        },
        "startsAt": (now - timedelta(minutes=5)).isoformat(),
        "endsAt": now.isoformat() if resolved else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        # Its own each time: who runs the command twice wants to see it twice.
        "fingerprint": secrets.token_hex(8),
    }


def openfalcon(*, resolved: bool) -> bytes:
    """Open-Falcon's form for a chat."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    word, figures = ("OK", "64.5<10") if resolved else ("PROBLEM", "4.2<10")
    content = f"[P0][{word}][host-1][][CPU空闲过低 all(#3) cpu.idle service=web {figures}][O1 {now}]"
    return urlencode({"tos": "zhangsan,lisi", "content": content}).encode()


def host(*, resolved: bool) -> dict[str, Any]:
    """What the bridge itself posts where a machine is busy, with the chart of the last minutes."""
    now = time.time()
    points = [(age, max(0.0, 1 - age / 300)) for age in range(600, 0, -10)]
    history = make_history(
        [Sample(now - age, {"cpu": 35 + 60 * load, "memory": 48 + 9 * load}) for age, load in points], 10
    )
    machine = Host("host-1", history, {"cores": 4.0}, thresholds={"cpu": 80.0})
    spec = chart.make_spec(machine, now - 600, now, language="en", timezone=UTC)
    alert = {
        "alertname": "HostCpuHigh",
        "status": "resolved" if resolved else "firing",
        "title": "host-1: CPU high",
        "labels": {"host": "host-1", "severity": "warning"},
        "annotations": {"threshold": "80", "message": senders.SAID},
        "values": [{"name": "CPU", "value": 35.5 if resolved else 92.25, "unit": "%"}],
        "starts_at": datetime.fromtimestamp(now - 50, UTC).isoformat(),
        "ends_at": datetime.fromtimestamp(now, UTC).isoformat() if resolved else None,
        "chart": spec.params if spec else None,
    }
    return {"host": "host-1", "alerts": [alert]}


def generic(*, resolved: bool) -> dict[str, Any]:
    """What `/hooks/generic` takes, all of it."""
    return {
        "title": "Backup",
        "text": senders.SAID,
        "status": "success" if resolved else "failed",
        "severity": "warning",
        "labels": {"host": "host-1", "job": "backup"},
        "values": {"duration": {"value": 351, "unit": "seconds"}, "size": {"value": 1288490188, "unit": "bytes"}},
        "link": "https://example.com/backup",
        "image": base64.b64encode(chart_png()).decode(),
    }


@dataclass(frozen=True)
class SampleAlert:
    """A body as a monitor posts it."""

    hook: str
    """The path below `/hooks/`."""
    content_type: str
    make: senders.MakeBody

    def body(self, *, resolved: bool = False) -> bytes:
        """Make the body."""
        made = self.make(resolved=resolved)
        return made if isinstance(made, bytes) else json.dumps(made, ensure_ascii=False).encode()

    def parse(self, *, resolved: bool = False) -> AlertGroup:
        """Read the body as the bridge does."""
        return registry.SourceTable({})[self.hook](self.body(resolved=resolved), {"Content-Type": self.content_type})


_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"

SAMPLES: dict[str, SampleAlert] = {
    "grafana": SampleAlert("grafana", _JSON, grafana),
    "grafana-unified": SampleAlert("grafana", _JSON, grafana_unified),
    "alertmanager": SampleAlert("alertmanager", _JSON, alertmanager),
    "host": SampleAlert("host", _JSON, host),
    "openfalcon": SampleAlert("openfalcon", _FORM, openfalcon),
    "generic": SampleAlert("generic", _JSON, generic),
    "mail": SampleAlert("mail", "message/rfc822", senders.mail),
    **{
        name: SampleAlert(f"generic/{name}", _FORM if name == "aliyun" else _JSON, make)
        for name, make in senders.BY_MAPPING.items()
    },
}
"""By the name of what raises the alert."""
