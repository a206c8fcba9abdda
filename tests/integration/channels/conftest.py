"""The fixtures of these tests; what they are made of is in `wechat_harness`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.channels.wechat.wechat_harness import harness, make_harness
from wxbridge.core.database import Database, sqlite_url
from wxbridge.testing import FakeClock

__all__ = ["harness", "make_harness"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(sqlite_url(tmp_path / "state"))
    yield opened
    opened.close()
