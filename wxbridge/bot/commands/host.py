"""The command `host`: how a machine is now, and the chart of its last hours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wxbridge.bot import time_range
from wxbridge.bot.command import Answer, CannotAnswer, Command, Question
from wxbridge.bot.phrases import quoted
from wxbridge.core.model import Text
from wxbridge.core.text.i18n import Language
from wxbridge.core.text.units import duration, figure
from wxbridge.hosts import chart, figures
from wxbridge.hosts.samples import MINUTES_KEPT, Host

USUAL = 3600.0
"""Seconds that are shown where nobody says."""
_SHORTEST = 300.0
"""Seconds of a chart, at least."""
_LONGEST = 49 * 3600.0
"""Seconds: from the beginning of yesterday, where the clock is put back."""
_LISTED = 50
_TEXTS: dict[str, tuple[str, str]] = {
    "none": (
        (
            "No machine is watched. The `host:` section of jobs.yaml has this one measured; others push with "
            "`wxbridge host --push URL`."
        ),
        "尚未监控任何主机。在 jobs.yaml 中加入 `host:` 即可监控本机;其他机器可用 `wxbridge host --push URL` 上报。",
    ),
    "unknown": ("No machine is called “{name}”; there are {names}.", "没有名为“{name}”的主机,现有:{names}。"),
    "several": ("“{name}” could be {names}.", "“{name}”对应多台主机:{names}。"),
    "too_long": ("What machines measure is kept for {time}.", "主机数据仅保留 {time}。"),
    "more": ("… and {n} more", "……另有 {n} 台"),
    "hint": ("`host NAME` shows one with its chart.", "发送“主机 名称”查看详情和图表。"),
    "empty": ("nothing was measured", "没有数据"),
    "silent": ("silent for {time}", "已 {time} 无数据"),
}


def host_commands(hosts: Callable[[], Sequence[Host]]) -> list[Command]:
    """The commands about machines. `hosts` tells those there are now (`HostMonitor.hosts`)."""

    async def host(question: Question) -> Sequence[Answer]:
        return _answer(question, hosts())

    return [
        Command(
            name="host",
            words=("host", "hosts", "主机", "服务器"),
            summary={"en": "CPU, memory, disks of a machine, with its chart", "zh": "查看主机的 CPU、内存、磁盘及图表"},
            usage={
                "en": "host [NAME] [range]\nhost web-1\nhost db-1 last 6 hours",
                "zh": "主机 [名称] [时间范围]\n主机 web-1\n主机 db-1 最近6小时",
            },
            run=host,
        )
    ]


def _say(key: str, language: Language, **fields: object) -> str:
    return _TEXTS[key][language == "zh"].format(**fields)


def _answer(question: Question, known: Sequence[Host]) -> list[Answer]:
    language = question.language
    if not known:
        raise CannotAnswer(_say("none", language))
    found, rest = _meant(question, known)
    now = question.at.timestamp()
    if found is None:
        return [Text("\n".join(_list(known, now, language)))]
    start, end = _period(rest, question) if rest else _lately(found, now)
    zone = question.at.tzinfo
    assert zone is not None  # noqa: S101 - the bridge's own
    answers: list[Answer] = [Text("\n".join(figures.report(found, start, end, language, zone, now=now)))]
    spec = chart.spec(found, start, end, language=language, timezone=zone, panels=_panels(found))
    return [*answers, spec] if spec else answers


def _panels(host: Host) -> tuple[str, ...]:
    """Disks where one is near its threshold; CPU and memory are there by themselves."""
    last = host.history.last
    full = last is not None and any(
        value >= figures.LEVELS[1] for name, value in last.figures.items() if name.startswith("disk:")
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
    raise CannotAnswer(_say("several" if close else "unknown", question.language, name=quoted(words[0]), names=names))


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
    if end < now - MINUTES_KEPT or start < now - _LONGEST:
        raise CannotAnswer(_say("too_long", question.language, time=duration(MINUTES_KEPT, question.language)))
    return start, end


def _lately(host: Host, now: float) -> tuple[float, float]:
    """The last hour; of a machine that has been watched for a few minutes these."""
    first = host.history.first
    return max(now - USUAL, min(now - _SHORTEST, first if first is not None else now)), now


def _list(known: Sequence[Host], now: float, language: Language) -> list[str]:
    lines = [_line(host, now, language) for host in known[:_LISTED]]
    if len(known) > _LISTED:
        lines.append(_say("more", language, n=len(known) - _LISTED))
    return [*lines, _say("hint", language)]


def _line(host: Host, now: float, language: Language) -> str:
    last = host.history.last
    if host.silent_since is not None:
        return f"⚪ {host.name} · {_say('silent', language, time=duration(now - host.silent_since, language))}"
    if last is None:
        return f"⚪ {host.name} · {_say('empty', language)}"
    percents = {
        name: value for name, value in last.figures.items() if name in ("cpu", "memory") or name.startswith("disk:")
    }
    shown: list[str] = [name for name in ("cpu", "memory") if name in percents]
    fullest = max(
        (name for name in percents if name.startswith("disk:")), key=lambda name: percents[name], default=None
    )
    shown += [fullest] if fullest else []
    words = [f"{figures.name_of(name, language)} {figure(round(percents[name], 1), '%', language)}" for name in shown]
    worst = max((percents[name] for name in shown), default=0.0)
    return f"{figures.mark(worst)} {host.name} · {' · '.join(words)}"
