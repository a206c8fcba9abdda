"""Looks every second whether what the bridge has open is what stands in the state directory.

Where it was deleted, nothing is accepted (503) until it is saved back, which is tried at each look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from wxbridge.core.database import Database
from wxbridge.core.errors import AlreadyRunning, StorageError
from wxbridge.core.state_lock import StateLock
from wxbridge.core.text.i18n import Language, say

log = structlog.get_logger()

STATE_CHECK_SECONDS = 1.0
_LOST = "part of the state directory was deleted or replaced; the bridge tries to save it back"
_NOT_SAVED = "the state cannot be saved back, nothing is accepted until then"
"""Events of the log."""


class StateGuard:
    """Keeps the state where it belongs.

    Args:
        lock: Of the state directory.
        database: Below it.
        tell: Queues a line for the person in charge; raises nothing.
        language: Of that line.
    """

    def __init__(
        self,
        lock: StateLock,
        database: Database,
        tell: Callable[[str], Awaitable[None]],
        language: Callable[[], Language],
    ) -> None:
        self._lock, self._database, self._tell, self._language = lock, database, tell, language
        self._told = ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(STATE_CHECK_SECONDS)

    async def look(self) -> None:
        """Compare, and mend what can be mended."""
        lock_lost, database_lost = await asyncio.to_thread(self._find_lost)
        if not lock_lost and not database_lost:
            self._told = ""
            return
        lost = "database" if database_lost else "lock"
        self._note(_LOST, lost=lost)
        try:
            await asyncio.to_thread(self._mend)
        except (OSError, StorageError, AlreadyRunning) as error:
            self._note(_NOT_SAVED, error=str(error))
            return
        log.error("the state directory is whole again", saved_back=lost)
        self._told = ""
        if database_lost:
            await self._tell(say("state.saved_back", self._language()))

    def _find_lost(self) -> tuple[bool, bool]:
        return not self._lock.is_in_place(), not self._database.is_in_place()

    def _mend(self) -> None:
        # First the locks: where another bridge runs there by now, the place is its own.
        self._lock.take()
        if not self._database.save_back():
            raise StorageError("another file is in the place of the database; stop the bridge and look which is right")

    def _note(self, event: str, **about: str) -> None:
        """Say it once for each time that it happens."""
        if event not in self._told:
            self._told += event
            log.critical(event, **about)
