"""The pages of the console, each imported when somebody looks at it. What a page is: `page.ConsolePage`."""

from __future__ import annotations

import importlib

from wxbridge.web.console.page import ConsolePage, PageEntry

PAGES = (
    PageEntry("timeline", "M5 6h.01M5 12h.01M5 18h.01M9 6h11M9 12h11M9 18h11"),
    PageEntry("login", "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2v2h-2zM18 14h2M14 18v2M18 18h2v2h-2z"),
    PageEntry("alerts", "M18 16H6c1-1.5 1.5-3 1.5-6a4.5 4.5 0 0 1 9 0c0 3 .5 4.5 1.5 6zM10.5 19.5h3M12 3v2.5"),
    PageEntry("targets", "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 12h.01"),
    PageEntry("jobs", "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3.5 2"),
    PageEntry("host", "M4 5h16v6H4zM4 14h16v6H4zM7.5 8h.01M7.5 17h.01M12 8h5M12 17h5", needs="host"),
    PageEntry("routes", "M5 5h4v4H5zM15 15h4v4h-4zM15 5h4v4h-4zM9 7h6M12 7v10h3"),
    PageEntry("senders", "M12 3v12M8 11l4 4 4-4M4 15v5h16v-5"),
    PageEntry("templates", "M6 3h9l4 4v14H6zM14 3v5h5M9 12h7M9 16h7"),
    PageEntry(
        "rooms",
        "M8 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2 20c0-4 2.5-6 6-6s6 2 6 6M16 4.5a3.5 3.5 0 0 1 0 6.5"
        "M17.5 14c3 .4 4.5 2.5 4.5 6",
    ),
    PageEntry("audit", "M9 4h6v3H9zM9 5.5H5.5V20h13V5.5H15M9 12h6M9 16h4"),
    PageEntry("configuration", "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4M4 12h16"),
    PageEntry("doctor", "M4 13h4l2-6 4 11 2-5h4"),
    PageEntry("message", within="timeline"),
    PageEntry("alert", within="alerts"),
)
"""In the order of the navigation; each is a module here with a `PAGE`."""


def load_page(name: str) -> ConsolePage:
    """Import a page by its name."""
    page: ConsolePage = importlib.import_module(f"{__name__}.{name}").PAGE
    return page
