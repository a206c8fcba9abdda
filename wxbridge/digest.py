"""Many alerts in one text: counts by name and status, the worst first. Pure; kept in the database as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from wxbridge.compose import Language, say
from wxbridge.model import AlertStatus, NotificationKind

LINES = 15
"""How many kinds of alerts a digest names."""
_RANKS = ("critical", "page", "emergency", "disaster", "fatal", "p0", "error", "high", "p1", "warning", "average", "p2")


@dataclass
class Kind:
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


@dataclass
class Digest:
    """What a storm consisted of. Feed it in the order of arrival."""

    kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)
    """By alert name and severity."""
    untold: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Fingerprint → kind of the firing alerts, for pairing them with their resolution."""
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
            self._add_alert(alert)

    def _add_alert(self, alert: Mapping[str, Any]) -> None:
        self.alerts += 1
        labels = alert.get("labels") or {}
        key = (labels.get("alertname") or alert.get("title") or "", labels.get("severity") or "")
        fingerprint = alert.get("fingerprint") or ""
        entry = self.kinds.setdefault(key, Kind())
        status = alert.get("status")
        if status == AlertStatus.RESOLVED:
            fired = self.untold.pop(fingerprint, None) if fingerprint else None
            if fired is None:
                entry.resolved += 1
            else:
                self.kinds[fired].firing -= 1
                self.kinds[fired].passed += 1
        elif status == AlertStatus.NO_DATA:
            entry.no_data += 1
        elif not fingerprint or fingerprint not in self.untold:
            entry.firing += 1
            if fingerprint:
                self.untold[fingerprint] = key

    def _add_digest(self, other: Digest) -> None:
        for key, theirs in other.kinds.items():
            mine = self.kinds.setdefault(key, Kind())
            mine.firing += theirs.firing
            mine.resolved += theirs.resolved
            mine.no_data += theirs.no_data
            mine.passed += theirs.passed
        self.untold.update(other.untold)
        self.others += other.others
        self.alerts += other.alerts
        if other.since is not None:
            self.since = other.since if self.since is None else min(self.since, other.since)

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "kinds": [[*key, *vars(kind).values()] for key, kind in self.kinds.items()],
            "untold": {fingerprint: list(key) for fingerprint, key in self.untold.items()},
            "others": self.others,
            "alerts": self.alerts,
            "since": self.since,
        }

    @classmethod
    def from_json(cls, content: Any) -> Digest:
        """Read what `as_json` wrote."""
        return cls(
            kinds={(name, severity): Kind(*counts) for name, severity, *counts in content["kinds"]},
            untold={fingerprint: (key[0], key[1]) for fingerprint, key in content["untold"].items()},
            others=content["others"],
            alerts=content["alerts"],
            since=content["since"],
        )

    def text(self, language: Language, timezone: ZoneInfo) -> str:
        """What people read: how many, since when, then a line for each kind, the worst first."""
        since = datetime.fromtimestamp(self.since or 0, timezone).strftime("%H:%M")
        lines = [say("storm", language, n=self.alerts + self.others, since=since)]
        kinds = sorted((item for item in self.kinds.items() if item[1].waiting), key=_worst_first)
        for (name, severity), kind in kinds[:LINES]:
            counts = [
                f"{emoji}×{count}"
                for emoji, count in (("🔥", kind.firing), ("⚪", kind.no_data), ("✅", kind.resolved))
                if count
            ]
            lines.append(f"{' '.join(counts)} {name}" + (f" ({severity})" if severity else ""))
        if len(kinds) > LINES:
            left = kinds[LINES:]
            lines.append(say("more_kinds", language, kinds=len(left), n=sum(kind.waiting for _, kind in left)))
        passed = sum(kind.passed for kind in self.kinds.values())
        if passed:
            lines.append(say("passed", language, n=passed))
        if self.others:
            lines.append(say("others", language, n=self.others))
        return "\n".join(lines)


def _worst_first(item: tuple[tuple[str, str], Kind]) -> tuple[bool, int, int, str]:
    (name, severity), kind = item
    rank = _RANKS.index(severity.lower()) if severity.lower() in _RANKS else len(_RANKS)
    return not (kind.firing or kind.no_data), rank, -kind.waiting, name
