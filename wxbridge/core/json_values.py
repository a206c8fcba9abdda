"""Reading JSON that others send: a body into values, and a value into text, labels, a number, a time or a count."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from wxbridge.core.errors import BadBody

MAX_JSON_DEPTH = 300
"""How deep a body may be nested: no monitor comes near, and what is read can then be written too."""
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
"""Between which a time is believed: later ones no zone's calendar reaches."""
_MAX_COUNT = 10**9


def read_json(body: bytes) -> Any:
    """Decode a JSON body, whatever its content type says.

    Raises:
        BadBody: it is empty, no UTF-8, no JSON, or nested too deeply.
    """
    if not body.strip():
        raise BadBody("The body is empty; a JSON object was expected.")
    try:
        text = body.decode("utf-8-sig")
        data = json.loads(text, parse_constant=_parse_constant)
        if body.count(b"[") + body.count(b"{") > MAX_JSON_DEPTH:
            _check_depth(data)
        return _replace_surrogates(data) if r"\ud" in text.lower() else data
    except UnicodeDecodeError as error:
        raise BadBody(f"The body is not UTF-8 (byte {error.start}); a JSON object was expected.") from None
    except json.JSONDecodeError as error:
        raise BadBody(
            f"The body is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "a JSON object was expected.",
        ) from None
    except (RecursionError, ValueError):
        raise BadBody("The JSON is nested too deeply or holds a number too long to read.") from None


def read_text(body: bytes) -> str:
    """Decode a body as plain text, without blanks at its ends.

    Raises:
        BadBody: it is no UTF-8.
    """
    try:
        return body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadBody(f"The body is not UTF-8 (byte {error.start}); a text was expected.") from None


def as_text(value: Any) -> str:
    """Write a JSON value as text: strings as they are, null as nothing, the rest as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("\x00", "")
    return json.dumps(value, ensure_ascii=False)


def as_labels(value: Any) -> dict[str, str]:
    """Read a JSON object as labels; anything else is no labels."""
    return {as_text(name): as_text(text) for name, text in value.items()} if isinstance(value, dict) else {}


def as_number(value: Any) -> float | None:
    """Read a JSON number, or a string that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def as_time(value: Any) -> datetime | None:
    """Read an RFC 3339 time, in UTC; None for Go's zero time, for one without a zone, and for anything else.

    What lies before 1970 or after 9000 is no time of an alert either.
    """
    if not isinstance(value, str) or value.startswith("0001-"):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None or not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            return None
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def as_count(value: Any) -> int:
    """Read how many there are of something, at most 10⁹; 0 for what is no positive number."""
    number = as_number(value)
    return int(min(number, _MAX_COUNT)) if number is not None and number > 0 else 0


def _parse_constant(name: str) -> float:
    return float(name.replace("Infinity", "inf"))


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise RecursionError


def _replace_surrogates(data: Any) -> Any:
    r"""Replace what `\ud800` alone decodes to: no character, and nothing that a database or a wire takes."""
    if isinstance(data, str):
        return data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(data, list):
        return [_replace_surrogates(item) for item in data]
    if isinstance(data, dict):
        return {_replace_surrogates(name): _replace_surrogates(item) for name, item in data.items()}
    return data
