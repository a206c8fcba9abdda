"""Routes that can never answer: their matchers contradict each other, or routes before them take everything. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wxbridge.config.routes import NestedRoute, Path_
from wxbridge.core.matchers import Matcher, parse_matchers
from wxbridge.core.model import AlertStatus

_ALWAYS = {"status": frozenset(status.value for status in AlertStatus)}
"""The values that a label may have at all, of those labels of which that is known."""
_TAKES_ALL = (".*", "(.*)", "(.|\n)*", "[\\s\\S]*")
"""Expressions that every value fulfils."""
MAX_ROUTES_COMPARED = 2000
"""Beside each other: each is compared with all before it."""


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

    def find_contradiction(self) -> str | None:
        """Find a label that cannot have any value."""
        return next((name for name, values in self.values.items() if not values), None)

    def imply(self, matcher: Matcher) -> bool:
        """Tell whether a matcher holds for everything that comes here."""
        if matcher in self.matchers or (matcher.operator == "=~" and matcher.value in _TAKES_ALL):
            return True
        values = self.values.get(matcher.name)
        return bool(values) and all(matcher.matches({matcher.name: value}) for value in values or ())


def find_dead_routes(routes: Sequence[NestedRoute]) -> Iterator[DeadRoute]:
    """Find the routes that no alert can ever reach, each with why; what stands below such a one is not looked at."""
    yield from _find(routes, (), ("routes",))


def _find(routes: Sequence[NestedRoute], around: Sequence[Matcher], path: Path_) -> Iterator[DeadRoute]:
    before: list[tuple[int, Sequence[Matcher]]] = []
    for index, route in enumerate(routes):
        own = parse_matchers(route.match)
        conditions = _Conditions([*around, *own])
        if why := _why_dead(conditions, own, before, path):
            yield DeadRoute((*path, index), why)
            continue
        if not route.continue_ and len(before) < MAX_ROUTES_COMPARED:
            before.append((index, own))
        yield from _find(route.routes, [*around, *own], (*path, index, "routes"))


def _why_dead(
    conditions: _Conditions, own: Sequence[Matcher], before: Sequence[tuple[int, Sequence[Matcher]]], path: Path_
) -> str | None:
    if (label := conditions.find_contradiction()) is not None:
        said = ", ".join(str(matcher) for matcher in own if matcher.name == label) or ", ".join(map(str, own))
        if label in _ALWAYS:
            return f"no alert ever fulfils {said}: `{label}` is {', '.join(sorted(_ALWAYS[label]))}"
        return f"no alert ever fulfils it: its matchers of `{label}`, and those around it, contradict each other"
    for index, matchers in before:
        if all(map(conditions.imply, matchers)):
            where = f"{write_path(path)}[{index}]"
            return f"{where} before it takes everything that it would; put it first, or write `continue: true` there"
    for label, values in conditions.values.items():
        left, covering = set(values), []
        for index, matchers in before:
            others = [matcher for matcher in matchers if matcher.name != label]
            about = [matcher for matcher in matchers if matcher.name == label]
            taken = {value for value in left if all(each.matches({label: value}) for each in about)}
            if taken and all(map(conditions.imply, others)):
                left -= taken
                covering.append(index)
        if not left:
            where = ", ".join(f"{write_path(path)}[{index}]" for index in covering)
            return f"{where} before it take everything that it would, together; put it first, or let them `continue`"
    return None


def write_path(path: Path_) -> str:
    """Write a place in the file for people: `routes[2].routes`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
    return text
