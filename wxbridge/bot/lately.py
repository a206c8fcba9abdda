"""What each chat was told lately: the list that numbers speak of, and pictures that answer the same question again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wxbridge.bot.command import Choices
from wxbridge.bot.command_table import CommandMatch
from wxbridge.core.model import Body, Picture
from wxbridge.core.recent import RecentDict
from wxbridge.core.text.normalise import normalise

CHOICES_SECONDS = 600.0
"""For which numbers speak of a list."""
PICTURES_SECONDS = 60.0
"""For which a picture answers the same command, where that comes again and again."""
MAX_REMEMBERED = 1000
"""Chats, and answers."""
_ALONE = re.compile(r"\s*(\d{1,2})(?:\s*[.。、:：)）]\s*|\s+|\s*$)")
_FIRST = re.compile(r"(\d{1,2})(?:\s+|$)")

Match = Callable[[str], CommandMatch | None]
"""Finds the command that a line means."""


@dataclass(frozen=True)
class NoSuchChoice:
    """A number that is greater than a list is long."""

    number: int
    length: int


class LatelyTold:
    """Remembers lists and pictures for as long as the bridge runs. `now` never goes back."""

    def __init__(self) -> None:
        self._choices = RecentDict[str, tuple[float, Choices]](MAX_REMEMBERED)
        self._answers = RecentDict[tuple[str, str], tuple[float, Sequence[Body]]](MAX_REMEMBERED)

    def note_choices(self, chat: str, choices: Choices, now: float) -> None:
        """Remember the list that a chat was just shown; an empty one is none."""
        if choices.entries:
            self._choices[chat] = now, choices

    def is_choice(self, chat: str, line: str, now: float, match: Match) -> bool:
        """Tell whether a line that is no command is a number of the list just shown, or a row of one."""
        found = _ALONE.match(normalise(line))
        return found is not None and (self._find(chat, now) is not None or match(line[found.end() :]) is not None)

    def resolve(
        self, chat: str, line: str, own: CommandMatch | None, now: float, match: Match
    ) -> CommandMatch | NoSuchChoice | None:
        """Find the command that a line means, with the list's own words in place of a number.

        `own` is what it means by itself, where it is a command; that it stays where no list is meant.
        """
        choices = self._find(chat, now)
        if own is not None:
            return (choices and _resolve_first(own, choices, match)) or own
        found = _ALONE.match(normalise(line))
        if found is None:
            return None
        rest = line[found.end() :]
        copied = match(rest) if rest else None
        if copied is not None or choices is None or not choices.command:
            return copied
        entry = _entry(choices, found)
        if entry is None:
            return NoSuchChoice(int(found[1]), len(choices.entries))
        return match(f"{choices.command} {entry} {rest}")

    def _find(self, chat: str, now: float) -> Choices | None:
        at, choices = self._choices.get(chat, (0.0, None))
        return choices if choices and now - at < CHOICES_SECONDS else None

    def note_answer(self, chat: str, match: CommandMatch, bodies: Sequence[Body], now: float) -> None:
        """Remember an answer that has pictures."""
        if any(isinstance(body, Picture) for body in bodies):
            self._answers[chat, _key(match)] = now, bodies

    def find_answer(self, chat: str, match: CommandMatch, now: float) -> Sequence[Body]:
        """Find the answer with pictures that the same command was just given in a chat; none where there is none."""
        at, bodies = self._answers.get((chat, _key(match)), (0.0, ()))
        return bodies if bodies and now - at < PICTURES_SECONDS else ()


def _resolve_first(own: CommandMatch, choices: Choices, match: Match) -> CommandMatch | None:
    """Put a list's entry in place of the number that a command's text begins with; None where that is none."""
    found = _FIRST.match(own.text) if own.kind.name in (choices.command, *choices.also) else None
    entry = _entry(choices, found) if found else None
    return match(f"{own.kind.name} {entry} {own.text[found.end() :]}") if found and entry else None


def _entry(choices: Choices, found: re.Match[str]) -> str | None:
    number = int(found[1])
    return choices.entries[number - 1] if 1 <= number <= len(choices.entries) else None


def _key(match: CommandMatch) -> str:
    return f"{match.kind.name} {' '.join(match.text.split())}"
