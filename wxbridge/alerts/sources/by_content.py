"""What the hooks of Grafana and of Alertmanager take: people paste the wrong address, so the body itself tells.

Legacy Grafana, unified Grafana and Alertmanager are all taken at both; each alert's `source` says whose it was. Any
other JSON is for what reads bodies of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.alerts.sources import ParseBody, alertmanager, grafana_legacy, grafana_unified
from wxbridge.core.frozen import replace
from wxbridge.core.json_values import read_json_or_text
from wxbridge.core.model import AlertGroup


def parse_grafana(body: bytes, headers: Mapping[str, str], parse_other: ParseBody | None = None) -> AlertGroup:
    """Read what was posted to `/hooks/grafana`. Without `parse_other`, JSON of another sender's is free text.

    Raises:
        BadBody: there is nothing in it, or it is no text.
    """
    return _parse(grafana_unified.NAME, body, headers, parse_other)


def parse_alertmanager(body: bytes, headers: Mapping[str, str], parse_other: ParseBody | None = None) -> AlertGroup:
    """Read what was posted to `/hooks/alertmanager`. Without `parse_other`, JSON of another sender's is free text.

    Raises:
        BadBody: there is nothing in it, or it is no text.
    """
    return _parse(alertmanager.NAME, body, headers, parse_other)


def _parse(source: str, body: bytes, headers: Mapping[str, str], parse_other: ParseBody | None) -> AlertGroup:
    data = read_json_or_text(body)
    is_other = isinstance(data, dict | list) and not (_is_group(data) or grafana_legacy.is_notification(data))
    if parse_other is None or not is_other:
        return _read(data, source)
    group = parse_other(body, headers)
    # A text is of the hook that it came to, where it does not say itself whose it is.
    return replace(group, source=source, title=source) if group.text and group.title == group.source else group


def read_known(data: Any) -> AlertGroup | None:
    """Read a decoded body of Grafana's or Alertmanager's that came to another hook; None where it is neither's."""
    if isinstance(data, list) and data and all(isinstance(each, dict) and each.keys() >= _ALERT for each in data):
        # What Prometheus itself posts to an Alertmanager.
        return _read({"alerts": data}, alertmanager.NAME)
    if not isinstance(data, dict):
        return None
    if alertmanager.is_group(data) and not _GROUP.isdisjoint(data):
        return _read(data, alertmanager.NAME)
    return _read(data, grafana_legacy.NAME) if data.keys() >= _LEGACY else None


_GROUP = frozenset({"groupKey", "groupLabels", "commonLabels"})
"""What a group has one of, and a list of alerts of our own shape has not."""
_ALERT = frozenset({"labels", "annotations", "startsAt"})
_LEGACY = frozenset({"ruleName", "state", "evalMatches"})


def _is_group(data: Any) -> bool:
    """Whether a decoded body is a group of one of the two, and not alerts of our own shape, which have titles."""
    if not alertmanager.is_group(data):
        return False
    return not _GROUP.isdisjoint(data) or not any(isinstance(item, dict) and "title" in item for item in data["alerts"])


def _read(data: Any, source: str) -> AlertGroup:
    if not _is_group(data):
        return grafana_legacy.read(data, source)
    if grafana_unified.is_unified(data):
        return grafana_unified.read(data)
    return grafana_unified.claim_passed_on(alertmanager.read(data))
