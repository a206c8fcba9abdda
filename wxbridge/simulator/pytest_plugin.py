"""A pytest fixture for tests against the simulator.

Use it with `pytest_plugins = ["wxbridge.simulator.pytest_plugin"]` in the topmost conftest.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from wxbridge.simulator.simulator import Simulator


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Give a running Simulator on free ports, with nobody logged in; it is closed after the test."""
    async with Simulator() as running:
        yield running
