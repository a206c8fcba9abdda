"""What monitors send → AlertGroup. Each source is one module with `parse`, and one line in the registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from wxbridge.errors import BadBody
from wxbridge.model import AlertGroup

MAX_DEPTH = 300
"""How deep a body may be nested: no monitor comes near, and what is read can then be written too."""

Parse = Callable[[bytes, Mapping[str, str]], AlertGroup]
"""Reads a posted body and its headers. Raises `BadBody` where nothing can be read."""


def read_json(body: bytes) -> Any:
    """Decode a JSON body, whatever its content type says.

    Raises:
        BadBody: it is empty, no UTF-8, no JSON, or nested too deeply.
    """
    if not body.strip():
        raise BadBody("The body is empty; a JSON object was expected.")
    try:
        text = body.decode("utf-8-sig")
        data = json.loads(text, parse_constant=_constant)
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
            _check_depth(data)
        return _without_surrogates(data) if r"\ud" in text.lower() else data
    except UnicodeDecodeError as error:
        raise BadBody(f"The body is not UTF-8 (byte {error.start}); a JSON object was expected.") from None
    except json.JSONDecodeError as error:
        raise BadBody(
            f"The body is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "a JSON object was expected.",
        ) from None
    except (RecursionError, ValueError):
        raise BadBody("The JSON is nested too deeply or holds a number too long to read.") from None


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise RecursionError


def _constant(name: str) -> float:
    return float(name.replace("Infinity", "inf"))


def _without_surrogates(data: Any) -> Any:
    r"""Replace what `\ud800` alone decodes to: no character, and nothing that a database or a wire takes."""
    if isinstance(data, str):
        return data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(data, list):
        return [_without_surrogates(item) for item in data]
    if isinstance(data, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in data.items()}
    return data


def as_text(value: Any) -> str:
    """A JSON value as text: strings as they are, null as nothing, the rest as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("\x00", "")
    return json.dumps(value, ensure_ascii=False)


def as_labels(value: Any) -> dict[str, str]:
    """A JSON object as labels; anything else is no labels."""
    return {as_text(name): as_text(text) for name, text in value.items()} if isinstance(value, dict) else {}


def as_number(value: Any) -> float | None:
    """A JSON number, or a string that is one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def as_time(value: Any) -> datetime | None:
    """An RFC 3339 time; None for Go's zero time, for one without a zone, and for anything else."""
    if not isinstance(value, str) or value.startswith("0001-"):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def free_text(source: str, data: Any) -> AlertGroup:
    """A readable body that is no alert: told as it stands."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, indent=1)
    return AlertGroup(source=source, group_key="", title=source, text=text.replace("\x00", ""))
