"""What is done to whatever comes in, before anything looks at it: texts are bounded, sender and severity are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from wxbridge.alerts.severity import severity_of
from wxbridge.core.frozen import replace
from wxbridge.core.model import Alert, AlertGroup, Value
from wxbridge.core.severities import BUILT_IN, SeverityTable, find_severity_labels
from wxbridge.core.text.normalise import has_visible_sign

MAX_LABEL_CHARS = 2000
"""Of a label's name and value, of a title, and of a value's name and words: what is held against expressions, stored
with each alert and told. What is longer is cut, and the cut is marked."""
MAX_TEXT_CHARS = 100_000
"""Of an annotation, and of a text that is no alert: more than any channel takes."""
MAX_LABELS = 300
"""Of an alert, and of its annotations and values each, where they are many enough to matter."""
_LEFT_OUT = "…"
"""The name of the label or value that says how many more there were."""
MAX_SENDER_CHARS = 200

TEST_HEADER = "X-Wxbridge-Test"
"""Of a sample that is posted as its monitor would: it is told, and nothing of it fires afterwards."""


def as_test(group: AlertGroup) -> AlertGroup:
    """Make a group a test: its alerts have no identity, and whatever it says again is said on purpose."""
    alerts = tuple(replace(alert, fingerprint="", is_test=True) for alert in group.alerts)
    return replace(group, alerts=alerts, dedupe=None)


def prepare_group(group: AlertGroup, instance: str = "", severities: SeverityTable = BUILT_IN) -> AlertGroup:
    """Bound a group's texts, name its sender (by `instance`, else as the body says), and read its severities."""
    instance = instance.strip()[:MAX_SENDER_CHARS]
    group = group.with_alerts([name_severity(_prepare(alert, instance), severities) for alert in group.alerts])
    return replace(group, title=_cut_title(group.title), text=group.text and _cut(group.text, MAX_TEXT_CHARS))


def name_severity(alert: Alert, severities: SeverityTable) -> Alert:
    """Note what jobs.yaml says of the word that an alert has for how bad it is, where the built-in table differs."""
    if not severities.added:
        return alert
    names = find_severity_labels(alert.labels, alert.source, severities)
    severity = severities.find(alert.labels[names[0]], alert.source) if names else None
    return alert if severity is severity_of(alert) else replace(alert, severity=severity)


def _prepare(alert: Alert, instance: str) -> Alert:
    sender = instance or alert.sender[:MAX_SENDER_CHARS]
    title = _cut_title(alert.title)
    if sender == alert.sender and title == alert.title and _is_short(alert):
        return alert
    return replace(
        alert,
        title=title,
        labels=_cut_labels(alert.labels),
        annotations=_cut_labels(alert.annotations, MAX_TEXT_CHARS),
        values=_cut_values(alert.values),
        state=_cut(alert.state),
        sender=sender,
    )


def _is_short(alert: Alert) -> bool:
    """Whether nothing of it is cut, as is usual: the sum of all is asked for instead of each."""
    chars = len(alert.title) + len(alert.state) + sum(map(len, alert.labels)) + sum(map(len, alert.labels.values()))
    for value in alert.values:
        chars += len(value.name) + len(value.text or "") + sum(map(len, value.labels.values()))
        chars += sum(map(len, value.labels))
    if any(len(text) > MAX_TEXT_CHARS for text in alert.annotations.values()):
        return False
    return chars <= MAX_LABEL_CHARS


def _cut_values(values: Sequence[Value]) -> tuple[Value, ...]:
    found = tuple(_cut_value(value) for value in values[:MAX_LABELS])
    more = count_values(values) - MAX_LABELS
    return (*found, Value(_LEFT_OUT, text=f"+{more}")) if more > 0 else found


def count_values(values: Sequence[Value]) -> int:
    """Count the values that an alert came with, also those that were left out of it here."""
    more = (values[-1].text or "").removeprefix("+") if len(values) == MAX_LABELS + 1 else ""
    return MAX_LABELS + int(more) if more.isdecimal() and values[-1].name == _LEFT_OUT else len(values)


def _cut_value(value: Value) -> Value:
    text = None if value.text is None else _cut(value.text)
    return replace(value, name=_cut(value.name), text=text, labels=_cut_labels(value.labels), unit=_cut(value.unit))


def _cut_labels(labels: Mapping[str, str], limit: int = MAX_LABEL_CHARS) -> dict[str, str]:
    found = {_cut(name): _cut(text, limit) for name, text in islice(labels.items(), MAX_LABELS)}
    if len(labels) > MAX_LABELS:
        found[_LEFT_OUT] = f"+{len(labels) - MAX_LABELS}"
    return found


def _cut_title(title: str) -> str:
    return _cut(title) if has_visible_sign(title) else ""


def _cut(text: str, limit: int = MAX_LABEL_CHARS) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
