"""A WeCom to test against: group robots and applications, with the checks and the quotas that the real one has.

    async with FakeWecom() as wecom:
        wecom.add_robot("key")
        wecom.add_application("corp", "secret", 1000002)

Texts are counted in bytes, pictures are checked against their MD5 and size, tokens and media expire, members get so
many messages a minute and lose the rest without a word. What arrived is in `messages`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from tests.fakes.http_service import FakeService, Minute, json_of, said, size

MEMBERS = ("zhangsan", "lisi", "wangwu")
TOKEN_LIFE = 7200
"""Seconds."""
MEDIA_LIFE = 3 * 86400
"""Seconds."""
TEXT_LIMIT = 2048
"""Bytes of a robot's text, and of an application's text or markdown."""
ROBOT_LIMITS = {"text": TEXT_LIMIT, "markdown": 4096, "markdown_v2": 4096}
"""Bytes."""
ROBOT_PICTURE = 2 * 1024 * 1024
MEDIA_LIMITS = {
    "image": 10 * 1024 * 1024,
    "voice": 2 * 1024 * 1024,
    "video": 10 * 1024 * 1024,
    "file": 20 * 1024 * 1024,
}
MEDIA_SMALLEST = 5
ARTICLES_AT_MOST = 8
ROBOT_A_MINUTE = 20
MEMBER_A_MINUTE = 30
MEMBER_AN_HOUR = 1000
DUPLICATES_WITHIN = 1800
_MORE = "more info at https://open.work.weixin.qq.com/devtool/query?e="


@dataclass(frozen=True)
class Arrived:
    """A message as people see it."""

    sender: str
    """A robot's key, or an application's agent id."""
    kind: str
    """`text`, `markdown`, `markdown_v2`, `image`, `file`, `news`."""
    content: str = ""
    to: tuple[str, ...] = ()
    """Members, `party:1` and `tag:1` whom an application's message reached; empty for a group."""
    dropped: tuple[str, ...] = ()
    """Members who have had too many: they see nothing, and nobody is told."""
    mentioned: tuple[str, ...] = ()
    data: bytes = field(default=b"", repr=False)
    """A picture or file."""
    name: str = ""
    at: float = 0.0


@dataclass
class Application:
    """An application: its members, parties and tags are those who see it."""

    corp_id: str
    secret: str
    agent_id: int
    name: str = ""
    members: tuple[str, ...] = MEMBERS
    parties: tuple[str, ...] = ("1",)
    tags: tuple[str, ...] = ("1",)
    token: str = ""
    token_until: float = 0.0
    tokens: int = 0
    """How many were issued."""


@dataclass(frozen=True)
class _Media:
    corp_id: str
    kind: str
    name: str
    data: bytes
    until: float


class FakeWecom(FakeService):
    """The server; what can be made to go wrong at it is in `FakeService`. `wall` is its clock."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, wall: Callable[[], float] = time.time) -> None:
        super().__init__(host=host, port=port)
        self.messages: list[Arrived] = []
        self.requests: list[dict[str, Any]] = []
        """The bodies of all messages, also of those that were refused."""
        self.duplicates = 0
        """How many messages the duplicate check has swallowed."""
        self.applications: list[Application] = []
        self.trusted = True
        """Whether this client's address is among the trusted ones (60020)."""
        self.token_life = TOKEN_LIFE
        self._wall = wall
        self._robots: set[str] = set()
        self._media: dict[str, _Media] = {}
        self._by_robot = Minute(60, wall)
        self._by_member = (Minute(60, wall), Minute(3600, wall))
        self._seen: dict[str, float] = {}
        self._count = 0

    def routes(self) -> list[web.AbstractRouteDef]:
        """The calls of the real one that are needed here, at the same addresses."""
        return [
            web.post("/cgi-bin/webhook/send", self._robot_send),
            web.post("/cgi-bin/webhook/upload_media", self._robot_upload),
            web.get("/cgi-bin/gettoken", self._gettoken),
            web.get("/cgi-bin/agent/get", self._agent),
            web.post("/cgi-bin/message/send", self._send),
            web.post("/cgi-bin/media/upload", self._upload),
        ]

    # What an administrator does

    def add_robot(self, key: str) -> None:
        """Put a robot into a group."""
        self._robots.add(key)

    def remove_robot(self, key: str) -> None:
        """Take it out again: its key is refused from now on."""
        self._robots.discard(key)

    def add_application(
        self, corp_id: str, secret: str, agent_id: int, members: Iterable[str] = MEMBERS, name: str = ""
    ) -> Application:
        """Make an application that these members see."""
        application = Application(corp_id, secret, agent_id, name, members=tuple(members))
        self.applications.append(application)
        return application

    def expire_tokens(self) -> None:
        """Let every token end now (42001)."""
        for application in self.applications:
            application.token_until = 0.0

    def revoke_tokens(self) -> None:
        """Know no token any more (40014)."""
        for application in self.applications:
            application.token = ""

    def forget_media(self) -> None:
        """Lose every upload."""
        self._media.clear()

    # Robots

    async def _robot_send(self, request: web.Request) -> web.Response:
        key = request.query.get("key", "")
        body = await json_of(request)
        self.requests.append(body or {})
        if key not in self._robots:
            return _refused(93000, "invalid webhook url")
        if body is None:
            return _refused(40008, "invalid message type")
        if self._by_robot.count(key) >= ROBOT_A_MINUTE:
            return _refused(45009, "api freq out of limit")
        refusal, arrived = self._robot_message(key, body)
        if refusal is not None:
            return refusal
        self._by_robot.note(key)
        self.messages.append(arrived)
        return said(0, "ok")

    def _robot_message(self, key: str, body: dict[str, Any]) -> tuple[web.Response | None, Arrived]:
        kind = str(body.get("msgtype"))
        part = _part(body, kind)
        message = Arrived(key, kind, at=self._wall())
        if kind in ROBOT_LIMITS:
            content = str(part.get("content", ""))
            mentioned = [*(part.get("mentioned_list") or []), *(part.get("mentioned_mobile_list") or [])]
            refusal = _text_refusal(kind, content, ROBOT_LIMITS[kind])
            return refusal, replace(message, content=content, mentioned=tuple(map(str, mentioned)))
        if kind == "image":
            return _picture(message, part)
        if kind == "file":
            media = self._medium(str(part.get("media_id", "")), key)
            if media is None:
                return _refused(40007, "invalid media_id"), message
            return None, replace(message, data=media.data, name=media.name)
        if kind == "news":
            articles = part.get("articles") or []
            wrong = not 0 < len(articles) <= ARTICLES_AT_MOST
            refusal = _refused(45008, "article count out of limit") if wrong else None
            return refusal, replace(message, content=json.dumps(articles, ensure_ascii=False))
        return _refused(40008, "invalid message type"), message

    async def _robot_upload(self, request: web.Request) -> web.Response:
        key = request.query.get("key", "")
        if key not in self._robots:
            return _refused(93000, "invalid webhook url")
        return await self._take(request, key, only=("file", "voice"))

    # Applications

    async def _gettoken(self, request: web.Request) -> web.Response:
        corp_id, secret = request.query.get("corpid", ""), request.query.get("corpsecret", "")
        if not any(each.corp_id == corp_id for each in self.applications):
            return _refused(40013, "invalid corpid")
        found = [each for each in self.applications if (each.corp_id, each.secret) == (corp_id, secret)]
        if not found:
            return _refused(40001, "invalid credential")
        application, now = found[0], self._wall()
        if not application.token or application.token_until <= now:
            application.tokens += 1
            words = f"{corp_id}/{secret}/{application.tokens}"
            application.token = hashlib.sha256(words.encode()).hexdigest()
            application.token_until = now + self.token_life
        left = int(application.token_until - now)
        return said(0, "ok", access_token=application.token, expires_in=left)

    def _let_in(self, request: web.Request) -> tuple[Application | None, web.Response]:
        token = request.query.get("access_token", "")
        application = next((each for each in self.applications if token and each.token == token), None)
        if not token:
            return None, _refused(41001, "access_token missing")
        if application is None:
            return None, _refused(40014, "invalid access_token")
        if application.token_until <= self._wall():
            return None, _refused(42001, "access_token expired")
        if not self.trusted:
            return None, _refused(60020, "not allow to access from your ip")
        return application, said(0, "ok")

    async def _agent(self, request: web.Request) -> web.Response:
        application, answer = self._let_in(request)
        if application is None:
            return answer
        if request.query.get("agentid") != str(application.agent_id):
            return _refused(301002, "not allow operate another agent with this accesstoken")
        return said(0, "ok", agentid=application.agent_id, name=application.name)

    async def _send(self, request: web.Request) -> web.Response:
        application, answer = self._let_in(request)
        body = await json_of(request)
        self.requests.append(body or {})
        if application is None:
            return answer
        body = body or {}
        reached, missed = _recipients(application, body)
        refusal, arrived = self._app_message(application, body)
        if str(body.get("agentid")) != str(application.agent_id):
            refusal = _refused(40056, "invalid agentid")
        elif not reached:
            refusal = _refused(81013, "user & party & tag all invalid")
        if refusal is not None:
            return refusal
        self._count += 1
        answer = said(0, "ok", msgid=f"message-{self._count}", **missed)
        if self._is_duplicate(application, body):
            self.duplicates += 1
            return answer
        dropped = [who for who in reached if not self._may_have(f"{application.agent_id}:{who}")]
        to = [who for who in reached if who not in dropped]
        self.messages.append(replace(arrived, to=tuple(to), dropped=tuple(dropped)))
        return answer

    def _app_message(self, application: Application, body: dict[str, Any]) -> tuple[web.Response | None, Arrived]:
        kind = str(body.get("msgtype"))
        part = _part(body, kind)
        message = Arrived(str(application.agent_id), kind, at=self._wall())
        if kind in ("text", "markdown"):
            # The real one cuts a text that is too long; here it shows.
            content = str(part.get("content", ""))
            return _text_refusal(kind, content, TEXT_LIMIT), replace(message, content=content)
        if kind in ("image", "file"):
            media = self._medium(str(part.get("media_id", "")), application.corp_id)
            if media is None or media.kind != kind:
                return _refused(40007, "invalid media_id"), message
            return None, replace(message, data=media.data, name=media.name)
        return _refused(40008, "invalid message type"), message

    def _is_duplicate(self, application: Application, body: dict[str, Any]) -> bool:
        if not body.get("enable_duplicate_check"):
            return False
        now = self._wall()
        words = f"{application.agent_id}\0{json.dumps(body, sort_keys=True)}"
        until = self._seen.get(words, 0.0)
        if until > now:
            return True
        self._seen[words] = now + int(body.get("duplicate_check_interval") or DUPLICATES_WITHIN)
        return False

    def _may_have(self, member: str) -> bool:
        minute, hour = self._by_member
        if minute.count(member) >= MEMBER_A_MINUTE or hour.count(member) >= MEMBER_AN_HOUR:
            return False
        minute.note(member)
        hour.note(member)
        return True

    async def _upload(self, request: web.Request) -> web.Response:
        application, answer = self._let_in(request)
        if application is None:
            return answer
        return await self._take(request, application.corp_id, only=tuple(MEDIA_LIMITS))

    # Media

    async def _take(self, request: web.Request, owner: str, only: tuple[str, ...]) -> web.Response:
        kind = request.query.get("type", "")
        if kind not in only:
            return _refused(40005, "invalid type")
        try:
            part = (await request.post()).get("media")
        except ValueError:
            part = None
        if not isinstance(part, web.FileField):
            return _refused(44001, "empty media data")
        data = part.file.read()
        if len(data) < MEDIA_SMALLEST:
            return _refused(40006, "invalid file size")
        if len(data) > MEDIA_LIMITS[kind]:
            return _refused(40009 if kind == "image" else 40006, "invalid size")
        if kind == "image" and not _is_picture(data):
            return _refused(40004, "invalid media type")
        self._count += 1
        media_id = f"media-{self._count}"
        self._media[media_id] = _Media(owner, kind, part.filename, data, self._wall() + MEDIA_LIFE)
        return said(0, "ok", type=kind, media_id=media_id, created_at=str(int(self._wall())))

    def _medium(self, media_id: str, owner: str) -> _Media | None:
        media = self._media.get(media_id)
        return media if media and media.corp_id == owner and media.until > self._wall() else None


def _refused(errcode: int, errmsg: str) -> web.Response:
    return said(errcode, f"{errmsg}, hint: [1763700000_1_fake], from ip: 127.0.0.1, {_MORE}{errcode}")


def _text_refusal(kind: str, content: str, limit: int) -> web.Response | None:
    if not content.strip():
        return _refused(44004, "empty content")
    if size(content) > limit:
        return _refused(40058, f"{kind}.content exceed max length {limit}. invalid Request Parameter")
    return None


def _picture(message: Arrived, part: dict[str, Any]) -> tuple[web.Response | None, Arrived]:
    try:
        data = base64.b64decode(str(part.get("base64", "")), validate=True)
    except (binascii.Error, ValueError):
        return _refused(40058, "image.base64 is no base64"), message
    if not data or len(data) > ROBOT_PICTURE:
        return _refused(40009, "invalid image size"), message
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != str(part.get("md5", "")).lower():
        return _refused(301019, "media md5 not match"), message
    if not _is_picture(data):
        return _refused(40004, "invalid image type"), message
    return None, replace(message, data=data)


def _part(body: dict[str, Any], kind: str) -> dict[str, Any]:
    part = body.get(kind)
    return part if isinstance(part, dict) else {}


def _is_picture(data: bytes) -> bool:
    return data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))


def _recipients(application: Application, body: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Whom a message reaches, and the fields that tell whom it does not. Ids of members are told in lower case."""
    if body.get("touser") == "@all":
        return list(application.members), {}
    reached: list[str] = []
    missed: dict[str, str] = {}
    groups = (
        ("touser", "invaliduser", application.members, ""),
        ("toparty", "invalidparty", application.parties, "party:"),
        ("totag", "invalidtag", application.tags, "tag:"),
    )
    for key, field_name, known, mark in groups:
        names = [name for name in str(body.get(key) or "").split("|") if name]
        there = {name.lower() for name in known}
        reached += [mark + name.lower() for name in names if name.lower() in there]
        wrong = [name.lower() for name in names if name.lower() not in there]
        missed |= {field_name: "|".join(wrong)} if wrong else {}
    return list(dict.fromkeys(reached)), missed
