"""The fake services that ship: as strict as the real ones, and of one mind with clients that nobody here wrote.

The foreign requests were recorded from apprise 2.2.0 (`wecombot`, `dingtalk`) and wechatpy 1.8.18 (`enterprise`)
against these fakes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
from typing import Any

import aiohttp
import pytest
from PIL import Image

from tests.fakes.dingtalk import FakeDingtalk
from tests.fakes.wecom import FakeWecom, _refused
from tests.integration.channels.wecom.wecom_harness import PATIENT, app, context, robot
from tests.support import REPOSITORY
from wxbridge.channels.wecom.app import AppChannel
from wxbridge.channels.wecom.robot import RobotChannel
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.model import Text

PNG = io.BytesIO()
Image.new("RGB", (8, 8), "red").save(PNG, "PNG")
PNG = PNG.getvalue()
SEND = "/cgi-bin/webhook/send?key=a"


@pytest.fixture
async def wecom(clock):
    async with FakeWecom(wall=clock.wall) as running:
        running.add_robot("a")
        running.add_application("corp", "the-secret", 1000002, name="Ops")
        yield running


async def post(url: str, body: Any) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        assert response.status == 200
        return await response.json()


async def get(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.json()


async def upload(url: str, data: bytes, kind: str, token: str) -> dict[str, Any]:
    form = aiohttp.FormData()
    form.add_field("media", data, filename="p.png")
    address = f"{url}/cgi-bin/media/upload?type={kind}&access_token={token}"
    async with aiohttp.ClientSession() as session, session.post(address, data=form) as response:
        return await response.json()


async def token_of(wecom: FakeWecom) -> str:
    return (await get(f"{wecom.url}/cgi-bin/gettoken?corpid=corp&corpsecret=the-secret"))["access_token"]


def image(data: bytes, md5: str | None = None) -> dict[str, Any]:
    digest = hashlib.md5(data).hexdigest() if md5 is None else md5
    return {"msgtype": "image", "image": {"base64": base64.b64encode(data).decode(), "md5": digest}}


# ---------------------------------------------------------------- as strict as the real one


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (image(PNG), 0),
        (image(PNG, hashlib.md5(base64.b64encode(PNG)).hexdigest()), 301019),  # of the base64: a common mistake
        (image(PNG + b"\0" * 2 * 1024 * 1024), 40009),
        (image(b"GIF89a" + b"\0" * 10), 40004),
        ({"msgtype": "image", "image": {"base64": "!", "md5": ""}}, 40058),
        ({"msgtype": "text", "text": {"content": "字" * 682 + "xx"}}, 0),
        ({"msgtype": "text", "text": {"content": "字" * 683}}, 40058),
        ({"msgtype": "markdown", "markdown": {"content": "x" * 4097}}, 40058),
        ({"msgtype": "text", "text": {"content": " "}}, 44004),
        ({"msgtype": "text"}, 44004),
        ({"msgtype": "file", "file": {"media_id": "none"}}, 40007),
        ({"msgtype": "news", "news": {"articles": [{"title": "t", "url": "https://x"}]}}, 0),
        ({"msgtype": "news", "news": {"articles": [{}] * 9}}, 45008),
        ({"msgtype": "poem"}, 40008),
        ([], 40008),
    ],
)
async def test_a_robot_answers(wecom, body, errcode) -> None:
    assert (await post(wecom.url + SEND, body))["errcode"] == errcode
    assert len(wecom.messages) == (errcode == 0)


async def test_a_robot_may_send_twenty_messages_a_minute(wecom, clock) -> None:
    body = {"msgtype": "text", "text": {"content": "x"}}
    answers = [(await post(wecom.url + SEND, body))["errcode"] for _ in range(22)]
    assert answers == [0] * 20 + [45009] * 2
    clock.advance(60)
    assert (await post(wecom.url + SEND, body))["errcode"] == 0


async def test_a_member_who_has_had_too_many_sees_nothing_and_nobody_is_told(wecom) -> None:
    token = await token_of(wecom)
    for n in range(31):
        body = {"touser": "zhangsan", "msgtype": "text", "agentid": 1000002, "text": {"content": str(n)}}
        answer = await post(f"{wecom.url}/cgi-bin/message/send?access_token={token}", body)
        assert answer["errcode"] == 0
    assert wecom.messages[-1].dropped == ("zhangsan",)


async def test_a_token_is_the_same_until_it_ends(wecom, clock) -> None:
    first = await token_of(wecom)
    assert await token_of(wecom) == first
    clock.advance(7200)
    probe = f"{wecom.url}/cgi-bin/agent/get?agentid=1000002&access_token={first}"
    assert (await get(probe))["errcode"] == 42001
    assert await token_of(wecom) != first
    assert (await get(probe))["errcode"] == 40014
    assert (await get(f"{wecom.url}/cgi-bin/gettoken?corpid=corp&corpsecret=x"))["errcode"] == 40001
    assert (await get(f"{wecom.url}/cgi-bin/gettoken?corpid=x&corpsecret=x"))["errcode"] == 40013


async def test_media_are_checked_and_end_after_three_days(wecom, clock) -> None:
    token = await token_of(wecom)
    assert (await upload(wecom.url, b"1234", "file", token))["errcode"] == 40006
    assert (await upload(wecom.url, b"12345", "image", token))["errcode"] == 40004
    assert (await upload(wecom.url, PNG, "poem", token))["errcode"] == 40005
    media_id = (await upload(wecom.url, PNG, "image", token))["media_id"]
    body = {"touser": "lisi", "msgtype": "image", "agentid": 1000002, "image": {"media_id": media_id}}
    assert (await post(f"{wecom.url}/cgi-bin/message/send?access_token={token}", body))["errcode"] == 0
    clock.advance(3 * 86400)
    token = await token_of(wecom)
    assert (await post(f"{wecom.url}/cgi-bin/message/send?access_token={token}", body))["errcode"] == 40007


async def test_an_identical_message_is_swallowed_only_where_that_was_asked_for(wecom, clock) -> None:
    token = await token_of(wecom)
    body = {"touser": "lisi", "msgtype": "text", "agentid": 1000002, "text": {"content": "x"}}
    url = f"{wecom.url}/cgi-bin/message/send?access_token={token}"
    checked = {**body, "enable_duplicate_check": 1, "duplicate_check_interval": 600}
    for each in (body, body, checked, checked):
        assert (await post(url, each))["errcode"] == 0
    assert (len(wecom.messages), wecom.duplicates) == (3, 1)
    clock.advance(600)
    await post(url, checked)
    assert len(wecom.messages) == 4


# ---------------------------------------------------------------- foreign clients


def shape(body: Any) -> Any:
    """A body without its words and ids: keys and types."""
    return {key: shape(value) for key, value in body.items()} if isinstance(body, dict) else type(body).__name__


APPRISE_WECOMBOT = {"msgtype": "text", "text": {"content": "hello from apprise 你好"}}
APPRISE_DINGTALK = {
    "msgtype": "text",
    "at": {"atMobiles": ["13800001111"], "isAtAll": False},
    "text": {"content": "T\r\nhello 钉钉"},
}
WECHATPY_TEXT = {
    "touser": "zhangsan|nobody",
    "toparty": "",
    "totag": "",
    "agentid": 1000002,
    "msgtype": "text",
    "text": {"content": "hello from wechatpy 你好"},
    "safe": 0,
}


async def test_apprises_robot_message_arrives_and_ours_is_of_its_shape(wecom) -> None:
    assert (await post(wecom.url + SEND, APPRISE_WECOMBOT))["errcode"] == 0
    channel = RobotChannel(timing=PATIENT)
    await channel.send(robot(wecom.url), Text("ours"))
    await channel.close()
    assert [message.content for message in wecom.messages] == ["hello from apprise 你好", "ours"]
    assert shape(wecom.requests[1]) == shape(APPRISE_WECOMBOT)


async def test_wechatpys_application_message_arrives_and_ours_only_adds_the_duplicate_check(wecom, tmp_path) -> None:
    token = await token_of(wecom)
    answer = await post(f"{wecom.url}/cgi-bin/message/send?access_token={token}", WECHATPY_TEXT)
    assert (answer["errcode"], answer["invaliduser"]) == (0, "nobody")
    database = Database.open(sqlite_url(tmp_path))
    channel = AppChannel(context(database, tmp_path, wecom.url), timing=PATIENT)
    await channel.send(app(to="zhangsan"), Text("ours"))
    await channel.close()
    database.close()
    ours = shape(wecom.requests[1])
    assert {ours.pop("enable_duplicate_check"), ours.pop("duplicate_check_interval")} == {"int"}
    assert ours == shape(WECHATPY_TEXT)


async def test_apprises_dingtalk_message_arrives() -> None:
    async with FakeDingtalk() as dingtalk:
        dingtalk.add_robot("a")
        assert (await post(f"{dingtalk.url}/robot/send?access_token=a", APPRISE_DINGTALK))["errcode"] == 0
        assert dingtalk.messages[0].mobiles == ("13800001111",)


def test_an_apprise_that_is_installed_reaches_the_fake() -> None:
    pytest.importorskip("apprise")
    script = """
import asyncio, threading
from apprise.plugins.wecombot import NotifyWeComBot
from tests.fakes.wecom import FakeWecom
async def main():
    async with FakeWecom() as wecom:
        wecom.add_robot("key")
        NotifyWeComBot.notify_url = wecom.url + "/cgi-bin/webhook/send?key={key}"
        assert await asyncio.to_thread(NotifyWeComBot(key="key").send, "hello")
        print(wecom.messages[0].content)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "hello"


def test_the_recorded_answers_of_the_real_service_are_those_of_the_fake() -> None:
    # From the service's own answers: the words before the hint, and where to read more.
    words = json.loads(_refused(93000, "invalid webhook url").text)["errmsg"]
    assert words.startswith("invalid webhook url, hint: [")
    assert words.endswith("more info at https://open.work.weixin.qq.com/devtool/query?e=93000")
