"""What a group robot is sent: texts, markdown, cards, pictures and files, as the requests that carry them.

developer.work.weixin.qq.com/document/path/91770
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wxbridge.channels.mentions import is_everyone, is_mobile
from wxbridge.channels.shrinking import shrink_picture
from wxbridge.channels.uploads import MediaUpload, read_picture
from wxbridge.channels.wecom.media import make_file_upload
from wxbridge.core import imaging
from wxbridge.core.errors import Permanent, PictureError
from wxbridge.core.model import Outgoing, Text

MAX_TEXT_BYTES = 2048
"""Of UTF-8 in a text."""
MAX_MARKDOWN_BYTES = 4096
"""Of UTF-8 in a markdown of either version."""
MAX_CARD_TITLE_BYTES = 128
"""Of UTF-8 in a card's title; WeCom cuts off what is longer."""
MAX_CARD_TEXT_BYTES = 512
"""Likewise in its description."""
MAX_PICTURE_BYTES = 2 * 1024 * 1024
"""Of a picture before base64."""
EVERYBODY = "@all"

_LINK = re.compile(r"https?://[^\s<>\"]+")


@dataclass(frozen=True)
class RobotMessage:
    """A request, or the file that is to be uploaded first; and what it could not carry."""

    payload: Mapping[str, Any] = field(default_factory=dict)
    upload: MediaUpload | None = None
    note: str = ""


async def build_message(body: Outgoing, mentions: Sequence[str], *, mobiles: Sequence[str] = ()) -> RobotMessage:
    """Make the request for a message; `mobiles` are numbers that every plain text mentions.

    Raises:
        Permanent: the picture cannot be read, or is too large.
    """
    if isinstance(body, Text):
        return _build_text(body, mentions, mobiles)
    try:
        return await asyncio.to_thread(_build_picture, body.name, await read_picture(body))
    except PictureError as error:
        raise Permanent(str(error)) from None


def _build_text(body: Text, mentions: Sequence[str], mobiles: Sequence[str]) -> RobotMessage:
    who = list(dict.fromkeys(EVERYBODY if is_everyone(name) else name.strip().removeprefix("@") for name in mentions))
    if body.format == "markdown":
        content, left_out = add_mentions(body.text, who)
        note = f"not mentioned, for want of room or of an id: {', '.join(left_out)}" if left_out else ""
        return RobotMessage({"msgtype": "markdown", "markdown": {"content": content}}, note=note)
    if body.format == "markdown_v2":
        note = f"not mentioned, as markdown_v2 cannot: {', '.join(who)}" if who else ""
        return RobotMessage({"msgtype": "markdown_v2", "markdown_v2": {"content": body.text}}, note=note)
    card = None if who or mobiles or body.format != "news" else _make_card(body.text)
    if card:
        return RobotMessage({"msgtype": "news", "news": {"articles": [card]}})
    text: dict[str, Any] = {"content": body.text}
    ids = [name for name in who if not is_mobile(name)]
    numbers = list(dict.fromkeys([name for name in who if is_mobile(name)] + list(mobiles)))
    text |= {"mentioned_list": ids} if ids else {}
    text |= {"mentioned_mobile_list": numbers} if numbers else {}
    return RobotMessage({"msgtype": "text", "text": text})


def _make_card(text: str) -> dict[str, str] | None:
    """Make a card that opens the text's last link; None where it has none, or would lose a word as a card."""
    links = _LINK.findall(text)
    if not links:
        return None
    title, _, rest = text.strip().partition("\n")
    # A line that is the link alone is what the card itself is for.
    lines = [line for line in rest.split("\n") if line.replace(links[-1], "").strip(" 🔗")]
    description = "\n".join(lines).strip()
    fits = len(title.encode()) <= MAX_CARD_TITLE_BYTES and len(description.encode()) <= MAX_CARD_TEXT_BYTES
    return {"title": title, "description": description, "url": links[-1]} if fits else None


def add_mentions(text: str, who: Sequence[str]) -> tuple[str, list[str]]:
    """Add `<@id>` to a markdown for everybody whom there is room for.

    Also gives those left out: mobile numbers, which it cannot mention, are among them.
    """
    left_out = []
    separator = "\n"
    for name in who:
        mark = f"{separator}<@{name.removeprefix('@')}>"
        if is_mobile(name) or len((text + mark).encode(errors="replace")) > MAX_MARKDOWN_BYTES:
            left_out.append(name)
        else:
            text, separator = text + mark, ""
    return text, left_out


def _build_picture(name: str, data: bytes) -> RobotMessage:
    """Make the request of a picture, with the MD5 of its raw bytes; of what is none, an upload."""
    if imaging.sniff(data) is None:
        return RobotMessage(upload=make_file_upload(name, data))
    data = shrink_picture(data, MAX_PICTURE_BYTES)
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return RobotMessage({"msgtype": "image", "image": {"base64": base64.b64encode(data).decode(), "md5": digest}})
