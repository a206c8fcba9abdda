"""Taking alerts in, without a network and a disk: parse, route, compose; and many routes. Times are of the CPU."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import structlog

from bench.common import Place, Row
from wxbridge.alerts import routing
from wxbridge.alerts.pipeline import AlertPipeline, AlertSettings
from wxbridge.alerts.render import Destination
from wxbridge.alerts.routing import Route
from wxbridge.alerts.sources import by_content
from wxbridge.core.matchers import parse_matchers
from wxbridge.core.model import Accepted, Capabilities, Notification, Received, StoredAlong

ALERTS = 1000
ROUTES = 10_000
RUNS = 15


def group_body(alerts: int) -> bytes:
    """What a unified Grafana posts for a rule with so many instances."""
    one = {
        "status": "firing",
        "annotations": {"summary": "Memory is nearly used up", "runbook_url": "https://wiki/memory"},
        "startsAt": "2026-11-21T06:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://grafana:3000/alerting/grafana/abc/view",
        "dashboardURL": "http://grafana:3000/d/mem",
        "panelURL": "http://grafana:3000/d/mem?viewPanel=4",
        "values": {"A": 92.25, "C": 1},
    }
    listed = [
        one
        | {
            "labels": {"alertname": "HighMemory", "severity": "critical", "team": f"t{n % 20}", "instance": f"n{n}"},
            "fingerprint": f"{n:016x}",
        }
        for n in range(alerts)
    ]
    head = {
        "receiver": "wxbridge",
        "status": "firing",
        "orgId": 1,
        "version": "1",
        "groupKey": "{}:{}",
        "state": "alerting",
    }
    more = {"title": f"[FIRING:{alerts}] HighMemory", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}}
    more |= {"groupKey": "{}:{}"}
    return json.dumps({**head, **more, "externalURL": "http://grafana:3000/", "alerts": listed}).encode()


class _Stored:
    """An outbox that keeps nothing."""

    async def put(
        self, items: Sequence[Notification], *, received: Received | None = None, also: StoredAlong | None = None
    ) -> Accepted:
        del received, also
        return Accepted(sum(len(item.bodies) for item in items), 0)


def _intake(routes: Sequence[Route]) -> AlertPipeline:
    targets = {f"room{n}": Destination(Capabilities(text_limit=2000), 86400.0) for n in range(20)}
    rules = AlertSettings(
        routing.compile_routes(routes),
        {},
        ZoneInfo("Asia/Shanghai"),
        targets,
        sources={"grafana": by_content.parse_grafana},
    )
    return AlertPipeline(rules, _Stored())


async def measure(place: Place) -> list[Row]:  # noqa: ARG001 - the signature of every figure
    """The rows of this figure."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    by_team = [Route(parse_matchers({"team": f"t{n}"}), (f"room{n}",)) for n in range(20)]
    intake, body = _intake(by_team), group_body(ALERTS)
    group = [await _timed(lambda: intake.accept("grafana", body, {})) for _ in range(RUNS)]
    equal = [Route(parse_matchers({"service": f"s{n}"}), ("room1",)) for n in range(ROUTES - 1)]
    regex = [Route(parse_matchers([f'service=~"s{n}.+"']), ("room1",)) for n in range(ROUTES - 1)]
    rows = [Row(f"parse, route, compose a group of {ALERTS:,} alerts for 20 targets", group, limit=50)]
    labels = {"alertname": "HighMemory", "service": "web", "severity": "critical"}
    for words, routes in (("equal labels", equal), ("regular expressions", regex)):
        compiled = routing.compile_routes([*routes, Route((), ("room2",))])
        times = [_time(lambda compiled=compiled: routing.find_targets(compiled, labels)) for _ in range(RUNS)]
        rows.append(Row(f"one alert through {ROUTES:,} routes of {words}, the last matches", times, limit=5, digits=3))
    return rows


async def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    await work()  # type: ignore[misc]
    return (time.process_time() - began) * 1000


def _time(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000
