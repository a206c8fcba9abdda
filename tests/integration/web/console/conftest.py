from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.web.console.console_harness import ConsoleBridge, running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleBridge]:
    """A bridge that has sent, and failed to send, a few things; one for all tests."""
    async with running(tmp_path_factory.mktemp("console")) as bench:
        await bench.fill()
        yield bench
