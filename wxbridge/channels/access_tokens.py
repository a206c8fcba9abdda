"""Access tokens: cached in the database per application, renewed before they expire, one fetch at a time each."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import structlog

from wxbridge.channels.answers import AnswerVerdict, Meaning
from wxbridge.channels.http import HttpService
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError, Transient
from wxbridge.core.schema import read_fact, remember_fact
from wxbridge.core.single_flight import SingleFlight

log = structlog.get_logger()

EXPIRY_MARGIN_SECONDS = 300.0
"""How long before its end a token is no longer used."""
REFETCH_PAUSE_SECONDS = 30.0
"""Between two fetches for one application: a fresh token that is refused is not mended by another."""
DEFAULT_TOKEN_SECONDS = 7200.0
"""How long a token is valid whose answer does not say."""


class Application(Protocol):
    """An application of a service, which gets tokens for its secret."""

    @property
    def identity(self) -> str:
        """What tells its tokens from others'. It gives nothing away: it is a hash."""

    @property
    def service(self) -> HttpService:
        """Where its requests go."""


App = TypeVar("App", bound=Application)


@dataclass(frozen=True)
class AccessToken:
    """An access token, and when it is to be replaced (seconds since the epoch)."""

    value: str = field(repr=False)
    until: float


def read_token(verdict: AnswerVerdict, service: HttpService, *, token: str, life: str, now: float) -> AccessToken:
    """Read a token in the answer to a request for one; `token` and `life` are what the service calls both there.

    `now` is seconds since the epoch.

    Raises:
        SendError: there is none.
    """
    verdict.require_sent(service.shown)
    value, seconds = str(verdict.data.get(token) or ""), verdict.data.get(life)
    if not value:
        raise Transient(f"{service.shown} gives no access token")
    valid = float(seconds) if isinstance(seconds, int) and seconds > 0 else DEFAULT_TOKEN_SECONDS
    # A short life (a private deployment's) must not be all margin.
    return AccessToken(value, now + max(valid - EXPIRY_MARGIN_SECONDS, valid / 2))


class TokenCache(Generic[App]):
    """The tokens of a service's applications. One that stalls keeps nobody but its own messages waiting.

    Args:
        name: The service's, which the database has them under.
        fetch: Asks the service for a token.
        wall: Seconds since the epoch.
        monotonic: Seconds that only grow.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        fetch: Callable[[App], Awaitable[AccessToken]],
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fact_prefix = f"{name} token:"
        self._database = database
        self._fetch = fetch
        self._wall = wall
        self._monotonic = monotonic
        self._known: dict[str, AccessToken] = {}
        self._fetches: SingleFlight[AccessToken] = SingleFlight(f"{name} token")
        self._fetched_at: dict[str, float] = {}

    async def get(self, application: App) -> str:
        """Give a token that is valid for some minutes yet. Raises what `fetch` raises."""
        known = self._known.get(application.identity)
        if known is not None and known.until > self._wall():
            return known.value
        return (await self._share(application, refused=None)).value

    async def renew(self, application: App, refused: str) -> str:
        """Give a token instead of one that was refused; fetched only where nobody has replaced it meanwhile.

        Raises:
            Transient: it was fetched so recently that another would be refused, too.
            SendError: what `fetch` raises.
        """
        known = self._known.get(application.identity)
        if known is not None and known.value != refused and known.until > self._wall():
            return known.value
        return (await self._share(application, refused)).value

    async def call(self, application: App, ask: Callable[[str], Awaitable[AnswerVerdict]]) -> AnswerVerdict:
        """Make a call with a token, which is renewed once where it is refused. Raises what `fetch` and `ask` raise."""
        token = await self.get(application)
        verdict = await ask(token)
        if verdict.meaning is Meaning.RENEW_TOKEN:
            verdict = await ask(await self.renew(application, token))
        return verdict

    async def close(self) -> None:
        """End what is being fetched."""
        await self._fetches.close()

    async def _share(self, application: App, refused: str | None) -> AccessToken:
        """Join the fetch that is under way for this application, or begin one."""
        return await self._fetches.run(application.identity, lambda: self._replace(application, refused))

    async def _replace(self, application: App, refused: str | None) -> AccessToken:
        identity = application.identity
        stored = await self._stored(identity)
        if stored is not None and stored.value != refused and stored.until > self._wall():
            self._known[identity] = stored
            return stored
        now = self._monotonic()
        if refused is not None and now - self._fetched_at.get(identity, -REFETCH_PAUSE_SECONDS) < REFETCH_PAUSE_SECONDS:
            raise Transient(f"{application.service.shown} refuses the token that it gave a moment ago")
        self._fetched_at[identity] = now
        token = self._known[identity] = await self._fetch(application)
        await self._store(identity, token)
        return token

    async def _stored(self, identity: str) -> AccessToken | None:
        try:
            value = await self._database.read(lambda c: read_fact(c, self._fact_prefix + identity))
        except StorageError as error:
            log.warning("a token cannot be looked up", error=str(error))
            return None
        return AccessToken(str(value["token"]), float(value["until"])) if isinstance(value, dict) else None

    async def _store(self, identity: str, token: AccessToken) -> None:
        value = {"token": token.value, "until": token.until}
        try:
            await self._database.run(lambda c: remember_fact(c, self._fact_prefix + identity, value, self._wall()))
        except StorageError as error:
            # It is good all the same; only the next start has to fetch another.
            log.warning("a token cannot be stored", error=str(error))
