"""The commands about jobs: which there are, running one now, letting one rest."""

from __future__ import annotations

from functools import partial

from wxbridge.bot.command import Choices, Command, Reply, number_lines, quote_word
from wxbridge.bot.commands.alert_arguments import parse_silence
from wxbridge.core.audit import AuditAction
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.model import Text
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.splitting import shorten
from wxbridge.jobs import store
from wxbridge.jobs.store import JobStatus

MAX_JOBS = 30
"""That are listed."""
MAX_ERROR_CHARS = 80
MAX_TARGETS = 3
"""That are named; more are only hinted at."""


async def list_jobs(command: Command) -> Reply | str:
    """List the jobs, with their next run and how the last one went."""
    word = _name(command)
    jobs = await command.services.jobs.list_jobs()
    if not jobs:
        return command.say("bot.jobs.no_jobs")
    found = [job for job in jobs if word.casefold() in job.id.casefold()]
    if not found:
        raise command.refuse("bot.jobs.none_found", word=shorten(word))
    described = [_describe(job, command) for job in found[:MAX_JOBS]]
    lines = number_lines(described) if len(described) > 1 else [f"• {described[0]}"]
    if len(found) > MAX_JOBS:
        lines.append(command.say("bot.jobs.more", n=len(found) - MAX_JOBS))
    choices = Choices(tuple(quote_word(job.id) for job in found[:MAX_JOBS]), "jobs", ("run", "mute", "unmute"))
    return Reply((Text("\n".join(lines)),), choices=choices)


def _describe(job: JobStatus, command: Command) -> str:
    at = command.format_moment
    parts = [
        command.say("bot.jobs.next", at=at(job.next_run)) if job.next_run else command.say("bot.jobs.no_next"),
        _describe_last_run(job, command),
    ]
    if job.running_since is not None:
        parts.append(command.say("bot.jobs.now", since=at(job.running_since)))
    if job.mute:
        key = "bot.jobs.rests" if job.mute.by else "bot.jobs.rests_nobody"
        parts.append(command.say(key, until=at(job.mute.until), by=job.mute.by))
    return f"{job.id} ({job.kind}) · {' · '.join(parts)}"


def _describe_last_run(job: JobStatus, command: Command) -> str:
    last = job.last
    if last is None or last.ok is None:
        return command.say("bot.jobs.never")
    at = command.format_moment(last.started_at)
    if last.ok:
        return command.say("bot.jobs.ok", at=at)
    return command.say(
        "bot.jobs.failed", at=at, error=shorten(tell_error(last.error or "", command.language), MAX_ERROR_CHARS)
    )


async def run(command: Command) -> Reply:
    """Run a job now; what it makes goes to its targets and to this chat."""
    job = await _find_job(command, _name(command))
    if job.running_since is not None:
        raise command.refuse("bot.jobs.busy", id=job.id, since=command.format_moment(job.running_since))
    here = command.sender.target
    others = [name for name in job.to if name != here]
    if job.to == (here,):
        text = command.say("bot.jobs.running_here", id=job.id)
    else:
        to = command.say("bot.jobs.and").join(others[:MAX_TARGETS]) + ("…" if len(others) > MAX_TARGETS else "")
        text = command.say("bot.jobs.running", id=job.id, to=command.say("bot.jobs.and_here", to=to))
    await command.record(AuditAction.RAN, job.id)
    # Else a quick job would be over before anybody is told that it runs.
    return Reply((Text(text),), then=partial(command.services.jobs.run_now, job.id, (here,)))


async def mute(command: Command) -> str:
    """Pass over a job's runs for a while."""
    if len(command.words) < 2:  # noqa: PLR2004 - which one, and how long
        job = await _find_job(command, _name(command))
        raise command.refuse("bot.jobs.mute_how", id=job.id)
    asked = parse_silence(command.text, command.at, command.language)
    job = await _find_job(command, asked.what.strip("\"'"))
    made = await command.services.jobs.mute(job.id, asked.ends_at.timestamp(), command.sender.name)
    await command.record(AuditAction.MUTED, job.id)
    return command.say("bot.jobs.muted", id=job.id, until=command.format_moment(made.until))


async def unmute(command: Command) -> str:
    """Have a job run at its times again."""
    job = await _find_job(command, _name(command))
    if not await command.services.jobs.unmute(job.id):
        return command.say("bot.jobs.not_muted", id=job.id)
    await command.record(AuditAction.UNMUTED, job.id)
    job = await _find_job(command, job.id)
    if job.next_run is None:
        return command.say("bot.jobs.unmuted_over", id=job.id)
    return command.say("bot.jobs.unmuted", id=job.id, next=command.format_moment(job.next_run))


def _name(command: Command) -> str:
    """Give what was written as one name: quotes are taken off."""
    return " ".join(command.words)


async def _find_job(command: Command, name: str) -> JobStatus:
    """Find the job of an id, whatever the case. Raises `CannotAnswer`, with what may have been meant."""
    jobs = {job.id: job for job in await command.services.jobs.list_jobs()}
    if not jobs:
        raise command.refuse("bot.jobs.no_jobs")
    some = command.say("bot.jobs.and").join([*jobs][:MAX_JOBS])
    if not name:
        raise command.refuse("bot.jobs.which", ids=some)
    found = store.match_job_id(name, jobs)
    if found is not None:
        return jobs[found]
    similar = store.similar_job_ids(name, jobs)
    if similar:
        hint = command.say("bot.jobs.mean", ids=command.say("bot.jobs.or").join(similar))
    else:
        hint = command.say("bot.jobs.there_are", ids=some)
    raise CannotAnswer(command.say("bot.jobs.unknown", id=shorten(name)) + hint)
