"""The commands about jobs: which there are, running one now, letting one rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from wxbridge.bot.command import Answer, CannotAnswer, Command, Permission, Question
from wxbridge.bot.commands.alert_arguments import read_silence
from wxbridge.bot.phrases import quoted
from wxbridge.core.model import Text
from wxbridge.core.text import units
from wxbridge.core.text.i18n import Language
from wxbridge.jobs import store
from wxbridge.jobs.store import JobStatus, Mute

SHOWN = 30
"""How many jobs are listed."""
_ERROR_SHOWN = 80
"""Characters."""
_USUALLY_TOLD = 3
"""Targets that are named; more are counted."""

_WORDS: dict[str, tuple[str, str]] = {
    "no_jobs": ("There are no jobs in jobs.yaml.", "jobs.yaml 中没有任务。"),
    "which": ("Say which job: {ids}", "请写明任务:{ids}"),
    "mute_how": (
        "Say which job, and how long: `mute {id} 2h`, `mute {id} until 18:00`",
        "请写明任务和时长:暂停 {id} 2小时、暂停 {id} 到18:00",
    ),
    "unknown": ("There is no job “{id}”.", "没有名为“{id}”的任务。"),
    "mean": (" Did you mean {ids}?", "是不是 {ids}?"),
    "there_are": (" There are {ids}.", "现有任务:{ids}。"),
    "or": (" or ", " 或 "),
    "and": (", ", "、"),
    "running": ("▶️ Running {id}; the result goes to {to}.", "▶️ 正在执行 {id},结果发往 {to}。"),
    "running_here": ("▶️ Running {id}.", "▶️ 正在执行 {id}。"),
    "and_here": ("{to} and here", "{to} 以及本会话"),
    "busy": ("⏳ {id} is running already, since {since}.", "⏳ {id} 正在执行中(自 {since})。"),
    "muted": (
        "⏸ {id} rests until {until}. `run {id}` works all the same.",
        "⏸ {id} 已暂停至 {until},仍可手动执行:运行 {id}",
    ),
    "unmuted": ("▶️ {id} runs at its times again; next at {next}.", "▶️ {id} 已恢复,下次执行 {next}。"),
    "unmuted_over": ("▶️ {id} does not rest any more, but has no run to come.", "▶️ {id} 已恢复,但没有后续执行时间。"),
    "not_muted": ("{id} was not muted.", "{id} 未被暂停。"),
    "next": ("next {at}", "下次 {at}"),
    "no_next": ("no run to come", "无后续执行"),
    "ok": ("✅ {at}", "✅ {at}"),
    "failed": ("❌ {at}: {error}", "❌ {at}:{error}"),
    "never": ("not run yet", "尚未执行"),
    "now": ("⏳ running since {since}", "⏳ 执行中(自 {since})"),
    "rests": ("⏸ until {until} ({by})", "⏸ 暂停至 {until}({by})"),
    "rests_nobody": ("⏸ until {until}", "⏸ 暂停至 {until}"),
    "more": ("… and {n} more: `jobs WORD` finds them", "……另有 {n} 个,可用 任务 关键字 查找"),
    "none_found": ("No job has “{word}” in its id.", "没有编号包含“{word}”的任务。"),
}


def _say(key: str, language: Language, **fields: object) -> str:
    return _WORDS[key][language == "zh"].format(**fields)


@dataclass(frozen=True)
class JobDesk:
    """What these commands ask of the scheduler; all of it is of `jobs.scheduler.Jobs`."""

    listing: Callable[[], Awaitable[Sequence[JobStatus]]]
    """The configured jobs. Raises `StorageError`."""
    run_now: Callable[[str, Sequence[str]], None]
    """Begin a run, whose result goes to further targets too. Raises `WxbridgeError` where it cannot begin."""
    mute: Callable[[str, float, str], Awaitable[Mute]]
    """Job, until when (seconds since the epoch), by whom. Raises `WxbridgeError`."""
    unmute: Callable[[str], Awaitable[bool]]
    """False where it was not muted. Raises `WxbridgeError`."""


def job_commands(desk: JobDesk) -> list[Command]:
    """The commands `jobs`, `run`, `mute` and `unmute`."""

    def command(
        name: str, answer: Callable[[JobDesk, Question], Awaitable[str]], permission: Permission = Permission.ADMINS
    ) -> Command:
        async def run(question: Question) -> Sequence[Answer]:
            return [Text(await answer(desk, question))]

        words, summary, usage = _HELP[name]
        return Command(name, words, summary, usage, run, permission)

    return [
        command("jobs", _jobs, Permission.EVERYONE),
        command("run", _run),
        command("mute", _mute),
        command("unmute", _unmute),
    ]


_HELP: dict[str, tuple[tuple[str, ...], Mapping[Language, str], Mapping[Language, str]]] = {
    "jobs": (
        ("jobs", "list jobs", "任务", "任务列表"),
        {"en": "the scheduled jobs: their next run, and how the last one went", "zh": "定时任务:下次执行与上次结果"},
        {"en": "jobs [WORD]\njobs inspection", "zh": "任务 [关键字]\n任务 inspection"},
    ),
    "run": (
        ("run", "run job", "运行", "执行"),
        {"en": "run a job now", "zh": "立即执行任务"},
        {"en": "run JOB\nrun inspection", "zh": "运行 任务\n运行 inspection"},
    ),
    "mute": (
        ("mute", "mute job", "暂停"),
        {"en": "let a job rest for a while", "zh": "暂停任务一段时间"},
        {
            "en": "mute JOB TIME\nmute inspection 2h\nmute inspection until 18:00",
            "zh": "暂停 任务 时长\n暂停 inspection 2小时\n暂停 inspection 到18:00",
        },
    ),
    "unmute": (
        ("unmute", "unmute job", "恢复"),
        {"en": "let a job run at its times again", "zh": "恢复任务的定时执行"},
        {"en": "unmute JOB\nunmute inspection", "zh": "恢复 任务\n恢复 inspection"},
    ),
}


async def _jobs(desk: JobDesk, question: Question) -> str:
    language, wanted = question.language, _bare(question)
    jobs = await desk.listing()
    if not jobs:
        return _say("no_jobs", language)
    some = [job for job in jobs if wanted.casefold() in job.id.casefold()]
    if not some:
        raise CannotAnswer(_say("none_found", language, word=quoted(wanted)))
    lines = [_line(job, question.at, language) for job in some[:SHOWN]]
    if len(some) > SHOWN:
        lines.append(_say("more", language, n=len(some) - SHOWN))
    return "\n".join(lines)


def _line(job: JobStatus, at: datetime, language: Language) -> str:
    parts = [
        _say("next", language, at=_moment(job.next_run, at)) if job.next_run else _say("no_next", language),
        _last(job, at, language),
    ]
    if job.running_since is not None:
        parts.append(_say("now", language, since=_moment(job.running_since, at)))
    if job.mute:
        key = "rests" if job.mute.by else "rests_nobody"
        parts.append(_say(key, language, until=_moment(job.mute.until, at), by=job.mute.by))
    return f"• {job.id} ({job.kind}) · {' · '.join(parts)}"


def _last(job: JobStatus, at: datetime, language: Language) -> str:
    last = job.last
    if last is None or last.ok is None:
        return _say("never", language)
    when = _moment(last.started_at, at)
    return (
        _say("ok", language, at=when) if last.ok else _say("failed", language, at=when, error=_short(last.error or ""))
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _ERROR_SHOWN else f"{line[: _ERROR_SHOWN - 1]}…"


def _moment(moment: datetime | float, at: datetime) -> str:
    known = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, at.tzinfo)
    return units.moment(known, at.tzinfo, at) if at.tzinfo else f"{known:%m-%d %H:%M}"


async def _run(desk: JobDesk, question: Question) -> str:
    language = question.language
    job = await _meant(desk, _bare(question), language)
    if job.running_since is not None:
        raise CannotAnswer(_say("busy", language, id=job.id, since=_moment(job.running_since, question.at)))
    here = question.asker.target
    # Else a quick job would be over before anybody is told that it runs.
    question.then.append(partial(desk.run_now, job.id, (here,)))
    if job.to == (here,):
        return _say("running_here", language, id=job.id)
    others = [name for name in job.to if name != here]
    to = _say("and", language).join(others[:_USUALLY_TOLD]) + ("…" if len(others) > _USUALLY_TOLD else "")
    return _say("running", language, id=job.id, to=_say("and_here", language, to=to))


async def _mute(desk: JobDesk, question: Question) -> str:
    language = question.language
    if len(question.words) < 2:  # noqa: PLR2004 - which one, and how long
        job = await _meant(desk, _bare(question), language)
        raise CannotAnswer(_say("mute_how", language, id=job.id))
    asked = read_silence(question.text, question.at, language)
    job = await _meant(desk, asked.what.strip("\"'"), language)
    mute = await desk.mute(job.id, asked.ends_at.timestamp(), question.asker.sender_name)
    return _say("muted", language, id=job.id, until=_moment(mute.until, question.at))


async def _unmute(desk: JobDesk, question: Question) -> str:
    language = question.language
    job = await _meant(desk, _bare(question), language)
    if not await desk.unmute(job.id):
        return _say("not_muted", language, id=job.id)
    if job.next_run is None:
        return _say("unmuted_over", language, id=job.id)
    return _say("unmuted", language, id=job.id, next=_moment(job.next_run, question.at))


def _bare(question: Question) -> str:
    """What was written, as one name: quotes are taken off."""
    return " ".join(question.words)


async def _meant(desk: JobDesk, wanted: str, language: Language) -> JobStatus:
    """The job of that id, whatever the case. Raises `CannotAnswer`, with what may have been meant."""
    jobs = {job.id: job for job in await desk.listing()}
    if not jobs:
        raise CannotAnswer(_say("no_jobs", language))
    some = _say("and", language).join([*jobs][:SHOWN])
    if not wanted:
        raise CannotAnswer(_say("which", language, ids=some))
    found = store.found(wanted, jobs)
    if found is not None:
        return jobs[found]
    like = store.similar(wanted, jobs)
    hint = (
        _say("mean", language, ids=_say("or", language).join(like)) if like else _say("there_are", language, ids=some)
    )
    raise CannotAnswer(_say("unknown", language, id=quoted(wanted)) + hint)
