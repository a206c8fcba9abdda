"""Access tokens: cached in the database per application, renewed before they expire, one fetch at a time each."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection

from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError, Transient
from wxbridge.core.schema import read_facts, remember_fact

log = structlog.get_logger()

MARGIN = 300.0
"""Seconds before its end in which a token is no longer used."""
PAUSE = 30.0
"""Seconds between two fetches for one application: a fresh token that is refused is not mended by another."""
_FACT = "wecom token:"


@dataclass(frozen=True)
class WecomApplication:
    """A WeCom application, as it is spoken to."""

    base_url: str
    corp_id: str
    secret: str = field(repr=False)
    agent_id: int
    ca: Path | None = None

    @property
    def identity(self) -> str:
        """What tells its tokens from others'. It gives nothing away: it is a hash."""
        return hashlib.sha256(f"{self.base_url}\0{self.corp_id}\0{self.secret}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class AccessToken:
    """An access token, and when it is to be replaced (seconds since the epoch)."""

    value: str = field(repr=False)
    until: float


Fetch = Callable[[WecomApplication], Awaitable[tuple[str, float]]]
"""Ask the service for a token: its value, and the seconds that it is valid."""


class TokenCache:
    """The tokens of all applications. An application that stalls keeps nobody but its own messages waiting."""

    def __init__(
        self,
        database: Database,
        fetch: Fetch,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._fetch = fetch
        self._wall = wall
        self._monotonic = monotonic
        self._known: dict[str, AccessToken] = {}
        self._under_way: dict[str, asyncio.Task[AccessToken]] = {}
        self._fetched: dict[str, float] = {}

    async def get(self, application: WecomApplication) -> str:
        """A token that is valid for some minutes yet. Raises what `fetch` raises."""
        known = self._known.get(application.identity)
        if known is not None and known.until > self._wall():
            return known.value
        return (await self._share(application, refused=None)).value

    async def renew(self, application: WecomApplication, refused: str) -> str:
        """A token instead of one that was refused; fetched only where nobody has replaced it meanwhile.

        Raises:
            Transient: it was fetched so recently that another would be refused, too.
            SendError: what `fetch` raises.
        """
        known = self._known.get(application.identity)
        if known is not None and known.value != refused and known.until > self._wall():
            return known.value
        return (await self._share(application, refused)).value

    async def close(self) -> None:
        """End what is being fetched."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _share(self, application: WecomApplication, refused: str | None) -> AccessToken:
        """Join the fetch that is under way for this application, or begin one."""
        task = self._under_way.get(application.identity)
        if task is None:
            task = asyncio.create_task(self._replace(application, refused), name="wecom token")
            self._under_way[application.identity] = task
            task.add_done_callback(lambda done: self._ended(application.identity, done))
        # Whoever waits may be cancelled without taking the token from the others.
        return await asyncio.shield(task)

    def _ended(self, identity: str, task: asyncio.Task[AccessToken]) -> None:
        self._under_way.pop(identity, None)
        if not task.cancelled():
            task.exception()  # those who waited have had it

    async def _replace(self, application: WecomApplication, refused: str | None) -> AccessToken:
        identity = application.identity
        stored = await self._stored(identity)
        if stored is not None and stored.value != refused and stored.until > self._wall():
            self._known[identity] = stored
            return stored
        now = self._monotonic()
        if refused is not None and now - self._fetched.get(identity, -PAUSE) < PAUSE:
            raise Transient(f"WeCom refuses the token that it gave application {application.agent_id} a moment ago")
        self._fetched[identity] = now
        value, life = await self._fetch(application)
        # A short life (a private deployment's) must not be all margin.
        token = AccessToken(value, self._wall() + max(life - MARGIN, life / 2))
        self._known[identity] = token
        await self._store(identity, token)
        return token

    async def _stored(self, identity: str) -> AccessToken | None:
        def read(connection: Connection) -> Any:
            return read_facts(connection, _FACT + identity).get("")

        try:
            found = await self._database.read(read)
        except StorageError as error:
            log.warning("a token cannot be looked up", error=str(error))
            return None
        value = found[0] if found else None
        return AccessToken(str(value["token"]), float(value["until"])) if isinstance(value, dict) else None

    async def _store(self, identity: str, token: AccessToken) -> None:
        value = {"token": token.value, "until": token.until}
        try:
            await self._database.run(lambda c: remember_fact(c, _FACT + identity, value, self._wall()))
        except StorageError as error:
            # It is good all the same; only the next start has to fetch another.
            log.warning("a token cannot be stored", error=str(error))
