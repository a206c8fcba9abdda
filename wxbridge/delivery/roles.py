"""What a bridge does as the one that leads and as one that follows, where several share a database."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection

from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError, WxbridgeError
from wxbridge.core.leadership import Leadership, read_leader
from wxbridge.core.schema import forget_facts, read_facts, remember_fact

log = structlog.get_logger()

CHANGES_TOGETHER_SECONDS = 0.05
"""For which what others write is gathered, until it is read."""
RETRY_SECONDS = 1.0
MAX_ORDER_SECONDS = 120.0
"""After which nobody waits any more for what was ordered."""
_ORDER = "order:"


@dataclass(frozen=True)
class BridgeDuties:
    """What a bridge does when its role changes, and with what others have written."""

    lead: Callable[[], Awaitable[None]]
    """Begin what only who leads does. Raises `StorageError`; nothing has begun then."""
    step_down: Callable[[], Awaitable[None]]
    """End it; raises nothing."""
    renew: Callable[[Collection[str]], Awaitable[Collection[str]]]
    """Read again what others have written of some alerts; gives what is to be read once more. Raises `StorageError`."""
    refresh: Callable[[], Awaitable[None]]
    """Read again what is shown of the one that leads. Raises `StorageError`."""
    orders: Mapping[str, Callable[..., Awaitable[Any]]]
    """What may be ordered, by its name. They may raise `WxbridgeError`."""


class Orders:
    """What a bridge has done by the one that leads: the order lies in the database.

    Args:
        database: Where it lies; without one, or without `leadership`, everything is done here.
        leadership: Who leads.
    """

    def __init__(self, database: Database | None = None, leadership: Leadership | None = None) -> None:
        self._database, self._leadership = database, leadership or Leadership()

    @property
    def is_elsewhere(self) -> bool:
        """Whether another bridge is to do what this one is asked for."""
        return self._database is not None and not self._leadership.is_leading

    async def place(self, name: str, **about: Any) -> None:
        """Have something done by whoever leads. Raises `StorageError`."""
        assert self._database is not None, "orders are placed by a bridge that shares its database"  # noqa: S101
        key, now = f"{_ORDER}{secrets.token_hex(8)}", time.time()
        await self._database.run(lambda c: remember_fact(c, key, {"name": name, "about": about}, now))
        log.info("left to the bridge that leads", order=name)

    async def take(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Take what was ordered, the oldest first; what waited too long is dropped. Raises `StorageError`."""
        assert self._database is not None, "orders are taken where the database is shared"  # noqa: S101
        if not await self._database.read(lambda c: read_facts(c, _ORDER)):
            return []
        return await self._database.run(self._take, is_leaders=True)

    @staticmethod
    def _take(connection: Connection) -> list[tuple[str, Mapping[str, Any]]]:
        found = sorted(read_facts(connection, _ORDER).items(), key=lambda item: item[1][1])
        forget_facts(connection, [f"{_ORDER}{key}" for key, _ in found])
        oldest = time.time() - MAX_ORDER_SECONDS
        return [(value["name"], value["about"]) for _, (value, at) in found if at >= oldest]


class RoleKeeper:
    """Keeps a bridge in the role that the leadership gives it, and up with what other bridges write.

    Args:
        leadership: Who leads.
        database: Of all of them.
        orders: Of those that follow.
        duties: What is done.
    """

    def __init__(self, leadership: Leadership, database: Database, orders: Orders, duties: BridgeDuties) -> None:
        self._leadership, self._database, self._orders, self._duties = leadership, database, orders, duties
        self._led_epoch: int | None = None
        """Of the time of leading whose duties are done now; None while it follows."""
        self._role = asyncio.Event()
        self._changes = asyncio.Event()
        self._keys: set[str] = set()

    def start(self, url: str) -> None:
        """Begin to take part in the choice of who leads."""
        self._leadership.start(url=url, on_role=self._role.set, on_changes=self._hear)

    def _hear(self, keys: Collection[str]) -> None:
        self._keys.update(keys)
        self._changes.set()

    async def run(self) -> None:
        """Keep the role until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_role())
            group.create_task(self._keep_up())
            group.create_task(self._repeat_refresh())

    async def _keep_role(self) -> None:
        while True:
            self._role.clear()
            wanted = self._leadership.epoch if self._leadership.is_leading else None
            if self._led_epoch == wanted:
                await self._role.wait()
                continue
            if self._led_epoch is not None:
                self._led_epoch = None
                await self._duties.step_down()
                continue
            try:
                await self._duties.lead()
            except StorageError as error:
                log.error("cannot begin to lead yet", error=str(error))  # noqa: TRY400 - a trace says no more
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._led_epoch = wanted
                self._changes.set()

    async def _keep_up(self) -> None:
        while True:
            await self._changes.wait()
            self._changes.clear()
            keys, self._keys = self._keys, set()
            try:
                again = await self._duties.renew(keys)
                if self._led_epoch is not None:
                    await self._carry_out()
            except StorageError as error:
                log.warning("cannot read yet what others have written", error=str(error))
                again = keys
                self._changes.set()
                await asyncio.sleep(RETRY_SECONDS)
            if again:
                self._hear(again)
            await asyncio.sleep(CHANGES_TOGETHER_SECONDS)

    async def _carry_out(self) -> None:
        for name, about in await self._orders.take():
            log.info("done for another bridge", order=name)
            try:
                await self._duties.orders[name](**about)
            except WxbridgeError as error:
                log.warning("what another bridge wanted could not be done", order=name, error=str(error))
            except Exception:
                log.exception("what another bridge wanted failed in a way it should not", order=name)

    async def _repeat_refresh(self) -> None:
        while True:
            if self._led_epoch is None:
                try:
                    self._leadership.leader = await self._database.read(read_leader)
                    await self._duties.refresh()
                except StorageError as error:
                    log.debug("cannot read how the bridge is that leads", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)
