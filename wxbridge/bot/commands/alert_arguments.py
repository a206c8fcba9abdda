"""What people write behind `alerts`, `silence` and `ack`: matchers, words, ids, how long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from wxbridge.alerts.firing import FiringAlert
from wxbridge.alerts.severity import severity_words
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.matchers import Matcher, parse_matcher
from wxbridge.core.text import time_range, time_words
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.normalise import normalise_matchers
from wxbridge.core.text.splitting import shorten

MAX_TERMS = 20
"""Matchers and words of one command."""
MAX_SILENCE = timedelta(days=366)
MAX_COMMENT_CHARS = 500
"""What is longer is cut."""

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(
    rf"""[\s,{{}}]*(?:
        (?P<matcher>(?:{_QUOTED}|[^\s=!~{{}}",]+)\s*(?:=~|!~|!=|=)\s*(?:{_QUOTED}|[^\s,]*))
        |(?P<word>{_QUOTED}|[^\s,]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ID = re.compile(r"[0-9a-f]{4,32}", re.IGNORECASE)


@dataclass(frozen=True)
class AlertQuery:
    """Which alerts are asked for: all matchers hold, and all words are found."""

    matchers: tuple[Matcher, ...] = ()
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([*map(str, self.matchers), *self.words])

    def __bool__(self) -> bool:
        return bool(self.matchers or self.words)

    def matches(self, firing: FiringAlert) -> bool:
        """Tell whether an alert is one of them. Words are looked for in its title, its labels and its id."""
        labels = firing.labels
        severities = severity_words(firing.alert).words
        text = "\n".join((firing.alert.title, *(f"{name}={labels[name]}" for name in labels), *severities)).casefold()
        return firing.fulfils(self.matchers) and all(
            word.casefold() in text or _is_id(word, firing) for word in self.words
        )


def _is_id(word: str, firing: FiringAlert) -> bool:
    return bool(_ID.fullmatch(word)) and any(key.startswith(word.lower()) for key in firing.keys)


def find_by_id(word: str, alerts: tuple[FiringAlert, ...]) -> list[FiringAlert]:
    """Find the alerts whose id begins with a word; none for what is no id."""
    return [each for each in alerts if _is_id(word, each)]


# ---------------------------------------------------------------- matchers and words


def parse_query(text: str, language: Language) -> AlertQuery:
    """Read matchers as routes have them (`team=db`, `severity=~"crit.*"`, in braces too), and plain words.

    Raises:
        CannotAnswer: what looks like a matcher is none, or has a broken expression.
    """
    matchers: list[Matcher] = []
    words: list[str] = []
    text = normalise_matchers(text).strip()
    # In braces it may come from Alertmanager's page; elsewhere a brace is part of an expression.
    text = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    for token in _split_tokens(text):
        if token.lastgroup == "matcher":
            matchers.append(_parse_matcher(token["matcher"].strip(), language))
        elif re.search(r"[=~]", token["word"]) and not token["word"].startswith('"'):
            raise CannotAnswer(say("bot.alerts.bad_matcher", language, text=shorten(token["word"])))
        else:
            words.append(token["word"].strip('"'))
    if len(matchers) + len(words) > MAX_TERMS:
        raise CannotAnswer(say("bot.alerts.too_many", language, n=MAX_TERMS))
    return AlertQuery(tuple(matchers), tuple(word for word in words if word))


def _parse_matcher(text: str, language: Language) -> Matcher:
    try:
        return parse_matcher(text)
    except ValueError as error:
        _, broken, why = str(error).partition("regular expression is broken: ")
        key = "bot.alerts.bad_expression" if broken else "bot.alerts.bad_matcher"
        raise CannotAnswer(say(key, language, text=shorten(text), why=why)) from None


def _split_tokens(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while token := _TOKEN.match(text, at):
        yield token
        at = token.end()


# ---------------------------------------------------------------- how long

MAX_TIME_PARTS = 6
"""Words and signs of how long a silence is to last."""
MAX_WORDS_BEFORE_TIME = 100
_TIME_BEGINS = re.compile("[0-9零一二两三四五六七八九十半]|until|till|直到|到|至", re.IGNORECASE)
_PART_END = re.compile(r"(?=[\s,，。;；:：])|$")


@dataclass(frozen=True)
class SilenceArguments:
    """What somebody wants silenced."""

    what: str
    """Matchers, or an id."""
    ends_at: datetime
    comment: str


def parse_silence(text: str, at: datetime, language: Language) -> SilenceArguments:
    """Read `MATCHER... 2h why`, `ID until 18:00 why`, and the same in Chinese.

    Args:
        text: What stands behind the command's word.
        at: When it was written, in the zone that clock times are meant in.
        language: Of what is wrong.

    Raises:
        CannotAnswer: it does not say what, or how long; or it would be over already, or last for more than a year.
    """
    text = normalise_matchers(text).strip()
    starts = [token.start("word") for token in _split_tokens(text)]
    # The first is never a time: an id may look like one.
    for start in starts[1:MAX_WORDS_BEFORE_TIME]:
        if start < 0 or not _TIME_BEGINS.match(text, start):
            continue
        ends = [start + found.start() for found in islice(_PART_END.finditer(text[start:]), MAX_TIME_PARTS)]
        for end in reversed(ends):
            ends_at = _parse_end(text[start:end], at, language)
            if ends_at is not None:
                comment = text[end:].strip(" ,，。;；:：")[:MAX_COMMENT_CHARS]
                return SilenceArguments(text[:start].strip(), ends_at, comment)
    is_missing = not starts or _parse_end(text, at, language) is not None
    raise CannotAnswer(say("bot.alerts.silence_what" if is_missing else "bot.alerts.silence_time", language))


def _parse_end(text: str, at: datetime, language: Language) -> datetime | None:
    """Read when something is to end; None where the text is no time. Raises `CannotAnswer` where it cannot be then."""
    try:
        seconds = time_words.parse_duration(text)
        if seconds is not None:
            return end_after(at, seconds, language)
        until = time_range.parse_until(text, at)
    except OverflowError:
        raise CannotAnswer(say("bot.alerts.too_long", language)) from None
    except ValueError:
        raise CannotAnswer(say("bot.alerts.no_time", language, text=shorten(text))) from None
    return until and _check_end(until, at, language)


def end_after(at: datetime, seconds: float, language: Language) -> datetime:
    """Give the end of a silence of so many seconds. Raises `CannotAnswer` where it would last over a year."""
    try:
        # In UTC: two hours are two hours, also where the clock is put forward.
        ends_at = (at.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(at.tzinfo)
    except OverflowError:
        raise CannotAnswer(say("bot.alerts.too_long", language)) from None
    return _check_end(ends_at, at, language)


def _check_end(ends_at: datetime, at: datetime, language: Language) -> datetime:
    ends_at = ends_at.replace(microsecond=0)
    if ends_at <= at:
        raise CannotAnswer(say("bot.alerts.over_already", language, end=f"{ends_at:%Y-%m-%d %H:%M}"))
    if ends_at - at > MAX_SILENCE:
        raise CannotAnswer(say("bot.alerts.too_long", language))
    return ends_at
