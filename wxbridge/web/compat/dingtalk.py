"""DingTalk's group robot: `robot/send?access_token=`. After DingTalk's document "自定义机器人发送群消息"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from wxbridge.alerts.sources import WEB_SCHEMES
from wxbridge.alerts.sources.robots import CompatMessage, find_font_colour
from wxbridge.core.errors import BadBody
from wxbridge.core.text.markup import find_markdown_images, markdown_to_text
from wxbridge.web.compat.service import (
    PREFIX,
    CompatService,
    answer_json,
    items,
    join_lines,
    link_line,
    part,
    texts,
    words,
)

_IN_CLIENT = re.compile(r"dingtalk://dingtalkclient/page/link\?([!-~]+)", re.IGNORECASE)
"""An address that DingTalk's own client opens, with the page's within."""
_PAGE = re.compile(r"(?:^|&)url=([^&]+)")


class Dingtalk(CompatService):
    """`timestamp` and `sign` are not looked at: the key is enough."""

    name = "dingtalk"
    key_error, attempts_error, message_error = 300001, 130101, 400101

    def routes(self) -> list[web.RouteDef]:
        """Give `robot/send`."""
        return [web.post(f"{PREFIX}/dingtalk/robot/send", self.take)]

    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Read `?access_token=`."""
        return request.query.get("access_token", "")

    def read_message(self, request: web.Request, fields: Mapping[str, Any]) -> CompatMessage:  # noqa: ARG002
        """Read a message of any `msgtype`. Raises `BadBody` for one that is not known."""
        kind = words(fields, "msgtype")
        body = part(fields, kind)
        match kind:
            case "text":
                message = CompatMessage(self.name, words(body, "content"))
            case "markdown" | "actionCard":
                text = words(body, "text")
                buttons = [
                    link_line(words(body, "singleTitle"), words(body, "singleURL")),
                    *(link_line(words(one, "title"), words(one, "actionURL")) for one in items(body, "btns")),
                ]
                message = CompatMessage(
                    self.name, join_lines(markdown_to_text(text), *buttons), markdown_to_text(words(body, "title")),
                    tuple(find_markdown_images(text)), find_font_colour(text),
                )  # fmt: skip
            case "link":
                picture = words(body, "picUrl")
                message = CompatMessage(
                    self.name, join_lines(words(body, "text"), words(body, "messageUrl")), words(body, "title"),
                    (picture,) if picture else (),
                )  # fmt: skip
            case "feedCard":
                links = items(body, "links")
                lines = [link_line(words(one, "title"), words(one, "messageURL")) for one in links]
                pictures = tuple(address for one in links if (address := words(one, "picURL")))
                message = CompatMessage(self.name, join_lines(*lines), pictures=pictures)
            case _:
                raise BadBody(f"`msgtype` {kind[:40]!r} is not known.")
        named = [*texts(fields, "at", "atMobiles"), *texts(fields, "at", "atUserIds")]
        text = _IN_CLIENT.sub(_find_page, message.text)
        return replace(message, text=text, recipients=tuple(named))

    def answer(self, request: web.Request, message: CompatMessage) -> web.Response:  # noqa: ARG002
        """Say `errcode` 0."""
        return answer_json({"errcode": 0, "errmsg": "ok"})

    def refuse(self, code: int, sentence: str) -> web.Response:
        """Say DingTalk's number."""
        return answer_json({"errcode": code, "errmsg": sentence})


def _find_page(link: re.Match[str]) -> str:
    """The address of the page that a link opens in DingTalk; the link itself where it names none of the web."""
    found = _PAGE.search(link[1])
    page = "%20".join(unquote_plus(found[1]).split()) if found else ""
    return page if page.startswith(WEB_SCHEMES) else link[0]
