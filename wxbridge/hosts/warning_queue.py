"""Warnings of machines that wait to be accepted: while the database takes nothing, they are tried again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from wxbridge.alerts.sources.host import NAME
from wxbridge.core.errors import StorageError

log = structlog.get_logger()

MAX_PENDING_WARNINGS = 200
"""Warnings that wait to be accepted; beyond it the oldest are dropped, and logged."""

Accept = Callable[[str, bytes, Mapping[str, str]], Awaitable[Any]]
"""`AlertService.accept`. Raises `StorageError` where it should be tried again."""


class WarningQueue:
    """Hands warnings, each the body of a POST, to the alert service, in order."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._pending: list[bytes] = []
        self._delivering = asyncio.Lock()

    def add(self, body: bytes) -> None:
        """Queue a warning."""
        self._pending.append(body)
        if len(self._pending) > MAX_PENDING_WARNINGS:
            log.error("warnings of machines were dropped: they could not be stored", dropped=1)
            del self._pending[0]

    async def deliver(self) -> None:
        """Hand over what waits, as far as it is taken now; raises nothing."""
        async with self._delivering:
            while self._pending:
                body = self._pending[0]
                try:
                    await self._accept(NAME, body, {})
                except StorageError as error:
                    log.warning("a warning waits", error=str(error), waiting=len(self._pending))
                    return
                except Exception:
                    log.exception("a warning was refused")
                # Meanwhile others may have been added, and by `MAX_PENDING` taken out.
                if self._pending and self._pending[0] is body:
                    del self._pending[0]
