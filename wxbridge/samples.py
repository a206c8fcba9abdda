"""Sample alerts for `wxbridge alert test`, each as its monitor would post it."""

from __future__ import annotations

import base64
import io
import json
import math
import time
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFont


def chart_png(width: int = 900, height: int = 360) -> bytes:
    """A picture that looks like a panel: a curve that crosses a threshold. Sizes in pixels."""
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


def grafana() -> bytes:
    """Grafana's legacy webhook, firing, with two values; its picture travels inside as a `data:` address."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    picture = base64.b64encode(chart_png()).decode()
    body = {
        "title": "[Alerting] Test notification",
        "ruleId": time.time_ns(),
        "ruleName": "Test notification",
        "state": "alerting",
        "evalMatches": [
            {"value": 92.25, "metric": "CPU usage host-1", "tags": {"instance": "host-1"}},
            {"value": 7.5, "metric": "load1 host-1", "tags": {"instance": "host-1"}},
        ],
        "orgId": 0,
        "dashboardId": 1,
        "panelId": 1,
        "tags": {"severity": "critical"},
        "ruleUrl": "http://localhost:3000/d/test",
        "imageUrl": f"data:image/png;base64,{picture}",
        "message": f"Somebody ran `wxbridge alert test` at {now}.",
    }
    return json.dumps(body).encode()


SAMPLES: dict[str, Callable[[], bytes]] = {"grafana": grafana}
