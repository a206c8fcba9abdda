"""The tabs of a dashboard of Grafana 12: only the chosen one's panels exist in the page, so each is chosen in turn.

See shared/facts/grafana-12.4.md. A click changes `dtab=` in the address and saves nothing. A tab whose title has no
Latin letters or digits has an empty name there, and does not become chosen: Grafana 12.4 itself cannot show it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wxbridge.pictures.pages.scripts import evaluate

if TYPE_CHECKING:
    from playwright.async_api import Page

MAX_TABS = 40
"""The most tabs of one dashboard that are shot."""
_SELECT_SECONDS = 2.0
"""That a tab may take to become chosen."""
_LOOK_EVERY_SECONDS = 0.05

_TABS = r"""
click => {
  const shown = e => { const r = e.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
  const panels = '[data-viz-panel-key], [data-testid*="dashboard-row-t"], .react-grid-item';
  // A list stands in a bar, and that in what holds the panels below it too; those within a panel are its own.
  const lists = [...document.querySelectorAll('[role="tablist"]')]
    .filter(list => shown(list) && !list.closest('[data-viz-panel-key]'))
    .map(list => ({list, box: list.parentElement.parentElement,
      tabs: [...list.querySelectorAll('[role="tab"][data-testid*="Tab "]')]}))
    .filter(each => each.tabs.length);
  // Of several that say so, for want of names in the address, the first is shown.
  const chosen = each => each.tabs.findIndex(tab => tab.ariaSelected === 'true');
  // Tabs within a tab are told from those of the same place in another.
  const within = each => lists.filter(outer => outer !== each && outer.box.contains(each.list)
    && !each.box.contains(outer.list)).map(chosen).join('.');
  const group = each => within(each) + '#' + lists.filter(e => within(e) === within(each)).indexOf(each);
  const found = [];
  for (const each of lists) {
    const top = each.list.getBoundingClientRect().top + scrollY, own = each.box.getBoundingClientRect();
    const ends = [...each.box.querySelectorAll(panels)].map(e => e.getBoundingClientRect().bottom);
    const bottom = (ends.length ? Math.max(...ends) + 16 : own.bottom) + scrollY;
    each.tabs.forEach((tab, index) => {
      const key = group(each) + '/' + index;
      if (key === click) tab.click();
      found.push({key, group: group(each), title: tab.textContent.trim(), is_selected: index === chosen(each),
        top: Math.max(0, Math.floor(top)), bottom: Math.ceil(bottom)});
    });
  }
  return found;
}
"""


@dataclass(frozen=True)
class Tab:
    """A tab of a dashboard, as the page shows it at the moment."""

    key: str
    group: str
    """Of the tabs of which one is chosen."""
    title: str
    is_selected: bool
    top: float
    """From here, in CSS pixels of the document, to `bottom` are its list and what stands below it."""
    bottom: float


async def list_tabs(page: Page) -> list[Tab]:
    """List the tabs that a dashboard shows, those within others after them."""
    return await _ask(page, "")


async def select_tab(page: Page, tab: Tab) -> bool:
    """Choose a tab; tells whether the page does."""
    await _ask(page, tab.key)
    until = asyncio.get_running_loop().time() + _SELECT_SECONDS
    while asyncio.get_running_loop().time() < until:
        if any(each.key == tab.key and each.is_selected for each in await list_tabs(page)):
            return True
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    return False


async def _ask(page: Page, click: str) -> list[Tab]:
    seen: list[dict[str, Any]] = await evaluate(page, _TABS, click)
    return [Tab(**each) for each in seen]
