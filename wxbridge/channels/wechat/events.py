"""What the gateway's events look like, and how they are made fit for wechaty's parser.

The parser of wechaty-puppet-service ends the whole event stream over one payload it does not like
(a TypeScript 1.x error event is enough). So every payload is rebuilt here from the fields it needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

HEARTBEAT, MESSAGE, DONG, ERROR = 1, 2, 3, 16
ROOM_JOIN, ROOM_LEAVE, ROOM_TOPIC = 19, 20, 21
SCAN, READY, LOGIN, LOGOUT, DIRTY = 22, 23, 25, 26, 27

NAMES = (
    *("scan", "login", "logout", "ready", "message", "dong", "heartbeat", "error"),
    *("room-join", "room-leave", "room-topic"),
)
"""The events that a connection passes on, as wechaty calls them."""

_LAST_SCAN_STATUS = 5
_LONGEST = 2000
"""Characters that are kept of a free text in an event."""

Payload = dict[str, Any]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text[:_LONGEST]


def _data(payload: Payload) -> Payload:
    value = payload.get("data")
    return {"data": "" if value is None else _text(value)}


def _error(payload: Payload) -> Payload:
    # TypeScript 1.x says `gerror` (JSON in a string), older ones `data`.
    value = payload.get("gerror", payload.get("data"))
    return {"data": _text(payload if value is None else value)}


def _id(payload: Payload, key: str) -> str:
    value = payload.get(key)
    return value if isinstance(value, str) else ""


def _message(payload: Payload) -> Payload | None:
    return {"messageId": _id(payload, "messageId")} if _id(payload, "messageId") else None


def _login(payload: Payload) -> Payload | None:
    return {"contactId": _id(payload, "contactId")} if _id(payload, "contactId") else None


def _logout(payload: Payload) -> Payload:
    return {"contactId": _id(payload, "contactId"), **_data(payload)}


def _scan(payload: Payload) -> Payload:
    status = payload.get("status")
    valid = isinstance(status, int) and not isinstance(status, bool) and 0 <= status <= _LAST_SCAN_STATUS
    return {"status": status if valid else 0, "qrcode": _id(payload, "qrcode"), "data": None}


def _timestamp(payload: Payload) -> float:
    try:
        return float(payload.get("timestamp", 0.0))
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _ids(payload: Payload, key: str) -> list[str]:
    value = payload.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _room_topic(payload: Payload) -> Payload | None:
    if not _id(payload, "roomId"):
        return None
    keys = ("changerId", "newTopic", "oldTopic", "roomId")
    return {key: _id(payload, key) for key in keys} | {"timestamp": _timestamp(payload)}


def _room_join(payload: Payload) -> Payload | None:
    if not _id(payload, "roomId"):
        return None
    who = {key: _id(payload, key) for key in ("inviterId", "roomId")}
    return who | {"inviteeIdList": _ids(payload, "inviteeIdList"), "timestamp": _timestamp(payload)}


def _room_leave(payload: Payload) -> Payload | None:
    if not _id(payload, "roomId"):
        return None
    who = {key: _id(payload, key) for key in ("removerId", "roomId")}
    return who | {"removeeIdList": _ids(payload, "removeeIdList"), "timestamp": _timestamp(payload)}


_RULES: dict[int, Callable[[Payload], Payload | None]] = {
    HEARTBEAT: _data,
    MESSAGE: _message,
    DONG: _data,
    ERROR: _error,
    ROOM_JOIN: _room_join,
    ROOM_LEAVE: _room_leave,
    ROOM_TOPIC: _room_topic,
    SCAN: _scan,
    READY: _data,
    LOGIN: _login,
    LOGOUT: _logout,
}


def sanitise(kind: int, payload: str) -> str | None:
    """Rebuild an event's payload (JSON) so that wechaty's parser takes it; None: leave the event out.

    Events that the bridge has no use for (friendships, invitations) are left out, and so is what
    cannot be read.
    """
    rule = _RULES.get(kind)
    fields = read(payload)
    if rule is None or fields is None:
        return None
    rebuilt = rule(fields)
    return None if rebuilt is None else json.dumps(rebuilt)


def read(payload: str) -> Payload | None:
    """Read an event's payload; None where it is no JSON object. No payload at all is an empty one."""
    try:
        fields = json.loads(payload or "{}")
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
