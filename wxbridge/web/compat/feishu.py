"""Feishu's (Lark's) group robot: `open-apis/bot/v2/hook/KEY`; texts, posts, cards of both generations.

After Feishu's documents "自定义机器人使用指南" and "卡片 JSON 2.0 结构".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from wxbridge.alerts.sources.robots import CompatMessage
from wxbridge.core.errors import BadBody
from wxbridge.core.text.markup import find_markdown_images, markdown_to_text
from wxbridge.web.compat.service import (
    PREFIX,
    CompatService,
    answer_json,
    join_lines,
    link_line,
    part,
    words,
)

MAX_CARD_DEPTH = 30
"""How deep a card's elements are looked into."""
_TEXT_TAGS = ("plain_text", "lark_md", "markdown")


class Feishu(CompatService):
    """`timestamp` and `sign` are not looked at: the key is enough. Pictures of its own (`image_key`) stay there."""

    name = "feishu"
    key_error, attempts_error, message_error = 19001, 11232, 9499

    def routes(self) -> list[web.RouteDef]:
        """Give `bot/v2/hook/KEY`, and the first version's `bot/hook/KEY`."""
        path = f"{PREFIX}/feishu/open-apis/bot"
        return [web.post(f"{path}/v2/hook/{{key}}", self.take), web.post(f"{path}/hook/{{key}}", self.take)]

    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Read the last part of the path."""
        return request.match_info["key"]

    def read_message(self, request: web.Request, fields: Mapping[str, Any]) -> CompatMessage:  # noqa: ARG002
        """Read a message of any `msg_type`. Raises `BadBody` for one that is not known."""
        kind, content = words(fields, "msg_type"), part(fields, "content")
        if isinstance(content, str):
            content = _unpack(content)
        card = part(fields, "card")
        if isinstance(card, str):
            card = _unpack(card)
        match kind:
            case "text":
                return CompatMessage(self.name, markdown_to_text(words(content, "text")))
            case "post":
                return self._read_post(content)
            case "interactive":
                return self._read_card(card or content)
            case "image" | "share_chat" | "file":
                return CompatMessage(self.name, f"[{kind}]")
            case "" if "text" in fields:
                # The first version: `{"title", "text"}`.
                return CompatMessage(self.name, words(fields, "text"), words(fields, "title"))
            case _:
                raise BadBody(f"`msg_type` {kind[:40]!r} is not known.")

    def _read_post(self, content: Any) -> CompatMessage:
        post = part(content, "post") or content
        languages = list(post.values()) if isinstance(post, dict) and "content" not in post else [post]
        found = part(post, "zh_cn") or next((one for one in languages if isinstance(one, dict)), {})
        rows = part(found, "content")
        lines = [_write_row(row) for row in (rows if isinstance(rows, list) else []) if isinstance(row, list)]
        return CompatMessage(self.name, "\n".join(lines).strip(), words(found, "title"))

    def _read_card(self, card: Any) -> CompatMessage:
        header = part(card, "header")
        elements = part(card, "elements") or part(card, "body", "elements") or part(card, "i18n_elements", "zh_cn")
        title = words(header, "title", "content") or words(header, "title", "i18n", "zh_cn")
        texts = [
            words(header, "subtitle", "content"),
            *_walk(elements, MAX_CARD_DEPTH),
            words(card, "card_link", "url"),
        ]
        pictures = tuple(address for text in texts for address in find_markdown_images(text))
        return CompatMessage(
            self.name, join_lines(*map(markdown_to_text, texts)), markdown_to_text(title),
            tuple(address for address in pictures if address.startswith("http")), words(header, "template"),
        )  # fmt: skip

    def answer(self, request: web.Request, message: CompatMessage) -> web.Response:  # noqa: ARG002
        """Say `StatusCode` 0 and `code` 0: clients read one or the other."""
        return answer_json({"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"})

    def refuse(self, code: int, sentence: str) -> web.Response:
        """Say Feishu's number."""
        return answer_json({"code": code, "data": {}, "msg": sentence, "StatusCode": code, "StatusMessage": sentence})


def _unpack(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"text": text}


def _write_row(row: list[Any]) -> str:
    line, ends_with_address = "", False
    for span in row:
        text = _write_span(span) if isinstance(span, dict) else ""
        if text:
            # Words right behind an address would be taken for a part of it.
            line += f" {text}" if ends_with_address and not text[0].isspace() else text
            ends_with_address = words(span, "tag") == "a"
    return line


def _write_span(span: dict[str, Any]) -> str:
    match words(span, "tag"):
        case "a":
            return link_line(words(span, "text"), words(span, "href"))
        case "at":
            return f"@{words(span, 'user_name') or words(span, 'user_id')}"
        case "md":
            return markdown_to_text(words(span, "text"))
        case _:
            text = part(span, "text")
            return text if isinstance(text, str) else ""


def _walk(element: Any, depth: int) -> Iterator[str]:
    """Walk a card's elements in their order, and give the texts: a button with its address, a table's rows left out."""
    if depth == 0:
        return
    if isinstance(element, list):
        for each in element:
            yield from _walk(each, depth - 1)
        return
    if not isinstance(element, dict):
        return
    tag, content = words(element, "tag"), part(element, "content")
    # Feishu takes a text without a tag for a plain one.
    if isinstance(content, str) and (not tag or tag in _TEXT_TAGS):
        yield content
        return
    if tag == "button" or "multi_url" in element:
        address = words(element, "url") or words(element, "multi_url", "url") or _address_of(element)
        yield link_line(words(element, "text", "content"), address)
        return
    for name, inner in element.items():
        if name not in ("header", "placeholder", "confirm", "value") and isinstance(inner, dict | list):
            yield from _walk(inner, depth - 1)


def _address_of(button: dict[str, Any]) -> str:
    behaviours = part(button, "behaviors")
    for each in behaviours if isinstance(behaviours, list) else ():
        if address := words(each, "default_url"):
            return address
    return ""
