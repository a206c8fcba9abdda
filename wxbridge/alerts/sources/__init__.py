"""What monitors send → AlertGroup. Each source is one module with `parse`, and one line in the registry."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from wxbridge.core.errors import BadBody
from wxbridge.core.model import AlertGroup, PictureSpec

MAX_DEPTH = 300
"""How deep a body may be nested: no monitor comes near, and what is read can then be written too."""
MAX_ALERTS = 50_000
"""How many alerts of one body are read; what is above counts as truncated."""

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


def read_text(body: bytes) -> str:
    """A body as a plain text.

    Raises:
        BadBody: it is no UTF-8.
    """
    try:
        return body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadBody(f"The body is not UTF-8 (byte {error.start}); a text was expected.") from None


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
    """An RFC 3339 time, in UTC; None for Go's zero time, for one without a zone, and for anything else.

    What lies before 1970 or so late that no zone's calendar reaches it is no time of an alert either.
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


_FIRST_YEAR, _LAST_YEAR = 1970, 9000


def as_count(value: Any) -> int:
    """How many there are of something; 0 for what is no positive number."""
    number = as_number(value)
    return int(min(number, _COUNT_AT_MOST)) if number is not None and number > 0 else 0


_COUNT_AT_MOST = 10**9


def fetched(address: str) -> PictureSpec | None:
    """A picture to be fetched from an address (http, https or `data:`); None where there is none."""
    if not address:
        return None
    # A `data:` address is no link for a person, and far too long for one.
    return PictureSpec("fetch", {"url": address}, link=address if address.startswith(WEB) else None)


WEB = ("http://", "https://")
"""How an address begins that a person can open."""


def short_hash(value: Any) -> str:
    """A name for a JSON value that no other value has: 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def without_state(title: str) -> str:
    """`[Alerting] x` and `[OK] x` are of one rule, also where it has neither an id nor a name."""
    return re.sub(r"^\[[^\]]*\]\s*", "", title)


_READABLE = 1000
"""Characters up to which JSON is told in lines; beyond that they are more spaces than words."""


def free_text(source: str, data: Any, *, title: str = "", recipients: tuple[str, ...] = ()) -> AlertGroup:
    """A readable body that is no alert: told as it stands."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, indent=1)
    if not isinstance(data, str) and len(text) > _READABLE:
        text = json.dumps(data, ensure_ascii=False)
    text = text.replace("\x00", "")
    return AlertGroup(source=source, group_key="", title=title or source, text=text, recipients=recipients)
