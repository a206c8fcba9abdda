"""Scripts that are evaluated in a page, within a time limit: measuring it, and having it drawn."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from wxbridge.pictures.pages.grafana import Recipe

if TYPE_CHECKING:
    from playwright.async_api import Page

SCRIPT_SECONDS = 5.0
"""That one script may take: `evaluate()` has no time limit of its own."""
SETTLE_SECONDS = 2.0
"""That pictures and fonts are waited for, once the page is ready."""

PAGE_SCRIPT = """
(() => {
  // Ended at once rather than removed, so that what fades in is there; a constructed sheet, which no CSP forbids.
  const css = new CSSStyleSheet();
  css.replaceSync(`*, *::before, *::after {
    animation-duration: 0s !important; animation-delay: 0s !important;
    animation-iteration-count: 1 !important;
    transition-duration: 0s !important; transition-delay: 0s !important;
    caret-color: transparent !important; scroll-behavior: auto !important; }
    [data-testid="public-dashboard-footer"] { display: none !important; }`);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, css];

  const seen = {changes: 0};
  Object.defineProperty(window, '__wxbridge', {value: seen});
  new MutationObserver(() => { seen.changes++; }).observe(
    document, {subtree: true, childList: true, attributes: true, characterData: true});
  const pens = {
    CanvasRenderingContext2D: ['clearRect', 'fillRect', 'stroke', 'fill', 'fillText', 'drawImage', 'putImageData'],
    WebGLRenderingContext: ['clear', 'drawArrays', 'drawElements'],
    WebGL2RenderingContext: ['clear', 'drawArrays', 'drawElements'],
  };
  for (const [pen, words] of Object.entries(pens)) for (const word of words) {
    const draw = window[pen] && window[pen].prototype[word];
    if (draw) window[pen].prototype[word] = function (...given) { seen.changes++; return draw.apply(this, given); };
  }
})();
"""
"""Run in every new document: counts what changes in it, canvases too, and ends animations at once: a spinner's took two
thirds of a shot's CPU (shared/facts/rendering.md)."""

_SETTLE = """
async () => {
  await Promise.all([...document.images].filter(i => i.complete && i.naturalWidth).map(i =>
  i.decode().catch(() => {}))); if (document.fonts) await document.fonts.ready;
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

_PANEL = """
({error, noData, body}) => {
  const said = selector => [...document.querySelectorAll(selector)].map(e => e.innerText.trim()).find(Boolean) || '';
  return {failed: !!document.querySelector(error), noData: said(noData), words: said(body).slice(0, 200)};
}
"""

_TOOLTIPS = "[data-popper-placement], .popper, .drop-content, [role='tooltip']"
_TOOLTIP_SECONDS = 1.0

_EXTENT = """
panels => {
  const tall = Math.max(...[document.documentElement, document.body].map(e => e ? e.scrollHeight : 0));
  const ends = panels ? [...document.querySelectorAll(panels)].map(e => e.getBoundingClientRect().bottom) : [];
  if (ends.length) return Math.min(tall, Math.ceil(Math.max(...ends) + scrollY) + 16);
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


_NUDGE = """
async selector => {
  const scroller = document.querySelector(selector);
  if (!scroller) return;
  const frame = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  const before = scroller.style.paddingBottom;
  scroller.style.paddingBottom = '100px';  // so that it can be scrolled
  scroller.scrollTop = 60;
  await frame();
  scroller.scrollTop = 0;
  scroller.style.paddingBottom = before;
  await frame();
}
"""


async def evaluate(page: Page, script: str, argument: Any = None, *, limit: float = SCRIPT_SECONDS) -> Any:
    """Evaluate a script in the page, for at most `limit` seconds.

    Raises:
        TimeoutError: the page did not answer in time (it computes without end, or its renderer hangs).
    """
    async with asyncio.timeout(limit):
        return await page.evaluate(script, argument)


async def settle(page: Page) -> None:
    """Let pictures be decoded and fonts be there, for at most `SETTLE_SECONDS`."""
    try:
        await evaluate(page, _SETTLE, limit=SETTLE_SECONDS)
    except TimeoutError:
        return  # an endless picture stream; the page was ready before


async def nudge(page: Page, scroller: str) -> None:
    """Scroll the first element of a CSS selector down and up again, by as much as Grafana 7 takes notice of (25 px)."""
    with contextlib.suppress(TimeoutError):
        await evaluate(page, _NUDGE, scroller)


async def find_box(page: Page, selector: str) -> dict[str, float] | None:
    """Find where the first visible element of a CSS selector is, in CSS pixels of the document; None without one."""
    box: dict[str, float] | None = await evaluate(page, _BOX, selector)
    return box


async def measure_extent(page: Page, panels: str = "") -> int:
    """Measure how far down the page goes, in CSS pixels, also where the window is taller than that.

    `panels` is a CSS selector of those below the lowest of which it ends, where it has any.
    """
    return int(await evaluate(page, _EXTENT, panels))


async def read_panel(page: Page, recipe: Recipe) -> dict[str, Any]:
    """Read what the one panel of a page says: whether it has `failed`, and the `words` that stand for its data."""
    words = {"error": recipe.error, "noData": recipe.no_data, "body": recipe.body}
    seen: dict[str, Any] = await evaluate(page, _PANEL, words)
    return seen


async def read_tooltip(page: Page, selector: str) -> str:
    """Point at an element, and read what its tooltip says; empty where none comes."""
    from playwright.async_api import Error

    limit = _TOOLTIP_SECONDS * 1000
    try:
        await page.hover(selector, timeout=limit)
        words = await page.locator(_TOOLTIPS).last.inner_text(timeout=limit)
    except Error:
        return ""
    return " ".join(words.split())[:300]
