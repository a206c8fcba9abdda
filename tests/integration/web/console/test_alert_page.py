"""An alert's own page: all that is known of it, and its way through the bridge."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.integration.web.console.console_harness import TOKEN, ConsoleBridge, alert, group, running
from wxbridge.alerts.kept_silences import SilenceRequest
from wxbridge.core.matchers import Matcher
from wxbridge.core.model import MessageState, Text
from wxbridge.core.schema import received

pytestmark = pytest.mark.asyncio(loop_scope="package")
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}


async def page(console: ConsoleBridge, path: str, status: int = 200) -> str:
    async with console.session.get(console.url + path, headers=HEADERS) as response:
        assert response.status == status, await response.text()
        return await response.text()


async def key_of(console: ConsoleBridge, name: str) -> str:
    return next(each.key for each in await console.bridge.alerts.list_firing() if each.group.alerts[0].title == name)


def steps(text: str) -> list[str]:
    return re.findall(r"<b>(Received|Routed|Rendered|Queued|Drawn|Tried|Answered|Waits)</b>", text)


async def test_the_page_tells_the_whole_way_of_an_alert_each_step_with_its_time(console: ConsoleBridge) -> None:
    key = await key_of(console, "DiskFull")
    text = await page(console, f"/console/alert?key={key}")
    for wanted in ("DiskFull", "kafka-3:9100", "/data", "severity=&#34;critical&#34;", "→ ops", "→ duty"):
        assert wanted in text, wanted
    assert steps(text)[:6] == ["Received", "Routed", "Rendered", "Queued", "Tried", "Answered"]
    way = text[text.index('class="way"') :]
    assert way.count("<time ") >= 10
    assert "When it fired" in text


async def test_a_short_link_of_a_message_leads_there_once_somebody_is_signed_in(console: ConsoleBridge) -> None:
    long = "http://prometheus-0:9090/graph?g0.expr=" + "up%20or%20" * 30
    await console.post(group(alert("LongLink") | {"generatorURL": long}, key="long"), to="robot")
    (message,) = [each for each in await console.bridge.outbox.list_messages(target="robot", limit=500)
                  if isinstance(each.body, Text) and "LongLink" in each.body.text]  # fmt: skip
    assert isinstance(message.body, Text)
    match = re.search(r"🔗 https://bridge\.example\.com(/a/[0-9a-f]{12})$", message.body.text, re.MULTILINE)
    assert match
    assert "prometheus-0" not in message.body.text
    assert long.split("?")[1] in await page(console, match[1])
    async with console.session.get(console.url + match[1], headers={"Accept": "text/html"}) as response:
        assert response.url.path == "/console/sign-in"


async def test_what_is_over_is_shown_too_and_what_is_not_known_is_said(console: ConsoleBridge) -> None:
    body = group(alert("OverSoon"), key="over")
    await console.post(body)
    key = await key_of(console, "OverSoon")
    await console.post(body.replace(b'"status": "firing", "startsAt"', b'"status": "resolved", "startsAt"').replace(
        b"0001-01-01T00:00:00Z", b"2026-02-01T02:00:00Z"))  # fmt: skip
    text = await page(console, f"/console/alert?key={key}")
    assert steps(text).count("Received") == 2
    assert "Silence</a>" not in text
    for other in ("", "x", "0" * 12, "../../etc", "G" * 32, "%00"):
        assert "There is no such alert" in await page(console, f"/console/alert?key={other}", 404)


async def test_what_is_repeated_is_no_news_and_makes_the_way_no_longer(console: ConsoleBridge) -> None:
    body = group(alert("Repeated"), key="repeated")
    for _ in range(3):
        await console.post(body)
    text = await page(console, f"/console/alert?key={await key_of(console, 'Repeated')}")
    assert steps(text).count("Received") == 1


async def test_of_a_body_only_those_alerts_are_said_to_be_held_back_that_are(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        service, now = bench.bridge.alerts, time.time()
        silences = [
            (await service.silence(SilenceRequest((Matcher("team", "=", team),), now, now + 3600))).silence.id
            for team in ("db", "web")
        ]
        teams = ("db", "web", "other", "db", "other")
        await bench.post(group(*(alert(f"Alert{at}", team=team) for at, team in enumerate(teams)), key="teams"))
        keys = {each.alert.title: each.key for each in await service.list_firing()}
        for at, team in enumerate(teams):
            text = await page(bench, f"/console/alert?key={keys[f'Alert{at}']}")
            told = re.findall(r"held back by silence (\S+?)<", text)
            assert told == ([] if team == "other" else [silences[("db", "web").index(team)]])
            assert "partly" not in text
        names = ", ".join(sorted(f"silence {each}" for each in silences))
        assert f"partly held back by {names}<" in await page(bench, "/")
        await bench.post(group(alert("Whole", team="db"), alert("Whole", team="db"), key="whole"))
        assert f'"warn-text">held back by silence {silences[0]}<' in await page(bench, "/")


async def test_what_was_noted_without_its_alerts_is_said_to_be_held_back_in_part(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.post(group(alert("Old"), alert("Old", instance="db-2:9100"), key="old"))
        path = f"/console/alert?key={await key_of(bench, 'Old')}"
        routed = {"target": "ops", "alerts": 2, "by": [], "held": ["silence x"]}
        partly = "partly held back by silence x"
        for more, wanted in (
            ({"told": 1}, partly),
            ({"told": 0}, '"warn-text">held back by silence x'),
            ({"told": 0, "held_keys": {}}, partly),
        ):
            noted = [routed | more]
            await bench.bridge.database.run(lambda c, noted=noted: c.execute(sa.update(received).values(routed=noted)))
            assert wanted in await page(bench, path)


async def test_the_way_is_forgotten_with_what_came_in(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.post(group(alert("DiskFull")))
        await bench.until(bench.settled)
        path = f"/console/alert?key={await key_of(bench, 'DiskFull')}"
        assert "Received" in steps(await page(bench, path))
        async for _ in bench.bridge.outbox.prune(before=time.time() + 10, sends_before=0):
            pass
        assert not steps(await page(bench, path))


async def test_what_a_message_shows_a_part_of_is_whole_in_the_console(console: ConsoleBridge) -> None:
    body = {"name": "Nobody described this"} | {f"field{number}": "word " * 20 for number in range(60)}
    async with console.session.post(f"{console.url}/hooks/generic", json=body, headers=HEADERS) as answer:
        assert answer.status == 202
    (message, *_) = [each for each in await console.bridge.outbox.list_messages(limit=500)
                     if isinstance(each.body, Text) and "Nobody described this" in each.body.text]  # fmt: skip
    assert isinstance(message.body, Text)
    assert "field59" not in message.body.text
    path = f"/console/message?id={message.id}"
    assert "field59: word" in await page(console, path)

    async def is_sent() -> bool:
        (now,) = await console.bridge.outbox.get_messages([message.id])
        return now.state is MessageState.SENT

    await console.until(is_sent)
    assert "field59: word" in await page(console, path), "also once it is sent"
