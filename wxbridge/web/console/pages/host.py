"""The machines that are watched: how each is now, and the chart of its last hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from wxbridge.core.errors import WxbridgeError
from wxbridge.core.model import PictureSpec
from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_quantity
from wxbridge.hosts import chart
from wxbridge.hosts.figures import format_amount, list_disks, list_other_figures, name_of, rate
from wxbridge.hosts.samples import Host
from wxbridge.web.console.page import ConsolePage, PageVisit

HOURS = ("1", "6", "24")
MAX_OPEN_CHARTS = 2
"""Of more machines, each chart is opened when it is wanted."""
STEPS_PER_CHART = 60
"""A chart stays as it is for this share of the time that it shows."""
_TONES = ("good", "warn", "bad")
_PANELS = ("disks", "network", "load", "temperature")


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    found = visit.services.hosts.list_hosts()
    wanted = visit.query.get("text", "").strip()
    shown = [host for host in found if wanted.lower() in host.name.lower()]
    hours = _hours(visit)
    step = int(hours) * 3600 // STEPS_PER_CHART
    return {
        "hosts": [_host(visit, host) for host in shown],
        "all": len(found),
        "wanted": wanted,
        "hours": hours,
        "choices": HOURS,
        "at": int(visit.now // step * step),
        "open": len(shown) <= MAX_OPEN_CHARTS,
    }


def _hours(visit: PageVisit) -> str:
    asked = visit.query.get("hours", "")
    return asked if asked in HOURS else HOURS[0]


def _host(visit: PageVisit, host: Host) -> Mapping[str, Any]:
    last = host.history.last
    now = dict(last.figures) if last and host.silent_since is None else {}
    system = host.about.get("system")
    limits = host.about.get("limited")
    cores = [say("hosts.cores", visit.language, n=f"{host.cores:g}")] if host.cores else []
    return {
        "name": host.name,
        "about": " · ".join([*([str(system)] if system else []), *cores]),
        "silent": datetime.fromtimestamp(host.silent_since, UTC) if host.silent_since is not None else None,
        "levels": list(_list_levels(visit, host, now)),
        "others": list(list_other_figures(now, visit.language)),
        "at": last.at if last else None,
        "limited": say("hosts.limited", visit.language, what=limits) if limits else "",
    }


def _list_levels(visit: PageVisit, host: Host, now: Mapping[str, float]) -> Iterator[Mapping[str, Any]]:
    """List the figures that are percentages, each with its colour."""
    for name in ("cpu", "memory", "swap", *(f"disk:{mount}" for mount in list_disks(list(now)))):
        if name not in now or (name == "swap" and not now.get("swap_used")):
            continue
        percent = now[name]
        limit = host.thresholds.get(name)
        yield {
            "name": name_of(name, visit.language),
            "percent": min(100.0, max(0.0, percent)),
            "value": format_quantity(round(percent, 1), "%", visit.language),
            "tone": _TONES[rate(percent, exceeded=host.exceeded.get(name))],
            "amount": format_amount(name, now, host.about, visit.language),
            "limit": limit if limit is not None and limit <= 100 else None,  # noqa: PLR2004 - percent
            "limit_text": format_quantity(limit, "%", visit.language) if limit is not None else "",
        }


async def _choose_chart(visit: PageVisit) -> PictureSpec:
    """Choose a machine's chart of the last hours. Raises `WxbridgeError` where there is none."""
    name = visit.query.get("host", "")
    host = next((each for each in visit.services.hosts.list_hosts() if each.name == name), None)
    spec = (
        chart.make_spec(
            host, visit.now - int(_hours(visit)) * 3600, visit.now,
            language=visit.language, timezone=visit.config.timezone, panels=_PANELS,
        )
        if host
        else None
    )  # fmt: skip
    if spec is None:
        raise WxbridgeError(visit.say("host.nothing"))
    return replace(spec, params={**spec.params, "theme": visit.theme})


PAGE = ConsolePage(_show, pictures={"chart": _choose_chart})
