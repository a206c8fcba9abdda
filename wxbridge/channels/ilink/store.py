"""What is kept of each person, all of it private: their login, the place in what they wrote, their send window."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace

from wxbridge.channels.ilink.client import Credentials
from wxbridge.channels.ilink.window import SendWindow
from wxbridge.core.database import Database
from wxbridge.core.schema import read_fact, remember_fact

_KEY = "ilink:{}"


@dataclass(frozen=True)
class PersonState:
    """A person's login and what goes with it. `cursor` and `context_token` are secrets like the token."""

    credentials: Credentials | None = None
    cursor: str = ""
    context_token: str = ""
    window: SendWindow = field(default_factory=SendWindow)

    def logged_in(self, credentials: Credentials) -> PersonState:
        """Give the state after a new login: what belonged to the old one is dropped."""
        return PersonState(credentials)

    def logged_out(self) -> PersonState:
        """Give the state after the service has refused the token."""
        return replace(self, credentials=None, cursor="", context_token="")


@dataclass(frozen=True)
class PersonStore:
    """Keeps one person's state in the database, under a key that neither status nor pages read."""

    database: Database
    person: str

    async def load(self) -> PersonState:
        """Read the state; an empty one where there is none. Raises `StorageError`."""
        key = _KEY.format(self.person)
        value = await self.database.read(lambda c: read_fact(c, key)) or {}
        credentials = value.get("credentials")
        return PersonState(
            Credentials(**credentials) if credentials else None,
            value.get("cursor", ""),
            value.get("context_token", ""),
            SendWindow(**value.get("window", {})),
        )

    async def save(self, state: PersonState) -> None:
        """Write the state. Raises `StorageError`."""
        key, value = _KEY.format(self.person), asdict(state)
        await self.database.run(lambda c: remember_fact(c, key, value, time.time()), is_leaders=True)
