from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.integration.web.console.console_harness import TOKEN, ConsoleBridge, running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleBridge]:
    """A bridge that has sent, and failed to send, a few things; one for all tests."""
    async with running(tmp_path_factory.mktemp("console")) as bench:
        await bench.fill()
        yield bench


@pytest_asyncio.fixture(loop_scope="package")
async def person(console: ConsoleBridge) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody who signed in."""
    async with aiohttp.ClientSession(
        console.url, cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Accept": "text/html"}
    ) as session:
        async with session.post("/console/sign-in", data={"token": TOKEN}) as answer:
            assert answer.status == 200
        yield session
