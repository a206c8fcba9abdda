"""What the gateway tells of messages, of members of rooms, and of the login."""

from __future__ import annotations

from dataclasses import dataclass

TEXT_MESSAGE = 7
"""The kind of a message that is a text, as the TypeScript puppet numbers it."""


@dataclass(frozen=True)
class RawMessage:
    """A received message as the gateway gives it. `kind` is a number of the TypeScript puppet; 7 is text."""

    id: str
    kind: int
    text: str
    filename: str
    sender_id: str
    room_id: str
    mention_ids: tuple[str, ...]
    timestamp: float


@dataclass(frozen=True)
class RoomMember:
    """Somebody in a room: `room_alias` is the name carried in this room only, `name` the person's own."""

    id: str
    room_alias: str
    name: str


@dataclass
class WechatLogin:
    """The bot's account; empty where nobody is logged in."""

    account: str = ""
    """Its id."""
    name: str = ""

    @property
    def shown(self) -> str:
        """The account as states tell it."""
        return f"{self.name} ({self.account})" if self.name else self.account
