"""A real Prometheus and a real Alertmanager: an alert brings its text, then the chart of its rule."""

from __future__ import annotations

import io
import json
import socket
from typing import Any

from aiohttp import web
from PIL import Image

from tests.fakes.real_monitors import needs_both
from tests.support import free_port
from wxbridge.pictures.charts.chart import WIDTH

from .bridge_harness import BridgeHarness
from .test_monitors import ROUTES, monitors


def body(name: str = "DiskAlmostFull", **more: Any) -> dict[str, Any]:
    alert = {
        "status": "firing",
        "labels": {"alertname": name, "severity": "warning", "instance": "db-1", "mount": "/data"},
        "annotations": {},
        "startsAt": "2026-06-05T12:00:00Z",
        "generatorURL": "http://prometheus/graph?g0.expr=disk_used_ratio+%3E+0.9",
        "fingerprint": name,
        **more,
    }
    return {"version": "4", "groupKey": name, "receiver": "x", "groupLabels": {"alertname": name}, "alerts": [alert]}


def pictures(harness: BridgeHarness) -> list[bytes]:
    found = harness.simulator.world.messages(room="技术讨论群", sent_by_bot=True)
    return [message.media.data for message in found if message.media]


@needs_both
async def test_an_alert_of_a_real_prometheus_brings_its_text_and_then_its_chart(harness: BridgeHarness) -> None:
    port = free_port()
    bridge = await harness.bridge(f"{ROUTES}prometheus: {{url: 'http://127.0.0.1:{port}'}}\n")
    async with monitors(harness, bridge, prometheus_port=port) as made:
        made.figures["queue_length"] = 40
        text, picture = await harness.until(lambda: len(harness.room()) == 2 and harness.room())
        assert text.startswith("🟡 ")
        assert picture.startswith("[")
        drawn = harness.directory / "queue.png"
        assert (await harness.command("chart", "--rule", "QueueLong", "-o", str(drawn)))[0] == 0
        assert Image.open(drawn).width == WIDTH
        made.figures["queue_length"] = 4
        await harness.until(lambda: len(harness.room()) == 4)
        assert await bridge.counted("wxbridge_pictures_total", kind="alert", outcome="drawn") == 2
    for data in pictures(harness):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        assert image.width == WIDTH
        # The threshold's line is red, as is the band of the firing time.
        assert sum(count for count, colour in image.getcolors(2**24) or () if colour == (209, 36, 47)) > WIDTH / 2


async def test_where_prometheus_is_away_the_room_reads_the_text_alone_and_the_master_why(
    harness: BridgeHarness,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        bridge = await harness.bridge(
            f"prometheus: {{url: 'http://127.0.0.1:{port}'}}\npictures: {{alerts: {{deadline: 1s}}}}\n"
        )
        await bridge.post(body(), "/hooks/alertmanager")
        told = await harness.until(lambda: [text for text in harness.chat() if "cannot be reached" in text])
        [text] = await harness.until(harness.room)
    assert "DiskAlmostFull" in text
    assert "cannot be reached" not in text
    assert len(told) == 1
    assert await bridge.counted("wxbridge_pictures_total", kind="alert", outcome="passing") == 1


async def test_where_there_is_nothing_to_draw_the_text_stands_alone_and_nothing_is_complained_about(
    harness: BridgeHarness,
) -> None:
    async def empty(request: web.Request) -> web.Response:
        data = {"groups": []} if request.path.endswith("rules") else {"resultType": "matrix", "result": []}
        return web.Response(text=json.dumps({"status": "success", "data": data}), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/api/v1/{what}", empty)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        bridge = await harness.bridge(f"prometheus: {{url: 'http://127.0.0.1:{runner.addresses[0][1]}'}}\n")
        await bridge.post(body(), "/hooks/alertmanager")
        await bridge.post(body("Other", generatorURL=""), "/hooks/alertmanager")
        await bridge.event("no picture to draw", reason="no_data")
        await bridge.event("no picture to draw", reason="no_rule")
        await harness.until(lambda: len(harness.room()) == 2 and harness.chat())
        _, out, _ = await harness.command("outbox", "list", "--json")
        metrics = (await bridge.get("/metrics"))[1]
    finally:
        await runner.cleanup()
    assert not any(text.startswith("[") for text in harness.room())
    assert harness.chat() == ["hello master!"]
    assert {row["state"] for row in json.loads(out)} == {"sent"}
    assert 'wxbridge_pictures_total{kind="alert",outcome="no_rule"} 1.0' in metrics
