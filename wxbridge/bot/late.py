"""Makes what replies to commands when the first message comes: a bridge that only sends needs none of it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from wxbridge.bot import store
from wxbridge.bot.services import CommandServices, CommandSettings
from wxbridge.core.model import Inbound

if TYPE_CHECKING:
    from wxbridge.bot.dispatcher import CommandDispatcher


class LateDispatcher:
    """A `CommandDispatcher` with the commands that every bridge has, made when there is something to reply to."""

    def __init__(self, services: CommandServices, settings: CommandSettings) -> None:
        self._services, self._settings = services, settings

    @cached_property
    def _dispatcher(self) -> CommandDispatcher:
        from wxbridge.bot.dispatcher import CommandDispatcher

        return CommandDispatcher(self._services, self._settings)

    @property
    def _made(self) -> CommandDispatcher | None:
        return self._dispatcher if "_dispatcher" in vars(self) else None

    def configure(self, settings: CommandSettings) -> None:
        """Go on with another configuration; the commands that run end as they began."""
        self._settings = settings
        if self._made:
            self._made.configure(settings)

    async def on_inbound(self, inbound: Inbound) -> None:
        """Take a message; where it has commands they are on disk when this returns, and run in the background."""
        await self._dispatcher.on_inbound(inbound)

    async def recover(self) -> None:
        """Take up what is not replied to, where there is such a message. Raises `StorageError`."""
        if await self._services.database.run(store.has_open):
            await self._dispatcher.recover()

    async def wait_idle(self) -> None:
        """Wait until the commands that run now are over."""
        if self._made:
            await self._made.wait_idle()

    async def close(self) -> None:
        """End everything; what is not replied to is taken up by the next bridge."""
        if self._made:
            await self._made.close()
