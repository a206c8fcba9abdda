"""The table of commands: which one a line means, what is similar, and what `help`, `whoami` and `here` say."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from wxbridge.bot.command import Command, CommandKind, QuotedWord
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.text.i18n import Language, say, say_list
from wxbridge.core.text.normalise import fold, normalise

CHINESE = re.compile(r"[\u3400-\u9fff]")
_ENDS = r"(?:\s+|$|[:,;、]\s*|[?!.。…~]+(?:\s+|$))"
"""What ends a command's word."""
_CHINESE_PUNCTUATION = re.compile(r"(?<=[\u3400-\u9fff])[，！？；：（）]+(?=[\u3400-\u9fff])")
"""Signs within Chinese prose."""
_DOUBLE, _SINGLE = "“”„‟〝〞″", "‘’‚‛′"
"""The typographic quotes that keyboards and phones put in place of plain ones."""
_OPENING = {'"': '"', "'": "'"} | dict.fromkeys(_DOUBLE, _DOUBLE) | dict.fromkeys(_SINGLE, _SINGLE)
_PLAIN_QUOTES = str.maketrans(dict.fromkeys(_DOUBLE, '"') | dict.fromkeys(_SINGLE, "'"))
_MIN_SIMILARITY = 0.7
"""How much alike a word must be to be suggested, from 0 to 1."""
_MAX_SUGGESTIONS = 2
_MAX_SHOWN_CHARS = 30
"""Of a word that is no command."""

COMMANDS_ANYWHERE = ("whoami", "here")
"""Those that tell what to write into jobs.yaml: the master may use them also where no target is yet."""


@dataclass(frozen=True)
class CommandMatch:
    """The command that a line means, and what stands behind its word, in plain signs."""

    kind: CommandKind
    text: str
    words: tuple[str, ...]


def write_plainly(text: str) -> str:
    """Write typographic quotes, full-width letters and signs, and every blank as plain ones; the length stays.

    What stands in quotes stays as it is, and so do the signs between Chinese words.
    """
    simple = _simplify(text)
    pieces, at = [], 0
    for start, end in _find_quotes(text, simple):
        quoted = text[start : end + 1]
        marks = (quoted[0].translate(_PLAIN_QUOTES), quoted[-1].translate(_PLAIN_QUOTES))
        if marks[0] == marks[1] and marks[0] not in quoted[1:-1].replace(f"\\{marks[0]}", ""):
            quoted = f"{marks[0]}{quoted[1:-1]}{marks[1]}"
        pieces += ["".join(simple[at:start]).translate(_PLAIN_QUOTES), quoted]
        at = end + 1
    return "".join(pieces) + "".join(simple[at:]).translate(_PLAIN_QUOTES)


def split_words(text: str) -> tuple[str, ...]:
    """Cut a text at blanks. What stands in quotes is one word, without them; a quote that never ends is a letter.

    Outside quotes full-width letters, digits and signs become ASCII, but for the signs between Chinese words. A word
    whose end stands in quotes is a `QuotedWord`.
    """
    simple = _simplify(text)
    words: list[str] = []
    word: str | None = None
    quoted_from: int | None = None
    at = 0

    def end_word() -> None:
        if word is not None:
            words.append(word if quoted_from is None else QuotedWord(word, quoted_from))

    def add_plain(letters: str) -> None:
        nonlocal word, quoted_from
        for letter in letters.translate(_PLAIN_QUOTES):
            if letter.isspace():
                end_word()
                word = None
            else:
                word = (word or "") + letter
            quoted_from = None

    for start, end in _find_quotes(text, simple):
        add_plain("".join(simple[at:start]))
        word = word or ""
        quoted_from = len(word)
        word += re.sub(r'\\(["\'\\])', r"\1", text[start + 1 : end])
        at = end + 1
    add_plain("".join(simple[at:]))
    end_word()
    return tuple(words)


def _simplify(text: str) -> list[str]:
    simple = list(normalise(text))
    for kept in _CHINESE_PUNCTUATION.finditer(text):
        simple[kept.start() : kept.end()] = text[kept.start() : kept.end()]
    return simple


def _find_quotes(text: str, simple: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Find where quotes begin and end, none within another."""
    never: set[str] = set()
    at = 0
    while at < len(text):
        end = _find_end_of_quote(text, simple, at, never)
        if end is not None:
            yield at, end
            at = end
        at += 1


def _find_end_of_quote(text: str, simple: Sequence[str], at: int, never: set[str]) -> int | None:
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


class CommandTable:
    """The commands by their words. Build one from a list; `help`, `whoami` and `here` are added.

    Raises:
        ValueError: two commands have a name or a word in common.
    """

    def __init__(self, kinds: Iterable[CommandKind], *, prefix: str = "") -> None:
        self._prefix = prefix
        own = {"help": self._help, "whoami": _whoami, "here": _here}
        self.kinds = (*kinds, *(CommandKind.from_catalogue(name, run) for name, run in own.items()))
        self._by_word: dict[str, CommandKind] = {}
        for kind in self.kinds:
            for word in dict.fromkeys(map(fold, (kind.name, *kind.words))):
                if not word or word in self._by_word:
                    other = self._by_word[word].name if word else "…"
                    raise ValueError(f"the command {kind.name!r} has the word {word!r}, and so has {other!r}")
                self._by_word[word] = kind

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Finds a command's word at the beginning of a line; it takes a hundredth of a second to compile."""
        longest_first = sorted(self._by_word, key=len, reverse=True)
        # Chinese words stand beside what follows without a blank: 图kafka.
        return re.compile("|".join(_pattern(word) for word in longest_first), re.IGNORECASE)

    def match(self, line: str) -> CommandMatch | None:
        """Find the command that a line begins with, by its longest word; None where there is none."""
        text = normalise(line)
        found = self._pattern.match(text, len(text) - len(text.lstrip()))
        if found is None:
            return None
        kind = self._by_word[fold(next(group for group in found.groups() if group is not None))]
        rest = write_plainly(line[found.end() :]).strip()
        return CommandMatch(kind, rest, split_words(rest))

    def suggest(self, line: str, roles: frozenset[str] | None = None, *, contained: bool) -> list[str]:
        """Suggest words that somebody may have meant, of the commands that these roles may use (None: of all).

        `contained`: also Chinese words anywhere within the line's first word.
        """
        pieces = fold(line).split()
        words = [word for word, kind in self._by_word.items() if roles is None or kind.is_allowed(roles)]
        found: list[str] = []
        for count in sorted({len(word.split()) for word in words}, reverse=True):
            alike = [word for word in words if len(word.split()) == count]
            head = " ".join(pieces[:count])
            if len(pieces) >= count and head.replace(" ", "").isalpha():
                found += difflib.get_close_matches(head, alike, _MAX_SUGGESTIONS, _MIN_SIMILARITY)
        if contained and pieces:
            found += [word for word in words if CHINESE.search(word) and word in pieces[0]]
        return list(dict.fromkeys(found))[:_MAX_SUGGESTIONS]

    async def _help(self, command: Command) -> str:
        language, roles = command.language, command.sender.roles
        if not command.text:
            usable = [kind for kind in self.kinds if kind.is_allowed(roles)]
            lines = [f"{kind.called(language)} — {kind.summary[language]}" for kind in usable]
            prefix = command.say("bot.help_prefix", prefix=self._prefix) if self._prefix else ""
            room = [command.say("bot.help_room", prefix=prefix)] if command.sender.room_id else []
            return "\n".join([command.say("bot.help_title"), *lines, *room])
        wanted = command.text.removeprefix(self._prefix)
        match = self.match(wanted)
        if match is None:
            raise CannotAnswer(describe_unknown(wanted, self.suggest(wanted, roles, contained=True), language))
        kind = match.kind
        if not kind.is_allowed(roles):
            raise CannotAnswer(kind.refusal(language))
        name = kind.called(language)
        others = [word for word in dict.fromkeys((kind.name, *kind.words)) if word not in name.split(" / ")]
        also = [command.say("bot.help_also", words=say_list(others, language))] if others else []
        return "\n".join([f"{name} — {kind.summary[language]}", kind.usage[language], *also])


def _pattern(word: str) -> str:
    spelled = r"\s+".join(map(re.escape, word.split()))
    glued = r"""[A-Za-z0-9#(\[{"'“‘„]""" if CHINESE.match(word[-1]) else "[“‘„]"
    ends = f"(?:{_ENDS}|(?={glued}))"
    return f"({spelled}){ends}"


def describe_unknown(line: str, suggestions: Sequence[str], language: Language) -> str:
    """Say of a line that it is no command, and what may have been meant."""
    pieces = line.split()
    word = (pieces[0] if pieces else "")[:_MAX_SHOWN_CHARS]
    if not suggestions:
        return say("bot.unknown", language, word=word)
    words = say("bot.or", language).join(f"`{each}`" for each in suggestions)
    return say("bot.near", language, word=word, words=words)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


async def _whoami(command: Command) -> str:
    sender = command.sender
    lines = [
        command.say("bot.whoami", name=sender.name or "?", id=sender.id, channel=sender.channel),
        command.say("bot.roles", roles=say_list(sorted(sender.roles), command.language) or command.say("bot.no_roles")),
        command.say("bot.into_file"),
        f"chat: {{admins: [{_quote(sender.id)}]}}",
    ]
    return "\n".join(lines)


async def _here(command: Command) -> str:
    sender = command.sender
    channel, _, bot = sender.channel.partition(":")
    chat = sender.room_id or sender.id
    if sender.room_id:
        first = command.say("bot.here_room", topic=sender.room_topic or "?", id=chat, channel=sender.channel)
    else:
        first = command.say("bot.here_direct", name=sender.name or "?", id=chat, channel=sender.channel)
    address = f"{'room' if sender.room_id else 'contact'}: {_quote(chat)}"
    if bot:
        address = f"bot: {bot}, chat: {_quote(chat)}, chat_type: {'group' if sender.room_id else 'single'}"
    lines = [
        first,
        command.say("bot.here_target", target=sender.target) if sender.target else command.say("bot.here_none"),
        command.say("bot.into_file"),
        f"targets: {{{sender.target or 'NAME'}: {{channel: {channel}, {address}, commands: true}}}}",
    ]
    return "\n".join(lines)
