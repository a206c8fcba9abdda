"""The jobs: when each runs next, how it ended last; run one now, or let it rest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from wxbridge.config.types import parse_duration
from wxbridge.core.audit import AuditAction
from wxbridge.core.errors import BadBody
from wxbridge.web.console.page import ConsoleForm, ConsolePage, PageVisit

HOURS = 24
FOR = ("1h", "8h", "24h", "7d")
"""How long a job can be muted from here."""
MAX_RUNS = 5
"""Of each job that are shown."""


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    jobs = await visit.services.jobs.list_jobs()
    ended = await visit.services.jobs.list_ended_runs(MAX_RUNS)
    start = visit.local(visit.now)
    times = visit.services.jobs.upcoming(start, start + timedelta(hours=HOURS))
    first = (start + timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    return {
        "jobs": [{"it": job, "ended": ended.get(job.id, [])} for job in jobs],
        "lanes": [
            (job.id, bool(job.mute), [_percent(start, at) for at in times.get(job.id, ())], len(times.get(job.id, ())))
            for job in jobs
        ],
        "hours": [
            (_percent(start, at), f"{at:%H}") for hour in range(0, HOURS, 3) if (at := first + timedelta(hours=hour))
        ],
        "choices": FOR,
    }


def _percent(start: Any, at: Any) -> str:
    return f"{min(100.0, max(0.0, (at - start).total_seconds() / (HOURS * 36))):.2f}"


async def _run(visit: PageVisit, form: ConsoleForm) -> str:
    name = form.text("job", 200)
    if visit.services.orders.is_elsewhere:
        await visit.services.orders.place("job", job=name)
    else:
        visit.services.jobs.run_now(name)
    await visit.record(form, AuditAction.RAN, name)
    return visit.say("jobs.started", job=name)


async def _mute(visit: PageVisit, form: ConsoleForm) -> str:
    name, how_long = form.text("job", 200), form.text("for", 20)
    if how_long not in FOR:
        raise BadBody(visit.say("no_such_action"))
    until = visit.now + parse_duration(how_long)
    await visit.services.jobs.mute(name, until, form.read_name())
    await visit.record(form, AuditAction.MUTED, name)
    return visit.say("jobs.muted_until", job=name, time=visit.when(until))


async def _unmute(visit: PageVisit, form: ConsoleForm) -> str:
    name = form.text("job", 200)
    await visit.services.jobs.unmute(name)
    await visit.record(form, AuditAction.UNMUTED, name)
    return visit.say("jobs.unmuted", job=name)


PAGE = ConsolePage(_show, {"run": _run, "mute": _mute, "unmute": _unmute})
