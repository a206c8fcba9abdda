"""The pages on which things are tried: labels against the routes, a sample of a sender, a template on a body."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from tests.integration.web.console.console_harness import EVIL, TOKEN, ConsoleBridge, running
from wxbridge.core.model import Text

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleBridge]:
    """A bridge of its own, with a template."""
    folder = tmp_path_factory.mktemp("tried")
    (folder / "templates").mkdir()
    (folder / "templates" / "short.j2").write_text("{{ title }} / {{ firing }}")
    async with running(folder) as bench:
        yield bench


async def show(person: aiohttp.ClientSession, path: str) -> str:
    async with person.get(path) as answer:
        assert answer.status == 200
        return await answer.text()


async def send(person: aiohttp.ClientSession, page: str, action: str, **fields: str) -> str:
    secret = re.search(r'name="csrf" value="([0-9a-f]+)"', await show(person, page))
    assert secret
    async with person.post(action, data={"csrf": secret[1], "back": page, **fields}) as answer:
        assert answer.status == 200
        return await answer.text()


# ---------------------------------------------------------------- routes


def marked(page: str) -> list[str]:
    return re.findall(r'<li class="deep-\d+ (\w+)">', page)


async def test_the_tree_of_routes_is_shown_from_the_top_with_what_it_matches(person: aiohttp.ClientSession) -> None:
    page = await show(person, "/console/routes")
    places = [page.index(part) for part in ("routes[0]", "severity=&#34;critical&#34;", "ops, duty", "routes[2]")]
    assert places == sorted(places)
    assert not marked(page)


@pytest.mark.parametrize(
    ("labels", "marks", "outcome"),
    [("severity=critical", ["answers"], ["→ ops", "→ duty"]), ("severity=Disaster\nhost=a", ["answers"], ["→ duty"]),
     ("team=nobody", ["no", "answers"], ["Nobody, on purpose"]),
     ("team=db,host=x", ["no", "no", "answers"], ["→ ops"])],
)  # fmt: skip
async def test_labels_are_tried_against_the_routes(
    person: aiohttp.ClientSession, labels: str, marks: list[str], outcome: list[str]
) -> None:
    page = await show(person, f"/console/routes?labels={quote(labels)}")
    assert marked(page) == marks
    for part in outcome:
        assert part in page
    assert labels.split("\n", maxsplit=1)[0] in page, "what was typed stays"


async def test_what_are_no_labels_is_said(person: aiohttp.ClientSession) -> None:
    page = await show(person, f"/console/routes?labels={quote(EVIL)}")
    assert 'id="labels-how" class="error"' in page
    assert "<script>alert" not in page


# ---------------------------------------------------------------- senders


async def test_ready_addresses_stand_there_for_each_sender_and_target_without_the_token(
    person: aiohttp.ClientSession,
) -> None:
    page = await show(person, "/console/senders?to=duty")
    for hook in ("grafana", "alertmanager", "openfalcon", "generic/zabbix"):
        assert f"https://bridge.example.com/hooks/{hook}?to=duty" in page
    assert "token=TOKEN" in page
    assert TOKEN not in page
    assert "https://bridge.example.com/hooks/grafana<" in await show(person, "/console/senders?to=nowhere")


async def test_a_sample_of_any_sender_takes_the_way_of_a_real_alert(
    console: ConsoleBridge, person: aiohttp.ClientSession
) -> None:
    fields = {"sample": "zabbix", "status": "firing", "to": "duty"}
    page = await send(person, "/console/senders?to=duty", "/console/senders/sample", **fields)
    assert "The sample of zabbix came in" in page
    texts = [each.body.text for each in await console.bridge.outbox.list_messages(target="duty")
             if isinstance(each.body, Text)]  # fmt: skip
    assert texts
    assert texts[0].startswith("📨")
    page = await send(person, "/console/senders", "/console/senders/sample", sample="nobody", status="firing")
    assert "There is no sample of nobody" in page


# ---------------------------------------------------------------- templates


def result(page: str) -> str:
    found = re.search(r'<div id="result".*?</div>', page, re.DOTALL)
    assert found
    return re.sub(r"<[^>]+>", "", found[0]).strip()


async def render(person: aiohttp.ClientSession, **fields: str) -> str:
    return await send(person, "/console/templates", "/console/templates/render", **fields)


BODY = json.dumps({"version": "4", "groupKey": "g", "status": "firing", "alerts": [
    {"status": "firing", "labels": {"alertname": "DiskFull", "severity": "critical"}, "annotations": {"summary": EVIL},
     "startsAt": "2026-02-01T00:00:00Z", "fingerprint": "f"}]})  # fmt: skip


async def test_a_template_is_filled_with_a_body_that_somebody_pastes(person: aiohttp.ClientSession) -> None:
    page = await render(person, source="alertmanager", body=BODY, template="short.j2")
    assert result(page).startswith("DiskFull / 1") or "DiskFull" in result(page)
    assert "<script>alert" not in page
    page = await render(person, source="alertmanager", body=BODY, template="", own="")
    assert "DiskFull" in result(page)
    assert "critical" in result(page)
    page = await render(
        person, source="alertmanager", body=BODY, template="*", own="{{ alerts | length }} of {{ source }}"
    )
    assert result(page) == "1 of alertmanager"


@pytest.mark.parametrize(
    ("own", "problem"),
    [("{{ nonsense }}", "1: 'nonsense' is undefined"), ("a\n{% if %}", "2: "), ("{{ ''.__class__.__mro__ }}", "1: "),
     ("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", "numbers")],
)  # fmt: skip
async def test_a_mistake_in_a_template_is_said_with_its_line(
    person: aiohttp.ClientSession, own: str, problem: str
) -> None:
    page = await render(person, source="alertmanager", body=BODY, template="*", own=own)
    assert problem in result(page).replace("&#39;", "'")


async def test_a_body_that_is_no_json_is_read_as_the_bridge_would_and_stays(person: aiohttp.ClientSession) -> None:
    page = await render(person, source="alertmanager", body="{broken", template="")
    assert "{broken" in result(page)
    assert "{broken</textarea>" in page


async def test_a_senders_own_sample_fills_the_page(person: aiohttp.ClientSession) -> None:
    page = await render(person, source="zabbix", body="", template="", sample="1")
    assert len(result(page)) > 20
    assert await render(person, source="nonsense", body="x", template="")
