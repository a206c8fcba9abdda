"""Alertmanager's webhook (payload version "4"), and what Grafana's unified alerting shares with it.

The fields are those of Alertmanager's documentation, "webhook_config". Any of them may be absent, null or of another
type: what there was is told all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wxbridge.alerts.sources import MAX_ALERTS_PER_BODY, WEB_SCHEMES, as_free_text, base_address, short_hash
from wxbridge.core.frozen import replace
from wxbridge.core.json_values import as_count, as_labels, as_text, as_time
from wxbridge.core.model import Alert, AlertGroup, AlertStatus

NAME = "alertmanager"

_STATUS = {
    "firing": AlertStatus.FIRING,
    "alerting": AlertStatus.FIRING,
    "resolved": AlertStatus.RESOLVED,
    "ok": AlertStatus.RESOLVED,
}
_GROUP_KEYS = frozenset({"groupKey", "groupLabels", "commonLabels", "commonAnnotations", "receiver", "truncatedAlerts"})
_ALERT_KEYS = frozenset({"labels", "annotations", "startsAt", "fingerprint", "generatorURL"})
_DASHBOARD = ("dashboard_url", "dashboardURL", "dashboard")
_RUNBOOK = ("runbook_url", "runbookURL", "runbook")


Fields = dict[str, Any]
"""The arguments of an `Alert`: made once for each alert, for there may be many."""


def is_group(data: Any) -> bool:
    """Whether a decoded body is a group of alerts, of Alertmanager or of Grafana's unified alerting."""
    if not isinstance(data, dict) or not isinstance(data.get("alerts"), list):
        return False
    return has_keys(data, _GROUP_KEYS, _ALERT_KEYS)


def has_keys(data: dict[str, Any], of_group: frozenset[str], of_alert: frozenset[str]) -> bool:
    """Whether a body with a list `alerts` has any of some keys, or its first alert any of some others."""
    first = next((item for item in data["alerts"] if isinstance(item, dict)), {})
    return not of_group.isdisjoint(data) or not of_alert.isdisjoint(first)


def read(data: dict[str, Any]) -> AlertGroup:
    """Read a decoded body of Alertmanager's. It has no title: the labels that the group was made by are one."""
    common = as_labels(data.get("commonLabels")).get("alertname", "")
    names = as_labels(data.get("groupLabels")).values() or [common]
    title = " ".join(filter(None, names)) or as_text(data.get("receiver")).strip()
    return read_group(data, NAME, title, _linked)


def read_group(
    data: dict[str, Any],
    source: str,
    title: str,
    finish: Callable[[Fields, dict[str, Any]], None],
) -> AlertGroup:
    """Read a group; `finish` adds to an alert's fields what only its monitor sends.

    A group without alerts is free text: its message, else the whole body.
    """
    items = data["alerts"] if isinstance(data.get("alerts"), list) else []
    truncated = as_count(data.get("truncatedAlerts")) + max(0, len(items) - MAX_ALERTS_PER_BODY)
    key = as_text(data.get("groupKey"))
    if not items:
        text = as_free_text(source, as_text(data.get("message")).strip() or data, title=title)
        return replace(text, group_key=key, truncated=truncated)
    whole = as_text(data.get("status")).strip() or as_text(data.get("state")).strip()
    sender = base_address(as_text(data.get("externalURL")))
    alerts = []
    for item in items[:MAX_ALERTS_PER_BODY]:
        if not isinstance(item, dict):
            words = as_text(item)
            alerts.append(Alert(source, AlertStatus.FIRING, words, fingerprint=short_hash(words), sender=sender))
            continue
        fields = _fields(item, source, whole) | {"sender": sender}
        finish(fields, item)
        alerts.append(Alert(**fields))
    return AlertGroup(
        source=source,
        group_key=key or short_hash([as_text(data.get("receiver")), as_labels(data.get("groupLabels"))]),
        title=title or alerts[0].title,
        alerts=tuple(alerts),
        truncated=truncated,
        dedupe=short_hash([key, as_text(data.get("receiver"))]),
    )


def _fields(item: dict[str, Any], source: str, whole: str) -> Fields:
    """Read what both monitors say of an alert. `whole` is the status of its group, for an alert that has none."""
    labels, annotations = as_labels(item.get("labels")), as_labels(item.get("annotations"))
    word = as_text(item.get("status")).strip() or whole
    status = _STATUS.get(word.lower())
    title = labels.get("alertname") or annotations.get("summary") or annotations.get("description") or ""
    runbook = _address(annotations, _RUNBOOK)
    return {
        "source": source,
        "status": status or AlertStatus.FIRING,
        "state": word if word and status is None else "",
        "title": title.strip(),
        "labels": labels,
        "annotations": annotations,
        "starts_at": as_time(item.get("startsAt")),
        "ends_at": as_time(item.get("endsAt")) if status is AlertStatus.RESOLVED else None,
        "links": {"runbook": runbook} if runbook else {},
        "fingerprint": as_text(item.get("fingerprint")) or short_hash(labels or annotations),
    }


def _linked(fields: Fields, item: dict[str, Any]) -> None:
    """A dashboard that the rule's author wrote down is worth more to a person than the expression."""
    dashboard = _address(fields["annotations"], _DASHBOARD)
    add_links(fields, {"dashboard": dashboard, "generator": as_text(item.get("generatorURL")).strip()})


def add_links(fields: Fields, addresses: dict[str, str], *, never_shown: str = "") -> None:
    """Keep all addresses that there are by name; the first is the alert's own."""
    there = {name: address for name, address in addresses.items() if address}
    fields["link"] = next((address for name, address in there.items() if name != never_shown), None)
    fields["links"] = there | fields["links"]


def _address(annotations: Mapping[str, str], names: tuple[str, ...]) -> str:
    found = (annotations.get(name, "").strip() for name in names)
    return next((address for address in found if address.startswith(WEB_SCHEMES)), "")
