"""Scripts that are evaluated in a page, within a time limit: measuring it, and having it drawn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Page

SCRIPT_SECONDS = 5.0
"""That one script may take: `evaluate()` has no time limit of its own."""

STILL_CSS_SCRIPT = """
(() => {
  // Ended at once rather than removed, so that what fades in is there; a constructed sheet, which no CSP forbids.
  const css = new CSSStyleSheet();
  css.replaceSync(`*, *::before, *::after {
    animation-duration: 0s !important; animation-delay: 0s !important;
    animation-iteration-count: 1 !important;
    transition-duration: 0s !important; transition-delay: 0s !important;
    caret-color: transparent !important; scroll-behavior: auto !important; }`);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, css];
})();
"""
"""Run in every new document: a spinner's animation took two thirds of a shot's CPU
(shared/facts/rendering.md)."""

_SETTLE = """
async () => {
  await Promise.all([...document.images].filter(i => i.complete && i.naturalWidth).map(i =>
  i.decode().catch(() => {}))); if (document.fonts) await document.fonts.ready;
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}
"""

_BOX = """
selector => {
  const e = [...document.querySelectorAll(selector)].find(e => e.getBoundingClientRect().width > 0);
  if (!e) return null;
  const r = e.getBoundingClientRect();
  return {x: Math.max(0, r.left + scrollX), y: Math.max(0, r.top + scrollY), width: r.width, height:
  r.height};
}
"""

_EXTENT = """
() => {
  const tall = Math.max(...[document.documentElement, document.body].map(e => e ? e.scrollHeight : 0));
  if (tall > innerHeight) return tall;
  let bottom = 0;
  for (const e of document.body ? document.body.getElementsByTagName('*') : []) {
    const r = e.getBoundingClientRect();
    // What holds others and ends where the window ends is only stretched to it.
    if (r.width > 0 && r.height > 0 && (!e.childElementCount || r.bottom < innerHeight - 1)) {
      bottom = Math.max(bottom, r.bottom);
    }
  }
  return tall - bottom > 100 ? Math.ceil(bottom) + 16 : tall;
}
"""


async def evaluate(page: Page, script: str, argument: Any = None, *, limit: float = SCRIPT_SECONDS) -> Any:
    """Evaluate a script in the page, for at most `limit` seconds.

    Raises:
        TimeoutError: the page did not answer in time (it computes without end, or its renderer hangs).
    """
    async with asyncio.timeout(limit):
        return await page.evaluate(script, argument)


async def settle(page: Page, limit: float = 2.0) -> None:
    """Let pictures be decoded and two frames be drawn, for at most `limit` seconds."""
    try:
        await evaluate(page, _SETTLE, limit=limit)
    except TimeoutError:
        return  # an endless picture stream; the page was ready before


async def find_box(page: Page, selector: str) -> dict[str, float] | None:
    """Find where the first visible element of a CSS selector is, in CSS pixels of the document; None without one."""
    box: dict[str, float] | None = await evaluate(page, _BOX, selector)
    return box


async def measure_extent(page: Page) -> int:
    """Measure how far down the page goes, in CSS pixels, also where the window is taller than that."""
    return int(await evaluate(page, _EXTENT))
