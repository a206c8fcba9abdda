"""Pictures and files of applications: uploaded once per content, however many messages carry them.

developer.work.weixin.qq.com/document/path/90253
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from wxbridge.channels.wecom.pictures import shrink_picture
from wxbridge.channels.wecom.tokens import WecomApplication
from wxbridge.core import imaging
from wxbridge.core.errors import Permanent, PictureError
from wxbridge.core.model import PictureFile
from wxbridge.core.single_flight import SingleFlight

MAX_PICTURE_BYTES = 10 * 1024 * 1024
MAX_FILE_BYTES = 20 * 1024 * 1024
"""Of any file but a picture."""
MEDIA_LIFE_SECONDS = 3 * 86400.0 - 3600.0
"""How long an upload is used: it is valid for three days."""
MAX_KNOWN_MEDIA = 1000
_MediaKey = tuple[str, str, str]
"""An application's identity, the kind of media, and the hash of its content."""


@dataclass(frozen=True)
class MediaUpload:
    """What is uploaded: `kind` is `image` or `file`."""

    kind: str
    name: str
    data: bytes = field(repr=False)
    digest: str
    """The hash of its content."""


@dataclass(frozen=True)
class _KnownMedia:
    media_id: str
    until: float
    """When it is to be uploaded again, in seconds since the epoch."""


UploadMedia = Callable[[WecomApplication, MediaUpload], Awaitable[str]]


async def read_upload(body: PictureFile) -> MediaUpload:
    """Read a picture, made smaller where WeCom takes no such large one.

    Raises:
        Permanent: it cannot be read, or is too large.
    """
    try:
        return await asyncio.to_thread(_read_upload, body)
    except OSError as error:
        raise Permanent(f"the picture {body.name} cannot be read: {error.strerror or error}") from None
    except PictureError as error:
        raise Permanent(str(error)) from None


def _read_upload(body: PictureFile) -> MediaUpload:
    data = Path(body.path).read_bytes()
    if imaging.sniff(data) is None:
        return make_file_upload(body.name, data)
    return _make_upload("image", body.name, shrink_picture(data, MAX_PICTURE_BYTES))


def make_file_upload(name: str, data: bytes) -> MediaUpload:
    """Make the upload of what is no picture.

    Raises:
        Permanent: it is too large.
    """
    if len(data) > MAX_FILE_BYTES:
        raise Permanent(f"{name} has {len(data):,} bytes; WeCom takes at most {MAX_FILE_BYTES:,}")
    return _make_upload("file", name, data)


def _make_upload(kind: str, name: str, data: bytes) -> MediaUpload:
    return MediaUpload(kind, name, data, hashlib.sha256(data).hexdigest())


def make_form(upload: MediaUpload) -> aiohttp.FormData:
    """Make the form of an upload; a new one for every request, as it can be sent only once."""
    # WeCom reads the name as plain UTF-8, and finds no file where it is encoded as RFC 5987 has it (`filename*`).
    form = aiohttp.FormData(quote_fields=False)
    name = re.sub(r'[\x00-\x1f"\\/]', "_", upload.name) or "file"
    content_type = imaging.sniff(upload.data) or "application/octet-stream"
    form.add_field("media", upload.data, filename=name, content_type=content_type)
    return form


class WecomMediaCache:
    """The media ids by application and content. The same content is uploaded once at a time."""

    def __init__(self, upload: UploadMedia, *, wall: Callable[[], float] = time.time) -> None:
        self._upload = upload
        self._wall = wall
        self._known: OrderedDict[_MediaKey, _KnownMedia] = OrderedDict()
        self._uploads: SingleFlight[str] = SingleFlight("wecom upload")

    async def get_or_upload(self, application: WecomApplication, upload: MediaUpload) -> str:
        """Give the media id of a content. Raises what the upload raises."""
        key = _media_key(application, upload)
        known = self._known.get(key)
        if known is not None and known.until > self._wall():
            return known.media_id
        return await self._uploads.run(key, lambda: self._upload_new(application, upload))

    def forget(self, application: WecomApplication, upload: MediaUpload) -> None:
        """Note that WeCom does not know it any more."""
        self._known.pop(_media_key(application, upload), None)

    async def close(self) -> None:
        """End what is being uploaded."""
        await self._uploads.close()

    async def _upload_new(self, application: WecomApplication, upload: MediaUpload) -> str:
        media_id = await self._upload(application, upload)
        self._known[_media_key(application, upload)] = _KnownMedia(media_id, self._wall() + MEDIA_LIFE_SECONDS)
        while len(self._known) > MAX_KNOWN_MEDIA:
            self._known.popitem(last=False)
        return media_id


def _media_key(application: WecomApplication, upload: MediaUpload) -> _MediaKey:
    return application.identity, upload.kind, upload.digest
