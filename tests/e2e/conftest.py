from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.bridge_harness import BridgeHarness, Launcher
from wxbridge.simulator import Simulator


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    launcher = Launcher()
    yield launcher
    launcher.close()


@pytest.fixture
async def fresh_harness(tmp_path: Path) -> AsyncIterator[BridgeHarness]:
    """A harness whose bridges and commands are each a start of Python, as people have it."""
    async with Simulator(auto_scan=True) as simulator:
        harness = BridgeHarness(simulator, tmp_path)
        try:
            yield harness
        finally:
            for process in harness.processes:
                with suppress(Exception):
                    await process.kill()


@pytest.fixture
def harness(fresh_harness: BridgeHarness, launcher: Launcher) -> BridgeHarness:
    """A harness whose bridges and commands start in a tenth of a second."""
    fresh_harness.launcher = launcher
    return fresh_harness
