"""The commands `graphs`, `graph` and `promql`: what Grafana and Prometheus show, drawn and sent where it was asked for.

They only say what to draw (`PictureSpec`s with absolute times); whoever answers the question draws it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from wxbridge.bot.command import Answer, CannotAnswer, Command, Question
from wxbridge.bot.commands.graph_pictures import bare, page_picture
from wxbridge.bot.commands.graph_query import promql_command
from wxbridge.bot.commands.graph_view import (
    LISTED,
    PANEL_KEYS,
    Address,
    Candidate,
    all_numbers,
    cut,
    pictures,
    title_of,
    view_of,
)
from wxbridge.bot.commands.graph_words import (
    COMMENT,
    LISTING,
    NoSuchPanel,
    Wanted,
    containing,
    exact,
    near,
    prefixes,
    wanted,
)
from wxbridge.config.graphs import GraphSettings, parse_size
from wxbridge.core.errors import PictureError
from wxbridge.core.model import Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.normalise import fold
from wxbridge.core.text.splitting import shorten
from wxbridge.monitors.dashboards import Dashboard, DashboardHit, Dashboards

_CHOICES = 8
_DASHBOARD = re.compile(r"/d(?:-solo)?/([A-Za-z0-9_-]{1,64})(?:/([^/?#]*))?/?")
_OWN_KEYS = frozenset((*PANEL_KEYS, "from", "to", "orgId", "theme", "timezone", "tz", "refresh", "fullscreen"))
"""What is told in other ways of a dashboard's address."""


# ---------------------------------------------------------------- the commands


def graph_commands(
    *, shortcuts: Mapping[str, GraphSettings], dashboards: Dashboards | None, prometheus: str | None = None
) -> list[Command]:
    """The commands `graphs`, `graph` and `promql`.

    Args:
        shortcuts: The section `graphs:` of jobs.yaml.
        dashboards: The configured Grafana's; None where there is none.
        prometheus: The address of the configured Prometheus, for links; None where there is none.
    """
    asker = _Graphs(shortcuts, dashboards)
    return [
        Command.from_catalogue("graphs", asker.graphs),
        Command.from_catalogue("graph", asker.graph),
        promql_command(prometheus),
    ]


@dataclass(frozen=True)
class _Graphs:
    shortcuts: Mapping[str, GraphSettings]
    dashboards: Dashboards | None

    # ------------------------------------------------------------ graphs

    async def graphs(self, question: Question) -> Sequence[Answer]:
        """List the shortcuts, and with a search word what Grafana finds."""
        language, search = question.language, fold(question.text)
        names = [
            name
            for name, each in self.shortcuts.items()
            if search in fold(name) or search in fold(each.title or "") or search in fold(each.url)
        ]
        mine = [say("bot.graphs.row", language, name=name) + _about(self.shortcuts[name], language) for name in names]
        hits: Sequence[DashboardHit] = ()
        trouble = ""
        if self.dashboards is not None and (search or not self.shortcuts):
            try:
                hits = await self._search(question.text)
            except PictureError as error:
                trouble = str(error)
        theirs = [say("bot.graphs.row", language, name=_called(hit, hits)) for hit in hits]
        lines: list[str] = []
        if mine:
            lines += [say("bot.graphs.shortcuts", language), *_shortened(mine, language)]
        if theirs:
            lines += [say("bot.graphs.in_grafana", language), *_shortened(theirs, language)]
        if trouble:
            lines.append(trouble)
        if not mine and not theirs and not trouble:
            raise CannotAnswer(await self._nothing_found(question))
        if not search and self.dashboards is not None:
            lines.append(say("bot.graphs.search_hint", language))
        return [Text("\n".join(lines))]

    async def _search(self, text: str) -> Sequence[DashboardHit]:
        assert self.dashboards is not None  # noqa: S101 - asked before
        if not text:
            return await self.dashboards.list_all()
        # Its search knows words; a part of a word, or of a Chinese title, may be known to its list only.
        return await self.dashboards.search(text, LISTED + 1) or containing(await self.dashboards.list_all(), text)

    async def _nothing_found(self, question: Question) -> str:
        language = question.language
        if not question.text:
            return say("bot.graphs.no_graphs", language)
        guesses = near([*self.shortcuts, *[hit.title for hit in await self._everything()]], question.text)
        return _no_graph(question.text, guesses, language)

    async def _everything(self) -> Sequence[DashboardHit]:
        return await self.dashboards.list_all() if self.dashboards is not None else ()

    # ------------------------------------------------------------ graph

    async def graph(self, question: Question) -> Sequence[Answer]:
        """Show a dashboard or some of its panels."""
        language = question.language
        asked = wanted(question.words, question.at, language)
        if not asked.words:
            usage = say("bot.commands.graph.usage", language)
            raise CannotAnswer(say("bot.graphs.which", language, usage=usage))
        failure: CannotAnswer | None = None
        guessed = False
        try:
            async for candidate in self._candidates(asked.words, language):
                try:
                    return await self._shown(candidate, asked, question)
                except CannotAnswer as error:
                    # The words may be a longer name of something else.
                    if not isinstance(error.__cause__, NoSuchPanel):
                        raise
                    failure = failure or error
                    guessed = guessed or candidate.guessed
            hits = await self._everything()
        except PictureError:
            # Grafana's trouble is no answer where a shortcut's name was mistyped.
            known = any(fold(name) in map(fold, self.shortcuts) for name, _ in prefixes(asked.words))
            if failure is None and (known or not _guesses(self.shortcuts, asked.words)):
                raise
            hits = ()
        if failure is None or (guessed and _guesses([hit.title for hit in hits], asked.words)):
            raise CannotAnswer(self._unknown(asked.words, hits, language))
        raise failure

    async def _candidates(self, words: Sequence[str], language: Language) -> AsyncIterator[Candidate]:
        """What words may mean: a shortcut, a dashboard by its whole name, or one by a part of its title.

        Raises:
            CannotAnswer: several dashboards have that name; they are told.
        """
        shortest = len(words)
        shortcuts = {fold(name): name for name in self.shortcuts}
        for name, rest in prefixes(words):
            found = shortcuts.get(fold(name))
            if found is not None:
                shortest = min(shortest, len(rest))
                yield Candidate(found, rest, settings=self.shortcuts[found])
        hits = await self._everything()
        for name, rest in prefixes(words):
            if fold(name) not in shortcuts and (named := exact(hits, name)):
                shortest = min(shortest, len(rest))
                yield _one_of(named, name, rest, language)
        for name, rest in prefixes(words):
            if len(rest) < shortest and (named := containing(hits, name)):
                yield replace(_one_of(named, name, rest, language), guessed=True)

    def _unknown(self, words: Sequence[str], hits: Sequence[DashboardHit], language: Language) -> str:
        if self.dashboards is None and not self.shortcuts:
            return say("bot.graphs.nothing_to_show", language)
        names = [*self.shortcuts, *(hit.title for hit in hits)]
        return _no_graph(" ".join(words), _guesses(names, words), language)

    async def _shown(self, candidate: Candidate, asked: Wanted, question: Question) -> Sequence[Answer]:
        settings = candidate.settings
        if candidate.hit is not None:
            address = Address(candidate.hit.uid, candidate.hit.slug)
        else:
            found = self._address(settings.url if settings else "")
            if found is None:
                return self._page(candidate, asked, question)
            address = found
        model = await self._model(candidate, asked, address)
        if candidate.rest and fold(" ".join(candidate.rest)) in LISTING and model is not None:
            return [Text(_panel_list(candidate.name, model, question.language))]
        view = view_of(candidate, asked, question, address, model)
        return pictures(view, model, self._base, question)

    @property
    def _base(self) -> str:
        return self.dashboards.grafana.base if self.dashboards is not None else ""

    def _address(self, url: str) -> Address | None:
        """A dashboard of Grafana; None for any other page."""
        if self.dashboards is None:
            return None
        grafana = self.dashboards.grafana
        whole = grafana.page_url(url, kiosk=False, hide_controls=False)
        if not grafana.owns(whole):
            return None
        parts = urlsplit(whole)
        found = _DASHBOARD.fullmatch(parts.path.removeprefix(urlsplit(grafana.base).path))
        if found is None:
            return None
        query = parse_qsl(parts.query, keep_blank_values=True)
        variables = tuple(pair for pair in query if pair[0].startswith("var-"))
        more = tuple(pair for pair in query if pair not in variables and pair[0] not in _OWN_KEYS)
        return Address(found[1], found[2] or "", dict(reversed(query)), variables, more)

    async def _model(self, candidate: Candidate, asked: Wanted, address: Address) -> Dashboard | None:
        """What is on the dashboard; None where Grafana does not tell, and a shortcut says all that is needed."""
        if self.dashboards is None:
            return None
        try:
            return await self.dashboards.find(address.uid)
        except PictureError:
            settings = candidate.settings
            if settings is None or asked.variables or candidate.rest or not all_numbers(settings.panel):
                raise
            return None

    def _page(self, candidate: Candidate, asked: Wanted, question: Question) -> Sequence[Answer]:
        """A shortcut to a page that is no dashboard: it has no panels and no range of its own."""
        settings, language = candidate.settings, question.language
        assert settings is not None  # noqa: S101 - only shortcuts have addresses
        if self.dashboards is None and "://" not in settings.url:
            raise CannotAnswer(say("bot.graphs.relative", language, name=candidate.name))
        if candidate.rest or asked.variables or asked.start or asked.end or asked.range:
            raise CannotAnswer(say("bot.graphs.page", language, name=candidate.name))
        size = asked.size or (parse_size(settings.size) if settings.size else None)
        zone = asked.timezone or settings.timezone or str(question.at.tzinfo)
        # What a page wants in its query may be a token.
        link = bare(settings.url) if "://" in settings.url else f"{self._base}/{settings.url.lstrip('/')}"
        spec = page_picture(settings.url, size, asked.theme or settings.theme, zone, link=link)
        return [Text(f"📈 {settings.title or candidate.name}\n{link}"), spec]


# ---------------------------------------------------------------- graphs: lists


def _about(settings: GraphSettings, language: Language) -> str:
    panels = ", ".join(map(str, settings.panel))
    told = say("bot.graphs.panels", language, panels=panels) if panels else ""
    about = ", ".join(filter(None, [settings.title, told]))
    return f"  {COMMENT} {about}" if about else ""


def _called(hit: DashboardHit, hits: Sequence[DashboardHit]) -> str:
    """A dashboard as it can be asked for: by its title, or by its uid where several have the title."""
    alone = sum(fold(each.title) == fold(hit.title) for each in hits) == 1
    if alone and "=" not in hit.title and hit.title:
        return hit.title
    return f"{hit.uid}  {COMMENT} {hit.title}" + (f" ({hit.folder})" if hit.folder else "")


def _shortened(lines: Sequence[str], language: Language) -> list[str]:
    more = len(lines) - LISTED
    left = [say("bot.graphs.more_found", language)] if more > 0 else []
    return [*lines[:LISTED], *left]


def _guesses(names: Iterable[str], words: Sequence[str]) -> list[str]:
    """What the words behind `graph` may mean, whichever of them are the name."""
    known = list(names)
    found = [
        guess for count in sorted({1, 2, len(words)}, reverse=True) for guess in near(known, " ".join(words[:count]))
    ]
    return list(dict.fromkeys(found))[:3]


def _no_graph(text: str, guesses: Sequence[str], language: Language) -> str:
    word, text = shorten(text.split(maxsplit=1)[0]), shorten(text)
    hint = say("bot.graphs.search", language, word=word)
    if guesses:
        names = say("bot.graphs.or", language).join(f"`{each}`" for each in guesses)
        hint = say("bot.graphs.near", language, names=names)
    return say("bot.graphs.no_graph", language, text=text, hint=hint)


def _one_of(hits: Sequence[DashboardHit], name: str, rest: tuple[str, ...], language: Language) -> Candidate:
    if len(hits) == 1:
        return Candidate(hits[0].title, rest, hit=hits[0])
    more = len(hits) - _CHOICES
    lines = [
        say("bot.graphs.several", language, name=name),
        *(say("bot.graphs.row", language, name=_called(hit, hits)) for hit in hits[:_CHOICES]),
        *([say("bot.graphs.more", language, n=more)] if more > 0 else []),
    ]
    raise CannotAnswer("\n".join(lines))


def _panel_list(name: str, dashboard: Dashboard, language: Language) -> str:
    lines = [
        f"{each.number}. {title_of(each, dashboard, {}, language)}"
        + (f" ({each.row})" if each.row else "")
        + (say("bot.graphs.one_for_each", language, variable=each.repeat) if each.repeat else "")
        for each in dashboard.panels
    ]
    names = ", ".join(each.name for each in dashboard.variables)
    if names:
        lines.append(say("bot.graphs.variables", language, names=names))
    head = say("bot.graphs.panels_of", language, name=name)
    return "\n".join([head, *cut(lines, 2 * LISTED)])
