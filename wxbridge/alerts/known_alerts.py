"""What is known of each alert, in memory: whether it fires, since when, and how often its sender says so.

The table `alerts` has it too; the bridge alone writes that, so taking an alert in asks the database nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.alerts.identity import identify
from wxbridge.alerts.store import MAX_SILENCE_SECONDS, Hearing, starts_at_of, statement_of
from wxbridge.core.chunks import in_chunks
from wxbridge.core.frozen import replace
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.core.schema import ENDED, FIRING, alerts

SAME_START_SECONDS = 60.0
"""How far the starts may lie apart that replicas give one firing, and the ends."""
COUNTED_START_SECONDS = 600.0
"""The same for times that are counted back from when an alert came in: its sender tries again for so long."""
_ZONE_SECONDS = 900.0
"""By what zones differ."""
MAX_ZONE_SECONDS = 26 * 3600.0
"""By how much two of them can."""
MIN_INTERVAL_SECONDS = 60.0
"""Between two times that a sender says the same on purpose; what is sooner is a retry, or a replica."""
MIN_SILENCE_SECONDS = 600.0
"""How long a sender is silent, at least, before what it said is over, where no route says how long."""
SILENT_INTERVALS = 3
"""How many of a sender's intervals pass before its silence means something."""
OWN_SILENCE_SECONDS = 7 * 86400.0
"""The same for machines that this program watches: it says the end itself, and does not repeat."""
REMEMBERED_SECONDS = 2 * 86400.0
"""How long it is remembered how an alert ended: replicas, and what Grafana says again, come sooner."""
_HOST = "host"


def is_same_start(one: float | None, other: float | None) -> bool:
    """Tell whether two starts, in seconds since the epoch, are those of one firing; None where none was said."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SAME_START_SECONDS


@dataclass(frozen=True)
class KnownAlert:
    """What was heard of an alert last. Times are seconds since the epoch."""

    status: AlertStatus
    starts_at: float | None
    """The first that was said of this firing."""
    ends_at: float | None
    heard_at: float
    began_at: float | None = None
    """When it began: by its sender, else when this firing was first heard of; None where only its end was heard of."""
    said_every: float | None = None
    """The longest time between two times that its sender said the same."""
    said: str = ""
    """With what it was said: the whole of its group. Empty where that is not known any more."""
    statement: str | None = None
    """What it said, by `statement_of`; None where that is not known any more."""
    told_to: frozenset[str] | None = frozenset()
    """The targets that were told of this firing, or of this end; None for whoever is to be told, before a restart."""
    told_at: float = 0.0
    """When somebody was told last."""

    @property
    def is_firing(self) -> bool:
        """Whether it is not over."""
        return self.status is not AlertStatus.RESOLVED


@dataclass(frozen=True)
class HeardGroup:
    """A group as it counts, and what it changed: `KnownAlerts.undo` takes that back."""

    group: AlertGroup
    """An alert that fires already begins when it began; one that is over already ended when it ended."""
    keys: tuple[str, ...]
    """Of its alerts."""
    said: str
    """What tells it from other groups of its sender, but not from the same group said again."""
    has_news: bool = True
    """Whether it says of any alert what was not heard before."""
    before: Mapping[str, KnownAlert | None] = field(default_factory=dict)
    news: tuple[str, ...] = ()
    """The keys of the alerts of which it says what was not heard before."""

    def list_resolved(self) -> list[str]:
        """List the keys of its alerts that are over."""
        alerts = zip(self.keys, self.group.alerts, strict=True)
        return [key for key, alert in alerts if key and alert.status is AlertStatus.RESOLVED]


class KnownAlerts:
    """The alerts that are known. Use it from one thread."""

    def __init__(self, known: Mapping[str, KnownAlert] | None = None) -> None:
        self._alerts: dict[str, KnownAlert] = dict(known or {})

    @classmethod
    def load(cls, connection: Connection, *, now: float) -> Self:
        """Read what fires, and what ended within `REMEMBERED_SECONDS`, at a start."""
        since = now - REMEMBERED_SECONDS
        conditions = (sa.text(FIRING), sa.and_(sa.text(ENDED), alerts.c.updated_at >= since))
        return cls({key: known for each in conditions for key, known in _select_known(connection, each)})

    @staticmethod
    def read(connection: Connection, keys: Iterable[str]) -> dict[str, KnownAlert]:
        """Read what is stored of some alerts; those that are forgotten are left out."""
        conditions = (alerts.c.key.in_(chunk) for chunk in in_chunks(keys))
        return {key: known for each in conditions for key, known in _select_known(connection, each)}

    def renew(self, keys: Iterable[str], stored: Mapping[str, KnownAlert]) -> None:
        """Put what another bridge has stored of some alerts in the place of what was known."""
        for key in keys:
            if key in stored:
                self._alerts[key] = stored[key]
            else:
                self._alerts.pop(key, None)

    def hear(self, group: AlertGroup, now: float) -> HeardGroup:
        """Take in what a group says: what was said before keeps the times that it had."""
        keys = tuple(map(identify, group.alerts))
        settled = [
            self._settle(alert, self._alerts.get(key), now) for key, alert in zip(keys, group.alerts, strict=True)
        ]
        group = group.with_alerts(settled)
        statements = [statement_of(alert) for alert in settled]
        said = _said(group, keys, statements)
        before: dict[str, KnownAlert | None] = {}
        news: list[str] = []
        has_news = not keys
        for key, alert, statement in zip(keys, settled, statements, strict=True):
            known = self._alerts.get(key)
            is_same = known is not None and _is_same(known, alert, statement)
            has_news = has_news or not is_same
            if key:
                news += [] if is_same else [key]
                before.setdefault(key, known)
                self._alerts[key] = _joined(known, alert, now, said, statement, is_same=is_same)
        return HeardGroup(group, keys, said, has_news, before, tuple(news))

    def undo(self, heard: HeardGroup) -> None:
        """Take back what could not be stored."""
        for key, known in heard.before.items():
            if known is None:
                self._alerts.pop(key, None)
            else:
                self._alerts[key] = known

    def is_firing(self, alert: Alert) -> bool:
        """Whether an alert, whatever is said of it now, is known to fire."""
        known = self._alerts.get(identify(alert))
        return known is not None and known.is_firing

    def is_told(self, key: str, target: str) -> bool:
        """Whether a target was told of this firing of an alert, or of this end."""
        known = self._alerts.get(key)
        return known is not None and (known.told_to is None or target in known.told_to)

    def note_told(self, key: str, target: str, now: float) -> None:
        """Note that a target was told what was heard of an alert last."""
        known = self._alerts.get(key)
        if known is not None:
            told_to = None if known.told_to is None else known.told_to | {target}
            self._alerts[key] = replace(known, told_to=told_to, told_at=now)

    def seconds_since_told(self, key: str, now: float) -> float:
        """How long ago anybody was told of an alert; 0 where that was in the future, by a clock that was set back."""
        known = self._alerts.get(key)
        return now - known.told_at if known and known.told_at <= now else 0.0

    def date(self, alert: Alert, key: str, now: float) -> Alert:
        """Give an alert whose sender tells no times those of the bridge: since when it fires, and its end."""
        known = self._alerts.get(key)
        if known is None or known.began_at is None or alert.starts_at is not None:
            return alert
        ends_at = alert.ends_at
        if alert.status is AlertStatus.RESOLVED:
            ends_at = ends_at or _moment(now)
        return replace(alert, starts_at=_moment(known.began_at), ends_at=ends_at)

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

    def shift_times(self, by: float) -> None:
        """Let what was heard and told keep its age after the clock was set back by so many seconds (on: negative)."""
        for key, known in self._alerts.items():
            began_at = known.began_at
            if began_at is not None and known.starts_at is None:
                began_at -= by
            self._alerts[key] = replace(
                known, heard_at=known.heard_at - by, told_at=known.told_at - by, began_at=began_at
            )

    def end(self, keys: Iterable[str]) -> None:
        """Note that silence ended alerts (`store.end_unheard`)."""
        for key in keys:
            if key in self._alerts:
                self._alerts[key] = replace(self._alerts[key], status=AlertStatus.RESOLVED)

    def forget_ended(self, now: float) -> None:
        """Drop what ended long ago (`REMEMBERED_SECONDS`)."""
        old = [key for key, known in self._alerts.items()
               if not known.is_firing and known.heard_at < now - REMEMBERED_SECONDS]  # fmt: skip
        self.forget(old)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what is known of alerts (`store.prune_alerts`)."""
        for key in keys:
            self._alerts.pop(key, None)

    @staticmethod
    def _settle(alert: Alert, known: KnownAlert | None, now: float) -> Alert:
        alert = _count_back(alert, known, now)
        is_over = alert.status is AlertStatus.RESOLVED
        if known is None or (alert.ends_at if is_over else alert.starts_at) is None:
            return alert
        if not is_over:
            same = known.is_firing and known.starts_at and is_same_start(known.starts_at, starts_at_of(alert))
            return replace(alert, starts_at=_moment(known.starts_at)) if same and known.starts_at else alert
        if known.is_firing:
            # What could not be told while it fired ends when it began.
            began = known.starts_at if alert.starts_at is None else None
            return replace(alert, starts_at=_moment(began)) if began and began < (_end(alert) or 0.0) else alert
        # Grafana says an end again with another start, or none.
        if known.ends_at is None or not (alert.is_once or is_same_start(known.ends_at, _end(alert))):
            return alert
        starts_at = alert.starts_at if known.starts_at is None else _moment(known.starts_at)
        return replace(alert, starts_at=starts_at, ends_at=_moment(known.ends_at))


def _count_back(alert: Alert, known: KnownAlert | None, now: float) -> Alert:
    """Give an alert the times that follow from its coming in now: an end that has none, a start that is so long ago.

    What is said again, by a retry, keeps the times that it had.
    """
    if alert.starts_at and alert.duration is not None:
        lasted_until = alert.starts_at + timedelta(seconds=alert.duration)
        if alert.status is AlertStatus.RESOLVED and alert.ends_at is None:
            alert = replace(alert, ends_at=lasted_until)
        return _correct_zone(alert, lasted_until.timestamp() - now)
    if alert.status is not AlertStatus.RESOLVED:
        if alert.starts_at is not None:
            return alert
        began = None if alert.duration is None else now - alert.duration
        if known and known.is_firing and known.starts_at and (began is None or _is_near(known.starts_at, began)):
            began = known.starts_at
        return replace(alert, starts_at=_moment(began)) if began is not None else alert
    if alert.ends_at is None and (alert.starts_at or alert.duration is not None or alert.is_once):
        is_again = known and not known.is_firing and known.ends_at and (alert.is_once or _is_near(known.ends_at, now))
        alert = replace(alert, ends_at=_moment(known.ends_at if known and known.ends_at and is_again else now))
    if alert.ends_at and alert.starts_at is None and alert.duration is not None:
        alert = replace(alert, starts_at=alert.ends_at - timedelta(seconds=alert.duration))
    return alert


def _correct_zone(alert: Alert, ahead: float) -> Alert:
    """Move the times of an alert whose clock is so many seconds ahead of ours, where that is due to another zone."""
    zones = round(ahead / _ZONE_SECONDS) * _ZONE_SECONDS
    if not zones or abs(zones) > MAX_ZONE_SECONDS or abs(ahead - zones) > SAME_START_SECONDS:
        return alert
    moved = timedelta(seconds=zones)
    ends_at = alert.ends_at and alert.ends_at - moved
    return replace(alert, starts_at=alert.starts_at and alert.starts_at - moved, ends_at=ends_at)


def _is_near(one: float, other: float) -> bool:
    return abs(one - other) <= COUNTED_START_SECONDS


def _select_known(connection: Connection, condition: Any) -> Iterator[tuple[str, KnownAlert]]:
    ends_at = alerts.c.content["alerts"][0]["ends_at"].as_string()
    query = sa.select(
        alerts.c.key, alerts.c.status, alerts.c.starts_at, alerts.c.updated_at, alerts.c.said_every,
        alerts.c.first_seen, ends_at.label("ends_at"),
    )  # fmt: skip
    for row in connection.execute(query.where(condition)):
        yield (
            row.key,
            KnownAlert(
                AlertStatus(row.status),
                row.starts_at,
                datetime.fromisoformat(row.ends_at).timestamp() if row.ends_at else None,
                row.updated_at,
                row.starts_at or (row.first_seen if row.status != AlertStatus.RESOLVED else None),
                row.said_every,
                told_to=None,
                told_at=row.updated_at,
            ),
        )


def _joined(
    known: KnownAlert | None, alert: Alert, now: float, said: str, statement: str, *, is_same: bool
) -> KnownAlert:
    """What is known of an alert that was just heard of, with what stays of before."""
    is_over, starts_at = alert.status is AlertStatus.RESOLVED, starts_at_of(alert)
    began_at = starts_at or (None if is_over else now)
    said_every = None
    if known is not None:
        said_every = known.said_every
        gap = now - known.heard_at
        if not is_over and known.is_firing and known.said == said and gap >= MIN_INTERVAL_SECONDS:
            said_every = max(gap, said_every or 0.0)
        if is_over or (known.is_firing and is_same_start(known.starts_at, starts_at)):
            began_at = known.began_at or began_at
    return KnownAlert(
        alert.status,
        starts_at,
        _end(alert) if is_over else None,
        now,
        began_at,
        said_every,
        said,
        statement,
        known.told_to if known and is_same else frozenset(),
        known.told_at if known and is_same else 0.0,
    )


def _is_same(known: KnownAlert, alert: Alert, statement: str) -> bool:
    """Whether an alert, settled, is the firing that is known, or the end, and says the same."""
    if known.status is not alert.status or known.statement not in (None, statement):
        return False
    if alert.status is AlertStatus.RESOLVED:
        return known.ends_at is not None and known.ends_at == _end(alert)
    return is_same_start(known.starts_at, starts_at_of(alert))


def _said(group: AlertGroup, keys: Sequence[str], statements: Sequence[str]) -> str:
    """What a retry repeats and a new firing does not; measured values change with every evaluation."""
    said = sorted(
        f"{key or alert.title} {alert.status.value} {statement} {starts_at_of(alert)} {_end(alert)}"
        for key, alert, statement in zip(keys, group.alerts, statements, strict=True)
    )
    whole = "\n".join([group.source, group.group_key, group.dedupe or "", *said])
    return hashlib.blake2b(whole.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _end(alert: Alert) -> float | None:
    return alert.ends_at.timestamp() if alert.ends_at else None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
