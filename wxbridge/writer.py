"""Puts notifications into the outbox for many at once: those who ask while a commit is under way share the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from wxbridge import outbox
from wxbridge.database import Database
from wxbridge.errors import StorageError
from wxbridge.model import Accepted, Notification

AT_ONCE = 200
"""How many who wait share a transaction at most, so that none of them waits long."""

_Waiting = tuple[Sequence[Notification], "asyncio.Future[Accepted]"]


class Writer:
    """Use from one event loop. `dedupe_window` is in seconds."""

    def __init__(self, database: Database, *, dedupe_window: float, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._dedupe_window = dedupe_window
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._flushing: asyncio.Task[None] | None = None

    async def put(self, items: Sequence[Notification]) -> Accepted:
        """Store notifications; they are on disk when this returns.

        Raises:
            StorageError: they are not.
        """
        if not items:
            return Accepted(0, 0)
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="writer")
        return await future

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                answers = await self._store([items for items, _ in batch])
            except StorageError as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(StorageError(str(error)))
            except Exception as error:  # noqa: BLE001 - it belongs to one of them, who is found by asking singly
                await self._one_by_one(batch, error)
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)

    async def _one_by_one(self, batch: Sequence[_Waiting], error: Exception) -> None:
        for items, future in batch:
            if future.done():
                continue
            if len(batch) == 1:
                future.set_exception(error)
                continue
            try:
                answer = (await self._store([items]))[0]
            except Exception as own:  # noqa: BLE001 - it goes to the one whose it is
                if not future.done():
                    future.set_exception(own)
            else:
                if not future.done():
                    future.set_result(answer)

    async def _store(self, requests: Sequence[Sequence[Notification]]) -> list[Accepted]:
        def store(connection: Connection) -> list[Accepted]:
            return outbox.put_all(connection, requests, now=self._clock(), dedupe_window=self._dedupe_window)

        return await self._database.run(store)
