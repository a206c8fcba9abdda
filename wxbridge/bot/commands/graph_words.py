"""What somebody wants to see, from the words behind `graph`: the options, the name, the panels. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile

from wxbridge.bot import time_range
from wxbridge.bot.command import CannotAnswer
from wxbridge.config.graphs import Size, parse_size, parse_timezone
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.normalise import fold
from wxbridge.monitors.dashboards import Dashboard, DashboardHit, DashboardVariable, PanelInfo

_OPTION = re.compile(r"(?P<name>[^\s=]{1,64})=(?P<value>.*)", re.DOTALL)
_CLOCK = re.compile(r"\d{1,2}(?::\d{2}){1,2}|\d{1,2}点(?:\d{1,2}分?|半)?")
_ENDS = ("from", "to")
_NAMES = {
    "timezone": "tz", "tz": "tz", "时区": "tz", "theme": "theme", "主题": "theme", "size": "size", "尺寸": "size",
    "width": "width", "height": "height", "panel": "panel", "面板": "panel",
}  # fmt: skip
_THEMES = {
    **dict.fromkeys(("dark", "深色", "暗色", "黑色"), "dark"),
    **dict.fromkeys(("light", "浅色", "亮色", "白色"), "light"),
}
_GLUED = re.compile(r"(?P<name>.+?)(?P<range>(?:最近|过去|近|今天|昨天|前天|本周|这周|上周|本月|上个?月).*)")
WHOLE = frozenset(("all", "whole", "kiosk", "*", "全部", "整个", "全图"))
"""Words in a panel's place that mean the whole dashboard."""
LISTING = frozenset(("panels", "?", "面板", "面板列表"))
"""Words in a panel's place that ask what panels there are."""
COMMENT = "#"
"""What stands behind this word in a list is for people, and may be copied with the line."""
_BETWEEN_PANELS = re.compile(r"[,，、;；]+")
_PANEL_ID = re.compile(r"(?:#|panel-|id[:=])(\d{1,9})", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,9}")
_NAME_AT_MOST = 12
"""Words of a name: each is looked for among thousands of titles."""


@dataclass(frozen=True)
class Wanted:
    """The words behind `graph`, sorted."""

    words: tuple[str, ...]
    """The name, and what panels."""
    start: str | None = None
    end: str | None = None
    range: str | None = None
    """In words, in place of `start` and `end`."""
    variables: tuple[tuple[str, str], ...] = ()
    size: Size | None = None
    theme: str | None = None
    timezone: str | None = None


@dataclass
class _Options:
    words: list[str] = field(default_factory=list)
    variables: list[tuple[str, str]] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)
    size: Size | None = None


def wanted(words: Sequence[str], now: datetime, language: Language) -> Wanted:
    """Sort the words behind `graph`. The first is never an option, unless it is `name=value`.

    Raises:
        CannotAnswer: an option's value cannot be (a size, a theme, a time zone), or it has none.
    """
    options = _Options()
    last = ""
    for word in takewhile(lambda word: word != COMMENT, filter(str.strip, words)):
        last = _take(options, word, last, now, language)
    panel = options.given.get("panel")
    left = tuple(options.words) + ((panel,) if panel and options.words else ())
    given = options.given
    text = " ".join(left)
    told = None
    if "from" not in given and "to" not in given:
        text, told = _range_off(text, now)
    return Wanted(
        tuple(text.split()),
        given.get("from"),
        given.get("to"),
        told,
        tuple(options.variables),
        _sized(options),
        given.get("theme"),
        given.get("tz"),
    )


def _take(options: _Options, word: str, last: str, now: datetime, language: Language) -> str:
    """Put a word where it belongs; what is given back is the name of the end of time that it is, if it is one."""
    found = _OPTION.fullmatch(word)
    if found is not None:
        name, value = found["name"], found["value"].strip()
        known = name.lower() if name.lower() in _ENDS else _NAMES.get(name.lower())
        if known is None:
            options.variables.append((name.removeprefix("var-"), value))
            return ""
        if not value:
            raise CannotAnswer(say("bot.graphs.no_value", language, word=word))
        options.given[known] = _checked(known, value, language)
        return known if known in _ENDS else ""
    if last and _CLOCK.fullmatch(word) and time_range.is_range(f"from={options.given[last]} {word}", now):
        options.given[last] += f" {word}"
        return ""
    theme = _THEMES.get(word.casefold())
    try:
        size = None if theme else parse_size(word)
    except ValueError as error:
        raise CannotAnswer(str(error)) from None
    if not options.words or not (theme or size):
        options.words.append(word)
    elif theme:
        options.given["theme"] = theme
    else:
        options.size = size
    return ""


def _checked(name: str, value: str, language: Language) -> str:
    problem = ""
    if name == "theme":
        value, problem = _THEMES.get(value.casefold(), ""), say("bot.graphs.write_theme", language)
    elif name in ("width", "height"):
        valid = value.isascii() and value.isdigit() and 100 <= int(value[:9]) <= 4000  # noqa: PLR2004 - as `parse_size`
        value, problem = value if valid else "", f"{name}=800 (100 – 4000)"
    elif name == "tz":
        try:
            return parse_timezone(value)
        except ValueError:
            value, problem = "", "tz=Asia/Shanghai, tz=UTC"
    elif name == "size":
        try:
            value, problem = value if parse_size(value) else "", "size=800x400, size=wide"
        except ValueError as error:
            raise CannotAnswer(str(error)) from None
    if not value:
        raise CannotAnswer(say("bot.graphs.write_like", language, example=problem))
    return value


def _sized(options: _Options) -> Size | None:
    size = parse_size(options.given["size"]) if "size" in options.given else options.size
    width, height = options.given.get("width"), options.given.get("height")
    if width is None and height is None:
        return size
    usual = size or Size(1000, 500)  # hubot-grafana's
    return Size(int(width or usual.width), int(height or usual.height))


def _range_off(text: str, now: datetime) -> tuple[str, str | None]:
    for rest, tail in time_range.endings(text, now):
        return rest, tail
    head, _, tail = text.rpartition(" ")
    glued = _GLUED.fullmatch(tail)
    if glued and time_range.is_range(glued["range"], now):
        return f"{head} {glued['name']}".strip(), glued["range"]
    return text, None


# ---------------------------------------------------------------- names


def prefixes(words: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every way to cut words into a name and what follows it, the longest name first; also at a colon: `kafka:3`."""
    for count in range(min(len(words), _NAME_AT_MOST), 0, -1):
        yield " ".join(words[:count]), tuple(words[count:])
    for count, word in enumerate(words[:_NAME_AT_MOST]):
        name, colon, panel = word.replace("：", ":").partition(":")
        if colon and (name or count):
            yield " ".join([*words[:count], name]).strip(), tuple(filter(None, [panel, *words[count + 1 :]]))


def exact(hits: Iterable[DashboardHit], name: str) -> list[DashboardHit]:
    """The dashboards of a name: its uid, its title, or its title as in addresses."""
    wanted_key = fold(name)
    found = list(hits)
    return [hit for hit in found if hit.uid == name] or [
        hit for hit in found if wanted_key in (fold(hit.title), hit.slug.casefold(), hit.uid.casefold())
    ]


def containing(hits: Iterable[DashboardHit], name: str) -> list[DashboardHit]:
    """The dashboards in whose title all words of a name occur."""
    parts = fold(name).split()
    return [hit for hit in hits if all(part in fold(hit.title) for part in parts)]


def near(names: Iterable[str], wanted_name: str, most: int = 3) -> list[str]:
    """What somebody may have meant."""
    by_key = {fold(name): name for name in reversed(list(names))}
    # Of two Chinese characters one may be wrong.
    alike = 0.6 if len(wanted_name) > 3 else 0.5  # noqa: PLR2004
    return [by_key[each] for each in difflib.get_close_matches(fold(wanted_name), by_key, most, alike)]


# ---------------------------------------------------------------- panels


class NoSuchPanel(Exception):
    """A dashboard has no such panel. The text is what was asked for."""


def panels_of(dashboard: Dashboard, words: Sequence[str], values: Mapping[str, str]) -> list[PanelInfo]:
    """The panels that words name, each once, in their order: `1,3`, `#12`, `cpu usage`, `2 cpu`.

    A number is a place in reading order, or else an id; a title may be a part of one, and may name several panels.

    Raises:
        NoSuchPanel: a word names none.
    """
    titles = {each.id: fold(dashboard.fill_title(each.title, values)) for each in dashboard.panels}
    whole = fold(" ".join(words))
    found = [each for each in dashboard.panels if titles[each.id] == whole]
    if not found:
        for item in _BETWEEN_PANELS.split(" ".join(words)):
            found += _named_by(dashboard.panels, titles, item.split())
    return list(dict.fromkeys(found))


def _named_by(panels: Sequence[PanelInfo], titles: Mapping[int, str], words: Sequence[str]) -> Iterator[PanelInfo]:
    start = 0
    while start < len(words):
        phrases = [(end, fold(" ".join(words[start:end]))) for end in range(len(words), start, -1)]
        for end, found in (
            *((end, [each for each in panels if titles[each.id] == phrase]) for end, phrase in phrases),
            (start + 1, _numbered(panels, words[start])),
            *((end, [each for each in panels if phrase in titles[each.id]]) for end, phrase in phrases),
        ):
            if found:
                yield from found
                start = end
                break
        else:
            raise NoSuchPanel(" ".join(words[start:]))


def _numbered(panels: Sequence[PanelInfo], word: str) -> list[PanelInfo]:
    by_id = _PANEL_ID.fullmatch(word)
    if by_id:
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


class NoSuchVariable(Exception):
    """A dashboard has no such variable. The text is its name."""


def variables_of(dashboard: Dashboard, given: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """The variables that somebody sets, by the dashboard's own names, each with its values as Grafana knows them.

    Several values stand between commas where the variable may have several; `all` is all.

    Raises:
        NoSuchVariable: the dashboard has none of this name.
    """
    known = {each.name: each for each in dashboard.variables} | {
        each.name.casefold(): each for each in reversed(dashboard.variables)
    }
    set_: dict[str, tuple[str, ...]] = {}
    for name, value in given:
        variable = known.get(name) or known.get(name.casefold())
        if variable is None:
            raise NoSuchVariable(name)
        pieces = [each.strip() for each in re.split(r"[,，]", value)] if variable.is_multi else [value]
        values = tuple(_value(variable, each) for each in pieces if each or len(pieces) == 1)
        set_[variable.name] = set_.get(variable.name, ()) + values if variable.is_multi else values
    return set_


def _value(variable: DashboardVariable, text: str) -> str:
    if variable.has_all and text.casefold() in ("all", "全部", "$__all"):
        return "$__all"
    return next((value for shown, value in variable.values if fold(shown) == fold(text)), text)
