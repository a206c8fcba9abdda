"""The commands `graphs` and `graph`: what Grafana shows, drawn and sent where it was asked for.

They only say what to draw, with absolute times; the dispatcher has it drawn.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from wxbridge.bot.command import Choices, ChooseOne, Command, Reply, quote_word
from wxbridge.bot.commands.graph_arguments import COMMENT, GraphArguments, parse_graph_arguments
from wxbridge.bot.commands.graph_names import (
    PANEL_LISTING,
    NoSuchPanel,
    find_containing,
    find_exact,
    find_titled,
    split_names,
    suggest_names,
)
from wxbridge.bot.commands.graph_requests import (
    MAX_LISTED,
    PANEL_KEYS,
    DashboardAddress,
    GraphCandidate,
    GraphChoice,
    are_panel_ids,
    choose_panels,
    cut,
    describe_panel,
    make_page_request,
    make_reply,
    write_entry,
)
from wxbridge.config.graphs import GraphSettings, parse_size
from wxbridge.core.credentials import strip_to_address
from wxbridge.core.errors import CannotAnswer, PictureError
from wxbridge.core.model import Text
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import say_list
from wxbridge.core.text.normalise import fold
from wxbridge.core.text.splitting import shorten
from wxbridge.monitors.dashboards import Dashboard, DashboardHit, Dashboards
from wxbridge.monitors.grafana import Grafana

MAX_CHOICES = 8
"""Dashboards of one name that are listed."""
MAX_SUGGESTIONS = 3
_DASHBOARD = re.compile(r"/d(?:-solo)?/([A-Za-z0-9_-]{1,64})(?:/([^/?#]*))?/?")
_SIGNS = re.compile(r"""[=#"'“”‘’]""")
"""That would be read as more than a part of a title."""
_OWN_KEYS = frozenset((*PANEL_KEYS, "from", "to", "orgId", "theme", "timezone", "tz", "refresh", "fullscreen"))
"""What is told in other ways of a dashboard's address."""


# ---------------------------------------------------------------- graphs


async def list_graphs(command: Command) -> Reply:
    """List the shortcuts, and with a search word what Grafana finds."""
    search, dashboards, shortcuts = fold(command.text), command.settings.dashboards, command.settings.graphs
    mine = [
        GraphRow(name, quote_word(name), _describe_shortcut(each, command))
        for name, each in shortcuts.items()
        if any(search in fold(text) for text in (name, each.title or "", each.url))
    ]
    theirs: list[GraphRow] = []
    trouble = ""
    if dashboards is not None and (search or not shortcuts):
        try:
            hits = await _search(dashboards, command.text)
            theirs = [_row(hit, hits) for hit in hits]
        except PictureError as error:
            trouble = tell_error(str(error), command.language)
    if not mine and not theirs and not trouble:
        raise await _nothing_found(command)
    lines: list[str] = []
    shown: list[GraphRow] = []
    is_numbered = len(mine) + len(theirs) > 1
    for heading, found in (("bot.graphs.shortcuts", mine), ("bot.graphs.in_grafana", theirs)):
        if found:
            rows = _write_rows(found[:MAX_LISTED], command, len(shown) + 1 if is_numbered else None)
            lines += [command.say(heading), *rows]
            lines += [command.say("bot.graphs.more_found")] if len(found) > MAX_LISTED else []
            shown += found[:MAX_LISTED]
    lines += [trouble] if trouble else []
    if not search and dashboards is not None:
        lines.append(command.say("bot.graphs.search_hint"))
    return Reply((Text("\n".join(lines)),), choices=Choices(tuple(each.entry for each in shown), "graph"))


@dataclass(frozen=True)
class GraphRow:
    """A row of a list of graphs: what it can be asked for by, the same behind the command's word, and more about it."""

    name: str
    entry: str
    about: str = ""


def _write_rows(rows: Sequence[GraphRow], command: Command, first: int | None) -> list[str]:
    """Write rows that can be sent as they stand; `first` is the number of the first, None for no numbers."""
    lines = []
    for place, row in enumerate(rows):
        number = "" if first is None else f"{first + place}."
        about = " ".join(filter(None, (number, row.about)))
        lines.append(command.say("bot.graphs.row", name=row.name) + (f"  {COMMENT} {about}" if about else ""))
    return lines


def _describe_shortcut(settings: GraphSettings, command: Command) -> str:
    panels = ", ".join(map(str, settings.panel))
    about = [settings.title, command.say("bot.graphs.panels", panels=panels) if panels else ""]
    return say_list(filter(None, about), command.language)


async def _search(dashboards: Dashboards, text: str) -> Sequence[DashboardHit]:
    if not text:
        return await dashboards.list_all()
    # Its search knows words; a part of a word, or of a Chinese title, may be known to its list only.
    return await dashboards.search(text, MAX_LISTED + 1) or find_containing(await dashboards.list_all(), text)


def _row(hit: DashboardHit, hits: Sequence[DashboardHit]) -> GraphRow:
    """Make the row of a dashboard, with its title where it is asked for by its uid."""
    name = _asked_for(hit, hits)
    about = "" if name == hit.title else hit.title + (f" ({hit.folder})" if hit.folder else "")
    return GraphRow(name, hit.uid, about)


def _asked_for(hit: DashboardHit, hits: Sequence[DashboardHit]) -> str:
    """Give what a dashboard can be asked for by: its title, or its uid where several have the title or it has signs."""
    is_alone = sum(fold(each.title) == fold(hit.title) for each in hits) == 1
    return hit.title if is_alone and hit.title and not _SIGNS.search(hit.title) else hit.uid


async def _nothing_found(command: Command) -> CannotAnswer:
    if not command.text:
        return command.refuse("bot.graphs.no_graphs")
    names = [*command.settings.graphs, *(hit.title for hit in await _list_dashboards(command))]
    return _no_graph(command, command.text, suggest_names(names, command.text))


async def _list_dashboards(command: Command) -> Sequence[DashboardHit]:
    dashboards = command.settings.dashboards
    return await dashboards.list_all() if dashboards is not None else ()


def _no_graph(command: Command, text: str, suggestions: Sequence[str]) -> CannotAnswer:
    hint = command.say("bot.graphs.search", word=shorten(text.split(maxsplit=1)[0]))
    if suggestions:
        names = command.say("bot.graphs.or").join(f"`{each}`" for each in suggestions)
        hint = command.say("bot.graphs.near", names=names)
    return command.refuse("bot.graphs.no_graph", text=shorten(text), hint=hint)


# ---------------------------------------------------------------- graph


async def show_graph(command: Command) -> Reply:
    """Show a dashboard or some of its panels."""
    arguments = parse_graph_arguments(command.words, command.at, command.language)
    if not arguments.words:
        raise command.refuse("bot.graphs.which", usage=command.say("bot.commands.graph.usage"))
    # A whole title goes before a range: “Orders today”.
    titled = await _show_titled(arguments, command) if arguments.range_words else None
    return titled or await _show_best(arguments, command)


async def _show_best(arguments: GraphArguments, command: Command) -> Reply:
    """Show what the words mean soonest."""
    words = arguments.words
    shortcuts = command.settings.graphs
    failure: CannotAnswer | None = None
    is_guessed = False
    try:
        async for candidate in _find_candidates(command, arguments):
            try:
                return await _show(candidate, arguments, command)
            except CannotAnswer as error:
                # The words may be a longer name of something else.
                if not isinstance(error.__cause__, NoSuchPanel):
                    raise
                failure = failure or error
                is_guessed = is_guessed or candidate.is_guessed
        titles = [hit.title for hit in await _list_dashboards(command)]
    except PictureError:
        # Grafana's trouble is no answer where a shortcut's name was mistyped.
        is_known = any(fold(name) in map(fold, shortcuts) for name, _ in split_names(words))
        if failure is None and (is_known or not _suggest(shortcuts, words)):
            raise
        titles = []
    if failure is not None and not (is_guessed and _suggest(titles, words)):
        raise failure
    if command.settings.dashboards is None and not shortcuts:
        raise command.refuse("bot.graphs.nothing_to_show")
    raise _no_graph(command, " ".join(words), _suggest([*shortcuts, *titles], words))


async def _show_titled(arguments: GraphArguments, command: Command) -> Reply | None:
    """Show what is called by all words, those of the range among them; None where nothing is.

    That is a shortcut or a dashboard, or one with a panel behind its name, each by its whole title.
    """
    words = (*arguments.words, *arguments.range_words)
    whole = replace(arguments, words=words, range=None, range_words=())
    shortcuts = {fold(name): name for name in command.settings.graphs}
    try:
        hits = await _list_dashboards(command)
        for name, rest in split_names(words):
            if found := shortcuts.get(fold(name)):
                candidate = GraphCandidate(found, rest, settings=command.settings.graphs[found])
            elif named := find_exact(hits, name):
                candidate = _choose(named, name, rest, whole, hits, command)
            else:
                continue
            return await _show(candidate, whole, command) if await _is_titled(candidate, command) else None
    except PictureError:
        return None  # told where it is looked for by its other words
    return None


async def _is_titled(candidate: GraphCandidate, command: Command) -> bool:
    """Tell whether what stands behind a name is nothing, or the whole title of a panel."""
    dashboards = command.settings.dashboards
    if not candidate.rest or dashboards is None:
        return not candidate.rest
    address = _address_of(candidate, dashboards)
    model = await dashboards.find(address.uid, address.org) if address else None
    return model is not None and bool(find_titled(model, candidate.rest, {}))


def _suggest(names: Iterable[str], words: Sequence[str]) -> list[str]:
    """Suggest what the words behind `graph` may mean, whichever of them are the name."""
    known = list(names)
    counts = sorted({1, 2, len(words)}, reverse=True)
    found = [guess for count in counts for guess in suggest_names(known, " ".join(words[:count]))]
    return list(dict.fromkeys(found))[:MAX_SUGGESTIONS]


async def _find_candidates(command: Command, arguments: GraphArguments) -> AsyncIterator[GraphCandidate]:
    """Find what words may mean: a shortcut, a dashboard by its whole name, or one by a part of its title.

    Raises:
        CannotAnswer: several dashboards have that name; they are told.
    """
    words = arguments.words
    shortest = len(words)
    shortcuts = {fold(name): name for name in command.settings.graphs}
    for name, rest in split_names(words):
        found = shortcuts.get(fold(name))
        if found is not None:
            shortest = min(shortest, len(rest))
            yield GraphCandidate(found, rest, settings=command.settings.graphs[found])
    hits = await _list_dashboards(command)
    for name, rest in split_names(words):
        if fold(name) not in shortcuts and (named := find_exact(hits, name)):
            shortest = min(shortest, len(rest))
            yield _choose(named, name, rest, arguments, hits, command)
    for name, rest in split_names(words):
        if len(rest) < shortest and (named := find_containing(hits, name)):
            yield replace(_choose(named, name, rest, arguments, hits, command), is_guessed=True)


def _choose(
    found: Sequence[DashboardHit],
    name: str,
    rest: tuple[str, ...],
    arguments: GraphArguments,
    hits: Sequence[DashboardHit],
    command: Command,
) -> GraphCandidate:
    """Give the only dashboard of a name. Raises `ChooseOne` where there are several."""
    if len(found) == 1:
        return GraphCandidate(found[0].title, rest, hit=found[0], asked_for=_asked_for(found[0], hits))
    more = len(found) - MAX_CHOICES
    lines = [
        command.say("bot.graphs.several", name=name),
        *_write_rows([_row(hit, found) for hit in found[:MAX_CHOICES]], command, 1),
        *([command.say("bot.graphs.more", n=more)] if more > 0 else []),
    ]
    entries = tuple(write_entry(hit.uid, rest, arguments) for hit in found[:MAX_CHOICES])
    raise ChooseOne("\n".join(lines), Choices(entries, "graph"))


async def _show(candidate: GraphCandidate, arguments: GraphArguments, command: Command) -> Reply:
    dashboards = command.settings.dashboards
    address = _address_of(candidate, dashboards)
    if dashboards is None or address is None:
        return _show_page(candidate, arguments, command)
    model = await _find_model(dashboards, candidate, arguments, address)
    if model is not None and fold(" ".join(candidate.rest)) in PANEL_LISTING:
        choices = choose_panels(candidate, model.panels, arguments)
        return Reply((Text(_list_panels(candidate, model, command)),), choices=choices)
    view = GraphChoice(candidate, arguments, address, model, command).make_view()
    return make_reply(view, model, dashboards.grafana.public_base, command)


def _address_of(candidate: GraphCandidate, dashboards: Dashboards | None) -> DashboardAddress | None:
    """Give the address of the dashboard that is meant; None where it is any other page."""
    if candidate.hit is not None:
        return DashboardAddress(candidate.hit.uid, candidate.hit.slug)
    settings = candidate.settings
    return read_address(dashboards.grafana, settings.url, settings.org) if dashboards and settings else None


def read_address(grafana: Grafana, url: str, org: int | None = None) -> DashboardAddress | None:
    """Take a dashboard's address apart; None where it is any other page. `org` counts before the address's own."""
    whole = grafana.page_url(url, kiosk=False, hide_controls=False)
    parts = urlsplit(whole)
    found = _DASHBOARD.fullmatch(parts.path.removeprefix(urlsplit(grafana.base).path))
    if found is None or not grafana.owns(whole):
        return None
    query = parse_qsl(parts.query, keep_blank_values=True)
    variables = tuple(pair for pair in query if pair[0].startswith("var-"))
    more = tuple(pair for pair in query if pair not in variables and pair[0] not in _OWN_KEYS)
    given = {"orgId": str(org)} if org else {}
    return DashboardAddress(found[1], found[2] or "", dict(reversed(query)) | given, variables, more)


async def _find_model(
    dashboards: Dashboards, candidate: GraphCandidate, arguments: GraphArguments, address: DashboardAddress
) -> Dashboard | None:
    """Ask what is on the dashboard; None where Grafana does not tell, and a shortcut says all that is needed."""
    try:
        return await dashboards.find(address.uid, address.org)
    except PictureError:
        settings = candidate.settings
        if settings is None or arguments.variables or candidate.rest or not are_panel_ids(settings.panel):
            raise
        return None


def _show_page(candidate: GraphCandidate, arguments: GraphArguments, command: Command) -> Reply:
    """Show a page that is no dashboard: it has no panels and no range of its own."""
    settings, dashboards = candidate.settings, command.settings.dashboards
    assert settings is not None  # noqa: S101 - only shortcuts have addresses
    is_whole = "://" in settings.url
    if dashboards is None and not is_whole:
        raise command.refuse("bot.graphs.relative", name=candidate.name)
    if candidate.rest or arguments.variables or arguments.start or arguments.end or arguments.range:
        raise command.refuse("bot.graphs.page", name=candidate.name)
    base = dashboards.grafana.public_base if dashboards else ""
    # What a page wants in its query may be a token.
    link = strip_to_address(settings.url) if is_whole else f"{base}/{settings.url.lstrip('/')}"
    request = make_page_request(
        settings.url,
        arguments.size or (parse_size(settings.size) if settings.size else None),
        org=str(settings.org or ""),
        theme=arguments.theme or settings.theme,
        timezone=arguments.timezone or settings.timezone or str(command.settings.timezone),
    )
    return Reply((Text(f"📈 {settings.title or candidate.name}\n{link}"), request.to_spec(link)), is_captioned=True)


def _list_panels(candidate: GraphCandidate, dashboard: Dashboard, command: Command) -> str:
    lines = [
        f"{each.number}. {describe_panel(each, dashboard, {}, command)}"
        + (f" ({each.row})" if each.row else "")
        + (command.say("bot.graphs.one_for_each", variable=each.repeat) if each.repeat else "")
        for each in dashboard.panels
    ]
    names = say_list((each.name for each in dashboard.variables), command.language)
    if names:
        lines.append(command.say("bot.graphs.variables", names=names))
    return "\n".join(
        [command.say("bot.graphs.panels_of", name=candidate.name, called=candidate.called), *cut(lines, 2 * MAX_LISTED)]
    )
