"""What one POST said and how it was routed, as the console's timeline shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wxbridge.alerts import routing
from wxbridge.alerts.links import shorten_key
from wxbridge.alerts.notification_log import PendingAlert
from wxbridge.alerts.routing import RoutedGroup, RouteTree
from wxbridge.core.model import AlertGroup, Received

_MAX_NAMES_IN_TITLE = 3
_MAX_ROUTES_TOLD = 20
"""Of one part."""
MAX_HELD_KEYS = 100
"""Of one part, by which the console says which of its alerts were held back."""


def summarize(
    source: str,
    group: AlertGroup,
    routed: Sequence[Mapping[str, Any]],
    news: Sequence[str] = (),
    due: Sequence[str] = (),
) -> Received:
    """Sum up what a group said, by the names of its alerts, as a group's own is often the receiver's.

    `news` are the keys of the alerts of which it says what is new, `due` of those that are told.
    """
    names = list(dict.fromkeys(alert.title for alert in group.alerts if alert.title))
    title = ", ".join(names[:_MAX_NAMES_IN_TITLE]) + (" …" if len(names) > _MAX_NAMES_IN_TITLE else "")
    return Received(source, title or group.title, len(group.alerts), routed, news, due)


@dataclass(frozen=True)
class RouteReasons:
    """Tells which route sent something where, for the routes of one configuration."""

    routes: RouteTree
    _known: dict[tuple[int, ...], Mapping[str, Any]] = field(default_factory=dict)

    def routed(self, part: RoutedGroup, pending: Sequence[PendingAlert], told: int) -> Mapping[str, Any]:
        """How a part of what came in was routed: `target`, how many `alerts` of it, how many were `told`.

        `why` is in a word why it went there where no route said so (`asked`, `unrouted`). Else `by` names the routes,
        each with its place and what it `matches`. Where something was kept back, `held` names by what; unless that is
        one thing for all of it, `held_keys` says which alerts by what (`shorten_key`); empty where they are too many.
        """
        found: dict[str, Any] = {"target": part.target, "alerts": len(part.group.alerts), "told": told}
        if part.reason:
            found["why"] = part.reason
        else:
            found["by"] = [self._route(path) for path in part.paths[:_MAX_ROUTES_TOLD]]
        held: dict[str, list[str]] = {}
        for each in pending:
            if each.held:
                held.setdefault(each.held, []).append(shorten_key(each.key))
        count = sum(map(len, held.values()))
        if held:
            found["held"] = sorted(held)
        if len(held) > 1 or 0 < count < len(pending):
            found["held_keys"] = held if count <= MAX_HELD_KEYS else {}
        return found

    def _route(self, path: tuple[int, ...]) -> Mapping[str, Any]:
        if path not in self._known:
            written = [str(matcher) for matcher in self.routes.list_matchers(path)]
            self._known[path] = {"route": routing.format_path(path), "matches": written}
        return self._known[path]
