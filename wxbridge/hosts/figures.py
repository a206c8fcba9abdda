"""The figures of a machine in words: `🟡 memory 45 % (7.1 of 15.6 GiB)`, in the reader's language.

Names of figures: `cpu`, `memory`, `swap`, `disk:MOUNT`, `inodes:MOUNT` (percent), `memory_used`, `swap_used`,
`disk_free:MOUNT` (bytes), `disk_read`, `disk_write`, `net_in`, `net_out` (bytes a second), `load1`, `load5`, `load15`,
`temperature` and `hottest:SENSOR` (°C), `core:N` (percent), `disk_missing:MOUNT` and `disk_unanswered:MOUNT` (1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo

from wxbridge.config.hosts import DISK_STATES
from wxbridge.core.model import Severity
from wxbridge.core.severities import BUILT_IN
from wxbridge.core.text.i18n import Language, has_text, say
from wxbridge.core.text.units import format_duration, format_moment, format_quantity
from wxbridge.hosts.samples import SAMPLES_KEPT_SECONDS, FigureStats, Host, HostHistory, Sample

DEFAULT_LEVELS = (30.0, 80.0)
"""Percent: below the first is green, from the second on red."""
_JUST_NOW = 60.0
"""Seconds: what ended longer ago is over."""
MARKS = ("🟢", "🟡", "🔴")


def name_of(figure_name: str, language: Language) -> str:
    """Name a figure: `disk:/data` is "disk /data"."""
    kind, _, which = figure_name.partition(":")
    told = say(f"hosts.{kind}", language) if has_text(f"hosts.{kind}") else kind
    return f"{told} {which}" if which else told


def unit_of(figure_name: str) -> str:
    """Give the unit of a figure, as in `Value.unit`."""
    kind = figure_name.partition(":")[0]
    if kind in ("cpu", "core", "memory", "swap", "disk", "inodes"):
        return "%"
    if kind in ("disk_read", "disk_write", "net_in", "net_out"):
        return "bytes/s"
    if kind in ("memory_used", "swap_used", "disk_free"):
        return "bytes"
    return "°C" if kind in ("temperature", "hottest") else ""


def name_hottest(figures: Iterable[str]) -> str:
    """Name the sensor that the temperature is of; empty where no figure tells."""
    return next((name.partition(":")[2] for name in figures if name.startswith("hottest:")), "")


def rate(percent: float, levels: tuple[float, float] = DEFAULT_LEVELS, exceeded: str | None = None) -> int:
    """Rate a percentage: the place of its mark among `MARKS`.

    `exceeded` is the severity of its own threshold where that is exceeded, which counts where it is worse.
    """
    by_level = sum(percent >= level for level in levels)
    if exceeded is None:
        return by_level
    return max(by_level, 2 if BUILT_IN.find(exceeded) is Severity.CRITICAL else 1)


def list_disks(names: Sequence[str]) -> list[str]:
    """List the mount points among figures, the root first."""
    return sorted(name.partition(":")[2] for name in names if name.startswith("disk:"))


def describe_host(
    host: Host,
    start: float,
    end: float,
    language: Language,
    timezone: tzinfo,
    levels: tuple[float, float] = DEFAULT_LEVELS,
    *,
    long: bool = False,
    now: float | None = None,
) -> list[str]:
    """Describe how a machine was between two moments, in lines: each figure's last value, and how it was till then.

    `long` adds the 95th percentile and for how long it was above the second level. `now` is when it is told, `end`
    when not given: of a period that is over, the day is told too.
    """
    history = host.history
    lines = [_head(host, start, end, language, timezone, end if now is None else now)]
    stats = {name: history.summarize(name, start, end, levels[1]) for name in _told(history, start, end)}
    told = {name: stat for name, stat in stats.items() if stat is not None}
    if not told:
        return [*lines, say("hosts.nothing", language)]
    newest = history.last.figures if history.last else {}
    # Over a period several sensors may have been the hottest.
    last = {name: stat.last for name, stat in told.items() if not name.startswith("hottest:") or name in newest}
    is_now = history.last is not None and start <= history.last.at <= end
    exceeded = host.exceeded if is_now else {}
    away = _select_away(history.last) if is_now else {}

    def head_of(name: str) -> str:
        return f"{MARKS[rate(told[name].last, levels, exceeded.get(name))]} {name_of(name, language)}"

    for name in ("cpu", "memory", "swap", *(f"disk:{mount}" for mount in list_disks(list(told)))):
        if name not in told or name.partition(":")[2] in away.values():
            continue
        if name == "swap" and not last.get("swap_used") and told[name].maximum == 0:
            continue
        extra = format_amount(name, last, host.about, language)
        alone = told[name].covered <= history.every
        how = (
            "" if alone or (name.startswith("disk:") and not long) else _how(told[name], language, levels[1], long=long)
        )
        lines.append(_line(head_of(name), name, last, (extra, how), language))
        inodes = name.replace("disk:", "inodes:", 1)
        if name.startswith("disk:") and inodes in told and (told[inodes].last >= levels[1] or inodes in exceeded):
            lines.append(_line(head_of(inodes), inodes, last, (), language))
    for state, mount in away.items():
        lines.append(f"{MARKS[2]} {say('hosts.' + state.partition(':')[0], language, what=mount)}")
    lines += _others(last, host, language)
    covered = max(stat.covered for stat in told.values())
    missing = (end - start) - covered
    if missing > max(0.02 * (end - start), 3 * history.every, 120.0):
        lines.append(f"⚪ {say('hosts.missing', language, time=format_duration(missing, language))}")
    if long and history.is_by_minute(start):
        lines.append(say("hosts.minutes", language))
    return lines


def _select_away(last: Sample | None) -> dict[str, str]:
    """The mount points of disks that are away now, by the figures that say so."""
    if last is None:
        return {}
    figures = [figure for figure in last.figures if figure.partition(":")[0] in DISK_STATES]
    return {figure: figure.partition(":")[2] for figure in sorted(figures)}


def _told(history: HostHistory, start: float, end: float) -> tuple[str, ...]:
    names = (
        dict.fromkeys((*history.means.names, *history.names)) if end - start > SAMPLES_KEPT_SECONDS else history.names
    )
    return tuple(names)


def _head(host: Host, start: float, end: float, language: Language, timezone: tzinfo, now: float) -> str:
    first, last = (datetime.fromtimestamp(at, UTC) for at in (start, end))
    times = dict.fromkeys((format_moment(first, timezone, last), format_moment(last, timezone, last)))
    if end < now - _JUST_NOW:
        begun, over = first.astimezone(timezone), last.astimezone(timezone)
        same_day = begun.date() == over.date()
        times = dict.fromkeys((f"{begun:%m-%d %H:%M}", f"{over:%H:%M}" if same_day else f"{over:%m-%d %H:%M}"))
    head = f"📊 {host.name} · {' – '.join(times)}"
    if host.silent_since is not None:
        since = datetime.fromtimestamp(host.silent_since, UTC)
        span = format_duration(max(0.0, end - host.silent_since), language)
        head += f"\n⚪ {say('hosts.silent', language, time=format_moment(since, timezone, last), span=span)}"
    return head


def _line(head: str, name: str, last: Mapping[str, float], extras: tuple[str, ...], language: Language) -> str:
    shown = say("text.also", language).join(filter(None, extras))
    beside = say("hosts.beside", language, what=shown) if shown else ""
    return f"{head} {format_quantity(last[name], unit_of(name), language)}{beside}"


def format_amount(name: str, last: Mapping[str, float], about: Mapping[str, float | str], language: Language) -> str:
    """Write what is used of what there is, or free on a disk; empty where that is not known."""
    if name.startswith("disk:"):
        free = last.get(name.replace("disk:", "disk_free:", 1))
        return "" if free is None else say("hosts.free", language, free=format_quantity(free, "bytes", language))
    used, total = last.get(f"{name}_used"), about.get(name)
    if used is None or not isinstance(total, int | float):
        return ""
    sizes = {key: format_quantity(float(size), "bytes", language) for key, size in (("used", used), ("total", total))}
    return say("hosts.used", language, **sizes)


def _how(stat: FigureStats, language: Language, level: float, *, long: bool) -> str:
    values = {key: format_quantity(value, "%", language) for key, value in
              (("mean", stat.mean), ("p95", stat.p95), ("max", stat.maximum))}  # fmt: skip
    text = say("hosts.long" if long else "hosts.short", language, **values)
    if long and stat.above:
        time = format_duration(stat.above, language)
        text += say("hosts.above", language, level=format_quantity(level, "%", language), time=time)
    return text


def list_other_figures(last: Mapping[str, float], language: Language) -> Iterator[tuple[str, str]]:
    """List the figures that are no percentages, each with its name: load, network, disks, temperature."""
    if "load1" in last:
        loads = " ".join(f"{last[name]:.2f}" for name in ("load1", "load5", "load15") if name in last)
        yield say("hosts.load1", language), loads
    for key, phrase, pair in (
        ("network", "in_out", ("net_in", "net_out")),
        ("disk_io", "read_write", ("disk_read", "disk_write")),
    ):
        if all(name in last for name in pair):
            a, b = (format_quantity(last[name], unit_of(name), language) for name in pair)
            yield say(f"hosts.{key}", language), say(f"hosts.{phrase}", language, a=a, b=b)
    if "temperature" in last:
        sensor = name_hottest(last)
        warm = format_quantity(round(last["temperature"], 1), "°C", language)
        yield say("hosts.temperature", language), f"{warm} ({sensor})" if sensor else warm


def _others(last: Mapping[str, float], host: Host, language: Language) -> Iterator[str]:
    load = say("hosts.load1", language)
    for name, value in list_other_figures(last, language):
        cores = f" ({say('hosts.cores', language, n=f'{host.cores:g}')})" if host.cores and name == load else ""
        yield f"▫️ {name} {value}{cores}"
    if limited := host.about.get("limited"):
        yield f"▫️ {say('hosts.limited', language, what=limited)}"
