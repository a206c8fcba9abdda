"""What is known of each alert, in memory: whether it fires, since when, and how often its sender says so.

The table `alerts` has it too; the bridge alone writes that, so taking an alert in asks the database nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.alerts.store import MAX_SILENCE_SECONDS, Hearing, alert_key, starts_at_of, statement_of
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.schema import alerts

SAME_START_SECONDS = 60.0
"""How far the starts may lie apart that replicas give one firing, and the ends."""
MIN_INTERVAL_SECONDS = 60.0
"""Between two times that a sender says the same on purpose; what is sooner is a retry, or a replica."""
MIN_SILENCE_SECONDS = 600.0
"""How long a sender is silent, at least, before what it said is over, where no route says how long."""
SILENT_INTERVALS = 3
"""How many of a sender's intervals pass before its silence means something."""
OWN_SILENCE_SECONDS = 7 * 86400.0
"""The same for machines that this program watches: it says the end itself, and does not repeat."""
_HOST = "host"


def is_same_start(one: float | None, other: float | None) -> bool:
    """Tell whether two starts, in seconds since the epoch, are those of one firing; None where none was said."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SAME_START_SECONDS


@dataclass(frozen=True)
class KnownAlert:
    """What was heard of an alert last. Times are seconds since the epoch."""

    is_firing: bool
    starts_at: float | None
    """The first that was said of this firing."""
    ends_at: float | None
    heard_at: float
    said_every: float | None = None
    """The longest time between two times that its sender said the same."""
    said: str = ""
    """With what it was said: the whole of its group. Empty where that is not known any more."""
    end_told_to: frozenset[str] = frozenset()
    """The targets that were told of its end since the bridge started."""


@dataclass(frozen=True)
class HeardGroup:
    """A group as it counts, and what it changed: `KnownAlerts.undo` takes that back."""

    group: AlertGroup
    """An alert that fires already begins when it began; one that is over already ended when it ended."""
    keys: tuple[str, ...]
    """Of its alerts."""
    said: str
    """What tells it from other groups of its sender, but not from the same group said again."""
    before: Mapping[str, KnownAlert | None] = field(default_factory=dict)


class KnownAlerts:
    """The alerts that are known. Use it from one thread."""

    def __init__(self, known: Mapping[str, KnownAlert] | None = None) -> None:
        self._alerts: dict[str, KnownAlert] = dict(known or {})

    @classmethod
    def load(cls, connection: Connection) -> Self:
        """Read them, at a start."""
        ends_at = alerts.c.content["alerts"][0]["ends_at"].as_string()
        query = sa.select(
            alerts.c.key, alerts.c.status, alerts.c.starts_at, alerts.c.updated_at, alerts.c.said_every, ends_at
        )
        return cls(
            {
                row[0]: KnownAlert(
                    row[1] != AlertStatus.RESOLVED.value,
                    row[2],
                    datetime.fromisoformat(row[5]).timestamp() if row[5] else None,
                    row[3],
                    row[4],
                )
                for row in connection.execute(query)
            }
        )

    def hear(self, group: AlertGroup, now: float) -> HeardGroup:
        """Take in what a group says: what was said before keeps the times that it had."""
        settled = [self._settle(alert) for alert in group.alerts]
        group = replace(group, alerts=tuple(settled))
        keys = tuple(alert_key(group, alert) if alert.fingerprint else "" for alert in settled)
        said = _said(group, keys)
        before: dict[str, KnownAlert | None] = {}
        for key, alert in zip(keys, settled, strict=True):
            if key:
                before.setdefault(key, self._alerts.get(key))
                self._alerts[key] = _heard(self._alerts.get(key), alert, said, now)
        return HeardGroup(group, keys, said, before)

    def undo(self, heard: HeardGroup) -> None:
        """Take back what could not be stored."""
        for key, known in heard.before.items():
            if known is None:
                self._alerts.pop(key, None)
            else:
                self._alerts[key] = known

    def is_told_end(self, key: str, target: str) -> bool:
        """Whether an alert is over, and a target was told so already."""
        known = self._alerts.get(key)
        return known is not None and target in known.end_told_to

    def note_told_end(self, key: str, target: str) -> None:
        """Note that a target was told of an alert's end."""
        known = self._alerts.get(key)
        if known is not None and not known.is_firing:
            self._alerts[key] = replace(known, end_told_to=known.end_told_to | {target})

    def hearing(self, key: str, alert: Alert, timeouts: Sequence[float], now: float) -> Hearing:
        """Tell when an alert is over by silence; `timeouts` are what its routes say, of which the longest counts."""
        known = self._alerts[key]
        if not known.is_firing:
            return Hearing(None, known.said_every)
        if timeouts:
            silence = max(timeouts)
        elif alert.source == _HOST:
            silence = OWN_SILENCE_SECONDS
        elif known.said_every is None:
            silence = MAX_SILENCE_SECONDS
        else:
            silence = min(max(SILENT_INTERVALS * known.said_every, MIN_SILENCE_SECONDS), MAX_SILENCE_SECONDS)
        return Hearing(now + silence, known.said_every)

    def end(self, keys: Iterable[str]) -> None:
        """Note that silence ended alerts (`store.end_unheard`)."""
        for key in keys:
            if key in self._alerts:
                self._alerts[key] = replace(self._alerts[key], is_firing=False)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what is known of alerts (`store.prune_alerts`)."""
        for key in keys:
            self._alerts.pop(key, None)

    def _settle(self, alert: Alert) -> Alert:
        if not alert.fingerprint or alert.starts_at is None:
            return alert
        known = self._alerts.get(alert_key(AlertGroup(alert.source, "", ""), alert))
        if known is None or known.starts_at is None:
            return alert
        if alert.status is not AlertStatus.RESOLVED:
            same = known.is_firing and is_same_start(known.starts_at, starts_at_of(alert))
            return replace(alert, starts_at=_moment(known.starts_at)) if same else alert
        if known.is_firing or known.ends_at is None or alert.ends_at is None:
            return alert
        # Grafana says an end again with another start.
        if not is_same_start(known.ends_at, alert.ends_at.timestamp()):
            return alert
        return replace(alert, starts_at=_moment(known.starts_at), ends_at=_moment(known.ends_at))


def _heard(known: KnownAlert | None, alert: Alert, said: str, now: float) -> KnownAlert:
    is_firing = alert.status is not AlertStatus.RESOLVED
    ends_at = alert.ends_at.timestamp() if alert.ends_at and not is_firing else None
    if known is None:
        return KnownAlert(is_firing, starts_at_of(alert), ends_at, now, said=said)
    said_every = known.said_every
    gap = now - known.heard_at
    if is_firing and known.is_firing and known.said == said and gap >= MIN_INTERVAL_SECONDS:
        said_every = max(gap, said_every or 0.0)
    is_same_end = not is_firing and not known.is_firing and ends_at is not None and ends_at == known.ends_at
    told = known.end_told_to if is_same_end else frozenset()
    return KnownAlert(is_firing, starts_at_of(alert), ends_at, now, said_every, said, told)


def _said(group: AlertGroup, keys: Sequence[str]) -> str:
    """What a retry repeats and a new firing does not; measured values change with every evaluation."""
    said = sorted(
        f"{key or alert.title} {alert.status.value} {statement_of(alert)} {starts_at_of(alert)} {_end(alert)}"
        for key, alert in zip(keys, group.alerts, strict=True)
    )
    whole = "\n".join([group.source, group.group_key, group.dedupe or "", *said])
    return hashlib.blake2b(whole.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _end(alert: Alert) -> float | None:
    return alert.ends_at.timestamp() if alert.ends_at else None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
