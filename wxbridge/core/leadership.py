"""Who leads, of the bridges that share a database: one alone sends, runs jobs and warns of machines.

The only bridge on its database always leads; how several agree stands in `shared_leadership`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from wxbridge.core.errors import Offline, StorageError
from wxbridge.core.schema import read_facts

LEADER_FACT = "leader"
"""The fact that says who leads: `epoch`, `name`, `url`, and its time is since when."""
APPLICATION = "wxbridge "
"""How the sessions of bridges are called that share a server, with their names."""
_CHANGED = "changed"


class NotLeading(StorageError):
    """Another bridge leads by now: what only who leads may store was not stored."""


@dataclass(frozen=True)
class Leader:
    """Who leads."""

    name: str
    url: str
    since: float
    """Seconds since the epoch."""
    epoch: int
    """Is one more with each that begins to lead."""


class Leadership:
    """Says whether this bridge leads: the only one on its database does."""

    is_shared = False
    """Whether others may lead."""
    leader: Leader | None = None
    """Who leads, as it was last read; None where nobody else may."""
    epoch = 0
    """Which time of leading it is; 0 where nobody else ever leads."""

    @property
    def role(self) -> str:
        """`leader` or `standby`."""
        return "leader" if self.is_leading else "standby"

    @property
    def is_leading(self) -> bool:
        """Whether this bridge leads, as far as it knows."""
        return True

    def may_send(self) -> bool:
        """Whether it is certain at this moment that no other bridge leads."""
        return True

    def start(self, *, url: str, on_role: Callable[[], None], on_changes: Callable[[Collection[str]], None]) -> None:
        """Begin to take part: both are called in the event loop, where the role has changed, and what others wrote."""

    def close(self) -> None:
        """Lead no more, and let others know at once."""


_may_send: ContextVar[Callable[[], bool]] = ContextVar("may_send", default=lambda: True)


def send_only_while(may_send: Callable[[], bool]) -> None:
    """Have `ensure_leading` ask this from now on, in the present task and those that it starts."""
    _may_send.set(may_send)


def ensure_leading() -> None:
    """Look whether this bridge may still send; channels ask right before something leaves for their service.

    A process may have been stopped since a message was taken out, for as long as somebody likes: another leads then.

    Raises:
        Offline: another may lead by now, and send in this one's place.
    """
    if not _may_send.get()():
        raise Offline("this bridge does not lead any more")


# ---------------------------------------------------------------- what others must read again


def note_changed(connection: Connection, keys: Collection[str]) -> None:
    """Have other bridges told, with the commit, which alerts they have to read again; free with SQLite."""
    changed: set[str] | None = connection.info.get(_CHANGED)
    if changed is not None:
        changed.update(keys)


def watch_changes(connection: Connection) -> None:
    """Begin to note what a transaction changes."""
    connection.info[_CHANGED] = set()


def take_changes(connection: Connection) -> Any:
    """Give the alerts that a transaction has changed, and forget them; None where nothing was watched."""
    return connection.info.pop(_CHANGED, None)


# ---------------------------------------------------------------- who is there


def read_leader(connection: Connection) -> Leader | None:
    """Read who leads, or led last; None where nobody ever did."""
    found = read_facts(connection, LEADER_FACT).get("")
    if found is None:
        return None
    about, since = found
    return Leader(about["name"], about["url"], since, about["epoch"])


def list_bridges(connection: Connection) -> list[str]:
    """List the names of the bridges that are connected now."""
    rows = connection.exec_driver_sql(
        "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name LIKE 'wxbridge %%' ORDER BY application_name"
    )
    return [row[0].removeprefix(APPLICATION) for row in rows]


def fact_of_bridge(state_dir: Path, *, is_shared: bool) -> str:
    """Name the fact that tells of the bridge of a state directory: of one of several where they share a database."""
    return f"bridge:{socket.gethostname()}:{state_dir.resolve()}" if is_shared else "bridge"
