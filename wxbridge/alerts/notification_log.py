"""What each target was last notified of (Alertmanager's nflog), for repeats and for what is held back.

The table `told` has a row only where that matters: a route repeats, or something was held back by a silence or a muted
time. The bridge alone writes it, so it keeps it in memory as well (`NotificationLog`): taking an alert in asks the
database nothing. The functions on the table take a connection and run inside `Database.run`; times are seconds since
the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.alerts.routing import RouteOptions
from wxbridge.alerts.store import (
    ONCE,
    Hearing,
    SeenAlert,
    alert_key,
    record_seen,
    seen_alert,
    starts_at_of,
    statement_of,
)
from wxbridge.core.chunks import in_chunks
from wxbridge.core.leadership import note_changed
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.prepared import PreparedStatement
from wxbridge.core.schema import alerts, told

HELD_AGAIN_SECONDS = 60.0
"""How long until it is looked whether what is held back may go: a silence may be ended early, a clock set."""


@dataclass(frozen=True)
class LogEntry:
    """What a target was told last of an alert.

    Where `told_at` is None it was told nothing: all was held back, of which `status` is the first.
    """

    key: str
    target: str
    status: AlertStatus
    starts_at: float | None
    told_at: float | None
    due_at: float | None = None
    """When to look whether it is to be told again; None for never."""
    held: str | None = None
    """Why something newer is held back, None where nothing is."""
    statement: str | None = None
    """What it said, by `statement_of`; None where that was not kept."""

    @property
    def direct(self) -> bool:
        """Whether what is held back goes to the target whatever the routes say."""
        return self.held is not None and self.held.startswith(_DIRECT)


_DIRECT = "direct: "


@dataclass(frozen=True)
class PendingAlert:
    """An alert on its way to a target."""

    key: str
    target: str
    status: AlertStatus
    starts_at: float | None
    options: RouteOptions
    held: str | None = None
    """Why it may not be told now, in a few words; None where it may."""
    direct: bool = False
    """Whether it goes to the target whatever the routes say: by `?to=`, or to the master as unrouted."""
    seen_at: float | None = None
    """When the same firing was seen before, where it is held back now: it had been told then (`find_firing_since`)."""
    statement: str = ""
    """What it says, by `statement_of`."""
    is_told: bool = False
    """Whether the target was told of this end already; or of this firing, and it is not said again on purpose."""


@dataclass(frozen=True)
class LogDecision:
    """Whether to tell a target now, and what it then knows (None for nothing worth keeping)."""

    notify: bool
    known: LogEntry | None


def pending_alert(
    group: AlertGroup,
    alert: Alert | None,
    target: str,
    options: RouteOptions,
    *,
    held: str | None = None,
    direct: bool = False,
) -> PendingAlert:
    """Make an alert of a group (None for free text) ready to be decided on for a target."""
    status = alert.status if alert else AlertStatus.FIRING
    return PendingAlert(
        alert_key(group, alert), target, status, starts_at_of(alert), options, held, direct,
        statement=statement_of(alert),
    )  # fmt: skip


def decide(known: LogEntry | None, pending: PendingAlert, now: float) -> LogDecision:
    """Decide whether a target is told of an alert now, by what it knows already.

    - What fires is told; where the route repeats, the same firing (by its start) with the same title and link is told
      again only after `repeat_interval`.
    - What ends is told, once, and not at all where the route says so or where its firing was held back and never told.
      The end of what was never seen is told.
    - What is held back is told when nothing holds it any more, if it is still news then.
    - Where the route does not repeat and nothing is held back, all is told but what `is_told`: other retries are the
      outbox's to absorb.
    """
    if known and known.told_at is not None and known.told_at > now:
        # The clock was set back: it was told just now.
        known = replace(known, told_at=now)
    if pending.key.startswith(ONCE):
        return LogDecision(False, _held(known, pending, now)) if pending.held else LogDecision(True, None)  # noqa: FBT003
    if pending.status is AlertStatus.RESOLVED:
        return _resolved(known, pending, now)
    return _fires(known, pending, now)


def _fires(known: LogEntry | None, pending: PendingAlert, now: float) -> LogDecision:
    repeat = pending.options.repeat_interval
    if repeat and known and known.told_at is not None and _same(known, pending) and now < known.told_at + repeat:
        return LogDecision(notify=False, known=replace(known, due_at=known.told_at + repeat, held=None))
    if pending.held:
        return LogDecision(notify=False, known=_held(known, pending, now))
    if pending.is_told and not (known and known.held):
        return LogDecision(notify=False, known=known)
    return LogDecision(notify=True, known=_knows(pending, now, now + repeat) if repeat else None)


def _resolved(known: LogEntry | None, pending: PendingAlert, now: float) -> LogDecision:
    ended = _knows(pending, now, None)
    if known and known.told_at is not None and _same(known, pending):
        return LogDecision(notify=False, known=replace(known, due_at=None, held=None))
    if pending.is_told:
        return LogDecision(notify=False, known=known)
    firing_untold = known and known.held and (known.told_at is None) is (known.status is not AlertStatus.RESOLVED)
    if firing_untold or not pending.options.send_resolved:
        return LogDecision(notify=False, known=ended if known else None)
    if pending.held:
        return LogDecision(notify=False, known=_held(known, pending, now))
    return LogDecision(notify=True, known=ended if pending.options.repeat_interval else None)


def _same(known: LogEntry, pending: PendingAlert) -> bool:
    return (
        known.status is pending.status
        and known.starts_at == pending.starts_at
        and known.statement in (None, pending.statement)
    )


def _knows(pending: PendingAlert, told_at: float | None, due_at: float | None) -> LogEntry:
    return LogEntry(
        pending.key, pending.target, pending.status, pending.starts_at, told_at, due_at, None, pending.statement
    )


def _held(known: LogEntry | None, pending: PendingAlert, now: float) -> LogEntry:
    before = known or _knows(pending, pending.seen_at, None)
    if known is None and pending.seen_at is not None and pending.status is AlertStatus.RESOLVED:
        before = replace(before, status=AlertStatus.FIRING)  # that was told, its end was not
    held = f"{_DIRECT}{pending.held}" if pending.direct else pending.held
    return replace(before, due_at=now + HELD_AGAIN_SECONDS, held=held)


# ---------------------------------------------------------------- the log and its table

LogKey = tuple[str, str]
"""Key and target."""
Changes = Mapping[LogKey, LogEntry | None]
"""Entries as they are to be; None where one is to go."""


@dataclass(frozen=True)
class Selection:
    """Which of some pending alerts are due. The log has it already: store `changes`, or `undo` it."""

    due: tuple[bool, ...]
    """For each alert, in order, whether its target is to be told now."""
    changes: Changes
    before: Changes

    @property
    def held_keys(self) -> set[str]:
        """The keys of what is held back, for `record_seen`."""
        return {key for (key, _), row in self.changes.items() if row and row.held}


@dataclass(frozen=True)
class LogUpdate:
    """What is to be remembered of alerts, in the transaction that stores the messages about them."""

    groups: tuple[AlertGroup, ...]
    selection: Selection
    hearings: Mapping[str, Hearing] = field(default_factory=dict)
    """By key."""

    @classmethod
    def store_all(cls, connection: Connection, parts: Sequence[Self], *, now: float) -> None:
        """Remember what was said, and what targets now know (`StoredAlong`)."""
        held = {key for part in parts for key in part.selection.held_keys}
        groups = [group for part in parts for group in part.groups]
        hearings = {key: hearing for part in parts for key, hearing in part.hearings.items()}
        record_seen(connection, groups, now=now, held=held, hearings=hearings)
        store_entries(connection, {place: row for part in parts for place, row in part.selection.changes.items()})


class NotificationLog:
    """The table `told` in memory. Use it from one thread: between asking and storing nobody else is let in."""

    def __init__(self, rows: Iterable[LogEntry] = ()) -> None:
        self._entries: dict[LogKey, LogEntry] = {}
        self._places: dict[str, set[LogKey]] = {}
        """Of each key that has entries."""
        for row in rows:
            self._set((row.key, row.target), row)

    def find(self, key: str, target: str) -> LogEntry | None:
        """Find what a target knows of an alert."""
        return self._entries.get((key, target))

    def select_due(self, pending: Iterable[PendingAlert], now: float) -> Selection:
        """Tell which alerts must be sent now and which not (`decide`), and remember it."""
        due: list[bool] = []
        before: dict[LogKey, LogEntry | None] = {}
        for each in pending:
            place = (each.key, each.target)
            known = self._entries.get(place)
            decision = decide(known, each, now)
            due.append(decision.notify)
            if decision.known != known:
                before.setdefault(place, known)
                self._set(place, decision.known)
        return Selection(tuple(due), {place: self._entries.get(place) for place in before}, before)

    def change(self, changes: Changes) -> Selection:
        """Remember entries as they are to be; None where one is to go."""
        before = {place: self._entries.get(place) for place in changes}
        for place, row in changes.items():
            self._set(place, row)
        return Selection((), changes, before)

    def undo(self, selection: Selection) -> None:
        """Take back what could not be stored, except where something newer was noted since."""
        for place, row in selection.before.items():
            if self._entries.get(place) == selection.changes[place]:
                self._set(place, row)

    def renew(self, keys: Iterable[str], rows: Iterable[LogEntry]) -> None:
        """Put what another bridge has stored of some alerts in the place of what was known."""
        self.forget(keys)
        for row in rows:
            self._set((row.key, row.target), row)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop all that is known of some alerts (`prune_alerts`)."""
        for key in keys:
            for place in tuple(self._places.get(key, ())):
                self._set(place, None)

    def _set(self, place: LogKey, row: LogEntry | None) -> None:
        if row is None:
            self._entries.pop(place, None)
            places = self._places.get(place[0], set())
            places.discard(place)
            if not places:
                self._places.pop(place[0], None)
        else:
            self._entries[place] = row
            self._places.setdefault(place[0], set()).add(place)


_COLUMNS = tuple(column.name for column in told.columns)
_UPSERT_TOLD = PreparedStatement(sa.text(
    f"INSERT INTO told ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "  # noqa: S608
    f"ON CONFLICT (key, target) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[2:])}",
))  # fmt: skip
_DELETE_TOLD = PreparedStatement(
    sa.delete(told).where(told.c.key == sa.bindparam("k"), told.c.target == sa.bindparam("t"))
)


def store_entries(connection: Connection, changes: Changes) -> None:
    """Store what changed in the log, in the transaction that stores the messages."""
    rows = [{**vars(row), "status": row.status.value} for row in changes.values() if row]
    gone = [{"k": key, "t": target} for (key, target), row in changes.items() if row is None]
    _UPSERT_TOLD.run_many(connection, rows)
    _DELETE_TOLD.run_many(connection, gone)
    note_changed(connection, {key for key, _ in changes})


def load(connection: Connection) -> NotificationLog:
    """Read the log, at a start."""
    return NotificationLog(_told(row) for row in connection.execute(sa.select(told)))


def read_entries(connection: Connection, keys: Iterable[str]) -> list[LogEntry]:
    """Read what targets know of some alerts."""
    queries = (sa.select(told).where(told.c.key.in_(chunk)) for chunk in in_chunks(keys))
    return [_told(row) for query in queries for row in connection.execute(query)]


def list_due(connection: Connection, *, now: float, limit: int) -> list[tuple[LogEntry, SeenAlert | None]]:
    """List what is to be looked at again, the longest overdue first, each with its alert (None where it is forgotten).

    What was told in the future, by a clock that was set back since, is among it.
    """
    query = (
        sa.select(*(column.label(f"told_{column.name}") for column in told.columns), alerts)
        .select_from(told.outerjoin(alerts, alerts.c.key == told.c.key))
        .where(told.c.due_at.is_not(None), sa.or_(told.c.due_at <= now, told.c.told_at > now))
        .order_by(told.c.due_at, told.c.key, told.c.target)
        .limit(limit)
    )
    found = []
    for row in connection.execute(query):
        values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
        its = LogEntry(**{name: values[f"told_{name}"] for name in _COLUMNS} | {"status": AlertStatus(row.told_status)})
        found.append((its, seen_alert(row) if row.key is not None else None))
    return found


def _told(row: Any) -> LogEntry:
    return LogEntry(**row._asdict() | {"status": AlertStatus(row.status)})


def forget_held(connection: Connection, keys: Sequence[str]) -> None:
    """Forget what had no identity of its own, once it is told or need not be any more."""
    gone = [key for key in keys if key.startswith(ONCE)]
    for chunk in in_chunks(gone):
        still = sa.select(told.c.key).where(told.c.key.in_(chunk))
        connection.execute(sa.delete(alerts).where(alerts.c.key.in_(chunk), alerts.c.key.not_in(still)))
