"""What fires by all that know, who looks after it, and what is silenced: here, in Alertmanager, in Grafana."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from wxbridge.alerts.alert_text import find_summary, write_severity
from wxbridge.alerts.firing import FiringAlert
from wxbridge.alerts.kept_silences import KeptSilence
from wxbridge.alerts.pictures import AlertPictureOptions
from wxbridge.alerts.severity import severity_name, severity_of, write_severity_name
from wxbridge.alerts.sources import WEB_SCHEMES
from wxbridge.bot.commands.alert_arguments import AlertQuery, parse_query
from wxbridge.bot.commands.alerts import missing_lines, short_ids
from wxbridge.core.audit import AuditAction
from wxbridge.core.errors import BadBody, CannotAnswer, WxbridgeError
from wxbridge.core.matchers import Matcher
from wxbridge.core.model import PictureSpec
from wxbridge.core.severities import find_severity_labels
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import say
from wxbridge.web.console.overview import PATIENCE_SECONDS, count_by_severity, read_overview
from wxbridge.web.console.page import ConsoleForm, ConsolePage, PageVisit, choose_severity_tone, read_number
from wxbridge.web.console.silence_form import comment_of, describe_form, find_alert, silence

PER_PAGE = 50
"""Alerts of one page; a filter finds the others sooner than turning pages does."""
MAX_LABELS_TO_GROUP_BY = 12
CHART_STEP_SECONDS = 60
"""For which a chart stays as it is."""
_GROUP_FIRST = ("alertname", "severity", "source", "team", "namespace", "cluster", "service", "job", "instance", "host")


# ---------------------------------------------------------------- filters


@dataclass(frozen=True)
class AlertFilter:
    """What is looked for: it stands in the address, so that it can be kept and sent to others."""

    text: str = ""
    """Matchers and words, as in a chat."""
    severity: str | None = None
    """The name of one, empty for alerts without a severity; None for all."""
    by: str = ""
    """The label that alerts are grouped by; empty for one list."""
    page: int = 1
    query: AlertQuery = field(default_factory=AlertQuery)
    problem: str = ""
    """Why the text cannot be read; it is then looked for as it stands."""

    @classmethod
    def read(cls, visit: PageVisit) -> AlertFilter:
        """Read what an address asks for."""
        text = visit.query.get("text", "").strip()
        page = max(1, read_number(visit.query.get("page", ""), max_digits=5) or 1)
        query, problem = AlertQuery(), ""
        try:
            query = parse_query(text, visit.language)
        except CannotAnswer as error:
            query, problem = AlertQuery(words=(text,)), str(error)
        return cls(text, visit.query.get("severity"), visit.query.get("by", "")[:100], page, query, problem)

    def address(self, **changes: object) -> str:
        """Write the address of the page with some things asked for otherwise; the first of its pages."""
        wanted = {"text": self.text, "severity": self.severity, "by": self.by} | changes
        asked = {
            name: str(value)
            for name, value in wanted.items()
            if (value or (name, value) == ("severity", "")) and (name, value) != ("page", 1)
        }
        return "/console/alerts" + (f"?{urlencode(asked)}" if asked else "")

    def with_label(self, name: str, value: str) -> str:
        """Write the address where a label must have a value too."""
        matcher = str(Matcher(name, "=", value))
        return self.address(text=self.text if matcher in self.text else f"{self.text} {matcher}".strip())

    def matches(self, each: FiringAlert) -> bool:
        """Tell whether an alert is one of those that are looked for, however bad it is."""
        return not self.query or self.query.matches(each)


def _label_of(each: FiringAlert, name: str) -> str:
    return each.severity if name == "severity" else each.labels.get(name, "")


def _list_labels(alerts: Sequence[FiringAlert]) -> list[str]:
    """List the labels that alerts may be grouped by: those that several have, the usual ones first."""
    found = Counter(name for each in alerts for name in each.alert.labels if not name.startswith("__"))
    usual = [name for name in _GROUP_FIRST if name in found or name in ("severity", "source")]
    return [*usual, *(name for name, _ in found.most_common() if name not in usual)][:MAX_LABELS_TO_GROUP_BY]


# ---------------------------------------------------------------- the page


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    overview = await read_overview(visit)
    if "silence" in visit.query:
        return {"form": describe_form(visit, overview)}
    silences = await visit.services.alerts.list_silences(PATIENCE_SECONDS)
    asked = AlertFilter.read(visit)
    alike = [each for each in overview.alerts if asked.matches(each)]
    found = [each for each in alike if asked.severity in (None, each.severity)]
    if asked.by:
        # The worst group first, as the alerts themselves.
        first = {_label_of(each, asked.by): place for place, each in reversed(list(enumerate(found)))}
        found.sort(key=lambda each: first[_label_of(each, asked.by)])
    pages = max(1, math.ceil(len(found) / PER_PAGE))
    page = min(asked.page, pages)
    shown = found[(page - 1) * PER_PAGE : page * PER_PAGE]
    missing = [
        visit.say("alerts.missing", name=name, why=tell_error(why, visit.language))
        for name, why in overview.missing.items()
    ]
    if overview.left_out:
        missing.append(say("alerts.left_out", visit.language, n=overview.left_out))
    return {
        "form": None,
        "asked": asked,
        "groups": list(_group(visit, shown, found, asked)),
        "found": len(found),
        "firing": len(overview.alerts),
        "page_number": page,
        "page_count": pages,
        "severities": count_by_severity(visit, alike),
        "labels": _list_labels(overview.alerts),
        "missing": missing or list(missing_lines(silences.missing, visit.language)),
        "silences": silences.silences,
    }


def _group(
    visit: PageVisit, shown: Sequence[FiringAlert], found: Sequence[FiringAlert], asked: AlertFilter
) -> Iterator[Mapping[str, Any]]:
    """Put what a page shows into groups; one without a name where nothing is asked."""
    if not asked.by:
        yield {"name": "", "count": len(found), "alerts": [describe_alert(visit, each) for each in shown]}
        return
    counts = Counter(_label_of(each, asked.by) for each in found)
    for name in dict.fromkeys(_label_of(each, asked.by) for each in shown):
        members = [describe_alert(visit, each) for each in shown if _label_of(each, asked.by) == name]
        value = write_severity_name(name, visit.language) if asked.by == "severity" else name
        yield {"name": value or visit.say("alerts.without"), "count": counts[name], "alerts": members}


def describe_alert(visit: PageVisit, each: FiringAlert) -> Mapping[str, Any]:
    """Describe an alert as the templates take it."""
    alert, labels = each.alert, each.alert.labels
    notes, link = alert.annotations, alert.link or ""
    word = write_severity_name(severity_name(alert), visit.language)
    told = find_severity_labels(labels, alert.source)
    summary = find_summary(notes)
    return {
        "it": each,
        "key": each.key,
        "title": alert.title or visit.say("timeline.untitled"),
        "severity": " · ".join(dict.fromkeys([word, *write_severity(alert, visit.language)])),
        "tone": choose_severity_tone(severity_of(alert)),
        "places": sorted(place.value for place in each.places),
        "summary": notes.get(summary, ""),
        "notes": {name: text for name, text in notes.items() if name != summary and not name.startswith("__")},
        # An address is a monitor's word: nothing but the web is a link.
        "link": link if link.startswith(WEB_SCHEMES) else "",
        "shown": {name: value for name, value in labels.items() if name not in ("alertname", *told)},
        "silenced_by": ", ".join(one[:8] for one in each.silenced_by),
        "picture": _picture_address(visit, each),
    }


def _picture_address(visit: PageVisit, each: FiringAlert) -> str:
    if preview_picture(visit, each) is None:
        return ""
    at = visit.now // CHART_STEP_SECONDS * CHART_STEP_SECONDS
    return f"/console/alerts/chart?key={each.key}&at={at:.0f}"


def preview_picture(visit: PageVisit, each: FiringAlert) -> PictureSpec | None:
    """Tell which picture an alert would bring; nobody is asked."""
    alerts = visit.services.alerts
    settings = replace(alerts.settings.pictures or AlertPictureOptions(), language=visit.language, theme=visit.theme)
    return alerts.preview_picture(each, settings, datetime.fromtimestamp(visit.now, UTC))


# ---------------------------------------------------------------- what its forms do


async def _expire(visit: PageVisit, form: ConsoleForm) -> str:
    alerts, language, silence_id = visit.services.alerts, visit.language, form.text("id", 200)
    kept = await _find_silence(visit, silence_id)
    is_ended = await alerts.unsilence(kept)
    visit.memory.overview.clear()
    if not is_ended:
        return say("bot.alerts.over_meanwhile", language, id=silence_id[:8])
    await visit.record(form, AuditAction.UNSILENCED, ", ".join(kept.matchers))
    return say("bot.alerts.unsilenced", language, matchers=", ".join(kept.matchers))


async def _find_silence(visit: PageVisit, silence_id: str) -> KeptSilence:
    overview = await visit.services.alerts.list_silences()
    found = next((each for each in overview.silences if silence_id in each.ids), None)
    if found is None:
        lines = missing_lines(overview.missing, visit.language)
        raise BadBody("\n".join([say("bot.alerts.no_silence", visit.language, id=silence_id[:8]), *lines]))
    return found


async def _acknowledge(visit: PageVisit, form: ConsoleForm) -> str:
    alerts, language, key, by = visit.services.alerts, visit.language, form.text("key", 100), form.read_name()
    overview = await alerts.overview()
    found = find_alert(overview, key)
    if found is None:
        raise BadBody(say("bot.alerts.no_alert", language, id=key[:8]))
    await alerts.acknowledge(found.keys, by, comment_of(form))
    visit.memory.overview.clear()
    title, short = found.alert.title or say("alerts.untitled", language), short_ids(overview.alerts)[found.key]
    await visit.record(form, AuditAction.ACKNOWLEDGED, title)
    lines = [say("bot.alerts.acked_now", language, by=by, title=title, id=short)]
    if found.ack and found.ack.by != by:
        lines.append(say("bot.alerts.acked_before", language, by=found.ack.by))
    return "\n".join(lines)


async def _choose_chart(visit: PageVisit) -> PictureSpec:
    """Choose what an alert's picture would be. Raises `WxbridgeError` where there is none."""
    found = find_alert(await read_overview(visit), visit.query.get("key", ""))
    spec = preview_picture(visit, found) if found else None
    if spec is None:
        raise WxbridgeError(visit.say("alerts.no_picture"))
    return spec


PAGE = ConsolePage(
    _show,
    {"silence": silence, "expire": _expire, "ack": _acknowledge},
    pictures={"chart": _choose_chart},
)
