"""AlertGroup ↔ JSON, for keeping in the database what was said, so that it can be said again in other words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from wxbridge.core.model import Alert, AlertGroup, AlertStatus, PictureSpec, Severity, Value


def group_to_json(group: AlertGroup) -> dict[str, Any]:
    """What `group_from_json` reads. Holds plain JSON types only; infinities and NaN become strings.

    What is as by default is left out: most of an alert is, and this is run for every one.
    """
    return _to_json(group)


def alert_to_json(alert: Alert) -> dict[str, Any]:
    """Write an alert as it stands in a group."""
    return _to_json(alert)


def _to_json(noun: AlertGroup | Alert | Value | PictureSpec) -> dict[str, Any]:
    return {
        name: _WRITE[name](value) if name in _WRITE else value
        for name in _FIELDS[type(noun)]
        if (value := getattr(noun, name)) or (value is not None and name in _KEPT)
    }


def _list_to_json(nouns: Sequence[Any]) -> list[Any]:
    return [_to_json(noun) for noun in nouns]


def _number_to_json(number: float) -> float | str:
    return number if number - number == 0 else repr(number)


def _plain(value: Any) -> Any:
    """Arguments of a painter, without what JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return repr(value) if isinstance(value, float) and value - value != 0 else value


_KEPT = frozenset((
    "source", "group_key", "title", "status", "name", "kind", "params", "number", "text", "link", "dedupe",
    "duration",
))  # fmt: skip
"""What is left out only where it is None."""
_WRITE: Mapping[str, Callable[[Any], Any]] = {
    "alerts": _list_to_json,
    "still": _list_to_json,
    "pictures": _list_to_json,
    "values": _list_to_json,
    "picture": _to_json,
    "recipients": list,
    "repeated": list,
    "labels": dict,
    "annotations": dict,
    "links": dict,
    "status": attrgetter("value"),
    "starts_at": datetime.isoformat,
    "ends_at": datetime.isoformat,
    "number": _number_to_json,
    "params": _plain,
}
"""How fields are written that are no JSON as they are."""


def group_from_json(content: Mapping[str, Any]) -> AlertGroup:
    """Read what `group_to_json` wrote, also by an older or a newer wxbridge: what it does not know is left out."""
    return AlertGroup(
        **_known(AlertGroup, content)
        | {
            "alerts": tuple(map(_alert, content.get("alerts") or ())),
            "still": tuple(map(_alert, content.get("still") or ())),
            "recipients": tuple(content.get("recipients") or ()),
            "pictures": tuple(map(_picture, content.get("pictures") or ())),
        }
    )


_FIELDS = {noun: frozenset(field.name for field in fields(noun)) for noun in (AlertGroup, Alert, Value, PictureSpec)}


def _known(noun: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    known = _FIELDS[noun]
    return {name: value for name, value in content.items() if name in known}


def _alert(content: Mapping[str, Any]) -> Alert:
    picture = content.get("picture")
    return Alert(
        **_known(Alert, content)
        | {
            "status": _status(content["status"]),
            "values": tuple(map(_value, content.get("values") or ())),
            "starts_at": _time(content.get("starts_at")),
            "ends_at": _time(content.get("ends_at")),
            "picture": _picture(picture) if picture else None,
            "severity": _SEVERITIES.get(content.get("severity")),
            "repeated": tuple(content.get("repeated") or ()),
        }
    )


def _picture(content: Mapping[str, Any]) -> PictureSpec:
    return PictureSpec(**_known(PictureSpec, content))


_SEVERITIES: Mapping[Any, Severity] = {severity.value: severity for severity in Severity}
_STATUSES = {status.value: status for status in AlertStatus}


def _status(word: str) -> AlertStatus:
    return _STATUSES.get(word, AlertStatus.FIRING)


def _value(content: Mapping[str, Any]) -> Value:
    number = content.get("number")
    return Value(**_known(Value, content) | {"number": float(number) if isinstance(number, str) else number})


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
