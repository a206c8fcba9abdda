"""Something to take pictures of: a dashboard as a monitor shows it, and charts by address."""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
import random
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (960, 480)
POINTS = 120

_CJK_FONTS = (
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "C:/Windows/Fonts/msyh.ttc",
)
_BACKGROUND, _PANEL, _GRID = (17, 18, 23), (24, 27, 31), (44, 50, 58)
_TEXT, _FAINT = (204, 204, 220), (142, 142, 160)
_LINES = ((115, 191, 105), (242, 204, 12))


def routes(static: Path) -> list[web.AbstractRouteDef]:
    """Give the routes under /demo; `static` is where dashboard.html is."""

    async def dashboard(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(static / "dashboard.html")

    async def chart(request: web.Request) -> web.StreamResponse:
        drawn = await asyncio.to_thread(draw_chart, request.match_info["path"])
        return web.Response(body=drawn, content_type="image/png")

    async def health(_: web.Request) -> web.StreamResponse:
        return web.json_response({"database": "ok", "version": "of the simulator"})

    async def search(_: web.Request) -> web.StreamResponse:
        return web.json_response([{"uid": "dashboard", "title": "业务巡检", "type": "dash-db", "url": "/dashboard"}])

    # What `wxbridge doctor` asks a Grafana.
    asked = [web.get("/demo/api/health", health), web.get("/demo/api/search", search)]
    return [*asked, web.get("/demo/dashboard", dashboard), web.get(r"/demo/{path:[\s\S]+}.png", chart)]


def parse_time(path: str) -> datetime | None:
    """Read `year/month/day[/hour[/minute]]` at the end of a path, None where it is no date."""
    numbers = [int(part) for part in re.findall(r"\d{1,4}", path, re.ASCII)][-5:]
    while len(numbers) >= 3:  # noqa: PLR2004 - a date has three parts
        try:
            return datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type,misc] # year to minute, in this order
        except ValueError:
            numbers = numbers[1:]
    return None


def _font(size: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]:
    for name in _CJK_FONTS:
        try:
            return ImageFont.truetype(name, size), True
        except OSError:
            continue
    return ImageFont.load_default(size), False


def draw_chart(path: str) -> bytes:
    """Draw a PNG line chart whose line and caption follow from the path alone."""
    when = parse_time(path)
    # Drawn twice as large and shrunk, because Pillow's lines have hard edges.
    width, height = SIZE[0] * 2, SIZE[1] * 2
    dice = random.Random(hashlib.sha256(path.encode("utf-8", "replace")).digest())  # noqa: S311 - a drawing
    image = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((24, 24, width - 25, height - 25), radius=12, fill=_PANEL, outline=_GRID, width=2)
    title_font, cjk = _font(48)
    small, _ = _font(30)
    if when is None:
        path = "".join(letter if letter.isprintable() else "?" for letter in path)
        caption = path if cjk else path.encode("ascii", "replace").decode()
    elif cjk:
        caption = f"业务巡检  {when.year}年{when:%m月%d日 %H:%M}"
    else:
        caption = f"Inspection  {when:%Y-%m-%d %H:%M}"
    draw.text((64, 56), caption[:60], font=title_font, fill=_TEXT)
    left, top, right, bottom = 168, 168, width - 96, height - 176
    peak = dice.choice((100, 200, 500, 1000))
    for step in range(5):
        y = bottom - (bottom - top) * step / 4
        draw.line((left, y, right, y), fill=_GRID, width=2)
        draw.text((left - 20, y), str(peak * step // 4), font=small, fill=_FAINT, anchor="rm")
    last = when or datetime(2000, 1, 1, 12, tzinfo=UTC)
    for step in range(7):
        x = left + (right - left) * step / 6
        draw.line((x, top, x, bottom), fill=_GRID, width=2)
        label = f"{(last.hour - 6 + step) % 24:02d}:{last.minute:02d}"
        draw.text((x, bottom + 16), label, font=small, fill=_FAINT, anchor="ma")
    names = ("请求数 req/s", "延迟 p95 ms") if cjk else ("requests/s", "p95 ms")
    for index, (name, colour) in enumerate(zip(names, _LINES, strict=True)):
        line, level = [], dice.uniform(0.3, 0.6)
        phase, wander = dice.uniform(0, math.tau), 0.0
        for point in range(POINTS):
            wander = wander * 0.92 + dice.uniform(-0.03, 0.03)
            value = level + 0.18 * math.sin(phase + point / POINTS * math.tau * (1 + index)) + wander
            x = left + (right - left) * point / (POINTS - 1)
            line.append((x, bottom - (bottom - top) * min(max(value, 0.02), 0.98)))
        draw.line(line, fill=colour, width=5, joint="curve")
        legend = left + 380 * index
        draw.line((legend, height - 76, legend + 44, height - 76), fill=colour, width=8)
        draw.text((legend + 64, height - 76), name, font=small, fill=_TEXT, anchor="lm")
    written = io.BytesIO()
    image.resize(SIZE, Image.Resampling.LANCZOS).save(written, "PNG")
    return written.getvalue()
