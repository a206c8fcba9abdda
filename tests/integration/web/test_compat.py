"""`/compat/…`: requests that real tools made, and those of the services' own documents, against a real server."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
import structlog.testing

from tests.integration.web.web_harness import SETTINGS, StoredWeb, start
from tests.support import REPOSITORY
from wxbridge.config.schema import Config
from wxbridge.core.model import Picture, Text

KEY, OTHER = "ops-robot-key-1", "all-robots-key-2"
COMPAT = f"""
hooks:
  compat:
    - {{key: {KEY}, to: [dba]}}
    - {{key: {OTHER}}}
people:
  zhangsan: {{wechat: 张三}}
"""
CONFIG = SETTINGS.replace("routes:", "  zhang: {channel: wechat, contact: 张三}\nroutes:") + COMPAT
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest_asyncio.fixture
async def web(read: Callable[..., Config]) -> AsyncIterator[StoredWeb]:
    async with AsyncExitStack() as stack:
        yield await start(stack, read(CONFIG))


async def ask(web: StoredWeb, path: str, data: Any = None, *, method: str = "POST", **options: Any) -> tuple[int, Any]:
    """Ask as a tool does, which has no token of the bridge's."""
    body = json.dumps(data).encode() if isinstance(data, dict) else data
    return await web.ask(method, f"/compat/{path}", token=False, data=body, **options)


async def told(web: StoredWeb) -> list[tuple[str, str]]:
    """The target and the text of every message; pictures by their kind."""
    return [
        (each.target, each.body.text if isinstance(each.body, Text) else _kind(each.body))
        for each in await web.messages()
    ]


def _kind(picture: Picture) -> str:
    return "[data]" if picture.spec and picture.spec.params.get("url", "").startswith("data:") else "[picture]"


# ---------------------------------------------------------------- what real tools sent


RECORDED = REPOSITORY / "tests" / "payloads" / "compat"
SERVICES = {
    "/sub/path/message": "wecom", "/cgi-bin": "wecom", "/open-apis": "feishu", "/bark": "", "/robot": "dingtalk",
    "/push": "bark", "/message/push": "pushdeer", "/message": "gotify", "/": "ntfy",
}  # fmt: skip
SUCCESS = {
    "wecom": ("errcode", 0), "feishu": ("StatusCode", 0), "": ("code", 200), "dingtalk": ("errcode", 0),
    "bark": ("code", 200), "pushdeer": ("code", 0), "gotify": ("appid", 1), "ntfy": ("event", "message"),
}  # fmt: skip


def recorded(*, tokens: bool) -> list[Any]:
    return [
        pytest.param(json.loads(path.read_text(encoding="utf-8")), id=path.stem)
        for path in sorted(RECORDED.glob("*.json"))
        if ("gettoken" in path.name) is tokens
    ]


async def send_recorded(web: StoredWeb, request: dict[str, Any], key: str = KEY) -> tuple[str, int, Any]:
    """Send what a tool sent, with the key in place of its own; gives the service, the status and the answer."""
    path, body = str(request["path"]), str(request["body"])
    prefix = next(word for word in SERVICES if path.startswith(word))
    service = SERVICES[prefix]
    if prefix == "/sub/path/message":
        path = path.replace("/sub/path", "/cgi-bin")
    if "access_token=ACCESS_TOKEN" in path:
        _, answer = await ask(web, f"wecom/cgi-bin/gettoken?corpid=any&corpsecret={key}", method="GET")
        path = path.replace("ACCESS_TOKEN", answer.get("access_token", "none"))
    for own in ("access_token=abc", "key=KEY-1"):
        path = path.replace(own, f"{own.partition('=')[0]}={key}")
    path = path.replace("hook/abc", f"hook/{key}").replace("bark/KEY", f"bark/{key}")
    body = body.replace('"KEY"', f'"{key}"').replace('"PDU1"', f'"{key}"').replace("pushkey=PDU", f"pushkey={key}")
    body = body.replace('"topic": "topic"', f'"topic": "{key}"')
    headers = {name: key if name == "X-Gotify-Key" else value for name, value in request["headers"]}
    status, answer = await ask(web, f"{service}{path}".lstrip("/"), body.encode(), headers=headers)
    return service, status, answer


@pytest.mark.parametrize("request_", recorded(tokens=False))
async def test_what_a_tool_sends_to_its_robot_arrives_and_is_answered_as_the_robot_does(
    web: StoredWeb, request_: dict[str, Any]
) -> None:
    service, status, answer = await send_recorded(web, request_)
    name, value = SUCCESS[service]
    assert (status, answer[name]) == (200, value)
    # The key's own target, and whom the tool names.
    *named, (target, text) = await told(web)
    assert target == "dba"
    assert [name for name, _ in named] == (["zhang"] if "zhangsan" in request_["body"] else [])
    body = request_["body"]
    words = json.loads(body) if body.startswith("{") else {}
    for expected in ("Backup failed", "ViaWechat", "db port", "商城首页", "Testing", "acme.sh", "certificate"):
        if expected in json.dumps(words, ensure_ascii=False):
            assert expected in text
    for mark in ("**", "## ", "<font", "\n> "):
        assert mark not in text


@pytest.mark.parametrize("request_", recorded(tokens=False))
async def test_a_wrong_key_gets_the_services_own_error_and_no_message(web: StoredWeb, request_: dict[str, Any]) -> None:
    service, status, answer = await send_recorded(web, request_, "not-a-key-of-ours")
    name, value = SUCCESS[service]
    assert status in (200, 400, 401, 403)
    assert answer.get(name) != value
    assert not await told(web)


@pytest.mark.parametrize("request_", recorded(tokens=True))
async def test_a_token_is_given_for_a_secret_as_real_tools_ask_for_it(web: StoredWeb, request_: dict[str, Any]) -> None:
    path = request_["path"].replace("SECRET", KEY).replace("/sub/path", "/cgi-bin")
    status, answer = await ask(web, f"wecom{path}", request_["body"].encode(), method=request_["method"])
    assert (status, answer["errcode"], answer["errmsg"]) == (200, 0, "ok")
    assert 0 < answer["expires_in"] <= 7200
    assert answer["expire_in"] == answer["expires_in"]
    status, answer = await ask(web, f"wecom{path.replace(KEY, 'wrong-secret')}", method=request_["method"])
    assert status == 200
    assert answer["errcode"] != 0
    assert "access_token" not in answer


async def test_an_access_token_outlives_the_bridge_that_gave_it(read: Callable[..., Config]) -> None:
    async with AsyncExitStack() as stack:
        first = await start(stack, read(CONFIG))
        _, given = await ask(first, f"wecom/cgi-bin/gettoken?corpid=c&corpsecret={KEY}", method="GET")
    async with AsyncExitStack() as stack:
        second = await start(stack, read(CONFIG))
        path = f"wecom/cgi-bin/message/send?access_token={given['access_token']}"
        assert (await ask(second, path, {"msgtype": "text", "text": {"content": "hello"}}))[1]["errcode"] == 0
        path = "wecom/cgi-bin/message/send?access_token=of-somebody-else"
        _, refused = await ask(second, path, {"msgtype": "text", "text": {"content": "hello"}})
        # With 40014 Alertmanager drops the notification; with this it asks for a new token.
        assert refused["errcode"] == 42001


# ---------------------------------------------------------------- what becomes of it


async def test_a_recovery_ends_the_alert_that_its_colour_or_words_announced(web: StoredWeb) -> None:
    path = f"wecom/cgi-bin/webhook/send?key={OTHER}"
    firing = '<font color="warning">[告警] 磁盘空间不足</font>\n> 主机: db-1\n> 级别: 严重\n> 当前值: 97%'
    for content in (firing, firing.replace("db-1", "db-2"), firing.replace("warning", "info").replace("告警", "恢复")):
        assert (await ask(web, path, {"msgtype": "markdown", "markdown": {"content": content}}))[1]["errcode"] == 0
    _, listed = await web.ask("GET", "/api/alerts")
    assert [(each["labels"]["host"], each["labels"]["severity"]) for each in listed] == [("db-2", "严重")]
    texts = [text for _, text in await told(web)]
    assert texts[0].splitlines()[0] == "🔴 critical · [告警] 磁盘空间不足"
    assert texts[2].splitlines()[0] == "✅ resolved · [恢复] 磁盘空间不足"


async def test_alertmanagers_own_texts_fire_and_end(web: StoredWeb) -> None:
    for name in ("text-firing", "text-resolved"):
        await send_recorded(web, json.loads((RECORDED / f"alertmanager-wechat-message-send-{name}.json").read_text()))
    marks = [text[0] for _, text in await told(web)]
    assert marks == ["🔴", "✅"]
    assert (await web.ask("GET", "/api/alerts"))[1] == []


async def test_without_targets_the_routes_decide(web: StoredWeb) -> None:
    await ask(web, f"bark/{OTHER}/备份/done", method="GET")
    assert await told(web) == [("ops", "📨 备份\ndone")]


async def test_whom_a_message_names_and_jobs_yaml_knows_gets_it_in_personal_wechat(web: StoredWeb) -> None:
    _, given = await ask(web, f"wecom/cgi-bin/gettoken?corpid=c&corpsecret={KEY}", method="GET")
    path = f"wecom/cgi-bin/message/send?access_token={given['access_token']}"
    for who in ("zhangsan", "lisi", "@all"):
        await ask(web, path, {"touser": who, "msgtype": "text", "text": {"content": who}})
    assert [target for target, _ in await told(web)] == ["zhang", "dba", "dba"]


async def test_pictures_travel(web: StoredWeb) -> None:
    robot = f"wecom/cgi-bin/webhook/send?key={KEY}"
    image = {"base64": base64.b64encode(PNG).decode(), "md5": "x"}
    assert (await ask(web, robot, {"msgtype": "image", "image": image}))[1]["errcode"] == 0
    _, given = await ask(web, f"wecom/cgi-bin/gettoken?corpid=c&corpsecret={KEY}", method="GET")
    token = given["access_token"]
    form = (
        b'--b\r\nContent-Disposition: form-data; name="media"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        + PNG + b"\r\n--b--\r\n"
    )  # fmt: skip
    _, kept = await ask(web, f"wecom/cgi-bin/media/upload?access_token={token}&type=image", form)
    message = {"touser": "@all", "msgtype": "image", "image": {"media_id": kept["media_id"]}}
    assert (await ask(web, f"wecom/cgi-bin/message/send?access_token={token}", message))[1]["errcode"] == 0
    message["image"] = {"media_id": "unknown"}
    assert (await ask(web, f"wecom/cgi-bin/message/send?access_token={token}", message))[1]["errcode"] != 0
    assert (await ask(web, f"ntfy/{KEY}", PNG, method="PUT"))[1]["event"] == "message"
    assert [text for target, text in await told(web) if target == "dba"] == ["[data]", "[data]", "[data]"]


async def test_cards_of_every_service_keep_their_words_and_links(web: StoredWeb) -> None:
    card = {
        "schema": "2.0",
        "header": {"title": {"tag": "plain_text", "content": "CPU 高"}, "template": "red"},
        "body": {"elements": [
            {"tag": "markdown", "content": "**主机**: web-1"},
            {"tag": "column_set", "columns": [
                {"elements": [{"tag": "div", "text": {"tag": "lark_md", "content": "97 %"}}]},
            ]},
            {"tag": "button", "text": {"tag": "plain_text", "content": "查看"},
             "behaviors": [{"type": "open_url", "default_url": "http://x/graph"}]},
        ]},
    }  # fmt: skip
    await ask(web, f"feishu/open-apis/bot/v2/hook/{KEY}", {"msg_type": "interactive", "card": card})
    row = [{"tag": "text", "text": "见 "}, {"tag": "a", "text": "这里", "href": "http://y"}]
    post = {"zh_cn": {"title": "发布", "content": [row]}}
    await ask(web, f"feishu/open-apis/bot/v2/hook/{KEY}", {"msg_type": "post", "content": {"post": post}})
    text = "## 构建\n![p](http://img/x.png)\n完成"
    action = {"title": "构建", "text": text, "singleTitle": "详情", "singleURL": "http://ci/1"}
    path = f"dingtalk/robot/send?access_token={KEY}&timestamp=1&sign=x"
    await ask(web, path, {"msgtype": "actionCard", "actionCard": action})
    template = {
        "main_title": {"title": "审批", "desc": "待处理"},
        "horizontal_content_list": [{"keyname": "人", "value": "张三"}],
        "jump_list": [{"title": "打开", "url": "http://oa"}],
    }
    await ask(web, f"wecom/cgi-bin/webhook/send?key={KEY}", {"msgtype": "template_card", "template_card": template})
    texts = [text for _, text in await told(web)]
    assert texts[0].startswith("🔥 CPU 高\n主机: web-1\n97 %\n查看 http://x/graph")
    assert texts[1] == "📨 发布\n见 这里 http://y"
    assert texts[2:4] == ["📨 构建\n完成\n详情 http://ci/1", "[picture]"]
    assert texts[4] == "📨 审批\n待处理\n人: 张三\n打开 http://oa"


async def test_an_ntfy_message_reads_its_headers_in_any_spelling(web: StoredWeb) -> None:
    title = "=?UTF-8?B?" + base64.b64encode("磁盘告警".encode()).decode() + "?="
    headers = {"Title": title, "X-Priority": "urgent", "ta": "warning,disk", "Click": "http://x"}
    status, answer = await ask(web, f"ntfy/{KEY}", "只剩 3 %".encode(), headers=headers)
    assert (status, answer["event"]) == (200, "message")
    assert answer["id"]
    ((_, text),) = await told(web)
    assert text.startswith("🔴 critical · 磁盘告警\n")
    for words in ("只剩 3 %", "http://x", "disk"):
        assert words in text


async def test_serverchan_takes_forms_json_and_addresses(web: StoredWeb) -> None:
    for options in (
        {"data": b"title=%E7%AD%BE%E5%88%B0&desp=ok"},
        {"data": {"title": "签到", "desp": "ok"}},
    ):
        assert (await ask(web, f"serverchan/{KEY}.send", **options))[1]["code"] == 0
    assert (await ask(web, f"serverchan/{KEY}.send?title=签到&desp=ok", method="GET"))[1]["code"] == 0
    assert {text for _, text in await told(web)} == {"📨 签到\nok"}


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("body", [b"{nonsense", b"", b"[]", b'{"msgtype": "dance"}', b'{"msgtype":"text","text":{}}'])
async def test_what_cannot_be_read_is_an_error_and_a_line_in_the_log_without_the_key(
    web: StoredWeb, body: bytes
) -> None:
    with structlog.testing.capture_logs() as logs:
        status, answer = await ask(web, f"wecom/cgi-bin/webhook/send?key={KEY}", body)
    assert status == 200
    assert answer["errcode"] not in (0, None)
    (line,) = [one for one in logs if one["event"] == "a hook refused a body"]
    assert line["hook"] == "/compat/wecom_robot"
    assert KEY not in str(logs)
    assert [target for target, _ in await told(web)] == ["master"]


async def test_guessing_is_slowed_down_and_the_right_key_passes_all_the_while(web: StoredWeb) -> None:
    with structlog.testing.capture_logs() as logs:
        answers = [await ask(web, f"bark/guess-number-{index}/x", method="GET") for index in range(12)]
    assert {status for status, _ in answers} == {400, 429}
    assert "guess-number" not in str(logs)
    assert (await ask(web, f"bark/{KEY}/x", method="GET"))[0] == 200


@pytest.mark.parametrize(
    ("path", "has_own_words"),
    [
        ("wecom/cgi-bin/webhook/send?key=x", lambda answer: answer["errcode"]),
        ("wecom/cgi-bin/gettoken?corpsecret=x", lambda answer: answer["errcode"]),
        ("dingtalk/robot/send?access_token=x", lambda answer: answer["errcode"]),
        ("feishu/open-apis/bot/v2/hook/x", lambda answer: answer["code"] and answer["StatusCode"]),
        ("bark/x/y", lambda answer: answer["code"] == 429),
        ("pushdeer/message/push?pushkey=x", lambda answer: answer["code"]),
        ("gotify/message?token=x", lambda answer: answer["errorCode"] == 429),
        ("ntfy/x", lambda answer: answer["http"] == 429),
        ("serverchan/x.send", lambda answer: answer["code"]),
    ],
)
async def test_who_guesses_too_often_hears_it_in_the_services_own_words(
    web: StoredWeb, path: str, has_own_words: Callable[[Any], bool]
) -> None:
    for _ in range(11):
        status, answer = await ask(web, path, {"msgtype": "text"})
    assert status == 429
    assert has_own_words(answer)


async def test_a_key_opens_nothing_else(web: StoredWeb) -> None:
    assert (await web.ask("GET", f"/api/alerts?token={KEY}", token=False))[0] == 401
    assert (await web.ask("POST", f"/hooks/generic?token={KEY}", token=False, data=b"x"))[0] == 401


async def test_what_is_not_on_disk_is_never_a_success(web: StoredWeb) -> None:
    await web.pragma("query_only = ON")
    status, answer = await ask(web, f"bark/{KEY}/x", method="GET")
    assert status == 503
    assert answer.get("code") != 200
    await web.pragma("query_only = OFF")
    assert (await ask(web, f"bark/{KEY}/x", method="GET"))[0] == 200


async def test_a_sender_that_takes_only_200_gets_it_where_it_asks(web: StoredWeb) -> None:
    body = json.dumps({"title": "x"}).encode()
    assert (await web.post("/hooks/generic?answer=200&to=dba", body))[0] == 200
    assert (await web.post("/hooks/generic?to=dba", body))[0] == 202
