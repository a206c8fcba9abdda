"""AlertGroup ↔ JSON, for keeping in the database what was said, so that it can be said again in other words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from wxbridge.core.model import Alert, AlertGroup, AlertStatus, PictureSpec, Severity, Value


def group_to_json(group: AlertGroup) -> dict[str, Any]:
    """What `group_from_json` reads. Holds plain JSON types only; infinities and NaN become strings.

    What is as by default is left out. Field by field: this is run for every alert, and walking dataclasses costs more
    than all the rest of taking one in.
    """
    return _given(
        source=group.source,
        group_key=group.group_key,
        title=group.title,
        alerts=[_alert_json(alert) for alert in group.alerts],
        truncated=group.truncated,
        text=group.text,
        dedupe=group.dedupe,
        dedupe_seconds=group.dedupe_seconds,
        recipients=list(group.recipients),
        still=[_alert_json(alert) for alert in group.still],
        pictures=[_picture_json(spec) for spec in group.pictures],
    )


_KEPT = (
    "source", "group_key", "title", "status", "name", "kind", "params", "number", "text", "link", "dedupe",
    "duration",
)  # fmt: skip
"""What is left out only where it is None."""


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value or (name in _KEPT and value is not None)}


def _alert_json(alert: Alert) -> dict[str, Any]:
    return _given(
        source=alert.source,
        status=alert.status.value,
        title=alert.title,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        values=[_value_json(value) for value in alert.values],
        starts_at=alert.starts_at.isoformat() if alert.starts_at else None,
        ends_at=alert.ends_at.isoformat() if alert.ends_at else None,
        link=alert.link,
        links=dict(alert.links),
        picture=_picture_json(alert.picture) if alert.picture else None,
        fingerprint=alert.fingerprint,
        sender=alert.sender,
        severity=alert.severity,
        is_test=alert.is_test,
        is_reminder=alert.is_reminder,
        state=alert.state,
        duration=alert.duration,
        is_once=alert.is_once,
        repeated=list(alert.repeated),
    )


def _value_json(value: Value) -> dict[str, Any]:
    number = value.number
    finite = number is None or number - number == 0
    return _given(
        name=value.name,
        number=number if finite else repr(number),
        text=value.text,
        labels=dict(value.labels),
        unit=value.unit,
    )


def _picture_json(spec: PictureSpec) -> dict[str, Any]:
    return _given(kind=spec.kind, params=_plain(spec.params), link=spec.link)


def _plain(value: Any) -> Any:
    """Arguments of a painter, without what JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return repr(value) if isinstance(value, float) and value - value != 0 else value


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
    names = _FIELDS[noun]
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
