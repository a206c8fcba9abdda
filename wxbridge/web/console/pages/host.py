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
from wxbridge.hosts.figures import DEFAULT_LEVELS, format_amount, list_disks, name_of, unit_of
from wxbridge.hosts.samples import Host
from wxbridge.web.console.page import Page, Visit

HOURS = ("1", "6", "24")
OPEN = 2
"""So many machines are shown with their charts; of more, each chart is opened when it is wanted."""
_STEPS = 60
"""A chart stays as it is for this share of the time that it shows."""
_TONES = ("good", "warn", "bad")
_PANELS = ("disks", "network", "load", "temperature")


async def _show(visit: Visit) -> Mapping[str, Any]:
    found = visit.console.hosts() or ()
    wanted = visit.query.get("text", "").strip()
    shown = [host for host in found if wanted.lower() in host.name.lower()]
    hours = _hours(visit)
    step = int(hours) * 3600 // _STEPS
    return {
        "hosts": [_host(visit, host) for host in shown],
        "all": len(found),
        "wanted": wanted,
        "hours": hours,
        "choices": HOURS,
        "at": int(visit.now // step * step),
        "open": len(shown) <= OPEN,
    }


def _hours(visit: Visit) -> str:
    asked = visit.query.get("hours", "")
    return asked if asked in HOURS else HOURS[0]


def _host(visit: Visit, host: Host) -> Mapping[str, Any]:
    last = host.history.last
    now = dict(last.figures) if last and host.silent_since is None else {}
    system = host.about.get("system")
    limits = host.about.get("limited")
    cores = [say("hosts.cores", visit.language, n=f"{host.cores:g}")] if host.cores else []
    return {
        "name": host.name,
        "about": " · ".join([*([str(system)] if system else []), *cores]),
        "silent": datetime.fromtimestamp(host.silent_since, UTC) if host.silent_since is not None else None,
        "levels": list(_levels(visit, host, now)),
        "others": list(_others(visit, now)),
        "at": last.at if last else None,
        "limited": say("hosts.limited", visit.language, what=limits) if limits else "",
    }


def _levels(visit: Visit, host: Host, now: Mapping[str, float]) -> Iterator[Mapping[str, Any]]:
    """The figures that are percentages, each with its colour."""
    for name in ("cpu", "memory", "swap", *(f"disk:{mount}" for mount in list_disks(list(now)))):
        if name not in now or (name == "swap" and not now.get("swap_used")):
            continue
        percent = now[name]
        limit = host.thresholds.get(name)
        yield {
            "name": name_of(name, visit.language),
            "percent": min(100.0, max(0.0, percent)),
            "value": format_quantity(round(percent, 1), "%", visit.language),
            "tone": _TONES[sum(percent >= level for level in DEFAULT_LEVELS)],
            "amount": format_amount(name, now, host.about, visit.language),
            "limit": limit if limit is not None and limit <= 100 else None,  # noqa: PLR2004 - percent
            "limit_text": format_quantity(limit, "%", visit.language) if limit is not None else "",
        }


def _others(visit: Visit, now: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """The other figures, with their names."""
    if "load1" in now:
        loads = " ".join(f"{now[name]:.2f}" for name in ("load1", "load5", "load15") if name in now)
        yield say("hosts.load1", visit.language), loads
    for key, phrase, pair in (
        ("network", "in_out", ("net_in", "net_out")),
        ("disk_io", "read_write", ("disk_read", "disk_write")),
    ):
        if all(name in now for name in pair):
            a, b = (format_quantity(now[name], unit_of(name), visit.language) for name in pair)
            yield say(f"hosts.{key}", visit.language), say(f"hosts.{phrase}", visit.language, a=a, b=b)
    if "temperature" in now:
        warm = format_quantity(round(now["temperature"], 1), "°C", visit.language)
        yield say("hosts.temperature", visit.language), warm


async def _chart(visit: Visit) -> PictureSpec:
    """A machine's chart of the last hours. Raises `WxbridgeError` where there is none."""
    name = visit.query.get("host", "")
    host = next((each for each in visit.console.hosts() or () if each.name == name), None)
    spec = (
        chart.make_spec(
            host, visit.now - int(_hours(visit)) * 3600, visit.now,
            language=visit.language, timezone=visit.console.timezone(), panels=_PANELS,
        )
        if host
        else None
    )  # fmt: skip
    if spec is None:
        raise WxbridgeError(visit.say("host.nothing"))
    return replace(spec, params={**spec.params, "theme": visit.theme})


PAGE = Page(
    "host",
    _show,
    "M4 5h16v6H4zM4 14h16v6H4zM7.5 8h.01M7.5 17h.01M12 8h5M12 17h5",
    wanted=lambda console: console.hosts() is not None,
    pictures={"chart": _chart},
)
