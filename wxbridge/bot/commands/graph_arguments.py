"""The words behind `graph`, sorted: a name with panels, a time range, variables, size, theme and time zone. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Any

from wxbridge.bot.command import QuotedWord, is_quoted
from wxbridge.config.graphs import MAX_SIDE, MIN_SIDE, PictureSize, parse_size, parse_timezone
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.text import time_range
from wxbridge.core.text.i18n import Language, say

COMMENT = "#"
"""What stands behind this word in a list is for people, and may be copied with the line."""
USUAL_SIZE = PictureSize(1000, 500)
"""Where one side is given: hubot-grafana's."""
_OPTION = re.compile(r"(?P<name>[^\s=]{1,64})=(?P<value>.*)", re.DOTALL)
_CLOCK = re.compile(r"\d{1,2}(?::\d{2}){1,2}|\d{1,2}点(?:\d{1,2}分?|半)?")
_OPTIONS = {
    "from": "from", "to": "to", "timezone": "tz", "tz": "tz", "时区": "tz", "theme": "theme", "主题": "theme",
    "size": "size", "尺寸": "size", "width": "width", "height": "height", "panel": "panel", "面板": "panel",
}  # fmt: skip
"""Every other `name=value` sets a variable."""
_THEMES = {
    **dict.fromkeys(("dark", "深色", "暗色", "黑色"), "dark"),
    **dict.fromkeys(("light", "浅色", "亮色", "白色"), "light"),
}
_GLUED_RANGE = re.compile(r"(?P<name>.+?)(?P<range>(?:最近|过去|近|今天|昨天|前天|本周|这周|上周|本月|上个?月).*)")


@dataclass(frozen=True)
class GraphArguments:
    """The words behind `graph`, sorted."""

    words: tuple[str, ...]
    """The name, and what panels."""
    start: str | None = None
    end: str | None = None
    range: str | None = None
    """In words, in place of `start` and `end`."""
    range_words: tuple[str, ...] = ()
    """The words that were taken for the range; they may be the end of a title instead."""
    variables: tuple[tuple[str, str], ...] = ()
    doubtful: Mapping[str, CannotAnswer] = field(default_factory=dict)
    """Of `variables`, those that are named like an option and have a value that it cannot have: what is wrong then."""
    options: tuple[str, ...] = ()
    """All that is no name, panel or range, as it was written."""
    size: PictureSize | None = None
    theme: str | None = None
    timezone: str | None = None


def parse_graph_arguments(words: Sequence[str], now: datetime, language: Language) -> GraphArguments:
    """Sort the words behind `graph`. The first is never an option, unless it is `name=value`; one in quotes never is.

    Raises:
        CannotAnswer: an option's value cannot be (a size, a theme, a time zone), or it has none.
    """
    left: list[str] = []
    variables: list[tuple[str, str]] = []
    options: dict[str, Any] = {}
    doubtful: dict[str, CannotAnswer] = {}
    taken: list[str] = []
    named = ""
    """The end of time (`from`, `to`) that has just been named: its clock may be a word of its own."""
    for word in takewhile(lambda word: word != COMMENT, filter(str.strip, words)):
        before, named = named, ""
        if is_quoted(word):
            left.append(word)
            continue
        taken.append(word)
        if option := _OPTION.fullmatch(word):
            name, value = _OPTIONS.get(option["name"].lower()), _value_of(word, option)
            if name is None:
                variables.append((option["name"].removeprefix("var-"), value))
                continue
            try:
                options[name] = _parse_option(name, word, value, language)
                named = name if name in ("from", "to") else ""
            except _NoSuchValue as error:
                doubtful[option["name"]] = error
                variables.append((option["name"], value))
        elif before and _CLOCK.fullmatch(word) and time_range.is_range(f"from={options[before]} {word}", now):
            options[before] += f" {word}"
        elif (look := _parse_look(word)) and left:
            options |= look
        else:
            left += taken.pop().split()
    left += [options["panel"]] if left and "panel" in options else []
    has_ends = bool(options.keys() & {"from", "to"})
    left, span, range_words = (left, None, ()) if has_ends else _split_off_range(left, now)
    return GraphArguments(
        tuple(left),
        options.get("from"),
        options.get("to"),
        span,
        range_words,
        tuple(variables),
        doubtful,
        tuple(taken),
        _choose_size(options),
        options.get("theme"),
        options.get("tz"),
    )


def _value_of(word: str, option: re.Match[str]) -> str:
    """Give an option's value; one in quotes stays known as that, so that it is not cut at commas."""
    quoted = isinstance(word, QuotedWord) and word.quoted_from == option.start("value")
    return QuotedWord(option["value"]) if quoted else option["value"].strip()


def _parse_look(word: str) -> dict[str, Any]:
    """Read a word that says by itself how a picture is to look: `dark`, `800x400`, `wide`."""
    if theme := _THEMES.get(word.casefold()):
        return {"theme": theme}
    try:
        size = parse_size(word)
    except ValueError as error:
        raise CannotAnswer(str(error)) from None
    return {"size_word": size} if size else {}


def _parse_size(value: str) -> PictureSize:
    try:
        size = parse_size(value)
    except ValueError as error:
        raise CannotAnswer(str(error)) from None
    if size is None:
        raise ValueError(value)
    return size


def _parse_side(value: str) -> int:
    if not (value.isascii() and value.isdigit() and MIN_SIDE <= int(value[:9]) <= MAX_SIDE):
        raise ValueError(value)
    return int(value)


_PARSERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "theme": (lambda value: _THEMES[value.casefold()], ""),
    "tz": (parse_timezone, "tz=Asia/Shanghai, tz=UTC"),
    "size": (_parse_size, "size=800x400, size=wide"),
    **{side: (_parse_side, f"{side}=800 ({MIN_SIDE} – {MAX_SIDE})") for side in ("width", "height")},
}
"""How the values of options are read, and examples of them."""


class _NoSuchValue(CannotAnswer):
    """An option cannot have a value: a dashboard's variable of its name may."""


def _parse_option(name: str, word: str, value: str, language: Language) -> Any:
    if not value:
        raise CannotAnswer(say("bot.graphs.no_value", language, word=word))
    if name not in _PARSERS:
        return value
    parse, example = _PARSERS[name]
    try:
        return parse(value)
    except (KeyError, ValueError):
        example = example or say("bot.graphs.write_theme", language)
        raise _NoSuchValue(say("bot.graphs.write_like", language, example=example)) from None


def _choose_size(options: Mapping[str, Any]) -> PictureSize | None:
    size: PictureSize | None = options.get("size") or options.get("size_word")
    if not options.keys() & {"width", "height"}:
        return size
    usual = size or USUAL_SIZE
    return PictureSize(options.get("width", usual.width), options.get("height", usual.height))


def _split_off_range(words: list[str], now: datetime) -> tuple[list[str], str | None, tuple[str, ...]]:
    """Take a range off the end of words, which never is all of them: the rest, the range, and the words of it."""
    place = next((count for count in range(len(words), 0, -1) if is_quoted(words[count - 1])), 0)
    head, tail = words[:place], words[place:]
    text = " ".join(tail)
    if head and tail and time_range.is_range(text, now):
        return head, text, tuple(tail)
    for rest, found in time_range.split_off_ranges(text, now):
        count = len(rest.split())
        return [*head, *tail[:count]], found, tuple(tail[count:])
    glued = _GLUED_RANGE.fullmatch(tail[-1]) if tail else None
    if glued and time_range.is_range(glued["range"], now):
        return [*head, *tail[:-1], glued["name"]], glued["range"], ()
    return words, None, ()
