from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest_asyncio

from tests.integration.web.web_harness import SETTINGS, StoredWeb, start
from wxbridge.config.schema import Config


@pytest_asyncio.fixture
async def bench(read: Callable[..., Config]) -> AsyncIterator[StoredWeb]:
    async with AsyncExitStack() as stack:
        yield await start(stack, read(SETTINGS))
