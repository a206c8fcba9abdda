"""iLink's requests: their headers, deadlines and answers. One client for each person.

After `protocol.md` and the sources of Tencent's plug-in `@tencent-weixin/openclaw-weixin` 2.4.9, and what was measured
of the live service in autumn 2026.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from wxbridge import __version__
from wxbridge.channels.ilink import encryption
from wxbridge.channels.ilink.settings import IlinkSettings
from wxbridge.core.errors import WxbridgeError
from wxbridge.core.http import is_environment_used
from wxbridge.core.json_values import as_text
from wxbridge.core.leadership import ensure_leading

CONNECT_SECONDS = 4.0
"""For one of the service's addresses: some of them hang, and another is tried then."""
CALL_SECONDS = 15.0
POLL_SLACK_SECONDS = 3.0
MAX_POLL_SECONDS = 60.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
UPLOAD_TRIES = 3
CONFIG_SECONDS = 10.0
TICKET_SECONDS = 12 * 3600.0
"""How long a ticket for typing is used; it is good for up to a day."""
DEAD_LOGIN = -14
_MAX_WORDS = 200
_HTTP_OK, _HTTP_CLIENT_ERROR, _HTTP_SERVER_ERROR = 200, 400, 500
MESSAGE_TYPE_BOT, MESSAGE_FINISHED = 2, 2
TEXT_ITEM, IMAGE_ITEM = 1, 2
_IMAGE_UPLOAD = 1


class IlinkFault(WxbridgeError):
    """The service was not reached, or said nothing that can be read. `was_sent`: it may have done what was asked.

    `is_late`: no answer came in time.
    """

    def __init__(self, text: str, *, was_sent: bool, is_late: bool = False) -> None:
        super().__init__(text)
        self.was_sent = was_sent
        self.is_late = is_late


class IlinkRefusal(WxbridgeError):
    """The service's own no: its number and its words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{code} {words}".strip())
        self.code = code
        self.words = words


@dataclass(frozen=True)
class Credentials:
    """What a confirmed code gives. `token` is a secret."""

    token: str
    bot_id: str
    user_id: str
    base_url: str


@dataclass(frozen=True)
class CodeStatus:
    """What became of a code."""

    status: str
    credentials: Credentials | None = None
    redirect_host: str = ""


@dataclass(frozen=True)
class Updates:
    """What a poll brought."""

    messages: tuple[dict[str, Any], ...] = ()
    cursor: str = ""
    poll_seconds: float | None = None


class IlinkClient:
    """Asks the service. Use from one event loop, and `close()` in the end."""

    def __init__(self, settings: IlinkSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._tickets: dict[str, tuple[str, float]] = {}
        """The ticket of a login's typing, and until when it is used (monotonic seconds)."""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # ------------------------------------------------ login

    async def make_code(self, known_tokens: tuple[str, ...] = ()) -> tuple[str, str]:
        """Have a login code made; gives its handle, and the address that the QR code shows.

        Raises:
            IlinkFault, IlinkRefusal: there is none.
        """
        answer = await self._post(
            f"{self._settings.url}/ilink/bot/get_bot_qrcode?bot_type=3", {"local_token_list": list(known_tokens)}, None
        )
        handle, address = as_text(answer.get("qrcode")), as_text(answer.get("qrcode_img_content"))
        if not handle or not address:
            raise IlinkFault("the answer has no code", was_sent=True)
        return handle, address

    async def read_code_status(self, handle: str, host: str, digits: str, seconds: float) -> CodeStatus:
        """Ask what became of a code; holds until something does. No answer is `wait`.

        `host` is another data centre's, where the service has named one; `digits` are what the phone shows.
        """
        base = self._settings.url
        if host:
            base = f"{urlsplit(base).scheme}://{host}"
        address = f"{base}/ilink/bot/get_qrcode_status?qrcode={quote(handle)}"
        address += f"&verify_code={quote(digits)}" if digits else ""
        try:
            answer = await self._ask("GET", address, None, self._version_headers(), seconds + POLL_SLACK_SECONDS)
        except (IlinkFault, IlinkRefusal):
            return CodeStatus("wait")
        found = None
        if as_text(answer.get("ilink_bot_id")) and as_text(answer.get("bot_token")):
            found = Credentials(
                as_text(answer["bot_token"]), as_text(answer["ilink_bot_id"]), as_text(answer.get("ilink_user_id")),
                (as_text(answer.get("baseurl")) or base).rstrip("/"),
            )  # fmt: skip
        return CodeStatus(as_text(answer.get("status")) or "wait", found, as_text(answer.get("redirect_host")))

    # ------------------------------------------------ a bot's calls

    async def read_updates(self, login: Credentials, cursor: str, seconds: float) -> Updates:
        """Poll for what the person writes, for at most so many seconds.

        Raises:
            IlinkFault, IlinkRefusal: the poll failed; with number `DEAD_LOGIN` the login is over.
        """
        body = {"get_updates_buf": cursor}
        try:
            answer = await self._call(login, "getupdates", body, min(seconds, MAX_POLL_SECONDS) + POLL_SLACK_SECONDS)
        except IlinkFault as error:
            if not error.is_late:
                raise
            return Updates(cursor=cursor)
        messages = answer.get("msgs")
        wait = answer.get("longpolling_timeout_ms")
        return Updates(
            tuple(one for one in messages if isinstance(one, dict)) if isinstance(messages, list) else (),
            as_text(answer.get("get_updates_buf")) or cursor,
            wait / 1000 if isinstance(wait, int | float) and wait > 0 else None,
        )

    async def send_item(self, login: Credentials, item: Mapping[str, Any], client_id: str, context_token: str) -> str:
        """Send one item to the person; gives the service's id of the message, empty where it gives none.

        Raises:
            IlinkFault, IlinkRefusal: it was not taken, or nobody knows.
        """
        message = {
            "from_user_id": "",
            "to_user_id": login.user_id,
            "client_id": client_id,
            "message_type": MESSAGE_TYPE_BOT,
            "message_state": MESSAGE_FINISHED,
            "item_list": [dict(item)],
        } | ({"context_token": context_token} if context_token else {})
        answer = await self._call(login, "sendmessage", {"msg": message})
        return as_text(answer.get("message_id"))

    async def upload_picture(self, login: Credentials, content: bytes) -> dict[str, Any]:
        """Encrypt and store a picture; gives the item that shows it.

        Raises:
            IlinkFault, IlinkRefusal: it was not taken; nothing was sent.
        """
        key, filekey = secrets.token_bytes(16), secrets.token_hex(16)
        encrypted = await asyncio.to_thread(encryption.encrypt, content, key)
        answer = await self._call(
            login,
            "getuploadurl",
            {
                "filekey": filekey, "media_type": _IMAGE_UPLOAD, "to_user_id": login.user_id,
                "rawsize": len(content), "rawfilemd5": encryption.md5_of(content), "filesize": len(encrypted),
                "no_need_thumb": True, "aeskey": key.hex(),
            },
        )  # fmt: skip
        address = as_text(answer.get("upload_full_url"))
        if not address:
            parameter = quote(as_text(answer.get("upload_param")), safe="")
            address = f"{self._settings.cdn}/upload?encrypted_query_param={parameter}&filekey={filekey}"
        reference = await self._upload(address, encrypted)
        media = {"encrypt_query_param": reference, "aes_key": encryption.write_key(key), "encrypt_type": 1}
        return {"type": IMAGE_ITEM, "image_item": {"media": media, "mid_size": len(encrypted)}}

    async def _upload(self, address: str, encrypted: bytes) -> str:
        failure = ""
        for _ in range(UPLOAD_TRIES):
            try:
                async with (
                    asyncio.timeout(CALL_SECONDS * 2),
                    self._connection().post(
                        address, data=encrypted, headers={"Content-Type": "application/octet-stream"}
                    ) as answer,
                ):
                    reference = answer.headers.get("x-encrypted-param", "")
                    if answer.status == _HTTP_OK and reference:
                        return reference
                    words = answer.headers.get("x-error-message", "")[:_MAX_WORDS]
                    if _HTTP_CLIENT_ERROR <= answer.status < _HTTP_SERVER_ERROR:
                        raise IlinkRefusal(answer.status, f"the picture was not stored: {words}")
                    failure = f"HTTP {answer.status} {words}".strip()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure = _reason(error)
        raise IlinkFault(f"the picture could not be stored: {failure}", was_sent=False)

    async def read_config(self, login: Credentials, context_token: str) -> str:
        """Ask for the ticket that typing is shown with; it costs nothing. Raises `IlinkFault`, `IlinkRefusal`."""
        body = {"ilink_user_id": login.user_id, "context_token": context_token}
        config = await self._call(login, "getconfig", body, CONFIG_SECONDS)
        return as_text(config.get("typing_ticket"))

    async def show_typing(self, login: Credentials, context_token: str, *, is_on: bool) -> None:
        """Show that an answer is being made, or no longer. Raises `IlinkFault`, `IlinkRefusal`."""
        ticket, until = self._tickets.get(login.token, ("", 0.0))
        if not ticket or until < time.monotonic():
            ticket = await self.read_config(login, context_token)
            self._tickets = {login.token: (ticket, time.monotonic() + TICKET_SECONDS)}
        body = {"ilink_user_id": login.user_id, "typing_ticket": ticket, "status": 1 if is_on else 2}
        try:
            await self._call(login, "sendtyping", body, CONFIG_SECONDS)
        except IlinkRefusal:
            self._tickets.clear()
            raise

    async def notify(self, login: Credentials, *, is_start: bool) -> None:
        """Say that the client begins or ends. Raises `IlinkFault`, `IlinkRefusal`."""
        await self._call(login, "msg/notifystart" if is_start else "msg/notifystop", {}, CONFIG_SECONDS)

    # ------------------------------------------------ one request

    async def _call(
        self, login: Credentials, name: str, body: Mapping[str, Any], seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        about = {"channel_version": self._settings.client_version, "bot_agent": f"wxbridge/{__version__}"}
        address = f"{login.base_url}/ilink/bot/{name}"
        return await self._post(address, {**body, "base_info": about}, login.token, seconds)

    async def _post(
        self, address: str, body: Mapping[str, Any], token: str | None, seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        number = str(secrets.randbits(32)).encode()
        headers = self._version_headers() | {
            "Content-Type": "application/json",
            "AuthorizationType": "ilink_bot_token",
            "X-WECHAT-UIN": base64.b64encode(number).decode(),
        }
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return await self._ask("POST", address, json.dumps(body, ensure_ascii=False).encode(), headers, seconds)

    def _version_headers(self) -> dict[str, str]:
        major, minor, patch = map(int, self._settings.client_version.split("."))
        return {"iLink-App-Id": "bot", "iLink-App-ClientVersion": str(major << 16 | minor << 8 | patch)}

    async def _ask(
        self, method: str, address: str, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> dict[str, Any]:
        """Ask once.

        Raises:
            IlinkFault: not reached, no answer in time, or none that can be read.
            IlinkRefusal: `ret` or `errcode` is not 0.
        """
        was_sent = False
        ensure_leading()
        try:
            async with asyncio.timeout(seconds):
                async with self._connection().request(method, address, data=body, headers=headers) as answer:
                    was_sent = True
                    raw = await answer.content.read(MAX_ANSWER_BYTES)
                    status = answer.status
        except aiohttp.ClientConnectorError as error:
            raise IlinkFault(f"iLink is not reached: {_reason(error)}", was_sent=False) from None
        except TimeoutError:
            raise IlinkFault(f"iLink did not answer within {seconds:g} s", was_sent=True, is_late=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise IlinkFault(f"iLink gave no answer: {_reason(error)}", was_sent=True) from None
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError):
            data = None
        if status != _HTTP_OK or not isinstance(data, dict):
            raise IlinkFault(f"iLink answered with HTTP {status} and nothing that can be read", was_sent=was_sent)
        for name in ("errcode", "ret"):
            code = data.get(name)
            if isinstance(code, int) and code != 0:
                raise IlinkRefusal(code, as_text(data.get("errmsg"))[:_MAX_WORDS])
        return data

    def _connection(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, connect=3 * CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=is_environment_used())
        return self._session


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:_MAX_WORDS]
