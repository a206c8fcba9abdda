"""Why a rule of Grafana's legacy alerting fires without a figure: its notification does not say, its API does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from wxbridge.alerts.sources.grafana_legacy import is_legacy
from wxbridge.core.http import ApiError
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.monitors.grafana_alerts import GrafanaAlerts

log = structlog.get_logger()

ASK_SECONDS = 3.0
"""For the answer: who posted waits for it. It was just there to post."""


async def explain(group: AlertGroup, grafana: GrafanaAlerts | None) -> AlertGroup:
    """Ask why a legacy rule fires that has no figures: it could not be evaluated (`Alert.state`), or has no data.

    Args:
        group: As it was posted.
        grafana: The configured one; it is asked of nothing else, and believed where the rule has the alert's name.
    """
    alert = group.alerts[0] if len(group.alerts) == 1 else None
    if grafana is None or alert is None or not _is_unexplained(alert):
        return group
    try:
        async with asyncio.timeout(ASK_SECONDS):
            rule = await grafana.find_legacy_rule(int(_number_of(alert)))
    except (ApiError, TimeoutError) as error:
        log.info("Grafana does not tell why its rule fires", rule=alert.title[:120], error=str(error))
        return group
    if rule is None or rule.name != alert.labels.get("alertname"):
        return group
    if rule.error:
        alert = replace(alert, state="Error", annotations={**alert.annotations, "Error": rule.error})
    elif rule.state == AlertStatus.NO_DATA.value:
        alert = replace(alert, status=AlertStatus.NO_DATA)
    return group.with_alerts([alert])


def _is_unexplained(alert: Alert) -> bool:
    fires = alert.status is AlertStatus.FIRING and not alert.values and not alert.is_test
    return fires and is_legacy(alert) and _number_of(alert).isdecimal()


def _number_of(alert: Alert) -> str:
    return alert.fingerprint.partition(":")[2]
