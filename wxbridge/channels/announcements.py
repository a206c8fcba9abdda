"""What the bridge says of itself: the greeting, announcements, and the way back in when WeChat wants a new scan."""

from __future__ import annotations

from collections.abc import Mapping

from wxbridge.config.types import TargetSettings
from wxbridge.core.model import Notification, NotificationKind, Picture, Priority, Text
from wxbridge.core.text.i18n import Language, say

GREETING_TTL_SECONDS = 3600.0
"""How long a greeting is worth sending."""
CODE_TTL_SECONDS = 300.0
"""How long a login code is worth sending: WeChat's own lifetime of one, roughly."""
CODE_INTERVAL_SECONDS = 600.0
"""Between two login codes to the fallback."""


def make_greetings(
    targets: Mapping[str, TargetSettings], channel: str, *, master: str, greeting: str
) -> list[Notification]:
    """Make the greeting to the master, and the announcements, for a channel that is up for the first time."""
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
            expires_after=GREETING_TTL_SECONDS,
        )
        for name, text in found
    ]


def make_login_codes(
    targets: Mapping[str, TargetSettings], channel: str, code: Picture, language: Language
) -> list[Notification]:
    """Make the messages with the login QR code, for those fallbacks of a channel's targets that are on another one."""
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
            expires_after=CODE_TTL_SECONDS,
        )
        for name in names
    ]
