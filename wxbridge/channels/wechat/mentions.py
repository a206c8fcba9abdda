"""Mentions: finding the bot's name in what others write, and other people's in what the bot writes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wxbridge.channels.wechat.directory import matches

SEPARATOR = "\u2005"
"""The four-per-em space that WeChat puts behind a mention."""


@dataclass(frozen=True)
class Person:
    """A member of a room with all names somebody may use for them; any but the id may be empty."""

    id: str
    alias: str = ""
    handle: str = ""
    room_alias: str = ""
    name: str = ""

    @property
    def shown(self) -> str:
        """The name that the room sees."""
        return self.room_alias or self.name or self.alias or self.id


_KEYS: tuple[Callable[[Person], str], ...] = (
    lambda person: person.id,
    lambda person: person.alias,
    lambda person: person.handle,
    lambda person: person.room_alias,
    lambda person: person.name,
)


def find_person(wanted: str, members: Iterable[Person]) -> Person | None:
    """Find a member by id, alias, WeChat id, name in the room or name; None where none or several fit."""
    found = matches(wanted.removeprefix("@"), members, _KEYS)
    return found[0] if len(found) == 1 else None


_QUOTE = re.compile(r"\s*「.*」[^\S\n]*\n[^\S\n]*(?:[-—–－─][^\S\n]?){5,}[^\S\n]*(?:\n|\Z)", re.DOTALL)
"""What clients and gateways make of a message that answers to another: 「name：what was said」, a line of dashes, and
below it the answer. Greedy: the quoted message may be such a one itself."""


def without_quote(text: str) -> str:
    """Take the quoted message off the front of an answer to it."""
    quote = _QUOTE.match(text)
    return text[quote.end() :] if quote else text


def says_name(text: str, names: Iterable[str]) -> bool:
    """Tell whether a text has `@name`, in large or small letters, followed by white space, a sign or its end.

    An `@` within an e-mail address does not count, unless WeChat's own separator follows the name.
    """
    for name in names:
        if not name:
            continue
        at = f"[@＠]{re.escape(name)}"
        if re.search(rf"{at}{SEPARATOR}|(?<![A-Za-z0-9._+-]){at}(?=[\s,:，：、]|$)", text, re.IGNORECASE):
            return True
    return False


def with_mentions(text: str, shown: Sequence[tuple[str, bool]]) -> str:
    """Put mentions in front of a text, on a line of their own where it has several lines.

    `shown` are names and whether WeChat is told the id: a name alone is followed by a plain space.
    A mention that the text has already is not repeated.
    """
    marks = []
    for name, known in shown:
        mark = f"@{name}{SEPARATOR if known else ' '}"
        if mark not in text and mark not in marks:
            marks.append(mark)
    if not marks:
        return text
    front = "".join(marks)
    return f"{front.rstrip(' ')}\n{text}" if "\n" in text else front + text
