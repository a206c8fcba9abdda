"""The Grafana panel that an alert names, and the request for its picture. Pure.

Nothing is taken from an alert but a dashboard's uid (or number), a panel's number and its variables: the address is
built anew below the configured Grafana, so that an alert cannot lead anywhere else.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

from wxbridge.core.model import Alert, PictureSpec
from wxbridge.core.pictures import PanelAddress, PanelRequest, is_dashboard_uid, parse_panel_id

MIN_SPAN = timedelta(minutes=15)
MIN_MARGIN = timedelta(minutes=5)
MAX_FIRING_SPAN = timedelta(hours=24)
"""How far back the picture of an alert that still fires goes."""
PANEL_PARAMETERS = ("viewPanel", "panelId", "editPanel")
"""What a panel is called by in addresses."""
_NUMBER = re.compile(r"\d{1,12}")
_DASHBOARD_PATH = re.compile(r"/d(?:-solo)?/([^/?#]+)")


def panel_of(alert: Alert) -> PanelAddress | None:
    """Find the panel that an alert names; None where it names none.

    It may be in the address of the panel (`…/d/UID/slug?viewPanel=4&orgId=1`, in `links` or as the alert's own link,
    with `panelId` or `editPanel` as well), or in the annotations that Grafana's rules have (`__dashboardUid__`,
    `__panelId__`, `__orgId__`), or `__dashboardId__` where a legacy notification told only the number.
    """
    notes = alert.annotations
    panel = parse_panel_id(notes.get("__panelId__", ""))
    uid = notes.get("__dashboardUid__", "").strip()
    number = notes.get("__dashboardId__", "").strip()
    org = notes.get("__orgId__", "").strip()
    variables: tuple[tuple[str, str], ...] = ()
    for address in (alert.links.get("panel"), alert.links.get("dashboard"), alert.link):
        found = _parse_address(address or "")
        if found is None:
            continue
        uid = uid or found.uid
        if found.uid == uid:
            panel, org, variables = panel or found.panel, org or found.org, variables or found.variables
    if not panel:
        return None
    org = org if _NUMBER.fullmatch(org) else ""
    if is_dashboard_uid(uid):
        return PanelAddress(panel, uid, org=org, variables=variables)
    if _NUMBER.fullmatch(number) and int(number):
        return PanelAddress(panel, number=int(number), org=org)
    return None


@lru_cache(maxsize=256)
def _parse_address(address: str) -> PanelAddress | None:
    """Read a dashboard's address, whichever host it is on; its panel may be empty."""
    try:
        parts = urlsplit(address.strip())
        query = parse_qsl(parts.query, max_num_fields=200)
    except ValueError:
        return None
    path = _DASHBOARD_PATH.search(parts.path)
    if path is None or not is_dashboard_uid(path[1]):
        return None
    given = dict(reversed(query))
    panel = next(filter(None, (parse_panel_id(given.get(name, "")) for name in PANEL_PARAMETERS)), "")
    variables = tuple((name, value) for name, value in query if name.startswith("var-"))
    return PanelAddress(panel, path[1], org=given.get("orgId", ""), variables=variables)


def span_of(now: datetime, starts_at: datetime | None, ends_at: datetime | None) -> tuple[datetime, datetime]:
    """Choose the time to show: the whole episode with a margin, at least 15 minutes, and nothing after `now`.

    The margin is a quarter of the episode, at least five minutes; where the alert still fires, at most a day is shown.
    """
    over = ends_at is not None and ends_at <= now
    last = ends_at if over and ends_at is not None else now
    first = min(starts_at, last) if starts_at is not None else last
    margin = max(MIN_MARGIN, (last - first) / 4)
    end = min(now, last + margin) if over else now
    start = min(first - margin, end - MIN_SPAN)
    return (start if over else max(start, end - MAX_FIRING_SPAN)), end


def panel_spec(
    panel: PanelAddress,
    alert: Alert,
    now: datetime,
    *,
    timezone: str | None = None,
    language: str | None = None,
    theme: str | None = None,
) -> PictureSpec:
    """Describe the picture of the panel that an alert names, with its times fixed."""
    start, end = (round(moment.timestamp() * 1000) for moment in span_of(now, alert.starts_at, alert.ends_at))
    request = PanelRequest(panel, start, end, theme=theme, timezone=timezone, language=language)
    return request.to_spec(alert.links.get("panel") or alert.link)
