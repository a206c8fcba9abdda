"""A chat command: its words, its help, who may use it, and one function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from wxbridge.core.errors import WxbridgeError
from wxbridge.core.model import Picture, PictureSpec, Text
from wxbridge.core.text.i18n import LANGUAGES, Language, say


class Permission(StrEnum):
    """Who may use a command. The master may use every one."""

    EVERYONE = "everyone"
    """Whoever writes where commands are answered."""
    PROMQL = "promql"
    """Those under `chat.promql`."""
    ADMINS = "admins"
    """Those under `chat.admins`."""


class CannotAnswer(WxbridgeError):
    """A question has no answer. The text is for the person who asked, in their language: what is wrong, what to do."""


@dataclass(frozen=True)
class Asker:
    """Who asks, and where."""

    channel: str
    """The lane: `wechat`, or `wecom_bot:NAME`."""
    target: str
    """The target in jobs.yaml that this chat is; the answer goes there."""
    sender_id: str
    sender_name: str
    room_id: str | None = None
    """None in a direct chat."""
    room_topic: str | None = None
    roles: frozenset[str] = frozenset()
    """Of `master`, `admins` and `promql`, those this person has."""


@dataclass(frozen=True)
class Question:
    """One command as somebody wrote it."""

    asker: Asker
    text: str
    """What stands behind the command's word, blanks at both ends taken off, as it was written."""
    words: tuple[str, ...]
    """The same, cut at blanks; what stands in quotes is one word, without them."""
    at: datetime
    """When it was asked, in the bridge's time zone."""
    language: Language
    then: list[Callable[[], None]] = field(default_factory=list)
    """What a command wants begun once its answer is stored, so that nothing that comes of it is told before. May raise
    `WxbridgeError`, which is logged."""


Answer = Text | Picture | PictureSpec
"""What is sent back. A `PictureSpec` is drawn by the dispatcher, who says "one moment" where that takes long."""

CommandRun = Callable[[Question], Awaitable[Sequence[Answer]]]


@dataclass(frozen=True)
class Command:
    """A command as the table knows it."""

    name: str
    """The English word; unique."""
    words: tuple[str, ...]
    """All words it is known by, the name among them, Chinese too; a word may hold blanks (`list graph shortcuts`)."""
    summary: Mapping[Language, str]
    """One line for `help`."""
    usage: Mapping[Language, str]
    """The arguments and an example or two, for `help NAME`."""
    run: CommandRun
    """Answer. Raises `CannotAnswer` where it cannot; any other `WxbridgeError` is told in its own words."""
    permission: Permission = Permission.EVERYONE

    @classmethod
    def from_catalogue(cls, name: str, run: CommandRun, permission: Permission = Permission.EVERYONE) -> Self:
        """Make a command whose words and help stand in the catalogue of texts, as `bot.commands.NAME`."""
        words = [word for language in LANGUAGES for word in say(f"bot.commands.{name}.words", language).split(", ")]
        return cls(
            name,
            tuple(dict.fromkeys(words)),
            {language: say(f"bot.commands.{name}.summary", language) for language in LANGUAGES},
            {language: say(f"bot.commands.{name}.usage", language) for language in LANGUAGES},
            run,
            permission,
        )
