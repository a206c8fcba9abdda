"""The job kind `digest`: what happened in a day, a week or another period, told to each target with a chart.

Alerts by name with how often and how long they fired, beside the period before; the jobs that failed; what became of
the target's own messages, and how much of its channel's pace was used. Where nothing happened a line says so.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import structlog
from pydantic import Field
from sqlalchemy import Connection

from wxbridge.alerts import history
from wxbridge.alerts.history import EpisodeTotal
from wxbridge.alerts.severity import severity_rank, write_severity_name
from wxbridge.config.types import Duration, JobSettings, Rate
from wxbridge.core.errors import PictureError
from wxbridge.core.model import MessageState, Picture, PictureSpec, Severity, Text
from wxbridge.core.severities import BUILT_IN
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import Language, say, say_list
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_duration
from wxbridge.delivery.outbox_queries import OutboxQueries
from wxbridge.jobs import Bodies, JobContext, JobKind, LaneBudget
from wxbridge.jobs import store as runs
from wxbridge.jobs.store import FailureCount

log = structlog.get_logger()

_DAY = 86400.0
_SENDS_KEPT = 2 * _DAY
"""Seconds for which attempts to send are kept."""
_STEPS = (300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 7 * 86400)
_MOST_BARS = 28
_RANKED = 10
MAX_ERROR_CHARS = 80
"""Characters."""


class DigestJob(JobSettings):
    """Sum up a period: alerts, jobs, messages."""

    kind: Literal["digest"]
    period: Annotated[Duration, Field(ge=3600)] = _DAY
    """What is summed up: `1d`, `7d`, …, until now; compared with as much time before it, as far as `keep` goes."""
    top: Annotated[int, Field(ge=1, le=50)] = 8
    """How many alerts are told by name, the noisiest first."""
    chart: bool = True
    """Whether to send a chart as well, where there were alerts."""


@dataclass(frozen=True)
class Facts:
    """What there is to tell of a period."""

    since: datetime
    until: datetime
    alerts: Sequence[EpisodeTotal]
    before: Sequence[EpisodeTotal]
    """Of the period before."""
    runs: int
    failures: Sequence[FailureCount]
    messages: Mapping[tuple[str, str], int]
    """How many were settled, by target and state."""
    busiest: Mapping[str, Sequence[tuple[Rate, int]]]
    """By lane: of each rate, how much was used at most."""

    @property
    def period(self) -> float:
        """Seconds."""
        return self.until.timestamp() - self.since.timestamp()


# ---------------------------------------------------------------- reading


async def gather(context: JobContext, since: datetime, until: datetime, budgets: Sequence[LaneBudget] = ()) -> Facts:
    """Read what happened from `since` until before `until`. Raises `StorageError`."""
    first, last = since.timestamp(), until.timestamp()

    def read(connection: Connection) -> tuple[list[EpisodeTotal], list[EpisodeTotal], tuple[int, list[FailureCount]]]:
        alerts = history.sum_up_episodes(connection, first, last)
        before = history.sum_up_episodes(connection, 2 * first - last, first)
        return alerts, before, runs.count_failures(connection, first, last)

    alerts, before, (ran, failed) = await context.read(read)
    since_kept = max(first, last - _SENDS_KEPT)
    return Facts(
        since,
        until,
        alerts=alerts,
        before=before,
        runs=ran,
        failures=failed,
        messages=await context.outbox.count_settled(since=first, until=last),
        busiest={budget.lane: await _busiest(context.outbox, budget, since_kept) for budget in budgets if budget.rates},
    )


async def _busiest(outbox: OutboxQueries, budget: LaneBudget, since: float) -> list[tuple[Rate, int]]:
    times = [attempt.at for attempt in await outbox.list_attempts(budget.lane, since=since)]
    return [(rate, most_within(times, rate.seconds)) for rate in budget.rates]


def most_within(times: Sequence[float], seconds: float) -> int:
    """How many of some moments, the oldest first, lie in one stretch of so many seconds at most."""
    most = first = 0
    for index, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, index - first + 1)
    return most


# ---------------------------------------------------------------- the text


def title_of(facts: Facts, language: Language) -> str:
    """What the period is called, and from when to when it was."""
    span = format_duration(facts.period, language)
    names = {_DAY: "day", 7 * _DAY: "week"}
    # A day is one by the calendar too, where the clock was put on or back within.
    same_clock = facts.since.time() == facts.until.time()
    days = (facts.until.date() - facts.since.date()).days if same_clock else 0
    name = names.get(days * _DAY or facts.period, "period")
    called = say(f"jobs.digest.{name}", language, span=span)
    period = f"{facts.since:%m-%d %H:%M} – {facts.until:%m-%d %H:%M}"
    return say("jobs.digest.title", language, name=called, period=period)


def text_of(facts: Facts, target: str, budget: LaneBudget | None, language: Language, top: int) -> str:
    """The summary as one target reads it."""
    sent, unknown, dead, taken = _outcomes(facts, target)
    if not (facts.alerts or facts.failures or unknown or dead or taken):
        return _quiet(facts, sent, language)
    parts = [f"📊 {title_of(facts, language)}", "\n".join(_alert_lines(facts, language, top))]
    lines = [_job_line(facts, language)] if facts.runs else []
    line = say("jobs.digest.messages", language, target=target, sent=sent, unknown=unknown, dead=dead)
    lines.append(line + (say("jobs.digest.taken_over", language, n=taken) if taken else ""))
    rates = facts.busiest.get(budget.lane, ()) if budget else ()
    if budget and rates:
        each = [say("jobs.digest.rate", language, used=used, rate=rate) for rate, used in rates]
        used = say("jobs.digest.and", language).join(each)
        part = say("jobs.digest.pace_part", language) if facts.period > _SENDS_KEPT else ""
        lines.append(say("jobs.digest.pace", language, lane=budget.lane, rates=used) + part)
    return "\n\n".join([*parts, "\n".join(lines)])


def _outcomes(facts: Facts, target: str) -> tuple[int, int, int, int]:
    """Of a target's messages: sent, unknown, dead or expired, taken over."""
    count = {state: facts.messages.get((target, state), 0) for state in MessageState}
    dead = count[MessageState.DEAD] + count[MessageState.EXPIRED]
    return count[MessageState.SENT], count[MessageState.UNKNOWN], dead, count[MessageState.FAILED_OVER]


def _quiet(facts: Facts, sent: int, language: Language) -> str:
    said = [say("jobs.digest.no_alerts", language) + _before(_count(facts.before), language)]
    if facts.runs:
        said.append(say("jobs.digest.runs_well", language, n=facts.runs))
    if sent:
        said.append(say("jobs.digest.sent_well", language, n=sent))
    rest = say("text.also", language).join(said) + say("jobs.digest.stop", language)
    return say("jobs.digest.quiet", language, title=title_of(facts, language), rest=rest)


def _count(totals: Sequence[EpisodeTotal]) -> int:
    return sum(each.count for each in totals)


def _before(value: object, language: Language) -> str:
    return say("jobs.digest.before", language, value=value)


def _alert_lines(facts: Facts, language: Language, top: int) -> list[str]:
    if not facts.alerts:
        return [f"🔔 {say('jobs.digest.no_alerts', language)}{_before(_count(facts.before), language)}"]
    counts: dict[str, int] = defaultdict(int)
    for each in facts.alerts:
        counts[BUILT_IN.find(each.severity) or each.severity] += each.count
    severities = [
        say("jobs.digest.severity", language, n=counts[word], word=_severity_word(word, language))
        for word in sorted(counts, key=lambda word: (severity_rank(word), not word, word))
    ]
    lines = [
        say("jobs.digest.alerts", language, n=_count(facts.alerts), before=_before(_count(facts.before), language),
             severities=say("jobs.digest.and", language).join(severities)),
        say("jobs.digest.fired", language, time=_time(facts.alerts, language),
             before=_before(_time(facts.before, language), language)),
    ]  # fmt: skip
    if still := sum(each.firing for each in facts.alerts):
        lines.append(say("jobs.digest.still", language, n=still))
    earlier = {(each.name, each.severity): each.count for each in facts.before}
    for place, each in enumerate(facts.alerts[:top], 1):
        known = earlier.get((each.name, each.severity))
        new = say("jobs.digest.new", language) if facts.before else ""
        row = {
            "severity": say("jobs.digest.row_severity", language, word=write_severity_name(each.severity, language))
            if each.severity
            else "",
            "before": _before(known, language) if known else new,
            "still": say("jobs.digest.row_still", language) if each.firing else "",
        }
        time = format_duration(each.seconds, language)
        lines.append(say("jobs.digest.row", language, place=place, name=each.name, n=each.count, time=time, **row))
    if others := facts.alerts[top:]:
        lines.append(say("alerts.digest.more_kinds", language, kinds=len(others), n=_count(others)))
    return lines


def _time(totals: Sequence[EpisodeTotal], language: Language) -> str:
    return format_duration(sum(each.seconds for each in totals), language)


def _job_line(facts: Facts, language: Language) -> str:
    if not facts.failures:
        return say("jobs.digest.ran", language, n=facts.runs)
    jobs = [
        say("jobs.digest.failed_job", language, job=each.job, n=each.failed,
            error=shorten(tell_error(each.error, language), MAX_ERROR_CHARS))
        for each in facts.failures
    ]  # fmt: skip
    failed = sum(each.failed for each in facts.failures)
    told = say("jobs.digest.and", language).join(jobs)
    return say("jobs.digest.failed", language, n=facts.runs, failed=failed, jobs=told)


# ---------------------------------------------------------------- the chart


def step_of(period: float) -> int:
    """How long a bar's stretch is, in seconds: as short as there are not too many of them."""
    return next((step for step in _STEPS if period / step <= _MOST_BARS), math.ceil(period / _MOST_BARS))


def chart_of(
    facts: Facts, began: Mapping[str, Sequence[int]], start: float, step: int, context: JobContext
) -> PictureSpec:
    """The picture of a period in which there were alerts: when they began, and how long they fired."""
    language = context.language
    rows = sorted(facts.alerts, key=lambda each: -each.seconds)
    left = len(rows) - _RANKED
    params: dict[str, Any] = {
        "title": title_of(facts, language),
        "timezone": str(context.now.tzinfo),
        "ranking": {
            "title": say("jobs.digest.ranking", language),
            "rows": [
                {
                    "name": f"{each.name} [{_severity_word(each.severity, language)}]" if each.severity else each.name,
                    "value": each.seconds,
                    "text": say("jobs.digest.bar", language, time=format_duration(each.seconds, language), n=each.count)
                    + (say("jobs.digest.row_still", language) if each.firing else ""),
                    "colour": _colour(each.severity),
                }
                for each in rows[:_RANKED]
            ],
            "note": say("jobs.digest.bar_more", language, n=left) if left > 0 else "",
        },
    }
    if began:
        params["timeline"] = {
            "title": say("jobs.digest.timeline", language, span=format_duration(step, language)),
            "start": start,
            "step": step,
            "series": _series(began, language),
        }
    return PictureSpec("bars", params)


def _series(began: Mapping[str, Sequence[int]], language: Language) -> list[dict[str, Any]]:
    """Severities of one colour are one bar; the worst are at the bottom."""
    words: dict[str, list[str]] = {}
    for word in sorted(began, key=lambda word: (severity_rank(word), not word, word)):
        words.setdefault(_colour(word), []).append(word)
    return [
        {
            "name": say_list(dict.fromkeys(_severity_word(word, language) for word in some), language),
            "colour": colour,
            "counts": [sum(counts) for counts in zip(*(began[word] for word in some), strict=True)],
        }
        for colour, some in words.items()
    ]


_COLOURS = {Severity.CRITICAL: "red", Severity.MAJOR: "amber", Severity.WARNING: "amber"}


def _severity_word(name: str, language: Language) -> str:
    return write_severity_name(name, language) if name else say("jobs.digest.no_severity", language)


def _colour(name: str) -> str:
    severity = BUILT_IN.find(name)
    return _COLOURS.get(severity, "blue") if severity else "blue" if name else "grey"


# ---------------------------------------------------------------- the job


async def run(context: JobContext, job: DigestJob) -> Mapping[str, Bodies]:
    """Sum up the period until now, for each target."""
    until, since = context.now, _earlier(context.now, job.period)
    lanes = {budget.lane: budget for name, budget in context.budgets.items() if name in context.targets}
    period = until.timestamp() - since.timestamp()
    step = step_of(period)
    steps = math.ceil(period / step)
    # Every bar is of the same length, so that the first may begin before the period.
    start = until.timestamp() - steps * step
    facts = await gather(context, since, until, list(lanes.values()))
    began = await context.read(lambda connection: history.count_beginnings(connection, start, step, steps))
    pictures: Bodies = ()
    if job.chart and facts.alerts:
        pictures = [await _picture(chart_of(facts, began, start, step, context), context, job)]
    return {
        name: [Text(text_of(facts, name, context.budgets.get(name), context.language, job.top)), *pictures]
        for name in context.targets
    }


def _earlier(now: datetime, period: float) -> datetime:
    """So many seconds before: whole days by the calendar, so that yesterday's summary and today's meet."""
    days, rest = divmod(period, _DAY)
    if rest:
        return datetime.fromtimestamp(now.timestamp() - period, now.tzinfo)
    return now - timedelta(days=days)


async def _picture(spec: PictureSpec, context: JobContext, job: DigestJob) -> Any:
    try:
        return await context.keep(await context.draw(spec), f"{job.id}.png")
    except PictureError as error:
        # The text says it all, and goes all the same; delivery tries once more, and tells those in charge.
        log.error("the chart could not be drawn", job=job.id, error=str(error))  # noqa: TRY400
        return Picture(spec=spec, name=f"{job.id}.png")


KIND = JobKind(DigestJob, run)
