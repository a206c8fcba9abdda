"""The list of what fires: filters in the address, groups, notes, silencing many at once, and monitors that are dead."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.integration.web.console.console_harness import TOKEN, ConsoleBridge, alert, group, running
from wxbridge.config.types import WebSource
from wxbridge.core.http import ApiError
from wxbridge.monitors.alertmanager import Alertmanager
from wxbridge.monitors.patience import PatientQuestion

pytestmark = pytest.mark.asyncio(loop_scope="package")
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleBridge]:
    """A bridge of its own, at which 120 alerts of three teams fire."""
    async with running(tmp_path_factory.mktemp("alerts")) as bench:
        await bench.post(group(*(
            alert(f"Rule{number % 4}", ("critical", "warning", "Information")[number % 3],
                  instance=f"host-{number}:9100", team=("db", "web", "infra")[number % 3])
            | {"annotations": {"summary": f"summary {number}", "runbook_hint": f"hint {number}"}}
            for number in range(120)
        )))  # fmt: skip
        yield bench


async def show(console: ConsoleBridge, query: str = "", **headers: str) -> str:
    async with console.session.get(f"{console.url}/console/alerts{query}", headers=HEADERS | headers) as response:
        assert response.status == 200
        return await response.text()


def listed(page: str) -> list[str]:
    return re.findall(r'<article .*?<p class="text">summary (\d+)</p>', page, re.DOTALL)


def groups(page: str) -> list[tuple[str, int]]:
    found = re.findall(r'<summary><h3>([^<]*)</h3> <span class="tag">(\d+)</span>', page)
    return [(name, int(count)) for name, count in found]


async def test_many_are_shown_a_page_at_a_time_the_worst_first(console: ConsoleBridge) -> None:
    first, second, third = [await show(console, f"?page={number}") for number in (1, 2, 3)]
    assert [len(listed(page)) for page in (first, second, third)] == [50, 50, 20]
    assert len({*listed(first), *listed(second), *listed(third)}) == 120
    assert "1 / 3" in first
    assert len(listed(await show(console, "?page=99"))) == 20


@pytest.mark.parametrize(
    ("text", "count"),
    [('team="db"', 40), ("team=db", 40), ('team=~"db|web"', 80), ('team!="db" Rule1', 20), ("host-7:9100", 1),
     ("summary", 0), ('{team="db", instance=~"host-1.*"}', 9)],
)  # fmt: skip
async def test_words_and_matchers_filter_and_stand_in_the_address(
    console: ConsoleBridge, text: str, count: int
) -> None:
    page = await show(console, f"?text={quote(text)}")
    assert f">{count} of 120<" in page.replace("\n", "")
    assert len(listed(page)) == min(count, 50)


async def test_what_is_no_matcher_is_said_beside_the_field_and_stays_there(console: ConsoleBridge) -> None:
    page = await show(console, f"?text={quote('team=~[')}")
    assert re.search(r'class="error">[^<]*team=~\[', page)
    assert 'value="team=~["' in page


async def test_severities_are_counted_and_filter_by_their_name_whatever_the_senders_word(
    console: ConsoleBridge,
) -> None:
    page = await show(console, "?text=Rule1")
    assert re.findall(r"severity=(\w+)\">(\w+) <b>(\d+)", page) == [
        ("critical", "critical", "10"), ("warning", "warning", "10"), ("info", "info", "10"),
    ]  # fmt: skip
    assert len(listed(await show(console, "?severity=info"))) == 40
    assert not listed(await show(console, "?severity=critical&text=team=infra"))


async def test_alerts_without_a_severity_are_a_tab_of_their_own_which_no_senders_word_is(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.post(group(*(
            alert(f"Rule{number}", severity, instance=f"host-{number}:9100", summary=f"summary {number}")
            for number, severity in enumerate(("warning", "odd", "", ""))
        )))  # fmt: skip
        page = await show(bench)
        tabs = dict(re.findall(r'href="(/console/alerts[^"]*)"[^>]*>([^<]+ <b>\d+)</b></a>', page))
        assert tabs == {
            "/console/alerts?severity=warning": "warning <b>1",
            "/console/alerts?severity=odd": "odd <b>1",
            "/console/alerts?severity=": "none <b>2",
        }
        for query, numbers in (("?severity=", "23"), ("?severity=odd", "1"), ("?severity=none", ""), ("", "0123")):
            page = await show(bench, query)
            assert sorted(listed(page)) == list(numbers)
            current = re.findall(r'href="([^"]*)" aria-current="true"', page)
            assert current == ([f"/console/alerts{query}"] if numbers else [])
        assert "severity=&amp;by=team" in (await show(bench, "?severity=&by=team&text=Rule"))
        async with bench.session.get(bench.url, headers=HEADERS) as response:
            assert re.search(r'href="/console/alerts\?severity="><b>2</b>', await response.text())


async def test_alerts_are_grouped_by_any_label(console: ConsoleBridge) -> None:
    assert groups(await show(console, "?by=team")) == [("db", 40), ("web", 40)]
    assert groups(await show(console, "?by=team&page=3")) == [("infra", 40)]
    assert groups(await show(console, "?by=nothing")) == [("(none)", 120)]
    assert len(groups(await show(console, "?by=alertname&text=team=db"))) == 4


async def test_notes_of_an_alert_are_there_beside_its_summary(console: ConsoleBridge) -> None:
    page = await show(console, "?text=host-5:9100")
    assert "<dt>runbook_hint</dt>" in page
    assert "hint 5" in page


async def test_a_label_leads_to_the_alerts_that_have_it_too(console: ConsoleBridge) -> None:
    page = await show(console, "?text=host-5:9100&severity=info")
    assert "text=host-5%3A9100+team%3D%22infra%22&amp;severity=info" in page


async def csrf_of(person: aiohttp.ClientSession, query: str) -> tuple[str, str]:
    """The form of a page, and its secret."""
    async with person.get(f"/console/alerts{query}") as answer:
        page = await answer.text()
    match = re.search(r'action="/console/alerts/silence".*?name="csrf" value="([0-9a-f]+)"', page, re.DOTALL)
    assert match
    return page, match[1]


async def test_those_that_are_chosen_are_silenced_together_each_by_its_own_matchers(
    console: ConsoleBridge, person: aiohttp.ClientSession
) -> None:
    keys = re.findall(r'name="silence" value="([0-9a-f]{32})"', await show(console, "?text=Rule1"))[:3]
    page, secret = await csrf_of(person, "?" + "&".join(f"silence={key}" for key in keys))
    assert "3 alerts, each by its own matchers" in page
    form = [("csrf", secret), ("for", "2h"), ("comment", "planned"), ("by", "李四"), *(("key", key) for key in keys)]
    async with person.post("/console/alerts/silence", data=form) as answer:
        assert "Silenced until" in await answer.text()
    made = await console.bridge.alerts.list_own_silences()
    assert len(made) == 3
    assert {each.created_by for each in made} == {"李四"}
    assert all(any(str(matcher).startswith("instance=") for matcher in each.matchers) for each in made)


async def test_a_form_that_could_not_be_done_keeps_what_was_typed(person: aiohttp.ClientSession) -> None:
    _, secret = await csrf_of(person, "?silence=new")
    form = {"csrf": secret, "again": "/console/alerts?silence=new", "matchers": "team=~[", "for": "8h",
            "comment": "the rack is moved", "by": "张三", "other": "soon"}  # fmt: skip
    async with person.post("/console/alerts/silence", data=form) as answer:
        page = await answer.text()
        assert answer.url.query_string == "silence=new"
    for kept in (">team=~[</textarea>", 'value="8h" checked', "the rack is moved", "张三", 'value="soon"'):
        assert kept in page, kept
    assert 'class="notice bad"' in page
    async with person.get("/console/alerts?silence=new") as answer:
        assert "the rack is moved" not in await answer.text(), "it is kept for that one page"


async def test_a_filter_becomes_the_matchers_of_a_silence(person: aiohttp.ClientSession) -> None:
    page, _ = await csrf_of(person, f"?silence=new&text={quote('team=db severity!=info')}")
    assert "team=&#34;db&#34;\nseverity!=&#34;info&#34;</textarea>" in page


# ---------------------------------------------------------------- monitors that do not answer


async def test_a_page_waits_for_no_monitor_that_does_not_answer(console: ConsoleBridge) -> None:
    hangs = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await hangs.wait()
        return web.json_response([])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hang)
    async with TestServer(app) as server:
        dead = Alertmanager(WebSource(url=str(server.make_url("")).rstrip("/")))
        question = PatientQuestion(dead.list_alerts, "not yet")
        began = time.monotonic()
        with pytest.raises(ApiError, match="not yet"):
            await question.answer(0.05)
        with pytest.raises(ApiError, match="not yet"):
            await question.answer(0.05)
        assert time.monotonic() - began < 2
        hangs.set()
        assert await question.answer(10) == []
        hangs.clear()
        assert await question.answer(0.0) == [], "what it said last"
        hangs.set()
        assert await question.answer() == []
        question.close()
        await dead.close()


async def test_what_a_question_failed_with_last_is_said_until_it_is_answered() -> None:
    answers = [ApiError("it is down"), ApiError("still down")]

    async def ask() -> list[str]:
        if answers:
            raise answers.pop(0)
        return ["up"]

    question = PatientQuestion(ask, "not yet")
    for expected in ("it is down", "still down"):
        with pytest.raises(ApiError, match=expected):
            await question.answer(5)
    assert await question.answer(5) == ["up"]
