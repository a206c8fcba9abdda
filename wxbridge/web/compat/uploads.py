"""Files that are uploaded first and named by a later message: pictures are kept, of others their name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from wxbridge.core.errors import BadBody, PictureError
from wxbridge.core.imaging import sniff
from wxbridge.web.services import SERVICES

_UPLOAD = re.compile(r"data:[^,]*;base64,(.*)", re.DOTALL)
_NO_PICTURE = "no-picture"


async def store_upload(request: web.Request, fields: Mapping[str, Any]) -> str:
    """Keep the first file of a form and give its `media_id`; a file that is no picture is not kept.

    It is there for a day, as all pictures that no message names.

    Raises:
        BadBody: there is no file, or it begins like a picture and is none.
        StorageError: the disk refuses it.
    """
    found = next((match for value in fields.values() if (match := _UPLOAD.fullmatch(str(value)))), None)
    if found is None:
        raise BadBody("There is no file in the form.")
    try:
        content = base64.b64decode(found[1])
    except (binascii.Error, ValueError):
        raise BadBody("The file cannot be read.") from None
    if sniff(content) is None:
        return _NO_PICTURE
    try:
        picture = await request.app[SERVICES].picture_store.save_checked(content)
    except PictureError as error:
        raise BadBody(f"{error}.") from None
    return picture.file or _NO_PICTURE


async def fetch_upload(request: web.Request, media_id: str) -> None:
    """Have a picture here for `read_upload` that was uploaded to another machine. Raises `StorageError`."""
    await request.app[SERVICES].picture_store.look_up(media_id)


def read_upload(request: web.Request, media_id: str) -> str:
    """Give a picture that was uploaded, as a `data:` address. Raises `BadBody` where there is none of this id."""
    path = request.app[SERVICES].picture_store.find(media_id)
    if path is None:
        raise BadBody("`media_id` names no picture that was uploaded here within a day.")
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
