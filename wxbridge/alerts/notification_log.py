"""What the bridge has seen of alerts, and what each target knows of them: for repeats, silences, chat and console.

Two tables. `alerts` holds what monitors said last of each alert. `told` holds what a target was told last of one, and
only where that matters: its route repeats, or something was held back by a silence or a muted time. The bridge alone
writes `told`, so it keeps it in memory as well (`NotificationLog`): taking an alert in asks the database nothing.

The functions on the tables take a connection and run inside `Database.run`; times are seconds since the epoch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.alerts import acknowledgements, history, serialization
from wxbridge.alerts.routing import RouteOptions
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.schema import alerts, told

HELD_AGAIN = 60.0
"""Seconds after which it is looked whether what is held back may go: a silence may be ended early, a clock set."""
_ONCE = "once:"
"""How the key of what cannot be told from a later one begins: free text, and alerts without a fingerprint."""
_CHUNK = 500


def alert_key(group: AlertGroup, alert: Alert | None) -> str:
    """What tells an alert from all others, of all sources: 32 hexadecimal digits.

    Where the monitor gave no fingerprint, and for free text (`alert` is None), it tells what was said: such a thing
    has no end, and is not remembered unless it is held back.
    """
    if alert is not None and alert.fingerprint:
        return _hash(f"{alert.source}\0{alert.fingerprint}")
    said = serialization.as_json(replace(group, alerts=(alert,) if alert else (), dedupe=None))
    return _ONCE + _hash(json.dumps(said, sort_keys=True))


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


# ---------------------------------------------------------------- what monitors said


@dataclass(frozen=True)
class SeenAlert:
    """An alert as it was seen last."""

    key: str
    group: AlertGroup
    """With this one alert; with none where it is free text."""
    first_seen: float
    """When it was first seen since it last began."""
    updated_at: float

    @property
    def alert(self) -> Alert | None:
        """The alert; None for free text."""
        return self.group.alerts[0] if self.group.alerts else None


_UPSERT_ALERT = sa.text(
    f"INSERT INTO {alerts.name} (key, status, content, starts_at, first_seen, updated_at) "  # noqa: S608 - our own name
    "VALUES (:key, :status, :content, :starts_at, :now, :now) ON CONFLICT (key) DO UPDATE SET "
    "first_seen = CASE WHEN alerts.status = 'resolved' AND excluded.status <> 'resolved' "
    "THEN excluded.first_seen ELSE alerts.first_seen END, "
    "status = excluded.status, content = excluded.content, starts_at = excluded.starts_at, "
    "updated_at = excluded.updated_at",
)


def record_seen(
    connection: Connection, groups: Iterable[AlertGroup], *, now: float, held: Collection[str] = ()
) -> None:
    """Remember what was said, and where an alert began or ceased to fire, in the transaction that stores the messages.

    What has no identity of its own is left out, unless its key is among `held` (`Selection.held`).
    """
    rows: dict[str, dict[str, Any]] = {}
    sighted: list[history.Sighted] = []
    for group in groups:
        head = serialization.as_json(replace(group, alerts=(), dedupe=None))
        for alert in group.alerts or (None,):
            key = alert_key(group, alert) if held or (alert and alert.fingerprint) else _ONCE
            if key.startswith(_ONCE) and key not in held:
                continue
            rows[key] = {
                "key": key,
                "status": alert.status.value if alert else AlertStatus.FIRING.value,
                "content": json.dumps(head | {"alerts": _plain(group, alert), "truncated": 0}),
                "starts_at": _started(alert),
                "now": now,
            }
            if alert and alert.fingerprint:
                sighted.append((key, group, alert))
    if sighted:
        history.record_episodes(connection, sighted, now=now)
    if rows:
        connection.execute(_UPSERT_ALERT, list(rows.values()))
        acknowledgements.clear(
            connection, [key for key, row in rows.items() if row["status"] == AlertStatus.RESOLVED.value]
        )


def _plain(group: AlertGroup, alert: Alert | None) -> Any:
    return serialization.as_json(AlertGroup(group.source, "", "", (alert,)))["alerts"] if alert else []


def _started(alert: Alert | None) -> float | None:
    return alert.starts_at.timestamp() if alert and alert.starts_at else None


def _seen(row: Any) -> SeenAlert:
    return SeenAlert(row.key, serialization.from_json(row.content), row.first_seen, row.updated_at)


_FIRING = alerts.c.status.in_([AlertStatus.FIRING.value, AlertStatus.NO_DATA.value])
_WITH_IDENTITY = sa.not_(alerts.c.key.startswith(_ONCE))


def list_firing(connection: Connection, *, limit: int = 1000) -> list[SeenAlert]:
    """The alerts that fire or have no data, what was mentioned last at the top."""
    query = sa.select(alerts).where(_FIRING, _WITH_IDENTITY).order_by(alerts.c.updated_at.desc(), alerts.c.key)
    return [_seen(row) for row in connection.execute(query.limit(limit))]


def count_by_status(connection: Connection) -> dict[str, int]:
    """How many alerts there are of each status."""
    query = sa.select(alerts.c.status, sa.func.count()).where(_WITH_IDENTITY).group_by(alerts.c.status)
    return {row[0]: row[1] for row in connection.execute(query)}


def find_firing_since(connection: Connection, keys: Iterable[str]) -> dict[str, tuple[float | None, float]]:
    """Which of these alerts fire already, with their start and when they were last seen, for `PendingAlert.seen_at`."""
    found: dict[str, tuple[float | None, float]] = {}
    for chunk in _chunks(keys):
        query = sa.select(alerts.c.key, alerts.c.starts_at, alerts.c.updated_at).where(_FIRING, alerts.c.key.in_(chunk))
        found |= {row.key: (row.starts_at, row.updated_at) for row in connection.execute(query)}
    return found


def prune(connection: Connection, *, resolved_before: float, unheard_before: float, limit: int = 1000) -> list[str]:
    """Forget alerts that were resolved, or of which nothing was heard, before a moment, and what was told of them.

    Returns their keys, for `NotificationLog.forget`; as many as `limit` where there may be more.
    """
    old = sa.or_(
        sa.and_(alerts.c.status == AlertStatus.RESOLVED.value, alerts.c.updated_at < resolved_before),
        sa.and_(_FIRING, alerts.c.updated_at < unheard_before),
    )
    keys = list(connection.execute(sa.select(alerts.c.key).where(old).limit(limit)).scalars())
    for chunk in _chunks(keys):
        history.end_unheard(connection, chunk)
        acknowledgements.clear(connection, chunk)
        connection.execute(sa.delete(told).where(told.c.key.in_(chunk)))
        connection.execute(sa.delete(alerts).where(alerts.c.key.in_(chunk)))
    return keys


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    """SQLite takes so many values in one statement only."""
    left = iter(keys)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk


# ---------------------------------------------------------------- what a target knows


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
    telling: RouteOptions
    held: str | None = None
    """Why it may not be told now, in a few words; None where it may."""
    direct: bool = False
    """Whether it goes to the target whatever the routes say: by `?to=`, or to the master as unrouted."""
    seen_at: float | None = None
    """When the same firing was seen before, where it is held back now: it had been told then (`find_firing_since`)."""


@dataclass(frozen=True)
class LogDecision:
    """Whether to tell a target now, and what it then knows (None for nothing worth keeping)."""

    tell: bool
    known: LogEntry | None


def pending_alert(
    group: AlertGroup,
    alert: Alert | None,
    target: str,
    telling: RouteOptions,
    *,
    held: str | None = None,
    direct: bool = False,
) -> PendingAlert:
    """An alert of a group (None for free text) on its way to a target."""
    status = alert.status if alert else AlertStatus.FIRING
    return PendingAlert(alert_key(group, alert), target, status, _started(alert), telling, held, direct)


def decide(known: LogEntry | None, sighting: PendingAlert, now: float) -> LogDecision:
    """Decide whether a target is told of an alert now, by what it knows already.

    - What fires is told; where the route repeats, the same firing (by its start) again only after `repeat_interval`.
    - What ends is told, once, and not at all where the route says so or where its firing was held back and never told.
      The end of what was never seen is told.
    - What is held back is told when nothing holds it any more, if it is still news then.
    - Where the route does not repeat and nothing is held back, all is told: retries are the outbox's to absorb.
    """
    if known and known.told_at is not None and known.told_at > now:
        # The clock was set back: it was told just now.
        known = replace(known, told_at=now)
    if sighting.key.startswith(_ONCE):
        return LogDecision(False, _held(known, sighting, now)) if sighting.held else LogDecision(True, None)  # noqa: FBT003
    if sighting.status is AlertStatus.RESOLVED:
        return _resolved(known, sighting, now)
    return _fires(known, sighting, now)


def _fires(known: LogEntry | None, sighting: PendingAlert, now: float) -> LogDecision:
    repeat = sighting.telling.repeat_interval
    if repeat and known and known.told_at is not None and _same(known, sighting) and now < known.told_at + repeat:
        return LogDecision(tell=False, known=replace(known, due_at=known.told_at + repeat, held=None))
    if sighting.held:
        return LogDecision(tell=False, known=_held(known, sighting, now))
    return LogDecision(tell=True, known=_knows(sighting, now, now + repeat) if repeat else None)


def _resolved(known: LogEntry | None, sighting: PendingAlert, now: float) -> LogDecision:
    ended = _knows(sighting, now, None)
    if known and known.told_at is not None and _same(known, sighting):
        return LogDecision(tell=False, known=replace(known, due_at=None, held=None))
    firing_untold = known and known.held and (known.told_at is None) is (known.status is not AlertStatus.RESOLVED)
    if firing_untold or not sighting.telling.send_resolved:
        return LogDecision(tell=False, known=ended if known else None)
    if sighting.held:
        return LogDecision(tell=False, known=_held(known, sighting, now))
    return LogDecision(tell=True, known=ended if sighting.telling.repeat_interval else None)


def _same(known: LogEntry, sighting: PendingAlert) -> bool:
    return known.status is sighting.status and known.starts_at == sighting.starts_at


def _knows(sighting: PendingAlert, told_at: float | None, due_at: float | None) -> LogEntry:
    return LogEntry(sighting.key, sighting.target, sighting.status, sighting.starts_at, told_at, due_at)


def _held(known: LogEntry | None, sighting: PendingAlert, now: float) -> LogEntry:
    before = known or _knows(sighting, sighting.seen_at, None)
    if known is None and sighting.seen_at is not None and sighting.status is AlertStatus.RESOLVED:
        before = replace(before, status=AlertStatus.FIRING)  # that was told, its end was not
    held = f"{_DIRECT}{sighting.held}" if sighting.direct else sighting.held
    return replace(before, due_at=now + HELD_AGAIN, held=held)


# ---------------------------------------------------------------- the ledger and its table

LogKey = tuple[str, str]
"""Key and target."""
Changes = Mapping[LogKey, LogEntry | None]
"""Rows as they are to be; None where one is to go."""


@dataclass(frozen=True)
class Selection:
    """What became of some sightings. The ledger has it already: store `changes`, or `undo` it."""

    tell: tuple[bool, ...]
    """For each sighting, in order."""
    changes: Changes
    before: Changes

    @property
    def held(self) -> set[str]:
        """The keys of what is held back, for `record_seen`."""
        return {key for (key, _), row in self.changes.items() if row and row.held}


@dataclass(frozen=True)
class LogUpdate:
    """What is to be remembered of alerts, in the transaction that stores the messages about them."""

    groups: tuple[AlertGroup, ...]
    plan: Selection

    @classmethod
    def store_all(cls, connection: Connection, parts: Sequence[Self], *, now: float) -> None:
        """Remember what was said, and what targets now know (`StoredAlong`)."""
        held = {key for part in parts for key in part.plan.held}
        record_seen(connection, [group for part in parts for group in part.groups], now=now, held=held)
        store_entries(connection, {place: row for part in parts for place, row in part.plan.changes.items()})


class NotificationLog:
    """The table `told` in memory. Use it from one thread: between asking and storing nobody else is let in."""

    def __init__(self, rows: Iterable[LogEntry] = ()) -> None:
        self._rows: dict[LogKey, LogEntry] = {(row.key, row.target): row for row in rows}

    def known(self, key: str, target: str) -> LogEntry | None:
        """What a target knows of an alert."""
        return self._rows.get((key, target))

    def weigh(self, sightings: Iterable[PendingAlert], now: float) -> Selection:
        """Decide of each sighting whether it is told now (`decide`)."""
        tell: list[bool] = []
        before: dict[LogKey, LogEntry | None] = {}
        for each in sightings:
            place = (each.key, each.target)
            known = self._rows.get(place)
            verdict = decide(known, each, now)
            tell.append(verdict.tell)
            if verdict.known != known:
                before.setdefault(place, known)
                self._set(place, verdict.known)
        return Selection(tuple(tell), {place: self._rows.get(place) for place in before}, before)

    def change(self, changes: Changes) -> Selection:
        """Note rows as they are to be; None where one is to go."""
        before = {place: self._rows.get(place) for place in changes}
        for place, row in changes.items():
            self._set(place, row)
        return Selection((), changes, before)

    def undo(self, plan: Selection) -> None:
        """A plan could not be stored: let all be as before, except where something newer was noted since."""
        for place, row in plan.before.items():
            if self._rows.get(place) == plan.changes[place]:
                self._set(place, row)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop all that is known of some alerts (`prune`)."""
        gone = set(keys)
        for place in [place for place in self._rows if place[0] in gone] if gone else ():
            del self._rows[place]

    def _set(self, place: LogKey, row: LogEntry | None) -> None:
        if row is None:
            self._rows.pop(place, None)
        else:
            self._rows[place] = row


_COLUMNS = tuple(column.name for column in told.columns)
_UPSERT_TOLD = sa.text(
    f"INSERT INTO told ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "  # noqa: S608
    f"ON CONFLICT (key, target) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[2:])}",
)
_DELETE_TOLD = sa.delete(told).where(told.c.key == sa.bindparam("k"), told.c.target == sa.bindparam("t"))


def store_entries(connection: Connection, changes: Changes) -> None:
    """Store what changed in the ledger, in the transaction that stores the messages."""
    rows = [{**vars(row), "status": row.status.value} for row in changes.values() if row]
    gone = [{"k": key, "t": target} for (key, target), row in changes.items() if row is None]
    if rows:
        connection.execute(_UPSERT_TOLD, rows)
    if gone:
        connection.execute(_DELETE_TOLD, gone)


def load(connection: Connection) -> NotificationLog:
    """The ledger, at a start."""
    return NotificationLog(_told(row) for row in connection.execute(sa.select(told)))


def list_due(connection: Connection, *, now: float, limit: int) -> list[tuple[LogEntry, SeenAlert | None]]:
    """What is to be looked at again, the longest overdue first, each with its alert (None where that is forgotten).

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
        found.append((its, _seen(row) if row.key is not None else None))
    return found


def _told(row: Any) -> LogEntry:
    return LogEntry(**row._asdict() | {"status": AlertStatus(row.status)})


def forget_held(connection: Connection, keys: Sequence[str]) -> None:
    """Forget what had no identity of its own, once it is told or need not be any more."""
    gone = [key for key in keys if key.startswith(_ONCE)]
    for chunk in _chunks(gone):
        still = sa.select(told.c.key).where(told.c.key.in_(chunk))
        connection.execute(sa.delete(alerts).where(alerts.c.key.in_(chunk), alerts.c.key.not_in(still)))
