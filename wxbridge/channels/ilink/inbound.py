"""What a person writes to their bot, read out of a poll's messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wxbridge.channels.connected import moment_of
from wxbridge.core.json_values import as_number, as_text
from wxbridge.core.text.normalise import clean_text

FROM_USER = 1
_TEXT, _VOICE = 1, 3


@dataclass(frozen=True)
class IlinkMessage:
    """A message of the person's. `text` is empty for pictures and what is not known."""

    id: str
    user_id: str
    text: str
    at: datetime
    context_token: str
    """A secret."""


def read_message(raw: Mapping[str, Any]) -> IlinkMessage | None:
    """Read one message; None for one that a person has not written. Nothing that is odd in it does harm."""
    if raw.get("message_type") != FROM_USER:
        return None
    items = raw.get("item_list")
    texts = [_read_item(item) for item in (items if isinstance(items, list) else []) if isinstance(item, dict)]
    return IlinkMessage(
        as_text(raw.get("message_id")),
        as_text(raw.get("from_user_id")),
        clean_text("\n".join(text for text in texts if text)).strip(),
        moment_of((as_number(raw.get("create_time_ms")) or 0) / 1000),
        as_text(raw.get("context_token")),
    )


def _read_item(item: Mapping[str, Any]) -> str:
    """Read a text, or what the service has understood of a voice message."""
    name = {_TEXT: "text_item", _VOICE: "voice_item"}.get(item.get("type", 0))
    part = item.get(name) if name else None
    return as_text(part.get("text")) if isinstance(part, dict) else ""
