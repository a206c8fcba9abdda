"""Reading JSON that others send: a body into values, and a value into text, labels, a number, a time or a count."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from wxbridge.core.errors import BadBody
from wxbridge.core.text.normalise import clean_text, replace_surrogates

MAX_JSON_VALUES = 200_000
"""How many values a body may hold: five thousand alerts with twenty labels and annotations each have fewer."""
MAX_JSON_DEPTH = 300
"""How deep a body may be nested: no monitor comes near, and what is read can then be written too."""
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
"""Between which a time is believed: later ones no zone's calendar reaches."""
_MAX_COUNT = 10**9
_MAX_MENDED_CHARS = 1_000_000
"""Characters of a body that is looked through for what is not quite JSON; a longer one is a text at once."""
_MAX_UNSEEN_SHARE = 0.1
"""Of a text's characters that may be control characters or could not be decoded; what has more is no text."""
_MAX_EXACT = 2.0**53
"""From here on not every whole number is a float."""
_WHOLE = re.compile(r"[+-]?[0-9]+")
# No string begins at what an open one escapes, which would be looked through from there again.
_STRING = re.compile(r'(?<!\\)"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STRING_OR_COMMA = re.compile(rf"{_STRING.pattern}|,(?=\s*[}}\]])", re.DOTALL)
_LENIENT = json.JSONDecoder(strict=False)
"""Takes raw line ends and tabs in strings. `json.loads` would make one for each text."""
_NO_ESCAPE = re.compile(r'\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})')
_BACKSLASH = re.compile(r'\\(["\\])?')
_UNCLEAN_ESCAPE = re.compile(r"\\(?:[bfrt]|u(?:00[0189]|007f|20[26]|d[89a-f]))", re.IGNORECASE)
"""What stands in a JSON text for a character that `clean_json` takes out; finds others too."""


def read_json(body: bytes) -> Any:
    """Decode a JSON body, whatever its content type says.

    Raises:
        BadBody: it is empty, no UTF-8, no JSON, or nested too deeply.
    """
    if not body.strip():
        raise BadBody("The body is empty; a JSON object was expected.")
    try:
        text = body.decode("utf-8-sig")
        data = _load(text)
        return _map_texts(data, replace_surrogates) if r"\ud" in text.lower() else data
    except UnicodeDecodeError as error:
        raise BadBody(f"The body is not UTF-8 (byte {error.start}); a JSON object was expected.") from None
    except json.JSONDecodeError as error:
        raise BadBody(
            f"The body is not JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "a JSON object was expected.",
        ) from None
    except (RecursionError, ValueError):
        raise BadBody("The JSON is nested too deeply or holds a number too long to read.") from None


def read_json_or_text(body: bytes) -> Any:
    r"""Decode what somebody posted: JSON, what is nearly JSON, else the body as text (`read_text`).

    Nearly JSON is what scripts paste together: raw line ends in strings, lone backslashes (all of a string that has one
    stand for themselves then), commas before a closing bracket. All texts are clean (`clean_text`).

    Raises:
        BadBody: it is empty, `null`, `[]`, no text, or nested too deeply.
    """
    text = read_text(body)
    if not text:
        raise BadBody("The body is empty; a JSON object was expected.")
    try:
        data = _load(text, strict=False)
    except json.JSONDecodeError:
        try:
            data = _load(_STRING_OR_COMMA.sub(_mend, text), strict=False) if len(text) <= _MAX_MENDED_CHARS else text
        except (RecursionError, ValueError):
            return clean_text(text)
    except (RecursionError, ValueError):
        raise BadBody("The JSON is nested too deeply or holds a number too long to read.") from None
    if data is None or data in ([], ""):
        refuse_nothing("null")
    # To look through the text costs a hundredth of looking at each of its values.
    return data if _is_clean(text) else clean_json(data)


def refuse_nothing(text: str) -> None:
    """Raise `BadBody` where a body is JSON that says nothing: `null` or `[]`."""
    if text.strip() in ("null", "[]"):
        raise BadBody("There is nothing in the body (null, or an empty list); an alert or a text was expected.")


def read_text(body: bytes) -> str:
    """Decode a body as plain text, without blanks at its ends: UTF-8, UTF-16 with its mark, or GB 18030 (GBK).

    What is in none of them is UTF-8 with a few broken characters.

    Raises:
        BadBody: it is no text.
    """
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = body.decode("utf-16", errors="replace")
    else:
        text = _decode(body)
    text = text.lstrip("\ufeff").strip()
    seen = clean_text(text.replace("\r", " "))
    if len(text) - len(seen) + seen.count("\ufffd") > len(text) * _MAX_UNSEEN_SHARE:
        raise BadBody("The body is no text.")
    return text


def clean_json(data: Any) -> Any:
    """Make every text of a JSON value clean and storable (`clean_text`, `replace_surrogates`)."""
    return _map_texts(data, lambda text: clean_text(replace_surrogates(text)))


def _is_clean(text: str) -> bool:
    """Whether a JSON text holds, written out or escaped, nothing that `clean_json` would change."""
    return not _UNCLEAN_ESCAPE.search(text) and clean_text(replace_surrogates(text)) == text


def _map_texts(data: Any, change: Callable[[str], str]) -> Any:
    """Change every text of a JSON value, the names of its objects too."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, list):
        return [_map_texts(item, change) for item in data]
    if isinstance(data, dict):
        return {_map_texts(name, change): _map_texts(item, change) for name, item in data.items()}
    return data


def as_text(value: Any) -> str:
    """Write a JSON value as text: strings as they are, null as nothing, the rest as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("\x00", "")
    return str(value) if type(value) is int else json.dumps(value, ensure_ascii=False)


def as_labels(value: Any) -> dict[str, str]:
    """Read a JSON object as labels; anything else is no labels."""
    return {as_text(name): as_text(text) for name, text in value.items()} if isinstance(value, dict) else {}


def as_number(value: Any) -> float | None:
    """Read a JSON number, or a string that is one; None for anything else.

    A whole number that a float would not hold exactly is an `int`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
        if abs(number) < _MAX_EXACT or not (isinstance(value, int) or _WHOLE.fullmatch(str(value).strip())):
            return number
        return None if math.isinf(number) else int(value)
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


def _load(text: str, *, strict: bool = True) -> Any:
    if text.lstrip().startswith(("{", "[")):
        _check_count(text)
    data = json.loads(text) if strict else _LENIENT.decode(text)
    if text.count("[") + text.count("{") > MAX_JSON_DEPTH:
        _check_depth(data)
    return data


def _mend(match: re.Match[str]) -> str:
    """Write a string with a lone backslash as JSON does, and leave out a comma with nothing behind it."""
    found = match[0]
    if found == ",":
        return ""
    if not _NO_ESCAPE.search(found):
        return found
    return _BACKSLASH.sub(lambda escape: escape[0] if escape[1] else r"\\", found)


def _decode(body: bytes) -> str:
    for encoding in ("utf-8", "gb18030"):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    return body.decode(errors="replace")


def _check_count(text: str) -> None:
    """Raise `BadBody` where a JSON text holds too many values; it is not parsed for that."""
    if len(text) <= MAX_JSON_VALUES:
        return
    if _count_separators(text) > MAX_JSON_VALUES and _count_separators(_STRING.sub("", text)) > MAX_JSON_VALUES:
        raise BadBody(f"The JSON holds more than {MAX_JSON_VALUES:,} values.")


def _count_separators(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


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
