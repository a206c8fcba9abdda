"""The command `status`: how the bridge is, in a handful of lines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from wxbridge.bot.command import Answer, Command, Question
from wxbridge.core.model import ChannelState, ChannelStatus, Message, MessageState, Text
from wxbridge.core.text import units
from wxbridge.core.text.i18n import Language
from wxbridge.delivery import outbox

ERRORS_SHOWN = 3
"""The newest messages that were not delivered, or of which that is not known."""
_TARGETS_SHOWN = 8
_ERROR_SHOWN = 80
"""Characters."""
_DAY = 86400.0
_TROUBLE = (MessageState.DEAD, MessageState.EXPIRED, MessageState.UNKNOWN)

Read = Callable[[Callable[[Connection], Any]], Awaitable[Any]]
"""Call a function that only reads with the bridge's database; raises `StorageError`."""
Budgets = Mapping[str, Mapping[str, int]]
"""By lane: how many may still go in each window of its pace, by rate (`Pacer.windows_left`)."""

_WORDS: dict[str, tuple[str, str]] = {
    "online": ("🟢 {name}: online since {since}", "🟢 {name}:在线(自 {since})"),
    "state": ("🔴 {name}: {state} since {since}", "🔴 {name}:{state}(自 {since})"),
    "starting": ("🟡 {name}: {state} since {since}", "🟡 {name}:{state}(自 {since})"),
    "no_channels": ("No channel is in use.", "没有使用中的渠道。"),
    "empty": ("📭 Nothing waits.", "📭 无待发消息。"),
    "waits": ("📬 {target}: {n} waiting, the oldest for {age}", "📬 {target}:待发 {n} 条,最早的已等待 {age}"),
    "more_wait": ("📬 {n} more targets: {count} waiting", "📬 另有 {n} 个目标共待发 {count} 条"),
    "today": ("✉️ Today: {sent} sent", "✉️ 今日:已发送 {sent}"),
    "unknown": (", {n} unknown", ",结果未知 {n}"),
    "dead": (", {n} dead", ",未送达 {n}"),
    "left": ("🚦 {lane}: {windows} left", "🚦 {lane}:配额剩余 {windows}"),
    "window": ("{left} of {rate}", "{left}(上限 {rate})"),
    "and": (", ", ","),
    "error": ("⚠️ {at} {target}, {state}: {error}", "⚠️ {at} {target},{state}:{error}"),
    "dead_state": ("dead", "未送达"),
    "expired_state": ("expired", "已过期"),
    "unknown_state": ("unknown", "结果未知"),
    "no_words": ("no reason was given", "未说明原因"),
    "no_errors": ("No errors in the last 24 hours.", "24 小时内无错误。"),
}
_STATES = {
    ChannelState.STARTING: ("starting", "启动中"),
    ChannelState.CONNECTING: ("connecting", "连接中"),
    ChannelState.WAITING_FOR_SCAN: ("waiting for a scan", "等待扫码"),
    ChannelState.SCANNED: ("scanned, to be confirmed on the phone", "已扫码,待手机确认"),
    ChannelState.ONLINE: ("online", "在线"),
    ChannelState.LOGGED_OUT: ("logged out", "已退出登录"),
    ChannelState.UNAUTHORISED: ("refused: wrong token", "拒绝:令牌错误"),
    ChannelState.TAKEN_OVER: ("taken over by another client", "已被其他客户端接管"),
    ChannelState.UNREACHABLE: ("unreachable", "无法连接"),
    ChannelState.STOPPED: ("stopped", "已停止"),
}
_PASSING = (ChannelState.STARTING, ChannelState.CONNECTING)


def _say(key: str, language: Language, **fields: object) -> str:
    return _WORDS[key][language == "zh"].format(**fields)


def status_command(
    channels: Callable[[], Mapping[str, ChannelStatus]], budgets: Callable[[], Budgets], read: Read
) -> Command:
    """The command `status`.

    Args:
        channels: `Bridge.statuses`.
        budgets: What is left of each lane's pace now.
        read: `Database.read`.
    """

    async def run(question: Question) -> Sequence[Answer]:
        language, at = question.language, question.at
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        now = at.timestamp()

        def look(connection: Connection) -> tuple[Any, Any, list[Message]]:
            found = outbox.settled(connection, _TROUBLE, since=now - _DAY, limit=ERRORS_SHOWN)
            return outbox.backlog(connection), outbox.tally(connection, since=midnight, until=now + 1), found

        backlog, tally, troubles = await read(look)
        lines = [
            *_channel_lines(channels(), at, language),
            *_backlog_lines(backlog, now, language),
            _today(tally, language),
            *_budget_lines(budgets(), language),
            *_error_lines(troubles, at, language),
        ]
        return [Text("\n".join(lines))]

    return Command(
        "status",
        ("status", "状态"),
        {"en": "how the bridge is: channels, what waits, errors", "zh": "运行状态:渠道、待发消息、错误"},
        {"en": "status", "zh": "状态"},
        run,
    )


def _channel_lines(channels: Mapping[str, ChannelStatus], at: datetime, language: Language) -> list[str]:
    lines = []
    for name, status in channels.items():
        up = status.state is ChannelState.ONLINE
        key = "online" if up else "starting" if status.state in _PASSING else "state"
        state = _STATES[status.state][language == "zh"]
        line = _say(key, language, name=name, state=state, since=_moment(status.since, at))
        lines.append(line if up or not status.detail else f"{line} – {_short(status.detail)}")
    return lines or [_say("no_channels", language)]


def _backlog_lines(backlog: Sequence[tuple[str, int, float]], now: float, language: Language) -> list[str]:
    oldest_first = sorted(backlog, key=lambda each: each[2])
    lines = [
        _say("waits", language, target=target, n=count, age=units.duration(now - created, language))
        for target, count, created in oldest_first[:_TARGETS_SHOWN]
    ]
    if others := oldest_first[_TARGETS_SHOWN:]:
        lines.append(_say("more_wait", language, n=len(others), count=sum(count for _, count, _ in others)))
    return lines or [_say("empty", language)]


def _today(tally: Mapping[tuple[str, str], int], language: Language) -> str:
    counts = {state: sum(n for (_, its), n in tally.items() if its == state) for state in MessageState}
    line = _say("today", language, sent=counts[MessageState.SENT])
    dead = counts[MessageState.DEAD] + counts[MessageState.EXPIRED]
    for key, count in (("unknown", counts[MessageState.UNKNOWN]), ("dead", dead)):
        line += _say(key, language, n=count) if count else ""
    return line


def _budget_lines(budgets: Budgets, language: Language) -> list[str]:
    lines = []
    for lane, windows in budgets.items():
        left = [_say("window", language, left=left, rate=rate) for rate, left in windows.items()]
        if left:
            lines.append(_say("left", language, lane=lane, windows=_say("and", language).join(left)))
    return lines


def _error_lines(troubles: Sequence[Message], at: datetime, language: Language) -> list[str]:
    return [
        _say(
            "error",
            language,
            at=_moment(datetime.fromtimestamp(each.settled_at or each.created_at, at.tzinfo), at),
            target=each.target,
            state=_say(f"{each.state.value}_state", language),
            error=_short(each.error or _say("no_words", language)),
        )
        for each in troubles
    ] or [_say("no_errors", language)]


def _moment(moment: datetime, at: datetime) -> str:
    return units.moment(moment, at.tzinfo, at) if at.tzinfo else f"{moment:%m-%d %H:%M}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _ERROR_SHOWN else f"{line[: _ERROR_SHOWN - 1]}…"
