"""What Grafana's pages say of themselves, one recipe for each generation: see shared/facts/grafana-*.md.

Every word is a CSS selector, looked for in the whole page (`item`, `solo`, `loading`, `scroller`) or in one panel.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How one generation of Grafana shows which panels there are, and which of them are not ready."""

    name: str
    first: int
    """The first major version of it; `scenes` also where the page of an earlier version has them."""
    item: str
    """One for every panel, drawn or not; rows' headings may be among them."""
    drawn: str
    """What a drawn panel or a row's heading has in it, or is."""
    solo: str
    """What a page with one panel alone shows."""
    body: str
    """Where a panel's drawing goes: there, with something in it, once it has its first data."""
    loading: str
    """What is shown while a panel or the dashboard's variables load."""
    error: str
    """The mark of a panel whose query failed."""
    unsure: str = "[data-testid='Spinner']"
    """What a panel may show while it asks for something itself, or for ever: it is given up as if it stayed empty."""
    no_data: str = ".datapoints-warning"
    """What a panel without data has over its axes, or in place of them."""
    scroller: str = ""
    """What has to be scrolled (a taller window is not enough) for the grid to draw what has come into view."""


RECIPES = (
    Recipe(
        name="7",
        first=1,
        item='.react-grid-layout > [id^="panel-"]',
        drawn=".panel-container, .dashboard-row",
        solo=".panel-container",
        body=".panel-content",
        loading=".panel-loading, .preloader, .dashboard-loading",
        error=".panel-info-corner--error",
        scroller=".dashboard-scroll .scrollbar-view, .scrollbar-view",
    ),
    Recipe(
        name="9",
        first=8,
        item=".react-grid-item[data-panelid]",
        drawn=".panel-container, .dashboard-row, [data-testid='dashboard-row-container']",
        solo=".panel-container",
        body=".panel-content, [class$='panel-content']",
        loading=".panel-loading, .preloader, [data-testid='Spinner']:not(.panel-container *)",
        error=".panel-info-corner--error",
    ),
    Recipe(
        name="scenes",
        first=12,
        item=".react-grid-item, [data-griditem-key], [data-viz-panel-key]",
        drawn="[data-testid*='Panel header'], [data-testid*='dashboard-row-t']",
        solo="[data-testid*='Panel header']",
        body="[data-testid='data-testid panel content']",
        loading="[aria-label='Panel loading bar'], [aria-label='data-testid Loading indicator'], .preloader",
        error="[data-testid='data-testid Panel status error']",
        no_data="[data-testid='data-testid Panel data error message'], .datapoints-warning",
    ),
)
"""The last whose `first` is not above the page's major version; none where the page names no version."""


def find_recipe(name: str) -> Recipe | None:
    """Find a recipe by its name; None where a page is none of Grafana's, or of a generation that has none."""
    return next((each for each in RECIPES if each.name == name), None)
