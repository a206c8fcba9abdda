"""What fires by all that know, who looks after it, and what is silenced: here, in Alertmanager, in Grafana."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.alerts.firing import FiringAlert, FiringOverview
from wxbridge.alerts.severity import severity_of
from wxbridge.config.types import parse_duration
from wxbridge.core.errors import BadBody, WxbridgeError
from wxbridge.core.model import PictureSpec
from wxbridge.web.console.lately import Lately
from wxbridge.web.console.neighbours import Seeing
from wxbridge.web.console.page import Form, Page, Visit

SHOWN = 300
"""Alerts at most; beyond it a filter is the way."""
FOR = ("30m", "2h", "8h", "1d", "7d")
_FRESH = 3.0
"""Seconds for which those who ask share what the monitors answered."""
_STEP = 60
"""Seconds for which a chart stays as it is."""
_TONES = {"critical": "bad", "page": "bad", "emergency": "bad", "disaster": "bad", "error": "bad", "warning": "warn"}


async def _overview(visit: Visit) -> FiringOverview:
    kept: Lately[FiringOverview] = visit.console.memory.setdefault("overview", Lately(_FRESH))
    return await kept.of("", visit.console.overview)


async def _show(visit: Visit) -> Mapping[str, Any]:
    overview = await _overview(visit)
    if "silence" in visit.query:
        return {"form": _form(visit, overview), "choices": FOR}
    silences, missing = await visit.console.silences(visit.language)
    wanted = visit.query.get("text", "").strip().lower()
    found = [each for each in overview.alerts if not wanted or wanted in _words(each)]
    pictures = await visit.console.alert_pictures(found[:SHOWN], _seeing(visit))
    return {
        "form": None,
        "alerts": [_alert(visit, each, each.key in pictures) for each in found[:SHOWN]],
        "hidden": max(0, len(found) - SHOWN),
        "firing": len(overview.alerts),
        "missing": [visit.say("alerts.missing", name=name, why=why) for name, why in overview.missing.items()]
        or list(missing),
        "silences": silences,
        "wanted": visit.query.get("text", "").strip(),
    }


def _words(each: FiringAlert) -> str:
    return " ".join([each.alert.title, *each.alert.labels.values()]).lower()


def _alert(visit: Visit, each: FiringAlert, picture: bool) -> Mapping[str, Any]:  # noqa: FBT001 - one of its facts
    alert, labels = each.alert, each.alert.labels
    severity, notes, link = severity_of(labels), alert.annotations, alert.link or ""
    return {
        "it": each,
        "key": each.key,
        "title": alert.title or visit.say("timeline.untitled"),
        "severity": severity,
        "tone": _TONES.get(severity.lower(), "soon"),
        "places": sorted(place.value for place in each.places),
        "summary": notes.get("summary") or notes.get("description") or notes.get("message") or "",
        # An address is a monitor's word: nothing but the web is a link.
        "link": link if link.startswith(("http://", "https://")) else "",
        "shown": {name: value for name, value in labels.items() if name not in ("alertname", "severity")},
        "silenced_by": ", ".join(one[:8] for one in each.silenced_by),
        "picture": f"/console/alerts/chart?key={each.key}&at={visit.now // _STEP * _STEP:.0f}" if picture else "",
    }


def _form(visit: Visit, overview: FiringOverview) -> Mapping[str, Any]:
    """What the form for a silence holds at first: what silences an alert, beside it its other labels."""
    key = visit.query["silence"]
    found = next((each for each in overview.alerts if key in each.keys), None)
    lines = list(visit.console.matchers_of(found)) if found else []
    names = {line.partition("=")[0] for line in lines}
    others = {name: value for name, value in found.alert.labels.items() if name not in names} if found else {}
    return {
        "matchers": "\n".join(lines),
        "rows": max(3, len(lines) + 1),
        "title": found.alert.title if found else "",
        "others": others,
    }


async def _silence(visit: Visit, form: Form) -> str:
    matchers = [line.strip() for line in form.text("matchers", 10000).splitlines() if line.strip()]
    if not matchers:
        raise BadBody(visit.say("alerts.no_matchers"))
    try:
        seconds = parse_duration(form.text("other", 20) or form.text("for", 20) or FOR[1])
    except ValueError as error:
        raise BadBody(f"{error}.") from None
    comment = " ".join(form.text("comment", 2000).split())
    said = await visit.console.silence(matchers, seconds, _by(form), comment, visit.language)
    return _changed(visit, said)


async def _expire(visit: Visit, form: Form) -> str:
    return _changed(visit, await visit.console.unsilence(form.text("id", 200), _by(form), visit.language))


async def _ack(visit: Visit, form: Form) -> str:
    comment = " ".join(form.text("comment", 500).split())
    return _changed(visit, await visit.console.ack(form.text("key", 100), _by(form), comment, visit.language))


def _by(form: Form) -> str:
    return " ".join(form.text("by", 100).split()) or "console"


def _changed(visit: Visit, said: str) -> str:
    """What was said; who looks next sees it as it is now."""
    visit.console.memory.pop("overview", None)
    return said


async def _chart(visit: Visit) -> PictureSpec:
    """What an alert's picture would be. Raises `WxbridgeError` where there is none."""
    key = visit.query.get("key", "")
    found = [each for each in (await _overview(visit)).alerts if key in each.keys]
    spec = (await visit.console.alert_pictures(found, _seeing(visit))).get(found[0].key) if found else None
    if spec is None:
        raise WxbridgeError(visit.say("alerts.no_picture"))
    return spec


def _seeing(visit: Visit) -> Seeing:
    return Seeing(visit.language, visit.theme, visit.now)


PAGE = Page(
    "alerts", _show, "M18 16H6c1-1.5 1.5-3 1.5-6a4.5 4.5 0 0 1 9 0c0 3 .5 4.5 1.5 6zM10.5 19.5h3M12 3v2.5",
    {"silence": _silence, "expire": _expire, "ack": _ack},
    pictures={"chart": _chart},
)  # fmt: skip
