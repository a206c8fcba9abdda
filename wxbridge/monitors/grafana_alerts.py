"""What fires in a Grafana: by the Alertmanager within it, or where it is older or set up so, by its legacy rules.

https://grafana.com/docs/grafana/v7.5/http_api/alerting/; the Alertmanager is there since version 8, always since 11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wxbridge.config.types import WebSource
from wxbridge.core.http import ApiError, ApiErrorTexts
from wxbridge.core.json_values import as_text, as_time
from wxbridge.core.matchers import Matcher
from wxbridge.monitors.alertmanager import Alertmanager, GettableAlert

ALERTMANAGER_PATH = "/api/alertmanager/grafana"
"""The address of the Alertmanager within, below Grafana's own."""
_TEXTS = ApiErrorTexts(
    refused="{server} does not let us in, or not do this (HTTP {status}): see {section}.token; "
    "what fires is told to the role Viewer, silences are taken from the role Editor"
)


@dataclass(frozen=True)
class LegacyRule:
    """A rule of legacy alerting that is alerting, or has no data."""

    id: str
    name: str
    state: str
    """`alerting` or `no_data`."""
    org: str
    since: datetime | None
    dashboard: str
    """The dashboard's number."""
    panel: str
    link: str
    """Of the panel that it stands in, as the rule's notifications have it."""
    matches: Sequence[Any] = ()
    """As in its notifications (`evalMatches`)."""
    error: str = ""
    """Why it could not be evaluated."""


class GrafanaAlerts(Alertmanager):
    """A client of what fires in one Grafana. Its alerts and silences are those of the Alertmanager within it."""

    def __init__(self, source: WebSource) -> None:
        super().__init__(source, name="Grafana", section="grafana", root=ALERTMANAGER_PATH + "/api/v2", texts=_TEXTS)

    async def list_alerts(self, filters: Sequence[Matcher] = ()) -> list[GettableAlert]:
        """List what fires now, as an Alertmanager does.

        Raises:
            ApiError: as there; also where Grafana does not know our token, but lets anybody in, and would answer as to
                anybody. `/api/user` alone tells so (measured on 12.4).
        """
        if self.address.token or self.address.user:
            try:
                await self._client.get("/api/user")
            except ApiError as error:
                if error.status == 401:  # noqa: PLR2004 - HTTP
                    raise
        return await super().list_alerts(filters)

    async def list_legacy_rules(self) -> list[LegacyRule]:
        """List the legacy rules that are alerting or have no data.

        Raises:
            ApiError: out of reach, too late, refused, or (status 404) it has no legacy alerting.
        """
        data = await self._client.get("/api/alerts", [("state", "alerting"), ("state", "no_data")])
        org = await self._client.get("/api/org")
        number = as_text(org.get("id")) if isinstance(org, dict) else ""
        return [self._read_rule(each, number) for each in self._items(data, "alerts")]

    async def find_legacy_rule(self, number: int) -> LegacyRule | None:
        """Find a legacy rule by its number, with why it could not be evaluated; None where the answer is no rule.

        Raises:
            ApiError: as `list_legacy_rules`; or there is no such rule.
        """
        # The same as in the list, under names of which each begins with a capital.
        found = await self._client.get(f"/api/alerts/{number}")
        if not isinstance(found, dict):
            return None
        item = {name[:1].lower() + name[1:]: value for name, value in found.items()}
        return self._read_rule(item, as_text(item.get("orgId")))

    def _read_rule(self, item: Mapping[str, Any], org: str) -> LegacyRule:
        data = item.get("evalData")
        data = data if isinstance(data, dict) else {}
        matches = data.get("evalMatches")
        panel, path = as_text(item.get("panelId")), as_text(item.get("url"))
        return LegacyRule(
            id=as_text(item.get("id")),
            name=as_text(item.get("name")).strip(),
            # Its owner may have no data alert: that it has none is in the data alone.
            state="no_data" if data.get("noData") else as_text(item.get("state")),
            org=org,
            since=as_time(item.get("newStateDate")),
            dashboard=as_text(item.get("dashboardId")),
            panel=panel,
            link=f"{self.address.base}/{path.lstrip('/')}?tab=alert&viewPanel={panel}&orgId={org}" if path else "",
            matches=matches if isinstance(matches, list) else (),
            error=as_text(item.get("executionError")).strip(),
        )
