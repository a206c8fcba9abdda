"""The same commands in WeCom, over the bot's long connection: in a group, and directly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from tests.fakes.grafana import TOKEN, FakeGrafana
from tests.fakes.wecom_bot import WecomBotServer
from tests.support import wait_for_change

from .bridge_harness import BridgeHarness, BridgeProcess
from .conversation import PICTURE, Answer, Turn, compared, outcomes, turn

GROUP = "wrGROUP"
CONFIG = """\
server: {{listen: "127.0.0.1:0"}}
bots: {{main: {{bot_id: bot-1, secret: secret-1, ws_url: "{url}", name: 小桥, pace: none}}}}
chat: {{admins: [zhangsan]}}
grafana: {{url: "{grafana}", token: {token}}}
host: {{measure: false}}
targets:
  group: {{channel: wecom_bot, bot: main, chat: wrGROUP, commands: true}}
  zhang: {{channel: wecom_bot, bot: main, chat: zhangsan, commands: true}}
  li: {{channel: wecom_bot, bot: main, chat: lisi}}
jobs: [{{id: inspection, kind: text, text: all is well, cron: "0 0 29 2 *", to: [li]}}]
"""
IN_THE_GROUP = [
    turn("zhangsan", "@小桥 here", "here answered", "^This is the room .*wrGROUP.*bot: main, chat: .?wrGROUP"),
    turn("lisi", "@小桥\u2005我是谁", "whoami answered", "^你是 lisi.*权限：无"),
    turn("lisi", "@小桥 run inspection", "run refused", "for the master and those under"),
    turn(
        "lisi",
        "@小桥 /status\nalerts",
        "status answered, alerts answered",
        "🟢 .*main.*online",
        "Nothing fires",
    ),
    turn("lisi", "@小桥 grpah", "unknown", "Did you mean .*graph"),
    turn("zhangsan", "@小桥 graph kafka #4", "graph answered", "Messages in", PICTURE),
    turn("zhangsan", "@小桥 run inspection", "run answered", "^▶️ Running inspection", "all is well"),
]
DIRECTLY = [
    turn("zhangsan", "whoami", "whoami answered", "^You are zhangsan .*Roles: admins"),
    turn("zhangsan", "mute inspection", "mute cannot", "how long: .*mute inspection 2h"),
    turn("zhangsan", "mute inspection tomorrow", "mute cannot", "^Say how long: "),
    turn("zhangsan", "host", "host cannot", "No machine is watched"),
    turn("zhangsan", "帮助", "help answered", "可用命令"),
]


async def hold(
    server: WecomBotServer, bridge: BridgeProcess, turns: Sequence[Turn], target: str, *, group: str = ""
) -> None:
    def said() -> list[Answer]:
        chat = group or turns[0].who
        return [Answer(each.text or f"[{each.kind}]", each.media) for each in server.sent if each.chat == chat]

    async def until(condition: Any) -> None:
        await wait_for_change(server.changed, condition)

    for each in turns:
        await server.say(each.says, user=each.who, group=group)
    await compared(until, bridge, turns, said, lambda: outcomes(bridge, target))


async def test_conversations_in_a_group_and_directly(harness: BridgeHarness) -> None:
    grafana = FakeGrafana()
    await grafana.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(grafana.stop)
        server = await stack.enter_async_context(WecomBotServer())
        path = harness.directory / "jobs.yaml"
        path.write_text(CONFIG.format(url=server.url, grafana=grafana.url, token=TOKEN), encoding="utf-8")
        bridge = BridgeProcess(path, harness.launcher, harness.constants)
        harness.processes.append(bridge)
        await bridge.start()
        await bridge.until(lambda: bool(server.online))
        server.chats.add("lisi")
        await server.say("here", user="lisi")
        await asyncio.gather(
            hold(server, bridge, IN_THE_GROUP, "group", group=GROUP), hold(server, bridge, DIRECTLY, "zhang")
        )
        assert [each.text for each in server.sent if each.chat == "lisi"] == ["all is well"]
