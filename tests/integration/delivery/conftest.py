"""Makes harnesses (`delivery_harness`) for the tests of delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from tests.integration.delivery.delivery_harness import DeliveryHarness, Room
from wxbridge.config.types import Pace
from wxbridge.core.model import Capabilities
from wxbridge.delivery import context
from wxbridge.testing import FakeChannel


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., DeliveryHarness]]:
    """Make harnesses: `world(ops=Room(), paces=…)`; without targets there is one, `ops`, on channel `a`."""
    monkeypatch.setattr(context, "FIRST_STORAGE_PAUSE_SECONDS", 0.001)
    made: list[DeliveryHarness] = []

    def make(
        *, paces: Mapping[str, Pace] | None = None, capabilities: Mapping[str, Capabilities] | None = None,
        jitter: float = 0.0, channels: dict[str, FakeChannel] | None = None, **targets: Room,
    ) -> DeliveryHarness:  # fmt: skip
        world = DeliveryHarness(
            tmp_path, targets or {"ops": Room()}, paces or {}, capabilities or {}, jitter, channels=channels or {}
        )
        made.append(world)
        return world

    yield make
    for each in made:
        each.database.close()
