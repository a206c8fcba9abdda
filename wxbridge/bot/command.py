"""A command as somebody wrote it, what is replied, and the kinds of commands that there are."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from wxbridge.bot.services import CommandServices, CommandSettings
from wxbridge.core.audit import AuditAction, AuditDoor
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.model import Picture, PictureSpec, Text
from wxbridge.core.text.i18n import LANGUAGES, Language, say
from wxbridge.core.text.units import format_moment


def is_written_in(text: str, language: Language) -> bool:
    """Tell whether a text has letters of the script that only this language is written in."""
    script = say("language.script", language)
    return bool(script and re.search(script, text))


def choose_language(text: str, usual: Language) -> Language:
    """Choose the language to reply in: that whose script somebody writes in, else the configured one."""
    return next((language for language in LANGUAGES if is_written_in(text, language)), usual)


class Permission(StrEnum):
    """Who may use a command. The master may use every one."""

    EVERYONE = "everyone"
    """Whoever writes where commands are answered."""
    PROMQL = "promql"
    """Those under `chat.promql`."""
    ADMINS = "admins"
    """Those under `chat.admins`."""


@dataclass(frozen=True)
class Sender:
    """Who wrote a command, and where."""

    channel: str
    """The lane: `wechat`, or `wecom_bot:NAME`."""
    target: str
    """The target in jobs.yaml that this chat is; empty where it is none."""
    id: str
    name: str
    room_id: str | None = None
    """None in a direct chat."""
    room_topic: str | None = None
    roles: frozenset[str] = frozenset()
    """Of `master`, `admins` and `promql`, those this person has."""


class QuotedWord(str):
    """A word that stood in quotes: all of it, or what follows `quoted_from` letters, as in `city="a, b"`."""

    __slots__ = ("quoted_from",)
    quoted_from: int

    def __new__(cls, text: str, quoted_from: int = 0) -> Self:
        """Make one of the word without its quotes."""
        word = super().__new__(cls, text)
        word.quoted_from = quoted_from
        return word


def is_quoted(word: str) -> bool:
    """Tell whether all of a word stood in quotes, and is nothing but a name or a value."""
    return isinstance(word, QuotedWord) and not word.quoted_from


@dataclass(frozen=True)
class Command:
    """A command as somebody wrote it, with what it is carried out by."""

    sender: Sender
    text: str
    """What stands behind the command's word, in plain signs, blanks at both ends taken off."""
    words: tuple[str, ...]
    """The same, cut at blanks; what stands in quotes is one word, without them (`QuotedWord`)."""
    at: datetime
    """When it was written, in the bridge's time zone."""
    language: Language
    """That is replied in."""
    services: CommandServices
    settings: CommandSettings

    def say(self, key: str, **fields: Any) -> str:
        """Give a text of the catalogue in the sender's language."""
        return say(key, self.language, **fields)

    def format_moment(self, moment: datetime | float) -> str:
        """Write a moment (or seconds since the epoch) on the bridge's clock, with the date where it is not today's."""
        zone = self.settings.timezone
        return format_moment(
            moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, zone), zone, self.at
        )

    async def record(self, action: AuditAction, what: str) -> None:
        """Keep that the sender has done something, for the console. It raises nothing."""
        await self.services.audit.record(action, what, by=self.sender.name or self.sender.id, via=AuditDoor.CHAT)

    def refuse(self, key: str, **fields: Any) -> CannotAnswer:
        """Make the error that says, in the sender's language, why there is no answer."""
        return CannotAnswer(self.say(key, **fields))


@dataclass(frozen=True)
class Choices:
    """What `1`, `2`, … stand for after a list that was shown."""

    entries: tuple[str, ...]
    """Each as it is written behind a command's word."""
    command: str = ""
    """The name of the command that a number alone asks for; empty for none."""
    also: tuple[str, ...] = ()
    """Further commands in which a number may stand for an entry."""


class ChooseOne(CannotAnswer):
    """Several things may be meant, and the text lists them."""

    def __init__(self, text: str, choices: Choices) -> None:
        super().__init__(text)
        self.choices = choices


def number_lines(lines: Iterable[str]) -> list[str]:
    """Put `1. `, `2. `, … in front of the lines of a list; a single line stays as it is."""
    listed = list(lines)
    return [f"{number}. {line}" for number, line in enumerate(listed, 1)] if len(listed) > 1 else listed


def quote_word(word: str) -> str:
    """Write a word so that it is read as the same word again: in quotes where it stood in quotes or has blanks."""
    start = word.quoted_from if isinstance(word, QuotedWord) else 0
    if not isinstance(word, QuotedWord) and not re.search(r"[\s\"']", word) and word:
        return str(word)
    quoted = re.sub(r'(["\\])', r"\\\1", word[start:])
    return f'{word[:start]}"{quoted}"'


@dataclass(frozen=True)
class Reply:
    """What is sent back. A `PictureSpec` is drawn by the dispatcher, who says "one moment" where that takes long."""

    bodies: tuple[Text | Picture | PictureSpec, ...]
    then: Callable[[], None] | None = None
    """What begins once the reply is stored, so that nothing that comes of it is told before. May raise `WxbridgeError`,
    which is logged."""
    choices: Choices | None = None
    """What numbers stand for from now on in this chat; None leaves them as they are."""
    is_captioned: bool = False
    """Whether a text that stands before a picture says only what the picture shows."""


CommandFunction = Callable[[Command], Awaitable[Reply | str]]
"""Carries a command out; a text alone is a reply too.

Raises `CannotAnswer` where it cannot; any other `WxbridgeError` is told in its own words."""


@dataclass(frozen=True)
class CommandKind:
    """A kind of command: its words, its help, who may use it, and the function."""

    name: str
    """The English word; unique."""
    words: tuple[str, ...]
    """All words it is known by, the name among them, Chinese too; a word may hold blanks (`list graph shortcuts`)."""
    summary: Mapping[Language, str]
    """One line for `help`."""
    usage: Mapping[Language, str]
    """The arguments and an example or two, for `help NAME`."""
    run: CommandFunction
    permission: Permission = Permission.EVERYONE

    @classmethod
    def from_catalogue(cls, name: str, run: CommandFunction, permission: Permission = Permission.EVERYONE) -> Self:
        """Make a kind whose words and help stand in the catalogue of texts, as `bot.commands.NAME`."""
        words = [word for language in LANGUAGES for word in say(f"bot.commands.{name}.words", language).split(", ")]
        return cls(
            name,
            tuple(dict.fromkeys(words)),
            {language: say(f"bot.commands.{name}.summary", language) for language in LANGUAGES},
            {language: say(f"bot.commands.{name}.usage", language) for language in LANGUAGES},
            run,
            permission,
        )

    def called(self, language: Language) -> str:
        """Give what the command is called in a language: `alerts`, or `告警 / alerts`."""
        own = next((word for word in self.words if is_written_in(word, language)), None)
        return f"{own} / {self.name}" if own else self.name

    def is_allowed(self, roles: frozenset[str]) -> bool:
        """Tell whether somebody with these roles may use it."""
        return self.permission is Permission.EVERYONE or bool(roles & {"master", self.permission.value})

    def refusal(self, language: Language) -> str:
        """Say why somebody may not use it."""
        return say(f"bot.refused_{self.permission.value}", language, name=self.called(language))
