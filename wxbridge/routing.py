"""Alerts → targets, pure. Matchers and routes have Alertmanager's words and behaviour."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from wxbridge.model import Alert, AlertGroup

Operator = Literal["=", "!=", "=~", "!~"]

_MATCHER = re.compile(r"\s*([^\s=!~{}\",]+|\"(?:[^\"\\]|\\.)*\")\s*(=~|!~|!=|=)\s*(\"(?:[^\"\\]|\\.)*\"|[^\"]*?)\s*")


@dataclass(frozen=True)
class Matcher:
    """One condition on a label. A label that is absent counts as empty (Alertmanager, "matchers")."""

    name: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        return f'{self.name}{self.operator}"{self.value}"'

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels fulfil it. Regular expressions are anchored at both ends."""
        label = labels.get(self.name, "")
        match self.operator:
            case "=":
                return label == self.value
            case "!=":
                return label != self.value
            case "=~":
                return re.fullmatch(self.value, label, re.DOTALL) is not None
            case "!~":
                return re.fullmatch(self.value, label, re.DOTALL) is None


def parse_matcher(text: str) -> Matcher:
    r"""Read a matcher such as `team=~"a|b"`; quotes may be left out, `\"` and `\\` escape.

    Raises:
        ValueError: it is none, or its regular expression is broken.
    """
    match = _MATCHER.fullmatch(text)
    if not match:
        raise ValueError(f'{text!r} is no matcher; write one like severity="critical" or team=~"a|b"')
    name, operator, value = match.groups()
    matcher = Matcher(_unquote(name), operator, _unquote(value))  # type: ignore[arg-type]
    if matcher.operator in ("=~", "!~"):
        try:
            re.compile(matcher.value)
        except re.error as error:
            raise ValueError(f"{text!r}: the regular expression is broken: {error}") from None
    return matcher


def _unquote(text: str) -> str:
    if not text.startswith('"'):
        return text
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text[1:-1])


def parse_matchers(match: Mapping[str, str] | Sequence[str]) -> tuple[Matcher, ...]:
    """Read a route's `match`: a mapping for equality, or a list of matchers. All must hold.

    Raises:
        ValueError: one of them is no matcher.
    """
    if isinstance(match, Mapping):
        return tuple(Matcher(name, "=", value) for name, value in match.items())
    return tuple(parse_matcher(text) for text in match)


@dataclass(frozen=True)
class Route:
    """Matchers and where what fulfils them goes."""

    matchers: tuple[Matcher, ...]
    to: tuple[str, ...]
    goes_on: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether every matcher holds; a route without matchers takes everything."""
        return all(matcher.matches(labels) for matcher in self.matchers)


def labels_of(group: AlertGroup, alert: Alert | None) -> dict[str, str]:
    """The labels that routes see: the alert's own, and `source`, `status` and `alertname` where it has none."""
    if alert is None:
        return {"source": group.source, "alertname": group.title, "status": "firing"}
    return {"alertname": alert.title, **alert.labels, "source": alert.source, "status": alert.status.value}


def targets_of(routes: Sequence[Route], labels: Mapping[str, str]) -> tuple[str, ...]:
    """The targets of one alert, in order, each once; empty where no route matches."""
    found: dict[str, None] = {}
    for route in routes:
        if route.matches(labels):
            found.update(dict.fromkeys(route.to))
            if not route.goes_on:
                break
    return tuple(found)


def split(group: AlertGroup, routes: Sequence[Route]) -> tuple[dict[str, AlertGroup], AlertGroup | None]:
    """Give each target the part of a group that goes to it.

    The second of the pair is what no route matched, None where there is nothing of the kind.
    """
    if not group.alerts:
        names = targets_of(routes, labels_of(group, None))
        return dict.fromkeys(names, group), None if names else group
    parts: dict[str, list[Alert]] = {}
    unrouted: list[Alert] = []
    for alert in group.alerts:
        names = targets_of(routes, labels_of(group, alert))
        if not names:
            unrouted.append(alert)
        for name in names:
            parts.setdefault(name, []).append(alert)
    return (
        {name: replace(group, alerts=tuple(alerts)) for name, alerts in parts.items()},
        replace(group, alerts=tuple(unrouted)) if unrouted else None,
    )
