"""How bad an alert is, beside others: the order in which people read them, the mark and the word they read first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from wxbridge.core.matchers import LabelWords
from wxbridge.core.model import Alert, AlertStatus, Severity
from wxbridge.core.severities import BUILT_IN, find_severity_labels
from wxbridge.core.text.i18n import LANGUAGES, Language, has_text, say

EMOJI = {AlertStatus.FIRING: "🔥", AlertStatus.NO_DATA: "⚪", AlertStatus.RESOLVED: "✅"}
"""The mark of each status, the worst first; 🔥 where nothing says how bad it is."""
SEVERITY_EMOJI = {Severity.CRITICAL: "🔴", Severity.MAJOR: "🟠", Severity.WARNING: "🟡", Severity.INFO: "🔵"}
"""The mark of what fires, by how bad it is."""
MESSAGE_EMOJI = "📨"
"""Of what does not fire: a text that is no alert, and a test."""


def own_word_of(alert: Alert) -> str:
    """The sender's own word for how bad an alert is; empty where it has none."""
    return _own_word(alert.labels, alert.source)


def _own_word(labels: Mapping[str, str], source: str) -> str:
    names = find_severity_labels(labels, source)
    return labels[names[0]] if names else ""


def severity_of(alert: Alert) -> Severity | None:
    """How bad an alert is, whoever sent it; None where it does not say so in a word that is known."""
    return find_severity(alert, own_word_of(alert))


def find_severity(alert: Alert, own: str) -> Severity | None:
    """Find how bad an alert is as `severity_of` does, by its sender's own word for it."""
    return alert.severity or BUILT_IN.find(own, alert.source)


def severity_name(alert: Alert) -> str:
    """The label `severity` by which routes, lists and summaries know an alert: normalised, else its own word."""
    return name_severity(alert.labels, alert.source, alert.severity)


def name_severity(labels: Mapping[str, str], source: str, severity: str | None = None) -> str:
    """Name how bad an alert is as `severity_name` does, by its labels and the severity that is known already."""
    own = _own_word(labels, source)
    return severity or BUILT_IN.find(own, source) or own


def severity_words(alert: Alert) -> LabelWords:
    """The label `severity` that matchers see: the normalised one, in every language, and the sender's own word."""
    own = own_word_of(alert)
    return _words(find_severity(alert, own), own)


@lru_cache(4096)
def _words(severity: Severity | None, own: str) -> LabelWords:
    if severity is None:
        return LabelWords(own)
    names = (say(f"alerts.severity.{severity}", language) for language in LANGUAGES)
    return LabelWords(severity.value, (own, own.lower(), *names) if own else names)


def write_severity_name(name: str, language: Language) -> str:
    """A severity as people read it, by its name; a monitor's word that nobody is known to use stays as it is."""
    severity = BUILT_IN.find(name)
    return say(f"alerts.severity.{severity}", language) if severity else name


def emoji_of_severity(name: str) -> str:
    """The mark of what fires, by the name of its severity."""
    severity = BUILT_IN.find(name)
    return SEVERITY_EMOJI[severity] if severity else EMOJI[AlertStatus.FIRING]


def severity_rank(name: str) -> float:
    """Where a severity stands, by its name or by a monitor's word: less is worse."""
    return BUILT_IN.rank(name)


def worst_first(alerts: Iterable[Alert]) -> list[Alert]:
    """Sort alerts: those still on before the resolved, then by severity, else as the sender had them."""
    listed = list(alerts)
    # Of most groups there is one, and asked often.
    if len(listed) > 1:
        listed.sort(key=lambda alert: (alert.status is AlertStatus.RESOLVED, rank_of(alert)))
    return listed


def rank_of(alert: Alert) -> float:
    """Where an alert stands beside others, whatever its status: less is worse."""
    if alert.severity:
        return BUILT_IN.rank(alert.severity)
    return BUILT_IN.rank(own_word_of(alert), alert.source)


def worst_status(alerts: Iterable[Alert]) -> AlertStatus:
    """The status that stands for all of them: firing before no data before resolved."""
    found = {alert.status for alert in alerts}
    return next((status for status in EMOJI if status in found), AlertStatus.FIRING)


def find_spokesman(alerts: Iterable[Alert]) -> Alert:
    """Find the alert whose mark stands for all of them: the worst of those whose status does, a test last."""
    alerts = list(alerts)
    status = worst_status(alerts)
    return min((alert for alert in alerts if alert.status is status), key=lambda alert: (alert.is_test, rank_of(alert)))


def emoji_of(alert: Alert) -> str:
    """The mark that an alert's line begins with: by how bad it is, where it fires."""
    if alert.status is not AlertStatus.FIRING:
        return MESSAGE_EMOJI if alert.is_test and alert.status is AlertStatus.NO_DATA else EMOJI[alert.status]
    severity = severity_of(alert)
    return MESSAGE_EMOJI if alert.is_test else SEVERITY_EMOJI[severity] if severity else EMOJI[alert.status]


def word_of(alert: Alert, language: Language) -> str:
    """The word behind the mark: what the mark says, or where it says nothing, how it came out; empty for neither."""
    if alert.status is not AlertStatus.FIRING:
        return say(f"alerts.word.{alert.status}", language)
    severity = severity_of(alert)
    if severity and not alert.is_test:
        return say(f"alerts.severity.{severity}", language)
    return say(f"alerts.outcome.{alert.state}", language) if has_text(f"alerts.outcome.{alert.state}") else ""


def is_failed_rule(alert: Alert) -> bool:
    """Tell whether an alert is a rule of Grafana's that could not be evaluated."""
    return alert.source == "grafana" and alert.state == "Error"
