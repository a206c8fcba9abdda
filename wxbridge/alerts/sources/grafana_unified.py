"""Grafana's unified alerting (v9 and later): the "webhook" contact point.

The fields are those of Grafana's documentation, "Configure the webhook notifier", with what came and went between
versions. It is Alertmanager's body with a title, a message, links, values and pictures.
"""

from __future__ import annotations

import re
from typing import Any

from wxbridge.alerts.sources import GRAFANAS_OWN, RETRY_SECONDS, alertmanager, base_address, picture_at, rule_name_of
from wxbridge.alerts.sources.documents import unpack_json
from wxbridge.alerts.sources.grafana_values import name_series, read_values
from wxbridge.core.frozen import replace
from wxbridge.core.json_values import as_text
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, PictureSpec, Value
from wxbridge.core.pictures import fetch_spec

NAME = "grafana"

_GROUP_KEYS = frozenset({"orgId", "appVersion", "title", "state", "message"})
_ALERT_KEYS = frozenset(
    {"dashboardURL", "panelURL", "silenceURL", "values", "valueString", "ruleUID", "imageURL", "embeddedImage"}
)
_ALERTMANAGER_VERSION = "4"

_TEST_KEY = re.compile(r"\{.*\}\d{4}-\d\d-\d\d .* m=\+[\d.]+", re.DOTALL)
"""The key of the group of a test up to version 9: the labels, and Go's words for now."""

_TEST_LABELS = {"alertname": "TestAlert", "instance": "Grafana"}
_TEST_DASHBOARD = "/d/dashboard_uid?"
_RULE_PATH = "/alerting/grafana/"
"""In the address of a rule."""

_NO_DATA = "DatasourceNoData"
_REASON = "grafana_state_reason"

GONE_REASONS = frozenset({"MissingSeries", "Paused", "RuleDeleted", "Updated"})
"""Why a rule stopped firing without having measured that all is well."""

_DEFAULT_TITLE = ("[FIRING", "[RESOLVED")
"""How the title begins that Grafana makes where nobody wrote one: counts, the rule, the folder and all other labels."""
_EXPRESSION = "__expr__"
"""The data source of a rule's expressions."""


def is_unified(data: dict[str, Any]) -> bool:
    """Whether a group of alerts is Grafana's, and not Alertmanager's."""
    is_alertmanager = as_text(data.get("version")) == _ALERTMANAGER_VERSION
    return not is_alertmanager and alertmanager.has_keys(data, _GROUP_KEYS, _ALERT_KEYS)


def read(data: dict[str, Any]) -> AlertGroup:
    """Read a decoded body of Grafana's. What it said before it says again on purpose: it never retries by itself."""
    group = alertmanager.read_group(data, NAME, as_text(data.get("title")).strip(), _finish)
    if not group.alerts:
        return group
    if _is_test(group, has_receiver=data.get("receiver") != ""):
        return _read_test(group)
    alerts = tuple(name_series(_merge_no_data(group.alerts)))
    title = group.title
    if title.startswith(_DEFAULT_TITLE):
        names = {alert.title for alert in alerts}
        title = names.pop() if len(names) == 1 else ""
    return replace(group, title=title, alerts=alerts, dedupe_seconds=RETRY_SECONDS)


def _read_test(group: AlertGroup) -> AlertGroup:
    # Dashboard and panel of a test are made up, and so is its picture.
    (alert,) = name_series(group.alerts)
    links = {name: address for name, address in alert.links.items() if name == "silence"}
    notes = {name: text for name, text in alert.annotations.items() if not name.startswith("__")}
    alert = replace(
        alert, fingerprint="", is_test=True, link=None, links=links, annotations=notes, picture=None, starts_at=None
    )
    title = alert.title if group.title.startswith(_DEFAULT_TITLE) else group.title
    return replace(group, title=title, alerts=(alert,), dedupe=None)


def _is_test(group: AlertGroup, *, has_receiver: bool) -> bool:
    """Whether somebody pressed the button "Test", which makes a key for the occasion.

    Else it has labels that are nobody's alert; or there is no rule behind it, and it names no receiver, as in old
    versions, or a dashboard that is made up.
    """
    if len(group.alerts) != 1:
        return False
    alert, key = group.alerts[0], group.group_key
    whose, _, occasion = key.rpartition("-")
    if (occasion.isdecimal() and whose.endswith(f"-{alert.fingerprint}")) or _TEST_KEY.fullmatch(key):
        return True
    if alert.labels.items() >= _TEST_LABELS.items():
        return True
    addresses = (alert.link or "", *alert.links.values())
    if any(_RULE_PATH in address for address in addresses):
        return False
    return not has_receiver or any(_TEST_DASHBOARD in address for address in addresses)


def _merge_no_data(alerts: tuple[Alert, ...]) -> list[Alert]:
    """Keep one of the alerts that Grafana makes of one rule without data: one for each query, expressions too.

    An expression that stands alone stays.
    """
    kept: dict[Any, Alert] = {}
    for alert in alerts:
        key: Any = id(alert)
        if alert.labels.get("ref_id") and alert.labels.get("datasource_uid"):
            rest = frozenset(each for each in alert.labels.items() if each[0] not in ("ref_id", "datasource_uid"))
            key = (alert.status, rest, alert.links.get("generator") or alert.link)
        if key not in kept or _query_order(alert) < _query_order(kept[key]):
            kept[key] = alert
    return list(kept.values())


def _query_order(alert: Alert) -> tuple[bool, str]:
    return alert.labels.get("datasource_uid") == _EXPRESSION, alert.labels.get("ref_id", "")


_LINKS = {"panel": "panelURL", "dashboard": "dashboardURL", "generator": "generatorURL", "silence": "silenceURL"}


def _finish(fields: alertmanager.Fields, item: dict[str, Any]) -> None:
    # Replicas of one Grafana share its own address, which stands before that of the Alertmanager within.
    fields["sender"] = base_address(as_text(item.get("generatorURL")).strip()) or fields["sender"]
    _tell_state(fields)
    start, end = fields["starts_at"], fields["ends_at"]
    if start and end and start >= end:
        # What is over is said again with its end for a start, and so is what could not be told while it fired.
        fields["starts_at"] = None
    fields["values"], fields["picture"] = _read_current(fields, item), _picture(item)
    addresses = {name: as_text(item.get(key)).strip() for name, key in _LINKS.items()}
    alertmanager.add_links(fields, addresses, never_shown="silence")


def _tell_state(fields: alertmanager.Fields) -> None:
    """Tell a rule that has no data, or cannot be evaluated, from one that fires.

    Grafana sends them as alerts of its own, which name the rule in a label, or, where the rule asks for that, as
    the rule's own alert with a reason (Grafana's documentation, "No data and error states").
    """
    name, reason = fields["labels"].get("alertname"), fields["annotations"].get(_REASON, "").strip()
    if name in GRAFANAS_OWN:
        fields["title"] = rule_name_of(fields["labels"])
        reason = reason or ("NoData" if name == _NO_DATA else "Error")
    if reason == "MissingSeries" and fields["labels"].get("ref_id"):
        reason = ""  # what is gone is the alert of no data: the series is back
    if fields["status"] is AlertStatus.FIRING and reason == "NoData":
        fields["status"] = AlertStatus.NO_DATA
    elif fields["status"] is AlertStatus.FIRING or reason not in ("NoData", "Error"):
        fields["state"] = fields["state"] or reason


def _read_current(fields: alertmanager.Fields, item: dict[str, Any]) -> tuple[Value, ...]:
    """The figures, but the last ones of what is over because it is gone."""
    is_gone = fields["status"] is AlertStatus.RESOLVED and fields["state"] in GONE_REASONS
    words = "\n".join((fields["title"], *fields["annotations"].values()))
    return () if is_gone else read_values(item, words)


def _picture(item: dict[str, Any]) -> PictureSpec | None:
    """The picture that travels inside (a PNG in base64), else the one to be fetched."""
    address = as_text(item.get("imageURL")).strip()
    embedded = as_text(item.get("embeddedImage")).strip()
    if not embedded:
        return picture_at(address)
    inside = embedded if embedded.startswith("data:") else f"data:image/png;base64,{embedded}"
    return fetch_spec(inside, link=address)


# ---------------------------------------------------------------- by way of an external Alertmanager

_PASSED_ON = ("__value_string__", "__values__", "__dashboardUid__")
"""Annotations that Grafana's alerts have where they are handed to an Alertmanager."""


def claim_passed_on(group: AlertGroup) -> AlertGroup:
    """Finish those alerts of an Alertmanager's group that are Grafana's, as if it had posted them itself."""
    if not any(map(_is_passed_on, group.alerts)):
        return group
    alerts = [_claim(alert) if _is_passed_on(alert) else alert for alert in group.alerts]
    alerts = list(name_series(_merge_no_data(tuple(alerts))))
    is_all = all(alert.source == NAME for alert in alerts)
    title = group.title
    if not GRAFANAS_OWN.isdisjoint(title.split()):
        # Alertmanager has grouped by Grafana's name for what failed: the rule's is meant.
        names = {alert.title for alert in alerts}
        title = names.pop() if len(names) == 1 else ""
    return replace(group, title=title, source=NAME if is_all else group.source, alerts=tuple(alerts))


def _is_passed_on(alert: Alert) -> bool:
    return any(name in alert.annotations for name in _PASSED_ON) or _RULE_PATH in (alert.link or "")


def _claim(alert: Alert) -> Alert:
    fields: alertmanager.Fields = {**vars(alert), "source": NAME}
    _tell_state(fields)
    fields["values"] = _read_current(
        fields,
        {
            "values": unpack_json(alert.annotations.get("__values__")),
            "valueString": alert.annotations.get("__value_string__"),
        },
    )
    return Alert(**fields)
