"""What is around each page of the console: the same in a whole page and in the part that renews it."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import aiohttp
import jinja2
import pytest

from tests.integration.web.console.console_harness import TOKEN, ConsoleBridge, running
from wxbridge.core.leadership import Leader
from wxbridge.web.console.pages import PAGES

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


async def test_no_page_has_its_template_compiled_where_alerts_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[tuple[str, bool]] = []
    compile_template = jinja2.Environment.compile

    def note(environment: jinja2.Environment, source: Any, name: str, *rest: Any) -> Any:
        compiled.append((name, threading.current_thread() is threading.main_thread()))
        return compile_template(environment, source, name, *rest)

    async with running(tmp_path, logged_in=False) as fresh:
        monkeypatch.setattr(jinja2.Environment, "compile", note)
        for entry in (entry for entry in PAGES if entry.icon):
            for part in ({}, {"X-Fragment": "1"}):
                headers = {"Authorization": f"Bearer {TOKEN}", **part}
                async with fresh.session.get(fresh.url + entry.path, headers=headers) as answer:
                    assert answer.status == 200, entry
    assert "timeline.html" in {name for name, _ in compiled}
    assert [name for name, is_in_loop in compiled if is_in_loop] == []
