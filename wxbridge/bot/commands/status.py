"""The command `status`: how the bridge is, in a handful of lines."""

from __future__ import annotations

from wxbridge.bot.command import Command
from wxbridge.core.model import ChannelState, MessageState
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_duration
from wxbridge.jobs import store

MAX_ERRORS = 3
"""The newest of what went wrong: messages, jobs, pictures."""
MAX_TARGETS = 8
MAX_ERROR_CHARS = 80
DAY_SECONDS = 86400.0
MAX_NAME_CHARS = 40
_TROUBLE = (MessageState.DEAD, MessageState.EXPIRED, MessageState.UNKNOWN, MessageState.NO_PICTURE)
_PASSING = (ChannelState.STARTING, ChannelState.CONNECTING)


async def show_status(command: Command) -> str:
    """Say how channels, backlog and pace are, and what went wrong last."""
    lines = [
        *_describe_channels(command),
        *await _describe_backlog(command),
        await _describe_today(command),
        *_describe_pace(command),
        *await _describe_errors(command),
    ]
    return "\n".join(lines)


def _describe_channels(command: Command) -> list[str]:
    lines = []
    for name, status in command.services.channels.statuses().items():
        is_up = status.state is ChannelState.ONLINE
        key = "online" if is_up else "starting" if status.state in _PASSING else "state"
        state = command.say(f"bot.status.channel.{status.state.value}")
        line = command.say(f"bot.status.{key}", name=name, state=state, since=command.format_moment(status.since))
        detail = "" if is_up else shorten(tell_error(status.detail, command.language), MAX_ERROR_CHARS)
        lines.append(f"{line} – {detail}" if detail else line)
    return lines or [command.say("bot.status.no_channels")]


async def _describe_backlog(command: Command) -> list[str]:
    backlog = sorted(await command.services.outbox.count_backlog(), key=lambda each: each.oldest_at)
    now = command.at.timestamp()
    lines = []
    for each in backlog[:MAX_TARGETS]:
        age = format_duration(now - each.oldest_at, command.language)
        lines.append(command.say("bot.status.waits", target=each.target, n=each.waiting, age=age))
    if others := backlog[MAX_TARGETS:]:
        lines.append(command.say("bot.status.more_wait", n=len(others), count=sum(each.waiting for each in others)))
    return lines or [command.say("bot.status.empty")]


async def _describe_today(command: Command) -> str:
    midnight = command.at.replace(hour=0, minute=0, second=0, microsecond=0)
    settled = await command.services.outbox.count_settled(since=midnight.timestamp(), until=command.at.timestamp() + 1)
    counts = {state: sum(n for (_, its), n in settled.items() if its == state) for state in MessageState}
    dead = counts[MessageState.DEAD] + counts[MessageState.EXPIRED]
    line = command.say("bot.status.today", sent=counts[MessageState.SENT])
    _, failures = await command.services.database.read(
        lambda c: store.count_failures(c, midnight.timestamp(), command.at.timestamp() + 1)
    )
    asked_for = sum(each.at >= midnight.timestamp() for each in command.services.failed_drawings)
    for key, count in (
        ("unknown", counts[MessageState.UNKNOWN]),
        ("dead", dead),
        ("failed_jobs", sum(each.failed for each in failures)),
        ("missing_pictures", counts[MessageState.NO_PICTURE] + asked_for),
    ):
        line += command.say(f"bot.status.{key}", n=count) if count else ""
    return line


def _describe_pace(command: Command) -> list[str]:
    lines = []
    for lane, windows in command.services.lanes.budgets().items():
        left = [command.say("bot.status.window", left=left, rate=rate) for rate, left in windows.items()]
        if left:
            lines.append(command.say("bot.status.left", lane=lane, windows=command.say("bot.status.and").join(left)))
    return lines


async def _describe_errors(command: Command) -> list[str]:
    """Say what went wrong last: messages, jobs and pictures, the newest first."""
    since, services = command.at.timestamp() - DAY_SECONDS, command.services
    found = [
        (each.settled_at or each.created_at, each.target, each.state.value, each.error)
        for each in await services.outbox.list_settled(_TROUBLE, since=since, limit=MAX_ERRORS)
    ]
    runs = await services.database.read(lambda c: store.list_failures(c, since, limit=MAX_ERRORS))
    found += [(run.started_at, run.job, "job", run.error) for run in runs]
    found += [(each.at, each.what, "no_picture", each.error) for each in services.failed_drawings if each.at >= since]
    found.sort(key=lambda each: each[0], reverse=True)
    return [
        command.say(
            "bot.status.error",
            at=command.format_moment(at),
            target=shorten(what, MAX_NAME_CHARS),
            state=command.say(f"bot.status.{state}_state"),
            error=shorten(
                tell_error(error, command.language) if error else command.say("bot.status.no_words"), MAX_ERROR_CHARS
            ),
        )
        for at, what, state, error in found[:MAX_ERRORS]
    ] or [command.say("bot.status.no_errors")]
