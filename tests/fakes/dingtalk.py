"""A DingTalk to test against: group robots that check signatures and keywords and fall mute after too many messages."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.http_service import FakeService, Minute, json_of, said

A_MINUTE = 20
MUTED = 600.0
"""Seconds."""
BODY_LIMIT = 20_000
"""Bytes of a request."""
SIGNED_WITHIN = 3600.0
"""Seconds before and after the moment that was signed."""
_DESCRIBED = "description:{};solution:{};link:https://open.dingtalk.com/document/;"


@dataclass
class Robot:
    """A robot with its security settings; empty ones are off."""

    token: str
    secret: str = ""
    keyword: str = ""
    mute_until: float = 0.0


@dataclass(frozen=True)
class Arrived:
    """A message as people see it."""

    token: str
    kind: str
    title: str
    content: str
    mobiles: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    everybody: bool = False
    at: float = 0.0


class FakeDingtalk(FakeService):
    """The server; what can be made to go wrong at it is in `FakeService`. `wall` is its clock."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, wall: Callable[[], float] = time.time) -> None:
        super().__init__(host=host, port=port)
        self.messages: list[Arrived] = []
        self.requests: list[dict[str, Any]] = []
        """The bodies of all messages, also of those that were refused."""
        self._wall = wall
        self._robots: dict[str, Robot] = {}
        self._by_robot = Minute(60, wall)

    def routes(self) -> list[web.AbstractRouteDef]:
        """The one call, at the same address."""
        return [web.post("/robot/send", self._send)]

    def add_robot(self, token: str, *, secret: str = "", keyword: str = "") -> Robot:
        """Put a robot into a group."""
        self._robots[token] = Robot(token, secret, keyword)
        return self._robots[token]

    async def _send(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        self.requests.append(body or {})
        if body is None:
            return said(40035, "缺少参数 json")
        robot = self._robots.get(request.query.get("access_token", ""))
        if robot is None:
            return said(300005, "token is not exist")
        refusal = self._not_let_in(robot, request, body) or self._too_fast(robot) or _unfit(body)
        if refusal is not None:
            return refusal
        self._by_robot.note(robot.token)
        self.messages.append(_arrived(robot, body, self._wall()))
        return said(0, "ok")

    def _not_let_in(self, robot: Robot, request: web.Request, body: dict[str, Any]) -> web.Response | None:
        if robot.secret:
            moment, signature = request.query.get("timestamp", ""), request.query.get("sign", "")
            if not moment.isdigit() or abs(int(moment) / 1000 - self._wall()) > SIGNED_WITHIN:
                return said(
                    310000, _DESCRIBED.format("机器人发送签名过期", "签名生成时间和发送时间请保持在 timestampms 以内")
                )
            key = robot.secret.encode()
            right = base64.b64encode(hmac.new(key, f"{moment}\n{robot.secret}".encode(), hashlib.sha256).digest())
            if not hmac.compare_digest(right, signature.encode()):
                return said(310000, _DESCRIBED.format("机器人发送签名不匹配", "请确认签名和生成签名的时间戳"))
        if robot.keyword and robot.keyword not in json.dumps(body, ensure_ascii=False):
            return said(310000, "keywords not in content, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]")
        return None

    def _too_fast(self, robot: Robot) -> web.Response | None:
        if self._by_robot.count(robot.token) >= A_MINUTE and robot.mute_until <= self._wall():
            robot.mute_until = self._wall() + MUTED
        muted = robot.mute_until > self._wall()
        return said(130101, "send too fast, exceed 20 times per minute") if muted else None


def _unfit(body: dict[str, Any]) -> web.Response | None:
    kind = body.get("msgtype")
    if kind not in ("text", "markdown"):
        return said(400105, f"unsupported msgtype {kind}")
    part = body.get(str(kind))
    needed = ("title", "text") if kind == "markdown" else ("content",)
    missing = [name for name in needed if not isinstance(part, dict) or not str(part.get(name) or "").strip()]
    if missing:
        return said(40035, f"缺少参数 {missing[0]}")
    if len(json.dumps(body, ensure_ascii=False).encode(errors="replace")) > BODY_LIMIT:
        return said(460101, "message too long, exceed 20000 bytes")
    return None


def _arrived(robot: Robot, body: dict[str, Any], now: float) -> Arrived:
    part, at = body[body["msgtype"]], body.get("at") or {}
    return Arrived(
        token=robot.token,
        kind=body["msgtype"],
        title=str(part.get("title", "")),
        content=str(part.get("text") or part.get("content")),
        mobiles=tuple(at.get("atMobiles") or ()),
        users=tuple(at.get("atUserIds") or ()),
        everybody=bool(at.get("isAtAll")),
        at=now,
    )
