"""What the gateway tells of messages and of members of rooms."""

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
