"""The signed page with which a group that can type no commands silences an alert: no token, and nothing but that."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.integration.web.console.console_harness import ConsoleBridge, alert, group, running
from wxbridge.alerts.links import LINK_SECONDS, AlertPages
from wxbridge.core.model import Text

pytestmark = pytest.mark.asyncio(loop_scope="package")
LINK = re.compile(r"🔕 silence (https://bridge\.example\.com)(/s/\S+)")
HOUR = 3600.0
BROWSER = {"Accept": "text/html"}


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleBridge]:
    """A bridge of its own: wrong links are counted, and silences hold back what others post."""
    async with running(tmp_path_factory.mktemp("links")) as bench:
        yield bench


@pytest_asyncio.fixture(loop_scope="package", autouse=True)
async def no_silences(console: ConsoleBridge) -> AsyncIterator[None]:
    """Let each test begin without silences."""
    yield
    for each in await console.bridge.alerts.list_own_silences():
        overview = await console.bridge.alerts.list_silences()
        kept = next(one for one in overview.silences if each.id in one.ids)
        await console.bridge.alerts.unsilence(kept)


async def texts(console: ConsoleBridge, name: str, target: str = "spare") -> list[str]:
    found = await console.bridge.outbox.list_messages(target=target, limit=1000)
    return [each.body.text for each in found if isinstance(each.body, Text) and name in each.body.text]


async def link_of(console: ConsoleBridge, name: str, *more: dict[str, Any]) -> str:
    """Tell a robot's group of an alert, and return the path of the link in its message."""
    await console.post(group(alert(name), *more, key=name), to="spare")
    match = LINK.search((await texts(console, name))[0])
    assert match
    return match[2]


def resolved(name: str) -> bytes:
    body = json.loads(group(alert(name), key=name))
    body["alerts"][0] |= {"status": "resolved", "endsAt": "2026-02-01T01:00:00Z"}
    return json.dumps(body).encode()


async def get(console: ConsoleBridge, path: str, **headers: str) -> tuple[int, str]:
    async with console.session.get(console.url + path, headers=BROWSER | headers) as response:
        return response.status, await response.text()


async def press(console: ConsoleBridge, path: str, form: Any, **headers: str) -> tuple[int, str]:
    async with console.session.post(
        console.url + path, data=form, headers=BROWSER | headers, allow_redirects=False
    ) as response:
        return response.status, response.headers.get("Location", "")


async def silences(console: ConsoleBridge) -> list[Any]:
    return await console.bridge.alerts.list_own_silences()


async def test_only_where_nobody_can_type_commands_a_message_has_the_link(console: ConsoleBridge) -> None:
    await console.post(group(alert("Both"), key="both"), to="ops,spare")
    assert LINK.search((await texts(console, "Both", "spare"))[0])
    assert "/s/" not in (await texts(console, "Both", "ops"))[0]
    await console.post(resolved("Both"), to="spare")
    over = [text for text in await texts(console, "Both") if "✅" in text]
    assert not [text for text in over if "/s/" in text]


async def test_the_page_asks_for_no_token_shows_the_alert_and_changes_nothing_however_often_it_is_fetched(
    console: ConsoleBridge,
) -> None:
    path = await link_of(console, "Shown")
    for _ in range(3):
        status, page = await get(console, path)
        assert status == 200
        assert "Shown on db-1" in page
        assert "instance=db-1:9100" in page
        async with console.session.head(console.url + path) as response:
            assert response.status == 200
            assert "noindex" in response.headers["X-Robots-Tag"]
            assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
            assert not response.cookies
    assert not await silences(console)


@pytest.mark.parametrize(("choice", "seconds"), [("1h", HOUR), ("4h", 4 * HOUR)])
async def test_a_button_silences_this_alert_for_some_hours(console: ConsoleBridge, choice: str, seconds: float) -> None:
    name = f"For{choice}"
    path = await link_of(console, name)
    assert await press(console, path, {"for": choice, "by": "张三"}) == (303, path)
    (made,) = await silences(console)
    assert made.ends_at == pytest.approx(time.time() + seconds, abs=60)
    assert made.created_by == "张三 (spare)"
    assert sorted(map(str, made.matchers)) == [f'alertname="{name}"', 'instance="db-1:9100"']
    assert not console.monitors.silences, "the bridge's own is enough"
    assert "silenced until" in (await get(console, path))[1]
    assert await press(console, path, {"for": choice}) == (303, path)
    assert len(await silences(console)) == 1, "the same again makes no second one"


async def test_until_it_ends_the_alert_is_not_told_its_end_is_and_so_is_its_next_firing(
    console: ConsoleBridge,
) -> None:
    path = await link_of(console, "Flaps")
    await press(console, path, {"for": "end"})
    assert len(await silences(console)) == 1
    assert "silenced until it ends" in (await get(console, path))[1]
    before = len(await texts(console, "Flaps"))
    await console.post(group(alert("Flaps", summary="worse"), key="Flaps-other"), to="spare")
    assert len(await texts(console, "Flaps")) == before, "another alert that the silence holds back"
    await console.post(resolved("Flaps"), to="spare")
    assert not await silences(console)
    assert len([text for text in await texts(console, "Flaps") if "✅" in text]) == 1
    assert ">over<" in (await get(console, path))[1].replace("\n", "")
    await console.post(group(alert("Flaps") | {"startsAt": "2026-02-02T00:00:00Z"}, key="Flaps"), to="spare")
    assert len(await texts(console, "Flaps")) == before + 2


async def test_of_several_alerts_those_are_silenced_that_are_chosen(console: ConsoleBridge) -> None:
    path = await link_of(console, "Many", alert("Many", instance="db-2:9100"))
    keys = re.findall(r'name="alert" value="([0-9a-f]{12})"', (await get(console, path))[1])
    assert len(keys) == 2
    await press(console, path, [("for", "1h"), ("alert", keys[1])])
    (made,) = await silences(console)
    assert 'instance="db-2:9100"' in map(str, made.matchers)
    await press(console, path, [("for", "1h"), ("alert", keys[0]), ("alert", keys[1])])
    assert len(await silences(console)) == 2


@pytest.mark.parametrize(("language", "told"), [("en", "choose at least one"), ("zh", "请至少选择一条")])
async def test_of_several_alerts_none_is_silenced_where_none_is_chosen(
    console: ConsoleBridge, language: str, told: str
) -> None:
    path = await link_of(console, f"Unticked{language}", alert(f"Unticked{language}", instance="db-2:9100"))
    headers = BROWSER | {"Accept-Language": language}
    async with console.session.post(console.url + path, data={"for": "1h"}, headers=headers) as response:
        assert response.status == 400
        page = await response.text()
    assert not await silences(console)
    assert told in page
    boxes = re.findall(r'<input type="checkbox" name="alert"[^>]*>', page)
    assert [" checked" in each for each in boxes] == [False, False], "as they were left"


async def test_of_several_alerts_one_that_is_forgotten_meanwhile_leaves_the_choice(console: ConsoleBridge) -> None:
    await console.post(group(alert("Kept")), to="spare")
    key = next(each.key for each in await console.bridge.alerts.list_firing() if each.alert.title.startswith("Kept"))
    pages = console.bridge.alerts._pipeline.pages
    assert isinstance(pages, AlertPages)
    path = pages.silence([key, "0" * 32], "spare", time.time()).removeprefix(pages.public_url)
    await press(console, path, [("for", "1h"), ("alert", "0" * 12)])
    assert not await silences(console)
    (box,) = re.findall(r'name="alert" value="([0-9a-f]{12})"', (await get(console, path))[1])
    await press(console, path, [("for", "1h"), ("alert", box)])
    assert len(await silences(console)) == 1


def spoiled(path: str) -> Iterator[str]:
    yield path[:-3]
    yield path[:9] + ("A" if path[9] != "A" else "B") + path[10:]
    yield "/s/x"
    yield "/s/" + "A" * 300


async def test_what_was_changed_on_its_way_opens_nothing(console: ConsoleBridge) -> None:
    path = await link_of(console, "Spoiled")
    for other in spoiled(path):
        assert (await get(console, other))[0] == 404
        assert (await press(console, other, {"for": "1h"}))[0] == 404
    assert not await silences(console)


async def test_a_link_is_good_for_some_days_for_a_target_that_there_is(console: ConsoleBridge) -> None:
    await link_of(console, "Old")
    pages = console.bridge.alerts._pipeline.pages
    assert isinstance(pages, AlertPages)
    key = (await console.bridge.alerts.list_firing())[0].key
    for target, at in (("spare", time.time() - LINK_SECONDS - 5), ("gone", time.time())):
        path = pages.silence([key], target, at).removeprefix(pages.public_url)
        status, page = await get(console, path)
        assert (status, "over" in page) == (410, True)
        assert (await press(console, path, {"for": "1h"}))[0] == 410
    assert not await silences(console)


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_another_sites_page_presses_no_button(console: ConsoleBridge, headers: dict[str, str]) -> None:
    path = await link_of(console, "Forged")
    assert (await press(console, path, {"for": "1h"}, **headers))[0] == 403
    assert not await silences(console)


@pytest.mark.parametrize("form", [{}, {"for": "100d"}, {"for": "1h\x00"}])
async def test_no_other_time_can_be_asked_for(console: ConsoleBridge, form: dict[str, str]) -> None:
    path = await link_of(console, "Times")
    assert (await press(console, path, form))[0] == 400
    assert not await silences(console)


async def test_the_page_speaks_the_browsers_language_and_is_safe_with_any_label(console: ConsoleBridge) -> None:
    evil = "<script>alert('x')</script>"
    path = await link_of(console, "Evil", alert("Evil", instance="x", team=evil, summary=evil))
    _, page = await get(console, path, **{"Accept-Language": "zh-CN,zh;q=0.9"})
    assert "静默 4 小时" in page
    assert "<script" not in page


async def test_whoever_tries_links_has_to_wait(console: ConsoleBridge) -> None:
    path = await link_of(console, "Tried")
    # From an address of its own: wrong links are counted by it, and other tests have some too.
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
    async with aiohttp.ClientSession(console.url, connector=connector, headers=BROWSER) as guesser:

        async def ask(path: str) -> int:
            async with guesser.get(path) as answer:
                return answer.status

        found = [await ask(f"/s/guess{number}") for number in range(12)]
        assert 429 in found
        assert await ask(path) == 200, "a right one opens all the same"
