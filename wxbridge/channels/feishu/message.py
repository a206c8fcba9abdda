"""What a robot of Feishu is sent: texts, posts, cards and pictures, as the requests that carry them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from wxbridge.channels.http import encode_json
from wxbridge.channels.mentions import EVERYONE, is_everyone
from wxbridge.channels.titles import make_title
from wxbridge.core.model import PictureFile, Text

_COLOURS = {"🔥": "red", "🔴": "red", "🟠": "orange", "🟡": "yellow", "✅": "green", "🟢": "green", "⚪": "grey"}
"""Of a card's header, by the mark that its text begins with."""
_USUAL_COLOUR = "blue"
_MARK_CHARS = 4
"""A reminder's sign may stand before it."""
_LINK = re.compile(r"https?://[^\s<>\"]+")
_TAG = re.compile(r"<(?=/?\s*at\b)", re.IGNORECASE)
_ID = re.compile(r"[\w.@+-]+")
"""Of a member: an open id, a user id, or an address of mail."""


def build_text(body: Text, mentions: Sequence[str], limit: int) -> Mapping[str, Any]:
    """Make the request of a text in its format; a plain one where that would have more bytes than `limit`."""
    who = list(dict.fromkeys("all" if is_everyone(name) else name.strip().removeprefix("@") for name in mentions))
    match body.format:
        case "markdown":
            made = _build_card(body.text, who)
        case "post":
            made = _build_post(body.text, who)
        case _:
            made = _build_plain(body.text, who)
    return made if len(encode_json(made)) <= limit else _build_plain(body.text, who)


def build_picture(image_key: str) -> Mapping[str, Any]:
    """Make the request of a picture that was uploaded."""
    return {"msg_type": "image", "content": {"image_key": image_key}}


def build_picture_link(body: PictureFile) -> Mapping[str, Any]:
    """Make the request of a picture that has an address: a robot without an application can only link to it."""
    line = [{"tag": "a", "text": body.name, "href": body.url}]
    return {"msg_type": "post", "content": {"post": {"zh_cn": {"title": "", "content": [line]}}}}


def _escape(text: str) -> str:
    """Have what an alert brings along mention nobody: only tags of our own are tags."""
    return _TAG.sub("＜", text)


def _build_plain(text: str, who: Sequence[str]) -> Mapping[str, Any]:
    marks = " ".join(f'<at user_id="{name}">{EVERYONE if name == "all" else name}</at>' for name in _known(who))
    content = "\n".join(filter(None, [_escape(text), marks]))
    return {"msg_type": "text", "content": {"text": content}}


def _build_post(text: str, who: Sequence[str]) -> Mapping[str, Any]:
    title, _, rest = text.strip().partition("\n")
    lines = [_read_line(line) for line in rest.split("\n")] if rest else []
    marks = [{"tag": "at", "user_id": name} for name in _known(who)]
    content = [*lines, marks] if marks else lines
    return {"msg_type": "post", "content": {"post": {"zh_cn": {"title": title.strip(), "content": content}}}}


def _read_line(line: str) -> list[dict[str, str]]:
    """Split a line into words and links."""
    parts, end = [], 0
    for link in _LINK.finditer(line):
        if line[end : link.start()]:
            parts.append({"tag": "text", "text": line[end : link.start()]})
        parts.append({"tag": "a", "text": link[0], "href": link[0]})
        end = link.end()
    return [*parts, {"tag": "text", "text": line[end:]}] if line[end:] or not parts else parts


def _build_card(markdown: str, who: Sequence[str]) -> Mapping[str, Any]:
    """Make a card of the first generation, which clients of every age show."""
    title, text = make_title(markdown), _drop_title(markdown)
    marks = " ".join(f"<at email={name}></at>" if "@" in name else f"<at id={name}></at>" for name in _known(who))
    content = "\n".join(filter(None, [_escape(text).strip(), marks]))
    elements = [{"tag": "markdown", "content": content}] if content else []
    colour = next((colour for mark, colour in _COLOURS.items() if mark in title[:_MARK_CHARS]), _USUAL_COLOUR)
    header = {"title": {"tag": "plain_text", "content": title}, "template": colour}
    return {
        "msg_type": "interactive",
        "card": {"config": {"wide_screen_mode": True}, "header": header, "elements": elements},
    }


def _drop_title(markdown: str) -> str:
    """Give the text without its first line, unless the title has room for a part of it only."""
    first, _, rest = markdown.strip().partition("\n")
    return rest if not make_title(first).endswith("…") else markdown


def _known(who: Sequence[str]) -> list[str]:
    return [name for name in who if _ID.fullmatch(name)]
