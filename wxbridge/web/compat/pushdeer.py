"""PushDeer: `message/push` with `pushkey`, `text`, `desp`, `type`. After PushDeer's API document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from wxbridge.alerts.sources.robots import CompatMessage
from wxbridge.core.text.markup import find_markdown_images, markdown_to_text
from wxbridge.web.compat.service import PREFIX, CompatService, answer_json, words


class Pushdeer(CompatService):
    """The key is `pushkey`, in JSON, a form or the query."""

    name = "pushdeer"
    key_error, attempts_error, message_error = 80403, 80403, 80501

    def routes(self) -> list[web.RouteDef]:
        """Give `message/push`."""
        return [web.route(method, f"{PREFIX}/pushdeer/message/push", self.take) for method in ("GET", "POST")]

    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Read `pushkey`."""
        return words(fields, "pushkey")

    def read_message(self, request: web.Request, fields: Mapping[str, Any]) -> CompatMessage:  # noqa: ARG002
        """Read `text` as the title and `desp` as the text; of `type=image`, `text` is the picture's address."""
        text, more, kind = words(fields, "text"), words(fields, "desp"), words(fields, "type")
        if kind == "image":
            return CompatMessage(self.name, markdown_to_text(more), pictures=(text,))
        if kind == "markdown":
            pictures = tuple(find_markdown_images(more))
            return CompatMessage(self.name, markdown_to_text(more), markdown_to_text(text), pictures)
        return CompatMessage(self.name, more, text)

    def answer(self, request: web.Request, message: CompatMessage) -> web.Response:  # noqa: ARG002
        """Say `code` 0."""
        return answer_json({"code": 0, "content": {"result": ['{"counter":1,"logs":[],"success":"ok"}']}})

    def refuse(self, code: int, sentence: str) -> web.Response:
        """Say a code of PushDeer's."""
        return answer_json({"code": code, "error": sentence})
