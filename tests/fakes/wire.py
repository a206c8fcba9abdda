"""A TCP proxy that can be cut: what is sent then gets lost, and nobody is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

from tests.support import free_port


class Wire:
    """Leads to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = free_port()
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.mend()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def cut(self) -> None:
        """Let nothing through any more."""
        self._whole.clear()

    def mend(self) -> None:
        """Let new connections through; those from before the cut are ended."""
        for task in self._tasks:
            task.cancel()
        self._whole.set()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio complains of those of its own that are cancelled.
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            try:
                await self._whole.wait()
                other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._to)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._pump(reader, other_writer))
                        group.create_task(self._pump(other_reader, writer))
                finally:
                    other_writer.close()
            finally:
                writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self._whole.is_set():
                    await asyncio.Event().wait()
                writer.write(data)
                await writer.drain()
        writer.close()
