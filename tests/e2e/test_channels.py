"""The ways into WeChat besides the account itself: real bridges against the fakes that wxbridge ships."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest_asyncio

from tests.fakes.any_service import AnyService
from tests.fakes.dingtalk import FakeDingtalk
from tests.fakes.feishu import FakeFeishu
from tests.fakes.wecom import FakeWecom
from tests.fakes.wecom_bot import WecomBotServer
from tests.support import wait_until

from .bridge_harness import WAIT, BridgeHarness, BridgeProcess
from .test_main_job import legacy

PNG = b"\x89PNG"


@dataclass
class Services:
    """One of each fake, with somebody in it."""

    wecom: FakeWecom
    ding: FakeDingtalk
    bot: WecomBotServer

    @property
    def targets(self) -> str:
        """Targets of every channel, for `BridgeHarness.write`."""
        return f"""\
robot: {{channel: wecom_robot, key: k1, base_url: "{self.wecom.url}"}}
  cpu: {{channel: wecom_app, secret: s-cpu, agent_id: 1000002, to: from-alert}}
  disk: {{channel: wecom_app, secret: s-disk, agent_id: 1000003, to: 'zhangsan|lisi'}}
  ding: {{channel: dingtalk, base_url: "{self.ding.url}", access_token: t1, secret: SECx}}
  group: {{channel: wecom_bot, bot: main, chat: g1}}
  term: {{channel: console}}"""

    @property
    def sections(self) -> str:
        """What the targets need beside them."""
        return f"""\
wecom: {{corp_id: ww1, base_url: "{self.wecom.url}"}}
bots: {{main: {{bot_id: bot-1, secret: secret-1, ws_url: "{self.bot.url}", pace: none}}}}
"""

    def robots(self) -> list[str]:
        """What the robot's group has seen: texts, and `[image]`."""
        return [m.content or f"[{m.kind}]" for m in self.wecom.messages if m.sender == "k1"]

    def said(self, chat: str = "g1") -> list[str]:
        """What the bot has written."""
        return [sent.text or f"[{sent.kind}]" for sent in self.bot.sent if sent.chat == chat]


@pytest_asyncio.fixture
async def services() -> AsyncIterator[Services]:
    async with AsyncExitStack() as stack:
        wecom = await stack.enter_async_context(FakeWecom())
        wecom.add_robot("k1")
        wecom.add_application("ww1", "s-cpu", 1000002)
        wecom.add_application("ww1", "s-disk", 1000003)
        ding = await stack.enter_async_context(FakeDingtalk())
        ding.add_robot("t1", secret="SECx")
        bot = await stack.enter_async_context(WecomBotServer())
        bot.chats.add("g1")
        yield Services(wecom, ding, bot)


async def until(condition: Callable[[], Any], *processes: BridgeProcess) -> Any:
    """Wait for something at a fake; the fakes have no event in common."""

    def last_logs() -> str:
        return "\n".join(str(line) for process in processes for line in process.logs[-40:])

    return await wait_until(condition, explain=last_logs)


def away(harness: BridgeHarness) -> None:
    harness.simulator.gateway.auto_scan = False
    harness.simulator.world.logout()


async def test_while_wechat_is_logged_out_the_alert_and_the_login_code_come_through_the_robot_once(
    harness: BridgeHarness, services: Services
) -> None:
    bridge = await harness.bridge(
        services.sections, ops="fallback: robot, failover_after: 1s", targets=services.targets
    )
    await harness.until(harness.chat)
    away(harness)
    await bridge.event("wechat state", state="waiting_for_scan")
    assert (await bridge.post(legacy("while away")))[0] == 202
    await until(lambda: "while away" in str(services.robots()), bridge)
    assert "needs a new scan" in services.robots()[0]
    # A picture holds no text up, so it may come behind.
    await until(lambda: any(message.kind == "image" for message in services.wecom.messages), bridge)
    (code,) = [message.data for message in services.wecom.messages if message.kind == "image"]
    assert code.startswith(PNG)
    bridge.logs.clear()
    harness.simulator.world.scan()
    await bridge.event("wechat state", state="online")
    await bridge.post(legacy("at home again"))
    await harness.until(lambda: "at home again" in str(harness.room()))
    assert "while away" not in str(harness.room())
    assert sum("while away" in text for text in services.robots()) == 1
    assert "at home again" not in str(services.robots())


async def test_wechat_takes_over_from_a_bot_whose_connection_is_gone_and_gives_back(
    harness: BridgeHarness, services: Services
) -> None:
    targets = services.targets.replace("chat: g1", "chat: g1, fallback: ops, failover_after: 1s")
    bridge = await harness.bridge(services.sections, targets=targets)
    await until(lambda: services.bot.online, bridge)
    await harness.until(harness.chat)
    await bridge.post(legacy("first"), "/hooks/grafana?to=group")
    await until(lambda: "first" in str(services.said()), bridge)
    await services.bot.stop()
    await bridge.post(legacy("second"), "/hooks/grafana?to=group")
    await harness.until(lambda: "second" in str(harness.room()))
    await services.bot.start()
    await until(lambda: services.bot.online, bridge)
    await bridge.post(legacy("third"), "/hooks/grafana?to=group")
    await until(lambda: "third" in str(services.said()), bridge)
    assert "second" not in str(services.said())
    assert not any(word in str(harness.room()) for word in ("first", "third"))


async def test_a_bot_takes_over_from_wechat_with_the_login_code(harness: BridgeHarness, services: Services) -> None:
    bridge = await harness.bridge(
        services.sections, ops="fallback: group, failover_after: 1s", targets=services.targets
    )
    await until(lambda: services.bot.online, bridge)
    await harness.until(harness.chat)
    away(harness)
    await bridge.event("wechat state", state="waiting_for_scan")
    await bridge.post(legacy("while away"))
    await until(lambda: "while away" in str(services.said()), bridge)
    await until(lambda: "[image]" in services.said(), bridge)
    assert any(sent.media.startswith(PNG) for sent in services.bot.sent if sent.kind == "image")


async def test_open_falcons_types_go_to_two_applications_and_to_whom_they_name(
    harness: BridgeHarness, services: Services
) -> None:
    path = harness.write(services.sections, targets=services.targets)
    text = path.read_text(encoding="utf-8")
    routes = """\
routes:
  - {match: ['alertname=~"CPU.*"'], to: [cpu]}
  - {match: ['alertname=~".*磁盘.*"'], to: [disk]}
"""
    path.write_text(text.replace("routes:\n", routes), encoding="utf-8")
    bridge = BridgeProcess(path, harness.launcher, harness.constants)
    harness.processes.append(bridge)
    await bridge.start()
    for word, name in (("CPU空闲过低", "cpu.idle"), ("磁盘不足", "df.bytes.free.percent")):
        content = f"[P0][PROBLEM][host-1][][{word} all(#3) {name}  4.2<10][O1 2026-11-20 20:18:00]"
        form = urlencode({"tos": "zhangsan", "content": content}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await bridge.post(form, "/hooks/openfalcon", headers=headers))[0] == 202
    await until(lambda: len(services.wecom.messages) == 2, bridge)
    found = {message.sender: message for message in services.wecom.messages}
    assert "CPU空闲过低" in found["1000002"].content
    assert found["1000002"].to == ("zhangsan",)
    assert "磁盘不足" in found["1000003"].content
    assert sorted(found["1000003"].to) == ["lisi", "zhangsan"]


async def test_send_and_alert_test_reach_each_channel_and_check_finds_all_well(
    harness: BridgeHarness, services: Services
) -> None:
    targets = services.targets.replace("access_token: t1", "access_token: t1, format: markdown")
    bridge = await harness.bridge(services.sections, targets=targets)
    await until(lambda: services.bot.online, bridge)
    names = ("robot", "disk", "ding", "group", "term")
    done = await asyncio.gather(*(harness.command("send", name, f"hello {name}") for name in names))
    assert [code for code, _, _ in done] == [0] * len(names), done
    assert "hello robot" in services.robots()
    assert "hello disk" in [message.content for message in services.wecom.messages]
    assert "hello ding" in [message.content for message in services.ding.messages]
    assert "hello group" in services.said()
    await bridge.printed("hello term")
    code, out, err = await harness.command("alert", "test", "--to", ",".join(names))
    assert code == 0, out + err
    await until(lambda: "[image]" in services.robots() and "[image]" in services.said(), bridge)
    await until(lambda: len(services.ding.messages) == 3, bridge)
    # Nothing is published, so a line tells how to get pictures.
    assert "pictures.publish" in services.ding.messages[-1].content
    code, out, err = await harness.command("doctor", "--json")
    assert all(f"target {name}" in out for name in ("robot", "disk", "ding")), out + err
    assert "bot main" in out


async def test_dingtalk_shows_a_picture_from_wxbridges_own_address_and_a_lost_store_costs_the_picture_alone(
    harness: BridgeHarness, services: Services
) -> None:
    pictures = 'pictures: {publish: {url: "http://127.0.0.1:1"}}\n'
    bridge = await harness.bridge(services.sections + pictures, targets=services.targets)
    assert (await harness.command("alert", "test", "--to", "ding"))[0] == 0
    await until(lambda: len(services.ding.messages) == 2, bridge)
    shown = services.ding.messages[1].content
    path = shown.partition("(http://127.0.0.1:1")[2].rstrip(")")
    async with aiohttp.ClientSession() as session, session.get(bridge.url + path) as answer:
        assert answer.status == 200
        assert (await answer.read()).startswith(PNG)
    text = bridge.config.read_text(encoding="utf-8")
    gone = '{s3: {endpoint: "http://127.0.0.1:9", bucket: pics, access_key: a, secret_key: hush}}'
    bridge.config.write_text(text.replace('{url: "http://127.0.0.1:1"}', gone), encoding="utf-8")
    await bridge.stop()
    await bridge.start()
    assert (await harness.command("alert", "test", "--to", "ding"))[0] == 0
    [told] = await harness.until(lambda: [text for text in harness.chat() if "picture store" in text])
    assert "hush" not in told
    await until(lambda: len(services.ding.messages) == 3, bridge)
    assert "picture store" not in services.ding.messages[-1].content


async def test_feishu_gets_cards_and_pictures_and_what_a_service_refuses_for_good_goes_to_it_as_the_fallback(
    harness: BridgeHarness,
) -> None:
    async with FakeFeishu() as feishu, AnyService() as sms:
        feishu.add_robot("f1", secret="hush-sign")
        feishu.applications["cli_1"] = "hush-app"
        targets = f"""\
fei: {{channel: feishu, key: f1, secret: hush-sign, base_url: "{feishu.url}", app_id: cli_1, app_secret: hush-app}}
  sms:
    channel: http
    url: "{sms.url}/send?key=hush-query"
    headers: {{Authorization: "Bearer hush-header"}}
    body: '{{"to": "138", "text": {{{{ title | tojson }}}}}}'
    success: {{when: "code == `0`"}}
    final: {{when: "code == `22`"}}
    fallback: fei"""
        bridge = await harness.bridge("", targets=targets)
        assert (await harness.command("alert", "test", "--to", "fei,sms"))[0] == 0
        await until(lambda: len(feishu.messages) == 2 and sms.requests, bridge)
        card, picture = feishu.messages
        assert (card.kind, picture.kind) == ("interactive", "image")
        assert picture.picture.startswith(PNG)
        request = sms.requests[0]
        assert request.headers["Authorization"] == "Bearer hush-header"
        assert json.loads(request.body)["to"] == "138"
        assert json.loads(request.body)["text"] == card.content["header"]["title"]["content"]
        for status, colour in (("firing", "red"), ("ok", "green")):
            said = {"title": "disk", "id": "1", "status": status, "severity": "critical"}
            assert (await bridge.post(said, "/hooks/generic?to=fei"))[0] == 202
            await until(
                lambda colour=colour: feishu.messages[-1].content.get("header", {}).get("template") == colour, bridge
            )
        sms.says = {"code": 22, "msg": "no such number hush-header"}
        before = len(feishu.messages)
        assert (await harness.command("send", "sms", "the disk is full"))[0] == 1, "it was refused"
        await until(lambda: len(feishu.messages) > before, bridge)
        assert "the disk is full" in str(feishu.messages[-1].content)
        _, out, err = await harness.command("doctor", "--json")
        assert all(f"target {name}" in out for name in ("fei", "sms")), out + err
        for text in (out, err, str(bridge.logs), (await bridge.get("/metrics"))[1]):
            assert "hush" not in text


async def test_a_bots_groups_are_found_by_writing_to_it(harness: BridgeHarness, services: Services) -> None:
    bridge = await harness.bridge(services.sections, targets=services.targets)
    await until(lambda: services.bot.online, bridge)
    await services.bot.say("@wxbridge hello", user="zhangsan", group="wr-new-group")
    await until(lambda: any("wr-new-group" in str(line) for line in bridge.logs), bridge)

    async def listed() -> bool:
        return "wr-new-group" in (await harness.command("rooms", "--json"))[1]

    async with asyncio.timeout(WAIT):
        while not await listed():
            pass
