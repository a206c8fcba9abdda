"""The figures of Grafana's unified alerts: `values` has the numbers, `valueString` says what they are of.

`valueString` is a list of `[ var='B' labels={zone=us-1} type='reduce' value=44.2 ]`: `type` since 12.4, `metric='…'`
behind `var` in classic conditions, and `metric` alone in old test notifications.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wxbridge.core.frozen import replace
from wxbridge.core.json_values import as_number, as_text
from wxbridge.core.model import Alert, Value

METRIC_NAME = "__name__"
"""The label that Prometheus has a metric's name in. An alert's own labels lack it."""
_MEASURES = frozenset({"query", "reduce", "resample"})
"""Types of what is measured; what others compute may be no more than yes or no."""
_CONDITION = "threshold"
_REF_ID = re.compile(r"[A-Z]\d{0,3}|[A-Z]{2}\d{1,3}")
"""What Grafana calls queries and expressions that nobody named."""
_CONDITION_NAMES = frozenset({"threshold", "condition", "alert", "alerting", "firing", "trigger"})
"""What people call the expression that decides."""


@dataclass(frozen=True)
class _Figure:
    """One figure. `metric` is empty where it is the only one of its letter."""

    var: str
    number: Any
    metric: str = ""
    kind: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def is_yes_or_no(self) -> bool:
        """Whether it says no more than whether its condition holds, by its type and amount."""
        return self.kind == _CONDITION or (bool(self.kind) and self.kind not in _MEASURES and self._is_zero_or_one())

    def may_be_condition(self) -> bool:
        """Whether it may, where nothing tells its type."""
        is_named = self.has_name() and self.var.lower() not in _CONDITION_NAMES
        return not self.kind and not is_named and self._is_zero_or_one()

    def may_say_yes(self) -> bool:
        """Whether one of both is so."""
        return self.is_yes_or_no() or self.may_be_condition()

    def has_name(self) -> bool:
        """Whether somebody named it."""
        return bool(self.metric) or _REF_ID.fullmatch(self.var) is None

    def _is_zero_or_one(self) -> bool:
        return as_number(self.number) in (0, 1)


MAX_UNSORTED = 5
"""Figures that are seen at a glance, and stay as the sender has them."""
_MAX_NAMES_READ = 20


def _words(latin: str, chinese: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z])(?:{latin})(?![A-Za-z])|{chinese}", re.IGNORECASE)


_LOW = _words(
    "below|under|low|lower|less|few|fewer|free|available|avail|idle|left|remaining",
    "<|低于|过低|太低|偏低|小于|少于|过少|太少|不足|剩余|可用|空闲",
)
_HIGH = _words(
    "above|over|high|higher|more|many|exceed(?:s|ed)?|used|usage|full",
    ">|超过|超出|高于|过高|太高|偏高|大于|多于|过多|太多|使用率|占用",
)


def sort_worst_first(values: Sequence[Value], words: str) -> tuple[Value, ...]:
    """Sort what matched one rule where it is more than a few, the worst first; what has no number comes last.

    The worst is the highest, or where the rule's `words`, else the names of the figures, speak of too little alone,
    the lowest: no notification says which the rule asks for.
    """
    if len(values) <= MAX_UNSORTED:
        return tuple(values)
    names = " ".join(value.name for value in values[:_MAX_NAMES_READ])
    said = next((each for each in (words, names) if _LOW.search(each) or _HIGH.search(each)), "")
    sign = 1 if _LOW.search(said) and not _HIGH.search(said) else -1

    def place(value: Value) -> tuple[bool, float]:
        number = value.number
        return (True, 0.0) if number is None or math.isnan(number) else (False, sign * number)

    return tuple(sorted(values, key=place))


def read_values(item: dict[str, Any], words: str = "") -> tuple[Value, ...]:
    """Read the figures of an alert, without those that only say that its condition holds, where there are others.

    Where some have names, those that only have a letter led to them. Those of a classic condition come worst first, by
    the `words` of its rule (`sort_worst_first`).
    """
    told = _read_words(as_text(item.get("valueString")))
    given = item.get("values")
    # A classic condition has one number for all that matched; NaN and infinities leave `values` null.
    if any(each.var and each.metric for each in told):
        matched = tell_apart([_value(each) for each in told if each.metric or not each.may_say_yes()])
        return sort_worst_first(matched, words)
    figures = told
    if isinstance(given, dict) and len(given) >= len(told):
        by_var = {each.var: each for each in told}
        figures = [_counted(by_var.get(name), name, number) for name, number in given.items()]
    figures.sort(key=lambda each: each.var)
    measured = [
        each
        for place, each in enumerate(figures)
        if not each.is_yes_or_no() and not (place > 0 and each.may_be_condition())
    ]
    named = [each for each in measured if each.has_name()]
    return tuple(map(_value, named or measured or figures[:1]))


def _counted(figure: _Figure | None, name: str, number: Any) -> _Figure:
    return _Figure(name, number, kind=figure.kind, labels=figure.labels) if figure else _Figure(name, number)


def tell_apart(values: Sequence[Value]) -> tuple[Value, ...]:
    """Leave to values the labels that tell one from the others: all labels of one that is alone.

    The metric's name is among them only where nothing else tells some apart.
    """
    if len(values) <= 1:
        return tuple(_without(value, (), METRIC_NAME) for value in values)
    shared = set.intersection(*(set(value.labels.items()) for value in values))
    told = [_without(value, shared) for value in values]
    nameless = [_without(value, (), METRIC_NAME) for value in told]
    alike = Counter(map(_name_whole, nameless))
    return tuple(
        plain if alike[_name_whole(plain)] == 1 else whole for whole, plain in zip(told, nameless, strict=True)
    )


def _name_whole(value: Value) -> Hashable:
    return value.name, frozenset(value.labels.items())


def _without(value: Value, pairs: Collection[tuple[str, str]], hidden: str = "") -> Value:
    if not value.labels:
        return value
    labels = {name: text for name, text in value.labels.items() if (name, text) not in pairs and name != hidden}
    return Value(value.name, value.number, value.text, labels, value.unit)


def name_series(alerts: Sequence[Alert]) -> Iterator[Alert]:
    """Leave to values the labels that their alert does not say itself.

    The metric's name is among them only where nothing else tells the alert from another of its group.
    """
    labels = [frozenset(alert.labels.items()) for alert in alerts]
    alike = Counter(labels)
    for alert, said in zip(alerts, labels, strict=True):
        hidden = METRIC_NAME if alike[said] == 1 else ""
        values = tuple(_without(value, said, hidden) for value in alert.values)
        yield alert if values == alert.values else replace(alert, values=values)


def _value(figure: _Figure) -> Value:
    number = as_number(figure.number)
    text = as_text(figure.number) if number is None and figure.number is not None else None
    name = figure.metric.partition("{")[0] or (figure.metric and figure.labels.get(METRIC_NAME)) or figure.var
    return Value(name or "value", number, None if text == "null" else text, figure.labels)


def _read_words(text: str) -> list[_Figure]:
    return [figure for part in text.split(" ]") if (figure := _read_figure(part.lstrip(", ").removeprefix("[ ")))]


def _read_figure(text: str) -> _Figure | None:
    """Read `var='B' metric='…' labels={…} type='reduce' value=1`; None for anything else."""
    before, is_there, number = text.rpartition(" value=")
    names, _, rest = before.partition("labels={")
    labels, is_closed, kind = rest.rpartition("}")
    if not is_there or not is_closed:
        return None
    metric = names.partition("metric='")[2].rstrip().removesuffix("'")
    var = names.partition("var='")[2].partition("'")[0]
    return _Figure(
        var, number.rstrip(" ]"), metric, kind.partition("type='")[2].partition("'")[0], _read_labels(labels)
    )


def _read_labels(text: str) -> dict[str, str]:
    """`zone=us-1, host=a` as labels; a value may hold the comma."""
    labels: dict[str, str] = {}
    name = ""
    for part in text.split(", "):
        before, is_pair, value = part.partition("=")
        if is_pair:
            name = before.strip()
            labels[name] = value
        elif name:
            labels[name] += f", {part}"
    return labels
