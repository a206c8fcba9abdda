"""What members write, out of the frames that bring it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wxbridge.channels.connected import moment_of
from wxbridge.channels.wecom_bot.frames import text

_OTHERS = {"image": "[image]", "file": "[file]", "video": "[video]", "voice": "[voice]"}
_MENTION = re.compile(r"\s*[@＠][^\s\u2005]+(?:[\s\u2005]+|$)")
MAX_ID_CHARS = 256


@dataclass(frozen=True)
class BotInbound:
    """A message of a member. `group` is empty in a direct chat; `quoted` is what it answers to, where it does."""

    id: str
    user: str
    group: str
    text: str
    quoted: str
    at: datetime


def read_message(body: Mapping[str, Any], *, bot_name: str | None) -> BotInbound | None:
    """Read the body of a message callback; None where it does not say who wrote.

    The bot's mention is taken out of group messages. Voice comes as text already; what is neither is named, as
    `[image]`.
    """
    sender = body.get("from")
    user = text(sender.get("userid")) if isinstance(sender, dict) else ""
    group = text(body.get("chatid")) if body.get("chattype") != "single" else ""
    if not user or max(len(user), len(group)) > MAX_ID_CHARS:
        return None
    said = read_content(body)
    quote = body.get("quote")
    return BotInbound(
        id=text(body.get("msgid")),
        user=user,
        group=group,
        text=remove_mention(said, bot_name) if group else said.strip(),
        quoted=read_content(quote).strip() if isinstance(quote, dict) else "",
        at=_read_time(body.get("create_time")),
    )


def read_content(body: Mapping[str, Any]) -> str:
    """Give the words of a message, or of a part of one: text, voice, or several mixed."""
    kind = text(body.get("msgtype"))
    part = body.get(kind)
    if not isinstance(part, dict):
        return _OTHERS.get(kind, f"[{kind[:20] or 'unknown'}]")
    if kind == "mixed":
        items = part.get("msg_item")
        return " ".join(
            word for item in (items if isinstance(items, list) else []) if isinstance(item, dict)
            if item.get("msgtype") != "mixed" and (word := read_content(item).strip())
        )  # fmt: skip
    words = text(part.get("content"))
    return words or _OTHERS.get(kind, "")


def remove_mention(said: str, bot_name: str | None) -> str:
    """Take the bot's mention out of what was said: by its name, or the first word where that begins with @."""
    if bot_name:
        mention = re.compile(rf"[@＠]{re.escape(bot_name.strip())}(?=[\s\u2005]|$)[\s\u2005]*")
        stripped = mention.sub("", said, count=1)
        if stripped == said:
            # People do not type a blank behind a mention; where letters meet it may be another's longer name.
            stripped = re.sub(rf"^\s*[@＠]{re.escape(bot_name.strip())}(?!(?<=[A-Za-z0-9])[A-Za-z0-9])", "", said)
        if stripped != said:
            return stripped.strip()
    return _MENTION.sub("", said, count=1).strip() if _MENTION.match(said) else said.strip()


def _read_time(value: Any) -> datetime:
    return moment_of(value if isinstance(value, int | float) and not isinstance(value, bool) else 0)
