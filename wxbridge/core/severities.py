"""How bad an alert is, in the words of all monitors: one table, to which jobs.yaml adds (`severities:`)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from wxbridge.core.model import Severity

_ROWS: tuple[tuple[Severity, str, str], ...] = (
    (Severity.CRITICAL, "disaster catastrophe catastrophic emergency emerg panic fatal blocker p0 sev0 s0",
                        "紧急 灾难 灾难性 致命 特急 危急 危险 崩溃 特别重大 特别严重"),
    (Severity.CRITICAL, "critical crit page urgent severe p1 sev1 s1 red", "严重 重大 非常严重 一级 1级 i级 红色"),
    (Severity.MAJOR, "major high veryhigh error err important serious sev2 orange",
                     "重要 主要 高 高级 高危 较高 错误 较大 较重 二级 2级 ii级 橙色"),
    (Severity.WARNING, "average medium moderate mid", "一般严重 中 中等 中级 中危"),
    (Severity.WARNING, "warning warn minor p2 sev3 s2 yellow amber",
                       "警告 警示 预警 告警 次要 轻微 轻度 三级 3级 iii级 黄色"),
    (Severity.INFO, "low notice p3 sev4 s3 blue", "低 低级 低危 较低 四级 4级 iv级 提醒 通知 注意 蓝色"),
    (Severity.INFO, "info information informational informative debug trace trivial verbose normal sev5 s4 s5",
                    "提示 一般 普通 信息 消息 调试"),
    (Severity.INFO, "none notclassified unclassified", "未分类 无"),
)  # fmt: skip
"""The words of monitors as `_plain` writes them, those that rank alike in a row, the worst first."""
_RANKS = {word: rank for rank, (_, *words) in enumerate(_ROWS) for word in " ".join(words).split()}
UNKNOWN_RANK = _RANKS["low"] - 0.5
"""Where a word stands that no monitor is known to use, and an alert without any: before what is for information."""
_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "zabbix": ("notclassified", "information", "warning", "average", "high", "disaster"),
    "nightingale": ("", "critical", "warning", "info"),
    "openfalcon": ("p0", "p1", "p2", "p3", "p3", "p3", "p3"),
    "graylog": ("", "low", "warning", "high"),
}
"""What a number alone means, by the source that sends it: it stands in the place of its word."""

SEVERITY_NAMES = (
    "severity", "level", "priority", "eventseverity", "alertseverity", "severitylevel", "alertlevel", "alarmlevel",
    "eventlevel", "urgency", "criticality", "告警级别", "告警等级", "报警级别", "报警等级", "事件级别",
    "严重程度", "严重级别", "严重性", "级别", "等级", "优先级",
)  # fmt: skip
"""The labels that say how bad it is, in small letters and without signs; the first that says so counts."""
_SIGNS = re.compile(r"[\W_]+")
_NUMBERED = re.compile(r"(p|sev(?:erity)?)(\d{1,2})")
_NUMBER_APART = re.compile(r"\b(p|s|sev|severity)[\s_-]+(\d)")
_MOST_NUMBERED = {"p": 3, "sev": 5}
_FILLERS = frozenset(("alert", "level", "severity", "priority", "event"))
_SUFFIX = re.compile(r"(.+?)(?:级别|等级|告警|报警|预警|警报|事件|级|的)")
_MAX_CHARS = 60
"""Of a word that is looked up; what is longer is a sentence."""


@dataclass(frozen=True)
class SeverityTable:
    """The table of words, with those that jobs.yaml adds or means otherwise."""

    added: Mapping[str, Severity] = field(default_factory=dict)
    """By the words as they are written there."""
    _added: Mapping[str, Severity] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_added", {_plain(word): severity for word, severity in self.added.items()})

    def find(self, word: str, source: str = "") -> Severity | None:
        """Find what a word says, of a source whose numbers are known too; None where nobody is known to use it."""
        if self._is_added(word):
            return self._added[_plain(word)]
        rank = _rank_known(word, source)
        return None if rank == UNKNOWN_RANK else _ROWS[int(rank)][0]

    def rank(self, word: str, source: str = "") -> float:
        """Tell where a word stands: less is worse, `UNKNOWN_RANK` where nobody is known to use it."""
        if self._is_added(word):
            return _RANKS[self._added[_plain(word)].value]
        return _rank_known(word, source)

    def _is_added(self, word: str) -> bool:
        return bool(self._added) and _plain(word) in self._added


BUILT_IN = SeverityTable()
"""The table without anything added."""


def find_severity_labels(labels: Mapping[str, str], source: str = "", table: SeverityTable = BUILT_IN) -> list[str]:
    """Find the label that says how bad an alert is, in a list; beside it the one that was read from it.

    It is the first of those that may say so (`severity`, `level`, `priority`, …) whose word is in the table. Without
    one, `severity` counts whatever it says; the others may mean something else.
    """
    # Asked several times of each alert: most say `severity`, and those of Grafana's old rules have no labels.
    if not labels:
        return []
    name = "severity" if "severity" in labels and table.find(labels["severity"], source) else ""
    if not name:
        named = sorted([(place, name) for name in labels if (place := _place_of(name)) is not None])
        name = next((name for _, name in named if table.find(labels[name], source)), "")
        if not name:
            return [name for place, name in named if place == 0 and labels[name]][:1]
    if name == "priority" or "priority" not in labels:
        return [name]
    severity = table.find(labels[name], source)
    is_read = labels[name] == severity and table.find(labels["priority"], source) is severity
    return ["priority", name] if is_read else [name]


_PLACES = {name: place for place, name in enumerate(SEVERITY_NAMES)}


@lru_cache(4096)
def _place_of(name: str) -> int | None:
    return _PLACES.get(_plain(name))


@lru_cache(4096)
def _plain(word: str) -> str:
    """Write a word as the table does: without signs and blanks, in small letters."""
    return _SIGNS.sub("", unicodedata.normalize("NFKC", word[: _MAX_CHARS + 1]).casefold())


@lru_cache(4096)
def _rank_known(word: str, source: str) -> float:
    if len(word) > _MAX_CHARS:
        return UNKNOWN_RANK
    plain = _plain(word)
    if plain.isdecimal():
        numbers, number = _NUMBERS.get(source, ()), int(plain)
        return _RANKS.get(numbers[number], UNKNOWN_RANK) if number < len(numbers) else UNKNOWN_RANK
    rank = _rank_plain(plain)
    if rank is not None:
        return rank
    # `1 - Critical`, `P1 紧急`, `severity: high`: every part must say something, or nothing.
    joined = _NUMBER_APART.sub(r"\1\2", unicodedata.normalize("NFKC", word).casefold())
    parts = [part for part in _SIGNS.split(joined) if part]
    saying = [part for part in parts if not part.isdecimal() and part not in _FILLERS]
    ranks = [_rank_plain(part) for part in saying]
    known = [rank for rank in ranks if rank is not None]
    return known[0] if known and len(known) == len(ranks) else UNKNOWN_RANK


def _rank_plain(plain: str) -> int | None:
    if plain in _RANKS:
        return _RANKS[plain]
    if numbered := _NUMBERED.fullmatch(plain):
        kind, number = numbered[1][:3], int(numbered[2])
        return _RANKS[f"{kind}{min(number, _MOST_NUMBERED[kind])}"]
    suffixed = _SUFFIX.fullmatch(plain)
    return _rank_plain(suffixed[1]) if suffixed else None
