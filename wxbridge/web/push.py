"""`POST /api/send`: a text, a picture, or both, to targets; as JSON or as a form with an upload."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import BodyPartReader, web
from multidict import MultiDict

from wxbridge.core.errors import BadBody, PictureError
from wxbridge.core.json_values import read_json
from wxbridge.core.model import Accepted, Picture, Text
from wxbridge.core.pictures import fetch_spec
from wxbridge.web.api_models import MAX_NAMES, PushBody
from wxbridge.web.limits import LIMITS
from wxbridge.web.responses import read_body, slow_body
from wxbridge.web.services import WebServices

MAX_FORM_FIELDS = 2 * MAX_NAMES + 2
"""`to` and `mentions` may come once for each name."""


async def store_push(services: WebServices, push: PushBody) -> Accepted:
    """Queue what somebody pushed; an uploaded picture is checked and stored first.

    Raises:
        BadBody: a target is unknown, or the picture is none.
        StorageError: it could not be stored.
    """
    bodies: list[Text | Picture] = []
    if push.text.strip():
        bodies.append(Text(push.text, push.mentions))
    if isinstance(push.image, bytes):
        try:
            bodies.append(await services.picture_store.save_checked(push.image))
        except PictureError as error:
            raise BadBody(f"`image`: {error}") from None
    elif push.image is not None:
        bodies.append(Picture(spec=fetch_spec(push.image)))
    return await services.alerts.push(push.to, bodies)


async def read_push(request: web.Request) -> PushBody:
    """Read a request.

    Raises:
        BadBody: with what was expected.
        RequestRefused: the body did not arrive in time.
    """
    if request.content_type == "multipart/form-data":
        return PushBody.read(await _read_multipart(request))
    body = await read_body(request)
    # `curl -d` calls everything a form.
    if request.content_type == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
        return PushBody.read(await _read_form(request))
    return PushBody.read(read_json(body))


async def _read_form(request: web.Request) -> dict[str, Any]:
    """Read the fields of a form whose body was read."""
    try:
        return _gather_lists(MultiDict(await request.post()))
    except (ValueError, LookupError) as error:  # LookupError: a charset that nobody knows
        raise BadBody(f"The form cannot be read: {error}") from None


async def _read_multipart(request: web.Request) -> dict[str, Any]:
    fields: MultiDict[Any] = MultiDict()
    left = request.client_max_size
    try:
        async with asyncio.timeout(request.app[LIMITS].body_seconds):
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader) or not part.name:
                    raise BadBody("The form cannot be read: a part of it has no name.")
                if len(fields) >= MAX_FORM_FIELDS:
                    raise BadBody(f"The form has more than {MAX_FORM_FIELDS} fields.")
                # aiohttp limits each part, and what it unpacks to.
                content = bytes(await part.read(decode=True))
                left -= len(content)
                if left < 0:
                    raise web.HTTPRequestEntityTooLarge(request.client_max_size)
                fields.add(part.name, content if part.filename else content.decode())
    except TimeoutError:
        raise slow_body(request) from None
    except (ValueError, LookupError, RuntimeError, web.RequestPayloadError) as error:
        # RuntimeError: an unknown encoding of a part
        raise BadBody(f"The form cannot be read: {error}") from None
    return _gather_lists(fields)


def _gather_lists(fields: MultiDict[Any]) -> dict[str, Any]:
    """Gather a form's fields; of those that are lists, every one counts."""
    found: dict[str, Any] = dict(fields)
    for name in ("to", "mentions"):
        values = fields.getall(name, [])
        if len(values) > 1 and all(isinstance(value, str) for value in values):
            found[name] = ",".join(values)
    return found
