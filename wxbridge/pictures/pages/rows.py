"""The rows of a Grafana dashboard: opening the collapsed ones, and where each begins on the page.

What a row looks like in each Grafana, from its pages and its source:

- 6 to 9 (`DashboardRow.tsx`): `.dashboard-row` with `.dashboard-row__title` to be clicked, and
  `.dashboard-row--collapsed` where it is.
- 10 (`DashboardRow.tsx`): a button `dashboard-row-title-…` with `aria-expanded`.
- 11 and 12 (`SceneGridRow.tsx`, `RowItemRenderer.tsx`): the same button, with `aria-label` "Expand row" or "Collapse
  row" in the reader's language, and no `aria-expanded`. In another language a row counts as collapsed where no panel
  stands between its title and the next.
- 13 (`RowHeader.tsx`): a button `dashboard-row-toggle-for-…` with `aria-expanded`, around the title.

A dashboard of 12 or later may have rows within rows: they are opened too, and are no rows of their own to cut at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wxbridge.pictures.pages.parts import NO_MARKS, PageMarks, make_marks
from wxbridge.pictures.pages.scripts import evaluate

if TYPE_CHECKING:
    from playwright.async_api import Page

_ROWS = r"""
  const shown = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
  const buttons = [...new Set([...document.querySelectorAll(
    '[data-testid*="dashboard-row-title-"], [data-testid*="dashboard-row-toggle-for-"], .dashboard-row__title',
  )].map(e => e.closest('button, a, [role="button"]') || e))].filter(shown);
  const cells = [...document.querySelectorAll(
    '[data-panelid], [data-viz-panel-key], [data-griditem-key], .react-grid-item, [data-testid*="Panel header"]',
  )].filter(e => shown(e) && !buttons.some(b => e.contains(b)));
"""

OPEN_ROWS = (
    "guess => {"
    + _ROWS
    + r"""
  const tries = window.__wxbridgeRows = window.__wxbridgeRows || new WeakMap(), now = performance.now();
  const top = e => e.getBoundingClientRect().top;
  const tops = buttons.map(top).sort((a, b) => a - b);
  const lonely = button => {
    const here = top(button), next = tops.find(y => y > here + 1) ?? Infinity;
    return !cells.some(cell => top(cell) > here && top(cell) < next);
  };
  const says = button => {  // whether it is collapsed; null where the page does not say
    const said = button.getAttribute('aria-expanded'), label = button.getAttribute('aria-label') || '';
    if (said) return said === 'false';
    if (button.closest('.dashboard-row--collapsed') || /^expand\b/i.test(label)) return true;
    if (button.closest('.dashboard-row') || /^collapse\b/i.test(label)) return false;
    return null;
  };
  const found = {opening: 0, doubtful: 0};
  for (const button of buttons) {
    const said = says(button);
    if (!(said ?? lonely(button))) continue;
    const before = tries.get(button) || {count: 0, at: -Infinity};
    // A click takes a slow page a while, and a second one would close the row again.
    const waiting = now - before.at < 2000;
    if (!waiting && before.count >= (said ? 3 : 1)) continue;
    if (said || waiting || guess) found.opening += 1; else found.doubtful += 1;
    if (waiting || !said && !guess) continue;
    tries.set(button, {count: before.count + 1, at: now});
    button.click();
  }
  return found;
}
"""
)
"""Clicks the collapsed rows open, each a few times at most, so that one that will not open holds up nothing.

One of which only its emptiness tells that it is collapsed is `doubtful`, and clicked with `guess` only: once the page
stands still. `opening` are those that were clicked.
"""

_MARKS = (
    "() => {"
    + _ROWS
    + r"""
  const box = e => {
    const r = e.getBoundingClientRect();
    return [r.top + scrollY, r.bottom + scrollY];
  };
  const wrapper = e => e.closest('[data-testid*="dashboard-row-wrapper"]');
  const inner = b => { const own = wrapper(b); return !!(own && own.parentElement && wrapper(own.parentElement)); };
  const head = b => b.closest('.dashboard-row-header, .react-grid-item, [data-griditem-key], '
    + '[data-testid="dashboard-row-container"]') || b;
  const blocks = cells.map(box);
  const heading = button => {  // together with the panels below it
    const [above, below] = box(head(button));
    const next = Math.min(...blocks.map(b => b[0]).filter(y => y >= below - 1));
    return [above, isFinite(next) ? next + 1 : below];
  };
  return {
    rows: buttons.filter(b => !inner(b)).map(b => box(head(b))[0]),
    blocks: blocks.concat(buttons.map(heading)),
  };
}
"""
)


async def locate_marks(page: Page, top: float, height: float) -> PageMarks:
    """Find where the picture of a page may be cut, which begins at `top` and is `height` high, in CSS pixels."""
    if height <= 0:
        return NO_MARKS
    seen: dict[str, Any] = await evaluate(page, _MARKS)
    return make_marks(
        [(row - top) / height for row in seen["rows"]],
        [((above - top) / height, (below - top) / height) for above, below in seen["blocks"]],
    )
