"""Gotify: `message` with `X-Gotify-Key` or `?token=`. After gotify/server's API document, version 2."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from wxbridge.alerts.sources.robots import CompatMessage
from wxbridge.core.json_values import as_number
from wxbridge.core.text.markup import find_markdown_images, markdown_to_text
from wxbridge.web.auth import read_tokens
from wxbridge.web.compat.service import PREFIX, CompatService, answer_json, join_lines, part, words

_CRITICAL, _WARNING = 8, 4
"""Priorities from which Gotify's own clients make noise."""


class Gotify(CompatService):
    """The key is the application's token."""

    name = "gotify"
    key_error, attempts_error, message_error = 401, 429, 400

    def routes(self) -> list[web.RouteDef]:
        """Give `message`."""
        return [web.post(f"{PREFIX}/gotify/message", self.take)]

    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Read the header, the query or a bearer token."""
        return request.headers.get("X-Gotify-Key") or next(iter(read_tokens(request)), "")

    def read_message(self, request: web.Request, fields: Mapping[str, Any]) -> CompatMessage:  # noqa: ARG002
        """Read title, message, priority, and of `extras` whether it is markdown, its link and its picture."""
        extras = part(fields, "extras")
        text = words(fields, "message")
        picture = words(extras, "client::notification", "bigImageUrl")
        pictures = [picture] if picture else []
        if words(extras, "client::display", "contentType") == "text/markdown":
            pictures += find_markdown_images(text)
            text = markdown_to_text(text)
        priority = as_number(part(fields, "priority")) or 0
        severity = "critical" if priority >= _CRITICAL else "warning" if priority >= _WARNING else ""
        text = join_lines(text, words(extras, "client::notification", "click", "url"))
        return CompatMessage(self.name, text, words(fields, "title"), tuple(pictures), severity=severity)

    def answer(self, request: web.Request, message: CompatMessage) -> web.Response:  # noqa: ARG002
        """Give the message back with an `id`."""
        now = time.time()
        return answer_json(
            {"id": int(now * 1000) % 2**31, "appid": 1, "title": message.title, "message": message.text,
             "priority": 0, "date": datetime.fromtimestamp(now, UTC).isoformat()}
        )  # fmt: skip

    def refuse(self, code: int, sentence: str) -> web.Response:
        """Say HTTP's status and its words."""
        return answer_json({"error": HTTPStatus(code).phrase, "errorCode": code, "errorDescription": sentence}, code)
