"""What the bridge keeps of memory once its work is done."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image, ImageDraw

from tests.support import free_port

from .bridge_harness import BridgeHarness, BridgeProcess
from .test_main_job import legacy

pytestmark = pytest.mark.long

PICTURES = 10
MAX_MB_AT_REST = 150


def tall_picture() -> bytes:
    image = Image.new("RGB", (1600, 16_000), "white")
    draw = ImageDraw.Draw(image)
    for top in range(0, image.height, 100):
        draw.rectangle((100, top, 100 + top // 12, top + 50), fill=(top % 256, 90, 160))
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def resident_mb(bridge: BridgeProcess) -> float:
    status = Path(f"/proc/{bridge.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


async def test_ten_tall_pictures_leave_no_memory_behind(fresh_harness: BridgeHarness) -> None:
    content, port = tall_picture(), free_port()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type="image/png")

    site = web.Application()
    site.router.add_get("/{name}", answer)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        bridge = await fresh_harness.bridge(
            "pictures: {allow: [127.0.0.1], deadline: 2m, alerts: {storm: 100, deadline: 2m}}", ops="digest_after: 1h"
        )
        await bridge.event("wechat state", state="online")
        for index in range(PICTURES):
            title = f"n {index}"
            await bridge.post(legacy(title, imageUrl=f"http://127.0.0.1:{port}/{index}.png"))
        await fresh_harness.until(lambda: sum(text.startswith("[") for text in fresh_harness.room()) == PICTURES)
        assert resident_mb(bridge) < MAX_MB_AT_REST
    finally:
        await runner.cleanup()
