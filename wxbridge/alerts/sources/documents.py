"""Bodies whose shape is not known beforehand: JSON, a form, or a plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wxbridge.alerts.sources.forms import is_multipart, read_form
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import clean_json, read_json, read_json_or_text, read_text, refuse_nothing
from wxbridge.core.text.normalise import clean_text


def read_document(body: bytes, headers: Mapping[str, str]) -> Any:
    """Decode a body. The content type decides only where the body itself does not tell.

    `curl -d '{…}'` says that it sends a form, and plain texts come with every content type.

    Raises:
        BadBody: it says nothing, or is no text.
    """
    kind = headers.get("Content-Type", headers.get("content-type", "")).partition(";")[0].strip().lower()
    is_form = kind != "text/plain" and re.match(rb"[\w.%+-]{1,100}=", body)
    if is_multipart(body) or is_form:
        return _inner(read_form(body))
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if kind.endswith("json") or not start or start in (b"{", b"[", b'"', b"\xff", b"\xfe"):
        return read_json_or_text(body)
    text = read_text(body)
    refuse_nothing(text)
    return clean_text(text)


def _inner(fields: dict[str, str]) -> Any:
    """A form's fields, or the JSON that senders (GitHub, Uptime Kuma) put into one of them."""
    for name in ("payload", "data"):
        inner = unpack_json(fields.get(name))
        if isinstance(inner, dict | list):
            return inner
    return fields


def unpack_json(value: Any) -> Any:
    """JSON that came as a string (in a form, or in a macro of Zabbix's), else the value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return clean_json(read_json(value.encode()))
    except BadBody:
        return value


_MACRO = re.compile(r"\{[$#?]?[A-Z][A-Z0-9_]*(?:\.[\w\"]+)*(?::[^{}]*)?\}|\*UNKNOWN\*")


def is_macro(value: Any) -> bool:
    """Whether a value is a macro of Zabbix's that stands for nothing: `{EVENT.UPDATE.MESSAGE}`, `{$ZABBIX.URL}`."""
    return isinstance(value, str) and value[:1] in ("{", "*") and _MACRO.fullmatch(value.strip()) is not None


def drop_macros(document: Any) -> Any:
    """Replace macros that stand for nothing by null, wherever they stand."""
    if isinstance(document, dict):
        return {name: drop_macros(value) for name, value in document.items()}
    if isinstance(document, list):
        return [drop_macros(value) for value in document]
    return None if is_macro(document) else document
