"""How bad an alert is, beside others: the order in which people read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wxbridge.core.model import Alert, AlertStatus

EMOJI = {AlertStatus.FIRING: "🔥", AlertStatus.NO_DATA: "⚪", AlertStatus.RESOLVED: "✅"}
MESSAGE_EMOJI = "📨"
"""Of what does not fire: a text that is no alert, and a test."""
"""The mark of each status, the worst first."""

_RANKS = {
    word: rank
    for rank, word in enumerate(
        ("critical", "page", "emergency", "disaster", "fatal", "p0", "error", "high", "p1", "warning", "average", "p2")
    )
}


def severity_of(labels: Mapping[str, str]) -> str:
    """The word for how bad it is: the label `severity`, else `priority` (Open-Falcon); empty where there is neither."""
    return labels.get("severity") or labels.get("priority") or ""


def severity_rank(severity: str) -> int:
    """Where a severity stands: 0 is the worst, words that no monitor is known to use come last."""
    return _RANKS.get(severity.lower(), len(_RANKS))


def worst_first(alerts: Iterable[Alert]) -> list[Alert]:
    """Sort alerts: those still on before the resolved, then by severity, else as the sender had them."""
    return sorted(
        alerts, key=lambda alert: (alert.status is AlertStatus.RESOLVED, severity_rank(severity_of(alert.labels)))
    )


def worst_status(alerts: Iterable[Alert]) -> AlertStatus:
    """The status that stands for all of them: firing before no data before resolved."""
    found = {alert.status for alert in alerts}
    return next((status for status in EMOJI if status in found), AlertStatus.FIRING)


def emoji_of(alert: Alert) -> str:
    """The sign that an alert's line begins with."""
    return MESSAGE_EMOJI if alert.is_test and alert.status is not AlertStatus.RESOLVED else EMOJI[alert.status]


def is_failed_rule(alert: Alert) -> bool:
    """Tell whether an alert is a rule of Grafana's that could not be evaluated."""
    return alert.source == "grafana" and alert.state == "Error"
