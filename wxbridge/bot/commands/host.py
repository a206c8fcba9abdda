"""The command `host`: how a machine is now, and the chart of its last hours."""

from __future__ import annotations

from collections.abc import Sequence

from wxbridge.bot.command import Choices, Command, Reply, number_lines, quote_word
from wxbridge.core.errors import CannotAnswer
from wxbridge.core.model import Text
from wxbridge.core.text import time_range
from wxbridge.core.text.i18n import say_list
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_duration, format_quantity
from wxbridge.hosts import chart, figures
from wxbridge.hosts.samples import MINUTES_KEPT_SECONDS, Host

USUAL_SECONDS = 3600.0
"""That are shown where nobody says."""
MIN_CHART_SECONDS = 300.0
MAX_CHART_SECONDS = 49 * 3600.0
"""From the beginning of yesterday, where the clock is put back."""
MAX_HOSTS = 50
"""That are listed."""


async def show_host(command: Command) -> Reply | str:
    """Say how a machine is, with its chart; of several how each is."""
    hosts = command.services.hosts.list_hosts()
    if not hosts:
        raise command.refuse("bot.hosts.none")
    host, rest = _find_host(command, hosts)
    if host is None:
        choices = Choices(tuple(quote_word(each.name) for each in hosts[:MAX_HOSTS]), "host")
        return Reply((Text(_list(command, hosts)),), choices=choices)
    start, end = _parse_period(rest, command) if rest else _usual_period(host, command)
    language, zone, now = command.language, command.settings.timezone, command.at.timestamp()
    text = "\n".join(figures.describe_host(host, start, end, language, zone, now=now))
    spec = chart.make_spec(host, start, end, language=language, timezone=zone, panels=_choose_panels(host))
    return Reply((Text(text), spec)) if spec else text


def _choose_panels(host: Host) -> tuple[str, ...]:
    """Choose disks where one is near its threshold; CPU and memory are there by themselves."""
    last = host.history.last
    is_full = last is not None and any(
        value >= figures.DEFAULT_LEVELS[1] for name, value in last.figures.items() if name.startswith("disk:")
    )
    return ("disks",) if is_full else ()


def _find_host(command: Command, hosts: Sequence[Host]) -> tuple[Host | None, str]:
    """Find the machine that is asked for, and what stands behind its name; None for all of several."""
    words = command.words
    if not words:
        return (hosts[0] if len(hosts) == 1 else None), ""
    name = words[0].casefold()
    exact = [host for host in hosts if host.name.casefold() == name]
    close = exact or [host for host in hosts if host.name.casefold().startswith(name)]
    if len(close) == 1:
        return close[0], " ".join(words[1:])
    if len(hosts) == 1 and _is_range(command):
        return hosts[0], command.text
    names = say_list((host.name for host in (close or hosts)[:MAX_HOSTS]), command.language)
    raise command.refuse("bot.hosts.several" if close else "bot.hosts.unknown", name=shorten(words[0]), names=names)


def _is_range(command: Command) -> bool:
    try:
        time_range.parse_range(command.text, command.at)
    except CannotAnswer:
        return False
    return True


def _parse_period(text: str, command: Command) -> tuple[float, float]:
    """Read from when to when, in seconds since the epoch. Raises `CannotAnswer`."""
    span, now = time_range.parse_range(text, command.at, command.language), command.at.timestamp()
    start, end = span.start.timestamp(), span.end.timestamp()
    # Of yesterday there is a part: what is missing of it is told, and a gap in the chart.
    if end < now - MINUTES_KEPT_SECONDS or start < now - MAX_CHART_SECONDS:
        raise command.refuse("bot.hosts.too_long", time=format_duration(MINUTES_KEPT_SECONDS, command.language))
    return start, end


def _usual_period(host: Host, command: Command) -> tuple[float, float]:
    """Give the last hour; of a machine that has been watched for a few minutes these."""
    first, now = host.history.first, command.at.timestamp()
    return max(now - USUAL_SECONDS, min(now - MIN_CHART_SECONDS, first if first is not None else now)), now


def _list(command: Command, hosts: Sequence[Host]) -> str:
    lines = number_lines(_describe(host, command) for host in hosts[:MAX_HOSTS])
    if len(hosts) > MAX_HOSTS:
        lines.append(command.say("bot.hosts.more", n=len(hosts) - MAX_HOSTS))
    return "\n".join([*lines, command.say("bot.hosts.hint")])


def _describe(host: Host, command: Command) -> str:
    """Say in a line what a machine's CPU, memory and fullest disk are at."""
    last, language = host.history.last, command.language
    if host.silent_since is not None:
        silent = format_duration(command.at.timestamp() - host.silent_since, language)
        return f"⚪ {host.name} · {command.say('bot.hosts.silent', time=silent)}"
    if last is None:
        return f"⚪ {host.name} · {command.say('bot.hosts.empty')}"
    disks = {name: value for name, value in last.figures.items() if name.startswith("disk:")}
    shown = {name: last.figures[name] for name in ("cpu", "memory") if name in last.figures}
    if disks:
        fullest = max(disks, key=lambda name: disks[name])
        shown[fullest] = disks[fullest]
    words = [
        f"{figures.name_of(name, language)} {format_quantity(round(value, 1), '%', language)}"
        for name, value in shown.items()
    ]
    rates = [figures.rate(max(shown.values(), default=0.0))]
    rates += [figures.rate(0, exceeded=severity) for severity in host.exceeded.values()]
    return f"{figures.MARKS[max(rates)]} {host.name} · {' · '.join(words)}"
