"""What the bridge says of itself: the greeting, announcements, and the way back in when WeChat wants a new scan."""

from __future__ import annotations

from collections.abc import Mapping

from wxbridge.config.types import TargetSettings
from wxbridge.core.model import Notification, NotificationKind, Picture, Priority, Text
from wxbridge.core.text.i18n import Language, say

GREETING_EXPIRES = 3600.0
"""Seconds in which a greeting is worth sending."""
CODE_EXPIRES = 300.0
"""Seconds in which a login code is worth sending: WeChat's own lifetime of one, roughly."""
CODE_EVERY = 600.0
"""Seconds between two login codes to the fallback."""


def greetings(targets: Mapping[str, TargetSettings], channel: str, *, master: str, greeting: str) -> list[Notification]:
    """The greeting to the master, and the announcements, of the targets of a channel that is up for the first time."""
    found = []
    if master in targets and targets[master].lane() == channel and greeting:
        found.append((master, greeting))
    found += [
        (name, target.announce) for name, target in targets.items() if target.lane() == channel and target.announce
    ]
    return [
        Notification(
            "wxbridge",
            name,
            (Text(text),),
            Priority.SYSTEM,
            kind=NotificationKind.GREETING,
            expires_after=GREETING_EXPIRES,
        )
        for name, text in found
    ]


def login_codes(
    targets: Mapping[str, TargetSettings], channel: str, code: Picture, language: Language
) -> list[Notification]:
    """The login QR code for the fallbacks of a channel's targets, where they are on another channel."""
    names = {
        name: None
        for target in targets.values()
        if target.lane() == channel
        for name in target.fallback
        if name in targets and targets[name].lane() != channel
    }
    text = say("channels.scan", language, channel=channel)
    return [
        Notification(
            "wxbridge",
            name,
            (Text(text), code),
            Priority.CRITICAL,
            kind=NotificationKind.GREETING,
            expires_after=CODE_EXPIRES,
        )
        for name in names
    ]
