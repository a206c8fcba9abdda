"""Names in jobs.yaml that nothing answers to, and what can never run; on raw data, so that all errors come at once."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any
from zoneinfo import ZoneInfo

from wxbridge.config import schedule
from wxbridge.config.types import FROM_REQUEST, MASTER_KEYS
from wxbridge.config.yaml_loader import TreePath, list_entries

_Found = Iterator[tuple[TreePath, str]]
"""Problems, each with its path."""


def find_dangling(data: Mapping[str, Any], sections: Container[str]) -> _Found:
    """Find names that nothing answers to, fallbacks in a circle, and jobs that never do anything.

    `sections` are the channels that have a section of their own.
    """
    targets = list_entries(data.get("targets"))
    known = {str(name) for name, _ in targets}
    masters = {name: data[name] for name in MASTER_KEYS if isinstance(data.get(name), dict)}
    # Of iLink's people the first is, where nobody is named.
    if "ilink" in masters or any(section.get("master") for section in masters.values()):
        known.add("master")
    intervals = data.get("time_intervals")
    times = set(map(str, intervals)) if isinstance(intervals, dict) else set()
    for_alerts = {
        str(name): f"target `{name}` sends to those whom an alert names (`to: from-alert`); name one with an address"
        for name, target in targets
        if target.get("to") in ("from-alert", ["from-alert"])
    }
    from_request = {
        str(name): f"target `{name}` sends to the robot that a sender names in its address; "
        "name one with a key of its own"
        for name, target in targets
        if FROM_REQUEST in (target.get("key"), target.get("access_token"))
    }
    for_alerts |= from_request
    for name, target in targets:
        yield from _check_names(target.get("fallback"), ("targets", name, "fallback"), known, for_alerts)
        channel = str(target.get("channel"))
        if channel in sections and not isinstance(data.get(channel), dict):
            yield ("targets", name), f"target `{name}` uses {channel}, but there is no `{channel}:` section"
    hooks = data.get("hooks")
    for index, entry in list_entries(hooks.get("compat") if isinstance(hooks, dict) else None):
        yield from _check_names(entry.get("to"), ("hooks", "compat", index, "to"), known, {})
    yield from _check_names(data.get("operators"), ("operators",), known, for_alerts)
    yield from _find_circles({str(name): target for name, target in targets})
    for path, route in _walk_routes(data.get("routes"), ("routes",)):
        yield from _check_names(route.get("to"), (*path, "to"), known, from_request)
        for key in ("mute_time_intervals", "active_time_intervals"):
            yield from _check_names(route.get(key), (*path, key), times, {}, "time interval")
    yield from _check_jobs(data.get("jobs"), known, for_alerts)


def _check_names(names: Any, path: TreePath, known: set[str], unfit: Mapping[str, str], what: str = "target") -> _Found:
    """Find the names that are unknown, and those that are unfit in this place, by why."""
    listed = isinstance(names, list)
    for index, name in enumerate(names if listed else [names]):
        place = (*path, index) if listed else path
        if str(name) in unfit:
            yield place, unfit[str(name)]
        elif isinstance(name, str | int) and not isinstance(name, bool) and str(name) not in known:
            from difflib import get_close_matches  # for a slip alone

            close = get_close_matches(str(name), known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(sorted(known)) or 'none'}"
            yield place, f"unknown {what} `{name}`; {hint}"


def _check_jobs(section: Any, known: set[str], for_alerts: Mapping[str, str]) -> _Found:
    seen: set[str] = set()
    for index, job in list_entries(section):
        path = ("jobs", index)
        for key in ("to", "on_error"):
            yield from _check_names(job.get(key), (*path, key), known, for_alerts)
        yield from _find_idle(job, path)
        job_id = None if job.get("id") is None else str(job["id"])
        if job_id in seen:
            yield (*path, "id"), f"the job id `{job_id}` is used twice"
        elif job_id is not None:
            seen.add(job_id)


def _walk_routes(section: Any, path: TreePath) -> Iterator[tuple[TreePath, dict[str, Any]]]:
    """Walk the routes of a section, each followed by those within it."""
    for index, route in list_entries(section):
        yield (*path, index), route
        yield from _walk_routes(route.get("routes"), (*path, index, "routes"))


def _find_idle(job: dict[str, Any], path: TreePath) -> _Found:
    """Find what keeps a job from ever doing anything."""
    if job.get("to") == []:
        yield (*path, "to"), "a job without a target does nothing; name one"
    cron = job.get("cron")
    if isinstance(cron, str | dict) and cron:
        try:
            times = schedule.make_cron_schedule(cron, ZoneInfo("UTC"))
        except (ValueError, TypeError):
            return  # told where values are checked
        if times.next_after(datetime.now(UTC)) is None:
            yield (*path, "cron"), f"`{path[0]}.{path[1]}.cron`: {cron!r} never comes; is there such a day?"


def _find_circles(targets: Mapping[str, dict[str, Any]]) -> _Found:
    """Find fallbacks that lead back to where they began, each circle at the target that stands first."""
    graph: dict[str, set[str]] = {}
    for name, target in targets.items():
        names = target.get("fallback")
        graph[name] = {str(each) for each in (names if isinstance(names, list) else [names])} & targets.keys()
    order = list(targets)
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            ring = error.args[1][:0:-1]
            start = ring.index(min(ring, key=order.index))
            ring = [*ring[start:], *ring[:start]]
            graph[ring[-1]].discard(ring[0])
            if len(ring) == 1:
                text = f"target `{ring[0]}` falls back on itself; name another target"
            else:
                text = f"fallbacks go in a circle: {' → '.join([*ring, ring[0]])}; let the last of them have none"
            yield ("targets", ring[0], "fallback"), text
        else:
            return
