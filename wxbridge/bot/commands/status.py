"""The command `status`: how the bridge is, in a handful of lines."""

from __future__ import annotations

from wxbridge.bot.command import Command
from wxbridge.core.model import ChannelState, MessageState
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_duration

MAX_ERRORS = 3
"""The newest messages that were not delivered, or of which that is not known."""
MAX_TARGETS = 8
MAX_ERROR_CHARS = 80
DAY_SECONDS = 86400.0
_TROUBLE = (MessageState.DEAD, MessageState.EXPIRED, MessageState.UNKNOWN)
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
        lines.append(line if is_up or not status.detail else f"{line} – {shorten(status.detail, MAX_ERROR_CHARS)}")
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
    for key, count in (("unknown", counts[MessageState.UNKNOWN]), ("dead", dead)):
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
    since = command.at.timestamp() - DAY_SECONDS
    return [
        command.say(
            "bot.status.error",
            at=command.format_moment(each.settled_at or each.created_at),
            target=each.target,
            state=command.say(f"bot.status.{each.state.value}_state"),
            error=shorten(each.error or command.say("bot.status.no_words"), MAX_ERROR_CHARS),
        )
        for each in await command.services.outbox.list_settled(_TROUBLE, since=since, limit=MAX_ERRORS)
    ] or [command.say("bot.status.no_errors")]
