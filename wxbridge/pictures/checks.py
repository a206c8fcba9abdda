"""What `wxbridge doctor` looks at for pictures: the browser and the font."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from wxbridge.config.schema import Config
from wxbridge.core.errors import PictureError
from wxbridge.core.findings import Finding, FindingState
from wxbridge.pictures.pages import fonts
from wxbridge.pictures.pages.browser import Browser
from wxbridge.pictures.pages.program import find_browser
from wxbridge.pictures.pages.shot import Shot

BROWSER_LIMIT_SECONDS = 40.0
"""What a browser may take to start, on a small machine that has not done it before."""


async def check_browser(config: Config, *, is_needed: bool) -> list[Finding]:
    """Check that a browser is there, starts and draws; that there is none is bad where one `is_needed`."""
    missing = FindingState.BAD if is_needed else FindingState.WARN
    path = find_browser(config.pictures.browser)
    advice = "install one (Debian: apt install chromium-headless-shell), or set `pictures.browser`"
    if path is None:
        return [Finding("browser", missing, "no Chromium, Chrome or Edge was found", advice)]
    server = await asyncio.start_server(_page, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        started = time.monotonic()
        async with Browser(path) as made:
            await made.shoot(
                Shot(f"http://127.0.0.1:{port}/", width=200, height=100, deadline=BROWSER_LIMIT_SECONDS - 5)
            )
        seconds = time.monotonic() - started
    except PictureError as error:
        if await asyncio.to_thread(fonts.find_chinese_font) is None:
            advice = f"first install a font, without any browsers fail: {fonts.ADVICE}; then look again"
        return [Finding("browser", missing, f"{path} does not work: {error}", advice)]
    finally:
        server.close()
    return [Finding("browser", FindingState.OK, f"{path}: started, and drew a page in {seconds:.1f} s")]


async def _page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer whatever is asked with a page that is not blank."""
    body = "<!doctype html><meta charset=utf-8><title>t</title><h1>wxbridge 监控</h1>".encode()
    with suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
    writer.close()


async def check_font() -> list[Finding]:
    """Check that Chinese text in pictures is more than empty boxes."""
    found = await asyncio.to_thread(fonts.find_chinese_font)
    if found is None:
        advice = "install one (Debian: apt install fonts-noto-cjk or fonts-wqy-microhei)"
        return [
            Finding(
                "font", FindingState.WARN, "no font has Chinese letters: in pictures they become empty boxes", advice
            )
        ]
    return [Finding("font", FindingState.OK, found.family)]
