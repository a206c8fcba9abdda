"""Pictures on their way to WeCom: uploaded in chunks, then sent by the id that comes back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from wxbridge.channels.wecom_bot import answers
from wxbridge.channels.wecom_bot.connection import BotConnection, BotNoAnswer
from wxbridge.channels.wecom_bot.frames import UPLOAD_CHUNK, UPLOAD_FINISH, UPLOAD_INIT, Frame, text
from wxbridge.core.errors import Transient

CHUNK = 512 * 1024
"""Bytes of a chunk before base64: the document's limit."""
SMALLEST = 5
"""Bytes; WeCom takes nothing smaller."""
_TRIES = 3
_KEPT = 2 * 86400.0
"""Seconds in which an id is used again: WeCom keeps a picture for three days."""
_KEPT_COUNT = 200
_AT_ONCE = 2
"""Uploads at the same time: more than that, WeCom is reported to answer with errors."""


class BotMediaCache:
    """The pictures that WeCom has, by their content: one that goes to several chats is uploaded once."""

    def __init__(self, *, patience: float, pause: float) -> None:
        self._patience = patience
        self._pause = pause
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def id_of(self, connection: BotConnection, name: str, data: bytes) -> str:
        """Give a picture's id, uploading it where WeCom has it not yet.

        Raises:
            SendError: WeCom does not take it.
            BotRequestNotSent: the connection was gone before the upload was through.
        """
        md5 = await asyncio.to_thread(_md5, data)
        async with self._turn:
            known = self._known.get(md5)
            if known is not None and known[0] > time.monotonic():
                return known[1]
            media_id = await self._upload(connection, name, data, md5)
        self._known[md5] = time.monotonic() + _KEPT, media_id
        if len(self._known) > _KEPT_COUNT:
            self._known.popitem(last=False)
        return media_id

    def forget(self, media_id: str) -> None:
        """WeCom says that it does not have this one."""
        for md5 in [md5 for md5, (_, known) in self._known.items() if known == media_id]:
            del self._known[md5]

    async def _upload(self, connection: BotConnection, name: str, data: bytes, md5: str) -> str:
        chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
        about = {
            "type": "image",
            "filename": name,
            "total_size": len(data),
            "total_chunks": len(chunks),
            "md5": md5,
        }
        upload_id = text((await self._ask(connection, UPLOAD_INIT, about)).body.get("upload_id"))
        if not upload_id:
            raise Transient("WeCom began no upload: its answer has no upload_id")
        for index, chunk in enumerate(chunks):
            # The type of the official SDK says that chunks count from 1; its code counts from 0.
            encoded = base64.b64encode(chunk).decode("ascii")
            body = {"upload_id": upload_id, "chunk_index": index, "base64_data": encoded}
            await self._insist(connection, body)
        media_id = text((await self._ask(connection, UPLOAD_FINISH, {"upload_id": upload_id})).body.get("media_id"))
        if not media_id:
            raise Transient("WeCom took the picture, but its answer has no media_id")
        return media_id

    async def _insist(self, connection: BotConnection, body: Mapping[str, Any]) -> None:
        """Send a chunk, again where WeCom had a passing fault: the same chunk twice does no harm."""
        for attempt in range(1, _TRIES + 1):
            try:
                await self._ask(connection, UPLOAD_CHUNK, body)
            except Transient:
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(self._pause * attempt)
            else:
                return

    async def _ask(self, connection: BotConnection, cmd: str, body: Mapping[str, Any]) -> Frame:
        try:
            answer = await connection.request(cmd, body, patience=self._patience)
        except BotNoAnswer as error:
            # No message was asked for yet: nobody can have seen anything.
            raise Transient(f"the picture was not uploaded: {error}") from error
        refusal = answers.classify(answer.errcode, answer.errmsg)
        if refusal is not None:
            raise refusal
        return answer


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
