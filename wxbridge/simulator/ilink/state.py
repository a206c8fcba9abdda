"""What a pretend iLink knows: codes, logins, messages and the limits of the send window. No input or output.

After what was measured of the live service in autumn 2026: a person may be written to for 24 hours after their last
message, and ten times each time; a second login of a person ends the first.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wxbridge.simulator.ilink.encryption import decrypt, encrypt, md5_of

WINDOW_SECONDS = 24 * 3600.0
WINDOW_MESSAGES = 10
MAX_TEXT_BYTES = 16_384
MAX_WRONG_CODES = 3
_FIRST_MESSAGE_ID = 7_497_484_083_968_569_736

USER, BOT = 1, 2
TEXT, IMAGE, FILE, VIDEO = 1, 2, 4, 5
_MEDIA = {IMAGE: ("image_item", "mid_size"), VIDEO: ("video_item", "video_size"), FILE: ("file_item", "len")}
"""Of each kind: where an item has it, and where that says its size."""


@dataclass
class PhoneMessage:
    """What stands in a chat on a phone."""

    from_bot: bool
    kind: int
    text: str = ""
    content: bytes = b""
    """Of a picture, a video or a file, decrypted as the phone does."""
    at: float = 0.0


@dataclass
class IlinkLogin:
    """A bot that belongs to one person, from a confirmed code until another login of theirs."""

    token: str
    bot_id: str
    user_id: str
    is_alive: bool = True
    inbox: list[dict[str, Any]] = field(default_factory=list)
    """What the person has written; a cursor is a place in it."""
    last_inbound: float | None = None
    sent: int = 0
    """Since the person's last message."""
    client_ids: set[str] = field(default_factory=set)
    context_token: str = ""
    polls: int = 0
    """Counts polls, so that a second one ends the first."""


@dataclass
class Phone:
    """A person with WeChat on a phone."""

    name: str
    user_id: str = field(default_factory=lambda: f"o9cq80{secrets.token_urlsafe(17)[:22]}@im.wechat")
    chat: list[PhoneMessage] = field(default_factory=list)
    login: IlinkLogin | None = None
    is_restricted: bool = False
    """Whether the service takes messages for this person and shows none."""


@dataclass
class LoginCode:
    """A QR code, from its making until it is confirmed or too old."""

    handle: str
    known_tokens: tuple[str, ...] = ()
    status: str = "wait"
    phone: Phone | None = None
    digits: str = ""
    """What the phone shows, where it wants them typed."""
    wrong: int = 0
    redirect_host: str = ""
    is_given: bool = False
    """Whether the credentials were given out: that happens once."""


@dataclass
class Upload:
    """A file on its way to the CDN: announced, then stored under the name that a message refers to it by."""

    filekey: str
    user_id: str
    key: bytes
    size: int
    encrypted_size: int
    md5: str
    encrypted: bytes = b""
    reference: str = ""


class IlinkState:
    """All of it; `changed` is called whenever something happens that a client may wait for."""

    def __init__(self, people: tuple[str, ...] = ("张三", "李四")) -> None:
        self.phones = {name: Phone(name) for name in people}
        self.codes: dict[str, LoginCode] = {}
        self.uploads: dict[str, Upload] = {}
        self.notes: list[str] = []
        """What a client did that is taken, and is not right."""
        self.offset = 0.0
        """How far the service's clock was moved on, in seconds."""
        self.changed: Callable[[], None] = lambda: None
        self.on_chat: Callable[[str, PhoneMessage], None] = lambda _name, _message: None
        """Is told of every message of a chat."""
        self._next_id = _FIRST_MESSAGE_ID

    def now(self) -> float:
        """Give the service's time, in seconds since the epoch."""
        return time.time() + self.offset

    def new_id(self) -> int:
        """Give a message id of nineteen digits."""
        self._next_id += secrets.randbelow(1000) + 1
        return self._next_id

    # ------------------------------------------------ what the person does

    def find_phone(self, name: str) -> Phone:
        """Find a person, who is made where there is none of this name."""
        return self.phones.setdefault(name, Phone(name))

    def find_code(self, handle: str = "") -> LoginCode:
        """Find a code; without a handle, the newest that waits. Raises `LookupError`."""
        waiting = [code for code in self.codes.values() if code.handle == handle or (not handle and _is_open(code))]
        if not waiting:
            raise LookupError("no code waits to be scanned")
        return waiting[-1]

    def scan(self, name: str, handle: str = "", *, digits: str = "", redirect_host: str = "") -> LoginCode:
        """Have a person scan a code; with `digits`, the phone shows them and wants them typed."""
        code = self.find_code(handle)
        code.phone, code.digits, code.redirect_host = self.find_phone(name), digits, redirect_host
        code.status = "need_verifycode" if digits else "scaned_but_redirect" if redirect_host else "scaned"
        self.changed()
        return code

    def confirm(self, handle: str = "") -> None:
        """Have the person tap on yes: a login of theirs that was there ends, unless the client has its token."""
        code = self.find_code(handle)
        if code.phone is None:
            raise LookupError("nobody has scanned it")
        login = code.phone.login
        if login and login.is_alive and login.token in code.known_tokens:
            code.status = "binded_redirect"
        else:
            if login:
                login.is_alive = False
            bot = secrets.token_hex(6)
            code.phone.login = IlinkLogin(
                f"{bot}@im.bot:0600{secrets.token_hex(17)}", f"{bot}@im.bot", code.phone.user_id
            )
            code.status = "confirmed"
        self.changed()

    def expire_code(self, handle: str = "") -> None:
        """Let a code be too old."""
        self.find_code(handle).status = "expired"
        self.changed()

    def move_clock(self, seconds: float) -> None:
        """Let time pass for the service."""
        self.offset += seconds
        self.changed()

    def restrict(self, name: str, *, is_on: bool) -> None:
        """Have the service take messages for a person and show none, or no longer."""
        self.find_phone(name).is_restricted = is_on

    def end_login(self, name: str) -> None:
        """Have a person bind another program: the token is dead."""
        login = self.find_phone(name).login
        if login:
            login.is_alive = False
        self.changed()

    def send_picture(self, name: str, content: bytes) -> int:
        """Have a person send their bot a picture; gives the message's id. Raises `LookupError` where they have none."""
        phone, key = self.find_phone(name), secrets.token_bytes(16)
        encrypted, reference = encrypt(content, key), secrets.token_urlsafe(24)
        upload = Upload(secrets.token_hex(16), phone.user_id, key, len(content), len(encrypted), md5_of(content))
        upload.encrypted, upload.reference = encrypted, reference
        media = {"encrypt_query_param": reference, "aes_key": base64.b64encode(key).decode(), "encrypt_type": 1}
        item = {"type": IMAGE, "image_item": {"media": media, "aeskey": key.hex(), "mid_size": len(encrypted)}}
        self.uploads[reference] = upload
        return self.say(name, item=item, content=content)

    def say(
        self,
        name: str,
        text: str = "",
        *,
        item: dict[str, Any] | None = None,
        message_type: int = USER,
        content: bytes = b"",
    ) -> int:
        """Have a person write to their bot; gives the message's id. Raises `LookupError` where they have none."""
        phone = self.find_phone(name)
        login = phone.login
        if login is None or not login.is_alive:
            raise LookupError(f"{name} has no bot")
        message_id, now = self.new_id(), self.now()
        login.context_token = base64.b64encode(secrets.token_bytes(104)).decode()
        login.last_inbound, login.sent = now, 0
        login.inbox.append(
            {
                "seq": len(login.inbox) + 1,
                "message_id": message_id,
                "from_user_id": phone.user_id,
                "to_user_id": login.bot_id,
                "client_id": secrets.token_hex(8),
                "create_time_ms": int(now * 1000),
                "update_time_ms": int(now * 1000),
                "session_id": "",
                "root_id": 0,
                "parent_id": 0,
                "message_type": message_type,
                "message_state": 2,
                "context_token": login.context_token,
                "item_list": [item or {"type": TEXT, "text_item": {"text": text}, "msg_id": f"v1:{message_id}0"}],
            }
        )
        kind = IMAGE if content else TEXT
        self._show(phone, PhoneMessage(from_bot=False, kind=kind, text=text, content=content, at=now))
        return message_id

    # ------------------------------------------------ what the service does

    def make_code(self, known_tokens: tuple[str, ...]) -> LoginCode:
        """Make a code to be scanned."""
        code = LoginCode(secrets.token_hex(16), known_tokens)
        self.codes[code.handle] = code
        self.changed()
        return code

    def check_digits(self, code: LoginCode, typed: str) -> None:
        """Compare what was typed with what the phone shows; the third wrong one blocks the code."""
        if code.status != "need_verifycode" or not typed:
            return
        if typed == code.digits:
            code.status = "scaned"
        else:
            code.wrong += 1
            code.status = "verify_code_blocked" if code.wrong >= MAX_WRONG_CODES else "need_verifycode"
        self.changed()

    def find_login(self, token: str) -> IlinkLogin | None:
        """Find who has a token; None where it is dead or nobody's."""
        return next(
            (p.login for p in self.phones.values() if p.login and p.login.is_alive and p.login.token == token), None
        )

    def phone_of(self, login: IlinkLogin) -> Phone:
        """Find whose login it is."""
        return next(phone for phone in self.phones.values() if phone.user_id == login.user_id)

    def take(self, login: IlinkLogin, message: dict[str, Any]) -> dict[str, Any]:
        """Take a message of the bot's, as `sendmessage` does; gives the answer."""
        item, now = _read_item(message, login), self.now()
        text = str((item.get("text_item") or {}).get("text", "")) if item else ""
        is_open = login.last_inbound is not None and now - login.last_inbound < WINDOW_SECONDS
        if item and (len(text.encode()) > MAX_TEXT_BYTES or not is_open or login.sent >= WINDOW_MESSAGES):
            return {"ret": -2, "errmsg": "prepare failed"}
        content = self._open_media(item) if item else None
        if item is None or content is None:
            return {"ret": -2, "errmsg": "invalid arguments"}
        client_id = str(message.get("client_id") or "")
        phone = self.phone_of(login)
        if client_id in login.client_ids:
            return {"message_id": self.new_id()}
        login.client_ids.add(client_id)
        if phone.is_restricted:
            return {"ret": 0}
        if not client_id:
            self.notes.append("no client_id")
        if login.context_token and not message.get("context_token"):
            self.notes.append("no context_token though one was given")
        login.sent += 1
        kind = int(item.get("type", 0))
        self._show(phone, PhoneMessage(from_bot=True, kind=kind, text=text, content=content, at=now))
        return {"message_id": self.new_id()} | ({"ret": 0} if login.sent % 2 else {})

    def _open_media(self, item: dict[str, Any]) -> bytes | None:
        """Decrypt what an item shows, as the phone does; empty for a text, None where that cannot be."""
        name, size_name = _MEDIA.get(item.get("type", 0), ("", ""))
        if not name:
            return b""
        about = item.get(name) or {}
        media = about.get("media") or {}
        upload = next((one for one in self.uploads.values() if one.reference == media.get("encrypt_query_param")), None)
        if upload is None or not upload.reference or _decode_key(media.get("aes_key")) != upload.key.hex():
            return None
        is_file = item["type"] == FILE
        if about.get(size_name) != (str(upload.size) if is_file else upload.encrypted_size):
            self.notes.append(
                f"{name}.{size_name} is not the size of the {'file, as text' if is_file else 'ciphertext'}"
            )
        if is_file and not about.get("file_name"):
            self.notes.append("a file has no name")
        return decrypt(upload.encrypted, upload.key)

    def _show(self, phone: Phone, message: PhoneMessage) -> None:
        phone.chat.append(message)
        self.on_chat(phone.name, message)
        self.changed()


def _read_item(message: dict[str, Any], login: IlinkLogin) -> dict[str, Any] | None:
    """Read the one item of a message; None for a message that the service refuses."""
    items = message.get("item_list")
    is_finished = message.get("message_type") == BOT and message.get("message_state") == 2  # noqa: PLR2004
    if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], dict):
        return None
    return items[0] if is_finished and message.get("to_user_id") == login.user_id else None


def _is_open(code: LoginCode) -> bool:
    return code.status in ("wait", "scaned", "need_verifycode", "scaned_but_redirect")


def _decode_key(text: Any) -> str:
    try:
        return base64.b64decode(str(text)).decode("ascii")
    except ValueError:
        return ""
