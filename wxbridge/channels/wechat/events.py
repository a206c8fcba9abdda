"""What the gateway's events look like, and how they are made fit for wechaty's parser.

The parser of wechaty-puppet-service ends the whole event stream over one payload it does not like
(a TypeScript 1.x error event is enough). So every payload is rebuilt here from the fields it needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

HEARTBEAT, MESSAGE, DONG, ERROR = 1, 2, 3, 16
ROOM_JOIN, ROOM_LEAVE, ROOM_TOPIC = 19, 20, 21
SCAN, READY, LOGIN, LOGOUT, DIRTY = 22, 23, 25, 26, 27

NAMES = (
    *("scan", "login", "logout", "ready", "dong", "heartbeat", "error"),
    *("room-join", "room-leave", "room-topic"),
)
"""The events that come by wechaty's parser, as it calls them."""

MAX_TEXT_CHARS = 2000
"""Of a free text in an event; what is longer is cut off."""
_LAST_SCAN_STATUS = 5

Payload = dict[str, Any]


def _read_text(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:MAX_TEXT_CHARS]


def _read_id(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _read_ids(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _read_status(value: Any) -> int:
    is_valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LAST_SCAN_STATUS
    return value if is_valid else 0


def _read_timestamp(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _read_nothing(_: Any) -> None:
    return None


_FIELDS: Mapping[int, Mapping[str, Callable[[Any], Any]]] = {
    HEARTBEAT: {"data": _read_text},
    DONG: {"data": _read_text},
    READY: {"data": _read_text},
    ERROR: {"data": _read_text},
    SCAN: {"status": _read_status, "qrcode": _read_id, "data": _read_nothing},
    LOGIN: {"contactId": _read_id},
    LOGOUT: {"contactId": _read_id, "data": _read_text},
    ROOM_TOPIC: {
        **dict.fromkeys(("changerId", "newTopic", "oldTopic", "roomId"), _read_id),
        "timestamp": _read_timestamp,
    },
    ROOM_JOIN: {
        **dict.fromkeys(("inviterId", "roomId"), _read_id),
        "inviteeIdList": _read_ids,
        "timestamp": _read_timestamp,
    },
    ROOM_LEAVE: {
        **dict.fromkeys(("removerId", "roomId"), _read_id),
        "removeeIdList": _read_ids,
        "timestamp": _read_timestamp,
    },
}
"""What wechaty's parser takes: the fields of each event, and how each is read whatever came."""
_NEEDED = {
    LOGIN: "contactId",
    ROOM_TOPIC: "roomId",
    ROOM_JOIN: "roomId",
    ROOM_LEAVE: "roomId",
}
"""The field without which an event says nothing."""


def sanitise(kind: int, payload: str) -> str | None:
    """Rebuild an event's payload (JSON) so that wechaty's parser takes it; None: leave the event out.

    Events that the bridge has no use for (friendships, invitations) are left out, those that it reads by itself, and
    what cannot be read.
    """
    fields = _FIELDS.get(kind)
    found = None if fields is None else read(payload)
    if fields is None or found is None:
        return None
    if kind == ERROR:
        # TypeScript 1.x says `gerror` (JSON in a string), older ones `data`.
        words = found.get("gerror", found.get("data"))
        found = {"data": found if words is None else words}
    rebuilt = {key: read_field(found.get(key)) for key, read_field in fields.items()}
    if kind in _NEEDED and not rebuilt[_NEEDED[kind]]:
        return None
    return json.dumps(rebuilt)


def read(payload: str) -> Payload | None:
    """Read an event's payload; None where it is no JSON object. No payload at all is an empty one."""
    try:
        fields = json.loads(payload or "{}")
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def read_message_id(payload: str) -> str:
    """Read which message an event announces; empty where it does not say."""
    return _read_id((read(payload) or {}).get("messageId"))
