"""`POST /api/send`: a text, a picture, or both, to targets; as JSON or as a form with an upload."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Any

from aiohttp import BodyPartReader, web
from multidict import MultiDict

from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import read_json
from wxbridge.web.answers import read_body, shortened, too_slow

FIELDS = ("to", "text", "image", "mentions")
NAMES = 1000
"""The most names in `to` or `mentions`."""
LONGEST_NAME = 200
"""Characters of one of them."""
_FIELDS_AT_MOST = 2 * NAMES + 2
"""Of a form: `to` and `mentions` may come once for each name."""


@dataclass(frozen=True)
class Push:
    """What somebody asked to be sent. `image` is bytes, `image_url` is to be fetched."""

    to: tuple[str, ...]
    text: str
    image: bytes | None = None
    image_url: str | None = None
    mentions: tuple[str, ...] = ()


async def read_push(request: web.Request, limit: float) -> Push:
    """Read a request, within `limit` seconds.

    Raises:
        BadBody: with what was expected.
        Refused: the body did not arrive in time.
    """
    fields: dict[str, Any]
    if request.content_type == "multipart/form-data":
        fields = await _multipart(request, limit)
    elif request.content_type == "application/x-www-form-urlencoded":
        body = await read_body(request, limit)
        # `curl -d` calls everything a form.
        fields = _object(body) if body.lstrip().startswith(b"{") else await _form(request)
    else:
        fields = _object(await read_body(request, limit))
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise BadBody(f"Unknown field {shortened(unknown[0])!r}; there are to, text, image and mentions.")
    to = _names(fields.get("to"), "to")
    if not to:
        raise BadBody("`to` is missing: the name of a target, or a list of them.")
    text = fields.get("text") or ""
    if not isinstance(text, str):
        raise BadBody("`text` must be a string.")
    text = text.replace("\x00", "")
    image, url = _image(fields.get("image"))
    if not text.strip() and image is None and url is None:
        raise BadBody("There is nothing to send: give `text`, `image` or both.")
    return Push(to, text, image, url, _names(fields.get("mentions"), "mentions"))


def _object(body: bytes) -> dict[str, Any]:
    data = read_json(body)
    if not isinstance(data, dict):
        raise BadBody('A JSON object was expected: {"to": "ops", "text": "…"}.')
    return data


async def _form(request: web.Request) -> dict[str, Any]:
    """The fields of a form whose body was read."""
    try:
        return _gathered(MultiDict(await request.post()))
    except (ValueError, LookupError) as error:  # LookupError: a charset that nobody knows
        raise BadBody(f"The form cannot be read: {error}") from None


async def _multipart(request: web.Request, limit: float) -> dict[str, Any]:
    fields: MultiDict[Any] = MultiDict()
    left = request.client_max_size
    try:
        async with asyncio.timeout(limit):
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader) or not part.name:
                    raise BadBody("The form cannot be read: a part of it has no name.")
                if len(fields) >= _FIELDS_AT_MOST:
                    raise BadBody(f"The form has more than {_FIELDS_AT_MOST} fields.")
                # aiohttp limits each part, and what it unpacks to.
                content = bytes(await part.read(decode=True))
                left -= len(content)
                if left < 0:
                    raise web.HTTPRequestEntityTooLarge(request.client_max_size)
                fields.add(part.name, content if part.filename else content.decode())
    except TimeoutError:
        raise too_slow(limit) from None
    except (ValueError, LookupError, RuntimeError, web.RequestPayloadError) as error:
        # RuntimeError: an unknown encoding of a part
        raise BadBody(f"The form cannot be read: {error}") from None
    return _gathered(fields)


def _gathered(fields: MultiDict[Any]) -> dict[str, Any]:
    """A form's fields; of those that are lists, every one counts."""
    found: dict[str, Any] = dict(fields)
    for name in ("to", "mentions"):
        values = fields.getall(name, [])
        if len(values) > 1 and all(isinstance(value, str) for value in values):
            found[name] = ",".join(values)
    return found


def _names(value: Any, field: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadBody(f"`{field}` must be a name or a list of names.")
    names = tuple(dict.fromkeys(name.strip() for name in value if name.strip()))
    if len(names) > NAMES or any(len(name) > LONGEST_NAME for name in names):
        raise BadBody(f"`{field}` may hold {NAMES} names, of {LONGEST_NAME} characters each.")
    return names


def _image(value: Any) -> tuple[bytes | None, str | None]:
    if value is None or value == "":
        return None, None
    if isinstance(value, bytes):
        return value, None
    if isinstance(value, str):
        if value.startswith(("http://", "https://")):
            return None, value
        # `data:image/png;base64,…`, as browsers write it.
        head, comma, rest = value.partition(",")
        encoded = rest if comma and head.startswith("data:") and head.endswith(";base64") else value
        try:
            return base64.b64decode(encoded, validate=True), None
        except (binascii.Error, ValueError):
            pass  # told below, with what was expected
    raise BadBody("`image` must be an upload, base64, or an http(s) address.")
