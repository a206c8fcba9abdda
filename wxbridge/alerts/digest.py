"""Many alerts in one text: counts by name and status, the worst first. Pure; kept in the database as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from wxbridge.alerts.severity import EMOJI, emoji_of_severity, name_severity, severity_rank, write_severity_name
from wxbridge.alerts.sources import rule_name_of
from wxbridge.core.model import AlertStatus, NotificationKind
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import shorten

MAX_KINDS_SHOWN = 15
"""How many kinds of alerts a digest names."""
MAX_NAME_CHARS = 60
"""How many characters of a kind's name are shown."""
MAX_KINDS_KEPT = 200
"""How many kinds are kept apart in the database, the worst; the rest only as sums."""
MAX_UNTOLD_KEPT = 2000
"""How many firing alerts are remembered for pairing them with their resolution, the latest."""
_MARK_CHARS = 12

KindKey = tuple[str, str]
"""Alert name and severity."""


@dataclass
class KindCounts:
    """The alerts of one name and severity."""

    firing: int = 0
    resolved: int = 0
    no_data: int = 0
    passed: int = 0
    """Fired and resolved, both untold."""

    @property
    def waiting(self) -> int:
        """How many still tell something."""
        return self.firing + self.no_data + self.resolved

    def add(self, other: KindCounts) -> None:
        """Add another's counts."""
        self.firing += other.firing
        self.resolved += other.resolved
        self.no_data += other.no_data
        self.passed += other.passed

    def count(self, status: str, by: int = 1) -> None:
        """Count alerts of a status; one that no monitor documents counts as firing, so that it is told."""
        if status == AlertStatus.RESOLVED:
            self.resolved += by
        elif status == AlertStatus.NO_DATA:
            self.no_data += by
        else:
            self.firing += by


@dataclass
class Digest:
    """What a storm consisted of. Feed it in the order of arrival."""

    kinds: dict[KindKey, KindCounts] = field(default_factory=dict)
    untold: dict[str, tuple[KindKey, str]] = field(default_factory=dict)
    """For each alert that fires or has no data: its kind and status, for pairing it with its resolution."""
    rest: KindCounts = field(default_factory=KindCounts)
    """The sums of kinds that are no longer kept apart."""
    rest_kinds: int = 0
    others: int = 0
    """Messages that were no alerts."""
    alerts: int = 0
    since: float | None = None
    """When the first came, in seconds since the epoch."""

    def add(self, kind: NotificationKind, content: Any, *, at: float) -> None:
        """Take in a stored notification: an alert group's JSON, or an earlier digest's."""
        self.since = at if self.since is None else min(self.since, at)
        if kind is NotificationKind.DIGEST:
            self._add_digest(Digest.from_json(content))
            return
        alerts = content.get("alerts") or []
        if not alerts:
            self.others += 1
        for alert in alerts:
            if alert.get("is_test"):
                self.others += 1
            else:
                self._add_alert(alert)
        self.alerts += content.get("truncated") or 0

    def _add_alert(self, alert: Mapping[str, Any]) -> None:
        self.alerts += 1
        labels = alert.get("labels") or {}
        severity = name_severity(labels, alert.get("source") or "", alert.get("severity"))
        key = (rule_name_of(labels) or alert.get("title") or "", severity)
        status = alert.get("status") or AlertStatus.FIRING
        mark = _mark(alert)
        told_of, before = self.untold.pop(mark, (None, "")) if mark else (None, "")
        if told_of is not None:
            # It was counted already, as what it was until now.
            self.kinds[told_of].count(before, -1)
        if status == AlertStatus.RESOLVED and told_of is not None:
            self.kinds[told_of].passed += 1
            return
        self.kinds.setdefault(key, KindCounts()).count(status)
        if mark and status != AlertStatus.RESOLVED:
            self.untold[mark] = key, status

    def _add_digest(self, other: Digest) -> None:
        for key, theirs in other.kinds.items():
            self.kinds.setdefault(key, KindCounts()).add(theirs)
        for mark, (key, status) in other.untold.items():
            if mark in self.untold:
                twice, before = self.untold.pop(mark)
                self.kinds[twice].count(before, -1)
            self.untold[mark] = key, status
        self.rest.add(other.rest)
        self.rest_kinds += other.rest_kinds
        self.others += other.others
        self.alerts += other.alerts
        if other.since is not None:
            self.since = other.since if self.since is None else min(self.since, other.since)

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads. Small, whatever the storm: only the worst kinds and the latest marks are kept."""
        worst = sorted(self.kinds.items(), key=_worst_first)
        kept, dropped = worst[:MAX_KINDS_KEPT], worst[MAX_KINDS_KEPT:]
        rest = replace(self.rest)
        for _, kind in dropped:
            rest.add(kind)
        places = {key: index for index, (key, _) in enumerate(kept)}
        untold = [(mark, *told) for mark, told in self.untold.items() if told[0] in places]
        return {
            "kinds": [
                [shorten(key[0], 2 * MAX_NAME_CHARS), shorten(key[1], MAX_NAME_CHARS), *_counts(kind)]
                for key, kind in kept
            ],
            "untold": [[mark, places[key], status] for mark, key, status in untold[-MAX_UNTOLD_KEPT:]],
            "rest": _counts(rest),
            "rest_kinds": self.rest_kinds + sum(1 for _, kind in dropped if kind.waiting),
            "others": self.others,
            "alerts": self.alerts,
            "since": self.since,
        }

    @classmethod
    def from_json(cls, content: Any) -> Digest:
        """Read what `as_json` wrote."""
        keys: list[KindKey] = [(name, severity) for name, severity, *_ in content["kinds"]]
        kinds: dict[KindKey, KindCounts] = {}
        for key, (_, _, *counts) in zip(keys, content["kinds"], strict=True):
            kinds.setdefault(key, KindCounts()).add(KindCounts(*counts))
        return cls(
            kinds=kinds,
            untold={mark: (keys[place], status) for mark, place, status in content["untold"]},
            rest=KindCounts(*content["rest"]),
            rest_kinds=content["rest_kinds"],
            others=content["others"],
            alerts=content["alerts"],
            since=content["since"],
        )

    def text(self, language: Language, timezone: ZoneInfo) -> str:
        """What people read: how many, since when, then a line for each kind, the worst first."""
        since = datetime.fromtimestamp(self.since or 0, timezone).strftime("%H:%M")
        lines = [say("alerts.digest.storm", language, n=self.alerts + self.others, since=since)]
        kinds = sorted((item for item in self.kinds.items() if item[1].waiting), key=_worst_first)
        for (name, severity), kind in kinds[:MAX_KINDS_SHOWN]:
            marks = EMOJI | {AlertStatus.FIRING: emoji_of_severity(severity)}
            told = {
                AlertStatus.FIRING: kind.firing,
                AlertStatus.NO_DATA: kind.no_data,
                AlertStatus.RESOLVED: kind.resolved,
            }
            counts = [f"{marks[status]}×{count}" for status, count in told.items() if count]
            shown = shorten(name, MAX_NAME_CHARS)
            if severity:
                word = shorten(write_severity_name(severity, language), MAX_NAME_CHARS)
                shown = say("alerts.digest.kind", language, name=shown, severity=word)
            lines.append(f"{' '.join(counts)} {shown}".rstrip())
        more = sum(kind.waiting for _, kind in kinds[MAX_KINDS_SHOWN:]) + self.rest.waiting
        if more:
            unnamed = len(kinds[MAX_KINDS_SHOWN:]) + self.rest_kinds
            lines.append(say("alerts.digest.more_kinds", language, kinds=unnamed, n=more))
        passed = sum(kind.passed for kind in self.kinds.values()) + self.rest.passed
        if passed:
            lines.append(say("alerts.digest.passed", language, n=passed))
        if self.others:
            lines.append(say("alerts.digest.others", language, n=self.others))
        return "\n".join(lines)


def _worst_first(item: tuple[tuple[str, str], KindCounts]) -> tuple[bool, float, int, str]:
    (name, severity), kind = item
    rank = severity_rank(severity)
    return not (kind.firing or kind.no_data), rank, -kind.waiting, name


def _counts(kind: KindCounts) -> list[int]:
    return [kind.firing, kind.resolved, kind.no_data, kind.passed]


def _mark(alert: Mapping[str, Any]) -> str:
    """What tells an alert from others, short; empty where the monitor gave nothing."""
    fingerprint = alert.get("fingerprint")
    if not fingerprint:
        return ""
    whole = f"{alert.get('source') or ''}:{fingerprint}"
    return hashlib.sha256(whole.encode(errors="replace")).hexdigest()[:_MARK_CHARS]
