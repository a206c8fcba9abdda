"""What is PostgreSQL's own: how it is connected to, how long it may be silent, and what stands for SQLite's ways.

SQLite has one writer at a time, and what is written here relies on that. With PostgreSQL every transaction that writes
begins with an advisory lock, which the server lets go of with the transaction, or with a session that is silent.
Imported only where the database is PostgreSQL: the driver, `psycopg`, comes with an extra.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import NullPool

from wxbridge.core.leadership import take_changes, watch_changes

_LOCKS = 0x77786272
"""The first half of the keys of our advisory locks: `wxbr`."""
WRITE_LOCK = f"{_LOCKS}, 1"
"""Of the one who writes, for the length of a transaction."""
LEADER_LOCK = f"{_LOCKS}, 2"
"""Of the one who leads, for the length of a session."""
CHANGES = "wxbridge"
"""Where it is told that something was written (NOTIFY): by whom, and which alerts."""
CONNECT_TIMEOUT_SECONDS = 2
"""The least that libpq knows."""
STATEMENT_TIMEOUT_SECONDS = 8
"""What the server may take for one statement, or wait for a lock."""
SILENCE_TIMEOUT_SECONDS = 9.0
"""For which an answer is waited for; then the connection counts as lost."""
IDLE_IN_TRANSACTION_SECONDS = 5
"""After which the server ends a transaction of somebody who says nothing: a process that was stopped, say."""
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
"""What is acknowledged is on the disk, also where the server is set otherwise; what asks for more than that stays."""
MAX_KEYS_PER_NOTIFICATION = 150
"""A payload has less than 8000 bytes; the longest keys have 38."""
_SESSION = {
    "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
    "client_min_messages": "warning",
    "timezone": "UTC",
}


class ServerConnection(psycopg.Connection[Any]):
    """A connection that does not wait for ever, and knows when it last heard of the server."""

    heard: Callable[[], None] | None = None
    """Is called whenever the server has answered."""
    silence_limit = SILENCE_TIMEOUT_SECONDS

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        """Wait for an answer as the driver does, for `silence_limit` seconds. Raises `psycopg.OperationalError`."""
        found = super().wait(self._limit(gen), *args, **options)
        if self.heard is not None:
            self.heard()
        return found

    def _limit(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        # The driver says every tenth of a second that nothing has come.
        last = time.monotonic() + self.silence_limit
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > last:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer for {self.silence_limit:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


class _TextDumper(StrDumperUnknown):
    """Writes texts without NUL, which PostgreSQL has no place for."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)


def connect(url: str, *, application: str = "wxbridge", **settings: str) -> ServerConnection:
    """Connect by an address in libpq's words. Settings of the session go with it. Raises `psycopg.Error`."""
    raw = ServerConnection.connect(
        url.replace("postgres://", "postgresql://", 1),
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        application_name=application,
        keepalives=1,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=round(SILENCE_TIMEOUT_SECONDS * 1000),
    )
    try:
        raw.adapters.register_dumper(str, _TextDumper)
        for name, value in {**_SESSION, **settings}.items():
            raw.execute("SELECT set_config(%s, %s, false)", (name, value))
        raw.execute(_DURABLE)
        raw.commit()
    except BaseException:
        raw.close()
        raise
    return raw


def make_engine(url: str, sender: str = "") -> Engine:
    """Make the engine: a transaction is one writer's, or reads one state of the database and changes nothing.

    What was written is told to the other bridges with the commit, as `sender`'s.
    """
    # No pool: each thread of the database keeps its connection.
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: connect(url), poolclass=NullPool, use_native_hstore=False
    )
    event.listen(engine, "begin", _begin)
    event.listen(engine, "commit", partial(_notify, sender))
    return engine


def _begin(connection: Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    is_write = connection.info.get("write", True)
    if raw.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
        raw.read_only = not is_write
        raw.isolation_level = None if is_write else psycopg.IsolationLevel.REPEATABLE_READ
    if is_write:
        raw.execute(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")
        watch_changes(connection)


def _notify(sender: str, connection: Connection) -> None:
    """Tell the other bridges which alerts a transaction has changed; or that something was written, without any."""
    changed = take_changes(connection)
    if changed is None:
        return
    keys = sorted(changed)
    raw: Any = connection.connection.dbapi_connection
    for start in range(0, max(len(keys), 1), MAX_KEYS_PER_NOTIFICATION):
        payload = f"{sender or '-'} {','.join(keys[start : start + MAX_KEYS_PER_NOTIFICATION])}"
        raw.execute("SELECT pg_notify(%s, %s)", (CHANGES, payload))


def may_pass(error: BaseException | None) -> bool:
    """Tell whether the database may be opened later: whoever is not let in is mended by somebody, too."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
