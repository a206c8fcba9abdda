"""Commands that ask others: panels from Grafana, pages in Chromium, a real Prometheus, a real Alertmanager."""

from __future__ import annotations

import asyncio
import io

import aiohttp
from PIL import Image

from tests.fakes.grafana import TOKEN, FakeGrafana
from tests.fakes.real_monitors import (
    needs_alertmanager,
    needs_prometheus,
    post_alerts,
    run_alertmanager,
    run_prometheus,
)

from .bridge_harness import BridgeHarness
from .conversation import PICTURE, Answer, hold, turn
from .test_commands import up


def sizes(answers: list[Answer]) -> list[tuple[int, int]]:
    return [Image.open(io.BytesIO(each.data)).size for each in answers if each.data]


async def test_graphs_are_answered_with_pictures_in_the_order_in_which_they_were_asked(harness: BridgeHarness) -> None:
    grafana, page = FakeGrafana(), FakeGrafana(anonymous=True)
    await asyncio.gather(grafana.start(), page.start())
    extra = f"""\
grafana: {{url: "{grafana.url}", token: {TOKEN}}}
pictures: {{allow: [127.0.0.1]}}
graphs:
  kafka: {{url: /d/kfk/kafka, panel: 4, from: now-6h, size: 400x200}}
  页面: {{url: "{page.url}/d/hosts/classic", size: 800x600, title: 主机}}
"""
    try:
        bridge = await up(harness, extra)
        answers = await hold(harness, bridge, [
            turn("张三", "/graph kafka", "graph answered", "^📈 Kafka 集群 · Messages in.*viewPanel=4", PICTURE),
            turn("李四", "@小桥\u2005图 页面", "graph answered", f"^📈 主机\n{page.url}/d/hosts/classic$", PICTURE),
            turn("张三", "/graph kafka cpu,#4 昨天9-18点 host=web-2 300x200", "graph answered",
                 "CPU usage of web-2", PICTURE, "Messages in.*viewPanel=4", PICTURE),
            turn("张三", "/graph kafka nonsense", "graph cannot", "^“kafka” has no panel “nonsense”"),
            turn("张三", "/graph kafak", "graph cannot", "Did you mean `kafka`"),
            turn("张三", "/graphs node", "graphs answered", "^In Grafana:.*^graph n1  # 1"),
        ])  # fmt: skip
    finally:
        await asyncio.gather(grafana.stop(), page.stop())
    found = sizes(answers)
    assert (found[0], found[1][0], found[2:]) == ((400, 200), 800, [(300, 200), (300, 200)])
    assert len(Image.open(io.BytesIO(answers[3].data)).convert("RGB").getcolors(2**24) or ()) > 50, "lines were drawn"
    asked = grafana.drawn[-1].query
    assert (asked.getall("var-host"), int(asked["to"]) - int(asked["from"])) == (["web-2"], 9 * 3600 * 1000)
    assert await bridge.counted("wxbridge_pictures_total", kind="panel", outcome="drawn") == 3


@needs_prometheus
async def test_an_expression_is_drawn_from_a_real_prometheus_for_those_who_may(harness: BridgeHarness) -> None:
    async with run_prometheus(harness.directory) as url:  # it watches nobody: constants need no scrape
        bridge = await up(harness, f"prometheus: {{url: '{url}'}}\nchat: {{promql: [张三]}}\n")
        answers = await hold(harness, bridge, [
            turn("李四", "/promql up", "promql refused", "^`promql` is for"),
            turn("张三", '/promql label_replace(vector(3), "host", "web-1", "", "") 5m', "promql answered",
                 "label_replace.*/graph\\?", PICTURE),
            turn("张三", "/promql up{", "promql cannot", "^That is no PromQL"),
            turn("主人", "/查询 nothing_like_it 最近5分钟", "promql answered", "nothing_like_it",
                 "无数据|无数据|no data"),
        ])  # fmt: skip
    assert sizes(answers)[0][0] > 600


@needs_alertmanager
async def test_a_silence_from_the_chat_is_one_in_the_real_alertmanager_until_somebody_ends_it(
    harness: BridgeHarness,
) -> None:
    async with run_alertmanager(harness.directory) as url:
        await post_alerts(
            url,
            {"alertname": "DiskFull", "team": "db", "severity": "critical", "instance": "db-1"},
            {"alertname": "QueueLong", "team": "web", "severity": "warning"},
        )
        bridge = await up(harness, f"alertmanager: {{url: '{url}'}}\nchat: {{admins: [张三]}}\n")
        await hold(harness, bridge, [
            turn("李四", "/alerts", "alerts answered", r"DiskFull.*instance=db-1.*QueueLong"),
            turn("李四", "/silence team=db 2h", "silence refused", "^`silence` is for"),
            turn("张三", "/silence team=db 2h moving data", "silence answered", "It covers 1 of the alerts"),
            turn("张三", '/silence alertname=~".*" 2h', "silence cannot", "would silence everything"),
        ])  # fmt: skip
        (silence,) = await silences(url)
        assert silence["status"]["state"] == "active"
        assert (silence["comment"], silence["matchers"][0]["name"]) == ("moving data", "team")
        short = silence["id"][:8]
        await hold(harness, bridge, [
            turn("李四", "/告警 team=db", "alerts answered", f"DiskFull.*已静默（{short}）"),
            turn("李四", "/ack queue", "ack cannot", "queue"),
            turn("主人", f"/unsilence {short}", "unsilence answered", "^🔔 Ended: .*team"),
            turn("李四", "/silences", "silences answered", "^There are no silences"),
        ])  # fmt: skip
        assert (await silences(url))[0]["status"]["state"] == "expired"


async def silences(url: str) -> list[dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v2/silences") as answer:
        found: list[dict[str, object]] = await answer.json()
        return found
