"""What tools tell a robot (of WeCom, DingTalk, Feishu, …): an alert where the words or colours say so, else a text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from wxbridge.alerts.sources import WEB_SCHEMES, picture_at, short_hash
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, PictureSpec
from wxbridge.core.text.normalise import clean_text

MAX_PICTURES = 3
"""Of one message; a chat is no album."""
MAX_LINES_READ = 60
"""Lines of a message in which labels are looked for."""
MAX_TITLE_CHARS = 200
"""Of a headline; what is longer is a text."""

_RESOLVED = (
    r"已恢复|恢复正常|恢复通知|告警恢复|恢复|告警解除|已解除|解除|resolved|recovered|recovery",
    r"ok|up|normal|正常",
)
_FIRING = (
    r"告警触发|触发告警|告警|报警|警报|故障|异常|firing|alerting|triggered|problem",
    r"down|alarm|alert|critical|warning|error|failed|失败",
)
_NO_DATA = (r"无数据|no ?data", r"no_data")
_MAX_STATED_CHARS = 1000
"""Of a line in which words for a status are looked for."""
_COUNT = r"(?:\s*[:x×]\s*\d+)?"


def _state_pattern(anywhere: str, marked: str) -> re.Pattern[str]:
    """Match words that say a state wherever they stand, and others only in brackets or before a colon at the start."""
    latin = rf"(?<![a-z])(?:{anywhere})(?![a-z])"
    return re.compile(
        rf"[\[【(（]\s*(?:{anywhere}|{marked}){_COUNT}\s*[\]】)）]|{latin}{_COUNT}|^\W*(?:{marked})\s*[:：]|^\W*(?:{marked})\W*$",
        re.IGNORECASE,
    )


_STATES = (
    # A recovery is also called the recovery of an alarm.
    (AlertStatus.RESOLVED, _state_pattern(*_RESOLVED)),
    (AlertStatus.NO_DATA, _state_pattern(*_NO_DATA)),
    (AlertStatus.FIRING, _state_pattern(*_FIRING)),
)
_COLOURS = {
    **dict.fromkeys(("warning", "red", "carmine", "orange", "yellow", "#ff0000"), AlertStatus.FIRING),
    **dict.fromkeys(("info", "green", "turquoise", "#00ff00"), AlertStatus.RESOLVED),
}
_FONT_COLOUR = re.compile(r"<font\s+color\s*=\s*[\"']?([#\w]+)", re.IGNORECASE)
_LABELS = {
    "severity": "severity|level|priority|告警级别|告警等级|事件级别|级别|等级|严重程度|严重性",
    "instance": "instance|实例|告警实例|监控实例|endpoint|ip|ip地址|主机ip",
    "host": "host|hostname|主机|主机名|机器|服务器|设备|监控对象|告警对象|告警主机|ident",
    "alertname": "alertname|rule|告警名称|告警规则|规则|规则名称|告警项|监控项|指标",
    "job": "job|服务|service|应用",
    "namespace": "namespace|命名空间",
    "cluster": "cluster|集群",
}
_NAMES = {word: label for label, words in _LABELS.items() for word in words.split("|")}
_MAX_LABEL_LINE_CHARS = 400
"""Of a line that are looked at for a label."""
_LABEL_LINE = re.compile(r"[\s>*•·-]*([\w ]{1,20}?)\s*[:：=]\s*(\S.{0,199})")
_FILLERS = re.compile(r"通知|提醒|消息|notification", re.IGNORECASE)
_NOISE = re.compile(r"[\W_]+")
_LINK = re.compile(r"https?://[^\s)）\]】>\"']+")


@dataclass(frozen=True)
class CompatMessage:
    """One message to a robot, in plain words, whichever service's language it came in."""

    source: str
    """Of the alert: `wecom_app`, `wecom_robot`, `dingtalk`, …."""
    text: str
    """All that is told, without marks."""
    title: str = ""
    """The headline where the message has one of its own."""
    pictures: tuple[str, ...] = ()
    """Addresses: http, https or `data:`."""
    colour: str = ""
    """Of its card or its words, by the service's name."""
    severity: str = ""
    recipients: tuple[str, ...] = ()
    """The people that it names."""
    labels: tuple[tuple[str, str], ...] = ()


def find_font_colour(text: str) -> str:
    """Find the first colour that a markdown text gives to words; empty where it gives none."""
    found = _FONT_COLOUR.search(text)
    return found[1].lower() if found else ""


def read_robot_message(message: CompatMessage, sender: str = "") -> AlertGroup:
    """Read a message: an alert with its status and what makes it the same next time, else a text.

    `sender` tells its alerts from those of others who speak the same language.
    """
    message = replace(message, title=clean_text(message.title).strip(), text=clean_text(message.text).strip())
    headline, rest = _split_headline(message)
    pictures = tuple(spec for one in message.pictures[:MAX_PICTURES] if (spec := picture_at(one)))
    status = _read_status(headline, message.colour) if 0 < len(headline) <= MAX_TITLE_CHARS else None
    if status is None:
        return _as_text(message, pictures)
    labels = dict(message.labels) | dict(_read_labels(rest))
    if message.severity:
        labels["severity"] = message.severity
    name = name_without_state(headline)
    subject = {key: text for key, text in labels.items() if key not in ("severity", *dict(message.labels))}
    links = [link for link in _LINK.findall(rest) if link not in WEB_SCHEMES]
    alert = Alert(
        source=message.source,
        status=status,
        title=headline,
        labels=labels,
        annotations={"message": rest} if rest else {},
        link=links[0] if links and len(links) == 1 else None,
        picture=pictures[0] if pictures else None,
        fingerprint=short_hash([name or name_without_state(rest.partition("\n")[0]), subject]),
        sender=sender,
    )
    return AlertGroup(
        message.source, alert.fingerprint, headline, (alert,), recipients=message.recipients, pictures=pictures[1:]
    )


def _as_text(message: CompatMessage, pictures: tuple[PictureSpec, ...]) -> AlertGroup:
    title, text = message.title, message.text
    if not title:
        title, _, text = text.partition("\n")
    else:
        first, _, rest = text.partition("\n")
        text = rest.lstrip() if first.strip() == title else text
    return AlertGroup(message.source, "", title, text=text, recipients=message.recipients, pictures=pictures)


def _split_headline(message: CompatMessage) -> tuple[str, str]:
    """The headline and the rest: what is no word of a status alone, as the first line often is."""
    lines = [line for line in message.text.split("\n") if line.strip()]
    title = message.title
    if title:
        if lines and name_without_state(lines[0]) == name_without_state(title):
            lines = lines[1:]
    elif lines:
        title, lines = lines[0].strip(), lines[1:]
    if (
        lines
        and not name_without_state(title)
        and len(title) + len(lines[0]) < MAX_TITLE_CHARS
        and not _label_of(lines[0])
    ):
        title, lines = f"{title} {lines[0].strip()}", lines[1:]
    return title, "\n".join(lines)


def _read_status(headline: str, colour: str) -> AlertStatus | None:
    for status, pattern in _STATES:
        if pattern.search(headline):
            return status
    return _COLOURS.get(colour.lower())


def name_without_state(headline: str) -> str:
    """What is left of a headline without the words for a status, signs and blanks: the same at its recovery.

    What is much longer than a headline stays as it is.
    """
    if len(headline) > _MAX_STATED_CHARS:
        return headline
    for _, pattern in _STATES:
        headline = pattern.sub(" ", headline)
    return _NOISE.sub(" ", _FILLERS.sub(" ", headline)).strip().casefold()


def _label_of(line: str) -> tuple[str, str] | None:
    found = _LABEL_LINE.match(line, 0, _MAX_LABEL_LINE_CHARS)
    label = _NAMES.get(found[1].strip().lower()) if found else None
    return (label, found[2].strip()) if found and label else None


def _read_labels(text: str) -> Iterator[tuple[str, str]]:
    """Read the lines that name what an alert is about, `主机: db-1`; the first of each name counts."""
    seen = set()
    for line in text.split("\n")[:MAX_LINES_READ]:
        found = _label_of(line)
        if found and found[0] not in seen:
            seen.add(found[0])
            yield found
