"""AlertGroup ↔ JSON, for keeping in the database what was said, so that it can be said again in other words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from wxbridge.model import Alert, AlertGroup, AlertStatus, PictureSpec, Value


def as_json(group: AlertGroup) -> dict[str, Any]:
    """What `from_json` reads. Holds plain JSON types only; infinities and NaN become strings."""
    plain: dict[str, Any] = _plain(group)
    return plain


def _empty(noun: type[Any]) -> dict[str, Any]:
    """The defaults of a noun's fields: what need not be written."""
    given = {each.name: each.default for each in fields(noun) if each.default is not MISSING}
    return given | {each.name: each.default_factory() for each in fields(noun) if each.default_factory is not MISSING}


_EMPTY = {noun: _empty(noun) for noun in (AlertGroup, Alert, Value, PictureSpec)}


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str:  # the commonest; this is run for every part of every alert
        return value
    if kind in _EMPTY:
        # `dataclasses.asdict` copies deeply first, which costs more than all the rest of taking an alert in.
        empty = _EMPTY[kind]
        return {name: _plain(item) for name, item in vars(value).items() if name not in empty or item != empty[name]}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    return repr(value) if isinstance(value, float) and value - value != 0 else value


def from_json(content: Mapping[str, Any]) -> AlertGroup:
    """Read what `as_json` wrote, also by an older or a newer wxbridge: what it does not know is left out."""
    return AlertGroup(
        **_known(AlertGroup, content)
        | {
            "alerts": tuple(map(_alert, content.get("alerts") or ())),
            "recipients": tuple(content.get("recipients") or ()),
        }
    )


def _known(noun: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(noun)}
    return {key: value for key, value in content.items() if key in names}


def _alert(content: Mapping[str, Any]) -> Alert:
    picture = content.get("picture")
    return Alert(
        **_known(Alert, content)
        | {
            "status": _status(content["status"]),
            "values": tuple(map(_value, content.get("values") or ())),
            "starts_at": _time(content.get("starts_at")),
            "ends_at": _time(content.get("ends_at")),
            "picture": PictureSpec(**_known(PictureSpec, picture)) if picture else None,
        }
    )


def _status(word: str) -> AlertStatus:
    return AlertStatus(word) if word in set(AlertStatus) else AlertStatus.FIRING


def _value(content: Mapping[str, Any]) -> Value:
    number = content.get("number")
    return Value(**_known(Value, content) | {"number": None if number is None else float(number)})


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
