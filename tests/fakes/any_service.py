"""Any service over HTTP to test against: it takes every request, and answers what a test wants."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.http_service import FakeService


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    form: dict[str, Any] = field(default_factory=dict)


class AnyService(FakeService):
    """Takes every request, and answers what a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.says: Any = {"code": 0, "id": 4711}
        self.status = 200
        self.more: dict[str, str] = {}

    def routes(self) -> list[web.AbstractRouteDef]:
        return [web.route("*", "/{path:.*}", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        form: dict[str, Any] = {}
        if request.content_type == "multipart/form-data":
            for name, value in (await request.post()).items():
                form[name] = (value.filename, value.file.read()) if isinstance(value, web.FileField) else value
        self.requests.append(
            Request(request.method, request.path, dict(request.query), dict(request.headers),
                    b"" if form else await request.read(), form)
        )  # fmt: skip
        text = self.says if isinstance(self.says, str) else json.dumps(self.says)
        return web.Response(text=text, status=self.status, headers=self.more)
