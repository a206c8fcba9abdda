"""ntfy: the topic is the key; plain bodies with headers, or JSON at the root. After ntfy's document "Publishing"."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any

from aiohttp import web

from wxbridge.alerts.sources.robots import CompatMessage
from wxbridge.core.imaging import sniff
from wxbridge.core.json_values import as_text, read_json_or_text
from wxbridge.core.json_values import read_text as decode_text
from wxbridge.core.text.markup import find_markdown_images, markdown_to_text
from wxbridge.web.compat.service import PREFIX, CompatService, answer_json, join_lines, words
from wxbridge.web.responses import read_body

_SEVERITIES = {"5": "critical", "max": "critical", "urgent": "critical", "4": "warning", "high": "warning"}
"""By ntfy's priority."""
_HEADERS = {
    "title": ("title", "t"),
    "message": ("message", "m"),
    "priority": ("priority", "prio", "p"),
    "tags": ("tags", "tag", "ta"),
    "click": ("click",),
    "attach": ("attach", "a"),
    "markdown": ("markdown", "md"),
}


class Ntfy(CompatService):
    """A message is a body with headers, a query, or JSON that names the topic."""

    name = "ntfy"
    key_error, attempts_error, message_error = 40301, 42901, 40009

    def routes(self) -> list[web.RouteDef]:
        """Give the root for JSON, and the topic with its older forms for GET."""
        path = f"{PREFIX}/ntfy"
        return [
            *(web.route(method, f"{path}{end}", self.take) for method in ("POST", "PUT") for end in ("", "/")),
            *(web.route(method, f"{path}/{{topic}}", self.take) for method in ("POST", "PUT")),
            *(web.get(f"{path}/{{topic}}/{word}", self.take) for word in ("publish", "send", "trigger")),
        ]

    async def read_fields(self, request: web.Request) -> dict[str, Any]:
        """Read JSON at the root; at a topic, the headers and the query, and the body as the message."""
        body = await read_body(request)
        if "topic" not in request.match_info:
            data = read_json_or_text(body)
            return data if isinstance(data, dict) else {}
        fields = {name: _find_header(request, names) for name, names in _HEADERS.items()}
        if sniff(body) is not None:
            return fields | {"attach": f"data:image/png;base64,{base64.b64encode(body).decode()}"}
        if body.strip():
            fields["message"] = decode_text(body)
        return fields

    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:
        """Read the topic."""
        return request.match_info.get("topic") or words(fields, "topic")

    def read_message(self, request: web.Request, fields: Mapping[str, Any]) -> CompatMessage:  # noqa: ARG002
        """Read title, message, tags, link and picture."""
        tags = fields.get("tags")
        tags = ", ".join(map(as_text, tags)) if isinstance(tags, list) else words(fields, "tags")
        text, pictures = words(fields, "message"), [words(fields, "attach")]
        if words(fields, "markdown").lower() in ("1", "true", "yes"):
            pictures += find_markdown_images(text)
            text = markdown_to_text(text)
        return CompatMessage(
            self.name,
            join_lines(text, words(fields, "click"), tags and f"🏷 {tags}"),
            words(fields, "title"),
            tuple(filter(None, pictures)),
            severity=_SEVERITIES.get(words(fields, "priority").lower(), ""),
            labels=(("tags", tags),) if tags else (),
        )

    def answer(self, request: web.Request, message: CompatMessage) -> web.Response:
        """Say the `event` that subscribers would see."""
        now = int(time.time())
        return answer_json(
            {"id": secrets.token_urlsafe(9), "time": now, "expires": now + 43200, "event": "message",
             "topic": request.match_info.get("topic", ""), "title": message.title, "message": message.text}
        )  # fmt: skip

    def refuse(self, code: int, sentence: str) -> web.Response:
        """Say ntfy's number, which begins with HTTP's status."""
        return answer_json({"code": code, "http": code // 100, "error": sentence}, code // 100)


def _find_header(request: web.Request, names: tuple[str, ...]) -> str:
    """Find what a header says, by any of its names and with `X-` too, else the query; RFC 2047 is decoded."""
    for name in names:
        for given in (request.headers.get(f"X-{name}"), request.headers.get(name), request.query.get(name)):
            if given:
                return _decode(given)
    return ""


def _decode(text: str) -> str:
    # Bytes that are no ASCII arrive as surrogates; curl writes UTF-8.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        return str(make_header(decode_header(text))) if "=?" in text else text
    except (HeaderParseError, LookupError, UnicodeError):
        return text
