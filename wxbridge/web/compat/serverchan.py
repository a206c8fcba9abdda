"""ServerChan (Server酱): `KEY.send` with `title` and `desp`. After its document "API"."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from wxbridge.alerts.sources.robots import CompatMessage
from wxbridge.core.text.markup import find_markdown_images, markdown_to_text
from wxbridge.web.compat.service import PREFIX, CompatService, answer_json, words


class Serverchan(CompatService):
    """The key is the path's; JSON, a form or the query."""

    name = "serverchan"
    key_error, attempts_error, message_error = 40001, 40001, 40000

    def routes(self) -> list[web.RouteDef]:
        """Give `KEY.send`."""
        return [web.route(method, f"{PREFIX}/serverchan/{{key}}.send", self.take) for method in ("GET", "POST")]

    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Read the path."""
        return request.match_info["key"]

    def read_message(self, request: web.Request, fields: Mapping[str, Any]) -> CompatMessage:  # noqa: ARG002
        """Read `title` (or `text`, its older name) and `desp`, which is markdown."""
        more = words(fields, "desp")
        title = words(fields, "title") or words(fields, "text")
        return CompatMessage(self.name, markdown_to_text(more), title, tuple(find_markdown_images(more)))

    def answer(self, request: web.Request, message: CompatMessage) -> web.Response:  # noqa: ARG002
        """Say `code` 0."""
        data = {"pushid": secrets.token_hex(4), "readkey": secrets.token_hex(6), "error": "SUCCESS", "errno": 0}
        return answer_json({"code": 0, "message": "", "data": data})

    def refuse(self, code: int, sentence: str) -> web.Response:
        """Say ServerChan's number."""
        return answer_json({"code": code, "message": sentence})
