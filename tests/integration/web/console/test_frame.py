"""What is around each page of the console: the same in a whole page and in the part that renews it."""

from __future__ import annotations

import re

import aiohttp
import pytest

from tests.integration.web.console.console_harness import ConsoleBridge
from wxbridge.core.leadership import Leader

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def read_lamps(person: aiohttp.ClientSession, **headers: str) -> str:
    async with person.get("/console/jobs", headers=headers) as answer:
        found = re.search('<div class="lamps".*?</div>', await answer.text(), re.DOTALL)
    assert found
    return found[0]


async def test_who_leads_stays_beside_the_channels_when_a_page_renews_itself(
    console: ConsoleBridge, person: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.bridge.leadership, "is_shared", True, raising=False)
    monkeypatch.setattr(console.bridge.leadership, "leader", Leader("one:8080", "http://one:8080", 1e9, 3))
    whole = await read_lamps(person)
    assert "This bridge leads" in whole
    assert "wechat" in whole
    assert await read_lamps(person, **{"X-Fragment": "1"}) == whole
