"""The table of commands: which one a line means, what is near, and what `help`, `whoami` and `here` say."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wxbridge.bot.command import Answer, CannotAnswer, Command, Permission, Question
from wxbridge.core.model import Text
from wxbridge.core.text.i18n import LANGUAGES, Language, say
from wxbridge.core.text.normalise import fold, normalise

CHINESE = re.compile(r"[\u3400-\u9fff]")
_ENDS = r"(?:\s+|$|[:,;、]\s*|[?!.。…~]+(?:\s+|$))"
"""What ends a command's word."""
_LEFT_AS_IT_IS = re.compile(r"(?<=[\u3400-\u9fff])[，！？；：（）]+(?=[\u3400-\u9fff])")
"""Signs within Chinese prose."""
_OPENING = {'"': '"', "'": "'", "“": "”“", "‘": "’‘"}
_NEAR = 0.7
"""How much alike a word must be to be offered, from 0 to 1."""
_OFFERED = 2


IDS = ("whoami", "here")
"""The commands that tell what to write into jobs.yaml."""


@dataclass(frozen=True)
class Match:
    """The command that a line means, and what stands behind its word."""

    command: Command
    text: str
    words: tuple[str, ...]


def language_of(text: str, usual: Language) -> Language:
    """The language to answer in: that whose script somebody writes in, else the configured one."""
    scripts = {language: say("language.script", language) for language in LANGUAGES}
    return next((each for each, script in scripts.items() if script and re.search(script, text)), usual)


def words_of(text: str) -> tuple[str, ...]:
    """Cut a text at blanks. What stands in quotes is one word, without them; a quote that never ends is a letter.

    Outside quotes full-width letters, digits and signs become ASCII, but for the signs between Chinese words.
    """
    simple = list(normalise(text))
    for kept in _LEFT_AS_IT_IS.finditer(text):
        simple[kept.start() : kept.end()] = text[kept.start() : kept.end()]
    words: list[str] = []
    word: str | None = None
    never: set[str] = set()
    at = 0
    while at < len(text):
        letter = simple[at]
        if letter.isspace():
            words += [] if word is None else [word]
            word = None
        elif (end := _end_of_quote(text, simple, at, never)) is not None:
            word = (word or "") + re.sub(r'\\(["\'\\])', r"\1", text[at + 1 : end])
            at = end
        else:
            word = (word or "") + letter
        at += 1
    return (*words, word) if word is not None else tuple(words)


def _end_of_quote(text: str, simple: Sequence[str], at: int, never: set[str]) -> int | None:
    """Where a quote that begins here ends; None where none does, as within `don't`.

    `never` keeps the quotes that do not end any more: a text of nothing but quotes is not read once for each of them.
    """
    closing = _OPENING.get(simple[at])
    if closing is None or (at and not (simple[at - 1].isspace() or simple[at - 1] in "=~:!([{,，（")):
        return None
    if closing in never:
        return None
    for end in range(at + 1, len(text)):
        if simple[end] in closing and text[end - 1] != "\\":
            behind = simple[end + 1] if end + 1 < len(text) else " "
            if closing != "'" or not behind.isalnum():
                return end
    never.add(closing)
    return None


class Table:
    """The commands by their words. Build one from a list; `help`, `whoami` and `here` are added.

    Raises:
        ValueError: two commands have a name or a word in common.
    """

    def __init__(self, commands: Iterable[Command], *, prefix: str = "") -> None:
        self._prefix = prefix
        self.commands: tuple[Command, ...] = (*commands, *self._own())
        self._by_word: dict[str, Command] = {}
        for command in self.commands:
            for word in dict.fromkeys(map(fold, (command.name, *command.words))):
                if not word or word in self._by_word:
                    other = self._by_word[word].name if word else "…"
                    raise ValueError(f"the command {command.name!r} has the word {word!r}, and so has {other!r}")
                self._by_word[word] = command
        longest_first = sorted(self._by_word, key=len, reverse=True)
        # Chinese words stand beside what follows without a blank: 图kafka.
        self._words = re.compile("|".join(_pattern(word) for word in longest_first), re.IGNORECASE)

    def match(self, line: str) -> Match | None:
        """Find the command that a line begins with, by its longest word; None where there is none."""
        text = normalise(line)
        start = len(text) - len(text.lstrip())
        found = self._words.match(text, start)
        if found is None:
            return None
        command = self._by_word[fold(next(group for group in found.groups() if group is not None))]
        rest = line[found.end() :].strip()
        return Match(command, rest, words_of(rest))

    def near(self, line: str, may_use: Callable[[Command], bool], *, contained: bool) -> list[str]:
        """Words that somebody may have meant; `contained`: also Chinese words anywhere within the line's first word."""
        pieces = fold(line).split()
        words = [word for word, command in self._by_word.items() if may_use(command)]
        found: list[str] = []
        for count in sorted({len(word.split()) for word in words}, reverse=True):
            alike = [word for word in words if len(word.split()) == count]
            head = " ".join(pieces[:count])
            if len(pieces) >= count and head.replace(" ", "").isalpha():
                found += difflib.get_close_matches(head, alike, _OFFERED, _NEAR)
        if contained and pieces:
            found += [word for word in words if CHINESE.search(word) and word in pieces[0]]
        return list(dict.fromkeys(found))[:_OFFERED]

    # What every table has

    def _own(self) -> tuple[Command, ...]:
        return (
            Command.from_catalogue("help", self._help),
            Command.from_catalogue("whoami", _whoami),
            Command.from_catalogue("here", _here),
        )

    async def _help(self, question: Question) -> Sequence[Answer]:
        language, asker = question.language, question.asker
        usable = [command for command in self.commands if allowed(command, asker.roles)]
        if not question.text:
            lines = [f"{shown(command, language)} — {command.summary[language]}" for command in usable]
            prefix = say("bot.help_prefix", language, prefix=self._prefix) if self._prefix else ""
            room = [say("bot.help_room", language, prefix=prefix)] if asker.room_id else []
            return [Text("\n".join([say("bot.help_title", language), *lines, *room]))]
        wanted = question.text.removeprefix(self._prefix)
        match = self.match(wanted)
        if match is None:
            raise CannotAnswer(unknown(wanted, self.near(wanted, usable.__contains__, contained=True), language))
        command = match.command
        if not allowed(command, asker.roles):
            raise CannotAnswer(refusal(command, language))
        name = shown(command, language)
        others = [word for word in dict.fromkeys((command.name, *command.words)) if word not in name.split(" / ")]
        also = [say("bot.help_also", language, words=", ".join(others))] if others else []
        return [Text("\n".join([f"{name} — {command.summary[language]}", command.usage[language], *also]))]


def _pattern(word: str) -> str:
    spelled = r"\s+".join(map(re.escape, word.split()))
    ends = f"(?:{_ENDS}|(?=[A-Za-z0-9]))" if CHINESE.match(word[-1]) else _ENDS
    return f"({spelled}){ends}"


def shown(command: Command, language: Language) -> str:
    """How a command is called in a language: `alerts`, or `告警 / alerts`."""
    script = say("language.script", language)
    own = next((word for word in command.words if script and re.search(script, word)), None)
    return f"{own} / {command.name}" if own else command.name


def allowed(command: Command, roles: frozenset[str]) -> bool:
    """Whether somebody with these roles may use a command."""
    return command.permission is Permission.EVERYONE or bool(roles & {"master", command.permission.value})


def refusal(command: Command, language: Language) -> str:
    """Why somebody may not use a command."""
    return say(f"bot.refused_{command.permission.value}", language, name=shown(command, language))


def unknown(line: str, near: Sequence[str], language: Language) -> str:
    """What to say of a line that is no command."""
    pieces = line.split()
    word = (pieces[0] if pieces else "")[:30]
    if not near:
        return say("bot.unknown", language, word=word)
    words = say("bot.or", language).join(f"`{each}`" for each in near)
    return say("bot.near", language, word=word, words=words)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


async def _whoami(question: Question) -> Sequence[Answer]:
    asker, language = question.asker, question.language
    roles = ", ".join(sorted(asker.roles)) or say("bot.no_roles", language)
    lines = [
        say("bot.whoami", language, name=asker.sender_name or "?", id=asker.sender_id, channel=asker.channel),
        say("bot.roles", language, roles=roles),
        say("bot.into_file", language),
        f"chat: {{admins: [{_quoted(asker.sender_id)}]}}",
    ]
    return [Text("\n".join(lines))]


async def _here(question: Question) -> Sequence[Answer]:
    asker, language = question.asker, question.language
    channel, _, bot = asker.channel.partition(":")
    if asker.room_id:
        first = say("bot.here_room", language, topic=asker.room_topic or "?", id=asker.room_id, channel=asker.channel)
        address = f"room: {_quoted(asker.room_id)}"
    else:
        first = say(
            "bot.here_direct", language, name=asker.sender_name or "?", id=asker.sender_id, channel=asker.channel
        )
        address = f"contact: {_quoted(asker.sender_id)}"
    if bot:
        kind = "group" if asker.room_id else "single"
        address = f"bot: {bot}, chat: {_quoted(asker.room_id or asker.sender_id)}, chat_type: {kind}"
    lines = [
        first,
        say("bot.here_target", language, target=asker.target) if asker.target else say("bot.here_none", language),
        say("bot.into_file", language),
        f"targets: {{{asker.target or 'NAME'}: {{channel: {channel}, {address}, commands: true}}}}",
    ]
    return [Text("\n".join(lines))]
