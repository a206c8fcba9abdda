"""What the bot is sent: Markdown always, for `aibot_send_msg` refuses the type `text` (40008)."""

from __future__ import annotations

from collections.abc import Sequence

from wxbridge.channels.mentions import is_everyone
from wxbridge.core.model import Text
from wxbridge.core.text.markdown import escape_markdown


def write_content(body: Text, mentions: Sequence[str]) -> str:
    """Write a text as Markdown, with mentions before it; a plain one so that it is shown as it is."""
    return add_mentions(body.text if body.format == "markdown" else escape_markdown(body.text), mentions)


def add_mentions(text: str, mentions: Sequence[str]) -> str:
    """Put mentions before a text that is Markdown already.

    `<@userid>` is what WeCom's other robots take for a mention; the long connection's document names none, so
    it may be shown as it stands. There is nothing for everyone: `@所有人` is only written.
    """
    names = dict.fromkeys(
        "@所有人" if is_everyone(name) else f"<@{name.strip().removeprefix('@')}>" for name in mentions if name.strip()
    )
    return f"{' '.join(names)} {text}" if names else text
