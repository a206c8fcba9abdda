"""Evaluating a script in a page, within a time limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Page

LOOK_LIMIT = 5.0
"""Seconds that one look at a page may take: `evaluate()` has no time limit of its own."""


async def bounded(page: Page, script: str, argument: Any = None, *, limit: float = LOOK_LIMIT) -> Any:
    """Evaluate a script in the page, for at most `limit` seconds.

    Raises:
        TimeoutError: the page did not answer in time (it computes without end, or its renderer hangs).
    """
    async with asyncio.timeout(limit):
        return await page.evaluate(script, argument)
