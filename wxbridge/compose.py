"""Alerts → what people read in WeChat: plain text made for a phone, split to a channel's limit."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Literal

from wxbridge.model import (
    Alert,
    AlertGroup,
    AlertStatus,
    Body,
    Capabilities,
    Picture,
    PictureSpec,
    Text,
    Value,
)

Language = Literal["en", "zh"]

_EMOJI = {AlertStatus.FIRING: "🔥", AlertStatus.RESOLVED: "✅", AlertStatus.NO_DATA: "⚪"}
_WORDS: dict[str, tuple[str, str]] = {
    "no_time": ("0 s", "0秒"),
    "no_value": ("no value", "无数据"),
    "more": ("… and {n} more", "……另有 {n} 条"),
    "repeat": ("(possible repeat) ", "(可能重复) "),
    "no_picture": ("The picture could not be made: {reason}", "图片生成失败:{reason}"),
    "unrouted": ("No route matches this alert:", "没有路由匹配此告警:"),
    "no_target": ("There is no target {names}:", "没有名为 {names} 的目标:"),
    "refused": ("⚠️ {target} refused this ({reason}):", "⚠️ {target} 拒收,改由此处发送({reason}):"),
    "unreachable": ("⚠️ {target} cannot be reached for {time}:", "⚠️ {target} 已 {time} 无法送达,改由此处发送:"),
    "back_online": (
        "{channel} is back online after {time}: {delivered} messages delivered, {fallback} sent by fallback.",
        "{channel} 离线 {time} 后已恢复:补发 {delivered} 条,备用通道已发 {fallback} 条。",
    ),
    "scan": (
        "⚠️ {channel} needs a new scan. Until then its alerts come here.",
        "⚠️ {channel} 需要重新扫码登录,在此之前告警发到这里。",
    ),
    "storm": ("🌊 {n} alerts since {since}, in short:", "🌊 {since} 以来共 {n} 条告警,合并如下:"),
    "waits": (
        "⏳ {target}: {n} waiting, the oldest since {since} ({time})",
        "⏳ {target}:{n} 条待发,最早的自 {since} 起(已 {time})",
    ),
    "more_kinds": ("… and {kinds} more kinds, {n} alerts", "……另有 {kinds} 种共 {n} 条"),
    "passed": ("↩️ ×{n} fired and resolved meanwhile", "↩️ 期间触发又恢复 ×{n}"),
    "others": ("📨 ×{n} other messages", "📨 其他消息 ×{n}"),
    "state": ("state: {state}", "状态:{state}"),
    "cut": ("… {n} characters more; see `wxbridge outbox show`", "……余下 {n} 字,见 `wxbridge outbox show`"),
    "untitled": ("Alert without a title", "无标题告警"),
    "job_failed": ("Job {id} failed: {error}", "任务 {id} 失败:{error}"),
    "job_back": ("Job {id} works again.", "任务 {id} 已恢复。"),
    "many_expired": (
        "{n} messages to {target} expired unsent, the first is {first}; see `wxbridge outbox list --dead`",
        "发往 {target} 的 {n} 条消息过期未发(首条 {first}),见 `wxbridge outbox list --dead`",
    ),
    "dead": (
        "Message {id} to {target} could not be delivered: {error}",
        "发往 {target} 的消息 {id} 未能送达:{error}",
    ),
}

VALUES_SHOWN = 20
"""How many values of one alert are written out."""
PARTS_AT_MOST = 5
"""How many messages one text may become; the rest stays in the database."""


def say(key: str, language: Language, **fields: object) -> str:
    """A fixed phrase in the reader's language."""
    english, chinese = _WORDS[key]
    return (chinese if language == "zh" else english).format(**fields)


def duration(seconds: float, language: Language) -> str:
    """A span of time in at most two units: `42 min`, `2 h 5 min`, `3 d 4 h`."""
    units = (("d", "天", 86400), ("h", "小时", 3600), ("min", "分钟", 60), ("s", "秒", 1))
    left, words = max(0, round(seconds)), []
    for english, chinese, size in units:
        count, left = divmod(left, size)
        if count:
            words.append(f"{count}{chinese}" if language == "zh" else f"{count} {english}")
        elif words:
            break
    return ("" if language == "zh" else " ").join(words[:2]) or say("no_time", language)


def number(value: float) -> str:
    """Write a number of unknown unit as it is: at most six significant digits, no separators, no exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    rounded = Context(prec=6).create_decimal(Decimal(repr(value)) if isinstance(value, float) else Decimal(value))
    text = format(rounded, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def compose(group: AlertGroup, capabilities: Capabilities, language: Language, note: str = "") -> list[Body]:
    """Say what a group says to one target: its text, split to the channel's limit, then its pictures.

    `note` is a line above the text.
    """
    texts = [note] if note else []
    if not group.alerts:
        texts.append(f"📨 {group.title}\n{group.text or ''}".strip())
    texts += [alert_text(alert, language) for alert in group.alerts]
    if group.truncated:
        texts.append(say("more", language, n=group.truncated))
    bodies: list[Body] = [Text(part) for part in parts("\n\n".join(texts), capabilities, language)]
    seen: set[str] = set()
    for alert in group.alerts:
        key = repr(alert.picture)
        if alert.picture and key not in seen:
            seen.add(key)
            bodies.append(Picture(spec=alert.picture))
    return bodies


def alert_text(alert: Alert, language: Language) -> str:
    """One alert as a person reads it: state and the sender's title, values, message, link."""
    lines = [f"{_EMOJI[alert.status]} {alert.title or say('untitled', language)}"]
    if alert.state:
        lines.append(say("state", language, state=alert.state))
    lines += [value_line(value, language) for value in alert.values[:VALUES_SHOWN]]
    if len(alert.values) > VALUES_SHOWN:
        lines.append(say("more", language, n=len(alert.values) - VALUES_SHOWN))
    lines += [text.strip() for text in alert.annotations.values() if text.strip()]
    if alert.link:
        lines.append(f"🔗 {alert.link}")
    return "\n".join(lines)


def value_line(value: Value, language: Language) -> str:
    """`metric: value`, with the labels that tell it from its neighbours."""
    figure = number(value.number) if value.number is not None else value.text or say("no_value", language)
    labels = ", ".join(f"{name}={text}" for name, text in value.labels.items())
    return f"{value.name}: {figure}" + (f" ({labels})" if labels else "")


def picture_missing(spec: PictureSpec | None, reason: str, language: Language) -> str:
    """What stands in for a picture that could not be made: why, and the link."""
    line = say("no_picture", language, reason=reason)
    return f"{line}\n🔗 {spec.link}" if spec and spec.link else line


# ---------------------------------------------------------------- splitting

_ROOM_FOR_NUMBER = len("(99/99) ")
_LINK = re.compile(r"https?://\S+")


def length(text: str, unit: str) -> int:
    """How long a text is in a channel's unit: `bytes` of UTF-8, or `characters`."""
    return len(text.encode()) if unit == "bytes" else len(text)


def parts(text: str, capabilities: Capabilities, language: Language) -> list[str]:
    """Split a text to a channel's limit, numbered, and cut what is more than `PARTS_AT_MOST` messages."""
    if length(text, capabilities.text_unit) <= capabilities.text_limit:
        return [text]
    pieces = split(text, capabilities.text_limit - _ROOM_FOR_NUMBER, capabilities.text_unit)
    if len(pieces) > PARTS_AT_MOST:
        rest = sum(map(len, pieces[PARTS_AT_MOST - 1 :]))
        pieces = [*pieces[: PARTS_AT_MOST - 1], say("cut", language, n=rest)]
    return [f"({index}/{len(pieces)}) {piece}" for index, piece in enumerate(pieces, 1)]


def split(text: str, limit: int, unit: str) -> list[str]:
    """Cut a text into pieces of at most `limit`; joined together they are the text again.

    Cuts fall after a newline where one is in the last half of a piece, else after a space, and never inside a
    character with its marks, an emoji sequence or a link that fits into one piece.
    """
    pieces: list[str] = []
    start = 0
    while start < len(text):
        fits = _fitting(text, start, limit, unit)
        end = fits if fits == len(text) else _good_cut(text, start, fits)
        pieces.append(text[start:end])
        start = end
    return pieces or [""]


def _fitting(text: str, start: int, limit: int, unit: str) -> int:
    """The furthest index at which a piece from `start` still fits; at least one character further."""
    if unit != "bytes":
        return max(start + 1, min(len(text), start + limit))
    end, size = start, 0
    while end < len(text):
        size += len(text[end].encode())
        if size > limit:
            break
        end += 1
    return max(start + 1, end)


def _good_cut(text: str, start: int, fits: int) -> int:
    half = start + (fits - start) // 2
    for separator in ("\n", " "):
        found = text.rfind(separator, half, fits)
        if found > start and not _joined(text, found + 1, start):
            return found + 1
    for link in _LINK.finditer(text, start, min(len(text), fits + 2048)):
        if start < link.start() < fits < link.end() and not _joined(text, link.start(), start):
            return link.start()
    cut = fits
    while cut > start + 1 and _joined(text, cut, start):
        cut -= 1
    return fits if _joined(text, cut, start) else cut


def _joined(text: str, index: int, start: int) -> bool:
    """Whether the character at `index` belongs to the one before it (marks, emoji sequences, CR LF).

    `start` is where the piece begins, which is never inside such a sequence.
    """
    before, after = text[index - 1], text[index]
    return (
        unicodedata.category(after) in ("Mn", "Me", "Mc")
        or "\u200d" in (before, after)
        or "\ufe00" <= after <= "\ufe0f"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"  # the tags of a regional flag
        or (before == "\r" and after == "\n")
        or _inside_flag(text, index, start)
    )


def _inside_flag(text: str, index: int, start: int) -> bool:
    """Whether `index` falls between the two letters of a flag: letters pair up from the first of their run."""
    if not "\U0001f1e6" <= text[index] <= "\U0001f1ff":
        return False
    first = index
    while first > start and "\U0001f1e6" <= text[first - 1] <= "\U0001f1ff":
        first -= 1
    return (index - first) % 2 == 1


def join_texts(texts: Sequence[str]) -> str:
    """Put what a job produced into one text, a blank line between."""
    return "\n\n".join(text for text in texts if text)
