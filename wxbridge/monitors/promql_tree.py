"""PromQL text → a tree whose every node knows where it stands in the text, so that the text itself can be edited.

Follows Prometheus's `promql/parser/generated_parser.y` and `lex.go`; what only a dialect knows (MetricsQL's `WITH`,
`limit`, `keep_metric_names`) is not understood. Types of arguments are not checked: a server has taken the rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

MAX_LENGTH = 20_000
"""Characters. Longer expressions are not looked into."""
MAX_DEPTH = 60
"""How deep parentheses, signs and chains of operators may go: everything here recurses."""

AGGREGATIONS = frozenset((
    "avg", "bottomk", "count", "count_values", "group", "limitk", "limit_ratio", "max", "min", "quantile", "stddev",
    "stdvar", "sum", "topk",
))  # fmt: skip
SCALARS = frozenset(("end", "pi", "range", "scalar", "start", "step", "time"))
"""The functions that give a number, not series."""
COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">="))
SETS = frozenset(("and", "or", "unless"))
_LEVELS = {
    "or": 1, "and": 2, "unless": 2, **dict.fromkeys(COMPARISONS, 3), "+": 4, "-": 4,
    "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_MATCHERS = frozenset(("=", "!=", "=~", "!~"))

_UNIT = r"(?:ms|[smhdwy])"
_TOKEN = re.compile(
    rf"""
    (?P<blank>(?:\s|\#[^\n]*)+)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
  | (?P<duration>(?:\d+{_UNIT})+(?![\w:.]))
  | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d[\d_]*+\.?\d*+|\.\d++)(?:[eE][+-]?\d+)?)(?![\w:.]))
  | (?P<name>[a-zA-Z_:][\w:]*)
  | (?P<range>\[[^\[\]"'`{{}}\#]*\])
  | (?P<op>==|!=|=~|!~|<=|>=|[-+*/%^<>=@(){{}},])
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
_ESCAPES = dict(zip("abfnrtv\\\"'", "\a\b\f\n\r\t\v\\\"'", strict=True))
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


class NotUnderstood(ValueError):
    """The text is no PromQL that is known here; the message says at which character, counted from 0."""


@dataclass(frozen=True)
class Token:
    """A word of an expression and where it stands. `kind`: string, duration, number, name, range, op, or end."""

    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Node:
    """A part of an expression: the characters from `start` to `end`."""

    start: int
    end: int

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        return ()


@dataclass(frozen=True)
class Number(Node):
    """A number or a duration, which is a number of seconds."""

    value: float


@dataclass(frozen=True)
class String(Node):
    """A string literal; `value` is None where its escapes cannot be read."""

    value: str | None


@dataclass(frozen=True)
class Matcher:
    """`name op "value"` within braces."""

    name: str
    op: str
    value: str | None


@dataclass(frozen=True)
class Selector(Node):
    """A vector selector, or a matrix selector where it has a range."""

    name: str
    """The metric; empty where it is not told by one name."""
    matchers: tuple[Matcher, ...]
    at: int
    """Where another matcher can be put in."""
    glue: tuple[str, str]
    """What has to stand before and after it there."""
    closed: bool = False
    """Whether its matchers are alternatives (`or`), so that one more would mean something else."""
    range: tuple[int, int] | None = None
    """Where its `[5m]` stands."""


@dataclass(frozen=True)
class Paren(Node):
    """An expression in parentheses."""

    expr: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        return (self.expr,)


@dataclass(frozen=True)
class Sign(Node):
    """An expression with a sign before it."""

    op: str
    expr: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        return (self.expr,)


@dataclass(frozen=True)
class Subquery(Node):
    """`expr[range:step]`."""

    expr: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        return (self.expr,)


@dataclass(frozen=True)
class Call(Node):
    """A call of a function."""

    name: str
    args: tuple[Node, ...]

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        return self.args


@dataclass(frozen=True)
class Aggregate(Node):
    """`sum by (labels) (expr)`; where neither `by` nor `without` is written, it is by nothing."""

    op: str
    args: tuple[Node, ...]
    labels: frozenset[str]
    without: bool

    @property
    def expr(self) -> Node:
        """What is aggregated; before it stands the parameter of `topk` and its like."""
        return self.args[-1]

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        return self.args


@dataclass(frozen=True)
class Binary(Node):
    """`left op right` with its modifiers."""

    op: str
    left: Node
    right: Node
    returns_bool: bool = False
    on: frozenset[str] | None = None
    ignoring: frozenset[str] = frozenset()
    group: str | None = None
    """`left` or `right`: the side with many series for one of the other."""
    carried: frozenset[str] = frozenset()
    """The labels that `group_left(…)` brings over from the side with one series."""
    fills: bool = False
    """Whether missing partners are filled in."""

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes directly below."""
        return (self.left, self.right)


def tokens(text: str) -> Iterator[Token]:
    """Take an expression apart, less blanks and comments.

    Raises:
        NotUnderstood: a character that no token begins with.
    """
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotUnderstood(f"{text[position : position + 10]!r} at character {position} is no PromQL")
        if match.lastgroup != "blank":
            yield Token(str(match.lastgroup), match[0], position, match.end())
        position = match.end()


def parse(text: str) -> Node:
    """Make a tree of an expression.

    Raises:
        NotUnderstood: it is not PromQL as known here, or too long or too deep to be looked into.
    """
    if len(text) > MAX_LENGTH:
        raise NotUnderstood(f"it is longer than {MAX_LENGTH} characters")
    return _Parser(text).whole()


def without_parentheses(node: Node) -> Node:
    """What stands within any parentheses around an expression."""
    while isinstance(node, Paren):
        node = node.expr
    return node


def is_scalar(node: Node) -> bool:
    """Whether an expression gives a number, not series."""
    if isinstance(node, Binary):
        return is_scalar(node.left) and is_scalar(node.right)
    if isinstance(node, Paren | Sign):
        return is_scalar(node.expr)
    return isinstance(node, Number) or (isinstance(node, Call) and node.name in SCALARS)


def constant(node: Node) -> float | None:
    """The value of an expression that needs no series: `3 * 1024 ^ 3`, `vector(1)`; None for all others."""
    match node:
        case Number():
            return node.value
        case Paren() | Sign():
            value = constant(node.expr)
            return -value if value is not None and isinstance(node, Sign) and node.op == "-" else value
        case Call(name="vector", args=(only,)):
            return constant(only)
        case Call(name="pi"):
            return math.pi
        case Binary(op=op) if op not in COMPARISONS | SETS:
            left, right = constant(node.left), constant(node.right)
            return None if left is None or right is None else _computed(op, left, right)
    return None


def _computed(op: str, left: float, right: float) -> float:
    try:
        value = {
            "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right,
            "/": lambda: left / right, "%": lambda: math.fmod(left, right), "^": lambda: math.pow(left, right),
            "atan2": lambda: math.atan2(left, right),
        }[op]()  # fmt: skip
    except (ArithmeticError, ValueError):
        return math.nan
    return float(value)


class _Parser:
    """Recursive descent over tokens; operators by climbing their levels."""

    def __init__(self, text: str) -> None:
        self._tokens = [*tokens(text), Token("end", "", len(text), len(text))]
        self._place = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._expression(0)
        if self._now.kind != "end":
            raise self._stuck()
        return node

    # ------------------------------------------------------------ tokens

    @property
    def _now(self) -> Token:
        return self._tokens[self._place]

    @property
    def _next(self) -> Token:
        return self._tokens[min(self._place + 1, len(self._tokens) - 1)]

    @property
    def _end(self) -> int:
        return self._tokens[self._place - 1].end

    def _stuck(self) -> NotUnderstood:
        token = self._now
        what = repr(token.text[:20]) if token.text else "the end"
        return NotUnderstood(f"{what} was not expected at character {token.start}")

    def _take(self) -> Token:
        token = self._now
        self._place += 1
        return token

    def _is(self, *words: str) -> bool:
        return self._now.kind in ("op", "name") and self._now.text.lower() in words

    def _skip(self, *words: str) -> bool:
        found = self._is(*words)
        self._place += found
        return found

    def _need(self, word: str) -> None:
        if not self._skip(word):
            raise self._stuck()

    # ------------------------------------------------------------ expressions

    def _expression(self, level: int) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotUnderstood(f"it is nested more than {MAX_DEPTH} deep")
        before = self._depth
        node = self._signed()
        while (own := _LEVELS.get(self._now.text.lower(), 0)) > level and self._now.kind in ("op", "name"):
            self._depth += 1  # a chain of operators leans to the left, as deep as it is long
            node = self._binary(node, self._take().text.lower(), own)
        self._depth = before - 1
        return node

    def _binary(self, left: Node, op: str, level: int) -> Node:
        returns_bool = self._skip("bool")
        on: frozenset[str] | None = None
        ignoring: frozenset[str] = frozenset()
        carried: frozenset[str] = frozenset()
        group = None
        if self._next.text == "(" and self._is("on", "ignoring"):
            if self._take().text.lower() == "on":
                on = self._labels()
            else:
                ignoring = self._labels()
            if self._is("group_left", "group_right"):
                group = self._take().text.lower().removeprefix("group_")
                carried = self._labels() if self._is("(") else carried
        fills = False
        while self._next.text == "(" and self._is("fill", "fill_left", "fill_right"):
            fills = bool(self._take())
            self._need("(")
            self._expression(0)
            self._need(")")
        right = self._expression(level - 1 if op == "^" else level)
        return Binary(left.start, right.end, op, left, right, returns_bool, on, ignoring, group, carried, fills)

    def _signed(self) -> Node:
        if not self._is("+", "-"):
            return self._followed(self._primary())
        sign = self._take()
        expr = self._expression(_LEVELS["*"])  # -a ^ b is -(a ^ b), and -a * b is (-a) * b
        return Sign(sign.start, expr.end, sign.text, expr)

    def _primary(self) -> Node:
        token = self._now
        if token.kind in ("number", "duration"):
            self._take()
            return Number(token.start, token.end, _number(token))
        if token.kind == "string":
            self._take()
            return String(token.start, token.end, _string(token.text))
        if self._skip("("):
            expr = self._expression(0)
            self._need(")")
            return Paren(token.start, self._end, expr)
        if self._is("{"):
            return self._selector(token)
        if token.kind == "name":
            return self._named(self._take())
        raise self._stuck()

    def _named(self, name: Token) -> Node:
        word = name.text.lower()
        if self._is("(") and word not in AGGREGATIONS:
            args = self._arguments()
            return Call(name.start, self._end, name.text, args)
        if word in AGGREGATIONS and (self._is("(") or (self._is("by", "without") and self._next.text == "(")):
            return self._aggregate(name)
        if word in ("inf", "nan"):
            return Number(name.start, name.end, float(word))
        return self._selector(name)

    def _aggregate(self, name: Token) -> Node:
        grouping = self._take().text.lower() if self._is("by", "without") else ""
        labels = self._labels() if grouping else frozenset[str]()
        args = self._arguments()
        if not args:
            raise self._stuck()
        if not grouping and self._is("by", "without"):
            grouping, labels = self._take().text.lower(), self._labels()
        return Aggregate(name.start, self._end, name.text.lower(), args, labels, grouping == "without")

    def _arguments(self) -> tuple[Node, ...]:
        self._need("(")
        args = []
        while not self._skip(")"):
            args.append(self._expression(0))
            if not self._is(")"):
                self._need(",")
                if self._is(")"):
                    raise self._stuck()
        return tuple(args)

    def _labels(self) -> frozenset[str]:
        self._need("(")
        labels = set()
        while not self._skip(")"):
            token = self._take()
            name = _string(token.text) if token.kind == "string" else token.text
            if token.kind not in ("name", "string") or name is None:
                raise NotUnderstood(f"{token.text[:20]!r} at character {token.start} is no label")
            labels.add(name)
            if not self._is(")"):
                self._need(",")
        return frozenset(labels)

    # ------------------------------------------------------------ selectors

    def _selector(self, first: Token) -> Node:
        if first.kind == "name" and not self._is("{"):
            return Selector(first.start, first.end, first.text, (), first.end, ("{", "}"))
        self._need("{")
        matchers: list[Matcher] = []
        closed = False
        while not self._is("}"):
            matchers.append(self._matcher())
            if self._is("or"):
                closed = bool(self._take())
            elif not self._is("}"):
                self._need(",")
        last = self._tokens[self._place - 1]
        self._need("}")
        glue = ("" if last.text == "{" else " " if last.text == "," else ", ", "")
        named = [each.value for each in matchers if each.name == "__name__" and each.op == "="]
        name = first.text if first.kind == "name" else (named[0] if named else None) or ""
        return Selector(first.start, self._end, name, tuple(matchers), last.end, glue, closed)

    def _matcher(self) -> Matcher:
        token = self._take()
        if token.kind == "string" and self._is(",", "}"):
            return Matcher("__name__", "=", _string(token.text))
        name = _string(token.text) if token.kind == "string" else token.text
        if token.kind not in ("name", "string") or name is None or self._now.text not in _MATCHERS:
            raise NotUnderstood(f"{token.text[:20]!r} at character {token.start} is no matcher")
        op = self._take().text
        if self._now.kind != "string":
            raise self._stuck()
        return Matcher(name, op, _string(self._take().text))

    def _followed(self, node: Node) -> Node:
        """Take the range, the `offset` and the `@` behind an expression into it."""
        while True:
            if self._now.kind == "range":
                node = self._ranged(node, self._take())
            elif self._is("offset", "@"):
                at = self._take().text == "@"
                self._skip("-", "+")
                if at and self._is("start", "end"):
                    self._take()
                    self._need("(")
                    self._need(")")
                elif self._now.kind in ("number", "duration"):
                    self._take()
                else:
                    raise self._stuck()
                node = _stretched(node, self._end)
            else:
                return node

    def _ranged(self, node: Node, token: Token) -> Node:
        ranged = isinstance(node, Subquery) or (isinstance(node, Selector) and node.range is not None)
        if ":" in token.text and not ranged:
            return Subquery(node.start, token.end, node)
        if ranged or not isinstance(node, Selector) or not token.text[1:-1].strip():
            raise NotUnderstood(f"{token.text[:20]!r} at character {token.start} is no range")
        return replace(node, end=token.end, range=(token.start, token.end))


def _stretched(node: Node, end: int) -> Node:
    if isinstance(node, Selector | Subquery):
        return replace(node, end=end)
    raise NotUnderstood(f"`offset` or `@` before character {end} does not follow a selector")


def _number(token: Token) -> float:
    text = token.text.lower()
    if token.kind == "duration":
        return sum(int(count) * _SECONDS[unit] for count, unit in re.findall(rf"(\d+)({_UNIT})", text))
    return float(int(text, 16)) if text.startswith("0x") else float(text.replace("_", ""))


def _string(text: str) -> str | None:
    """What a literal means; None where it holds bytes by number, which may be half a character."""
    if text[0] == "`":
        return text[1:-1]
    try:
        return _ESCAPE.sub(lambda match: _unescaped(match[1]), text[1:-1])
    except ValueError:
        return None


def _unescaped(escape: str) -> str:
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    if escape[0] not in "uU":
        raise ValueError(escape)
    return chr(int(escape[1:], 16))
