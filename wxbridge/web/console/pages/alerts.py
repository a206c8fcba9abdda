"""What fires by all that know, who looks after it, and what is silenced: here, in Alertmanager, in Grafana."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from wxbridge.alerts.alert_text import write_severity
from wxbridge.alerts.firing import (
    FiringAlert,
    FiringOverview,
    covers_everything,
    speaks_of_bridge_labels,
    speaks_of_grafana,
)
from wxbridge.alerts.kept_silences import KeptSilence, SilenceRequest
from wxbridge.alerts.pictures import AlertPictureOptions
from wxbridge.alerts.severity import severity_name, severity_of, write_severity_name
from wxbridge.bot.commands.alert_arguments import MAX_COMMENT_CHARS, end_after, parse_query
from wxbridge.bot.commands.alerts import missing_lines, problem_lines, short_ids
from wxbridge.config.types import parse_duration
from wxbridge.core.errors import BadBody, WxbridgeError
from wxbridge.core.model import PictureSpec, Severity
from wxbridge.core.severities import find_severity_labels
from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_moment
from wxbridge.web.console.page import ConsoleForm, ConsolePage, PageVisit

MAX_SHOWN = 300
"""Alerts; beyond it a filter is the way."""
FOR = ("30m", "2h", "8h", "1d", "7d")
CHART_STEP_SECONDS = 60
"""For which a chart stays as it is."""
_TONES = {Severity.CRITICAL: "bad", Severity.MAJOR: "bad", Severity.WARNING: "warn"}


async def read_overview(visit: PageVisit) -> FiringOverview:
    """Read what fires, by all that know; those who ask within a few seconds share it."""
    return await visit.memory.overview.get_or_create("", visit.services.alerts.overview)


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    overview = await read_overview(visit)
    if "silence" in visit.query:
        return {"form": _describe_form(visit, overview), "choices": FOR}
    silences = await visit.services.alerts.list_silences()
    wanted = visit.query.get("text", "").strip()
    found = [each for each in overview.alerts if not wanted or wanted.lower() in _words(each)]
    pictures = await preview_pictures(visit, found[:MAX_SHOWN])
    missing = [visit.say("alerts.missing", name=name, why=why) for name, why in overview.missing.items()]
    return {
        "form": None,
        "alerts": [describe_alert(visit, each, each.key in pictures) for each in found[:MAX_SHOWN]],
        "hidden": max(0, len(found) - MAX_SHOWN),
        "firing": len(overview.alerts),
        "missing": missing or list(missing_lines(silences.missing, visit.language)),
        "silences": silences.silences,
        "wanted": wanted,
    }


async def preview_pictures(visit: PageVisit, found: Sequence[FiringAlert]) -> Mapping[str, PictureSpec]:
    """Tell which picture each of some alerts would bring, by key; nobody is asked."""
    alerts = visit.services.alerts
    settings = replace(alerts.settings.pictures or AlertPictureOptions(), language=visit.language, theme=visit.theme)
    return await alerts.preview_pictures(found, settings, datetime.fromtimestamp(visit.now, UTC))


def _words(each: FiringAlert) -> str:
    return " ".join([each.alert.title, *each.alert.labels.values()]).lower()


def describe_alert(visit: PageVisit, each: FiringAlert, picture: bool) -> Mapping[str, Any]:  # noqa: FBT001 - one of its facts
    """Describe an alert as the templates take it; `picture` says whether it would bring one."""
    alert, labels = each.alert, each.alert.labels
    severity, notes, link = severity_of(alert), alert.annotations, alert.link or ""
    word = write_severity_name(severity_name(alert), visit.language)
    told = find_severity_labels(labels, alert.source)
    charted_at = visit.now // CHART_STEP_SECONDS * CHART_STEP_SECONDS
    return {
        "it": each,
        "key": each.key,
        "title": alert.title or visit.say("timeline.untitled"),
        "severity": " · ".join(dict.fromkeys([word, *write_severity(alert, visit.language)])),
        "tone": _TONES.get(severity, "soon") if severity else "soon",
        "places": sorted(place.value for place in each.places),
        "summary": notes.get("summary") or notes.get("description") or notes.get("message") or "",
        # An address is a monitor's word: nothing but the web is a link.
        "link": link if link.startswith(("http://", "https://")) else "",
        "shown": {name: value for name, value in labels.items() if name not in ("alertname", *told)},
        "silenced_by": ", ".join(one[:8] for one in each.silenced_by),
        "picture": f"/console/alerts/chart?key={each.key}&at={charted_at:.0f}" if picture else "",
    }


def _describe_form(visit: PageVisit, overview: FiringOverview) -> Mapping[str, Any]:
    """Describe what the form for a silence holds at first: what silences an alert, beside it its other labels."""
    found = _find_alert(overview, visit.query["silence"])
    matchers = found.silencing_matchers() if found else []
    names = {matcher.name for matcher in matchers}
    return {
        "matchers": "\n".join(map(str, matchers)),
        "rows": max(3, len(matchers) + 1),
        "title": found.alert.title if found else "",
        "others": {name: value for name, value in found.alert.labels.items() if name not in names} if found else {},
    }


def _find_alert(overview: FiringOverview, key: str) -> FiringAlert | None:
    return next((each for each in overview.alerts if key in each.keys), None)


async def _silence(visit: PageVisit, form: ConsoleForm) -> str:
    alerts, language = visit.services.alerts, visit.language
    query = parse_query(form.text("matchers", 10000), language)
    if query.words:
        raise BadBody(say("bot.alerts.bad_matcher", language, text=query.words[0]))
    if not query.matchers:
        raise BadBody(visit.say("alerts.no_matchers"))
    if covers_everything(query.matchers):
        raise BadBody(say("bot.alerts.everything", language))
    try:
        seconds = parse_duration(form.text("other", 20) or form.text("for", 20) or FOR[1])
    except ValueError as error:
        raise BadBody(f"{error}.") from None
    now = visit.local(visit.now)
    ends_at = end_after(now, seconds, language)
    overview = await alerts.overview()
    made = await alerts.silence(
        SilenceRequest(
            query.matchers, visit.now, ends_at.timestamp(), _by(form), _comment(form),
            in_alertmanager=not speaks_of_bridge_labels(query.matchers),
            in_grafana=speaks_of_grafana(query.matchers, overview.alerts),
        )
    )  # fmt: skip
    visit.memory.overview.clear()
    covered = sum(each.fulfils(query.matchers) for each in overview.alerts)
    end, matchers = format_moment(ends_at, visit.config.timezone, now), ", ".join(map(str, query.matchers))
    lines = [
        say("bot.alerts.silenced_now", language, end=end, matchers=matchers),
        say("bot.alerts.covers" if covered else "bot.alerts.covers_none", language, n=covered),
    ]
    return "\n".join([*lines, *problem_lines(made, language)])


async def _expire(visit: PageVisit, form: ConsoleForm) -> str:
    alerts, language, silence_id = visit.services.alerts, visit.language, form.text("id", 200)
    kept = await _find_silence(visit, silence_id)
    is_ended = await alerts.unsilence(kept)
    visit.memory.overview.clear()
    if not is_ended:
        return say("bot.alerts.over_meanwhile", language, id=silence_id[:8])
    return say("bot.alerts.unsilenced", language, matchers=", ".join(kept.matchers))


async def _find_silence(visit: PageVisit, silence_id: str) -> KeptSilence:
    overview = await visit.services.alerts.list_silences()
    found = next((each for each in overview.silences if silence_id in each.ids), None)
    if found is None:
        lines = missing_lines(overview.missing, visit.language)
        raise BadBody("\n".join([say("bot.alerts.no_silence", visit.language, id=silence_id[:8]), *lines]))
    return found


async def _acknowledge(visit: PageVisit, form: ConsoleForm) -> str:
    alerts, language, key, by = visit.services.alerts, visit.language, form.text("key", 100), _by(form)
    overview = await alerts.overview()
    found = _find_alert(overview, key)
    if found is None:
        raise BadBody(say("bot.alerts.no_alert", language, id=key[:8]))
    await alerts.acknowledge(found.keys, by, _comment(form))
    visit.memory.overview.clear()
    title, short = found.alert.title or say("alerts.untitled", language), short_ids(overview.alerts)[found.key]
    lines = [say("bot.alerts.acked_now", language, by=by, title=title, id=short)]
    if found.ack and found.ack.by != by:
        lines.append(say("bot.alerts.acked_before", language, by=found.ack.by))
    return "\n".join(lines)


def _by(form: ConsoleForm) -> str:
    return " ".join(form.text("by", 100).split()) or "console"


def _comment(form: ConsoleForm) -> str:
    return " ".join(form.text("comment", 2000).split())[:MAX_COMMENT_CHARS]


async def _choose_chart(visit: PageVisit) -> PictureSpec:
    """Choose what an alert's picture would be. Raises `WxbridgeError` where there is none."""
    found = _find_alert(await read_overview(visit), visit.query.get("key", ""))
    spec = (await preview_pictures(visit, [found])).get(found.key) if found else None
    if spec is None:
        raise WxbridgeError(visit.say("alerts.no_picture"))
    return spec


PAGE = ConsolePage(
    "alerts", _show, "M18 16H6c1-1.5 1.5-3 1.5-6a4.5 4.5 0 0 1 9 0c0 3 .5 4.5 1.5 6zM10.5 19.5h3M12 3v2.5",
    {"silence": _silence, "expire": _expire, "ack": _acknowledge},
    pictures={"chart": _choose_chart},
)  # fmt: skip
