"""The commands about jobs: which there are, running one now, letting one rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

from wxbridge.bot.command import Answer, CannotAnswer, Command, Permission, Question
from wxbridge.bot.commands.alert_arguments import read_silence
from wxbridge.core.model import Text
from wxbridge.core.text import units
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import shorten
from wxbridge.jobs import store
from wxbridge.jobs.scheduler import JobScheduler
from wxbridge.jobs.store import JobStatus

SHOWN = 30
"""How many jobs are listed."""
MAX_ERROR_CHARS = 80
"""Characters."""
_USUALLY_TOLD = 3
"""Targets that are named; more are counted."""


def job_commands(scheduler: JobScheduler) -> list[Command]:
    """The commands `jobs`, `run`, `mute` and `unmute`."""

    def command(
        name: str,
        answer: Callable[[JobScheduler, Question], Awaitable[str]],
        permission: Permission = Permission.ADMINS,
    ) -> Command:
        async def run(question: Question) -> Sequence[Answer]:
            return [Text(await answer(scheduler, question))]

        return Command.from_catalogue(name, run, permission)

    return [
        command("jobs", _jobs, Permission.EVERYONE),
        command("run", _run),
        command("mute", _mute),
        command("unmute", _unmute),
    ]


async def _jobs(scheduler: JobScheduler, question: Question) -> str:
    language, wanted = question.language, _bare(question)
    jobs = await scheduler.list_jobs()
    if not jobs:
        return say("bot.jobs.no_jobs", language)
    some = [job for job in jobs if wanted.casefold() in job.id.casefold()]
    if not some:
        raise CannotAnswer(say("bot.jobs.none_found", language, word=shorten(wanted)))
    lines = [_line(job, question.at, language) for job in some[:SHOWN]]
    if len(some) > SHOWN:
        lines.append(say("bot.jobs.more", language, n=len(some) - SHOWN))
    return "\n".join(lines)


def _line(job: JobStatus, at: datetime, language: Language) -> str:
    parts = [
        say("bot.jobs.next", language, at=_moment(job.next_run, at))
        if job.next_run
        else say("bot.jobs.no_next", language),
        _last(job, at, language),
    ]
    if job.running_since is not None:
        parts.append(say("bot.jobs.now", language, since=_moment(job.running_since, at)))
    if job.mute:
        key = "bot.jobs.rests" if job.mute.by else "bot.jobs.rests_nobody"
        parts.append(say(key, language, until=_moment(job.mute.until, at), by=job.mute.by))
    return f"• {job.id} ({job.kind}) · {' · '.join(parts)}"


def _last(job: JobStatus, at: datetime, language: Language) -> str:
    last = job.last
    if last is None or last.ok is None:
        return say("bot.jobs.never", language)
    when = _moment(last.started_at, at)
    if last.ok:
        return say("bot.jobs.ok", language, at=when)
    return say("bot.jobs.failed", language, at=when, error=shorten(last.error or "", MAX_ERROR_CHARS))


def _moment(moment: datetime | float, at: datetime) -> str:
    known = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, at.tzinfo)
    return units.format_moment(known, at.tzinfo, at) if at.tzinfo else f"{known:%m-%d %H:%M}"


async def _run(scheduler: JobScheduler, question: Question) -> str:
    language = question.language
    job = await _meant(scheduler, _bare(question), language)
    if job.running_since is not None:
        raise CannotAnswer(say("bot.jobs.busy", language, id=job.id, since=_moment(job.running_since, question.at)))
    here = question.asker.target
    # Else a quick job would be over before anybody is told that it runs.
    question.then.append(partial(scheduler.run_now, job.id, (here,)))
    if job.to == (here,):
        return say("bot.jobs.running_here", language, id=job.id)
    others = [name for name in job.to if name != here]
    to = say("bot.jobs.and", language).join(others[:_USUALLY_TOLD]) + ("…" if len(others) > _USUALLY_TOLD else "")
    return say("bot.jobs.running", language, id=job.id, to=say("bot.jobs.and_here", language, to=to))


async def _mute(scheduler: JobScheduler, question: Question) -> str:
    language = question.language
    if len(question.words) < 2:  # noqa: PLR2004 - which one, and how long
        job = await _meant(scheduler, _bare(question), language)
        raise CannotAnswer(say("bot.jobs.mute_how", language, id=job.id))
    asked = read_silence(question.text, question.at, language)
    job = await _meant(scheduler, asked.what.strip("\"'"), language)
    mute = await scheduler.mute(job.id, asked.ends_at.timestamp(), question.asker.sender_name)
    return say("bot.jobs.muted", language, id=job.id, until=_moment(mute.until, question.at))


async def _unmute(scheduler: JobScheduler, question: Question) -> str:
    language = question.language
    job = await _meant(scheduler, _bare(question), language)
    if not await scheduler.unmute(job.id):
        return say("bot.jobs.not_muted", language, id=job.id)
    if job.next_run is None:
        return say("bot.jobs.unmuted_over", language, id=job.id)
    return say("bot.jobs.unmuted", language, id=job.id, next=_moment(job.next_run, question.at))


def _bare(question: Question) -> str:
    """What was written, as one name: quotes are taken off."""
    return " ".join(question.words)


async def _meant(scheduler: JobScheduler, wanted: str, language: Language) -> JobStatus:
    """The job of that id, whatever the case. Raises `CannotAnswer`, with what may have been meant."""
    jobs = {job.id: job for job in await scheduler.list_jobs()}
    if not jobs:
        raise CannotAnswer(say("bot.jobs.no_jobs", language))
    some = say("bot.jobs.and", language).join([*jobs][:SHOWN])
    if not wanted:
        raise CannotAnswer(say("bot.jobs.which", language, ids=some))
    found = store.match_job_id(wanted, jobs)
    if found is not None:
        return jobs[found]
    like = store.similar_job_ids(wanted, jobs)
    if like:
        hint = say("bot.jobs.mean", language, ids=say("bot.jobs.or", language).join(like))
    else:
        hint = say("bot.jobs.there_are", language, ids=some)
    raise CannotAnswer(say("bot.jobs.unknown", language, id=shorten(wanted)) + hint)
