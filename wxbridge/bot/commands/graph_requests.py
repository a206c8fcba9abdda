"""From a graph that was found, and what was asked for, to the requests for its pictures with absolute times. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from wxbridge.bot.command import Choices, ChooseOne, Command, Reply, quote_word
from wxbridge.bot.commands.graph_arguments import GraphArguments
from wxbridge.bot.commands.graph_names import (
    WHOLE_DASHBOARD,
    NoSuchPanel,
    NoSuchVariable,
    find_panels,
    read_variables,
    suggest_names,
)
from wxbridge.config.graphs import MAX_PANELS, TALL, WIDE, GraphSettings, PictureSize, parse_size
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.model import PictureSpec, Text
from wxbridge.core.pictures import PageRequest, PanelAddress, PanelRequest
from wxbridge.core.text import time_range
from wxbridge.core.text.i18n import Language, say, say_list
from wxbridge.core.text.normalise import fold
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.time_range import Span
from wxbridge.monitors.dashboards import ALL_VALUES, Dashboard, DashboardHit, PanelInfo

MAX_LISTED = 20
"""Lines of one list."""
PANEL_KEYS = ("viewPanel", "panelId", "editPanel")
"""What a panel is called by in addresses."""
_PANEL_ID = re.compile(r"(?:panel-)?(\d{1,9})")


@dataclass(frozen=True)
class GraphCandidate:
    """What a name may be: a shortcut or a dashboard, and the words after the name."""

    name: str
    rest: tuple[str, ...]
    hit: DashboardHit | None = None
    settings: GraphSettings | None = None
    is_guessed: bool = False
    """Whether the name is a part of the title only."""
    asked_for: str = ""
    """What it can be asked for by, where that is not its name."""

    @property
    def called(self) -> str:
        """Give what it can be asked for by, for hints that are sent as they stand."""
        return self.asked_for or self.name


@dataclass(frozen=True)
class DashboardAddress:
    """A dashboard's address, taken apart."""

    uid: str
    slug: str
    query: dict[str, str] = field(default_factory=dict)
    variables: tuple[tuple[str, str], ...] = ()
    """(`var-…`, value), in their order; a name may come several times."""
    more: tuple[tuple[str, str], ...] = ()
    """What else stands there: `autofitpanels`."""

    @property
    def org(self) -> str:
        """Grafana's organisation; empty for its usual one."""
        org = self.query.get("orgId", "")
        return org if org.isdigit() else ""

    @property
    def values(self) -> dict[str, tuple[str, ...]]:
        """The variables by their names, each with all its values."""
        found: dict[str, tuple[str, ...]] = {}
        for name, value in self.variables:
            plain = name.removeprefix("var-")
            found[plain] = (*found.get(plain, ()), value)
        return found


@dataclass(frozen=True)
class GraphView:
    """What one reply shows: a dashboard of Grafana, which panels of it, when, and how."""

    address: DashboardAddress
    """With the variables that are shown."""
    title: str
    span: Span
    panels: Sequence[PanelInfo]
    """Without any: the whole dashboard."""
    size: PictureSize | None
    theme: str | None
    timezone: str

    def path(self, panel: int | None = None) -> str:
        """Give the path below Grafana of the dashboard or a panel, as people open it."""
        start, end = self.span.milliseconds
        address = self.address
        query: list[tuple[str, str | int]] = [("orgId", address.org)] if address.org else []
        query += [("from", start), ("to", end), *address.variables]
        query += address.more if panel is None else [("viewPanel", panel)]
        return f"/d/{address.uid}/{quote(address.slug or '_', safe='-%')}?{urlencode(query)}"


def write_entry(name: str, panels: Sequence[str], arguments: GraphArguments) -> str:
    """Write what is chosen from a list as it stands behind `graph`, with all else that was asked for."""
    return " ".join(map(quote_word, (name, *panels, *arguments.options, *arguments.range_words)))


def choose_panels(candidate: GraphCandidate, panels: Sequence[PanelInfo], arguments: GraphArguments) -> Choices:
    """Give what the numbers of a list of panels stand for: their ids, as a title may be a number too."""
    return Choices(tuple(write_entry(candidate.called, [f"#{each.id}"], arguments) for each in panels), "graph")


def make_page_request(url: str, size: PictureSize | None, *, only_grafana: bool = False, **look: Any) -> PageRequest:
    """Make the request for a page. It is as long as it is; Grafana stacks panels where it is narrow."""
    sides: dict[str, Any] = {}
    if size is not None:
        sides = {WIDE: {"width": 1920}, TALL: {"width": 720, "scale": 2}}.get(size, size._asdict())
    return PageRequest(url, only_grafana=only_grafana, **look, **sides)


def make_reply(view: GraphView, model: Dashboard | None, base: str, command: Command) -> Reply:
    """Give each picture of a view, after a text that tells it from others. `base` is Grafana's address, for links."""
    when = time_range.format_range(view.span, _on_clock(command.at, view.timezone), command.language)
    if view.timezone != str(command.settings.timezone):
        when += f" {view.timezone}"
    chosen = write_values(view.address.values, model, command.language)
    values = "  ".join(f"{name}={value}" for name, value in chosen.items())
    about = f" ({values})" if values else ""
    if not view.panels:
        request = make_page_request(view.path(), view.size, theme=view.theme, timezone=view.timezone, only_grafana=True)
        link = base + view.path()
        return Reply((Text(f"📈 {view.title}{about}\n{when}\n{link}"), request.to_spec(link)), is_captioned=True)
    bodies: list[Text | PictureSpec] = []
    for panel in view.panels[:MAX_PANELS]:
        spec = _request_panel(view, panel).to_spec(base + view.path(panel.id))
        note = ""
        if panel.repeat and not _is_one_value(view.address.values.get(panel.repeat, ())):
            note = command.say("bot.graphs.one_of_several", variable=panel.repeat)
        title = describe_panel(panel, model, chosen | _first_of_repeat(panel, model, view.address.values), command)
        bodies += [Text(f"📈 {view.title} · {title}{about}\n{when}{note}\n{spec.link}"), spec]
    if left_out := view.panels[MAX_PANELS:][:MAX_LISTED]:
        named = (f"{each.number}. {describe_panel(each, model, chosen, command)}" for each in left_out)
        names = say_list(named, command.language)
        bodies.append(Text(command.say("bot.graphs.left_out", n=MAX_PANELS, names=names)))
    return Reply(tuple(bodies), is_captioned=True)


def write_values(values: Mapping[str, Sequence[str]], model: Dashboard | None, language: Language) -> dict[str, str]:
    """Write variables' values for people, by name: as the dashboard calls them, several between commas."""
    written: dict[str, str] = {}
    for name, some in values.items():
        variable = model.find_variable(name) if model else None
        # All is written as the dashboard does, where it lists it.
        texts = [variable.text_of(each) if variable else each for each in some]
        written[name] = ", ".join(say("grafana.all", language) if each == ALL_VALUES else each for each in texts)
    return written


def _is_one_value(values: Sequence[str]) -> bool:
    return len(values) == 1 and values[0] != ALL_VALUES


def _first_of_repeat(panel: PanelInfo, model: Dashboard | None, values: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Give the value that a repeated panel is drawn with: alone, it is the first of its repeats."""
    variable = model.find_variable(panel.repeat) if model and panel.repeat else None
    if variable is None:
        return {}
    listed = [value for _, value in variable.values if value != ALL_VALUES]
    some = [each for each in values.get(panel.repeat, variable.current_values) if each != ALL_VALUES] or listed
    return {panel.repeat: variable.text_of(some[0])} if some else {}


def _request_panel(view: GraphView, panel: PanelInfo) -> PanelRequest:
    start, end = view.span.milliseconds
    address = PanelAddress(str(panel.id), view.address.uid, org=view.address.org, variables=view.address.variables)
    sides = view.size._asdict() if view.size else {}
    return PanelRequest(address, start, end, timezone=view.timezone, theme=view.theme, **sides)


def describe_panel(panel: PanelInfo, model: Dashboard | None, values: Mapping[str, str], command: Command) -> str:
    """Give what a panel is called, with its variables filled in."""
    title = model.fill_title(panel.title, values) if model else panel.title
    return title or command.say("bot.graphs.untitled_panel", id=panel.id)


def are_panel_ids(panels: Sequence[int | str]) -> bool:
    """Tell whether a shortcut's panels are ids, which need nobody to look them up."""
    return all(_PANEL_ID.fullmatch(str(each)) for each in panels)


# ---------------------------------------------------------------- what is shown


@dataclass(frozen=True)
class GraphChoice:
    """What is known when a reply's view is put together."""

    candidate: GraphCandidate
    arguments: GraphArguments
    address: DashboardAddress
    model: Dashboard | None
    """What is on the dashboard; None where Grafana did not tell."""
    command: Command

    def make_view(self) -> GraphView:
        """Put together what was asked for, what the shortcut says, and what is on the dashboard.

        Raises:
            CannotAnswer: there is no such panel (its cause is `NoSuchPanel`) or variable, or the range cannot be.
        """
        settings, arguments, address, model = self.candidate.settings, self.arguments, self.address, self.model
        zone = (
            arguments.timezone
            or (settings and settings.timezone)
            or _find_zone(address)
            or str(self.command.settings.timezone)
        )
        size, theme = settings and settings.size, address.query.get("theme")
        shown = replace(address, slug=address.slug or (model.slug if model else ""), variables=self._choose_variables())
        return GraphView(
            address=shown,
            title=(settings and settings.title) or (model.title if model else self.candidate.name),
            span=self._choose_span(_on_clock(self.command.at, zone)),
            panels=self._choose_panels(write_values(shown.values, model, self.command.language)),
            size=arguments.size or (parse_size(size) if size else None),
            theme=arguments.theme or (settings and settings.theme) or (theme if theme in ("light", "dark") else None),
            timezone=zone,
        )

    def _choose_variables(self) -> tuple[tuple[str, str], ...]:
        """Choose the variables' values: those that were typed, else the shortcut's own, else those in its address."""
        variables: dict[str, tuple[str, ...]] = {}
        for name, value in self.address.variables:
            variables[name] = (*variables.get(name, ()), value)
        if self.candidate.settings is not None:
            own = self.candidate.settings.vars.items()
            variables |= {f"var-{name.removeprefix('var-')}": values for name, values in own}
        if self.model is None and self.arguments.doubtful:
            raise next(iter(self.arguments.doubtful.values()))
        typed: Mapping[str, tuple[str, ...]] = {name: (value,) for name, value in self.arguments.variables}
        if self.model is not None:
            try:
                typed = read_variables(self.model, self.arguments.variables)
            except NoSuchVariable as error:
                if doubt := self.arguments.doubtful.get(str(error)):
                    raise doubt from None
                raise self._refuse_variable(str(error), self.model) from None
        variables |= {f"var-{name}": values for name, values in typed.items()}
        return tuple((name, value) for name, values in variables.items() for value in values)

    def _refuse_variable(self, wrong: str, model: Dashboard) -> CannotAnswer:
        command, names = self.command, [each.name for each in model.variables]
        guess = suggest_names(names, wrong, 1)
        return command.refuse(
            "bot.graphs.no_variable",
            name=self.candidate.name,
            variable=shorten(wrong),
            names=say_list(names, command.language) or command.say("bot.graphs.none"),
            hint=command.say("bot.graphs.near_variable", variable=guess[0]) if guess else "",
        )

    def _choose_panels(self, values: Mapping[str, str]) -> list[PanelInfo]:
        """Choose the panels: those that were asked for, else the shortcut's own; none for the whole dashboard."""
        words, settings, model = self.candidate.rest, self.candidate.settings, self.model
        if words:
            text = fold(" ".join(words))
            if text in WHOLE_DASHBOARD and not (model and any(fold(each.title) == text for each in model.panels)):
                return []
            if model is None:
                raise self.command.refuse("bot.graphs.no_dashboard", uid=self.address.uid)
            return self._find_panels(model, words, values)
        given: Sequence[int | str] = settings.panel if settings else ()
        if not given:
            ids = (_PANEL_ID.fullmatch(self.address.query.get(key, "")) for key in PANEL_KEYS)
            given = [found[1] for found in ids if found][:1]
        panels: list[PanelInfo] = []
        for each in given:
            number = _PANEL_ID.fullmatch(str(each))
            by_id = [panel for panel in model.panels if number and panel.id == int(number[1])] if model else []
            if by_id:
                panels += by_id
            elif number and (model is None or not model.panels):
                panels.append(PanelInfo(0, int(number[1]), ""))
            elif model is not None:
                panels += self._find_panels(model, [str(each)], values)
        return list(dict.fromkeys(panels))

    def _find_panels(self, model: Dashboard, words: Sequence[str], values: Mapping[str, str]) -> list[PanelInfo]:
        command = self.command
        try:
            return find_panels(model, words, values)
        except NoSuchPanel as error:
            titles = [describe_panel(each, model, values, command) for each in model.panels]
            lines = [f"{each.number}. {title}" for each, title in zip(model.panels, titles, strict=True)]
            if guesses := suggest_names(titles, str(error), 2):
                names = say_list((f"`{each}`" for each in guesses), command.language)
                hint = command.say("bot.graphs.near_panels", names=names)
            elif lines:
                hint = "\n".join([command.say("bot.graphs.there_are"), *cut(lines, MAX_LISTED)])
            else:
                hint = command.say("bot.graphs.no_panels")
            wrong = shorten(str(error))
            text = command.say("bot.graphs.no_panel", name=self.candidate.name, panel=wrong, hint=hint)
            listed = () if guesses else model.panels
            raise ChooseOne(text, choose_panels(self.candidate, listed, self.arguments)) from error

    def _choose_span(self, now: datetime) -> Span:
        """Choose the range that was asked for, else the shortcut's, its address's, the dashboard's, or six hours."""
        arguments, language, settings, model = (
            self.arguments, self.command.language, self.candidate.settings, self.model,
        )  # fmt: skip
        if arguments.range:
            return time_range.parse_range(arguments.range, now, language)
        usual = time_range.parse_ends(None, None, now)
        for start, end in (
            (settings.from_, settings.to) if settings else (None, None),
            (self.address.query.get("from"), self.address.query.get("to")),
            (model.start, model.end) if model else (None, None),
        ):
            if start or end:
                try:
                    usual = time_range.parse_ends(start, end, now)
                except CannotAnswer:
                    continue  # a dashboard may be saved with a year, or with a time to come
                break
        if arguments.start is None and arguments.end is None:
            return usual
        return time_range.parse_ends(arguments.start, arguments.end, now, language, usual=usual.end - usual.start)


def _find_zone(address: DashboardAddress) -> str | None:
    zone = address.query.get("timezone") or address.query.get("tz") or ""
    return zone if "/" in zone or zone == "UTC" else "UTC" if zone == "utc" else None


def _on_clock(at: datetime, zone: str) -> datetime:
    """Give the same moment on another clock; on its own where there is no such zone."""
    try:
        return at.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError):
        return at


def cut(lines: Sequence[str], limit: int) -> list[str]:
    """Give the first lines of a list, with a mark where there are more."""
    return [*lines[:limit], *(["…"] if len(lines) > limit else [])]
