"""The tables `alerts` and `acks`: what monitors said last of each alert, and who looks after it.

The functions take a connection and run inside `Database.run`; times are seconds since the epoch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.alerts import history, serialization
from wxbridge.alerts.identity import hash_text, identify
from wxbridge.alerts.silences import end_with
from wxbridge.alerts.sources import UPDATE, UPDATED_BY, strip_times
from wxbridge.core.bites import Bite
from wxbridge.core.chunks import in_chunks
from wxbridge.core.frozen import replace
from wxbridge.core.leadership import note_changed
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.prepared import PreparedStatement
from wxbridge.core.schema import ENDED, FIRING, acks, alerts, silences, told
from wxbridge.core.text.normalise import replace_surrogates

ONCE = "once:"
"""How the key of what cannot be told from a later one begins: free text, and alerts without a fingerprint."""


MAX_SILENCE_SECONDS = 86400.0
"""How long a sender is silent, at most, before what it said is over, where no route says how long."""


def alert_key(group: AlertGroup, alert: Alert | None) -> str:
    """What tells an alert from all others, of all sources: 32 hexadecimal digits.

    Where the monitor gave no fingerprint, and for free text (`alert` is None), it tells what was said: such a thing
    has no end, and is not remembered unless it is held back.
    """
    if alert is not None and (key := identify(alert)):
        return key
    said = serialization.group_to_json(replace(group, alerts=(alert,) if alert else (), dedupe=None))
    return ONCE + hash_text(json.dumps(said, sort_keys=True))


def statement_of(alert: Alert | None) -> str:
    """What one alert must have in common with another to be its repeat, besides the key: its title and its link.

    What somebody does with a problem that fires on is no repeat either. Grafana's links to a dashboard name the time of
    the notification; that is left out. 16 hexadecimal digits, or nothing for free text.
    """
    if alert is None:
        return ""
    said = [alert.title, strip_times(alert.link) if alert.link else ""]
    if UPDATE in alert.annotations and alert.status is not AlertStatus.RESOLVED:
        said += [alert.annotations.get(name, "") for name in (UPDATE, UPDATED_BY, "message")]
    return hashlib.blake2b("\0".join(said).encode(errors="surrogatepass"), digest_size=8).hexdigest()


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
    silenced_by: str | None = None
    """The id of the silence that holds it back, where it was looked for."""
    is_over: bool = False
    """Whether silence ended it: its sender has not said so."""

    @property
    def alert(self) -> Alert | None:
        """The alert; None for free text."""
        return self.group.alerts[0] if self.group.alerts else None

    @property
    def starts_at(self) -> datetime | None:
        """When it began by its monitor; None where that did not say."""
        return self.alert.starts_at if self.alert else None


_UPSERT_ALERT = PreparedStatement(sa.text(
    f"INSERT INTO {alerts.name} "  # noqa: S608 - our own name
    "(key, status, content, starts_at, first_seen, updated_at, said_every, over_at) "
    "VALUES (:key, :status, :content, :starts_at, :now, :now, :said_every, :over_at) ON CONFLICT (key) DO UPDATE SET "
    "first_seen = CASE WHEN alerts.status = 'resolved' AND excluded.status <> 'resolved' "
    "THEN excluded.first_seen ELSE alerts.first_seen END, "
    "status = excluded.status, content = excluded.content, starts_at = excluded.starts_at, "
    "updated_at = excluded.updated_at, said_every = excluded.said_every, over_at = excluded.over_at",
))  # fmt: skip


@dataclass(frozen=True)
class Hearing:
    """When what was heard of an alert is over, by itself, and how often its sender says it; seconds."""

    over_at: float | None = None
    """Since the epoch: when silence means that it is over. None for what is over, and for never."""
    said_every: float | None = None
    """The longest time between two times that its sender said the same; None where it said it once."""


def record_seen(
    connection: Connection,
    groups: Iterable[AlertGroup],
    *,
    now: float,
    held: Collection[str] = (),
    hearings: Mapping[str, Hearing] | None = None,
) -> None:
    """Remember what was said, and where an alert began or ceased to fire, in the transaction that stores the messages.

    What has no identity of its own is left out, unless its key is among `held` (`Selection.held_keys`). `hearings` are
    by key; what has none is over after `MAX_SILENCE_SECONDS`.
    """
    hearings, unknown, over = hearings or {}, Hearing(now + MAX_SILENCE_SECONDS), Hearing()
    rows: dict[str, dict[str, Any]] = {}
    sighted: list[history.Sighted] = []
    for group in groups:
        head = serialization.group_to_json(replace(group, alerts=(), truncated=0, dedupe=None))
        for alert in group.alerts or (None,):
            key = alert_key(group, alert) if held or (alert and alert.fingerprint) else ONCE
            if key.startswith(ONCE) and key not in held:
                continue
            rows[key] = {
                "key": key,
                "status": alert.status.value if alert else AlertStatus.FIRING.value,
                "content": json.dumps(head | {"alerts": [serialization.alert_to_json(alert)] if alert else []}),
                "starts_at": starts_at_of(alert),
                "now": now,
                **vars(hearings.get(key, over if alert and alert.status is AlertStatus.RESOLVED else unknown)),
            }
            if alert and alert.fingerprint:
                sighted.append((key, group, alert))
    if sighted:
        history.record_episodes(connection, sighted, now=now)
    if rows:
        _UPSERT_ALERT.run_many(connection, list(rows.values()))
        note_changed(connection, rows.keys())
        _end_what_waits(connection, [key for key, row in rows.items() if row["status"] == _RESOLVED], now)


_RESOLVED = AlertStatus.RESOLVED.value


def _end_what_waits(connection: Connection, keys: list[str], now: float) -> None:
    """Forget who looked after alerts that are over, and end the silences that end with them."""
    if keys:
        clear_acks(connection, keys)
        end_with(connection, keys, now=now)


def starts_at_of(alert: Alert | None) -> float | None:
    """Give an alert's own start in seconds since the epoch; None where it says none."""
    return alert.starts_at.timestamp() if alert and alert.starts_at else None


def seen_alert(row: Any) -> SeenAlert:
    """Read a row of the table `alerts`."""
    group = serialization.group_from_json(row.content)
    is_over = row.status == AlertStatus.RESOLVED.value and any(
        alert.status is not AlertStatus.RESOLVED for alert in group.alerts
    )
    return SeenAlert(row.key, group, row.first_seen, row.updated_at, is_over=is_over)


_RESOLVED = AlertStatus.RESOLVED.value
_FIRING = sa.text(FIRING)
_ENDED = sa.text(ENDED)
"""Both to the letter as the indexes have them."""
_WITH_IDENTITY = sa.not_(alerts.c.key.startswith(ONCE))


def list_firing_keys(connection: Connection, *, limit: int) -> list[str]:
    """The keys of the alerts that fire or have no data, what was mentioned last at the top."""
    query = sa.select(alerts.c.key).where(_FIRING, _WITH_IDENTITY).order_by(alerts.c.updated_at.desc(), alerts.c.key)
    return list(connection.execute(query.limit(limit)).scalars())


def read_firing(connection: Connection, keys: Sequence[str]) -> list[SeenAlert]:
    """Those of some alerts that fire or have no data, in the order of the keys."""
    rows = connection.execute(sa.select(alerts).where(alerts.c.key.in_(keys), alerts.c.status != _RESOLVED))
    found = {row.key: row for row in rows}
    return [seen_alert(found[key]) for key in keys if key in found]


def count_firing(connection: Connection) -> int:
    """Count the alerts that fire or have no data."""
    query = sa.select(sa.func.count()).select_from(alerts).where(_FIRING, _WITH_IDENTITY)
    return int(connection.execute(query).scalar_one())


def find_by_short_keys(connection: Connection, short_keys: Iterable[str]) -> list[SeenAlert]:
    """The alerts whose keys begin so, also those that are over, in that order."""
    found = []
    for short in short_keys:
        # From its first digits up to what is behind all digits: the primary key finds them.
        query = sa.select(alerts).where(alerts.c.key >= short, alerts.c.key < f"{short}g").limit(1)
        found += [seen_alert(row) for row in connection.execute(query)]
    return found


def find_firing_since(connection: Connection, keys: Iterable[str]) -> dict[str, tuple[float | None, float]]:
    """Which of these alerts fire already, with their start and when they were last seen, for `PendingAlert.seen_at`."""
    found: dict[str, tuple[float | None, float]] = {}
    for chunk in in_chunks(keys):
        query = sa.select(alerts.c.key, alerts.c.starts_at, alerts.c.updated_at, alerts.c.status)
        found |= {
            row.key: (row.starts_at, row.updated_at)
            for row in connection.execute(query.where(alerts.c.key.in_(chunk)))
            if row.status != AlertStatus.RESOLVED.value
        }
    return found


_OVER = alerts.c.over_at.is_not(None)


def has_unheard(connection: Connection, *, now: float) -> bool:
    """Whether there is anything for `end_unheard`."""
    return (
        connection.execute(sa.select(alerts.c.key).where(_OVER, alerts.c.over_at <= now).limit(1)).first() is not None
    )


def end_unheard(connection: Connection, *, now: float, limit: int = 500) -> list[str]:
    """End alerts whose sender has been silent for so long that it means they are over; returns their keys."""
    query = sa.select(alerts.c.key).where(_OVER, alerts.c.over_at <= now).order_by(alerts.c.over_at).limit(limit)
    keys = list(connection.execute(query).scalars())
    if keys:
        history.end_unheard(connection, keys)
        _end_what_waits(connection, keys, now)
        ended = {"status": AlertStatus.RESOLVED.value, "over_at": None}
        connection.execute(sa.update(alerts).where(alerts.c.key.in_(keys)).values(ended))
        note_changed(connection, keys)
    return keys


def shift_times(connection: Connection, by: float) -> None:
    """Let silence last as long as it would have, after the clock was set back by so many seconds (on: negative)."""
    shifted = {"over_at": alerts.c.over_at - by, "updated_at": alerts.c.updated_at - by}
    connection.execute(sa.update(alerts).where(_OVER).values(shifted))
    note_changed(connection, ("*",))


def prune_alerts(
    connection: Connection, limit: int = 1000, *, resolved_before: float, unheard_before: float
) -> Bite[list[str]]:
    """Forget alerts that were resolved, or of which nothing was heard, before a moment, and what was told of them.

    Returns their keys, for `NotificationLog.forget`.
    """
    keys: list[str] = []
    for condition, before in ((_ENDED, resolved_before), (_FIRING, unheard_before)):
        old = sa.select(alerts.c.key).where(condition, alerts.c.updated_at < before).order_by(alerts.c.updated_at)
        keys += connection.execute(old.limit(limit - len(keys))).scalars()
    for chunk in in_chunks(keys):
        history.end_unheard(connection, chunk)
        clear_acks(connection, chunk)
        connection.execute(sa.delete(told).where(told.c.key.in_(chunk)))
        connection.execute(sa.delete(alerts).where(alerts.c.key.in_(chunk)))
    note_changed(connection, keys)
    return Bite(keys, len(keys))


# ---------------------------------------------------------------- who looks after them


@dataclass(frozen=True)
class Ack:
    """Somebody looks after an alert."""

    key: str
    at: float
    by: str
    comment: str = ""

    def holds(self, starts_at: datetime | None) -> bool:
        """Whether it is of the firing that began then: what begins later is news to whoever took the earlier one."""
        return starts_at is None or starts_at.timestamp() <= self.at


def add_acks(connection: Connection, keys: Iterable[str], *, by: str, comment: str, now: float) -> None:
    """Note who looks after alerts, instead of who did before."""
    values = {"at": now, "by": _ack_text(by), "comment": _ack_text(comment)}
    keys = list(dict.fromkeys(keys))
    clear_acks(connection, keys)
    if keys:
        connection.execute(sa.insert(acks), [{"key": key, **values} for key in keys])


def read_acks(connection: Connection, keys: Collection[str] | None = None) -> dict[str, Ack]:
    """The acks of some alerts, by key; all that there are without `keys`."""
    queries = [sa.select(acks)]
    if keys is not None:
        queries = [sa.select(acks).where(acks.c.key.in_(chunk)) for chunk in in_chunks(keys)]
    return {row.key: Ack(row.key, row.at, row.by, row.comment) for each in queries for row in connection.execute(each)}


def clear_acks(connection: Connection, keys: Iterable[str]) -> None:
    """Forget the acks of alerts that are over."""
    _CLEAR_ACK.run_many(connection, [{"of": key} for key in keys])


_CLEAR_ACK = PreparedStatement(sa.delete(acks).where(acks.c.key == sa.bindparam("of")))


def prune_acks(connection: Connection, *, before: float) -> None:
    """Forget those from before a moment: of alerts that the bridge never saw the end of."""
    connection.execute(sa.delete(acks).where(acks.c.at < before))


def _ack_text(text: str) -> str:
    return replace_surrogates(text).replace("\x00", "")


_CHANGE_MARK = sa.select(
    *(
        column.scalar_subquery()
        for column in (
            sa.select(sa.func.count()).select_from(alerts).where(_FIRING),
            sa.select(sa.func.max(alerts.c.updated_at)).where(_FIRING),
            sa.select(sa.func.max(alerts.c.updated_at)).where(_ENDED),
            sa.select(sa.func.count()).select_from(silences),
            sa.select(sa.func.sum(silences.c.ends_at)).select_from(silences),
            sa.select(sa.func.max(acks.c.at)),
        )
    )
)


def read_change_mark(connection: Connection) -> Hashable:
    """Read something that changes whenever alerts, silences or acks do."""
    return tuple(connection.execute(_CHANGE_MARK).one())
