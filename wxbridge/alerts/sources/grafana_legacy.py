"""Grafana's legacy alerting (up to v8): the "webhook" notification channel.

The fields are those of Grafana's `pkg/services/alerting/notifiers/webhook.go`; v4.0 wrote `rule_url` and
`image_url`. Any of them may be absent, null or of another type: what there was is told all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wxbridge.alerts.affected import sort_affected
from wxbridge.alerts.sources import RETRY_SECONDS, as_free_text, base_address, picture_at, strip_state
from wxbridge.alerts.sources.grafana_values import METRIC_NAME, sort_worst_first, tell_apart
from wxbridge.alerts.sources.status_words import read_status
from wxbridge.core.frozen import replace
from wxbridge.core.json_values import as_labels, as_number, as_text
from wxbridge.core.model import Alert, AlertGroup, Value

NAME = "grafana"

_OF_A_RULE = frozenset(("ruleId", "ruleName", "ruleUrl", "rule_url"))
_TELLING = _OF_A_RULE | {"title", "state", "evalMatches"}
"""What a notification has one of."""
_FIELDS = _TELLING | {"message", "tags", "imageUrl", "image_url", "orgId", "dashboardId", "panelId"}
_MIN_OF_A_RULE = 2


def is_notification(data: Any) -> bool:
    """Whether a decoded body is a legacy notification: it has what only those have, or nothing that they have not.

    Titles and states are in other bodies too, whose other fields would be lost here.
    """
    if not isinstance(data, dict) or _TELLING.isdisjoint(data):
        return False
    return "evalMatches" in data or len(_OF_A_RULE & data.keys()) >= _MIN_OF_A_RULE or data.keys() <= _FIELDS


def read(data: Any, source: str = NAME) -> AlertGroup:
    """Read a decoded body. One that is no legacy notification is free text, of `source`."""
    if not is_notification(data):
        return as_free_text(source, data)
    alert = _alert(data)
    if as_text(data.get("orgId")) == "0":
        return AlertGroup(source=NAME, group_key="", title=alert.title, alerts=(_test(alert),))
    return AlertGroup(
        source=NAME,
        group_key=f"{alert.sender} {alert.fingerprint}",
        title=alert.title,
        alerts=(alert,),
        dedupe="",
        dedupe_seconds=RETRY_SECONDS,
    )


def is_legacy(alert: Alert) -> bool:
    """Tell an alert of legacy alerting from one of unified alerting: it has no folder, and says no times itself."""
    return alert.source == NAME and (not alert.fingerprint or ":" in alert.fingerprint)


def _test(alert: Alert) -> Alert:
    """Somebody pressed "Send test": there is no organisation 0. Rule, dashboard, panel and picture are made up.

    A picture that travels inside is no promise: it is there.
    """
    annotations = {name: text for name, text in alert.annotations.items() if not name.startswith("__")}
    inside = alert.picture is not None and alert.picture.params.get("url", "").startswith("data:")
    return replace(
        alert, fingerprint="", is_test=True, annotations=annotations, picture=alert.picture if inside else None
    )


def _alert(data: dict[str, Any]) -> Alert:
    name = as_text(data.get("ruleName")).strip()
    image = as_text(data.get("imageUrl") or data.get("image_url")).strip()
    # What is no state of Grafana's is read as other senders mean it: an end is never told as firing.
    read = read_status(as_text(data.get("state")))
    title = as_text(data.get("title")).strip() or name
    message = as_text(data.get("message")).strip()
    labels = as_labels(data.get("tags"))
    link = as_text(data.get("ruleUrl") or data.get("rule_url")).strip()
    if name:
        labels.setdefault("alertname", name)
    return Alert(
        source=NAME,
        status=read.status,
        state=read.state,
        title=title,
        labels=labels,
        annotations=({"message": message} if message else {}) | _panel(data),
        values=sort_worst_first(_values(data.get("evalMatches")), f"{title}\n{message}"),
        link=link or None,
        picture=picture_at(image),
        fingerprint=f"{as_text(data.get('orgId'))}:{as_text(data.get('ruleId')) or name or strip_state(title)}",
        sender=base_address(link),
    )


def _panel(data: dict[str, Any]) -> dict[str, str]:
    """The panel that the rule stands in, under the names that rules of unified alerting have for it, and the rule."""
    named = {f"__{name}__": as_text(data.get(name)).strip() for name in ("dashboardId", "panelId", "orgId", "ruleId")}
    return {name: value for name, value in named.items() if value not in ("", "0")}


def _values(matches: Any) -> tuple[Value, ...]:
    """Read what matched: each named by its metric, with the labels that not all of them share."""
    values = [_value(match) for match in matches] if isinstance(matches, list) else []
    nameless = [at for at, value in enumerate(values) if not value.name and isinstance(matches[at], dict)]
    for at, value in zip(nameless, _name_by_difference([values[at] for at in nameless]), strict=True):
        values[at] = value
    return tell_apart(values)


def _value(match: Any) -> Value:
    if not isinstance(match, dict):
        return Value(name=as_text(match))
    raw, labels = match.get("value"), as_labels(match.get("tags"))
    figure = as_number(raw)
    series = as_text(match.get("metric"))
    # `lab_queue{host="db-1"}` says its labels, which the tags have too.
    name = series.partition("{")[0] if labels and series.endswith("}") else series
    text = as_text(raw) if figure is None and raw is not None else None
    return Value(name=name.strip(), number=figure, text=text, labels=labels)


def _name_by_difference(values: Sequence[Value]) -> Sequence[Value]:
    """Name values that have no name: by the label that tells them apart, else by their metric's name."""
    if len(values) > 1 and len({value.labels.get(METRIC_NAME) for value in values}) == 1:
        for label in sort_affected(values[0].labels):
            names = [value.labels.get(label, "") for value in values]
            if all(names) and len(set(names)) == len(names):
                return [
                    replace(value, name=value.labels[label], labels={label: value.labels[label]}) for value in values
                ]
    return [replace(value, name=value.labels.get(METRIC_NAME) or "value") for value in values]
