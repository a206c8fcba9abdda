"""The command `host`: how a machine is now, and the chart of its last hours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wxbridge.bot import time_range
from wxbridge.bot.command import Answer, CannotAnswer, Command, Question
from wxbridge.core.model import Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_duration, format_quantity
from wxbridge.hosts import chart, figures
from wxbridge.hosts.samples import MINUTES_KEPT_SECONDS, Host

USUAL = 3600.0
"""Seconds that are shown where nobody says."""
_SHORTEST = 300.0
"""Seconds of a chart, at least."""
_LONGEST = 49 * 3600.0
"""Seconds: from the beginning of yesterday, where the clock is put back."""
_LISTED = 50


def host_commands(hosts: Callable[[], Sequence[Host]]) -> list[Command]:
    """The commands about machines. `hosts` tells those there are now (`HostMonitor.hosts`)."""

    async def host(question: Question) -> Sequence[Answer]:
        return _answer(question, hosts())

    return [Command.from_catalogue("host", host)]


def _answer(question: Question, known: Sequence[Host]) -> list[Answer]:
    language = question.language
    if not known:
        raise CannotAnswer(say("bot.hosts.none", language))
    found, rest = _meant(question, known)
    now = question.at.timestamp()
    if found is None:
        return [Text("\n".join(_list(known, now, language)))]
    start, end = _period(rest, question) if rest else _lately(found, now)
    zone = question.at.tzinfo
    assert zone is not None  # noqa: S101 - the bridge's own
    answers: list[Answer] = [Text("\n".join(figures.describe_host(found, start, end, language, zone, now=now)))]
    spec = chart.make_spec(found, start, end, language=language, timezone=zone, panels=_panels(found))
    return [*answers, spec] if spec else answers


def _panels(host: Host) -> tuple[str, ...]:
    """Disks where one is near its threshold; CPU and memory are there by themselves."""
    last = host.history.last
    full = last is not None and any(
        value >= figures.DEFAULT_LEVELS[1] for name, value in last.figures.items() if name.startswith("disk:")
    )
    return ("disks",) if full else ()


def _meant(question: Question, known: Sequence[Host]) -> tuple[Host | None, str]:
    """The machine that is asked for, and what stands behind its name; None for all of several."""
    words = question.words
    if not words:
        return (known[0] if len(known) == 1 else None), ""
    said = words[0].casefold()
    exact = [host for host in known if host.name.casefold() == said]
    close = exact or [host for host in known if host.name.casefold().startswith(said)]
    if len(close) == 1:
        return close[0], " ".join(words[1:])
    if len(known) == 1 and _is_range(question):
        return known[0], question.text
    names = ", ".join(host.name for host in (close or known)[:_LISTED])
    key = "bot.hosts.several" if close else "bot.hosts.unknown"
    raise CannotAnswer(say(key, question.language, name=shorten(words[0]), names=names))


def _is_range(question: Question) -> bool:
    try:
        time_range.parse(question.text, question.at, question.language)
    except CannotAnswer:
        return False
    return True


def _period(text: str, question: Question) -> tuple[float, float]:
    """From when to when, in seconds since the epoch. Raises `CannotAnswer`."""
    now = question.at.timestamp()
    span = time_range.parse(text, question.at, question.language)
    start, end = span.start.timestamp(), span.end.timestamp()
    # Of yesterday there is a part: what is missing of it is told, and a gap in the chart.
    if end < now - MINUTES_KEPT_SECONDS or start < now - _LONGEST:
        raise CannotAnswer(
            say("bot.hosts.too_long", question.language, time=format_duration(MINUTES_KEPT_SECONDS, question.language))
        )
    return start, end


def _lately(host: Host, now: float) -> tuple[float, float]:
    """The last hour; of a machine that has been watched for a few minutes these."""
    first = host.history.first
    return max(now - USUAL, min(now - _SHORTEST, first if first is not None else now)), now


def _list(known: Sequence[Host], now: float, language: Language) -> list[str]:
    lines = [_line(host, now, language) for host in known[:_LISTED]]
    if len(known) > _LISTED:
        lines.append(say("bot.hosts.more", language, n=len(known) - _LISTED))
    return [*lines, say("bot.hosts.hint", language)]


def _line(host: Host, now: float, language: Language) -> str:
    last = host.history.last
    if host.silent_since is not None:
        silent = format_duration(now - host.silent_since, language)
        return f"⚪ {host.name} · {say('bot.hosts.silent', language, time=silent)}"
    if last is None:
        return f"⚪ {host.name} · {say('bot.hosts.empty', language)}"
    percents = {
        name: value for name, value in last.figures.items() if name in ("cpu", "memory") or name.startswith("disk:")
    }
    shown: list[str] = [name for name in ("cpu", "memory") if name in percents]
    fullest = max(
        (name for name in percents if name.startswith("disk:")), key=lambda name: percents[name], default=None
    )
    shown += [fullest] if fullest else []
    words = [
        f"{figures.name_of(name, language)} {format_quantity(round(percents[name], 1), '%', language)}"
        for name in shown
    ]
    worst = max((percents[name] for name in shown), default=0.0)
    return f"{figures.mark(worst)} {host.name} · {' · '.join(words)}"
