"""A picture that could not be made: the console tells why, in the visitor's language, and can have it drawn again."""

from __future__ import annotations

import json

import pytest

from tests.integration.web.console.console_harness import TOKEN, ConsoleBridge
from wxbridge.core.model import Message, MessageState

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def missing(console: ConsoleBridge) -> list[Message]:
    return await console.bridge.outbox.list_messages(states=[MessageState.NO_PICTURE])


async def test_the_console_tells_why_a_picture_is_missing(console: ConsoleBridge) -> None:
    body = {
        "status": "firing", "title": "x", "alerts": [
            {"status": "firing", "labels": {"alertname": "NoPicture"}, "startsAt": "2026-02-01T00:00:00Z",
             "annotations": {}, "fingerprint": "np", "imageURL": "http://192.0.2.1/x.png"}
        ],
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html", "Accept-Language": "zh-CN"}
    url = f"{console.url}/hooks/grafana?to=robot"
    async with console.session.post(url, data=json.dumps(body), headers=headers) as answer:
        assert answer.status == 202
    await console.until(lambda: missing(console))
    (message,) = await missing(console)
    for path in (f"/console/message?id={message.id}", "/?state=no_picture"):
        async with console.session.get(console.url + path, headers=headers) as answer:
            text = await answer.text()
        assert "图片缺失" in text
        assert "不允许从 192.0.2.1 取图片" in text
        assert "may not be fetched" not in text
        assert "图片尚未生成" not in text
        assert "重试" in text
