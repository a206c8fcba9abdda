"""Bodies of HTML forms: `application/x-www-form-urlencoded`, and `multipart/form-data` as browsers write it."""

from __future__ import annotations

import base64
import re
from urllib.parse import parse_qs

from wxbridge.core.errors import BadBody
from wxbridge.core.text.normalise import clean_text

MAX_FORM_FIELDS = 100
"""How many fields a form may have."""

_NAME = re.compile(r'[;\s]name="([^"\r\n]*)"', re.IGNORECASE)
_FILE = re.compile(r'[;\s]filename="', re.IGNORECASE)
_TYPE = re.compile(r"^content-type:\s*([\w.+/-]+)", re.IGNORECASE | re.MULTILINE)


def read_form(body: bytes) -> dict[str, str]:
    """Decode a form, of which of the two kinds its first bytes tell.

    A field that is given several times is joined by commas; what is escaped and is no UTF-8 is replaced, for its
    sender will not send it again. An uploaded file becomes a `data:` address.

    Raises:
        BadBody: it is no UTF-8, or has more than `MAX_FORM_FIELDS` fields.
    """
    fields = _multipart(body) if is_multipart(body) else _urlencoded(body)
    return {clean_text(name): clean_text(text) for name, text in fields.items()}


def _urlencoded(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(
            body.decode("utf-8-sig"), keep_blank_values=True, errors="replace", max_num_fields=MAX_FORM_FIELDS
        )
    except UnicodeDecodeError as error:
        raise BadBody(f"The body is not UTF-8 (byte {error.start}); a form was expected.") from None
    except ValueError:
        raise BadBody(f"The form has more than {MAX_FORM_FIELDS} fields.") from None
    return {name: ",".join(values) for name, values in fields.items()}


def is_multipart(body: bytes) -> bool:
    """Whether a body is `multipart/form-data`. It begins with its own boundary, so that no header is needed."""
    return body.startswith(b"--") and b"content-disposition:" in body[:1000].lower()


def _multipart(body: bytes) -> dict[str, str]:
    boundary = body.partition(b"\r\n")[0]
    parts = (b"\r\n" + body).split(b"\r\n" + boundary)[1:]
    if len(parts) > MAX_FORM_FIELDS + 1:
        raise BadBody(f"The form has more than {MAX_FORM_FIELDS} fields.")
    fields: dict[str, str] = {}
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        headers = head[:2000].decode(errors="replace")
        name = _NAME.search(headers)
        if not name:
            continue
        if _FILE.search(headers):
            kind = _TYPE.search(headers)
            encoded = base64.b64encode(content).decode()
            text = f"data:{kind[1] if kind else 'application/octet-stream'};base64,{encoded}"
        else:
            text = content.decode(errors="replace")
        fields[name[1]] = f"{fields[name[1]]},{text}" if name[1] in fields else text
    return fields
