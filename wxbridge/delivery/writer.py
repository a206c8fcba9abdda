"""Puts notifications into the outbox for many at once: those who ask while a commit is under way share the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.model import Accepted, Notification, Received, StoredAlong
from wxbridge.delivery import outbox, timeline

AT_ONCE = 200
"""How many who wait share a transaction at most, so that none of them waits long."""


@dataclass(frozen=True)
class _Request:
    items: Sequence[Notification]
    received: Received | None
    also: StoredAlong | None
    future: asyncio.Future[Accepted]


class Writer:
    """Use from one event loop. `dedupe_window` is in seconds."""

    def __init__(self, database: Database, *, dedupe_window: float, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._dedupe_window = dedupe_window
        self._clock = clock
        self._waiting: list[_Request] = []
        self._flushing: asyncio.Task[None] | None = None

    async def put(
        self, items: Sequence[Notification], *, received: Received | None = None, also: StoredAlong | None = None
    ) -> Accepted:
        """Store notifications, what led to them, and what else belongs to them; all is on disk when this returns.

        Raises:
            StorageError: they are not.
        """
        if not items and received is None and also is None:
            return Accepted(0, 0)
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(items, received, also, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="writer")
        return await future

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                answers = await self._store(batch)
            except StorageError as error:
                for each in batch:
                    if not each.future.done():
                        each.future.set_exception(StorageError(str(error)))
            except Exception as error:  # noqa: BLE001 - it belongs to one of them, who is found by asking singly
                await self._one_by_one(batch, error)
            else:
                for each, answer in zip(batch, answers, strict=True):
                    if not each.future.done():
                        each.future.set_result(answer)

    async def _one_by_one(self, batch: Sequence[_Request], error: Exception) -> None:
        for each in batch:
            if each.future.done():
                continue
            if len(batch) == 1:
                each.future.set_exception(error)
                continue
            try:
                answer = (await self._store([each]))[0]
            except Exception as own:  # noqa: BLE001 - it goes to the one whose it is
                if not each.future.done():
                    each.future.set_exception(own)
            else:
                if not each.future.done():
                    each.future.set_result(answer)

    async def _store(self, batch: Sequence[_Request]) -> list[Accepted]:
        def store(connection: Connection) -> list[Accepted]:
            now = self._clock()
            # What came in gets its id before what it leads to, which names it.
            came = [index for index, each in enumerate(batch) if each.received]
            first = timeline.next_id(connection) if came else 0
            ids: dict[int, int | None] = {index: first + count for count, index in enumerate(came)}
            answers = outbox.put_all(
                connection, [each.items for each in batch], now=now, dedupe_window=self._dedupe_window,
                came_in=[ids.get(index) for index in range(len(batch))],
            )  # fmt: skip
            posts = [(each.received, answer.queued) for each, answer in zip(batch, answers, strict=True)
                     if each.received]  # fmt: skip
            timeline.record_received(connection, posts, first=first, now=now)
            parts: dict[type[StoredAlong], list[StoredAlong]] = {}
            for each in batch:
                if each.also:
                    parts.setdefault(type(each.also), []).append(each.also)
            for kind, some in parts.items():
                kind.store_all(connection, some, now=now)
            return answers

        return await self._database.run(store)
