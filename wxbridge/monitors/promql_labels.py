"""Which labels the series of a PromQL expression can have. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import or_

from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    LabelModifierType,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorMatchCardinality,
)

from wxbridge.monitors.promql_syntax import ParsedExpression, children_of, is_scalar, strip_parentheses

ABSENT = ("absent", "absent_over_time")
"""Functions that answer where there is nothing."""
_LABEL_MAKING = ("info", "histogram_quantiles")
"""Functions whose series may have any label."""


@dataclass(frozen=True)
class LabelSet:
    """A set of label names: those in `names`, or all but those."""

    names: frozenset[str] = frozenset()
    all_but: bool = False

    def __contains__(self, name: object) -> bool:
        return (name in self.names) != self.all_but

    def __or__(self, other: LabelSet) -> LabelSet:
        if self.all_but and other.all_but:
            return LabelSet(self.names & other.names, all_but=True)
        if self.all_but or other.all_but:
            every, some = (self, other) if self.all_but else (other, self)
            return LabelSet(every.names - some.names, all_but=True)
        return LabelSet(self.names | other.names)

    def __and__(self, other: LabelSet) -> LabelSet:
        return ~(~self | ~other)

    def __invert__(self) -> LabelSet:
        return LabelSet(self.names, all_but=not self.all_but)


ALL_LABELS = LabelSet(all_but=True)
NO_LABELS = LabelSet()


def produced_labels(parsed: ParsedExpression, node: Expr) -> LabelSet:
    """Tell which labels the series of a result can have."""
    match node:
        case NumberLiteral() | StringLiteral():
            return NO_LABELS
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return produced_labels(parsed, node.expr)
        case Call():
            return _produced_by_call(parsed, node)
        case AggregateExpr():
            return _produced_by_aggregation(parsed, node)
        case BinaryExpr():
            return _produced_by_operator(parsed, node)
    return ALL_LABELS


def _produced_by_aggregation(parsed: ParsedExpression, node: AggregateExpr) -> LabelSet:
    within = produced_labels(parsed, node.expr)
    op, modifier = str(node.op), node.modifier
    if op in ("topk", "bottomk", "limitk", "limit_ratio"):
        return within
    made = LabelSet(parsed.resolve_all([node.param.val])) if op == "count_values" and node.param else NO_LABELS
    if modifier is None:
        return made
    own = LabelSet(parsed.resolve_all(modifier.labels), all_but=modifier.type == AggModifierType.Without)
    return (within & own) | made


def _produced_by_call(parsed: ParsedExpression, node: Call) -> LabelSet:
    name = node.func.name
    if is_scalar(node) or name == "vector":
        return NO_LABELS
    if name in _LABEL_MAKING:
        return ALL_LABELS
    if name in ABSENT:
        return LabelSet(parsed.fixed_labels(strip_parentheses(node.args[0])))
    within = reduce(or_, (produced_labels(parsed, each) for each in node.args), NO_LABELS)
    if name in ("label_replace", "label_join"):
        return within | LabelSet(parsed.resolve_all([node.args[1].val]))
    if name in ("histogram_quantile", "histogram_fraction"):
        return within & LabelSet(frozenset(["le"]), all_but=True)
    return within


def _produced_by_operator(parsed: ParsedExpression, node: BinaryExpr) -> LabelSet:
    left, right = (produced_labels(parsed, each) for each in children_of(node))
    if str(node.op) == "or" or is_scalar(node.lhs) or is_scalar(node.rhs):
        return left | right
    if str(node.op) in ("and", "unless"):
        return left
    side = _many_side(node)
    if side is not None:
        return (left if side == "left" else right) | _carried(parsed, node)
    return left & _matching(parsed, node)


def _matching(parsed: ParsedExpression, node: BinaryExpr) -> LabelSet:
    """The labels that an operator's sides are matched on."""
    matching = node.modifier.matching if node.modifier is not None else None
    if matching is None:
        return ALL_LABELS
    return LabelSet(parsed.resolve_all(matching.labels), all_but=matching.type == LabelModifierType.Exclude)


def _carried(parsed: ParsedExpression, node: BinaryExpr) -> LabelSet:
    """The labels that `group_left(…)` brings over from the side with one series."""
    labels = node.modifier.group_labels if node.modifier is not None else None
    return LabelSet(parsed.resolve_all(labels or ()))


def _many_side(node: BinaryExpr) -> str | None:
    """`left` or `right`: the side with many series for one of the other; None where there is none."""
    cardinality = node.modifier.card if node.modifier is not None else None
    if cardinality == VectorMatchCardinality.ManyToOne:
        return "left"
    return "right" if cardinality == VectorMatchCardinality.OneToMany else None


def matched_labels(parsed: ParsedExpression, node: BinaryExpr) -> tuple[LabelSet, LabelSet]:
    """Of each side of an operator, the labels that come out of it unchanged or that tell its partner."""
    if is_scalar(node.lhs) or is_scalar(node.rhs):
        return ALL_LABELS, ALL_LABELS
    match, carried = _matching(parsed, node), _carried(parsed, node)
    side = _many_side(node)
    if side is None:
        return match, match
    many, one = ~carried, match | carried
    return (many, one) if side == "left" else (one, many)
