"""Bark: `/KEY/title/body` by GET and POST, and `/push` with JSON. After bark-server's API document, version 2."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from wxbridge.alerts.sources.robots import CompatMessage
from wxbridge.web.compat.service import PREFIX, CompatService, answer_json, join_lines, words

_SEVERITIES = {"critical": "critical", "timesensitive": "warning", "passive": "info"}
"""By Bark's `level`."""


class Bark(CompatService):
    """The key is the device's key."""

    name = "bark"
    key_error, attempts_error, message_error = 400, 429, 400

    def routes(self) -> list[web.RouteDef]:
        """Give `push`, and paths of up to four parts."""
        path = f"{PREFIX}/bark"
        below = ("/{key}", "/{key}/", "/{key}/{body}", "/{key}/{title}/{body}", "/{key}/{title}/{subtitle}/{body}")
        return [
            web.post(f"{path}/push", self.take),
            *(web.route(method, path + each, self.take) for each in below for method in ("GET", "POST")),
        ]

    def read_key(self, request: web.Request, fields: Mapping[str, Any]) -> str:
        """Read the first part of the path, else `device_key`."""
        return request.match_info.get("key") or words(fields, "device_key")

    def read_message(self, request: web.Request, fields: Mapping[str, Any]) -> CompatMessage:
        """Read title, subtitle, body, address and picture, from the path before the fields."""

        def find(name: str) -> str:
            return request.match_info.get(name) or words(fields, name)

        picture = words(fields, "image")
        text = join_lines(find("subtitle"), find("body") or words(fields, "markdown"), words(fields, "url"))
        severity = _SEVERITIES.get(words(fields, "level").lower(), "")
        return CompatMessage(self.name, text, find("title"), (picture,) if picture else (), severity=severity)

    def answer(self, request: web.Request, message: CompatMessage) -> web.Response:  # noqa: ARG002
        """Say `code` 200."""
        return answer_json({"code": 200, "message": "success", "timestamp": int(time.time())})

    def refuse(self, code: int, sentence: str) -> web.Response:
        """Say 400, as Bark does for a key that it does not know."""
        return answer_json({"code": code, "message": sentence, "timestamp": int(time.time())}, code)
