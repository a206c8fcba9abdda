"""How several bridges on one PostgreSQL agree who leads: by an advisory lock of a session, and nothing else.

The lock is held on a connection of its own. Who holds it shows a sign of life every second, by which it also renews
its lease; a server that hears nothing ends the session after `idle_session_timeout`, which is longer than the lease:
before another can have the lock, the one that had it sends nothing any more, also where its process was stopped or its
machine cut off. Each that begins to lead counts the epoch on by one, in a transaction of the one writer; what only who
leads may store looks for its own epoch first (`fence`).

On the same connection others are heard of (LISTEN): what they wrote, and that they are there.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import psycopg
import structlog
from sqlalchemy import Connection

from wxbridge.core import postgresql
from wxbridge.core.clock import SystemClock
from wxbridge.core.leadership import APPLICATION, LEADER_FACT, Leader, Leadership, NotLeading
from wxbridge.core.schema import read_fact

log = structlog.get_logger()

BEAT_SECONDS = 1.0
"""Between two signs of life, and between two looks whether the lock is free."""
BEAT_TIMEOUT_SECONDS = 4.0
"""In which the server answers one; then the connection counts as lost."""
LEASE_SECONDS = 8.0
"""For which who leads may send after the beginning of its last sign of life."""
SESSION_TIMEOUT_SECONDS = 12
"""After which the server ends a session that is silent, and with it the lock. Longer than the lease."""
RETRY_SECONDS = 0.5
"""Between two tries to connect, at least."""


MAX_WRITER_SILENCE_SECONDS = 5
"""For which who holds the lock of the one writer may say nothing to the server."""
_END_SILENT_WRITER = f"""
SELECT pg_terminate_backend(held.pid)
FROM pg_locks held JOIN pg_stat_activity session ON session.pid = held.pid
WHERE held.locktype = 'advisory' AND held.granted AND session.datname = current_database()
AND (held.classid, held.objid) = ({postgresql.WRITE_LOCK}) AND session.usename = current_user
AND session.wait_event = 'ClientRead'
AND greatest(session.state_change, session.query_start) < now() - interval '{MAX_WRITER_SILENCE_SECONDS} seconds'
"""  # noqa: S608 - our own numbers
"""Ends the session of a bridge that was stopped, or cut off, while it wrote: it would keep all others from writing.

The server's own limits do not see it where it waits for the rest of several statements that are sent as one.
"""


class SharedLeadership(Leadership):
    """Takes part in the choice of who leads, in a thread of its own.

    Args:
        url: The database's address.
        sender: As what the database notifies others of this bridge's own writing, which it need not hear of.
        clock: The time; a lease goes by seconds since the machine started, also those that it slept.
    """

    is_shared = True

    def __init__(self, url: str, *, sender: str, clock: SystemClock | None = None) -> None:
        self._url, self._sender = url, sender
        self._name = socket.gethostname()
        self._clock = clock or SystemClock()
        self._lease_until = 0.0
        self._beat_at: float | None = None
        """When the database answered last, of the seconds since the machine started; None before it did."""
        self._is_leading = False
        self.epoch = 0
        self._bridge_url = ""
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_role: Callable[[], None] = lambda: None
        self._on_changes: Callable[[Collection[str]], None] = lambda _keys: None
        self._trouble = ""

    @property
    def is_leading(self) -> bool:
        """Whether this bridge leads, as far as it knows."""
        return self._is_leading

    def may_send(self) -> bool:
        """Whether it is certain at this moment that no other bridge leads."""
        return self._is_leading and self._clock.boot() < self._lease_until

    def is_in_touch(self) -> bool:
        """Whether the database has answered lately: not where the process was stopped, or cut off, until it does again.

        What such a process finds in its sockets is of senders that have gone elsewhere long ago.
        """
        return self._beat_at is None or self._clock.boot() < self._beat_at + LEASE_SECONDS

    def fence(self, connection: Connection) -> None:
        """Look, in a transaction that writes, whether this bridge still leads. Raises `NotLeading`."""
        if not self._is_leading or (read_fact(connection, LEADER_FACT) or {}).get("epoch") != self.epoch:
            raise NotLeading("another bridge leads by now")

    def start(self, *, url: str, on_role: Callable[[], None], on_changes: Callable[[Collection[str]], None]) -> None:
        """Begin to take part: both are called in the event loop, where the role has changed, and what others wrote.

        `on_changes` gets the keys of alerts, or `*` where anything may have been written unheard.
        """
        self._bridge_url, self._on_role, self._on_changes = url, on_role, on_changes
        self._name = f"{socket.gethostname()}:{urlsplit(url).port}"
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Lead no more, and let others know at once."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=BEAT_SECONDS + BEAT_TIMEOUT_SECONDS)
        self._is_leading = False

    # ------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                raw = postgresql.connect(
                    self._url,
                    application=(APPLICATION + self._name)[:63],
                    idle_session_timeout=f"{SESSION_TIMEOUT_SECONDS}s",
                    lock_timeout="5s",
                )
                raw.silence_limit = BEAT_TIMEOUT_SECONDS
                try:
                    self._take_part(raw)
                finally:
                    self._stop_leading()
                    with suppress(psycopg.Error):
                        raw.close()
            except psycopg.Error as error:
                self._note_trouble(" ".join(str(error).split()))
            except Exception:
                log.exception("leadership failed in a way it should not")
            self._closing.wait(RETRY_SECONDS * random.uniform(1.0, 2.0))  # noqa: S311 - jitter is no secret

    def _take_part(self, raw: postgresql.ServerConnection) -> None:
        raw.autocommit = True
        raw.execute(f"LISTEN {postgresql.CHANGES}")
        self._call(self._on_changes, ("*",))
        if self._trouble:
            log.info("connected to the database again")
            self._trouble = ""
        while not self._closing.is_set():
            began = self._clock.boot()
            raw.execute(_END_SILENT_WRITER)
            self._beat_at = began
            if self._is_leading:
                self._lease_until = began + LEASE_SECONDS
            elif self._is_lock_taken(raw):
                self._begin(raw)
            for heard in raw.notifies(timeout=BEAT_SECONDS):
                sender, _, keys = heard.payload.partition(" ")
                if sender != self._sender:
                    self._call(self._on_changes, keys.split(",") if keys else ())

    @staticmethod
    def _is_lock_taken(raw: postgresql.ServerConnection) -> bool:
        row = raw.execute(f"SELECT pg_try_advisory_lock({postgresql.LEADER_LOCK})").fetchone()
        return bool(row and row[0])

    def _begin(self, raw: postgresql.ServerConnection) -> None:
        """Count the epoch on: from then on nothing is stored any more of what the one before had claimed."""
        began, wall = self._clock.boot(), self._clock.wall()
        with raw.transaction():
            raw.execute(f"SELECT pg_advisory_xact_lock({postgresql.WRITE_LOCK})")
            row = raw.execute("SELECT value FROM facts WHERE key = %s", (LEADER_FACT,)).fetchone()
            epoch = int(row[0].get("epoch", 0) if row else 0) + 1
            about = json.dumps({"epoch": epoch, "name": self._name, "url": self._bridge_url})
            raw.execute("DELETE FROM facts WHERE key = %s", (LEADER_FACT,))
            raw.execute("INSERT INTO facts (key, value, at) VALUES (%s, %s, %s)", (LEADER_FACT, about, wall))
            raw.execute(f"SELECT pg_notify('{postgresql.CHANGES}', %s)", (self._sender,))
        self.leader = Leader(self._name, self._bridge_url, wall, epoch)
        self.epoch, self._lease_until, self._is_leading = epoch, began + LEASE_SECONDS, True
        log.info("this bridge leads", name=self._name, epoch=epoch)
        self._call(self._on_role)

    def _stop_leading(self) -> None:
        if self._is_leading:
            self._is_leading = False
            if not self._closing.is_set():
                log.warning("this bridge leads no more", name=self._name, epoch=self.epoch)
            self._call(self._on_role)

    def _note_trouble(self, error: str) -> None:
        if not self._trouble:
            log.error("the database is away: this bridge does not lead", error=error)
        self._trouble = error

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # a loop that was closed needs to hear of nothing
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *arguments)
