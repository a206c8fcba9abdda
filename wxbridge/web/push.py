"""`POST /api/send`: a text, a picture, or both, to targets; as JSON or as a form with an upload."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, web

from wxbridge.errors import BadBody
from wxbridge.sources import read_json


@dataclass(frozen=True)
class Push:
    """What somebody asked to be sent. `image` is bytes, `image_url` is to be fetched."""

    to: tuple[str, ...]
    text: str
    image: bytes | None = None
    image_url: str | None = None
    mentions: tuple[str, ...] = ()


async def read_push(request: web.Request) -> Push:
    """Read a request.

    Raises:
        BadBody: with what was expected.
    """
    fields: dict[str, Any]
    if request.content_type == "multipart/form-data":
        fields = await _multipart(request)
    elif request.content_type == "application/x-www-form-urlencoded":
        fields = await _form(request)
    else:
        data = read_json(await request.read())
        if not isinstance(data, dict):
            raise BadBody('A JSON object was expected: {"to": "ops", "text": "…"}.')
        fields = data
    unknown = sorted(set(fields) - {"to", "text", "image", "mentions", "token"})
    if unknown:
        raise BadBody(f"Unknown field {unknown[0]!r}; there are to, text, image and mentions.")
    to = _names(fields.get("to"), "to")
    if not to:
        raise BadBody("`to` is missing: the name of a target, or a list of them.")
    text = fields.get("text") or ""
    if not isinstance(text, str):
        raise BadBody("`text` must be a string.")
    image, url = _image(fields.get("image"))
    if not text.strip() and image is None and url is None:
        raise BadBody("There is nothing to send: give `text`, `image` or both.")
    return Push(to, text, image, url, _names(fields.get("mentions"), "mentions"))


async def _form(request: web.Request) -> dict[str, Any]:
    try:
        return dict(await request.post())
    except (ValueError, LookupError) as error:  # LookupError: a charset that nobody knows
        raise BadBody(f"The form cannot be read: {error}") from None


async def _multipart(request: web.Request) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or not part.name:
                continue
            content = bytes(await part.read(decode=True))
            fields[part.name] = content if part.filename else content.decode()
    except (ValueError, LookupError, RuntimeError) as error:  # RuntimeError: an unknown encoding of a part
        raise BadBody(f"The form cannot be read: {error}") from None
    return fields


def _names(value: Any, field: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadBody(f"`{field}` must be a name or a list of names.")
    return tuple(name.strip() for name in value if name.strip())


def _image(value: Any) -> tuple[bytes | None, str | None]:
    if value is None or value == "":
        return None, None
    if isinstance(value, bytes):
        return value, None
    if isinstance(value, str):
        if value.startswith(("http://", "https://", "data:")):
            return None, value
        try:
            return base64.b64decode(value, validate=True), None
        except binascii.Error:
            pass  # told below, with what was expected
    raise BadBody("`image` must be an upload, base64, or an http(s) address.")
