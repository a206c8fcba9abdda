"""What the bridge says of itself: the greeting, announcements, and the way back in when WeChat wants a new scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection

from wxbridge.config.types import TargetSettings
from wxbridge.core.model import Notification, NotificationKind, Picture, Priority, Text
from wxbridge.core.schema import read_facts, remember_fact
from wxbridge.core.text.i18n import Language, say

GREETING_TTL_SECONDS = 3600.0
"""How long a greeting is worth sending."""
GREETING_INTERVAL_SECONDS = 3600.0
"""Between two greetings of the same words to one target, also of a bridge that is started again and again."""
CODE_TTL_SECONDS = 300.0
"""How long a login code is worth sending: WeChat's own lifetime of one, roughly."""
CODE_INTERVAL_SECONDS = 600.0
"""Between two login codes to the fallback."""
_FACT = "greeted:"


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


@dataclass(frozen=True)
class GivenGreetings:
    """Greetings that were put into the outbox, remembered in the same transaction."""

    items: Sequence[Notification]

    @classmethod
    def store_all(cls, connection: Connection, parts: Sequence[Self], *, now: float) -> None:
        """Remember when each target was greeted, and with which words."""
        for item in [item for part in parts for item in part.items]:
            remember_fact(connection, f"{_FACT}{item.target}", _words(item), now)


def select_due_greetings(connection: Connection, items: Sequence[Notification], now: float) -> list[Notification]:
    """Leave out the greetings whose target had the same words within the last hour; `now` is seconds since 1970."""
    given = read_facts(connection, _FACT)

    def is_recent(item: Notification) -> bool:
        words, at = given.get(item.target, ("", 0.0))
        return bool(words == _words(item) and abs(now - at) < GREETING_INTERVAL_SECONDS)

    return [item for item in items if not is_recent(item)]


def _words(item: Notification) -> str:
    return "\n".join(body.text for body in item.bodies if isinstance(body, Text))


@dataclass(frozen=True)
class CodeReader:
    """Who is told that a channel needs a scan."""

    target: str
    is_fallback: bool
    """Whether the channel's alerts come here meanwhile; else it is the master alone."""
    is_scarce: bool = False
    """Whether each message here costs one of a few: then the link alone is sent, where there is one."""


def list_code_readers(targets: Mapping[str, TargetSettings], channel: str, *, master: str) -> list[CodeReader]:
    """List who is told that a channel needs a scan: the fallbacks of its targets, and the master, on another one."""
    ours = [target for target in targets.values() if target.lane() == channel]
    fallbacks = [name for target in ours for name in target.fallback]
    names = [name for name in dict.fromkeys([*fallbacks, master]) if name in targets]
    return [CodeReader(name, name in fallbacks) for name in names if targets[name].lane() != channel]


def make_login_codes(
    readers: Sequence[CodeReader], channel: str, code: Picture, language: Language, *, link: str = ""
) -> list[Notification]:
    """Make the messages with the login QR code, and the `link` that it holds where it is one, for each reader."""
    how = f"\n{say('channels.scan_link', language, link=link)}" if link else ""
    texts = {
        True: Text(say("channels.scan", language, channel=channel) + how),
        False: Text(say("channels.scan_alone", language, channel=channel) + how),
    }
    return [
        Notification(
            "wxbridge",
            reader.target,
            (texts[reader.is_fallback],) if reader.is_scarce and link else (texts[reader.is_fallback], code),
            Priority.CRITICAL,
            kind=NotificationKind.GREETING,
            expires_after=CODE_TTL_SECONDS,
        )
        for reader in readers
    ]
