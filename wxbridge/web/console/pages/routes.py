"""The tree of routes, and which of them an alert with some labels would take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from wxbridge.alerts import routing
from wxbridge.alerts.muting import muted_by
from wxbridge.config.routes import NestedRoute
from wxbridge.config.types import write_duration
from wxbridge.core.matchers import parse_matchers
from wxbridge.web.console.page import ConsolePage, PageVisit


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    settings, text = visit.services.alerts.settings, visit.query.get("labels", "")
    labels = _read_labels(text)
    tried: dict[str, str] = {}
    decided: Sequence[routing.RoutedTarget] | None = ()
    if labels:
        given = routing.complete_labels(labels, settings.severities)
        explanation = routing.explain_route(settings.routes, given)
        decided = explanation.targets
        for each in explanation.tried:
            tried[routing.format_path(each.path)] = "no" if each.failed else "answers" if each.answers else "through"
    return {
        "text": text,
        "labels": labels,
        "unread": bool(text.strip()) and not labels,
        "routes": list(_list_routes(visit.config.routes, ())),
        "tried": tried,
        "decided": [_describe(visit, each) for each in decided or ()],
        "is_nobody": decided is not None,
        "operators": settings.operators,
        "targets": settings.targets,
    }


def _read_labels(text: str) -> dict[str, str]:
    """Read labels, `name=value` a line or parted by commas; what is none is left out."""
    pairs = [part.partition("=") for line in text.splitlines() for part in line.split(",")]
    return {name.strip(): value.strip().strip('"') for name, equals, value in pairs if equals and name.strip()}


def _list_routes(routes: Sequence[NestedRoute], path: tuple[int, ...]) -> Iterator[Mapping[str, Any]]:
    """List routes and those within them, each with how deep it lies."""
    for index, route in enumerate(routes):
        place = (*path, index)
        yield {
            "path": routing.format_path(place),
            "depth": len(path),
            "matchers": [str(matcher) for matcher in parse_matchers(route.match)],
            "to": route.to,
            "goes_on": route.continue_,
            "template": route.template,
            "repeat": write_duration(route.repeat_interval) if route.repeat_interval else "",
            "muted": [*(route.mute_time_intervals or ()), *(route.active_time_intervals or ())],
        }
        yield from _list_routes(route.routes, place)


def _describe(visit: PageVisit, routed: routing.RoutedTarget) -> Mapping[str, Any]:
    options = routed.options
    return {
        "target": routed.target,
        "route": routing.format_path(routed.path),
        "mention": options.mention,
        "repeat": write_duration(options.repeat_interval) if options.repeat_interval else "",
        "template": options.template,
        "muted": muted_by(options, visit.config.time_intervals, datetime.now(UTC), visit.config.timezone),
    }


PAGE = ConsolePage(_show)
