"""Alerts → targets, pure. Matchers and routes have Alertmanager's words and behaviour.

`compile_routes` makes a `RouteTree` of what was written, once; `find_targets` asks it of one alert, `split_by_target`
of a group, and `explain_route` says why. Siblings are found by a label that they ask for, so that ten thousand of them
cost no more than a few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from wxbridge.alerts.intake import name_severity
from wxbridge.alerts.severity import severity_words
from wxbridge.config.routes import PICTURE_WAYS, NestedRoute
from wxbridge.core.frozen import replace
from wxbridge.core.matchers import LabelWords, Matcher, matches_all, parse_matchers
from wxbridge.core.model import LABEL_SEPARATOR, Alert, AlertGroup, AlertStatus
from wxbridge.core.severities import SeverityTable

# ---------------------------------------------------------------- routes


@dataclass(frozen=True)
class RouteOptions:
    """How a target is told of what a route sends it. `mute` and `active` are names of time intervals."""

    mention: tuple[str, ...] = ()
    repeat_interval: float | None = None
    """Seconds after which what still fires is told again; None for never."""
    send_resolved: bool = True
    template: str | None = None
    """None for the target's own or the built-in one."""
    mute: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    """Where any are named, the route is silent outside of all of them."""
    pictures: tuple[str, ...] = PICTURE_WAYS
    """Of `PICTURE_WAYS`, in the order in which they are tried; none for no picture."""
    resolve_timeout: float | None = None
    """Seconds of silence after which an alert is over; None for what its sender's habit says."""
    mention_label: tuple[str, ...] = ()
    """Labels or annotations that say who is mentioned too."""


@dataclass(frozen=True)
class RoutedTarget:
    """One target of an alert, how it is told, and the route that said so."""

    target: str
    options: RouteOptions
    path: tuple[int, ...]
    """The route's place in the file: `(2, 0)` is `routes[2].routes[0]`."""


@dataclass(frozen=True)
class Route:
    """A route as it is written. What is None is as in the route around it."""

    matchers: tuple[Matcher, ...] = ()
    to: tuple[str, ...] | None = None
    """Targets. Empty means nobody, on purpose."""
    goes_on: bool = False
    """Whether the next sibling is tried too (`continue`)."""
    routes: tuple[Route, ...] = ()
    mention: tuple[str, ...] | None = None
    repeat_interval: float | None = None
    """Seconds; 0 for never."""
    send_resolved: bool | None = None
    template: str | None = None
    """Empty for the target's own or the built-in one."""
    mute: tuple[str, ...] | None = None
    active: tuple[str, ...] | None = None
    pictures: tuple[str, ...] | None = None
    resolve_timeout: float | None = None
    """Seconds; 0 for what the sender's habit says."""
    mention_label: tuple[str, ...] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether every matcher holds; a route without matchers takes everything."""
        return matches_all(self.matchers, labels)


@dataclass(frozen=True)
class _Node:
    """A route with all that it inherits."""

    path: tuple[int, ...]
    matchers: tuple[Matcher, ...]
    goes_on: bool
    targets: tuple[RoutedTarget, ...] | None
    """None where neither it nor a route around it has a `to`."""
    children: RouteTree | None


@dataclass(frozen=True)
class RouteTree:
    """Routes beside each other, ready to be asked. Made by `compile_routes`."""

    _nodes: tuple[_Node, ...]
    _by_label: Mapping[tuple[str, str], Sequence[int]]
    """The places of those that can only match where a label has a certain value, not empty."""
    _others: Sequence[int]

    def list_matchers(self, path: Sequence[int]) -> list[Matcher]:
        """List the matchers of a route, by its place, and of those around it; the outermost first."""
        node = self._nodes[path[0]]
        return [*node.matchers, *(node.children.list_matchers(path[1:]) if node.children and path[1:] else ())]

    def _candidates(self, labels: Mapping[str, str]) -> Iterable[int]:
        """The places of all that may match, in order."""
        found = [self._others] if self._others else []
        for item in labels.items():
            if isinstance(item[1], LabelWords):
                found += [places for word in item[1].words if (places := self._by_label.get((item[0], word)))]
            elif places := self._by_label.get(item):
                found.append(places)
        return found[0] if len(found) == 1 else sorted(set(chain.from_iterable(found)))

    def _collect(self, labels: Mapping[str, str], found: list[_Node]) -> bool:
        """Add the routes that answer; tell whether there are any (Alertmanager, dispatch/route.go, `Match`)."""
        any_matched = False
        for place in self._candidates(labels):
            node = self._nodes[place]
            for matcher in node.matchers:
                if not matcher.matches(labels):
                    break
            else:
                any_matched = True
                if node.children is None or not node.children._collect(labels, found):  # noqa: SLF001 - its own kind
                    found.append(node)
                if not node.goes_on:
                    break
        return any_matched


def compile_settings(settings: Sequence[NestedRoute]) -> RouteTree:
    """Make the routes of a configuration ready to be asked. Do it once."""
    return compile_routes([_route(route) for route in settings])


def _route(settings: NestedRoute) -> Route:
    ways = settings.pictures
    return Route(
        matchers=parse_matchers(settings.match),
        to=settings.to,
        goes_on=settings.continue_,
        routes=tuple(_route(inner) for inner in settings.routes),
        mention=settings.mention,
        mention_label=settings.mention_label,
        repeat_interval=settings.repeat_interval,
        send_resolved=settings.send_resolved,
        template=settings.template,
        mute=settings.mute_time_intervals,
        active=settings.active_time_intervals,
        resolve_timeout=settings.resolve_timeout,
        pictures=PICTURE_WAYS if ways and "auto" in ways else ways and tuple(name for name in ways if name != "none"),
    )


def compile_routes(routes: Sequence[Route]) -> RouteTree:
    """Make routes ready to be asked: what they inherit is filled in, and they are indexed. Do it once."""
    return _siblings(routes, (), None, RouteOptions(), {})


def _siblings(
    routes: Sequence[Route],
    path: tuple[int, ...],
    to: tuple[str, ...] | None,
    options: RouteOptions,
    known: dict[RouteOptions, RouteOptions],
) -> RouteTree:
    nodes = []
    for index, route in enumerate(routes):
        place = (*path, index)
        its = _inherited(route, options)
        # One object for all that are equal, so that `split_by_target` need not compare them.
        its = known.setdefault(its, its)
        targets = to if route.to is None else route.to
        nodes.append(
            _Node(
                place,
                route.matchers,
                route.goes_on,
                None if targets is None else tuple(RoutedTarget(name, its, place) for name in dict.fromkeys(targets)),
                _siblings(route.routes, place, targets, its, known) if route.routes else None,
            )
        )
    return _indexed(nodes)


def _inherited(route: Route, options: RouteOptions) -> RouteOptions:
    return RouteOptions(
        mention=options.mention if route.mention is None else route.mention,
        mention_label=options.mention_label if route.mention_label is None else route.mention_label,
        repeat_interval=options.repeat_interval if route.repeat_interval is None else route.repeat_interval or None,
        send_resolved=options.send_resolved if route.send_resolved is None else route.send_resolved,
        template=options.template if route.template is None else route.template or None,
        mute=options.mute if route.mute is None else route.mute,
        active=options.active if route.active is None else route.active,
        pictures=options.pictures if route.pictures is None else route.pictures,
        resolve_timeout=options.resolve_timeout if route.resolve_timeout is None else route.resolve_timeout or None,
    )


def _indexed(nodes: Sequence[_Node]) -> RouteTree:
    choices = [[keys for matcher in node.matchers if (keys := _keys(matcher))] for node in nodes]
    common = Counter(key for keys_of_node in choices for keys in keys_of_node for key in keys)
    by_label: dict[tuple[str, str], list[int]] = {}
    others = []
    for place, keys_of_node in enumerate(choices):
        if not keys_of_node:
            others.append(place)
            continue
        # By its rarest label, so that few others stand in the same place.
        for key in min(keys_of_node, key=lambda keys: max(common[key] for key in keys)):
            by_label.setdefault(key, []).append(place)
    return RouteTree(tuple(nodes), by_label, others)


def _keys(matcher: Matcher) -> set[tuple[str, str]]:
    """The labels of which one must be there for a matcher to hold; empty where that cannot be told."""
    if matcher.is_negative or matcher.choices is None or "" in matcher.choices:
        return set()
    return {(matcher.name, value) for value in matcher.choices}


# ---------------------------------------------------------------- asking them


def labels_of(group: AlertGroup, alert: Alert | None) -> dict[str, str]:
    """The labels that routes and silences see: the alert's own, and `source`, `status`, `alertname` and `severity`.

    `severity` is the same for all senders, and goes by the sender's own word too; a label with several values goes by
    each. Without an alert, the labels are
    those of a group that is free text.
    """
    if alert is None:
        return {"alertname": group.title, "severity": "", "source": group.source, "status": AlertStatus.FIRING.value}
    several = {
        name: LabelWords(text, text.split(LABEL_SEPARATOR))
        for name in alert.repeated
        if (text := alert.labels.get(name))
    }
    return {
        "alertname": alert.title, **alert.labels, **several, "severity": severity_words(alert), "source": alert.source,
        "status": alert.status.value,
    }  # fmt: skip


def complete_labels(labels: Mapping[str, str], severities: SeverityTable) -> dict[str, str]:
    """Give labels that somebody tries the routes with as those see an alert's: with what every alert has."""
    given = {"alertname": "", "severity": "", "source": "", "status": AlertStatus.FIRING.value, **labels}
    alert = Alert(given["source"], AlertStatus.FIRING, given["alertname"], given)
    return given | {"severity": severity_words(name_severity(alert, severities))}


def find_targets(routes: RouteTree, labels: Mapping[str, str]) -> tuple[RoutedTarget, ...] | None:
    """The targets of one alert, in order, each once: where several routes name one, the first says how.

    Empty where it goes to nobody on purpose (`to: []`). None where it is unrouted: no route matches, or none that
    matches has a `to`.
    """
    found: list[_Node] = []
    routes._collect(labels, found)  # noqa: SLF001 - the other half of this module
    if len(found) == 1:
        return found[0].targets
    targets: dict[str, RoutedTarget] = {}
    routed = False
    for node in found:
        if node.targets is not None:
            routed = True
            for each in node.targets:
                targets.setdefault(each.target, each)
    return tuple(targets.values()) if routed else None


_ASKED_SIGN = "\x1f"
"""Parts a target's name from what a sender asks for there; no name and no key has it."""


@dataclass(frozen=True)
class AskedTarget:
    """A target that a sender asks for in its own address, and which robot it means where the target leaves it open."""

    name: str
    recipient: str | None = None
    mention: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> AskedTarget:
        """Read what `str` wrote; a target's name alone is one too."""
        name, *rest = text.split(_ASKED_SIGN)
        recipient, mention = (*rest, "", "")[:2]
        return cls(name, recipient or None, tuple(filter(None, mention.split(","))))

    def __str__(self) -> str:
        if self.recipient is None:
            return self.name
        return _ASKED_SIGN.join([self.name, self.recipient, ",".join(self.mention)])


@dataclass(frozen=True)
class RoutedGroup:
    """What of a group goes to one target in one way; its alerts keep their order."""

    target: str
    options: RouteOptions
    group: AlertGroup
    note: str = ""
    """A line above the text."""
    footer: str = ""
    """A line below it."""
    is_direct: bool = False
    """Whether it goes there whatever the routes say."""
    reason: str = ""
    """In a word why it goes there, where no route said so: `asked`, `unrouted`, `no_target`, `no_recipient`."""
    share: str = ""
    """What tells it from other parts of the same group; empty where it is all of it."""
    recipient: str | None = None
    """Which robot its sender means, where the target leaves that open."""
    paths: tuple[tuple[int, ...], ...] = ()
    """The routes that said so, each once, in the order of the alerts."""
    pictures: tuple[Hashable, ...] = ()
    """What was admitted to the budget of pictures for it."""

    @property
    def place(self) -> str:
        """By what it is remembered what was told there: the target, and the robot where the target leaves it open."""
        if self.recipient is None:
            return self.target
        return str(AskedTarget(self.target, self.recipient, self.options.mention))


@dataclass(frozen=True)
class SplitGroup:
    """A group divided among its targets, and what of it is unrouted. What is dropped on purpose is in neither."""

    parts: tuple[RoutedGroup, ...]
    unrouted: AlertGroup | None


def split_by_target(group: AlertGroup, routes: RouteTree) -> SplitGroup:
    """Give each target its part of a group. A target that is told of alerts in different ways has several parts."""
    if not group.alerts:
        decisions = find_targets(routes, labels_of(group, None))
        parts = tuple(RoutedGroup(each.target, each.options, group, paths=(each.path,)) for each in decisions or ())
        return SplitGroup(parts, group if decisions is None else None)
    chosen: dict[tuple[str, int], tuple[RoutedTarget, list[Alert], dict[tuple[int, ...], None]]] = {}
    unrouted: list[Alert] = []
    for alert in group.alerts:
        decisions = find_targets(routes, labels_of(group, alert))
        if decisions is None:
            unrouted.append(alert)
            continue
        for decision in decisions:
            key = (decision.target, id(decision.options))
            if key in chosen:
                chosen[key][1].append(alert)
                chosen[key][2].setdefault(decision.path)
            else:
                chosen[key] = (decision, [alert], {decision.path: None})
    return SplitGroup(
        tuple(
            RoutedGroup(first.target, first.options, group.with_alerts(alerts), paths=tuple(paths))
            for first, alerts, paths in chosen.values()
        ),
        group.with_alerts(unrouted) if unrouted else None,
    )


# ---------------------------------------------------------------- saying why


@dataclass(frozen=True)
class TriedRoute:
    """One route that was tried."""

    path: tuple[int, ...]
    matchers: tuple[Matcher, ...]
    failed: Matcher | None
    """The first matcher that did not hold; None where the route matches."""
    answers: bool
    """Whether it is the one that says where to: it matches, and none of its own routes does."""
    to: tuple[str, ...] | None
    """Its own targets or those that it inherits; None for neither."""
    goes_on: bool


@dataclass(frozen=True)
class RouteExplanation:
    """The routes that were tried, in order, and what came of it (as from `find_targets`)."""

    tried: tuple[TriedRoute, ...]
    targets: tuple[RoutedTarget, ...] | None


def explain_route(routes: RouteTree, labels: Mapping[str, str]) -> RouteExplanation:
    """Try the routes one after another, without the index, and tell of each."""
    tried: list[TriedRoute] = []
    _try(routes, labels, tried)
    return RouteExplanation(tuple(tried), find_targets(routes, labels))


def _try(routes: RouteTree, labels: Mapping[str, str], tried: list[TriedRoute]) -> bool:
    any_matched = False
    for node in routes._nodes:  # noqa: SLF001 - the other half of this module
        failed = next((matcher for matcher in node.matchers if not matcher.matches(labels)), None)
        to = None if node.targets is None else tuple(each.target for each in node.targets)
        tried.append(TriedRoute(node.path, node.matchers, failed, failed is None, to, node.goes_on))
        if failed is not None:
            continue
        any_matched = True
        place = len(tried) - 1
        if node.children is not None and _try(node.children, labels, tried):
            tried[place] = replace(tried[place], answers=False)
        if not node.goes_on:
            break
    return any_matched


def format_path(path: Sequence[int]) -> str:
    """A route's place in the file, for people: `routes[2].routes[0]`."""
    return ".".join(f"routes[{index}]" for index in path)
