"""What the hooks of Grafana and of Alertmanager take: people paste the wrong address, so the body itself tells.

Legacy Grafana, unified Grafana and Alertmanager are all taken at both; each alert's `source` says whose it was.
"""

from __future__ import annotations

from collections.abc import Mapping

from wxbridge.alerts.sources import alertmanager, grafana_legacy, grafana_unified
from wxbridge.core.json_values import read_json_or_text
from wxbridge.core.model import AlertGroup


def parse_grafana(body: bytes, headers: Mapping[str, str]) -> AlertGroup:  # noqa: ARG001 - the signature of every source
    """Read what was posted to `/hooks/grafana`.

    Raises:
        BadBody: there is nothing in it, or it is no text.
    """
    return _parse(body, grafana_unified.NAME)


def parse_alertmanager(body: bytes, headers: Mapping[str, str]) -> AlertGroup:  # noqa: ARG001 - the same
    """Read what was posted to `/hooks/alertmanager`.

    Raises:
        BadBody: there is nothing in it, or it is no text.
    """
    return _parse(body, alertmanager.NAME)


def _parse(body: bytes, source: str) -> AlertGroup:
    data = read_json_or_text(body)
    if not alertmanager.is_group(data):
        return grafana_legacy.read(data, source)
    if grafana_unified.is_unified(data):
        return grafana_unified.read(data)
    return grafana_unified.claim_passed_on(alertmanager.read(data))
