"""Whatever a sender puts where a service has a text, a list or an object: it is read or refused, and nothing breaks."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.sources.robots import CompatMessage, read_robot_message
from wxbridge.core.errors import BadBody
from wxbridge.core.model import AlertStatus
from wxbridge.web.compat import SERVICES
from wxbridge.web.compat.dingtalk import Dingtalk
from wxbridge.web.compat.feishu import Feishu
from wxbridge.web.compat.service import CompatService

NAMES = (
    "msgtype", "msg_type", "text", "content", "markdown", "title", "news", "articles", "card", "elements", "header",
    "at", "atMobiles", "mentioned_list", "template_card", "actionCard", "btns", "feedCard", "links", "post", "zh_cn",
    "body", "extras", "tags", "priority", "touser", "level", "tag", "columns", "behaviors",
)  # fmt: skip
KINDS = (
    "text", "markdown", "news", "template_card", "actionCard", "feedCard", "post", "interactive", "link", "textcard",
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@given(fields=FIELDS, kind=st.sampled_from(KINDS))
def test_any_json_is_read_or_refused(service: type[CompatService], fields: dict[str, Any], kind: str) -> None:
    request = make_mocked_request("POST", "/", match_info={"key": "k"})
    try:
        message = service().read_message(request, fields | {"msgtype": kind, "msg_type": kind})
    except BadBody:
        return
    group = read_robot_message(message)
    assert group.source == service.name
    for text in (group.title, group.text or "", *(alert.title for alert in group.alerts)):
        assert isinstance(text, str)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("[FIRING:2] HostDown (critical)", AlertStatus.FIRING),
        ("[RESOLVED] HostDown (critical)", AlertStatus.RESOLVED),
        ("【告警】磁盘空间不足", AlertStatus.FIRING),
        ("磁盘空间不足 告警恢复", AlertStatus.RESOLVED),
        ("[UP] 商城首页", AlertStatus.RESOLVED),
        ("UptimeKuma Alert: [Down] db port", AlertStatus.FIRING),
        ("PROBLEM: disk full", AlertStatus.FIRING),
        ("OK: disk full", AlertStatus.RESOLVED),
        ("备份 no data", AlertStatus.NO_DATA),
        ("签到任务 failed", None),
        ("Hello, this is a notification from acme.sh", None),
        ("build up and running", None),
        ("今晚发布，请知悉", None),
    ],
)
def test_a_headline_says_whether_it_is_an_alert(text: str, status: AlertStatus | None) -> None:
    group = read_robot_message(CompatMessage("dingtalk", text))
    assert [alert.status for alert in group.alerts] == ([status] if status else [])


@pytest.mark.parametrize(
    ("fires", "ends"),
    [
        ("[FIRING:2] HostDown (db)", "[RESOLVED] HostDown (db)"),
        ("【告警】磁盘空间不足\n主机: db-1\n当前值: 97", "【恢复】磁盘空间不足\n主机: db-1\n当前值: 12"),
        ("告警通知\nCPU 使用率过高\n实例: 10.0.0.1:9100", "恢复通知\nCPU 使用率过高\n实例: 10.0.0.1:9100"),
        ("🔴 [Down] 商城首页", "✅ [UP] 商城首页"),
        ("PROBLEM: disk full on db-1", "RECOVERY: disk full on db-1"),
    ],
)
def test_a_recovery_is_of_the_alert_that_it_ends_and_of_no_other(fires: str, ends: str) -> None:
    def fingerprint(text: str) -> str:
        return read_robot_message(CompatMessage("dingtalk", text)).alerts[0].fingerprint

    assert fingerprint(fires) == fingerprint(ends)
    assert fingerprint(fires) != fingerprint(
        ends.replace("db", "web").replace("商城", "后台").replace("0.0.1", "0.0.2")
    )


def test_what_a_message_is_about_becomes_labels() -> None:
    text = "[告警] 磁盘\n> 告警级别：严重\n> 主机：db-1\nnamespace = pay"
    (alert,) = read_robot_message(CompatMessage("wecom_robot", text)).alerts
    assert alert.labels == {"severity": "严重", "host": "db-1", "namespace": "pay"}


@pytest.mark.parametrize(
    ("title", "text", "told"),
    [
        ("db-1", "db-10 is down", "db-10 is down"),
        ("disk", "disks of db-1 are full", "disks of db-1 are full"),
        ("disk", "disk of db-1 is full", "disk of db-1 is full"),
        ("发布", "发布完成", "发布完成"),
        ("发布", "发布", ""),
        ("发布", "发布 \n\n  已完成\n发布", "已完成\n发布"),
    ],
)
def test_a_title_is_taken_off_where_it_is_a_line_of_its_own(title: str, text: str, told: str) -> None:
    group = read_robot_message(CompatMessage("ntfy", text, title))
    assert (group.title, group.text) == (title, told)


@pytest.mark.parametrize("sign", ["[", "告警 ", "[告警 x1", "alert: ", " ", " > ", "主机 ", "a ", "http://", "1:"])
def test_a_long_line_takes_a_moment(sign: str) -> None:
    line = sign * (300_000 // len(sign)) + "b"
    start = time.process_time()
    for message in (
        CompatMessage("ntfy", line),
        CompatMessage("ntfy", f"告警\n{line}"),
        CompatMessage("ntfy", line, line),
    ):
        read_robot_message(message)
    assert time.process_time() - start < 10


def read(service: CompatService, fields: dict[str, Any]) -> str:
    """The text of a message."""
    return service.read_message(make_mocked_request("POST", "/", match_info={"key": "k"}), fields).text


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ([{"tag": "a", "text": "看", "href": "http://x/"}, {"tag": "at", "user_id": "ou_1"}], "看 http://x/ @ou_1"),
        ([{"tag": "a", "href": "http://x/"}, {"tag": "text", "text": " 后"}], "http://x/ 后"),
        ([{"tag": "text", "text": "见"}, {"tag": "text", "text": "上"}], "见上"),
    ],
)  # fmt: skip
def test_words_behind_an_address_of_a_post_of_feishus_are_no_part_of_it(row: list[Any], text: str) -> None:
    assert read(Feishu(), {"msg_type": "post", "content": {"post": {"zh_cn": {"content": [row]}}}}) == text


def test_a_text_without_a_tag_in_a_card_of_feishus_is_told() -> None:
    div = {"tag": "div", "text": {"content": "x one"}, "fields": [{"is_short": True, "text": {"content": "y"}}]}
    assert read(Feishu(), {"msg_type": "interactive", "card": {"elements": [div]}}) == "x one\ny"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("dingtalk://dingtalkclient/page/link?url=http%3A%2F%2Fx%2Fa%3Fb%3D1%26c%3D2&pc_slide=false", "http://x/a?b=1&c=2"),
        ("dingtalk://dingtalkclient/page/link?pc_slide=true&url=https%3A%2F%2Fx%2Fa+b", "https://x/a%20b"),
        ("dingtalk://dingtalkclient/page/link?url=alipay%3A%2F%2Fx", None),
        ("dingtalk://dingtalkclient/action/openapp?corpid=1", None),
        ("http://x/?url=http%3A%2F%2Fy", None),
    ],
)  # fmt: skip
def test_an_address_for_dingtalks_client_is_told_as_the_pages_own(address: str, told: str | None) -> None:
    told = told or address
    card = {"title": "t", "text": f"见 [这里]({address})", "singleTitle": "看", "singleURL": address}
    assert read(Dingtalk(), {"msgtype": "actionCard", "actionCard": card}) == f"见 这里 {told}\n看 {told}"
    link = {"title": "t", "text": "x", "messageUrl": address}
    assert read(Dingtalk(), {"msgtype": "link", "link": link}) == f"x\n{told}"
