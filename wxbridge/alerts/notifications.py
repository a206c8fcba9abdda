"""Bodies → a Notification that fits its target, with the whole text kept for telling it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wxbridge.alerts.markdown import in_markdown
from wxbridge.core.model import Body, Capabilities, Notification, NotificationKind, Priority, Text
from wxbridge.core.text import splitting
from wxbridge.core.text.i18n import Language


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
    format: str = "text"
    """How alerts are written there: plain, or one of the channel's formats."""


def fit(bodies: Sequence[Body], destination: Destination, language: Language) -> list[Body]:
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
            text = in_markdown(text, colours=capabilities.colours, hard_breaks=capabilities.hard_breaks)
            capabilities = replace(capabilities, text_limit=capabilities.formats[format_])
        parts = splitting.split_message(text, capabilities, language)
        fitted += [Text(part, body.mentions if index == 0 else (), format_) for index, part in enumerate(parts)]
    return fitted


def notification(
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
        bodies=tuple(fit(bodies, destination, language)),
        priority=priority,
        kind=NotificationKind.OTHER,
        content={"text": "\n\n".join(body.text for body in texts), "mentions": mentions} if texts else None,
        expires_after=destination.expires_after,
    )


def again(content: Mapping[str, Any], destination: Destination, language: Language, note: str) -> list[Body]:
    """The texts of such a notification for another target, with a note above them."""
    text = "\n".join(part for part in (note, content["text"]) if part)
    return fit([Text(text, tuple(content["mentions"]))], destination, language)
