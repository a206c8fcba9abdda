"""The frames of the long connection: JSON objects `{cmd, headers: {req_id}, body}`; answers have `errcode` instead."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SUBSCRIBE, PING, SEND = "aibot_subscribe", "ping", "aibot_send_msg"
UPLOAD_INIT, UPLOAD_CHUNK, UPLOAD_FINISH = (
    "aibot_upload_media_init",
    "aibot_upload_media_chunk",
    "aibot_upload_media_finish",
)
MESSAGE, EVENT = "aibot_msg_callback", "aibot_event_callback"


@dataclass(frozen=True)
class Frame:
    """A frame that came in. An answer has no `cmd`; `errcode` is None where it gives none that is a number."""

    cmd: str = ""
    req_id: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    errcode: int | None = None
    errmsg: str = ""


def parse(raw: str | bytes) -> Frame | None:
    """Read a frame; None for what is none. Never raises, whatever came."""
    try:
        # WeCom lets control characters through in texts, which strict JSON forbids.
        found = json.loads(raw, strict=False)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    headers, body, errcode = found.get("headers"), found.get("body"), found.get("errcode")
    return Frame(
        cmd=text(found.get("cmd")),
        req_id=text(headers.get("req_id")) if isinstance(headers, dict) else "",
        body=body if isinstance(body, dict) else {},
        errcode=errcode if isinstance(errcode, int) and not isinstance(errcode, bool) else None,
        errmsg=text(found.get("errmsg")),
    )


def build(cmd: str, req_id: str, body: Mapping[str, Any] | None) -> str:
    """Write a frame; without a body where it is None, as pings go."""
    frame: dict[str, Any] = {"cmd": cmd, "headers": {"req_id": req_id}}
    return json.dumps(frame if body is None else frame | {"body": dict(body)}, ensure_ascii=False)


def new_req_id(cmd: str) -> str:
    """Make a request id, as the official SDK forms it: the answer carries it again."""
    return f"{cmd}_{time.time_ns() // 1_000_000}_{secrets.token_hex(4)}"


def text(value: Any) -> str:
    """Give a string that came in, empty for anything else; half a surrogate pair would not go on as UTF-8."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""
