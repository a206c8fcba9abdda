"""Texts and pictures → notifications that fit their target: split to its limit, in its format, for a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from wxbridge.alerts.alert_text import LINK_MARK
from wxbridge.alerts.severity import EMOJI, SEVERITY_EMOJI, worst_first
from wxbridge.core.model import (
    AlertGroup,
    AlertStatus,
    Body,
    Capabilities,
    Notification,
    NotificationKind,
    Picture,
    PictureSpec,
    Priority,
    Severity,
    Text,
)
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.markdown import escape_markdown
from wxbridge.core.text.splitting import measure_length, split_message

MAX_PICTURES_PER_GROUP = 3
"""How many pictures one group may bring, those of its worst alerts."""
_COLOURS = {
    EMOJI[AlertStatus.FIRING]: "warning",
    EMOJI[AlertStatus.RESOLVED]: "info",
    EMOJI[AlertStatus.NO_DATA]: "comment",
} | {mark: "comment" if severity is Severity.INFO else "warning" for severity, mark in SEVERITY_EMOJI.items()}
"""WeCom's names for orange, green and grey, by the mark that a headline begins with."""
_LEVELS = {"🟢": "info", "🟡": "comment", "🔴": "warning"}
"""The colours of a measured figure's level, by the mark in front of it, in what is no alert."""
_LINK = re.compile(r"(🔗|📈|🔕) (?:(.+) )?(https?://([^/?#\s)]+)\S*)")
"""A line that is an address, with words before it or without."""


@dataclass(frozen=True)
class Destination:
    """What is to be known of a target before something is composed for it."""

    capabilities: Capabilities
    expires_after: float
    """Seconds."""
    template: str | None = None
    """The template of alerts, where the route names none."""
    recipients: Callable[[Sequence[str]], list[str] | None] = lambda _: None
    """Of the people that an alert names: each message's recipient. None where the target says who is meant."""
    from_label: tuple[str, ...] = ()
    """The labels or annotations that name those people, where the alert's sender does not."""
    known_as: Callable[[str], str] = lambda name: name
    """How the channel knows somebody who is mentioned."""
    format: str = "text"
    """How alerts are written there: plain, or one of the channel's formats."""
    is_from_request: bool = False
    """Whether the sender of an alert says in its own address which robot this is."""


# ---------------------------------------------------------------- alerts


def build_bodies(
    text: str,
    group: AlertGroup,
    capabilities: Capabilities,
    language: Language,
    note: str = "",
    mentions: Sequence[str] = (),
    format: str = "text",  # noqa: A002 - the field's own name
) -> list[Body]:
    """A group's text, split to a channel's limit, then its pictures, each once. Mentions go with the first part.

    In another `format` of the channel than `text`, headlines and links are dressed up; for markdown the text is
    markdown already (`escape_for`), the note is not.
    """
    escape = escape_for(capabilities, format)
    whole = "\n\n".join(filter(None, (escape(note) if escape else note, text)))
    if format != "text":
        if escape:
            colours = capabilities.colours and format == "markdown"
            whole = in_markdown(whole, colours=colours, hard_breaks=capabilities.hard_breaks, levels={})
        capabilities = replace(capabilities, text_limit=capabilities.formats[format])
    texts = split_message(whole, capabilities, language) if whole else []
    made: list[Body] = [Text(part, tuple(mentions) if index == 0 else (), format) for index, part in enumerate(texts)]
    return made + [Picture(spec=spec) for spec in _pictures(group)]


def _pictures(group: AlertGroup) -> list[PictureSpec]:
    found: list[PictureSpec] = []
    for alert in worst_first(alert for alert in group.alerts if alert.picture):
        if alert.picture and alert.picture not in found:
            found.append(alert.picture)
            if len(found) == MAX_PICTURES_PER_GROUP:
                break
    return found + [spec for spec in group.pictures if spec not in found]


def write_missing_picture(spec: PictureSpec | None, reason: str, language: Language) -> str:
    """What stands in for a picture that could not be made: why, and the link."""
    return stand_in(say("alerts.no_picture", language, reason=tell_error(reason, language)), spec)


def stand_in(words: str, spec: PictureSpec | None) -> str:
    """Put the link to what a picture would show below the words that stand in for it, where it has one."""
    return f"{words}\n{LINK_MARK} {spec.link}" if spec and spec.link else words


def add_line(body: Text, line: str, capabilities: Capabilities) -> str | None:
    """Put a line below a text that was fitted to a channel; None where there is no room, or it ends so already."""
    end = "  \n" if capabilities.hard_breaks and body.format != "text" else "\n"
    escape = escape_for(capabilities, body.format)
    line = escape(line) if escape else line
    text = f"{body.text}{end}{line}"
    return None if body.text.endswith(line) or not is_within_limit(text, body.format, capabilities) else text


def is_within_limit(text: str, format: str, capabilities: Capabilities) -> bool:  # noqa: A002 - the field's own name
    """Whether a text in one of a channel's formats fits into one of its messages."""
    limit = capabilities.formats.get(format, capabilities.text_limit)
    return measure_length(text, capabilities.text_unit) <= limit


# ---------------------------------------------------------------- what is no alert


def fit_bodies(bodies: Sequence[Body], destination: Destination, language: Language) -> list[Body]:
    """Split the texts among some bodies to a target's limit; mentions stay with the first part."""
    fitted: list[Body] = []
    for body in bodies:
        if not isinstance(body, Text):
            fitted.append(body)
            continue
        text, capabilities, format_ = body.text, destination.capabilities, "text"
        if body.format == "markdown" == destination.format and "markdown" in capabilities.formats:
            # Written to be dressed up where the target has markdown; plain everywhere else.
            format_ = body.format
            text = escape_markdown(text, capabilities.escapes, line_end="\n")
            text = in_markdown(text, colours=capabilities.colours, hard_breaks=capabilities.hard_breaks)
            capabilities = replace(capabilities, text_limit=capabilities.formats[format_])
        parts = split_message(text, capabilities, language)
        fitted += [Text(part, body.mentions if index == 0 else (), format_) for index, part in enumerate(parts)]
    return fitted


def make_notification(
    source: str,
    target: str,
    bodies: Sequence[Body],
    destination: Destination,
    language: Language,
    priority: Priority = Priority.ALERT,
) -> Notification:
    """What is told to one target as it stands, and is no alert."""
    texts = [body for body in bodies if isinstance(body, Text)]
    mentions = [name for body in texts for name in body.mentions]
    return Notification(
        source=source,
        target=target,
        bodies=tuple(fit_bodies(bodies, destination, language)),
        priority=priority,
        kind=NotificationKind.OTHER,
        content={"text": "\n\n".join(body.text for body in texts), "mentions": mentions} if texts else None,
        expires_after=destination.expires_after,
    )


def recompose_text(content: Mapping[str, Any], destination: Destination, language: Language, note: str) -> list[Body]:
    """The texts of such a notification for another target, with a note above them."""
    text = "\n".join(part for part in (note, content["text"]) if part)
    return fit_bodies([Text(text, tuple(content["mentions"]))], destination, language)


# ---------------------------------------------------------------- markdown


def escape_for(capabilities: Capabilities, format: str) -> Callable[[str], str] | None:  # noqa: A002 - the field's own
    """What makes markdown of a plain text, so that a reader sees its characters; None where a format is none."""
    if not format.startswith("markdown"):
        return None
    return partial(escape_markdown, how=capabilities.escapes, line_end="\n")


def in_markdown(text: str, *, colours: bool, hard_breaks: bool, levels: Mapping[str, str] = _LEVELS) -> str:
    """Dress up a text that is markdown as far as its characters go.

    `colours`: with WeCom's `<font color>`. `hard_breaks`: for a reader that takes a line end alone for a blank.
    `levels`: the marks of what is no headline, and their colours; any other line with a mark is one.
    """
    lines = [_dress_up_line(line, levels, colours=colours) for line in text.split("\n")]
    # Two blanks at its end make a line end where markdown is read strictly.
    return ("  \n" if hard_breaks else "\n").join(lines)


def _dress_up_line(line: str, levels: Mapping[str, str], *, colours: bool) -> str:
    link = _LINK.fullmatch(line)
    if link and ")" not in link[3]:
        return f"{link[1]} [{link[2] or link[4]}]({link[3]})"
    mark, words = line[:1], line.rstrip()
    if line[1:2] != " " or "**" in line:
        return line
    if mark in levels:
        return f'{mark} <font color="{levels[mark]}">{words[2:]}</font>' if colours else line
    if mark in _COLOURS:
        return f'**<font color="{_COLOURS[mark]}">{words}</font>**' if colours else f"**{words}**"
    return line
