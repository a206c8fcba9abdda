"""Serves a pretend iLink over HTTP: the API, the CDN, and calls that stand for the person's phone (`/_test/…`)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import secrets
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from wxbridge.simulator import demo
from wxbridge.simulator.ilink.encryption import decrypt, encrypted_size, md5_of
from wxbridge.simulator.ilink.state import IMAGE, WINDOW_MESSAGES, IlinkLogin, IlinkState, LoginCode, Phone, Upload

POLL_SECONDS = 35.0
STATIC = Path(__file__).parent.parent / "static"
_DEAD = {"errcode": -14, "errmsg": "session timeout"}
_HEX = re.compile(r"[0-9a-f]{32}")
_POST_HEADERS = ("Content-Type", "iLink-App-Id", "iLink-App-ClientVersion", "AuthorizationType", "X-WECHAT-UIN")


@dataclass
class SimulatedFault:
    """What happens to the next requests of a path instead of an answer."""

    path: str
    """The last part of the path, such as `sendmessage`."""
    status: int = 0
    """An HTTP status; 0 where the connection is closed instead."""
    body: dict[str, Any] | None = None
    """An answer of the API's, with status 200."""
    is_taken: bool = False
    """Whether the request is done all the same: only its answer is lost."""


@dataclass
class IlinkServer:
    """An iLink to develop and test against; use it as `async with IlinkServer() as ilink`.

    `ilink.state` is what it knows, and what its people do. Waits are `poll_seconds` long.
    """

    state: IlinkState = field(default_factory=IlinkState)
    host: str = "127.0.0.1"
    port: int = 0
    poll_seconds: float = POLL_SECONDS
    faults: deque[SimulatedFault] = field(default_factory=deque)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """The last part of each path, and the body: what tests look at."""
    last_headers: dict[str, dict[str, str]] = field(default_factory=dict)
    """The headers of the last request of each, by the last part of its path."""
    _uin: str = ""
    """The last request's X-WECHAT-UIN, of which each has another."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Give the base of the API."""
        return f"http://{self.host}:{self.port}"

    @property
    def cdn(self) -> str:
        """Give the base of the CDN."""
        return f"{self.url}/c2c"

    async def start(self) -> None:
        """Listen. Raises `OSError` where the port is taken."""
        self.state.changed = self._wake
        app = web.Application(client_max_size=32 * 1024 * 1024, middlewares=[self._play_faults])
        bot = "/ilink/bot"
        app.add_routes(
            [
                web.route("*", f"{bot}/get_bot_qrcode", self._give_code),
                web.get(f"{bot}/get_qrcode_status", self._tell_status),
                web.post(f"{bot}/getupdates", self._authorised(self._give_updates)),
                web.post(f"{bot}/sendmessage", self._authorised(self._take_message)),
                web.post(f"{bot}/getuploadurl", self._authorised(self._announce_upload)),
                web.post(f"{bot}/getconfig", self._authorised(self._give_config)),
                web.post(f"{bot}/sendtyping", self._authorised(self._take_typing)),
                web.post(f"{bot}/msg/notifystart", self._authorised(_say_yes)),
                web.post(f"{bot}/msg/notifystop", self._authorised(_say_yes)),
                web.post("/c2c/upload", self._take_upload),
                web.get("/c2c/download", self._give_download),
                web.get("/q/x", self._show_code),
                web.get("/", self._show_page),
                web.static("/static", STATIC),
                *demo.routes(STATIC),
                web.get("/_test/picture", self._show_picture),
                web.post("/_test/{what}", self._play),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close it."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something is so of what it knows."""
        while not condition():
            await self._changed.wait()

    async def _wait(self, condition: Callable[[], bool]) -> None:
        """Hold a poll until something is so, as long as the service does."""
        try:
            async with asyncio.timeout(self.poll_seconds):
                await self.until(condition)
        except TimeoutError:
            pass

    # ------------------------------------------------ faults

    @web.middleware
    async def _play_faults(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        self.last_headers[name] = dict(request.headers)
        fault = next((one for one in self.faults if one.path == name), None)
        if fault is None or request.path.startswith("/_test/"):
            return await handler(request)
        self.faults.remove(fault)
        if fault.is_taken:
            await handler(request)
        if fault.body is not None:
            return web.json_response(fault.body)
        if fault.status:
            return web.Response(status=fault.status, text="<html>bad gateway</html>", content_type="text/html")
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    # ------------------------------------------------ login

    async def _give_code(self, request: web.Request) -> web.Response:
        if request.query.get("bot_type") != "3":
            return web.json_response({"ret": -2, "errmsg": "invalid arguments"})
        body = await _read(request) if request.method == "POST" else {}
        self.requests.append(("get_bot_qrcode", body))
        known = body.get("local_token_list")
        code = self.state.make_code(tuple(known) if isinstance(known, list) else ())
        address = f"{self.url}/q/x?qrcode={code.handle}&bot_type=3"
        return web.json_response({"qrcode": code.handle, "qrcode_img_content": address, "ret": 0})

    async def _tell_status(self, request: web.Request) -> web.Response:
        code = self.state.codes.get(request.query.get("qrcode", ""))
        if code is None:
            return web.json_response({"status": "expired", "ret": 0})
        before = code.status
        self.state.check_digits(code, request.query.get("verify_code", ""))
        if code.status == before and code.status in ("wait", "scaned"):
            await self._wait(lambda: code.status != before)
        return web.json_response(self._status_of(code) | {"ret": 0})

    def _status_of(self, code: LoginCode) -> dict[str, Any]:
        answer: dict[str, Any] = {"status": code.status}
        if code.status == "scaned_but_redirect":
            answer["redirect_host"] = code.redirect_host
            code.status = "scaned"
        if code.status == "confirmed":
            if code.is_given or code.phone is None or code.phone.login is None:
                return {"status": "expired"}
            code.is_given = True
            login = code.phone.login
            answer |= {"bot_token": login.token, "ilink_bot_id": login.bot_id, "ilink_user_id": login.user_id,
                       "baseurl": self.url}  # fmt: skip
        return answer

    async def _show_code(self, request: web.Request) -> web.Response:
        return web.Response(text=f"Open this in WeChat: {request.query.get('qrcode', '')}")

    # ------------------------------------------------ the API of a bot

    def _authorised(
        self, handler: Callable[[IlinkLogin, dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def ask(request: web.Request) -> web.Response:
            why = self._find_wrong_headers(request)
            if why:
                return web.json_response({"errmsg": f"headers: {why}"}, status=400)
            body = await _read(request)
            self.requests.append((request.path.rpartition("/")[2], body))
            login = self.state.find_login(request.headers.get("Authorization", "").removeprefix("Bearer "))
            answer = _DEAD if login is None else await handler(login, body)
            _disable_delay(request)
            return web.json_response(answer)

        return ask

    def _find_wrong_headers(self, request: web.Request) -> str:
        """Tell what a request lacks of the headers that Tencent's plug-in sends; empty where it lacks nothing."""
        missing = [name for name in (*_POST_HEADERS, "Authorization") if name not in request.headers]
        uin = request.headers.get("X-WECHAT-UIN", "")
        before, self._uin = self._uin, uin
        if missing:
            return f"no {', '.join(missing)}"
        if not _is_uin(uin) or uin == before:
            return "X-WECHAT-UIN is no other number of 32 bits in base64 than before"
        return ""

    async def _give_updates(self, login: IlinkLogin, body: dict[str, Any]) -> dict[str, Any]:
        seen = _read_cursor(body.get("get_updates_buf"), login)
        login.polls += 1
        self._wake()
        mine = login.polls
        await self._wait(lambda: len(login.inbox) > seen or not login.is_alive or login.polls != mine)
        if not login.is_alive:
            return dict(_DEAD)
        if login.polls != mine:
            return {}
        messages = login.inbox[seen:]
        cursor = base64.b64encode(f"{len(login.inbox)}:{login.token}".encode()).decode()
        answer: dict[str, Any] = {"msgs": messages, "get_updates_buf": cursor, "sync_buf": "x"}
        return answer if mine % 2 else answer | {"ret": 0, "longpolling_timeout_ms": 35000}

    async def _take_message(self, login: IlinkLogin, body: dict[str, Any]) -> dict[str, Any]:
        message = body.get("msg")
        return self.state.take(login, message if isinstance(message, dict) else {})

    async def _announce_upload(self, login: IlinkLogin, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("to_user_id") != login.user_id:
            return {"ret": -1, "errmsg": "to_user_id"}
        size, key, filekey = body.get("rawsize"), str(body.get("aeskey", "")), str(body.get("filekey", ""))
        if not (isinstance(size, int) and _HEX.fullmatch(key) and _HEX.fullmatch(filekey)):
            return {"ret": -2, "errmsg": "invalid arguments"}
        if body.get("filesize") != encrypted_size(size) or body.get("media_type") not in (1, 2, 3, 4):
            return {"ret": -2, "errmsg": "invalid arguments"}
        parameter = secrets.token_urlsafe(24)
        self.state.uploads[parameter] = Upload(
            filekey, login.user_id, bytes.fromhex(key), size, encrypted_size(size), str(body.get("rawfilemd5", ""))
        )
        return {"upload_param": parameter, "ret": 0}

    async def _give_config(self, login: IlinkLogin, body: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        if login.last_inbound is None:
            return {"ret": -4, "errmsg": "GetTypingTicket rpc failed"}
        return {"ret": 0, "typing_ticket": base64.b64encode(login.bot_id.encode()).decode()}

    async def _take_typing(self, login: IlinkLogin, body: dict[str, Any]) -> dict[str, Any]:
        right = base64.b64encode(login.bot_id.encode()).decode()
        return {"ret": 0} if body.get("typing_ticket") == right else {"ret": -1, "errmsg": "typing_ticket"}

    # ------------------------------------------------ the CDN

    async def _take_upload(self, request: web.Request) -> web.Response:
        upload = self.state.uploads.get(request.query.get("encrypted_query_param", ""))
        content = await request.read()
        why = ""
        if upload is None or upload.filekey != request.query.get("filekey"):
            why = "unknown upload"
        elif len(content) != upload.encrypted_size:
            why = "size"
        else:
            try:
                plain = decrypt(content, upload.key)
            except ValueError:
                plain = b""
            if len(plain) != upload.size or md5_of(plain) != upload.md5:
                why = "content"
        if upload is None or why:
            return web.Response(status=400, headers={"x-error-message": why, "x-error-code": "-5102031"})
        upload.encrypted, upload.reference = content, secrets.token_urlsafe(24)
        return web.Response(headers={"x-encrypted-param": upload.reference})

    async def _give_download(self, request: web.Request) -> web.Response:
        wanted = request.query.get("encrypted_query_param", "")
        found = next((one for one in self.state.uploads.values() if wanted and one.reference == wanted), None)
        return web.Response(body=found.encrypted) if found else web.Response(status=404)

    # ------------------------------------------------ the phone

    async def _play(self, request: web.Request) -> web.Response:
        """Do what a person does with the phone, for those who play over HTTP."""
        body, state, what = await _read(request), self.state, request.match_info["what"]
        person = str(body.get("person", next(iter(state.phones))))
        try:
            if what != "chat" and not self._do(what, person, body):
                return web.json_response({"error": "no such thing"}, status=404)
        except LookupError as error:
            return web.json_response({"error": str(error)}, status=409)
        phone = state.find_phone(person)
        return web.json_response(
            {"person": person, "people": list(state.phones), "state": _describe(phone), "chat": _chat(phone)}
        )

    def _do(self, what: str, person: str, body: dict[str, Any]) -> bool:
        """Do one of them; False where there is no such thing. Raises `LookupError`."""
        state, code = self.state, str(body.get("qrcode", ""))
        digits, host = str(body.get("code", "")), str(body.get("redirect_host", ""))
        deeds: dict[str, Callable[[], Any]] = {
            "scan": lambda: state.scan(person, code, digits=digits, redirect_host=host),
            "confirm": lambda: state.confirm(code),
            "expire": lambda: state.expire_code(code),
            "end": lambda: state.end_login(person),
            "say": lambda: state.say(person, str(body.get("text", ""))),
            "picture": lambda: state.send_picture(person, _read_picture(body.get("content"))),
            "clock": lambda: state.move_clock(float(body.get("seconds", 0))),
            "restrict": lambda: state.restrict(person, is_on=bool(body.get("on", True))),
            "fault": lambda: self.faults.append(_read_fault(body)),
        }
        if what not in deeds:
            return False
        deeds[what]()
        return True

    async def _show_page(self, _request: web.Request) -> web.StreamResponse:
        """Show the phones to a person with a browser."""
        return web.FileResponse(STATIC / "phone.html")

    async def _show_picture(self, request: web.Request) -> web.Response:
        phone = self.state.find_phone(request.query.get("person", ""))
        try:
            shown = phone.chat[int(request.query.get("index", ""))]
        except (ValueError, IndexError):
            return web.Response(status=404)
        return web.Response(body=shown.content, content_type="image/png")


def _read_picture(content: Any) -> bytes:
    """Read a picture in base64; a chart of the demo's where there is none."""
    try:
        return base64.b64decode(str(content or ""), validate=True) or demo.draw_chart("phone")
    except binascii.Error:
        return demo.draw_chart("phone")


def _read_fault(body: dict[str, Any]) -> SimulatedFault:
    answer = body.get("body")
    return SimulatedFault(
        str(body.get("path", "sendmessage")),
        int(body.get("status", 0)),
        answer if isinstance(answer, dict) else None,
        is_taken=bool(body.get("is_taken", False)),
    )


async def _say_yes(_login: IlinkLogin, _body: dict[str, Any]) -> dict[str, Any]:
    return {"ret": 0}


async def _read(request: web.Request) -> dict[str, Any]:
    """Read a JSON body; a null in it is an absent field, as protocol buffers' JSON has it."""
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        return {}
    return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else {}


def _read_cursor(cursor: Any, login: IlinkLogin) -> int:
    try:
        place, _, token = base64.b64decode(str(cursor or "")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return 0
    return int(place) if token == login.token and place.isdigit() else 0


def _is_uin(text: str) -> bool:
    try:
        decoded = base64.b64decode(text, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return decoded.isdigit() and int(decoded) < 2**32


def _disable_delay(request: web.Request) -> None:
    sock = request.transport.get_extra_info("socket") if request.transport else None
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _describe(phone: Phone) -> str:
    login = phone.login
    if login is None or not login.is_alive:
        return "no bot"
    return f"bot {login.bot_id}: {WINDOW_MESSAGES - login.sent} messages left" if login.last_inbound else "write first"


def _chat(phone: Phone) -> list[dict[str, Any]]:
    return [
        {"from_bot": one.from_bot, "text": one.text, "picture": one.kind == IMAGE, "bytes": len(one.content)}
        for one in phone.chat
    ]
