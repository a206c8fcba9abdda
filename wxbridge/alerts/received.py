"""What one POST said and how it was routed, as the console's timeline shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wxbridge.alerts import routing
from wxbridge.alerts.notification_log import PendingAlert
from wxbridge.alerts.routing import RouteTree
from wxbridge.core.model import AlertGroup, Received

_MAX_NAMES_IN_TITLE = 3
_MAX_ALERTS_EXPLAINED = 20
"""Alerts of one part whose routes are told."""


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

    def routed(
        self, target: str, group: AlertGroup, pending: Sequence[PendingAlert], told: int, why: str
    ) -> Mapping[str, Any]:
        """How a part of what came in was routed: `target`, how many `alerts` of it, how many were `told`.

        `why` is in a word why it went there where no route said so (`asked`, `unrouted`). Else `by` names the routes,
        each with its place and what it `matches`. Where something was kept back, `held` names by what.
        """
        found: dict[str, Any] = {"target": target, "alerts": len(group.alerts), "told": told}
        if why:
            found["why"] = why
        else:
            some = group.alerts[:_MAX_ALERTS_EXPLAINED] or (None,)
            by = [self._route(target, routing.labels_of(group, alert)) for alert in some]
            found["by"] = [route for place, route in enumerate(by) if route and route not in by[:place]]
        held = sorted({each.held for each in pending if each.held})
        return found | ({"held": held} if held and told < len(pending) else {})

    def _route(self, target: str, labels: Mapping[str, str]) -> Mapping[str, Any] | None:
        path = next(
            (each.path for each in routing.find_targets(self.routes, labels) or () if each.target == target), None
        )
        if path is None:
            return None
        if path not in self._known:
            tried = routing.explain_route(self.routes, labels).tried
            # What the routes around it match counts too.
            written = [str(m) for each in tried if each.path == path[: len(each.path)] for m in each.matchers]
            self._known[path] = {"route": routing.format_path(path), "matches": written}
        return self._known[path]
