"""What the hooks of Grafana and of Alertmanager take: people paste the wrong address, so the body itself tells.

Legacy Grafana, unified Grafana and Alertmanager are all taken at both; each alert's `source` says whose it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.alerts.sources import alertmanager, grafana_legacy, grafana_unified
from wxbridge.core.json_values import read_json_or_text
from wxbridge.core.model import AlertGroup


def parse_grafana(body: bytes, headers: Mapping[str, str]) -> AlertGroup:  # noqa: ARG001 - the signature of every source
    """Read what was posted to `/hooks/grafana`.

    Raises:
        BadBody: there is nothing in it, or it is no text.
    """
    return _read(read_json_or_text(body), grafana_unified.NAME)


def parse_alertmanager(body: bytes, headers: Mapping[str, str]) -> AlertGroup:  # noqa: ARG001 - the same
    """Read what was posted to `/hooks/alertmanager`.

    Raises:
        BadBody: there is nothing in it, or it is no text.
    """
    return _read(read_json_or_text(body), alertmanager.NAME)


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


def _read(data: Any, source: str) -> AlertGroup:
    if not alertmanager.is_group(data):
        return grafana_legacy.read(data, source)
    if grafana_unified.is_unified(data):
        return grafana_unified.read(data)
    return grafana_unified.claim_passed_on(alertmanager.read(data))
