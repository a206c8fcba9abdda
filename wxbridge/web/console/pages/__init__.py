"""The pages of the console, each imported when somebody looks at one. What a page is: `page.ConsolePage`."""

from __future__ import annotations

import importlib

from wxbridge.web.console.page import ConsolePage

PAGE_NAMES = (
    "timeline",
    "login",
    "alerts",
    "targets",
    "jobs",
    "host",
    "routes",
    "senders",
    "templates",
    "rooms",
    "audit",
    "configuration",
    "doctor",
    "message",
    "alert",
)
"""In the order of the navigation; each is a module here with a `PAGE`."""


def load_page(name: str) -> ConsolePage:
    """Import a page by its name."""
    page: ConsolePage = importlib.import_module(f"{__name__}.{name}").PAGE
    return page
