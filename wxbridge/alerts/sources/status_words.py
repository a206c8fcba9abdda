"""What senders' words for a status mean: monitors say what fires and what is over, builders also what only goes on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wxbridge.core.json_values import as_number, as_text
from wxbridge.core.model import AlertStatus

_WORDS = {
    AlertStatus.FIRING: (
        "firing alerting alert alarm problem error critical crit warning warn fatal triggered fired "
        "trigger active open broken unhealthy offline bad red 1 true 告警 报警 故障 异常 触发"
    ),
    AlertStatus.RESOLVED: (
        "resolved resolve ok okay up recovery recovered success successful succeeded passed pass normal good healthy "
        "online closed cleared clear fixed inactive green 0 false 恢复 已恢复 正常 成功"
    ),
    AlertStatus.NO_DATA: "no_data nodata 无数据",
}
_FAILURES = {
    "failed": "failed failure fail failing errored 失败 已失败 构建失败 部署失败 执行失败",
    "timed_out": "timed_out timedout timeout 超时",
    "startup_failure": "startup_failure",
    "unstable": "unstable 不稳定",
    "down": "down 宕机",
}
"""What ended badly, or is not there, by the word that says how."""
_WITHOUT_VERDICT = {
    "cancelled": "cancelled canceled cancel 已取消 取消",
    "skipped": "skipped skip 已跳过 跳过",
    "neutral": "neutral",
    "aborted": "aborted abort 已中止 中止 已终止",
    "not_built": "not_built notbuilt 未构建",
    "stale": "stale",
    "action_required": "action_required",
    "maintenance": "maintenance 维护 维护中",
}
"""What ended, or rests, and is neither good nor bad: it is told, and does not fire."""
_NO_NEWS = (
    "queued in_progress inprogress started pending requested waiting waiting_for_resource running created "
    "preparing scheduled building processing manual "
    "排队 排队中 进行中 运行中 执行中 构建中 等待 等待中 已开始 已启动 启动中"
)
"""What waits or goes on."""


@dataclass(frozen=True)
class ReadStatus:
    """What a word for a status means."""

    status: AlertStatus = AlertStatus.FIRING
    state: str = ""
    """How it came out (`alerts.outcome` in the catalogue), else the word itself where it is none that is known."""
    fires: bool = True
    """Whether it is one of the alert's states, and not only told."""
    is_news: bool = True
    """Whether anybody is to be told."""


_KNOWN = {
    **{word: ReadStatus(status) for status, words in _WORDS.items() for word in words.split()},
    **{word: ReadStatus(state=state) for state, words in _FAILURES.items() for word in words.split()},
    **{word: ReadStatus(state=name, fires=False) for name, words in _WITHOUT_VERDICT.items() for word in words.split()},
    **{word: ReadStatus(state=word, fires=False, is_news=False) for word in _NO_NEWS.split()},
}
_SIGNS_AROUND = re.compile(r"^[\W_]+|(?<![\W_])[\W_]+$")
_GAPS = re.compile(r"[\s-]+")


def read_status(value: object) -> ReadStatus:
    """Read a status of any type, by its word alone where signs stand around it (`✅ Up`, `[OK]`)."""
    word = _word(value)
    return _KNOWN.get(_plain(value, word)) or ReadStatus(state=word)


def is_known_status(value: object) -> bool:
    """Whether a word is known to say how something is; what only goes on says less than the rest of its body."""
    found = _KNOWN.get(_plain(value, _word(value)))
    return found is not None and found.is_news


def _word(value: object) -> str:
    return as_text(value).strip() if value is not False else "false"


def _plain(value: object, word: str) -> str:
    number = as_number(value)
    return f"{number:g}" if number is not None else _GAPS.sub("_", _SIGNS_AROUND.sub("", word).lower())
