"""AlertGroup ↔ JSON, for keeping in the database what was said, so that it can be said again in other words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from wxbridge.model import Alert, AlertGroup, AlertStatus, PictureSpec, Value


def as_json(group: AlertGroup) -> dict[str, Any]:
    """What `from_json` reads. Holds plain JSON types only; infinities and NaN become strings."""
    plain: dict[str, Any] = _plain(asdict(group))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and value - value != 0:
        return repr(value)
    return value


def from_json(content: Mapping[str, Any]) -> AlertGroup:
    """Read what `as_json` wrote."""
    return AlertGroup(**{**content, "alerts": tuple(_alert(alert) for alert in content["alerts"])})


def _alert(content: Mapping[str, Any]) -> Alert:
    return Alert(
        **{
            **content,
            "status": AlertStatus(content["status"]),
            "values": tuple(_value(value) for value in content["values"]),
            "starts_at": _time(content["starts_at"]),
            "ends_at": _time(content["ends_at"]),
            "picture": PictureSpec(**content["picture"]) if content["picture"] else None,
        }
    )


def _value(content: Mapping[str, Any]) -> Value:
    number = content["number"]
    return Value(**{**content, "number": None if number is None else float(number)})


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
