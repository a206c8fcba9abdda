"""People ask in WeChat, the bridge answers: a real bridge process, over real sockets."""

from __future__ import annotations

import asyncio

from .bridge_harness import BridgeHarness, BridgeProcess
from .conversation import ROOM, hold, turn
from .test_reload import QUICKLY, rewrite

JOBS = """\
jobs: [{id: inspection, kind: text, text: all is well, cron: "0 0 29 2 *", to: [boss]}]
"""
DASHES = "- - - - - - - - - - - - - - -"


async def up(harness: BridgeHarness, extra: str = "", targets: str = "") -> BridgeProcess:
    bridge = await harness.bridge(extra, ops="commands: true", targets=targets)
    await harness.until(lambda: harness.chat() == ["hello master!"])
    return bridge


IN_THE_ROOM = [
    # What people say to each other is their own business.
    turn("张三", "the graph looks odd, and here too"),
    turn("李四", "/var/log is full"),
    turn("李四", f"「张三:/here」\n{DASHES}\nyes, that one"),
    # Prefix and mention, as phones and computers write them.
    turn("张三", "/here", "here answered", r"^This is the room 技术讨论群 .*target ops.*commands: true"),
    turn("张三", "@小桥\u2005here", "here answered", "^This is the room 技术讨论群"),
    turn("李四", "whoami @小桥\u2005", "whoami answered", r"^You are 李四 .*\nRoles: none\n"),
    turn("李四", "／WhoAmI", "whoami answered", "^You are 李四"),
    turn("李四", "@小桥 我是谁", "whoami answered", "^你是 李四.*权限：无"),
    turn("李四", f"「张三:what fires?」\n{DASHES}\n/alerts", "alerts answered", "^✅ Nothing fires"),
    # Several lines, and what is meant for the bot but is no command.
    turn("张三", "/whoami\nand something else\n/here", "whoami answered, here answered", "^You are", "^This is"),
    turn("张三", "@小桥\u2005grpah kafka", "unknown", "do not know “grpah”. Did you mean `graph`"),
    turn("张三", "@小桥\u2005", "unknown", "^Write `help`"),
    # Who may do what: the name that somebody carries in the room makes nobody a master.
    turn("李四", "/run inspection", "run refused", "^`run` is for the master and those under `chat.admins`"),
    turn("陈七", "/运行 inspection", "run refused", "^“运行 / run”仅限管理员使用"),
    turn("陈七", "/whoami", "whoami answered", r"^You are 陈七 .*\nRoles: none\n"),
    turn("李四", "/promql up", "promql refused", "^`promql` is for the master"),
    turn("李四", "/help", "help answered", r"\A(?!.*^run — ).*^alerts — .*mention me or begin with /"),
    turn("张三", "/help", "help answered", "^run — .*^mute — "),
    # The commands themselves.
    turn("张三", "/mute inspection 2h", "mute answered", "^⏸ inspection rests until"),
    turn("张三", "/jobs", "jobs answered", r"^• inspection \(text\) · .*not run yet · ⏸ until .* \(张三\)"),
    turn("主人", "/unmute inspection", "unmute answered", "^▶️ inspection runs at its times again"),
    turn("张三", "/run inspektion", "run cannot", "no job “inspektion”. Did you mean inspection"),
    turn("张三", "/graphs", "graphs answered", "^graph kafka"),
    turn("张三", "/silence team=db 2h moving data", "silence answered", "^🔕 Silenced until .*unsilence [0-9a-f]"),
    turn("主人", "/silences", "silences answered", r"team=.?db.* \(张三: moving data\)"),
    turn("主人", "/状态", "status answered", "^🟢 wechat：在线"),
    turn("主人", "/host", "host cannot", "^No machine is watched"),
    turn("主人", "/run inspection", "run answered", "^▶️ Running inspection; .* boss and here", "^all is well$"),
]  # fmt: skip
WITH_THE_MASTER = [
    turn("主人", "whoami", "whoami answered", "^You are 主人 .*Roles: .*master"),
    turn("主人", "@小桥 /help run", "help answered", "^run — run a job now"),
    turn("主人", "hello there", "unknown", "do not know “hello”"),
    turn("主人", "这里", "here answered", "^与 主人"),
]
WITH_A_PERSON = [
    turn("李四", "here", "here answered", "^This is a direct chat with 李四 .*target duty"),
    turn("李四", "mute inspection 2h", "mute refused", "^`mute` is for the master"),
    turn("李四", "任务", "jobs answered", "^• inspection"),
]


async def test_conversations_in_a_room_with_the_master_and_with_a_person(harness: BridgeHarness) -> None:
    world = harness.simulator.world
    room, stranger = world.find_room(ROOM), world.add_contact("陈七")
    room.member_ids.append(stranger.id)
    room.aliases[stranger.id] = "主人"
    extra = JOBS + "chat: {admins: [主人, 张三]}\ngraphs: {kafka: {url: 'http://127.0.0.1:9/kafka'}}\n"
    bridge = await up(harness, extra, "duty: {channel: wechat, contact: 李四, commands: true}")
    harness.simulator.world.say("here", contact="张三")
    await asyncio.gather(
        hold(harness, bridge, IN_THE_ROOM),
        hold(harness, bridge, WITH_THE_MASTER, contact="主人", target="master"),
        hold(harness, bridge, WITH_A_PERSON, contact="李四", target="duty"),
    )
    assert harness.chat("张三") == ["all is well"], "no commands there, only the job's result"
    assert await bridge.counted("wxbridge_commands_total", command="run", outcome="refused") == 2
    assert await bridge.counted("wxbridge_commands_total", outcome="failed") == 0


async def test_whoever_asks_too_much_is_told_once_and_others_are_answered_all_the_same(harness: BridgeHarness) -> None:
    bridge = await up(harness, "chat: {rate: 3/min}\n")
    await hold(harness, bridge, [
        turn("张三", "/here\n/whoami", "here answered, whoami answered", "^This", "^You are 张三"),
        turn("张三", "/whoami\n/here", "whoami answered", "^You are 张三", "more than 3/min"),
        turn("张三", "/here"),
        turn("李四", "/whoami", "whoami answered", "^You are 李四"),
    ])  # fmt: skip
    assert await bridge.counted("wxbridge_commands_total", command="here", outcome="limited") == 2


async def test_a_command_that_a_killed_bridge_has_not_answered_is_answered_by_the_next_once(
    harness: BridgeHarness,
) -> None:
    bridge = await up(harness)
    harness.simulator.gateway.faults.fail_next(1000, "INTERNAL")
    harness.simulator.world.say("/here", room=ROOM)
    await bridge.event("command", command="here")
    # Killed after a second refusal, in the pause of two seconds before the next try: nothing is under way.
    await bridge.until(lambda: len([line for line in bridge.logs if line["event"] == "not sent, will try again"]) == 2)
    await bridge.kill()
    bridge = await harness.bridge(ops="commands: true")
    assert harness.room() == []
    harness.simulator.gateway.faults.fail_next(0)
    await harness.until(harness.room)
    await hold(harness, bridge, [turn("张三", "/whoami", "whoami answered", "^You are")])
    assert [text.split("\n")[0][:16] for text in harness.room() if text.startswith("This is the room")] == [
        "This is the room"
    ]


async def test_the_prefix_the_hosts_and_the_graphs_of_a_changed_configuration_hold_from_the_next_message_on(
    harness: BridgeHarness,
) -> None:
    harness.constants |= QUICKLY
    bridge = await up(harness)
    await hold(harness, bridge, [
        turn("张三", "/graphs", "graphs cannot", "^There are no graphs"),
        turn("张三", "/host", "host cannot", "^No machine is watched"),
    ])  # fmt: skip
    rewrite(harness, "targets:", """\
chat: {prefix: bot}
graphs: {page: {url: "http://127.0.0.1:9/page", title: A page}}
host: {name: web-1, every: 1s, cpu: null, memory: null, disk: null}
targets:""")  # fmt: skip
    done = await bridge.event("configuration reloaded")
    assert set(done["changed"]) == {"chat", "graphs", "host"}
    harness.simulator.world.say("/here", room=ROOM)
    await hold(harness, bridge, [
        turn("张三", "bot graphs", "graphs answered", "^graph page .*A page"),
        turn("张三", "bot主机"),
        turn("张三", "bot 主机 web-2 昨天", "host cannot", "没有名为“web-2”的主机，现有：web-1|尚未监控"),
    ])  # fmt: skip


async def test_the_master_learns_the_id_of_a_room_that_is_no_target_yet(harness: BridgeHarness) -> None:
    await up(harness)
    harness.simulator.world.add_room("新群", ["主人", "张三"])
    harness.simulator.world.say("@小桥 here", room="新群", talker="张三")
    harness.simulator.world.say("@小桥 here", room="新群", talker="主人")
    await harness.until(lambda: len(harness.chat()) == 2)
    place = harness.simulator.world.find_room("新群")
    assert f'{{channel: wechat, room: "{place.id}", commands: true}}' in harness.chat()[1]
    assert harness.room("新群") == []
