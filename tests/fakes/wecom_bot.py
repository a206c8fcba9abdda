"""A WeCom that bots connect to: the server side of the AI bot's long connection, small, on a real socket.

It checks what the real one is known to check (developer.work.weixin.qq.com/document/path/101463, and what the
official Node SDK `@wecom/aibot-node-sdk` 1.0.7 sends and expects), and misbehaves when it is told to. The codes
853000, 846609, 846605, 846608, 93006, 40008, 40058 and 45009 are those that users report from the real one; 40004
for uploads and 95001 for a conversation that has to be woken are made up: the real codes are not documented.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import itertools
import json
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import WSMsgType, web

MAX_FRAME = 4 * 1024 * 1024
MAX_TEXT = 20480
"""Bytes of a text, in UTF-8."""
MAX_CHUNK = 512 * 1024
MAX_CHUNKS = 100
MAX_IMAGE = 10 * 1024 * 1024
MIN_MEDIA = 5
RATES = ((30, 60.0), (1000, 3600.0))
"""How many messages a conversation takes in how many seconds."""
WELCOME_SECONDS = 5.0
STREAM_SECONDS = 360.0

OK = 0
BUSY, BAD_MEDIA, BAD_TYPE, BAD_UPLOAD = -1, 40007, 40008, 40004
BAD_PARAMETER, EMPTY, THROTTLED = 40058, 44004, 45009
BAD_CHAT, ASLEEP, BAD_REQUEST, EXPIRED = 93006, 95001, 846605, 846608
NOT_SUBSCRIBED, BAD_SECRET = 846609, 853000

_WORDS = {
    OK: "ok",
    BUSY: "system busy",
    BAD_MEDIA: "invalid media_id",
    BAD_TYPE: "invalid message type",
    BAD_UPLOAD: "invalid media upload",
    BAD_PARAMETER: "invalid Request Parameter",
    EMPTY: "text content is empty",
    THROTTLED: "api freq out of limit",
    BAD_CHAT: "invalid chatid",
    ASLEEP: "the conversation is closed: the user has to send a message to the bot first",
    BAD_REQUEST: "invalid req_id",
    EXPIRED: "stream message update expired",
    NOT_SUBSCRIBED: "aibot websocket not subscribed",
    BAD_SECRET: "invalid bot_id or secret",
}

_MEDIA_TYPES = ("file", "image", "voice", "video")


class Refusal(Exception):
    """An answer other than ok."""

    def __init__(self, code: int, words: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.words = words or _WORDS.get(code, "unknown error")


@dataclass(frozen=True)
class Sent:
    """A message that the server took from a bot. `command` says how it came."""

    bot_id: str
    chat: str
    kind: str
    text: str = ""
    media: bytes = b""
    chat_type: int = 0
    command: str = "aibot_send_msg"
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Upload:
    kind: str
    total_size: int
    total_chunks: int
    md5: str
    chunks: dict[int, bytes] = field(default_factory=dict)


@dataclass(eq=False)
class _Client:
    """One connection."""

    socket: web.WebSocketResponse
    transport: asyncio.Transport
    bot_id: str = ""


class WecomBotServer:
    """The server; use it as `async with WecomBotServer() as server`.

    `bots` are the secrets by bot id. A conversation takes messages once somebody has written in it (`say`), or once
    it is in `chats`. With `tls` it is spoken to in TLS. `clock` gives seconds, for the rates and the windows.
    """

    def __init__(
        self,
        bots: Mapping[str, str] | None = None,
        *,
        host: str = "127.0.0.1",
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.bots = dict(bots or {"bot-1": "secret-1"})
        self.chats: set[str] = set()
        """The conversations that may be written to."""
        self.asleep: set[str] = set()
        """The conversations whose window has closed: `say` opens it again."""
        self.sent: list[Sent] = []
        self.frames: list[dict[str, Any]] = []
        """Every frame that arrived and could be read, without the data of uploads."""
        self.media: dict[str, tuple[str, bytes]] = {}
        """What was uploaded: kind and bytes, by media id."""
        self.connections = 0
        """How many connections were ever made."""
        self.deaf_to_pings = False
        self.paced = True
        """Whether the rates are kept to."""
        self.changed = asyncio.Event()
        """Set whenever anything has happened."""
        self._clock = clock
        self._host = host
        self._tls = tls
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._clients: list[_Client] = []
        self._numbers = itertools.count(1)
        self._uploads: dict[str, _Upload] = {}
        self._callbacks: dict[str, tuple[str, str, float]] = {}
        """What may be replied to: kind, conversation and time, by request id."""
        self._history: dict[str, deque[float]] = {}
        self._refusals: dict[str, deque[int]] = {}
        self._stalls: Counter[str] = Counter()
        self._cuts: Counter[str] = Counter()
        self._thawed = asyncio.Event()
        self._thawed.set()

    # Life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; on the port of before where there was one.

        Raises:
            OSError: the port is taken.
        """
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, reuse_address=True, ssl_context=self._tls).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and cut every connection."""
        self.thaw()
        self.drop()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    @property
    def url(self) -> str:
        """Where bots connect to."""
        return f"{'wss' if self._tls else 'ws'}://{self._host}:{self._port}"

    @property
    def online(self) -> list[str]:
        """The bots that are subscribed now."""
        return [client.bot_id for client in self._clients if client.bot_id]

    # Misbehaviour

    def refuse(self, command: str, *codes: int) -> None:
        """Answer the next requests of a command with these codes, one each."""
        self._refusals.setdefault(command, deque()).extend(codes)

    def stall(self, command: str, times: int = 1) -> None:
        """Do what the next requests ask, and never answer them."""
        self._stalls[command] += times

    def cut(self, command: str, times: int = 1) -> None:
        """Cut the connection at the next request of a command, before it is done or answered."""
        self._cuts[command] += times

    def drop(self) -> None:
        """Cut every connection, as a broken network does."""
        for client in self._clients:
            client.transport.abort()

    async def close(self, code: int = 1000) -> None:
        """Close every connection in good order."""
        for client in list(self._clients):
            await client.socket.close(code=code)

    def freeze(self) -> None:
        """Neither read nor answer any more, as a process that was stopped: connections stay open, also new ones."""
        self._thawed.clear()
        for client in self._clients:
            client.transport.pause_reading()

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self._thawed.set()
        for client in self._clients:
            if not client.transport.is_closing():
                client.transport.resume_reading()

    # What members do

    async def say(
        self,
        text: str,
        *,
        user: str = "zhangsan",
        group: str = "",
        msgid: str = "",
        kind: str = "text",
        more: Mapping[str, Any] | None = None,
    ) -> str:
        """Write to the bots, in a group (`group` is its id) or directly; gives the message's id.

        `more` is laid over the body: another content, a quote, rubbish.
        """
        chat = group or user
        self.chats.add(chat)
        self.asleep.discard(chat)
        body = self._body(user, group, msgid) | {"msgtype": kind, kind: {"content": text}} | dict(more or {})
        await self._call("aibot_msg_callback", chat, "message", body)
        return str(body["msgid"])

    async def event(self, kind: str, *, user: str = "zhangsan", group: str = "") -> None:
        """Tell the bots of an event, such as `enter_chat`."""
        body = self._body(user, group, "") | {"msgtype": "event", "event": {"eventtype": kind}}
        await self._call("aibot_event_callback", group or user, kind, body)

    async def push(self, raw: str | bytes) -> None:
        """Send every subscribed connection a frame as it stands."""
        for client in [client for client in self._clients if client.bot_id]:
            with suppress(ConnectionError):
                await (client.socket.send_bytes(raw) if isinstance(raw, bytes) else client.socket.send_str(raw))

    def _body(self, user: str, group: str, msgid: str) -> dict[str, Any]:
        return {
            "msgid": msgid or f"msg-{next(self._numbers)}",
            "aibotid": self.online[0] if self.online else "",
            "chattype": "group" if group else "single",
            "from": {"userid": user},
            "create_time": int(self._clock()),
            **({"chatid": group} if group else {}),
        }

    async def _call(self, command: str, chat: str, kind: str, body: dict[str, Any]) -> None:
        req_id = f"callback-{next(self._numbers)}"
        self._callbacks[req_id] = (kind, chat, self._clock())
        await self.push(json.dumps({"cmd": command, "headers": {"req_id": req_id}, "body": body}, ensure_ascii=False))

    # Connections

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        await self._thawed.wait()
        socket = web.WebSocketResponse(max_msg_size=MAX_FRAME, compress=False)
        transport = request.transport
        if transport is None or transport.is_closing():
            return socket
        await socket.prepare(request)
        client = _Client(socket, transport)
        self._clients.append(client)
        self.connections += 1
        self.changed.set()
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._receive(client, message.data)
        except (ConnectionError, RuntimeError):
            pass
        finally:
            self._clients.remove(client)
            self.changed.set()
        return socket

    async def _receive(self, client: _Client, raw: str | bytes) -> None:
        try:
            frame = json.loads(raw)
            command, req_id, body = str(frame["cmd"]), str(frame["headers"]["req_id"]), frame.get("body") or {}
        except (ValueError, KeyError, TypeError):
            return
        data = {"base64_data": "…"} if "base64_data" in body else {}
        self.frames.append({**frame, "body": {**body, **data}})
        self.changed.set()
        if self._cuts[command] > 0:
            self._cuts[command] -= 1
            client.transport.abort()
            return
        answer = self._answer(client, command, req_id, body)
        stalled = self._stalls[command] > 0
        self._stalls[command] -= stalled
        if stalled or (command == "ping" and self.deaf_to_pings):
            return
        if command == "aibot_subscribe" and answer["errcode"] == OK:
            await self._end_others(client)
        await client.socket.send_str(json.dumps(answer, ensure_ascii=False))

    def _answer(self, client: _Client, command: str, req_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"headers": {"req_id": req_id}, "errcode": OK, "errmsg": _WORDS[OK]}
        try:
            refusals = self._refusals.get(command)
            if refusals:
                raise Refusal(refusals.popleft())  # noqa: TRY301 - the one place where refusals become answers
            found = self._do(client, command, req_id, body)
        except Refusal as refusal:
            hint = f"{refusal.words}, hint: [{next(self._numbers)}]"
            return answer | {"errcode": refusal.code, "errmsg": hint}
        return answer | ({"body": found} if found else {})

    async def _end_others(self, client: _Client) -> None:
        for other in list(self._clients):
            if other is not client and other.bot_id == client.bot_id:
                body = self._body("", "", "") | {"msgtype": "event", "event": {"eventtype": "disconnected_event"}}
                event = {"cmd": "aibot_event_callback", "headers": {"req_id": "takeover"}, "body": body}
                with suppress(ConnectionError):
                    await other.socket.send_str(json.dumps(event))
                other.bot_id = ""
                asyncio.get_running_loop().call_soon(other.transport.close)

    # Commands

    def _do(self, client: _Client, command: str, req_id: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        if command == "aibot_subscribe":
            if not body.get("secret") or self.bots.get(str(body.get("bot_id"))) != body["secret"]:
                raise Refusal(BAD_SECRET)
            client.bot_id = str(body["bot_id"])
            return None
        if not client.bot_id:
            raise Refusal(NOT_SUBSCRIBED)
        handlers: dict[str, Callable[[], dict[str, Any] | None]] = {
            "ping": lambda: None,
            "aibot_send_msg": lambda: self._send(client, body),
            "aibot_respond_msg": lambda: self._respond(client, command, req_id, body),
            "aibot_respond_welcome_msg": lambda: self._respond(client, command, req_id, body),
            "aibot_upload_media_init": lambda: self._upload_init(body),
            "aibot_upload_media_chunk": lambda: self._upload_chunk(body),
            "aibot_upload_media_finish": lambda: self._upload_finish(body),
        }
        if command not in handlers:
            raise Refusal(BAD_PARAMETER)
        return handlers[command]()

    def _send(self, client: _Client, body: Mapping[str, Any]) -> None:
        chat, kind = str(body.get("chatid") or ""), str(body.get("msgtype") or "")
        if chat not in self.chats:
            raise Refusal(BAD_CHAT)
        if chat in self.asleep:
            raise Refusal(ASLEEP)
        if body.get("chat_type", 0) not in (0, 1, 2):
            raise Refusal(BAD_PARAMETER)
        # Here a plain text is refused, which the window for replies and the webhook robots take.
        if kind not in ("markdown", "template_card", *_MEDIA_TYPES):
            raise Refusal(BAD_TYPE)
        text, media = self._content(kind, body)
        self._pace(chat)
        self.sent.append(Sent(client.bot_id, chat, kind, text, media, int(body.get("chat_type", 0)), body=dict(body)))

    def _respond(self, client: _Client, command: str, req_id: str, body: Mapping[str, Any]) -> None:
        kind, chat, at = self._callbacks.get(req_id, ("", "", 0.0))
        welcome = command == "aibot_respond_welcome_msg"
        if not chat or welcome != (kind == "enter_chat"):
            raise Refusal(BAD_REQUEST)
        if self._clock() - at > (WELCOME_SECONDS if welcome else STREAM_SECONDS):
            raise Refusal(EXPIRED)
        msgtype = str(body.get("msgtype") or "")
        if msgtype not in (("text", "template_card") if welcome else ("stream", "template_card", *_MEDIA_TYPES)):
            raise Refusal(BAD_TYPE)
        text, media = self._content(msgtype, body)
        self._pace(chat)
        self.sent.append(Sent(client.bot_id, chat, msgtype, text, media, command=command, body=dict(body)))

    def _content(self, kind: str, body: Mapping[str, Any]) -> tuple[str, bytes]:
        part = body.get(kind)
        if not isinstance(part, dict):
            raise Refusal(BAD_PARAMETER)
        if kind in _MEDIA_TYPES:
            found = self.media.get(str(part.get("media_id")))
            if found is None or found[0] != kind:
                raise Refusal(BAD_MEDIA)
            return "", found[1]
        text = part.get("content") or ""
        if not isinstance(text, str) or (not text.strip() and kind != "template_card"):
            raise Refusal(EMPTY)
        if len(text.encode()) > MAX_TEXT:
            raise Refusal(BAD_PARAMETER, f"{kind}.content exceed max length {MAX_TEXT}. {_WORDS[BAD_PARAMETER]}")
        return text, b""

    def _pace(self, chat: str) -> None:
        now, history = self._clock(), self._history.setdefault(chat, deque())
        while history and history[0] <= now - RATES[-1][1]:
            history.popleft()
        if self.paced and any(sum(at > now - seconds for at in history) >= count for count, seconds in RATES):
            raise Refusal(THROTTLED)
        history.append(now)

    def _upload_init(self, body: Mapping[str, Any]) -> dict[str, Any]:
        kind, size, chunks = body.get("type"), body.get("total_size"), body.get("total_chunks")
        if kind not in _MEDIA_TYPES or not body.get("filename"):
            raise Refusal(BAD_UPLOAD, "type and filename are needed")
        if not isinstance(size, int) or not isinstance(chunks, int) or not 0 < chunks <= MAX_CHUNKS:
            raise Refusal(BAD_UPLOAD, f"total_chunks must be 1 to {MAX_CHUNKS}")
        if not MIN_MEDIA <= size <= chunks * MAX_CHUNK or (kind == "image" and size > MAX_IMAGE):
            raise Refusal(BAD_UPLOAD, "the size is out of bounds")
        upload_id = f"upload-{next(self._numbers)}"
        self._uploads[upload_id] = _Upload(str(kind), size, chunks, str(body.get("md5") or ""))
        return {"upload_id": upload_id}

    def _upload_chunk(self, body: Mapping[str, Any]) -> None:
        upload, index = self._uploads.get(str(body.get("upload_id"))), body.get("chunk_index")
        if upload is None or not isinstance(index, int) or not 0 <= index < upload.total_chunks:
            raise Refusal(BAD_UPLOAD, "no such upload or chunk")
        try:
            data = base64.b64decode(str(body.get("base64_data")), validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(BAD_UPLOAD, "the chunk is no base64") from None
        if not 0 < len(data) <= MAX_CHUNK:
            raise Refusal(BAD_UPLOAD, f"a chunk has at most {MAX_CHUNK} bytes")
        upload.chunks[index] = data

    def _upload_finish(self, body: Mapping[str, Any]) -> dict[str, Any]:
        upload = self._uploads.pop(str(body.get("upload_id")), None)
        if upload is None or len(upload.chunks) != upload.total_chunks:
            raise Refusal(BAD_UPLOAD, "chunks are missing")
        data = b"".join(upload.chunks[index] for index in range(upload.total_chunks))
        if len(data) != upload.total_size:
            raise Refusal(BAD_UPLOAD, "the size is another than announced")
        if upload.md5 and hashlib.md5(data).hexdigest() != upload.md5:
            raise Refusal(BAD_UPLOAD, "the md5 is another than announced")
        media_id = f"media-{next(self._numbers)}"
        self.media[media_id] = (upload.kind, data)
        return {"type": upload.kind, "media_id": media_id, "created_at": str(int(self._clock()))}
