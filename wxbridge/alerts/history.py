"""From when to when each alert fired, for summaries: an episode begins with a firing and ends with its resolution.

A row is written where an alert's state changes and not where it is repeated, in the transaction that remembers the
alert (`store.record_seen`). What has no data counts as firing. The functions take a connection and run inside
`Database.run`; times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.alerts import routing
from wxbridge.alerts.severity import severity_name, severity_rank
from wxbridge.alerts.sources import rule_name_of
from wxbridge.core.bites import Bite
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.prepared import PreparedStatement
from wxbridge.core.schema import alerts, episodes
from wxbridge.core.sql import whole
from wxbridge.core.text.normalise import replace_surrogates

_MAX_NAME_CHARS = 200
"""Characters."""

Sighted = tuple[str, AlertGroup, Alert]
"""An alert with an identity: its key, the group that it came with, and what it says."""


# ---------------------------------------------------------------- keeping them

_keys: sa.BindParameter[list[str]] = sa.bindparam("keys", expanding=True)
_OPEN = PreparedStatement(
    sa.select(episodes.c.key, episodes.c.started_at).where(episodes.c.ended_at.is_(None), episodes.c.key.in_(_keys)),
    keys="keys",
)
_ENDED_BEFORE = PreparedStatement(
    sa.select(alerts.c.key, alerts.c.starts_at).where(
        alerts.c.key.in_(_keys), alerts.c.status == AlertStatus.RESOLVED.value
    ),
    keys="keys",
)
_CLOSE = PreparedStatement(
    sa.update(episodes)
    .where(episodes.c.key == sa.bindparam("of"), episodes.c.ended_at.is_(None))
    .values(ended_at=sa.bindparam("at"))
)
_INSERT = PreparedStatement(
    sa.insert(episodes), columns=("key", "source", "name", "severity", "labels", "started_at", "ended_at")
)


def record_episodes(connection: Connection, sighted: Sequence[Sighted], *, now: float) -> None:
    """Open and close episodes by what was said, in that order; call it before `alerts` is brought up to date.

    An episode begins at the monitor's own start where it gives one, and ends at the monitor's own end.
    """
    keys = list({key for key, _, _ in sighted})
    began: dict[str, float] = {row.key: row.started_at for row in _OPEN.rows_of(connection, keys)}
    fresh: dict[str, dict[str, Any]] = {}
    over: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    for key, group, alert in sighted:
        if alert.status is not AlertStatus.RESOLVED:
            if key not in began:
                again = key in over and over[key] == alert.starts_at
                fresh[key] = _row(key, group, alert, now) | ({"started_at": now} if again else {})
                began[key] = fresh[key]["started_at"]
                rows.append(fresh[key])
        elif key in began:
            at = max(began.pop(key), _moment(alert.ends_at, now))
            over[key] = alert.starts_at
            if key in fresh:
                fresh.pop(key)["ended_at"] = at
            else:
                ends.append({"of": key, "at": at})
    _CLOSE.run_many(connection, ends)
    _count_nothing_twice(connection, rows, now)
    _INSERT.run_many(connection, rows)


def _row(key: str, group: AlertGroup, alert: Alert, now: float) -> dict[str, Any]:
    labels = routing.labels_of(group, alert)
    del labels["status"]
    return {
        "key": key,
        "source": replace_surrogates(alert.source),
        "name": replace_surrogates(rule_name_of(labels))[:_MAX_NAME_CHARS],
        "severity": replace_surrogates(severity_name(alert)),
        "labels": labels,
        "started_at": _moment(alert.starts_at, now),
        "ended_at": None,
    }


def _moment(given: Any, now: float) -> float:
    """The monitor's own time, where it gave a believable one: neither ahead of us nor before there were computers."""
    at = given.timestamp() if given else now
    return float(at) if 0 < at <= now else now


def _count_nothing_twice(connection: Connection, rows: Sequence[dict[str, Any]], now: float) -> None:
    """What ended and comes again with the same start fires anew from now: the time until its end is counted."""
    # What begins now has not ended before: it is not asked for.
    earlier = [row for row in rows if row["started_at"] != now]
    ended = _ENDED_BEFORE.rows_of(connection, list({row["key"] for row in earlier}))
    before = {row.key: row.starts_at for row in ended}
    for row in earlier:
        if row["started_at"] == before.get(row["key"]):
            row["started_at"] = now
            row["ended_at"] = row["ended_at"] and max(now, row["ended_at"])


def end_unheard(connection: Connection, keys: Sequence[str]) -> None:
    """End what still fires of alerts that are about to be forgotten, at the moment that was heard of them last."""
    last = sa.select(alerts.c.updated_at).where(alerts.c.key == episodes.c.key).scalar_subquery()
    connection.execute(
        sa.update(episodes).where(episodes.c.ended_at.is_(None), episodes.c.key.in_(keys)).values(ended_at=last)
    )


@dataclass(frozen=True)
class Episode:
    """From when to when an alert fired, in seconds since the epoch; `ended_at` is None while it does."""

    started_at: float
    ended_at: float | None


def list_episodes(connection: Connection, keys: Sequence[str], *, limit: int) -> list[Episode]:
    """List the episodes of an alert, by its keys, the last at the top."""
    query = sa.select(episodes.c.started_at, episodes.c.ended_at).where(episodes.c.key.in_(keys))
    rows = connection.execute(query.order_by(episodes.c.started_at.desc(), episodes.c.id.desc()).limit(limit))
    return [Episode(row.started_at, row.ended_at) for row in rows]


def prune(connection: Connection, limit: int = 1000, *, before: float) -> Bite[None]:
    """Forget episodes that ended before a moment, at most `limit` of them."""
    old = sa.select(episodes.c.id).where(episodes.c.started_at < before, episodes.c.ended_at < before).limit(limit)
    return Bite(None, connection.execute(sa.delete(episodes).where(episodes.c.id.in_(old))).rowcount)


# ---------------------------------------------------------------- summing them up


@dataclass(frozen=True)
class EpisodeTotal:
    """What alerts of one name and severity did in a period."""

    name: str
    severity: str
    """As routes know it; empty where the monitor has no word for it."""
    count: int
    """Episodes that fired in the period; one that began before it is among them."""
    seconds: float
    """How long they fired within the period, all added up."""
    firing: int
    """How many of them still fire."""


def sum_up_episodes(connection: Connection, since: float, until: float) -> list[EpisodeTotal]:
    """Sum up what fired from `since` until before `until`, by name and severity, the noisiest first.

    What still fires counts until `until`: a moment that is no later than now. Noisy is what fired often; of what
    fired as often, the longer and then the worse comes first.
    """
    began, ended = episodes.c.started_at, episodes.c.ended_at
    first = sa.case((began < since, since), else_=began)
    last = sa.case((sa.or_(ended.is_(None), ended > until), until), else_=ended)
    still = sa.or_(ended.is_(None), ended > until)
    rows = connection.execute(
        sa.select(
            episodes.c.name,
            episodes.c.severity,
            sa.func.count().label("count"),
            sa.func.sum(last - first).label("seconds"),
            sa.func.sum(sa.case((still, 1), else_=0)).label("firing"),
        )
        .where(sa.or_(began.between(since, until), ended.is_(None), ended > since), began < until)
        .group_by(episodes.c.name, episodes.c.severity)
    )
    totals = [EpisodeTotal(row.name, row.severity, row[2], float(row.seconds), row.firing) for row in rows]
    return sorted(totals, key=lambda each: (-each.count, -each.seconds, severity_rank(each.severity), each.name))


def count_beginnings(connection: Connection, since: float, step: float, steps: int) -> dict[str, list[int]]:
    """How many episodes began in each of `steps` stretches of `step` seconds from `since` on, by severity."""
    place = whole((episodes.c.started_at - since) / step)
    rows = connection.execute(
        sa.select(episodes.c.severity, place, sa.func.count())
        .where(episodes.c.started_at >= since, episodes.c.started_at < since + step * steps)
        .group_by(episodes.c.severity, place)
    )
    found: dict[str, list[int]] = {}
    for severity, index, count in rows:
        found.setdefault(severity, [0] * steps)[min(index, steps - 1)] += count
    return found
