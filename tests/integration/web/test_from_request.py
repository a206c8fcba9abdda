"""`key: from-request`: a sender names the robot in its own address, so that a new group is a change there alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.fakes.dingtalk import FakeDingtalk
from tests.fakes.feishu import FakeFeishu
from tests.fakes.wecom import FakeWecom
from tests.support import wait_until
from wxbridge import app
from wxbridge.config.schema import Config
from wxbridge.core.errors import ConfigError
from wxbridge.core.model import MessageState

TOKEN = "a-t0ken"
ONE, OTHER = "1111-aaaa-key-of-one", "2222-bbbb-key-of-other"
CONFIG = """\
server: {{listen: "127.0.0.1:0", token: a-t0ken}}
operators: [duty]
targets:
  any-robot: {{channel: wecom_robot, key: from-request, base_url: "{wecom}", pace: none}}
  any-ding: {{channel: dingtalk, key: from-request, base_url: "{dingtalk}", pace: none}}
  any-feishu: {{channel: feishu, key: from-request, base_url: "{feishu}", pace: none}}
  duty: {{channel: wecom_robot, key: duty, base_url: "{wecom}", pace: none}}
routes: [{{to: [duty]}}]
"""


class Bench:
    """A bridge and three services with two groups each."""

    def __init__(self, bridge: app.App, wecom: FakeWecom, dingtalk: Any, feishu: Any) -> None:
        self.bridge, self.wecom, self.dingtalk, self.feishu = bridge, wecom, dingtalk, feishu

    async def post(self, query: str, name: str = "DiskFull", token: str = TOKEN, status: str = "alerting") -> int:
        headers = {"Authorization": f"Bearer {token}"}
        body = {"title": name, "state": status, "ruleId": name, "ruleName": name, "tags": {}}
        address = f"{self.bridge.url}/hooks/grafana?{query}"
        async with aiohttp.ClientSession(headers=headers) as session, session.post(address, json=body) as answer:
            self.said = await answer.text()
            return answer.status

    def heard(self, key: str) -> list[str]:
        return [each.content.split("\n")[0] for each in self.wecom.messages if each.sender == key]


@pytest.fixture
def bench(read: Callable[..., Config]) -> Callable[[], Any]:
    @asynccontextmanager
    async def start() -> AsyncIterator[Bench]:
        async with FakeWecom() as wecom, FakeDingtalk() as dingtalk, FakeFeishu() as feishu:
            for key in (ONE, OTHER, "duty"):
                wecom.add_robot(key)
            config = read(CONFIG.format(wecom=wecom.url, dingtalk=dingtalk.url, feishu=feishu.url))
            async with app.running(config) as bridge:
                yield Bench(bridge, wecom, dingtalk, feishu)

    return start


async def test_each_sender_reaches_the_robot_that_it_names_also_with_the_same_alert(bench: Any) -> None:
    async with bench() as it:
        assert await it.post(f"to=any-robot&key={ONE}&mention=all") == 202
        assert await it.post(f"to=any-robot&key={OTHER}") == 202
        await wait_until(lambda: it.heard(ONE) and it.heard(OTHER))
        assert await it.post(f"to=any-robot&key={ONE}", status="ok") == 202
        await wait_until(lambda: len(it.heard(ONE)) == 2)
        assert "DiskFull" in it.heard(ONE)[1]
        assert not it.heard("duty")
        first = next(each for each in it.wecom.messages if each.sender == ONE)
        assert "all" in str(first.mentioned)


async def test_the_bridges_token_is_asked_for_as_everywhere(bench: Any) -> None:
    async with bench() as it:
        assert await it.post(f"to=any-robot&key={ONE}", token="wrong") == 401
        assert not it.wecom.messages


@pytest.mark.parametrize(
    "key", ["", "from-request", "https://evil.example/?key=x", "a/../b", "x" * 200, "a b", "a%26b"]
)
async def test_what_can_be_no_key_is_refused_and_the_alert_is_told_the_operators(bench: Any, key: str) -> None:
    async with bench() as it:
        assert await it.post(f"to=any-robot&key={key}") == 400
        assert "any-robot" in it.said
        assert "&key=" in it.said
        await wait_until(lambda: it.wecom.messages)
        (told,) = it.wecom.messages
        assert told.sender == "duty"
        assert "any-robot" in told.content
        assert "DiskFull" in told.content


async def test_a_key_that_no_robot_has_costs_its_own_message_alone(bench: Any) -> None:
    async with bench() as it:
        assert await it.post("to=any-robot&key=0000-nobodys") == 202
        dead = await wait_until(lambda: it.bridge.outbox.list_messages(target="any-robot", states=[MessageState.DEAD]))
        assert "0000-nobodys" not in str(dead[0].error)
        assert await it.post(f"to=any-robot&key={ONE}", "Another") == 202
        await wait_until(lambda: it.heard(ONE))
        assert it.bridge.channels.statuses()["wecom_robot"].state == "online"


async def test_what_was_silenced_is_told_the_robot_that_was_named_once_that_is_over(bench: Any) -> None:
    from wxbridge.alerts.kept_silences import SilenceRequest
    from wxbridge.alerts.reminders import Reminders
    from wxbridge.core.matchers import parse_matchers

    async with bench() as it:
        now = it.bridge.alerts.clock()
        request = SilenceRequest(tuple(parse_matchers(['alertname="DiskFull"'])), now, now + 3600)
        made = await it.bridge.alerts.silence(request)
        assert await it.post(f"to=any-robot&key={OTHER}") == 202
        await it.bridge.alerts.unsilence_here(made.silence.id)
        it.bridge.alerts.clock = lambda: now + 7200
        await Reminders(it.bridge.alerts).look()
        await wait_until(lambda: it.heard(OTHER))
        assert not it.heard(ONE)


async def test_no_page_and_no_log_tells_a_robots_key(bench: Any, capfd: pytest.CaptureFixture[str]) -> None:
    async with bench() as it:
        await it.post(f"to=any-robot&key={ONE}")
        await wait_until(lambda: it.heard(ONE))
        (message,) = await it.bridge.outbox.list_messages(target="any-robot")
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for path in ("/", f"/console/message?id={message.id}", "/console/targets", "/console/senders?to=any-robot",
                         "/console/configuration", "/metrics"):  # fmt: skip
                async with session.get(it.bridge.url + path) as answer:
                    page = await answer.text()
                    assert answer.status == 200
                    assert ONE not in page
                    if path.startswith("/console/senders"):
                        assert "/hooks/grafana?to=any-robot&amp;key=KEY&amp;mention=all" in page
    out, err = capfd.readouterr()
    assert ONE not in out + err


async def test_dingtalk_and_feishu_are_asked_for_alike(bench: Any) -> None:
    async with bench() as it:
        it.dingtalk.add_robot("ding-token", secret="SECabc")
        it.feishu.add_robot("feishu-key", secret="sign-it")
        assert await it.post("to=any-ding&key=ding-token&secret=SECabc") == 202
        assert await it.post("to=any-feishu&key=feishu-key&secret=sign-it&mention=all") == 202
        await wait_until(lambda: it.dingtalk.messages and it.feishu.messages)
        assert "DiskFull" in str(it.dingtalk.messages[0])
        assert "DiskFull" in str(it.feishu.messages[0])


@pytest.mark.parametrize(
    "change", ["routes: [{to: [any-robot]}]", "jobs: [{id: x, every: 1h, kind: text, text: x, to: [any-robot]}]",
               "operators: [any-robot]"],
)  # fmt: skip
def test_where_nothing_says_which_robot_it_is_the_target_cannot_be_named(
    read: Callable[..., Config], change: str
) -> None:
    text = "targets: {any-robot: {channel: wecom_robot, key: from-request}}\n"
    with pytest.raises(ConfigError, match="that a sender names in its address"):
        read(text + ("" if "routes" in change else "routes: []\n") + change)
