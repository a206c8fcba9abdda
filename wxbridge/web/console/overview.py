"""What is going on, in a few figures: for the first page, and for the badges of the menu."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from wxbridge.alerts.firing import FiringAlert, FiringOverview
from wxbridge.alerts.severity import severity_rank, write_severity_name
from wxbridge.core.findings import FindingState
from wxbridge.core.model import MessageState
from wxbridge.web.console.page import PageCounts, PageVisit, choose_tone
from wxbridge.web.services import WebServices

PATIENCE_SECONDS = 0.08
"""For which a page waits for a monitor's answer; then it shows what that said last."""
MAX_JOBS_SHOWN = 4
MAX_MACHINES_SHOWN = 6
_FAILED = (MessageState.DEAD, MessageState.EXPIRED, MessageState.UNKNOWN)


@dataclass(frozen=True)
class Badge:
    """A count beside a page's name in the menu. `words` say what is counted."""

    count: int
    tone: str
    words: str


async def read_counts(visit: PageVisit) -> PageCounts:
    """Read the figures that change often; those who ask within a few seconds share them. Raises `StorageError`."""
    today = visit.local(visit.now).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    return await visit.memory.counts.get_or_create("", partial(_count, visit.services, today, visit.now))


async def _count(services: WebServices, today: float, now: float) -> PageCounts:
    settled = Counter[str]()
    for (_, state), count in (await services.outbox.count_settled(since=today, until=now + 1)).items():
        settled[state] += count
    backlog = await services.outbox.count_backlog()
    return PageCounts(
        firing=await services.alerts.count_firing(),
        sent=settled[MessageState.SENT],
        failed=sum(settled[state] for state in _FAILED),
        waiting=sum(row.waiting for row in backlog),
        oldest_at=min((row.oldest_at for row in backlog), default=None),
    )


async def read_overview(visit: PageVisit) -> FiringOverview:
    """Read what fires, by all that know; those who ask within a few seconds share it, and nobody waits for the dead."""
    return await visit.memory.overview.get_or_create("", partial(visit.services.alerts.overview, PATIENCE_SECONDS))


async def list_badges(visit: PageVisit) -> Mapping[str, Badge]:
    """List the badges of the menu, by the name of the page; a page that needs no looking at has none."""
    services, found = visit.services, {}
    counts = await read_counts(visit)
    away = sum(choose_tone(status.state) == "bad" for status in services.channels.statuses().values())
    bad = sum(finding.state is FindingState.BAD for finding in visit.memory.findings)
    for page, count, tone in (
        ("timeline", counts.failed, "bad"),
        ("alerts", counts.firing, "warn"),
        ("login", away, "bad"),
        ("configuration", len(services.state.problems), "bad"),
        ("doctor", bad, "bad"),
    ):
        if count:
            found[page] = Badge(count, tone, visit.say(f"badge.{page}", n=count))
    return found


def count_by_severity(visit: PageVisit, alerts: Iterable[FiringAlert]) -> list[tuple[str, str, int]]:
    """Count alerts by severity, the worst first: its name, its word, and how many."""
    counts = Counter(each.severity for each in alerts)
    return [
        (name, write_severity_name(name, visit.language) or visit.say("alerts.no_severity"), counts[name])
        for name in sorted(counts, key=severity_rank)
    ]


async def describe_overview(visit: PageVisit) -> Mapping[str, Any]:
    """Describe what is going on: what fires by severity, today's messages, channels, the next jobs, machines."""
    firing = (await read_overview(visit)).alerts
    jobs = [job for job in await visit.services.jobs.list_jobs() if job.next_run]
    jobs.sort(key=lambda job: job.next_run or visit.local(visit.now))
    hosts = visit.services.hosts.list_hosts()
    return {
        "counts": await read_counts(visit),
        "severities": count_by_severity(visit, firing),
        "jobs": jobs[:MAX_JOBS_SHOWN],
        "hosts": sorted(hosts, key=lambda host: (host.silent_since is None, host.name))[:MAX_MACHINES_SHOWN],
        "silent": sum(host.silent_since is not None for host in hosts),
        "machines": len(hosts),
        "since_today": visit.local(visit.now).strftime("%Y-%m-%dT00:00"),
    }
