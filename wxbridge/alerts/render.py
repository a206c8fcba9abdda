"""Alerts → what people read in WeChat: plain text made for a phone, split to a channel's limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo

from wxbridge.alerts.alert_text import (
    text_of,
)
from wxbridge.alerts.markdown import in_markdown
from wxbridge.alerts.severity import worst_first
from wxbridge.core.model import AlertGroup, Body, Capabilities, Picture, PictureSpec, Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import split_message

MAX_PICTURES_PER_GROUP = 3
"""How many pictures one group may bring, those of its worst alerts."""


def compose(
    group: AlertGroup,
    capabilities: Capabilities,
    language: Language,
    note: str = "",
    *,
    timezone: tzinfo = UTC,
    now: datetime | None = None,
    mentions: Sequence[str] = (),
) -> list[Body]:
    """Say what a group says to one target, in the built-in words: its text, split to the limit, then its pictures.

    `note` is a line above the text. Times are told in `timezone`, as of `now` (the present where it is not given).
    """
    text = text_of(group, language, timezone, now or datetime.now(UTC))
    return bodies(text, group, capabilities, language, note, mentions)


def bodies(
    text: str,
    group: AlertGroup,
    capabilities: Capabilities,
    language: Language,
    note: str = "",
    mentions: Sequence[str] = (),
    format: str = "text",  # noqa: A002 - the field's own name
) -> list[Body]:
    """A group's text, split to a channel's limit, then its pictures, each once. Mentions go with the first part.

    In another `format` of the channel than `text`, headlines and links are dressed up.
    """
    whole = "\n\n".join(part for part in (note, text) if part)
    if format != "text":
        if format.startswith("markdown"):
            colours = capabilities.colours and format == "markdown"
            whole = in_markdown(whole, colours=colours, hard_breaks=capabilities.hard_breaks)
        capabilities = replace(capabilities, text_limit=capabilities.formats[format])
    texts = split_message(whole, capabilities, language)
    made: list[Body] = [Text(part, tuple(mentions) if index == 0 else (), format) for index, part in enumerate(texts)]
    return made + [Picture(spec=spec) for spec in _pictures(group)]


def _pictures(group: AlertGroup) -> list[PictureSpec]:
    found: list[PictureSpec] = []
    for alert in worst_first(alert for alert in group.alerts if alert.picture):
        if alert.picture and alert.picture not in found:
            found.append(alert.picture)
            if len(found) == MAX_PICTURES_PER_GROUP:
                break
    return found


def picture_missing(spec: PictureSpec | None, reason: str, language: Language) -> str:
    """What stands in for a picture that could not be made: why, and the link."""
    line = say("alerts.no_picture", language, reason=reason)
    return f"{line}\n🔗 {spec.link}" if spec and spec.link else line


def join_texts(texts: Sequence[str]) -> str:
    """Put what a job produced into one text, a blank line between."""
    return "\n\n".join(text for text in texts if text)
