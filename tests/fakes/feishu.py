"""A Feishu to test against: group robots with signature and keyword, an application's tokens, and its pictures.

After Feishu's pages "自定义机器人使用指南", "自建应用获取 tenant_access_token" and "上传图片".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.http_service import FakeService, Minute

A_MINUTE, A_SECOND = 100, 5
BODY_LIMIT = 20 * 1024
"""Bytes of a request."""
SIGNED_WITHIN = 3600.0
"""Seconds before and after the moment that was signed."""
TOKEN_SECONDS = 7200
PICTURE_LIMIT = 10 * 1024 * 1024
_NEEDED = {"text": ("text",), "post": ("post",), "image": ("image_key",)}


@dataclass
class Robot:
    """A robot with its security settings; empty ones are off."""

    key: str
    secret: str = ""
    keyword: str = ""


@dataclass(frozen=True)
class Arrived:
    """A message as people see it: `content` is what stands below `content` or `card`."""

    key: str
    kind: str
    content: dict[str, Any]
    picture: bytes = b""


def coded(code: int, msg: str, status: int = 200, **more: Any) -> web.Response:
    """An answer of Feishu's."""
    return web.json_response({"code": code, "msg": msg, "data": {}, **more}, status=status)


class FakeFeishu(FakeService):
    """The server; what can be made to go wrong at it is in `FakeService`. `wall` is its clock."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, wall: Callable[[], float] = time.time) -> None:
        super().__init__(host=host, port=port)
        self.messages: list[Arrived] = []
        self.requests: list[dict[str, Any]] = []
        """The bodies of all messages, also of those that were refused."""
        self.pictures: dict[str, bytes] = {}
        self.applications: dict[str, str] = {}
        """Secrets by app id."""
        self.tokens: dict[str, float] = {}
        """Until when each is good."""
        self._wall = wall
        self._robots: dict[str, Robot] = {}
        self._minute, self._second = Minute(60, wall), Minute(1, wall)

    def routes(self) -> list[web.AbstractRouteDef]:
        """The robot's address, and what an application needs for pictures."""
        return [
            web.post("/open-apis/bot/v2/hook/{key}", self._send),
            web.post("/open-apis/auth/v3/tenant_access_token/internal", self._give_token),
            web.post("/open-apis/im/v1/images", self._take_image),
        ]

    def add_robot(self, key: str, *, secret: str = "", keyword: str = "") -> Robot:
        """Put a robot into a group."""
        self._robots[key] = Robot(key, secret, keyword)
        return self._robots[key]

    def remove_robot(self, key: str) -> None:
        """Take it out of its group."""
        del self._robots[key]

    async def _send(self, request: web.Request) -> web.Response:
        raw = await request.read()
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        self.requests.append(body if isinstance(body, dict) else {})
        robot = self._robots.get(request.match_info["key"])
        if robot is None:
            return coded(19001, "param invalid: incoming webhook access token invalid")
        if not isinstance(body, dict) or len(raw) > BODY_LIMIT:
            return coded(9499, "Bad Request")
        refusal = self._not_let_in(robot, body) or self._unfit(robot, body)
        if refusal is not None:
            return refusal
        self._minute.note(robot.key)
        self._second.note(robot.key)
        content = _content_of(body)
        picture = self.pictures.get(str(content.get("image_key", "")), b"")
        self.messages.append(Arrived(robot.key, body["msg_type"], content, picture))
        return coded(0, "success", StatusCode=0, StatusMessage="success", Extra=None)

    def _not_let_in(self, robot: Robot, body: dict[str, Any]) -> web.Response | None:
        if robot.secret and not self._is_signed(robot, body):
            return coded(19021, "sign match fail or timestamp is not within one hour from current time")
        if self._minute.count(robot.key) >= A_MINUTE or self._second.count(robot.key) >= A_SECOND:
            return coded(11232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]")
        return None

    def _unfit(self, robot: Robot, body: dict[str, Any]) -> web.Response | None:
        kind, content = str(body.get("msg_type", "")), _content_of(body)
        if kind not in (*_NEEDED, "interactive"):
            return coded(19002, "params error, msg_type need")
        missing = not content or any(not content.get(name) for name in _NEEDED.get(kind, ()))
        if missing or (kind == "image" and content["image_key"] not in self.pictures):
            return coded(9499, "Bad Request")
        if robot.keyword and robot.keyword not in json.dumps(content, ensure_ascii=False):
            return coded(19024, "Key Words Not Found")
        return None

    def _is_signed(self, robot: Robot, body: dict[str, Any]) -> bool:
        moment = str(body.get("timestamp", ""))
        if not moment.isdigit() or abs(int(moment) - self._wall()) > SIGNED_WITHIN:
            return False
        key = f"{moment}\n{robot.secret}".encode()
        right = base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()
        return hmac.compare_digest(right, str(body.get("sign", "")))

    async def _give_token(self, request: web.Request) -> web.Response:
        body = await request.json()
        secret = self.applications.get(body.get("app_id"))
        if secret is None:
            return coded(10014, "app id not exists")
        if secret != body.get("app_secret"):
            return coded(10015, "app secret invalid")
        token = f"t-{secrets.token_hex(20)}"
        self.tokens[token] = self._wall() + TOKEN_SECONDS
        return web.json_response({"code": 0, "msg": "ok", "tenant_access_token": token, "expire": TOKEN_SECONDS})

    async def _take_image(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token, 0.0) <= self._wall():
            return coded(99991663, "Invalid access token for authorization. Please make a test attempt.", 400)
        form = await request.post()
        picture = form.get("image")
        if form.get("image_type") != "message" or not isinstance(picture, web.FileField):
            return coded(234001, "Invalid request param.", 400)
        content = picture.file.read()
        if len(content) > PICTURE_LIMIT:
            return coded(234006, "The file size exceed the max value.", 400)
        if not content.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")):
            return coded(234011, "Can't recognize image format.", 400)
        image_key = f"img_v3_{secrets.token_hex(12)}"
        self.pictures[image_key] = content
        return web.json_response({"code": 0, "msg": "success", "data": {"image_key": image_key}})


def _content_of(body: dict[str, Any]) -> dict[str, Any]:
    content = body.get("card" if body.get("msg_type") == "interactive" else "content")
    return content if isinstance(content, dict) else {}
