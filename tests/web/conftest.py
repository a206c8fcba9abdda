from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from web_bench import SETTINGS, Bench, start

from wxbridge.config import Config


@pytest_asyncio.fixture
async def bench(read: Callable[..., Config]) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield await start(stack, read(SETTINGS))
