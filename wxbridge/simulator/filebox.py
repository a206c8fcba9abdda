"""FileBox, the JSON in which Wechaty carries pictures and files, read and written."""

from __future__ import annotations

import base64
import binascii
import io
import json
import mimetypes
from typing import Any

from PIL import Image, UnidentifiedImageError

from wxbridge.simulator.world import SimulatedFile

BASE64_BOX = 1


class FileBoxError(ValueError):
    """A FileBox that a TypeScript gateway would refuse; the text says why."""


def inspect(name: str, data: bytes) -> SimulatedFile:
    """Make a file of bytes: a picture where Pillow can read one, else a file of the type its name says.

    Raises:
        FileBoxError: there are no bytes.
    """
    if not data:
        raise FileBoxError("The file is empty.")
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
            width, height = image.size
            content_type = Image.MIME.get(image.format or "", "")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        width, height, content_type = 0, 0, ""
    guessed, _ = mimetypes.guess_type(name)
    return SimulatedFile(name or "file", content_type or guessed or "application/octet-stream", data, width, height)


def decode(text: str) -> SimulatedFile:
    """Read the JSON of a base64 FileBox.

    Raises:
        FileBoxError: it is no JSON object, carries no base64 (a URL FileBox, say), or is empty.
    """
    try:
        box: Any = json.loads(text)
    except ValueError as error:
        raise FileBoxError(f"The file box is no JSON: {error}") from error
    if not isinstance(box, dict):
        raise FileBoxError("The file box is no JSON object.")
    kind = box.get("boxType", box.get("type"))
    if kind != BASE64_BOX:
        raise FileBoxError(f"Unknown filebox json object{{type}}: {kind!r} (only base64 boxes are taken).")
    payload, name = box.get("base64"), box.get("name")
    if not isinstance(payload, str) or not isinstance(name, str):
        raise FileBoxError("no base64 data")
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileBoxError(f"The base64 of the file box cannot be read: {error}") from error
    return inspect(name, data)


def encode(media: SimulatedFile) -> str:
    """Write the JSON of a base64 FileBox."""
    return json.dumps(
        {
            "boxType": BASE64_BOX,
            "type": BASE64_BOX,
            "name": media.name,
            "metadata": {},
            "mimeType": media.content_type,
            "base64": base64.b64encode(media.data).decode("ascii"),
        }
    )
