"""Whom an alert mentions and reaches: whose turn it is, whom a label names, and how they are known in each channel."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from wxbridge import parts
from wxbridge.alerts.service import AlertService
from wxbridge.config.schema import Config
from wxbridge.core.errors import ConfigError
from wxbridge.core.model import Message, Text
from wxbridge.delivery.outbox import Outbox
from wxbridge.testing import FakeClock

MONDAY = datetime(2026, 12, 7, 1, 0, tzinfo=UTC).timestamp()
"""09:00 in Shanghai."""
CONFIG = """\
timezone: Asia/Shanghai
wechat: {endpoint: "127.0.0.1:9", token: t, master: 主人}
people:
  user2: {wechat: 用户二, wecom: u2, dingtalk: 13800000002}
  张三: {wecom: zhangsan}
  rota: [张三, 李四]
  turn: 1w
  start: 2026-11-30 09:00
  dba: {rota: [user2]}
targets:
  ops: {channel: wechat, room: Ops}
  robot: {channel: wecom_robot, key: 00000000-0000-0000-0000-000000000000}
  ding: {channel: dingtalk, access_token: x}
  term: {channel: console}
  owners: {channel: wechat, to: from-alert}
  payers: {channel: wechat, to: from-alert, from_label: [payer]}
routes:
"""


class Bridge:
    """An intake as a configuration makes it, on a real database."""

    def __init__(self, config: Config) -> None:
        self.clock = FakeClock(MONDAY)
        self.database = parts.open_database(config)
        self.outbox = Outbox(self.database, clock=self.clock.wall)
        settings = parts.alert_settings_of(config)
        self.service = AlertService(self.database, self.outbox, settings, clock=self.clock.wall)

    async def post(self, body: Any, source: str = "generic", to: tuple[str, ...] = ()) -> list[Message]:
        """Post a body, and give the messages that it led to."""
        known = {each.id for each in await self.outbox.list_messages(limit=1000)}
        await self.service.accept(source, json.dumps(body).encode(), {}, to)
        found = await self.outbox.list_messages(limit=1000)
        return sorted((each for each in found if each.id not in known), key=lambda each: each.id)

    async def mentioned(self, body: Any, **more: Any) -> list[tuple[str, ...]]:
        return [each.body.mentions for each in await self.post(body, **more) if isinstance(each.body, Text)]


@pytest_asyncio.fixture
async def bridge(read: Callable[..., Config]) -> AsyncIterator[Callable[[str], Bridge]]:
    made: list[Bridge] = []

    def make(routes: str) -> Bridge:
        made.append(Bridge(read(CONFIG + routes)))
        return made[-1]

    yield make
    for each in made:
        each.database.close()


def alert(title: str = "Order lag", **labels: str) -> dict[str, Any]:
    return {"title": title, "status": "firing", "labels": labels, "id": title + "".join(labels.values())}


# ---------------------------------------------------------------- mentions


async def test_a_rota_is_mentioned_by_whose_turn_it_is(bridge) -> None:
    made = bridge("  - {to: [ops, robot], mention: [rota, all]}\n")
    assert await made.mentioned(alert("a")) == [("李四", "all"), ("李四", "all")]
    made.clock.advance(-60)
    assert await made.mentioned(alert("b")) == [("张三", "all"), ("zhangsan", "all")]
    made.clock.advance(60 + 7 * 86400)
    assert await made.mentioned(alert("c")) == [("张三", "all"), ("zhangsan", "all")]


@pytest.mark.parametrize(
    ("target", "who"), [("ops", "用户二"), ("robot", "u2"), ("ding", "13800000002"), ("term", "用户二")]
)
async def test_the_owner_is_mentioned_as_each_channel_knows_them(bridge, target, who) -> None:
    made = bridge(f"  - {{to: [{target}], mention_label: owner}}\n")
    assert await made.mentioned(alert(owner="user2")) == [(who,)]
    assert await made.mentioned(alert(owner="somebody else")) == [("somebody else",)]
    assert await made.mentioned(alert(team="db")) == [()]


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("user2, @李四；王五", ("用户二", "李四", "王五")),
        ("user2|user2", ("用户二",)),
        ("all", ()),
        ("@所有人,user2", ("用户二",)),
        ("x" * 65, ()),
        ("dba", ("用户二",)),
        (" , ", ()),
    ],
)
async def test_a_label_may_name_several_and_never_everybody(bridge, text, who) -> None:
    made = bridge("  - {to: [ops], mention_label: [nobody, owner]}\n")
    assert await made.mentioned(alert(owner=text)) == [who]


async def test_a_group_mentions_the_owners_of_all_its_alerts_once(bridge) -> None:
    made = bridge("  - {to: [ops], mention: [user2], mention_label: owner}\n")
    body = {"alerts": [alert("a", owner="李四"), alert("b", owner="user2"), alert("c", owner="李四")]}
    assert await made.mentioned(body) == [("用户二", "李四")]


async def test_a_route_within_may_say_otherwise(bridge) -> None:
    made = bridge(
        "  - to: [ops]\n    mention_label: owner\n    routes:\n"
        "      - {match: {way: quiet}, mention_label: []}\n      - {match: {way: other}, mention_label: payer}\n"
    )
    assert await made.mentioned(alert(owner="user2")) == [("用户二",)]
    assert await made.mentioned(alert(owner="user2", way="quiet")) == [()]
    assert await made.mentioned(alert(owner="user2", way="other", payer="李四")) == [("李四",)]


async def test_annotations_name_people_too(bridge) -> None:
    made = bridge("  - {to: [ops], mention_label: owner}\n")
    body = {
        "version": "4", "status": "firing", "groupKey": "g", "alerts": [
            {"status": "firing", "labels": {"alertname": "X"}, "annotations": {"owner": "user2"},
             "startsAt": "2026-12-07T00:00:00Z", "fingerprint": "x"}
        ],
    }  # fmt: skip
    assert await made.mentioned(body, source="alertmanager") == [("用户二",)]


NIGHTINGALE = {
    "hash": "h1", "rule_name": "内存使用率过高", "rule_note": "请检查", "severity": 2, "group_name": "电商",
    "trigger_time": 1796605200, "trigger_value": "93.21", "tags": ["ident=web-01"], "is_recovered": False,
    "notify_users_obj": [{"username": "user2", "nickname": "用户贰"}, {"username": "", "nickname": "李四"}],
}  # fmt: skip


async def test_nightingales_users_are_mentioned_or_told_and_not_listed_in_the_text(bridge) -> None:
    made = bridge("  - {to: [ops], mention_label: notify_users_obj, continue: true}\n  - {to: [owners]}\n")
    room, *direct = await made.post(NIGHTINGALE, source="generic/nightingale")
    assert room.body.mentions == ("用户二", "李四")
    assert "notify_users" not in room.body.text
    assert [each.recipient for each in direct] == ["用户二", "李四"]


async def test_what_is_pushed_mentions_a_rota_too(bridge) -> None:
    made = bridge("  - {to: [ops]}\n")
    await made.service.push(["ops", "robot"], [Text("the backup is done", ("rota", "user2"))])
    rows = sorted(await made.outbox.list_messages(), key=lambda each: each.id)
    assert [each.body.mentions for each in rows] == [("李四", "用户二"), ("李四", "u2")]


@pytest.mark.parametrize("key", ["mention", "mention_label"])
@pytest.mark.parametrize("text", ["{{ labels.owner }}", "@{{ $labels.owner }}", "{% if x %}a{% endif %}"])
def test_a_template_is_refused_with_its_line_and_what_to_write(read, key, text) -> None:
    with pytest.raises(ConfigError, match=r":\d+: .*`mention_label: owner` mentions"):
        read(CONFIG + f'  - {{to: [ops], {key}: ["{text}"]}}\n')


# ---------------------------------------------------------------- to: from-alert


async def test_a_label_says_who_gets_it(bridge) -> None:
    made = bridge("  - {to: [owners]}\n")
    assert [each.recipient for each in await made.post(alert(owner="user2"))] == ["用户二"]
    assert [each.recipient for each in await made.post(alert(owner="dba,李四"))] == ["用户二", "李四"]
    (message,) = await made.post(alert(team="db"))
    assert (message.target, message.recipient) == ("master", None)


async def test_the_label_can_be_said(bridge) -> None:
    made = bridge("  - {to: [payers]}\n")
    assert [each.recipient for each in await made.post(alert(owner="x", payer="user2"))] == ["用户二"]


async def test_of_a_group_each_gets_their_own_alerts_and_the_operators_what_names_nobody(bridge) -> None:
    made = bridge("  - {to: [owners]}\n")
    alerts = [alert("a", owner="user2"), alert("b", owner="李四"), alert("c", owner="user2,李四"), alert("d")]
    found = await made.post({"alerts": alerts})
    told = {each.recipient: [word for word in "abcd" if word in each.body.text.split()] for each in found}
    assert set(told) == {"用户二", "李四", None}
    texts = {each.recipient: each.body.text for each in found}
    assert ("a" in texts["用户二"], "owner=李四" in texts["用户二"]) == (True, False)
    assert "owner=user2" not in texts["李四"].replace("owner=user2,李四", "")
    assert next(each.target for each in found if each.recipient is None) == "master"
