"""Tells open consoles which parts of the bridge have changed: one look a second for all of them, none for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import suppress

import structlog

from wxbridge.core.errors import StorageError
from wxbridge.web.services import WebServices

log = structlog.get_logger()

POLL_SECONDS = 1.0
PING_SECONDS = 25.0
"""After which a silent stream says that it is there, so that nobody on the way closes it."""
MAX_READERS = 100
"""Streams at once."""
ALL = frozenset({"all"})
"""Stands for every part."""

Marks = Mapping[str, Hashable]
"""By part, something that changes whenever the part does."""


class ChangeFeed:
    """Tells open pages the names of the parts that change. The marks are read while somebody listens."""

    def __init__(self, services: WebServices) -> None:
        self._services = services
        self._written: Hashable = None
        self._stored: Marks = {}
        self._readers: set[asyncio.Queue[frozenset[str] | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def _read_marks(self) -> Marks:
        """Read the marks as they are now; those of a database that does not answer are as they were.

        Where nobody has written, that is one trivial query.
        """
        services = self._services
        with suppress(StorageError):
            written = await services.database.read_write_mark()
            if written != self._written:
                self._stored = {
                    "outbox": await services.outbox.read_change_mark(),
                    "alerts": await services.alerts.read_change_mark(),
                    "jobs": await services.jobs.read_change_mark(),
                }
                self._written = written
        return {**self._stored, **self._in_memory()}

    def _in_memory(self) -> Marks:
        config, statuses = self._services.state, self._services.channels.statuses()
        hosts = self._services.hosts.list_hosts()
        return {
            "channels": tuple(
                (name, status.state, status.detail, status.account, status.qrcode) for name, status in statuses.items()
            ),
            "config": (config.loaded_at, config.problems, config.later),
            "host": tuple((host.name, host.history.raw.at[-1:].tobytes(), host.silent_since) for host in hosts),
        }

    @property
    def is_full(self) -> bool:
        """Whether nobody more can listen."""
        return self._closed or len(self._readers) >= MAX_READERS

    async def listen(self) -> AsyncIterator[frozenset[str]]:
        """Give the parts that change, as they do; an empty set is a sign of life. Ends where the server does.

        First comes `ALL`: what changed while the page was on its way is in it, and whatever changes after is told.
        """
        reader: asyncio.Queue[frozenset[str] | None] = asyncio.Queue()
        self._readers.add(reader)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="console")
        else:
            reader.put_nowait(ALL)
        try:
            while not self._closed:
                try:
                    parts = await asyncio.wait_for(reader.get(), PING_SECONDS)
                except TimeoutError:
                    parts = frozenset()
                if parts is None:
                    return
                yield parts
        finally:
            self._readers.discard(reader)
            if not self._readers and self._task is not None:
                self._task.cancel()
                self._task = None

    def close(self) -> None:
        """End every stream, and take no more. May be called again."""
        self._closed = True
        for reader in self._readers:
            reader.put_nowait(None)

    async def _watch(self) -> None:
        before: Marks | None = None
        while True:
            try:
                now = await self._read_marks()
            except Exception:
                log.exception("what changed cannot be told to open consoles")
                now = before or {}
            parts = ALL if before is None else frozenset(name for name in now if now[name] != before.get(name))
            if parts:
                for reader in self._readers:
                    reader.put_nowait(parts)
            before = now
            await asyncio.sleep(POLL_SECONDS)
