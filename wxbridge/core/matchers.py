"""Conditions on labels, in Alertmanager's words and with its behaviour: `severity="critical"`, `team=~"a|b"`.

Regular expressions are RE2's (https://github.com/google/re2/wiki/Syntax), which take time in proportion to what they
are held against, whoever wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Self

from wxbridge.core.text.normalise import QUOTED, replace_surrogates

Operator = Literal["=", "!=", "=~", "!~"]

_MAX_EXPRESSION_BYTES = 1 << 19
"""Bytes that a compiled expression may take; a larger one would be slow to make and to ask."""
_BARE_NAME = r"[^\s=!~{}\",\\'`]+"
_MATCHER = re.compile(rf"\s*({_BARE_NAME}|\"(?:[^\"\\]|\\.)+\")\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|((?!")(?:[^"\\]|\\.)*\\?)', re.DOTALL)
_LITERAL = r"[\w /@%&,;:<>=\"'-]"
_LITERALS = re.compile(rf"{_LITERAL}+(?:\|{_LITERAL}+)*")
_PREFIX = re.compile(rf"(?:{_LITERAL}(?![*?{{]))*")


@cache
def _options() -> Any:
    import re2

    options = re2.Options()
    options.dot_nl = True
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _MAX_EXPRESSION_BYTES
    return options


class LabelWords(str):
    """A label that goes by several words, of which a matcher may mean any; as a text it is the first."""

    __slots__ = ("words",)
    words: frozenset[str]

    def __new__(cls, text: str, others: Iterable[str] = ()) -> Self:
        """Make a label of its text and the other words for it."""
        made = super().__new__(cls, text)
        made.words = frozenset((text, *others))
        return made


@dataclass(frozen=True)
class Matcher:
    """One condition on a label. A label that is absent counts as empty (Alertmanager, "matchers").

    `str` writes it so that `parse_matcher` reads it.

    Raises:
        ValueError: the regular expression is broken; the text says why.
    """

    name: str
    operator: Operator
    value: str
    choices: frozenset[str] | None = field(init=False, repr=False, compare=False)
    """The values that it speaks of, where they are known without asking the expression."""
    _prefix: str = field(init=False, repr=False, compare=False)
    """What every value begins with that the expression takes."""
    _regex: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        choices, prefix, regex = None, "", None
        if self.operator in ("=", "!="):
            choices = frozenset({self.value})
        elif _LITERALS.fullmatch(self.value):
            choices = frozenset(self.value.split("|"))
        else:
            regex = _compile(self.value)
            prefix = _PREFIX.match(self.value)[0] if "|" not in self.value else ""  # type: ignore[index]
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "_prefix", prefix)
        object.__setattr__(self, "_regex", regex)

    def __str__(self) -> str:
        name = self.name if re.fullmatch(_BARE_NAME, self.name) else _quoted(self.name)
        return f"{name}{self.operator}{_quoted(self.value)}"

    @property
    def is_negative(self) -> bool:
        """Whether it holds for what its value does not say."""
        return self.operator in ("!=", "!~")

    @property
    def is_expression(self) -> bool:
        """Whether its value is a regular expression."""
        return self.operator in ("=~", "!~")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels fulfil it. Regular expressions are anchored at both ends.

        Of a label that goes by several words (`LabelWords`), any of them fulfils `=`, and all must fulfil `!=`.
        """
        label = labels.get(self.name, "")
        found = any(map(self._takes, label.words)) if isinstance(label, LabelWords) else self._takes(label)
        return found is not self.is_negative

    def _takes(self, word: str) -> bool:
        if self.choices is not None:
            return word in self.choices
        return word.startswith(self._prefix) and self._regex.fullmatch(_encoded(word)) is not None


def matches_all(matchers: Sequence[Matcher], labels: Mapping[str, str]) -> bool:
    """Tell whether labels fulfil every matcher; none are fulfilled by everything."""
    return all(matcher.matches(labels) for matcher in matchers)


def _compile(expression: str) -> Any:
    import re2  # where a matcher needs it

    try:
        return re2.compile(_encoded(expression), _options())
    except re2.error as error:
        why = error.args[0]
        why = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise ValueError(f"the regular expression is broken: {why}") from None


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return replace_surrogates(text).encode()


# ---------------------------------------------------------------- reading them


def parse_matcher(text: str) -> Matcher:
    r"""Read one matcher such as `team=~"a|b"`, or with a name in quotes: `"tag name"="x"`.

    Quotes may be left out where a name holds none of Alertmanager's reserved characters. In names and values `\"`,
    `\\` and `\n` are escapes and every other backslash is itself, as in Alertmanager's classic parser, so that
    `host=~"db\d+"` is what it looks like.

    Raises:
        ValueError: it is none, or its regular expression is broken.
    """
    match = _MATCHER.fullmatch(text)
    value = _VALUE.fullmatch(match[3]) if match else None
    if not match or not value:
        raise ValueError(f'{text!r} is no matcher; write one like severity="critical" or team=~"a|b"')
    name = _unescaped(match[1][1:-1]) if match[1].startswith('"') else match[1]
    operator: Operator = match[2]  # type: ignore[assignment]
    try:
        return Matcher(name, operator, _unescaped(value[2] if value[1] is None else value[1]))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None


def parse_matchers(match: Mapping[str, str] | Sequence[str]) -> tuple[Matcher, ...]:
    """Read a route's `match`: a mapping for equality, or a list of matchers. All must hold.

    An entry of the list may hold several, with commas between them and braces around them, as in Alertmanager.

    Raises:
        ValueError: one of them is no matcher.
    """
    if isinstance(match, Mapping):
        return tuple(Matcher(name, "=", value) for name, value in match.items())
    return tuple(parse_matcher(part) for text in match for part in _separated(text))


def _separated(text: str) -> list[str]:
    inner = text.strip()
    braces = inner.startswith("{") and inner.endswith("}")
    if braces:
        inner = inner[1:-1]
    # Alternately what is outside of quotes, where commas separate, and what is inside.
    pieces = QUOTED.split(inner)
    parts = [""]
    for index, piece in enumerate(pieces):
        first, *more = [piece] if index % 2 else piece.split(",")
        parts[-1] += first
        parts += more
    if len(parts) > 1 and not parts[-1].strip():
        parts.pop()
    return [] if braces and not inner.strip() else parts


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _unescaped(text: str) -> str:
    return re.sub(r'\\([n"\\])', lambda match: "\n" if match[1] == "n" else match[1], text)
