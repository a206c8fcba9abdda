"""Names of rooms and people as they are read on a phone, whatever a gateway or a keyboard made of them. Pure."""

from __future__ import annotations

import html
import re
from functools import lru_cache

from wxbridge.core.text.normalise import simplify

MAX_REMEMBERED_NAMES = 50_000
"""Names whose form is kept: those of thousands of contacts are compared with each target."""
_IMAGE = re.compile(r"<(?:img|span)\s([^<>]*)/?>(?:</span>)?", re.IGNORECASE)
_EMOJI = re.compile(r"\bemoji([0-9a-f]{2,})\b", re.IGNORECASE)
_EMOJI_WORDS = re.compile(r"""\btext=["']([^"']+?)_web["']""")
_CODE = re.compile(r"1[0-9a-f]{4}|[23][0-9a-f](?=20e3)|[0-9a-f]{4}", re.IGNORECASE)
"""One character of an emoji: of five digits, a digit or # of a keycap, or of four."""
_LOOKS_ALIKE = {
    **dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFE0E, 0xFE0F, 0xFEFF)),
    **dict.fromkeys(map(ord, "〜∼"), "~"),
    **dict.fromkeys(map(ord, "“”„"), '"'),
    **dict.fromkeys(map(ord, "‘’"), "'"),
}
"""What is not seen at all, and signs that are told apart by nobody."""


def read_emoji(text: str) -> str:
    """Write the emoji images of WeChat's web client (`<img class="emoji emoji1f525" …>`) as characters.

    Its own faces become their words: `[微笑]`. Any other tag stays.
    """
    return _IMAGE.sub(_read_image, text) if "<" in text else text


def _read_image(image: re.Match[str]) -> str:
    attributes = image[1]
    emoji, words = _EMOJI.search(attributes), _EMOJI_WORDS.search(attributes)
    if emoji:
        codes = _CODE.findall(emoji[1])
        if "".join(codes) == emoji[1]:
            return "".join(chr(int(code, 16)) for code in codes)
    return words[1] if words else image[0]


def read_name(text: str) -> str:
    """Write a name as a phone shows it: HTML entities and emoji images as characters."""
    return html.unescape(read_emoji(text)) if "<" in text or "&" in text else text


@lru_cache(maxsize=MAX_REMEMBERED_NAMES)
def fold_name(text: str) -> str:
    """Give what two names have in common that are read alike: width, blanks and variation selectors do not count."""
    return simplify(read_name(text).translate(_LOOKS_ALIKE))
