"""What people write behind `alerts`, `silence` and `ack`: matchers, words, ids, how long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from wxbridge.alerts.firing import FiringAlert
from wxbridge.bot.command import CannotAnswer
from wxbridge.core.matchers import Matcher, parse_matcher
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.normalise import normalise_matchers
from wxbridge.core.text.splitting import shorten

MOST = 20
"""Matchers and words of one question."""
MAX_SILENCE = timedelta(days=366)
MAX_COMMENT_CHARS = 500
"""Characters; what is longer is cut."""

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
class Query:
    """Which alerts are asked for: all matchers hold, and all words are found."""

    matchers: tuple[Matcher, ...] = ()
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([*map(str, self.matchers), *self.words])

    def __bool__(self) -> bool:
        return bool(self.matchers or self.words)

    def matches(self, firing: FiringAlert) -> bool:
        """Tell whether an alert is one of them. Words are looked for in its title, its labels and its id."""
        text = "\n".join((firing.alert.title, *(f"{name}={value}" for name, value in firing.labels.items()))).casefold()
        return firing.fulfils(self.matchers) and all(
            word.casefold() in text or _is_id(word, firing) for word in self.words
        )


def _is_id(word: str, firing: FiringAlert) -> bool:
    return bool(_ID.fullmatch(word)) and any(key.startswith(word.lower()) for key in firing.keys)


def by_id(word: str, alerts: tuple[FiringAlert, ...]) -> list[FiringAlert]:
    """The alerts whose id begins with a word; none for what is no id."""
    return [each for each in alerts if _is_id(word, each)]


# ---------------------------------------------------------------- matchers and words


def read_query(text: str, language: Language) -> Query:
    """Read matchers as routes have them (`team=db`, `severity=~"crit.*"`, in braces too), and plain words.

    Raises:
        CannotAnswer: what looks like a matcher is none, or has a broken expression.
    """
    matchers: list[Matcher] = []
    words: list[str] = []
    text = normalise_matchers(text).strip()
    # In braces it may come from Alertmanager's page; elsewhere a brace is part of an expression.
    text = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    for token in _tokens(text):
        if token.lastgroup == "matcher":
            matchers.append(_matcher(token["matcher"].strip(), language))
        elif re.search(r"[=~]", token["word"]) and not token["word"].startswith('"'):
            raise CannotAnswer(say("bot.alerts.bad_matcher", language, text=shorten(token["word"])))
        else:
            words.append(token["word"].strip('"'))
    if len(matchers) + len(words) > MOST:
        raise CannotAnswer(say("bot.alerts.too_many", language, n=MOST))
    return Query(tuple(matchers), tuple(word for word in words if word))


def _matcher(text: str, language: Language) -> Matcher:
    try:
        return parse_matcher(text)
    except ValueError as error:
        _, broken, why = str(error).partition("regular expression is broken: ")
        key = "bot.alerts.bad_expression" if broken else "bot.alerts.bad_matcher"
        raise CannotAnswer(say(key, language, text=shorten(text), why=why)) from None


def _tokens(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while token := _TOKEN.match(text, at):
        yield token
        at = token.end()


# ---------------------------------------------------------------- how long


@dataclass(frozen=True)
class SilenceAsked:
    """What somebody wants silenced."""

    what: str
    """Matchers, or an id."""
    ends_at: datetime
    comment: str


_COUNT = r"(\d+(?:\.\d+)?|[一二两三四五六七八九十半])"
_UNIT = (
    r"(hours?|hrs?|h|minutes?|mins?|min|m|seconds?|secs?|s|days?|d|weeks?|w"
    r"|个?半?小时|个?钟头|分钟?|秒钟?|天|日|个?星期|周)"
)
_SPAN = re.compile(rf"(?:{_COUNT}\s*{_UNIT})(?:\s*\d+(?:\.\d+)?\s*{_UNIT})*(?=$|[\s,，。;；:：])", re.IGNORECASE)
_PART = re.compile(rf"{_COUNT}\s*{_UNIT}", re.IGNORECASE)
_SIZES = {"h": 3600, "小时": 3600, "钟头": 3600, "m": 60, "分": 60, "s": 1, "秒": 1, "d": 86400, "天": 86400,
          "日": 86400, "w": 604800, "星期": 604800, "周": 604800}  # fmt: skip
"""Seconds of a unit, by how its word begins."""
_CHINESE = {word: float(number) for number, word in enumerate("零一二三四五六七八九十")} | {"两": 2.0, "半": 0.5}
_UNTIL = re.compile(
    r"(?:until|till|直到|到|至)\s*"
    r"(?:(?P<day>today|tomorrow|今天|明天|后天)|(?P<date>\d{4}-\d{1,2}-\d{1,2})T?)?\s*"
    r"(?:(?P<hour>\d{1,2})\s*[:：点](?P<minute>\d{2})?分?)?(?=$|[\s,，。;；])",
    re.IGNORECASE,
)
_DAYS = {"today": 0, "今天": 0, "tomorrow": 1, "明天": 1, "后天": 2}


def read_silence(text: str, at: datetime, language: Language) -> SilenceAsked:
    """Read `MATCHER... 2h why`, `ID until 18:00 why`, and the same in Chinese.

    Args:
        text: What stands behind the command's word.
        at: When it was asked, in the zone that clock times are meant in.
        language: Of what is wrong.

    Raises:
        CannotAnswer: it does not say what, or how long; or it would be over already, or last for more than a year.
    """
    text = normalise_matchers(text).strip()
    tokens = list(_tokens(text))
    if not tokens:
        raise CannotAnswer(say("bot.alerts.silence_what", language))
    # The first is never a time: an id may look like one.
    for token in tokens[1:]:
        start = token.start("word")
        if start < 0:
            continue
        if found := _SPAN.match(text, start):
            ends_at = end_after(at, _seconds_of(found[0]), language)
        elif (found := _UNTIL.match(text, start)) and any(found.groups()):
            ends_at = _check_end(_until(at, found, language), at, language)
        else:
            continue
        comment = text[found.end() :].strip(" ,，。;；:：")[:MAX_COMMENT_CHARS]
        return SilenceAsked(text[:start].strip(), ends_at, comment)
    only = _SPAN.fullmatch(text) or _UNTIL.fullmatch(text)
    raise CannotAnswer(say("bot.alerts.silence_what" if only else "bot.alerts.silence_time", language))


def _seconds_of(span: str) -> float:
    seconds = 0.0
    for count, unit in _PART.findall(span):
        word = unit.lower()
        number = _CHINESE[count] if count in _CHINESE else float(count)
        # 一个半小时 is one and a half.
        number += 0.5 if "半" in word else 0.0
        seconds += number * next(size for name, size in _SIZES.items() if word.lstrip("个半").startswith(name))
    return seconds


def end_after(at: datetime, seconds: float, language: Language) -> datetime:
    """Give the end of a silence of so many seconds. Raises `CannotAnswer` where it would last over a year."""
    try:
        # In UTC: two hours are two hours, also where the clock is put forward.
        ends_at = (at.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(at.tzinfo)
    except OverflowError:
        raise CannotAnswer(say("bot.alerts.too_long", language)) from None
    return _check_end(ends_at, at, language)


def _until(at: datetime, found: re.Match[str], language: Language) -> datetime:
    try:
        day = datetime.strptime(found["date"], "%Y-%m-%d").replace(tzinfo=at.tzinfo) if found["date"] else at
        ends_at = day.replace(hour=int(found["hour"] or 0), minute=int(found["minute"] or 0), second=0, microsecond=0)
        if found["day"]:
            return ends_at + timedelta(days=_DAYS[found["day"].lower()])
        # A bare time is the next such time.
        return ends_at if found["date"] or ends_at > at else ends_at + timedelta(days=1)
    except (ValueError, OverflowError):
        raise CannotAnswer(say("bot.alerts.no_time", language, text=shorten(found[0]))) from None


def _check_end(ends_at: datetime, at: datetime, language: Language) -> datetime:
    ends_at = ends_at.replace(microsecond=0)
    if ends_at <= at:
        raise CannotAnswer(say("bot.alerts.over_already", language, end=f"{ends_at:%Y-%m-%d %H:%M}"))
    if ends_at - at > MAX_SILENCE:
        raise CannotAnswer(say("bot.alerts.too_long", language))
    return ends_at


def read_ack(text: str) -> tuple[str, str]:
    """Read `ID why`: the id (empty where there is none) and the rest."""
    word, _, rest = " ".join(text.split()).partition(" ")
    return word, rest[:MAX_COMMENT_CHARS]
