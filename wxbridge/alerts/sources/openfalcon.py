"""Open-Falcon: what its alarm module posts to the gateways of chats, text messages and mail (`api.im`, `sms`, `mail`).

A form with `tos` (user names, joined by commas) and `content`, in mails also `subject`; JSON with the same names is
taken too. The grammar is that of falcon-plus, `modules/alarm/cron/builder.go` and `combiner.go`. The sender never
repeats a message: whatever does not parse is told as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from wxbridge.alerts.sources import as_free_text, short_hash
from wxbridge.alerts.sources.forms import read_form
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import as_number, as_text, read_json_or_text, read_text, refuse_nothing
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Value
from wxbridge.core.text.normalise import clean_text

NAME = "openfalcon"

_STATUS = {"PROBLEM": AlertStatus.FIRING, "OK": AlertStatus.RESOLVED}
_MAX_CONTENT_CHARS = 4000
"""Characters of a content that is looked at for an alert."""

# [P0][PROBLEM][host-1][][note all(#3) metric tags 4.2<10][O1 2017-03-07 20:18:00]
_EVENT = re.compile(r"\[P(\d{1,2})\]\[(\w{1,20})\]\[(.*?)\]\[[^\]]*\]\[(.*)\]\[O(\d{1,9}) ([^\]]*)\]", re.DOTALL)
_FUNCTION = re.compile(r"(?:^|\s)(\w{1,20}\(#[\d,\s]{1,40}\)) ")
_CONDITION = re.compile(r"([^<>=!\s]+?)\s*([<>=!]{1,2})\s*([^<>=!\s]+)")
# [P3][PROBLEM] 12 cpu.idle e.g. host-1 http://…/portal/links/abc
_MERGED = re.compile(r"\[P(\d{1,2})\]\[(\w{1,20})\] (\d{1,9}) (\S+?)\.?(?:\s+e\.g\. (.*))?", re.DOTALL)
_LINK = re.compile(r"https?://\S+")


def parse(body: bytes, headers: Mapping[str, str]) -> AlertGroup:  # noqa: ARG001 - the body tells what it is
    """Read a form or a JSON object, whatever its content type says.

    Raises:
        BadBody: there is nothing in the body, or it is no text.
    """
    fields = _fields(body)
    content, subject = (as_text(fields.get(name)).strip() for name in ("content", "subject"))
    recipients = _names(fields.get("tos"))
    # The subject of a mail is what the other ways have as their content.
    alert = _alert(subject, content) if subject else None
    alert = alert or _alert(content, "", title=subject)
    if alert is None:
        return as_free_text(NAME, content, title=subject, recipients=recipients)
    return AlertGroup(
        source=NAME, group_key=alert.fingerprint, title=alert.title, alerts=(alert,), recipients=recipients
    )


def _fields(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise BadBody("The body is empty; a form with `tos` and `content` was expected.")
    fields: Any = None
    if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        with suppress(BadBody):
            fields = read_json_or_text(body)
    else:
        fields = read_form(body)
        refuse_nothing(read_text(body))
    if isinstance(fields, dict) and any(as_text(fields.get(name)).strip() for name in ("content", "subject")):
        return fields
    # Told as it stands, where it is a text at all: what is refused is lost.
    return {"tos": fields.get("tos") if isinstance(fields, dict) else None, "content": clean_text(read_text(body))}


def _names(tos: Any) -> tuple[str, ...]:
    names = tos if isinstance(tos, list) else as_text(tos).split(",")
    return tuple(dict.fromkeys(name for name in (as_text(name).strip() for name in names) if name))


def _alert(text: str, details: str, title: str = "") -> Alert | None:
    """Read one line of the grammar; `details` is the text below it, where a mail has one."""
    if len(text) > _MAX_CONTENT_CHARS or not text.startswith("[P"):
        return None
    event = _EVENT.fullmatch(text)
    if event:
        return _event(event, details, title)
    merged = _MERGED.fullmatch(text)
    return _merged(merged, details, title) if merged else None


def _event(match: re.Match[str], details: str, title: str) -> Alert | None:
    priority, word, host, middle, step, moment = match.groups()
    functions = list(_FUNCTION.finditer(middle))
    if not functions:
        return None
    # The note is free text and may look like a function; the one that was evaluated stands last.
    function = functions[-1]
    note = middle[: function.start()].strip()
    metric, _, rest = middle[function.end() :].partition(" ")
    tags, _, figures = rest.rpartition(" ")
    condition = _CONDITION.fullmatch(figures)
    if not metric or not condition:
        return None
    left, operator, right = condition.groups()
    labels = _pairs(tags) | {
        "priority": f"P{priority}",
        "host": host,
        "note": note,
        "metric": metric,
        "func": function[1],
        "type": _type(note, metric),
    }
    labels.setdefault("severity", _severity(int(priority)))
    link = _LINK.search(details)
    # The time has no zone: it is the clock of the sender, and stays in its words.
    return Alert(
        source=NAME,
        status=_STATUS.get(word.upper(), AlertStatus.FIRING),
        state="" if word.upper() in _STATUS else word,
        title=title or note or f"{host} {metric}",
        labels={name: label for name, label in labels.items() if label},
        annotations={"time": moment.strip(), "step": step},
        values=(Value(metric, as_number(left), f"{left} ({operator} {right})"),),
        link=link[0] if link else None,
        fingerprint=short_hash([host, metric, tags.strip(), note]),
    )


def _merged(match: re.Match[str], details: str, title: str) -> Alert:
    """Read what stands for several events of low priority: how many, of which metric, and one host of theirs."""
    priority, word, count, metric, example = match.groups()
    link = _LINK.search(example or "")
    words = _LINK.sub("", example).strip() if example else details
    return Alert(
        source=NAME,
        status=_STATUS.get(word.upper(), AlertStatus.FIRING),
        state="" if word.upper() in _STATUS else word,
        title=title or f"{metric} ×{count}",
        labels={
            "priority": f"P{priority}",
            "metric": metric,
            "type": metric,
            "severity": _severity(int(priority)),
        },
        annotations={"message": f"e.g. {words}" if example else words} if words else {},
        values=(Value("count", float(count)),),
        link=link[0] if link else None,
        fingerprint=short_hash(["merged", priority, metric]),
    )


def _type(note: str, metric: str) -> str:
    """What routes tell alerts apart by: the note's part before a `*`, else note and metric."""
    prefix, star, _ = note.partition("*")
    return prefix.strip() if star and prefix.strip() else f"{note} {metric}".strip()


def _severity(priority: int) -> str:
    return "critical" if priority <= 1 else "warning" if priority == 2 else "info"  # noqa: PLR2004 - P2


def _pairs(tags: str) -> dict[str, str]:
    """`fstype=ext4,mount=/` as labels; a value may hold `=`."""
    pairs = (tag.partition("=") for tag in tags.split(",") if tag.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
