r"""Regular expressions that a stranger wrote: those that could take Python's `re` for ever are refused.

Python tries one way of matching after another and lets nobody else run meanwhile, in whatever thread: a deadline does
not help. So the ways are counted before: `(a|b)+c` has 2^n of them in a text of n characters, `.*a.*b` n². What has
too many is refused, in doubt also what is harmless; it can be written otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from wxbridge.alerts.routing import Matcher

LONGEST = 300
"""Characters of an expression."""
MOST_WAYS = 1_000_000
"""Two repetitions without an end, and a little."""
_WIDE = 256
"""What stands for any number of repetitions: few labels are longer."""
_FIVE_DIGITS = 5
_FEW = 8
_ATOM = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.)|\[\^?\]?(?:\\.|[^\]\\])*\]|[^()|]", re.DOTALL)
_REPEAT = re.compile(r"(?:([*+?])|\{(\d*)(?:(,)(\d*))?\})[?+]?")


def checked(matchers: Iterable[Matcher]) -> tuple[Matcher, ...]:
    """Matchers that are quick to ask.

    Raises:
        ValueError: one of them need not be; the text says what to write instead.
    """
    found = tuple(matchers)
    for each in found:
        if each.operator in ("=~", "!~"):
            problem = trouble(each.value)
            if problem:
                raise ValueError(f"{each}: {problem}")
    return found


def trouble(pattern: str) -> str | None:
    """Why an expression (one that `re` takes) is refused; None where it is quick for every text of usual length."""
    if len(pattern) > LONGEST:
        return f"an expression may have {LONGEST} characters"
    try:
        ways = _ways(pattern.removeprefix("(?i)"))
    except ValueError as error:
        return str(error)
    return None if ways <= MOST_WAYS else "too many * and +; two are enough, else write {1,3} or names with | between"


@dataclass
class _Group:
    """The ways of a group so far: of the alternative that is being read, and of those before."""

    here: int = 1
    before: int = 0

    @property
    def ways(self) -> int:
        return self.before + self.here


def _ways(pattern: str) -> int:
    """In how many ways an expression may match some text, at most. Raises `ValueError` where that cannot be told."""
    at, groups = 0, [_Group()]
    while at < len(pattern):
        ways, start = 1, at
        if pattern[at] == "(":
            groups.append(_Group())
            at = _opened(pattern, at)
            continue
        if pattern[at] == "|":
            groups[-1] = _Group(before=groups[-1].ways)
            at += 1
            continue
        if pattern[at] == ")" and len(groups) > 1:
            ways, at = groups.pop().ways, at + 1
        else:
            at = _read(pattern, at)
        repeat = _REPEAT.match(pattern, at)
        if repeat:
            at = repeat.end()
            # It is asked whether all of a text matches: `.*` at the end takes the rest, whatever it is.
            ways = 1 if pattern[start:] in (".*", ".+") else _repeated(repeat, ways)
        # More than too many is as good as any number, which could be a very long one.
        groups[-1].here = min(groups[-1].here * ways, MOST_WAYS + 1)
    return groups[0].ways


def _opened(pattern: str, at: int) -> int:
    """The place behind the beginning of a group."""
    if not pattern.startswith("(?", at):
        return at + 1
    if not pattern.startswith("(?:", at):
        raise ValueError("of (?…) only (?:…) is taken, and (?i) at the beginning")
    return at + 3


def _read(pattern: str, at: int) -> int:
    """The place behind a character, an escape or a set."""
    atom = _ATOM.match(pattern, at)
    if atom is None:
        raise ValueError("it cannot be read")
    if re.fullmatch(r"\\[1-9]", atom[0]):
        raise ValueError("what a group has matched cannot be asked for again")
    return atom.end()


def _repeated(repeat: re.Match[str], ways: int) -> int:
    if repeat[1]:
        low, high = {"*": (0, _WIDE), "+": (1, _WIDE), "?": (0, 1)}[repeat[1]]
    else:
        if max(len(repeat[2]), len(repeat[4] or "")) >= _FIVE_DIGITS:
            raise ValueError("a repetition may be of a thousand times")
        low = int(repeat[2] or 0)
        high = (int(repeat[4]) if repeat[4] else _WIDE) if repeat[3] else low
    if ways > 1 and high > _FEW:
        raise ValueError("what is repeated may itself match in several ways; take the inner *, +, ? or | out")
    return (high - low + 1) * ways**high if ways > 1 else high - low + 1
