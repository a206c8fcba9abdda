"""What somebody means by a name: dashboards by their titles, panels by place, id and title, variables. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from wxbridge.bot.command import is_quoted
from wxbridge.core.text.normalise import fold
from wxbridge.monitors.dashboards import ALL_VALUES, Dashboard, DashboardHit, DashboardVariable, PanelInfo

WHOLE_DASHBOARD = frozenset(("all", "whole", "kiosk", "*", "全部", "整个", "全图"))
"""Words in a panel's place that mean the whole dashboard."""
PANEL_LISTING = frozenset(("panels", "?", "面板", "面板列表"))
"""Words in a panel's place that ask what panels there are."""
MAX_NAME_WORDS = 12
"""Each is looked for among thousands of titles."""
MAX_SHORT_NAME_CHARS = 3
"""Of two or three Chinese characters one may be wrong."""
_BETWEEN_PANELS = re.compile(r"[,，、;；]+")
_PANEL_ID = re.compile(r"(?:#|panel-|id[:=])(\d{1,9})", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,9}")


class NoSuchPanel(Exception):
    """A dashboard has no such panel. The text is what was asked for."""


class NoSuchVariable(Exception):
    """A dashboard has no such variable. The text is its name."""


def split_names(words: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give every way to cut words into a name and what follows it, the longest first; also at a colon: `kafka:3`."""
    for count in range(min(len(words), MAX_NAME_WORDS), 0, -1):
        yield " ".join(words[:count]), tuple(words[count:])
    for count, word in enumerate(words[:MAX_NAME_WORDS]):
        name, colon, panel = word.replace("：", ":").partition(":")
        if colon and (name or count):
            yield " ".join([*words[:count], name]).strip(), tuple(filter(None, [panel, *words[count + 1 :]]))


def find_exact(hits: Sequence[DashboardHit], name: str) -> list[DashboardHit]:
    """Find the dashboards of a name: its uid, its title, or its title as in addresses."""
    wanted = fold(name)
    return [hit for hit in hits if hit.uid == name] or [
        hit for hit in hits if wanted in (fold(hit.title), hit.slug.casefold(), hit.uid.casefold())
    ]


def find_containing(hits: Iterable[DashboardHit], name: str) -> list[DashboardHit]:
    """Find the dashboards in whose title all words of a name occur."""
    parts = fold(name).split()
    return [hit for hit in hits if all(part in fold(hit.title) for part in parts)]


def suggest_names(names: Iterable[str], wanted: str, limit: int = 3) -> list[str]:
    """Suggest names that somebody may have meant."""
    by_key = {fold(name): name for name in reversed(list(names))}
    similarity = 0.6 if len(wanted) > MAX_SHORT_NAME_CHARS else 0.5
    return [by_key[each] for each in difflib.get_close_matches(fold(wanted), by_key, limit, similarity)]


# ---------------------------------------------------------------- panels


def find_panels(dashboard: Dashboard, words: Sequence[str], values: Mapping[str, str]) -> list[PanelInfo]:
    """Find the panels that words name, each once, in their order: `1,3`, `#12`, `cpu usage`, `2 cpu`.

    A number is a place in reading order, or else an id; a title may be a part of one, and may name several panels.
    `values` are those of the variables in titles.

    Raises:
        NoSuchPanel: a word names none.
    """
    titles = {each.id: fold(dashboard.fill_title(each.title, values)) for each in dashboard.panels}
    found = find_titled(dashboard, words, values)
    if not found:
        for item in _cut_items(words):
            found += _find_named(dashboard.panels, titles, item)
    return list(dict.fromkeys(found))


def find_titled(dashboard: Dashboard, words: Sequence[str], values: Mapping[str, str]) -> list[PanelInfo]:
    """Find the panels whose whole title some words are; `values` are those of the variables in titles."""
    whole = fold(" ".join(words))
    return [each for each in dashboard.panels if fold(dashboard.fill_title(each.title, values)) == whole]


def _cut_items(words: Sequence[str]) -> list[list[str]]:
    """Cut words at what stands between panels; what stands in quotes is an item of its own."""
    items: list[list[str]] = [[]]
    for word in words:
        if is_quoted(word):
            items += [[word], []]
            continue
        first, *more = _BETWEEN_PANELS.split(word)
        items[-1] += first.split()
        items += [piece.split() for piece in more]
    return [item for item in items if item]


def _find_named(panels: Sequence[PanelInfo], titles: Mapping[int, str], words: Sequence[str]) -> Iterator[PanelInfo]:
    start = 0
    while start < len(words):
        phrases = [(end, fold(" ".join(words[start:end]))) for end in range(len(words), start, -1)]
        for end, found in (
            *((end, [each for each in panels if titles[each.id] == phrase]) for end, phrase in phrases),
            (start + 1, _find_numbered(panels, words[start])),
            *((end, [each for each in panels if phrase in titles[each.id]]) for end, phrase in phrases),
        ):
            if found:
                yield from found
                start = end
                break
        else:
            raise NoSuchPanel(" ".join(words[start:]))


def _find_numbered(panels: Sequence[PanelInfo], word: str) -> list[PanelInfo]:
    if by_id := _PANEL_ID.fullmatch(word):
        found = [each for each in panels if each.id == int(by_id[1])]
    elif _NUMBER.fullmatch(word):
        number = int(word)
        found = [each for each in panels if each.number == number] or [each for each in panels if each.id == number]
    else:
        return []
    if not found:
        # Not to be looked for in titles: somebody who counts means a place.
        raise NoSuchPanel(word)
    return found


# ---------------------------------------------------------------- variables


def read_variables(dashboard: Dashboard, given: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Give the variables that somebody sets, by the dashboard's own names, with values as Grafana knows them.

    Several values stand between commas where the variable may have several; `all` is all.

    Raises:
        NoSuchVariable: the dashboard has none of this name.
    """
    values: dict[str, tuple[str, ...]] = {}
    for name, text in given:
        variable = dashboard.find_variable(name)
        if variable is None:
            raise NoSuchVariable(name)
        new = tuple(_find_value(variable, each) for each in _cut_values(variable, text))
        values[variable.name] = values.get(variable.name, ()) + new if variable.is_multi else new
    return values


def _cut_values(variable: DashboardVariable, text: str) -> list[str]:
    """Cut several values at their commas; what stands in quotes is one, and so is what the dashboard lists as one."""
    if not variable.is_multi or is_quoted(text):
        return [text]
    pieces = [each.strip() for each in re.split(r"[,，]", text)]
    listed = {_fold_value(name) for pair in variable.values for name in pair}
    found: list[str] = []
    while pieces:
        counts = range(len(pieces), 1, -1)
        count = next((each for each in counts if _fold_value(",".join(pieces[:each])) in listed), 1)
        found.append(", ".join(pieces[:count]))
        del pieces[:count]
    return [each for each in found if each] or [""]


def _fold_value(text: str) -> str:
    """Return what values are compared by: without regard to the kind of commas, and to blanks beside them."""
    return re.sub(r"\s*,\s*", ",", fold(text))


def _find_value(variable: DashboardVariable, text: str) -> str:
    if variable.has_all and text.casefold() in ("all", "全部", ALL_VALUES):
        return ALL_VALUES
    wanted = _fold_value(text)
    return next((value for shown, value in variable.values if _fold_value(shown) == wanted), str(text))
