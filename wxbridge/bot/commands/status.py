"""The command `status`: how the bridge is, in a handful of lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from wxbridge.bot.command import Answer, Command, Question
from wxbridge.core.model import ChannelState, ChannelStatus, Message, MessageState, Text
from wxbridge.core.text import units
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import shorten
from wxbridge.delivery.outbox_queries import OutboxQueries

ERRORS_SHOWN = 3
"""The newest messages that were not delivered, or of which that is not known."""
_TARGETS_SHOWN = 8
MAX_ERROR_CHARS = 80
"""Characters."""
_DAY = 86400.0
_TROUBLE = (MessageState.DEAD, MessageState.EXPIRED, MessageState.UNKNOWN)

Budgets = Mapping[str, Mapping[str, int]]
"""By lane: how many may still go in each window of its pace, by rate (`Pacer.windows_left`)."""

_PASSING = (ChannelState.STARTING, ChannelState.CONNECTING)


def status_command(
    channels: Callable[[], Mapping[str, ChannelStatus]], budgets: Callable[[], Budgets], outbox: OutboxQueries
) -> Command:
    """The command `status`.

    Args:
        channels: `Bridge.statuses`.
        budgets: What is left of each lane's pace now.
        outbox: The bridge's outbox.
    """

    async def run(question: Question) -> Sequence[Answer]:
        language, at = question.language, question.at
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        now = at.timestamp()

        backlog = await outbox.count_backlog()
        tally = await outbox.count_settled(since=midnight, until=now + 1)
        troubles = await outbox.list_settled(_TROUBLE, since=now - _DAY, limit=ERRORS_SHOWN)
        lines = [
            *_channel_lines(channels(), at, language),
            *_backlog_lines(backlog, now, language),
            _today(tally, language),
            *_budget_lines(budgets(), language),
            *_error_lines(troubles, at, language),
        ]
        return [Text("\n".join(lines))]

    return Command.from_catalogue("status", run)


def _channel_lines(channels: Mapping[str, ChannelStatus], at: datetime, language: Language) -> list[str]:
    lines = []
    for name, status in channels.items():
        up = status.state is ChannelState.ONLINE
        key = "online" if up else "starting" if status.state in _PASSING else "state"
        state = say(f"bot.status.channel.{status.state.value}", language)
        line = say(f"bot.status.{key}", language, name=name, state=state, since=_moment(status.since, at))
        lines.append(line if up or not status.detail else f"{line} – {shorten(status.detail, MAX_ERROR_CHARS)}")
    return lines or [say("bot.status.no_channels", language)]


def _backlog_lines(backlog: Sequence[tuple[str, int, float]], now: float, language: Language) -> list[str]:
    oldest_first = sorted(backlog, key=lambda each: each[2])
    lines = [
        say("bot.status.waits", language, target=target, n=count, age=units.format_duration(now - created, language))
        for target, count, created in oldest_first[:_TARGETS_SHOWN]
    ]
    if others := oldest_first[_TARGETS_SHOWN:]:
        lines.append(say("bot.status.more_wait", language, n=len(others), count=sum(count for _, count, _ in others)))
    return lines or [say("bot.status.empty", language)]


def _today(tally: Mapping[tuple[str, str], int], language: Language) -> str:
    counts = {state: sum(n for (_, its), n in tally.items() if its == state) for state in MessageState}
    line = say("bot.status.today", language, sent=counts[MessageState.SENT])
    dead = counts[MessageState.DEAD] + counts[MessageState.EXPIRED]
    for key, count in (("unknown", counts[MessageState.UNKNOWN]), ("dead", dead)):
        line += say(f"bot.status.{key}", language, n=count) if count else ""
    return line


def _budget_lines(budgets: Budgets, language: Language) -> list[str]:
    lines = []
    for lane, windows in budgets.items():
        left = [say("bot.status.window", language, left=left, rate=rate) for rate, left in windows.items()]
        if left:
            lines.append(
                say("bot.status.left", language, lane=lane, windows=say("bot.status.and", language).join(left))
            )
    return lines


def _error_lines(troubles: Sequence[Message], at: datetime, language: Language) -> list[str]:
    return [
        say(
            "bot.status.error",
            language,
            at=_moment(datetime.fromtimestamp(each.settled_at or each.created_at, at.tzinfo), at),
            target=each.target,
            state=say(f"bot.status.{each.state.value}_state", language),
            error=shorten(each.error or say("bot.status.no_words", language), MAX_ERROR_CHARS),
        )
        for each in troubles
    ] or [say("bot.status.no_errors", language)]


def _moment(moment: datetime, at: datetime) -> str:
    return units.format_moment(moment, at.tzinfo, at) if at.tzinfo else f"{moment:%m-%d %H:%M}"
