"""One answer of `graph`: from a name that was found and what was asked for to the pictures of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from wxbridge.bot import time_range
from wxbridge.bot.command import Answer, CannotAnswer, Question
from wxbridge.bot.commands.graph_pictures import View, dashboard_picture, panel_picture
from wxbridge.bot.commands.graph_words import (
    WHOLE,
    NoSuchPanel,
    NoSuchVariable,
    Wanted,
    near,
    panels_of,
    variables_of,
)
from wxbridge.bot.time_range import Span
from wxbridge.config.graphs import PANELS_AT_MOST, GraphSettings, parse_size
from wxbridge.core.model import Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.normalise import fold
from wxbridge.core.text.splitting import shorten
from wxbridge.monitors.dashboards import Dashboard, DashboardHit, PanelInfo

LISTED = 20
"""Lines of one list."""
PANEL_KEYS = ("viewPanel", "panelId", "editPanel")
"""What a panel is called by in addresses."""
_NUMBER = re.compile(r"(?:panel-)?(\d{1,9})")


@dataclass(frozen=True)
class Candidate:
    """What a name may be: a shortcut or a dashboard, and the words after the name."""

    name: str
    rest: tuple[str, ...]
    hit: DashboardHit | None = None
    settings: GraphSettings | None = None
    guessed: bool = False
    """Whether the name is a part of the title only."""


@dataclass(frozen=True)
class Address:
    """A dashboard's address, taken apart."""

    uid: str
    slug: str
    query: dict[str, str] = field(default_factory=dict)
    variables: tuple[tuple[str, str], ...] = ()
    more: tuple[tuple[str, str], ...] = ()


def cut(lines: Sequence[str], most: int) -> list[str]:
    """The first lines of a list, with a mark where there are more."""
    return [*lines[:most], *(["…"] if len(lines) > most else [])]


def title_of(panel: PanelInfo, dashboard: Dashboard | None, values: Mapping[str, str], language: Language) -> str:
    """What a panel is called, with its variables filled in."""
    title = dashboard.fill_title(panel.title, values) if dashboard else panel.title
    return title or say("bot.graphs.untitled_panel", language, id=panel.id)


def view_of(candidate: Candidate, asked: Wanted, question: Question, address: Address, model: Dashboard | None) -> View:
    """Put together what was asked for, what the shortcut says, and what is on the dashboard (None: not told).

    Raises:
        CannotAnswer: there is no such panel (its cause is `NoSuchPanel`) or variable, or the range cannot be.
    """
    settings, language = candidate.settings, question.language
    given = dict(address.variables)
    variables: dict[str, tuple[str, ...]] = {
        name: tuple(v for n, v in address.variables if n == name) for name in given
    }
    if settings is not None:
        variables |= {f"var-{name.removeprefix('var-')}": values for name, values in settings.vars.items()}
    variables |= {f"var-{name}": values for name, values in _typed(candidate, asked, model, language).items()}
    zone = asked.timezone or (settings and settings.timezone) or _zone_in(address) or str(question.at.tzinfo)
    shown = {name.removeprefix("var-"): ", ".join(values) for name, values in variables.items()}
    panels = _panels(candidate, address, model, shown, language)
    size = settings.size if settings else None
    theme = address.query.get("theme")
    return View(
        address.uid,
        (settings and settings.title) or (model.title if model else candidate.name),
        _span(settings, asked, _on_clock(question.at, zone), address, model, language),
        address.slug or (model.slug if model else ""),
        tuple(panels[:PANELS_AT_MOST]),
        tuple((name, value) for name, values in variables.items() for value in values),
        address.query.get("orgId", "") if address.query.get("orgId", "").isdigit() else "",
        address.more,
        asked.size or (parse_size(size) if size else None),
        asked.theme or (settings and settings.theme) or (theme if theme in ("light", "dark") else None),
        zone,
        tuple(panels[PANELS_AT_MOST:]),
    )


def _on_clock(at: datetime, zone: str) -> datetime:
    """The same moment on another clock; on its own where there is no such zone."""
    try:
        return at.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError):
        return at


def _zone_in(address: Address) -> str | None:
    zone = address.query.get("timezone") or address.query.get("tz") or ""
    return zone if "/" in zone or zone == "UTC" else "UTC" if zone == "utc" else None


def _typed(
    candidate: Candidate, asked: Wanted, model: Dashboard | None, language: Language
) -> dict[str, tuple[str, ...]]:
    if model is None:
        return {name: (value,) for name, value in asked.variables}
    try:
        return variables_of(model, asked.variables)
    except NoSuchVariable as error:
        names = [each.name for each in model.variables]
        there = ", ".join(names) or say("bot.graphs.none", language)
        guess = near(names, str(error), 1)
        hint = say("bot.graphs.near_variable", language, variable=guess[0]) if guess else ""
        wrong = shorten(str(error))
        raise CannotAnswer(
            say("bot.graphs.no_variable", language, name=candidate.name, variable=wrong, names=there, hint=hint)
        ) from None


def _panels(
    candidate: Candidate, address: Address, model: Dashboard | None, values: Mapping[str, str], language: Language
) -> list[PanelInfo]:
    """Which panels are shown: those that were asked for, else the shortcut's own; none for the whole dashboard."""
    settings = candidate.settings
    if candidate.rest:
        if fold(" ".join(candidate.rest)) in WHOLE and not _is_title(model, candidate.rest):
            return []
        words: Sequence[str] = candidate.rest
        if model is None:
            raise CannotAnswer(say("bot.graphs.no_dashboard", language, uid=address.uid))
        return _asked_panels(candidate, model, words, values, language)
    given: Sequence[int | str] = settings.panel if settings else ()
    if not given:
        given = [found[1] for name in PANEL_KEYS if (found := _NUMBER.fullmatch(address.query.get(name, "")))][:1]
    found_panels: list[PanelInfo] = []
    for each in given:
        number = _NUMBER.fullmatch(str(each))
        by_id = [panel for panel in model.panels if number and panel.id == int(number[1])] if model else []
        if by_id or (number and (model is None or not model.panels)):
            found_panels += by_id or [PanelInfo(0, int(number[1]) if number else 0, "")]
        elif model is not None:
            found_panels += _asked_panels(candidate, model, [str(each)], values, language)
    return list(dict.fromkeys(found_panels))


def _is_title(model: Dashboard | None, words: Sequence[str]) -> bool:
    return model is not None and any(fold(each.title) == fold(" ".join(words)) for each in model.panels)


def _asked_panels(
    candidate: Candidate, model: Dashboard, words: Sequence[str], values: Mapping[str, str], language: Language
) -> list[PanelInfo]:
    try:
        return panels_of(model, words, values)
    except NoSuchPanel as error:
        titles = [title_of(each, model, values, language) for each in model.panels]
        guesses = near(titles, str(error), 2)
        hint = say("bot.graphs.near_panels", language, names=", ".join(f"`{each}`" for each in guesses))
        lines = cut([f"{each.number}. {title}" for each, title in zip(model.panels, titles, strict=True)], LISTED)
        listing = "\n".join([say("bot.graphs.there_are", language), *lines])
        if not lines:
            listing = say("bot.graphs.no_panels", language)
        hint = hint if guesses else listing
        raise CannotAnswer(
            say("bot.graphs.no_panel", language, name=candidate.name, panel=shorten(str(error)), hint=hint)
        ) from error


def _span(
    settings: GraphSettings | None,
    asked: Wanted,
    now: datetime,
    address: Address,
    model: Dashboard | None,
    language: Language,
) -> Span:
    """The range that was asked for, else the shortcut's, its address's, the dashboard's own, or the last six hours."""
    if asked.range:
        return time_range.parse(asked.range, now, language)
    usual = None
    for start, end in (
        (settings and settings.from_, settings and settings.to),
        (address.query.get("from"), address.query.get("to")),
        (model.start if model else "", model.end if model else ""),
    ):
        if start or end:
            try:
                usual = time_range.between(start or None, end or None, now, language)
            except CannotAnswer:
                continue  # a dashboard may be saved with a year, or with a time to come
            break
    usual = usual or time_range.between(None, None, now, language)
    if asked.start is None and asked.end is None:
        return usual
    return time_range.between(asked.start, asked.end, now, language, usual=usual.end - usual.start)


def pictures(view: View, model: Dashboard | None, base: str, question: Question) -> Sequence[Answer]:
    """Each picture of a view, after a text that tells it from others. `base` is Grafana's address, for the links."""
    language = question.language
    when = time_range.written(view.span, _on_clock(question.at, view.timezone), language)
    if view.timezone != str(question.at.tzinfo):
        when += f" {view.timezone}"
    chosen: dict[str, str] = {}
    for name, value in view.variables:
        plain = name.removeprefix("var-")
        chosen[plain] = f"{chosen[plain]}, {value}" if plain in chosen else value
    values = "  ".join(f"{name}={value}" for name, value in chosen.items())
    about = f" ({values})" if values else ""
    if not view.panels:
        spec = dashboard_picture(view, base)
        return [Text(f"📈 {view.title}{about}\n{when}\n{spec.link}"), spec]
    answers: list[Answer] = []
    for panel in view.panels:
        spec = panel_picture(view, panel, base)
        title = title_of(panel, model, chosen, language)
        note = ""
        if panel.repeat and panel.repeat not in chosen:
            note = say("bot.graphs.one_of_several", language, variable=panel.repeat)
        answers += [Text(f"📈 {view.title} · {title}{about}\n{when}{note}\n{spec.link}"), spec]
    if view.left_out:
        names = ", ".join(
            f"{each.number}. {title_of(each, model, chosen, language)}" for each in view.left_out[:LISTED]
        )
        answers.append(Text(say("bot.graphs.left_out", language, n=PANELS_AT_MOST, names=names)))
    return answers


def all_numbers(panels: Sequence[int | str]) -> bool:
    """Whether a shortcut's panels are ids, which need nobody to look them up."""
    return all(_NUMBER.fullmatch(str(each)) for each in panels)
