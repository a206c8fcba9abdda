from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from console_bench import Bench, running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """A bridge that has sent, and failed to send, a few things; one for all tests."""
    async with running(tmp_path_factory.mktemp("console")) as bench:
        await bench.fill()
        yield bench
