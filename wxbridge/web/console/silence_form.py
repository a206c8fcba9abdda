"""The form for a silence: of one alert, of several that were chosen, or of whatever fulfils some matchers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.alerts.firing import FiringAlert, FiringOverview, covers_everything, speaks_of_bridge_labels
from wxbridge.alerts.firing import speaks_of_grafana as is_of_grafana
from wxbridge.alerts.kept_silences import SilenceRequest
from wxbridge.bot.commands.alert_arguments import MAX_COMMENT_CHARS, end_after, parse_query
from wxbridge.bot.commands.alerts import problem_lines
from wxbridge.config.types import parse_duration
from wxbridge.core.audit import AuditAction
from wxbridge.core.errors import BadBody, CannotAnswer
from wxbridge.core.matchers import Matcher
from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_moment
from wxbridge.web.console.page import ConsoleForm, PageVisit

FOR = ("30m", "2h", "8h", "1d", "7d")
USUAL = FOR[1]
MAX_CHOSEN = 100
"""Alerts that are silenced at once, each by matchers of its own."""


def find_alert(overview: FiringOverview, key: str) -> FiringAlert | None:
    """Find an alert that fires, by one of its keys."""
    return next((each for each in overview.alerts if key in each.keys), None)


def describe_form(visit: PageVisit, overview: FiringOverview) -> Mapping[str, Any]:
    """Describe what the form holds at first: what silences an alert, beside it its other labels; or what was typed.

    Of no alert (`?silence=new`) it begins empty, or with the matchers of a filter.
    """
    keys = [key for key in visit.lists.get("silence", ()) if key][:MAX_CHOSEN]
    chosen = [found for key in dict.fromkeys(keys) if (found := find_alert(overview, key))]
    only = chosen[0] if len(chosen) == 1 else None
    matchers = "\n".join(map(str, only.silencing_matchers())) if only else _write_lines(visit.query.get("text", ""))
    typed = visit.typed
    matchers = typed.get("matchers", matchers)
    names = {line.split("=")[0].rstrip("!") for line in matchers.split("\n")}
    return {
        "matchers": matchers,
        "rows": max(3, matchers.count("\n") + 2),
        "several": [] if only else chosen,
        "others": {name: value for name, value in only.alert.labels.items() if name not in names} if only else {},
        "for": typed.get("for", USUAL),
        "other": typed.get("other", ""),
        "comment": typed.get("comment", ""),
        "by": typed.get("by", ""),
        "choices": FOR,
    }


def _write_lines(text: str) -> str:
    """Write a filter as the form has it, a matcher a line; empty where it is no such thing."""
    try:
        return "\n".join(map(str, parse_query(text, "en").matchers))
    except CannotAnswer:
        return ""


async def silence(visit: PageVisit, form: ConsoleForm) -> str:
    """Silence what a form says. Raises `WxbridgeError`."""
    language = visit.language
    overview = await visit.services.alerts.overview()
    keys = form.lists.get("key", ())[:MAX_CHOSEN]
    found = [alert for key in dict.fromkeys(keys) if (alert := find_alert(overview, key))]
    if keys and not found:
        raise BadBody(say("bot.alerts.no_alert", language, id=keys[0][:8]))
    wanted = [tuple(each.silencing_matchers()) for each in found] or [_read_matchers(visit, form)]
    now = visit.local(visit.now)
    ends_at = end_after(now, _read_seconds(form), language)
    problems: dict[str, None] = {}
    for matchers in dict.fromkeys(wanted):
        made = await visit.services.alerts.silence(
            SilenceRequest(
                matchers, visit.now, ends_at.timestamp(), form.read_name(), comment_of(form),
                in_alertmanager=not speaks_of_bridge_labels(matchers),
                in_grafana=is_of_grafana(matchers, overview.alerts),
            )
        )  # fmt: skip
        problems |= dict.fromkeys(problem_lines(made, language))
        await visit.record(form, AuditAction.SILENCED, ", ".join(map(str, matchers)))
    visit.memory.overview.clear()
    covered = sum(any(each.fulfils(matchers) for matchers in wanted) for each in overview.alerts)
    end = format_moment(ends_at, visit.config.timezone, now)
    told = "; ".join(", ".join(map(str, matchers)) for matchers in wanted[:3]) + (" …" if len(wanted) > 3 else "")  # noqa: PLR2004 - a line
    return "\n".join([
        say("bot.alerts.silenced_now", language, end=end, matchers=told),
        say("bot.alerts.covers" if covered else "bot.alerts.covers_none", language, n=covered),
        *problems,
    ])  # fmt: skip


def _read_matchers(visit: PageVisit, form: ConsoleForm) -> tuple[Matcher, ...]:
    language = visit.language
    query = parse_query(form.text("matchers", 10000), language)
    if query.words:
        raise BadBody(say("bot.alerts.bad_matcher", language, text=query.words[0]))
    if not query.matchers:
        raise BadBody(visit.say("alerts.no_matchers"))
    if covers_everything(query.matchers):
        raise BadBody(say("bot.alerts.everything", language))
    return query.matchers


def _read_seconds(form: ConsoleForm) -> float:
    try:
        return parse_duration(form.text("other", 20) or form.text("for", 20) or USUAL)
    except ValueError as error:
        raise BadBody(f"{error}.") from None


def comment_of(form: ConsoleForm) -> str:
    """Read why somebody does something."""
    return " ".join(form.text("comment", 2000).split())[:MAX_COMMENT_CHARS]
