"""What fires now, and what is silenced: a silence begins with the labels of the alert that it was opened from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from wxbridge import compose
from wxbridge.errors import BadBody
from wxbridge.settings import parse_duration
from wxbridge.web.console.page import Form, Page, Visit

SHOWN = 300
"""Alerts at most; beyond it a filter is the way."""
FOR = ("30m", "2h", "8h", "1d", "7d")
_TOO_MUCH = ("instance_id", "pod", "container_id", "prometheus", "replica", "monitor")
"""Labels that change with every restart, or that all alerts share: a silence rarely means them."""


async def _show(visit: Visit) -> Mapping[str, Any]:
    silences = await visit.bridge.silences()
    if visit.query.get("silence"):
        return {"form": await _form(visit), "silences": [], "alerts": [], "hidden": 0, "choices": FOR}
    wanted = visit.query.get("text", "").strip().lower()
    firing = [each for each in await visit.bridge.firing() if not wanted or wanted in _words(each)]
    firing.sort(
        key=lambda each: (bool(each.get("silenced_by")), compose.severity_rank(each["labels"].get("severity", "")))
    )
    return {
        "form": None,
        "alerts": [_alert(each) for each in firing[:SHOWN]],
        "hidden": max(0, len(firing) - SHOWN),
        "silences": [{**each, "ends": _time(each["ends_at"]), "starts": _time(each["starts_at"])} for each in silences],
        "wanted": visit.query.get("text", "").strip(),
    }


def _words(alert: Mapping[str, Any]) -> str:
    return " ".join([alert["title"], *alert["labels"].values()]).lower()


def _alert(alert: Mapping[str, Any]) -> Mapping[str, Any]:
    severity = alert["labels"].get("severity", "")
    notes = alert.get("annotations") or {}
    link = alert.get("link") or ""
    return {
        **alert,
        "severity": severity,
        "tone": {"critical": "bad", "page": "bad", "warning": "warn"}.get(severity.lower(), "soon"),
        "since": _time(alert.get("starts_at") or alert.get("first_seen")),
        "summary": notes.get("summary") or notes.get("description") or notes.get("message") or "",
        # An address is a monitor's word: nothing but the web is a link.
        "link": link if link.startswith(("http://", "https://")) else "",
        "shown": {name: value for name, value in alert["labels"].items() if name not in ("alertname", "severity")},
    }


def _time(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


async def _form(visit: Visit) -> Mapping[str, Any]:
    """What the form for a silence holds at first."""
    key = visit.query["silence"]
    alert = next((each for each in await visit.bridge.firing() if each["key"] == key), None)
    labels = {"alertname": alert["title"], **alert["labels"]} if alert else {}
    lines = [f"{name}={_quoted(value)}" for name, value in labels.items() if value and name not in _TOO_MUCH]
    return {"matchers": "\n".join(lines), "rows": max(3, len(lines) + 1), "title": alert["title"] if alert else ""}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


async def _silence(visit: Visit, form: Form) -> str:
    matchers = _lines(form.text("matchers", 10000))
    how_long = form.text("for", 20) or FOR[1]
    if not matchers:
        raise BadBody(visit.say("alerts.no_matchers"))
    try:
        ends = visit.now + parse_duration(form.text("other", 20) or how_long)
    except ValueError as error:
        raise BadBody(f"{error}.") from None
    by = form.text("by", 200) or "console"
    made = await visit.bridge.add_silence(matchers, visit.now, ends, by, form.text("comment", 2000))
    return visit.say("alerts.silenced", id=made["id"], time=visit.when(ends))


def _lines(text: str) -> Sequence[str]:
    return [line.strip() for line in text.splitlines() if line.strip()][:100]


async def _expire(visit: Visit, form: Form) -> str:
    name = form.text("id", 200)
    if not await visit.bridge.expire_silence(name):
        raise BadBody(visit.say("alerts.no_silence", id=name))
    return visit.say("alerts.expired", id=name)


PAGE = Page(
    "alerts", _show, "M18 16H6c1-1.5 1.5-3 1.5-6a4.5 4.5 0 0 1 9 0c0 3 .5 4.5 1.5 6zM10.5 19.5h3M12 3v2.5",
    {"silence": _silence, "expire": _expire},
)  # fmt: skip
