"""Pictures on their way to WeCom: uploaded in chunks, then sent by the id that comes back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wxbridge.channels.wecom_bot import answers
from wxbridge.channels.wecom_bot.connection import BotConnection, BotNoAnswer
from wxbridge.channels.wecom_bot.frames import UPLOAD_CHUNK, UPLOAD_FINISH, UPLOAD_INIT, Frame, text
from wxbridge.core.errors import Transient
from wxbridge.core.recent import RecentDict

CHUNK_BYTES = 512 * 1024
"""Of a chunk before base64: the document's limit."""
MIN_MEDIA_BYTES = 5
"""WeCom takes nothing smaller."""
MAX_CHUNK_TRIES = 3
MEDIA_LIFE_SECONDS = 2 * 86400.0
"""How long an id is used: WeCom keeps a picture for three days."""
MAX_KNOWN_MEDIA = 200
MAX_CONCURRENT_UPLOADS = 2
"""More than that, WeCom is reported to answer with errors."""


@dataclass(frozen=True)
class _KnownPicture:
    media_id: str
    until: float
    """When it is to be uploaded again, in seconds of the monotonic clock."""


class BotMediaCache:
    """The pictures that WeCom has, by their content: one that goes to several chats is uploaded once."""

    def __init__(self, *, answer_seconds: float, pause_seconds: float) -> None:
        self.answer_seconds = answer_seconds
        self._pause_seconds = pause_seconds
        self._known = RecentDict[str, _KnownPicture](MAX_KNOWN_MEDIA)
        self._turn = asyncio.Semaphore(MAX_CONCURRENT_UPLOADS)

    async def get_or_upload(self, connection: BotConnection, name: str, data: bytes) -> str:
        """Give a picture's id, uploading it where WeCom has it not yet.

        Raises:
            SendError: WeCom does not take it.
            BotRequestNotSent: the connection was gone before the upload was through.
        """
        md5 = await asyncio.to_thread(_hash_md5, data)
        async with self._turn:
            known = self._known.get(md5)
            if known is not None and known.until > time.monotonic():
                return known.media_id
            media_id = await self._upload(connection, name, data, md5)
        self._known[md5] = _KnownPicture(media_id, time.monotonic() + MEDIA_LIFE_SECONDS)
        return media_id

    def forget(self, media_id: str) -> None:
        """Note that WeCom says it does not have this one."""
        for md5 in [md5 for md5, known in self._known.items() if known.media_id == media_id]:
            del self._known[md5]

    async def _upload(self, connection: BotConnection, name: str, data: bytes, md5: str) -> str:
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        about = {"type": "image", "filename": name, "total_size": len(data), "total_chunks": len(chunks), "md5": md5}
        upload_id = text((await self._ask(connection, UPLOAD_INIT, about)).body.get("upload_id"))
        if not upload_id:
            raise Transient("WeCom began no upload: its answer has no upload_id")
        for index, chunk in enumerate(chunks):
            # The type of the official SDK says that chunks count from 1; its code counts from 0.
            encoded = base64.b64encode(chunk).decode("ascii")
            body = {"upload_id": upload_id, "chunk_index": index, "base64_data": encoded}
            await self._send_chunk(connection, body)
        media_id = text((await self._ask(connection, UPLOAD_FINISH, {"upload_id": upload_id})).body.get("media_id"))
        if not media_id:
            raise Transient("WeCom took the picture, but its answer has no media_id")
        return media_id

    async def _send_chunk(self, connection: BotConnection, body: Mapping[str, Any]) -> None:
        """Send a chunk, again where WeCom had a passing fault: the same chunk twice does no harm."""
        for attempt in range(1, MAX_CHUNK_TRIES + 1):
            try:
                await self._ask(connection, UPLOAD_CHUNK, body)
            except Transient:
                if attempt == MAX_CHUNK_TRIES:
                    raise
                await asyncio.sleep(self._pause_seconds * attempt)
            else:
                return

    async def _ask(self, connection: BotConnection, cmd: str, body: Mapping[str, Any]) -> Frame:
        try:
            answer = await connection.request(cmd, body, seconds=self.answer_seconds)
        except BotNoAnswer as error:
            # No message was asked for yet: nobody can have seen anything.
            raise Transient(f"the picture was not uploaded: {error}") from error
        refusal = answers.classify(answer.errcode, answer.errmsg)
        if refusal is not None:
            raise refusal
        return answer


def _hash_md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
