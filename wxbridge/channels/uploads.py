"""Pictures and files that a service keeps under a name: uploaded once per content, however many messages carry them."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

import aiohttp

from wxbridge.channels.access_tokens import App
from wxbridge.channels.shrinking import shrink_picture
from wxbridge.core import imaging
from wxbridge.core.errors import Permanent, PictureError, describe_error
from wxbridge.core.model import PictureFile
from wxbridge.core.recent import RecentDict
from wxbridge.core.single_flight import SingleFlight

MAX_KNOWN_UPLOADS = 1000
_UploadKey = tuple[str, str, str]
"""An application's identity, the kind of file, and the hash of its content."""


@dataclass(frozen=True)
class MediaUpload:
    """What is uploaded: `kind` is `image` or `file`."""

    kind: str
    name: str
    data: bytes = field(repr=False)
    digest: str
    """The hash of its content."""


def make_upload(kind: str, name: str, data: bytes) -> MediaUpload:
    """Make an upload of some bytes."""
    return MediaUpload(kind, name, data, hashlib.sha256(data).hexdigest())


async def read_picture(body: PictureFile) -> bytes:
    """Read a picture's bytes. Raises `Permanent` where it cannot be read."""
    try:
        return await asyncio.to_thread(Path(body.path).read_bytes)
    except OSError as error:
        raise Permanent(f"the picture {body.name} cannot be read: {describe_error(error)}") from None


async def read_upload(body: PictureFile, limit: int, make_file: Callable[[str, bytes], MediaUpload]) -> MediaUpload:
    """Read a picture, made smaller where it has more bytes than `limit`; of what is none, `make_file` makes an upload.

    Raises:
        Permanent: it cannot be read, or is too large.
    """

    def make(data: bytes) -> MediaUpload:
        if imaging.sniff(data) is None:
            return make_file(body.name, data)
        return make_upload("image", body.name, shrink_picture(data, limit))

    try:
        return await asyncio.to_thread(make, await read_picture(body))
    except PictureError as error:
        raise Permanent(str(error)) from None


def add_file(form: aiohttp.FormData, field_name: str, name: str, data: bytes) -> None:
    """Add a file to a form, which was made with `quote_fields=False`: these services read its name as plain UTF-8."""
    name = re.sub(r'[\x00-\x1f"\\/]', "_", name) or "file"
    content_type = imaging.sniff(data) or "application/octet-stream"
    form.add_field(field_name, data, filename=name, content_type=content_type)


class UploadCache(Generic[App]):
    """What a service calls its uploads, by application and content. The same content is uploaded once at a time.

    Args:
        name: The service's.
        upload: Uploads something; gives what the service calls it.
        life: How long that is used, in seconds.
        wall: Seconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        upload: Callable[[App, MediaUpload], Awaitable[str]],
        *,
        life: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._upload, self._life, self._wall = upload, life, wall
        self._known = RecentDict[_UploadKey, tuple[str, float]](MAX_KNOWN_UPLOADS)
        """What the service calls it, and until when that is used (seconds since the epoch)."""
        self._uploads: SingleFlight[str] = SingleFlight(f"{name} upload")

    async def get_or_upload(self, application: App, upload: MediaUpload) -> str:
        """Give what the service calls a content. Raises what the upload raises."""
        key = _upload_key(application, upload)
        known, until = self._known.get(key, ("", 0.0))
        if known and until > self._wall():
            return known
        return await self._uploads.run(key, lambda: self._upload_new(application, upload))

    def forget(self, application: App, upload: MediaUpload) -> None:
        """Note that the service does not know it any more."""
        self._known.pop(_upload_key(application, upload), None)

    async def close(self) -> None:
        """End what is being uploaded."""
        await self._uploads.close()

    async def _upload_new(self, application: App, upload: MediaUpload) -> str:
        made = await self._upload(application, upload)
        self._known[_upload_key(application, upload)] = made, self._wall() + self._life
        return made


def _upload_key(application: App, upload: MediaUpload) -> _UploadKey:
    return application.identity, upload.kind, upload.digest
