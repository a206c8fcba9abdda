"""`POST /api/silences`: what somebody wants silenced, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.alerts.service import SilenceRequest
from wxbridge.config.types import parse_duration
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import as_time
from wxbridge.core.matchers import parse_matchers
from wxbridge.web.answers import shortened

FIELDS = ("matchers", "duration", "ends_at", "starts_at", "comment", "created_by")
MATCHERS = 100
"""The most matchers of one silence."""
LONGEST = {"matchers": 1000, "comment": 2000, "created_by": 200}
"""Characters."""

LONGEST_TIME = 3653 * 86400.0
"""Seconds from its start, or from now, to its end: what is longer is a slip, or no time that a clock can show."""


def read_silence(data: Any, now: float) -> SilenceRequest:
    """Read a decoded body. It begins now (seconds since the epoch) where it does not say when.

    Raises:
        BadBody: with what was expected.
    """
    if not isinstance(data, dict):
        raise BadBody('A JSON object was expected: {"matchers": ["severity=\\"info\\""], "duration": "2h"}.')
    unknown = sorted(set(data) - set(FIELDS))
    if unknown:
        raise BadBody(f"Unknown field {shortened(unknown[0])!r}; there are {', '.join(FIELDS)}.")
    starts_at = _moment(data, "starts_at")
    begins = now if starts_at is None else starts_at
    ends_at = _end(data, begins)
    if ends_at <= max(now, begins):
        raise BadBody("The silence would be over already: its end must lie after its start, and after now.")
    if ends_at - min(now, begins) > LONGEST_TIME:
        raise BadBody("A silence may last, and have begun, at most ten years from now.")
    written = _matchers(data.get("matchers"))
    created_by, comment = _text(data, "created_by") or "api", _text(data, "comment")
    try:
        return SilenceRequest(parse_matchers(written), begins, ends_at, created_by, comment)
    except ValueError as error:
        raise BadBody(f"{error}.") from None


def _matchers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item.strip() for item in value):
        raise BadBody('`matchers` must be a list of one or more texts, such as ["severity=\\"info\\""].')
    if len(value) > MATCHERS or any(len(item) > LONGEST["matchers"] for item in value):
        raise BadBody(f"`matchers` may be {MATCHERS}, of {LONGEST['matchers']} characters each.")
    return tuple(value)


def _end(data: Mapping[str, Any], begins: float) -> float:
    duration, ends_at = data.get("duration"), _moment(data, "ends_at")
    if (duration is None) == (ends_at is None):
        raise BadBody("Say how long: either `duration`, such as 2h, or `ends_at`, such as 2026-02-01T18:00:00Z.")
    if ends_at is not None:
        return ends_at
    if not isinstance(duration, str):
        raise BadBody("`duration` must be a text such as 30m, 2h or 7d.")
    try:
        return begins + parse_duration(duration)
    except ValueError as error:
        raise BadBody(f"`duration`: {shortened(str(error))}") from None


def _moment(data: Mapping[str, Any], field: str) -> float | None:
    value = data.get(field)
    if value is None:
        return None
    moment = as_time(value)
    if moment is None:
        raise BadBody(f"`{field}` must be a time with its zone, such as 2026-02-01T18:00:00+08:00.")
    return moment.timestamp()


def _text(data: Mapping[str, Any], field: str) -> str:
    value = data.get(field)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST[field]:
        raise BadBody(f"`{field}` must be a text of at most {LONGEST[field]} characters.")
    return value.replace("\x00", "").strip()
