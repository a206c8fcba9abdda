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

from wxbridge.channels.wecom.pictures import within
from wxbridge.channels.wecom.tokens import WecomApplication
from wxbridge.core import imaging
from wxbridge.core.errors import Permanent, PictureError
from wxbridge.core.model import PictureFile

PICTURE_LIMIT = 10 * 1024 * 1024
"""Bytes of a picture."""
FILE_LIMIT = 20 * 1024 * 1024
"""Bytes of any other file."""
LIFE = 3 * 86400.0 - 3600.0
"""Seconds for which an upload is used: it is valid for three days."""
_KEPT = 1000
_Key = tuple[str, str, str]


@dataclass(frozen=True)
class MediaUpload:
    """What is uploaded: `kind` is `image` or `file`."""

    kind: str
    name: str
    data: bytes = field(repr=False)
    digest: str


UploadOne = Callable[[WecomApplication, MediaUpload], Awaitable[str]]


async def read(body: PictureFile) -> MediaUpload:
    """Read a picture, made smaller where WeCom takes no such large one.

    Raises:
        Permanent: it cannot be read, or is too large.
    """
    try:
        return await asyncio.to_thread(_read, body)
    except OSError as error:
        raise Permanent(f"the picture {body.name} cannot be read: {error.strerror or error}") from None
    except PictureError as error:
        raise Permanent(str(error)) from None


def _read(body: PictureFile) -> MediaUpload:
    data = Path(body.path).read_bytes()
    if imaging.sniff(data) is None:
        return file_of(body.name, data)
    return _upload("image", body.name, within(data, PICTURE_LIMIT))


def file_of(name: str, data: bytes) -> MediaUpload:
    """What is no picture.

    Raises:
        Permanent: it is too large.
    """
    if len(data) > FILE_LIMIT:
        raise Permanent(f"{name} has {len(data):,} bytes; WeCom takes at most {FILE_LIMIT:,}")
    return _upload("file", name, data)


def _upload(kind: str, name: str, data: bytes) -> MediaUpload:
    return MediaUpload(kind, name, data, hashlib.sha256(data).hexdigest())


def form_of(upload: MediaUpload) -> aiohttp.FormData:
    """The form of an upload; a new one for every request, as it can be sent only once."""
    # WeCom reads the name as plain UTF-8, and finds no file where it is encoded as RFC 5987 has it (`filename*`).
    form = aiohttp.FormData(quote_fields=False)
    name = re.sub(r'[\x00-\x1f"\\/]', "_", upload.name) or "file"
    content_type = imaging.sniff(upload.data) or "application/octet-stream"
    form.add_field("media", upload.data, filename=name, content_type=content_type)
    return form


class WecomMediaCache:
    """The media ids by application and content. The same content is uploaded once at a time."""

    def __init__(self, upload: UploadOne, *, wall: Callable[[], float] = time.time) -> None:
        self._upload = upload
        self._wall = wall
        self._known: OrderedDict[_Key, tuple[str, float]] = OrderedDict()
        self._under_way: dict[_Key, asyncio.Task[str]] = {}

    async def get(self, application: WecomApplication, upload: MediaUpload) -> str:
        """The media id of a content. Raises what the upload raises."""
        key = _key(application, upload)
        media_id, until = self._known.get(key, ("", 0.0))
        if until > self._wall():
            return media_id
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(application, upload), name="wecom upload")
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def forget(self, application: WecomApplication, upload: MediaUpload) -> None:
        """WeCom does not know it any more."""
        self._known.pop(_key(application, upload), None)

    async def close(self) -> None:
        """End what is being uploaded."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, application: WecomApplication, upload: MediaUpload) -> str:
        media_id = await self._upload(application, upload)
        self._known[_key(application, upload)] = (media_id, self._wall() + LIFE)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return media_id

    def _ended(self, key: _Key, task: asyncio.Task[str]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # those who waited have had it


def _key(application: WecomApplication, upload: MediaUpload) -> _Key:
    return application.identity, upload.kind, upload.digest
