"""Grafana's unified alerting (v9 and later): the "webhook" contact point.

The fields are those of Grafana's documentation, "Configure the webhook notifier", with what came and went between
versions. It is Alertmanager's body with a title, a message, links, values and pictures.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from wxbridge.alerts.sources import alertmanager, base_address, picture_at
from wxbridge.core.json_values import as_labels, as_number, as_text
from wxbridge.core.model import AlertGroup, AlertStatus, PictureSpec, Value
from wxbridge.core.pictures import fetch_spec

NAME = "grafana"

_GROUP_KEYS = frozenset({"orgId", "appVersion", "title", "state", "message"})
_ALERT_KEYS = frozenset(
    {"dashboardURL", "panelURL", "silenceURL", "values", "valueString", "ruleUID", "imageURL", "embeddedImage"}
)
_ALERTMANAGER_VERSION = "4"

_TEST_KEY = re.compile(r"\{.*\}\d{4}-\d\d-\d\d .* m=\+[\d.]+", re.DOTALL)
"""The key of the group of a test up to version 9: the labels, and Go's words for now."""

_NO_DATA = "DatasourceNoData"
_ERROR = "DatasourceError"
_REASON = "grafana_state_reason"

# `[ var='B' labels={zone=us-1} value=44.2 ]`, and in older versions `[ metric='foo' labels={…} value=10 ]`.
_MEASURED = re.compile(
    r"\[ (?:var='([^'\]]*)' ?)?(?:metric='([^'\]]*)' ?)?labels=\{([^{}]*)\} value=([^\s\]]+) ?\]",
)


def is_unified(data: dict[str, Any]) -> bool:
    """Whether a group of alerts is Grafana's, and not Alertmanager's."""
    if as_text(data.get("version")) == _ALERTMANAGER_VERSION:
        return False
    first = next((item for item in data["alerts"] if isinstance(item, dict)), {})
    return not _GROUP_KEYS.isdisjoint(data) or not _ALERT_KEYS.isdisjoint(first)


def read(data: dict[str, Any]) -> AlertGroup:
    """Read a decoded body of Grafana's."""
    group = alertmanager.read_group(data, NAME, as_text(data.get("title")).strip(), _finish)
    if not _is_test(group):
        return group
    # Dashboard and panel of a test are made up, and so is its picture.
    (alert,) = group.alerts
    links = {name: address for name, address in alert.links.items() if name == "silence"}
    alert = replace(alert, fingerprint="", is_test=True, link=None, links=links, picture=None)
    return replace(group, alerts=(alert,), dedupe=None)


def _is_test(group: AlertGroup) -> bool:
    """Whether somebody pressed the button "Test", which makes a key for the occasion; old versions by their labels."""
    if len(group.alerts) != 1:
        return False
    alert, key = group.alerts[0], group.group_key
    made = re.fullmatch(rf".*-{re.escape(alert.fingerprint)}-\d+", key, re.DOTALL) or _TEST_KEY.fullmatch(key)
    return bool(made) or (alert.labels.get("alertname"), alert.labels.get("instance")) == ("TestAlert", "Grafana")


_LINKS = {"panel": "panelURL", "dashboard": "dashboardURL", "generator": "generatorURL", "silence": "silenceURL"}


def _finish(fields: alertmanager.Fields, item: dict[str, Any]) -> None:
    # Replicas of one Grafana share its own address, which stands before that of the Alertmanager within.
    fields["sender"] = base_address(as_text(item.get("generatorURL")).strip()) or fields["sender"]
    _tell_state(fields)
    fields["values"], fields["picture"] = _values(item), _picture(item)
    addresses = {name: as_text(item.get(key)).strip() for name, key in _LINKS.items()}
    alertmanager.add_links(fields, addresses, never_shown="silence")


def _tell_state(fields: alertmanager.Fields) -> None:
    """Tell a rule that has no data, or cannot be evaluated, from one that fires.

    Grafana sends them as alerts of its own, which name the rule in a label, or, where the rule asks for that, as
    the rule's own alert with a reason (Grafana's documentation, "No data and error states").
    """
    name, reason = fields["labels"].get("alertname"), fields["annotations"].get(_REASON, "").strip()
    if name in (_NO_DATA, _ERROR):
        fields["title"] = fields["labels"].get("rulename", "").strip() or fields["title"]
        reason = reason or ("NoData" if name == _NO_DATA else "Error")
    if fields["status"] is AlertStatus.FIRING and reason == "NoData":
        fields["status"] = AlertStatus.NO_DATA
    elif fields["status"] is AlertStatus.FIRING or reason not in ("NoData", "Error"):
        fields["state"] = fields["state"] or reason


def _values(item: dict[str, Any]) -> tuple[Value, ...]:
    """The `values` that newer versions send, else those that stand in `valueString`."""
    values = item.get("values")
    if isinstance(values, dict) and values:
        return tuple(_value(as_text(name), figure) for name, figure in values.items())
    found = _MEASURED.findall(as_text(item.get("valueString")))
    return tuple(_value(var or metric or "value", figure, _pairs(labels)) for var, metric, labels, figure in found)


def _value(name: str, figure: Any, labels: dict[str, str] | None = None) -> Value:
    number = as_number(figure)
    text = as_text(figure) if number is None and figure is not None else None
    return Value(name, number, None if text == "null" else text, labels or {})


def _pairs(text: str) -> dict[str, str]:
    """`zone=us-1, host=a` as labels."""
    pairs = (part.partition("=") for part in text.split(", ") if part.strip())
    return as_labels({name.strip(): value for name, _, value in pairs})


def _picture(item: dict[str, Any]) -> PictureSpec | None:
    """The picture that travels inside (a PNG in base64), else the one to be fetched."""
    address = as_text(item.get("imageURL")).strip()
    embedded = as_text(item.get("embeddedImage")).strip()
    if not embedded:
        return picture_at(address)
    inside = embedded if embedded.startswith("data:") else f"data:image/png;base64,{embedded}"
    return fetch_spec(inside, link=address)
