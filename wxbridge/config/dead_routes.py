"""Routes that can never answer: their matchers contradict each other, or routes before them take everything. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wxbridge.config.routes import NestedRoute, Path_
from wxbridge.core.matchers import Matcher, parse_matchers
from wxbridge.core.model import AlertStatus

_ALWAYS = {"status": frozenset(status.value for status in AlertStatus)}
"""The values that a label may have at all, of those labels of which that is known."""
_TAKES_ALL = (".*", "(.*)", "(.|\n)*", "[\\s\\S]*")
"""Expressions that every value fulfils."""


@dataclass(frozen=True)
class DeadRoute:
    """A route that can never answer: where it stands, and why in a sentence."""

    path: Path_
    why: str


class _Conditions:
    """What holds for an alert that comes to a route: matchers, and of some labels the values that are left."""

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self.matchers = frozenset(matchers)
        self.values = dict(_ALWAYS)
        for matcher in matchers:
            if matcher.choices is not None and not matcher.is_negative:
                known = self.values.get(matcher.name, matcher.choices)
                self.values[matcher.name] = known & matcher.choices
        for name, values in self.values.items():
            about = [matcher for matcher in matchers if matcher.name == name]
            self.values[name] = frozenset(
                value for value in values if all(each.matches({name: value}) for each in about)
            )

    def imply(self, matcher: Matcher) -> bool:
        """Tell whether a matcher holds for everything that comes here."""
        if matcher in self.matchers or (matcher.operator == "=~" and matcher.value in _TAKES_ALL):
            return True
        values = self.values.get(matcher.name)
        return bool(values) and all(matcher.matches({matcher.name: value}) for value in values or ())


class _RoutesBefore:
    """The routes beside one that stand before it and do not `continue`, found by a label that they ask for."""

    def __init__(self, matchers: Sequence[Sequence[Matcher]]) -> None:
        self._common = Counter(key for each in matchers for keys in map(_keys, each) for key in keys)
        self._by_label: dict[tuple[str, str], list[int]] = {}
        self._others: list[int] = []
        self._matchers: dict[int, Sequence[Matcher]] = {}

    def add(self, index: int, matchers: Sequence[Matcher]) -> None:
        """Add a route."""
        self._matchers[index] = matchers
        keys = [found for matcher in matchers if (found := _keys(matcher))]
        if not keys:
            self._others.append(index)
            return
        # By its rarest label, so that few others stand in the same place.
        for key in min(keys, key=lambda each: max(self._common[key] for key in each)):
            self._by_label.setdefault(key, []).append(index)

    def find(self, conditions: _Conditions) -> Iterator[tuple[int, Sequence[Matcher]]]:
        """Find those that may take something of what comes to a route, in order."""
        keys = ((label, value) for label, values in conditions.values.items() for value in values)
        found = {index for key in keys for index in self._by_label.get(key, ())}
        for index in sorted(found.union(self._others)):
            yield index, self._matchers[index]


def _keys(matcher: Matcher) -> list[tuple[str, str]]:
    """List the labels of which one must be there for a matcher to hold; none where that cannot be told."""
    if matcher.is_negative or matcher.choices is None:
        return []
    return [(matcher.name, value) for value in matcher.choices]


def find_dead_routes(
    routes: Sequence[NestedRoute], around: Sequence[Matcher] = (), path: Path_ = ("routes",)
) -> Iterator[DeadRoute]:
    """Find the routes that no alert can ever reach, each with why; what stands below such a one is not looked at.

    `around` are the matchers of the routes that they stand in, `path` is where they do.
    """
    matchers = [parse_matchers(route.match) for route in routes]
    before = _RoutesBefore(matchers)
    for index, (route, own) in enumerate(zip(routes, matchers, strict=True)):
        conditions = _Conditions([*around, *own])
        if why := _why_dead(conditions, own, list(before.find(conditions)), path):
            yield DeadRoute((*path, index), why)
            continue
        if not route.continue_:
            before.add(index, own)
        yield from find_dead_routes(route.routes, [*around, *own], (*path, index, "routes"))


def _why_dead(
    conditions: _Conditions, own: Sequence[Matcher], before: Sequence[tuple[int, Sequence[Matcher]]], path: Path_
) -> str | None:
    label = next((name for name, values in conditions.values.items() if not values), None)
    if label is not None:
        said = ", ".join(str(matcher) for matcher in own if matcher.name == label) or ", ".join(map(str, own))
        if label in _ALWAYS:
            return f"no alert ever fulfils {said}: `{label}` is {', '.join(sorted(_ALWAYS[label]))}"
        return f"no alert ever fulfils it: its matchers of `{label}`, and those around it, contradict each other"
    for index, matchers in before:
        if all(map(conditions.imply, matchers)):
            where = f"{write_path(path)}[{index}]"
            return f"{where} before it takes everything that it would; put it first, or write `continue: true` there"
    for label, values in conditions.values.items():
        if covering := _find_covering(label, values, conditions, before):
            where = ", ".join(f"{write_path(path)}[{index}]" for index in covering)
            return f"{where} before it take everything that it would, together; put it first, or let them `continue`"
    return None


def _find_covering(
    label: str, values: frozenset[str], conditions: _Conditions, before: Sequence[tuple[int, Sequence[Matcher]]]
) -> list[int]:
    """Find the routes that take each value which a label can still have, together; none where a value is left."""
    left, covering = set(values), []
    for index, matchers in before:
        about = [matcher for matcher in matchers if matcher.name == label]
        taken = {value for value in left if all(each.matches({label: value}) for each in about)}
        if taken and all(conditions.imply(matcher) for matcher in matchers if matcher.name != label):
            left -= taken
            covering.append(index)
    return [] if left else covering


def write_path(path: Path_) -> str:
    """Write a place in the file for people: `routes[2].routes`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
    return text
