"""PromQL expressions: parsed by the library `promql-parser`, asked for what a chart needs, and written again.

String literals are taken out before parsing and put back in writing: what a rule matches comes out as it was written,
and no regular expression is compiled (which holds the parser up for minutes where one is made for that).
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import promql_parser
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatchOp,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    ValueType,
    VectorSelector,
)

MAX_EXPRESSION_CHARS = 20_000
MAX_EXPRESSION_PARTS = 150
"""Operators, parentheses and ranges of one expression: the parser's time and memory grow with their square or worse."""
COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">="))

_LITERAL = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`|#[^\n]*')
_PLACEHOLDER = re.compile(r'"\$(\d+)\$"')
_TOLD_PLACEHOLDER = re.compile(r"""(["']?)\$\d+\$\1""")
_PART = re.compile(r"[-+*/%^<>(\[]|[=!]=|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_BLANKS_AT_BRACKETS = re.compile(r"(?<=[(\[])\s+|\s+(?=[)\]])")
_OPENING = {")": "(", "]": "[", "}": "{"}
_ARITHMETIC = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "%": math.fmod, "^": math.pow,
    "atan2": math.atan2,
}  # fmt: skip


class InvalidPromQL(ValueError):
    """The text is no PromQL that the parser knows; the message says why, and where brackets do not match."""


@dataclass(frozen=True)
class ParsedExpression:
    """An expression's tree, and the string literals that are placeholders in it."""

    tree: Expr
    literals: tuple[str, ...]
    """As they were written, quotes included."""

    def write(self, node: Expr) -> str:
        """Write a part of the expression in one line, its string literals as they were written."""
        text = " ".join(_BLANKS_AT_BRACKETS.sub("", node.prettify()).split())
        return _PLACEHOLDER.sub(lambda match: self.literals[int(match[1])], text)

    def resolve(self, name: str) -> str:
        """Get the text that a name or a string in the tree stands for. Escapes in it are left as they are."""
        match = _PLACEHOLDER.fullmatch(f'"{name}"')
        return self.literals[int(match[1])][1:-1] if match else name

    def resolve_all(self, names: Iterable[str]) -> frozenset[str]:
        """Do the same for several names."""
        return frozenset(map(self.resolve, names))

    def metric_of(self, selector: VectorSelector) -> str:
        """Get the name of the metric that a selector asks for; empty where it asks for none by its name."""
        named = (each.value for each in _equalities(selector) if each.name == "__name__")
        return selector.name or self.resolve(next(named, ""))

    def fixed_labels(self, node: Expr) -> frozenset[str]:
        """Get the names of the labels that a selector asks for with `=`; none of another expression."""
        selector = node.vector_selector if isinstance(node, MatrixSelector) else node
        return self.resolve_all(each.name for each in _equalities(selector)) - {"__name__"}

    def metrics(self, node: Expr) -> tuple[str, ...]:
        """Get the names of the metrics in a part, each once, in the text's order."""
        found = (self.metric_of(each) for each in _walk(node) if isinstance(each, VectorSelector))
        return tuple(dict.fromkeys(filter(None, found)))


def parse_expression(text: str) -> ParsedExpression:
    """Parse an expression.

    Raises:
        InvalidPromQL: it is no PromQL (types and numbers of arguments are looked at too), is of a dialect or of a
            newer Prometheus, or is too long or too complex to be looked into.
    """
    if len(text) > MAX_EXPRESSION_CHARS:
        raise InvalidPromQL(f"it is longer than {MAX_EXPRESSION_CHARS} characters")
    literals: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[0].startswith("#"):
            return " "
        literals.append(match[0])
        return f'"${len(literals) - 1}$"'

    bare = _LITERAL.sub(replace, text)
    if len(_PART.findall(bare)) > MAX_EXPRESSION_PARTS:
        raise InvalidPromQL(f"it has more than {MAX_EXPRESSION_PARTS} operators and parentheses")
    try:
        return ParsedExpression(promql_parser.parse(bare), tuple(literals))
    except (ValueError, UnicodeError) as error:
        place = _find_unmatched_bracket(_LITERAL.sub(lambda match: " " * len(match[0]), text))
        where = "" if place is None else f" at character {place}"
        raise InvalidPromQL(f"{_TOLD_PLACEHOLDER.sub('a string', str(error))}{where}") from None


def normalize_expression(text: str) -> str:
    """Write an expression in one way however it is laid out; what cannot be parsed, with single blanks."""
    try:
        parsed = parse_expression(text)
    except InvalidPromQL:
        return " ".join(text.split())
    return parsed.write(parsed.tree)


def remove_strings(text: str) -> str:
    """Take string literals and comments out of a text."""
    return _LITERAL.sub(" ", text)


def strip_parentheses(node: Expr) -> Expr:
    """Take off any parentheses around an expression."""
    while isinstance(node, ParenExpr):
        node = node.expr
    return node


def is_scalar(node: Expr) -> bool:
    """Tell whether an expression gives a number, not series."""
    match node:
        case BinaryExpr():
            return is_scalar(node.lhs) and is_scalar(node.rhs)
        case ParenExpr() | UnaryExpr():
            return is_scalar(node.expr)
        case Call():
            return bool(node.func.return_type == ValueType.Scalar)
    return isinstance(node, NumberLiteral)


def constant_of(node: Expr) -> float | None:
    """Compute an expression that needs no series: `3 * 1024 ^ 3`, `vector(1)`; None for all others."""
    node = strip_parentheses(node)
    match node:
        case NumberLiteral():
            return node.val
        case UnaryExpr():
            value = constant_of(node.expr)
            return None if value is None else -value
        case Call() if node.func.name == "vector":
            return constant_of(node.args[0])
        case Call() if node.func.name == "pi":
            return math.pi
        case BinaryExpr() if str(node.op) in _ARITHMETIC:
            left, right = constant_of(node.lhs), constant_of(node.rhs)
            return None if left is None or right is None else _compute(str(node.op), left, right)
    return None


def children_of(node: Expr) -> tuple[Expr, ...]:
    """Get the nodes directly below, the parameter of an aggregation before what is aggregated."""
    match node:
        case BinaryExpr():
            return node.lhs, node.rhs
        case AggregateExpr():
            return (node.expr,) if node.param is None else (node.param, node.expr)
        case Call():
            return tuple(node.args)
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return (node.expr,)
        case MatrixSelector():
            return (node.vector_selector,)
    return ()


def _walk(node: Expr) -> Iterator[Expr]:
    yield node
    for child in children_of(node):
        yield from _walk(child)


def _equalities(selector: Expr) -> Iterator[promql_parser.Matcher]:
    if isinstance(selector, VectorSelector):
        yield from (each for each in selector.matchers.matchers if each.op == MatchOp.Equal)


def _compute(op: str, left: float, right: float) -> float:
    try:
        return float(_ARITHMETIC[op](left, right))
    except (ArithmeticError, ValueError):
        return math.nan


def _find_unmatched_bracket(text: str) -> int | None:
    opened: list[int] = []
    for place, character in enumerate(text):
        if character in _OPENING.values():
            opened.append(place)
        elif character in _OPENING and (not opened or text[opened.pop()] != _OPENING[character]):
            return place
    return opened[-1] if opened else None
