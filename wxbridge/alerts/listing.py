"""What a monitor's API lists as firing, read as the alerts that its webhook tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wxbridge.alerts.sources import alertmanager, grafana_legacy, grafana_unified, short_hash
from wxbridge.core.chunks import in_chunks
from wxbridge.core.model import Alert
from wxbridge.monitors.alertmanager import GettableAlert
from wxbridge.monitors.grafana_alerts import LegacyRule

_GRAFANAS_VALUES = "__value_string__"
_ALERTS_AT_ONCE = 200
"""How many alerts are read before other tasks get their turn."""


@dataclass(frozen=True)
class ListedAlert:
    """An alert that fires, as a server lists it."""

    alert: Alert
    silenced_by: tuple[str, ...] = ()
    """The ids of the silences that hold it back there."""
    inhibited: bool = False
    """Whether another alert holds it back."""


async def read_listing(found: Sequence[GettableAlert], source: str) -> list[ListedAlert]:
    """Read what a server lists, in its order.

    Args:
        found: As the server's client gives it.
        source: Whose alerts they are: `alertmanager`, or `grafana` for the one within Grafana.
    """
    read = grafana_unified.read if source == grafana_unified.NAME else alertmanager.read
    listed: list[ListedAlert] = []
    for some in in_chunks(found, _ALERTS_AT_ONCE):
        alerts = read({"alerts": [_as_posted(each) for each in some]}).alerts
        # Some are left out: Grafana has one for each query of a rule without data.
        held = {_fingerprint(each): each for each in some if each.silenced_by or each.inhibited_by}
        for alert in alerts:
            by = held.get(alert.fingerprint)
            listed.append(ListedAlert(alert, by.silenced_by, bool(by.inhibited_by)) if by else ListedAlert(alert))
        await asyncio.sleep(0)
    return listed


def read_legacy_rules(rules: Iterable[LegacyRule]) -> list[ListedAlert]:
    """Read the rules that Grafana's legacy alerting lists, each as the alert that its notification tells of."""
    return [ListedAlert(_read_legacy_rule(rule)) for rule in rules]


def _read_legacy_rule(rule: LegacyRule) -> Alert:
    posted = {
        "ruleId": rule.id,
        "ruleName": rule.name,
        "ruleUrl": rule.link,
        "state": rule.state,
        "orgId": rule.org,
        "dashboardId": rule.dashboard,
        "panelId": rule.panel,
        "evalMatches": list(rule.matches),
    }
    (alert,) = grafana_legacy.read(posted).alerts
    broken = {"Error": rule.error} if rule.error else {}
    state = alert.state or ("Error" if rule.error else "")
    return replace(alert, starts_at=rule.since, state=state, annotations={**alert.annotations, **broken})


def _fingerprint(found: GettableAlert) -> str:
    return found.fingerprint or short_hash(_public(found.labels))


def _as_posted(found: GettableAlert) -> dict[str, Any]:
    """Write an alert as the webhook has it. Grafana's API adds what is private to itself, with two underscores."""
    return {
        "status": "firing",
        "labels": _public(found.labels),
        "annotations": _public(found.annotations),
        "startsAt": found.starts_at.isoformat() if found.starts_at else "",
        "fingerprint": _fingerprint(found),
        "generatorURL": found.generator_url,
        "valueString": found.annotations.get(_GRAFANAS_VALUES, ""),
    }


def _public(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if not name.startswith("__")}
