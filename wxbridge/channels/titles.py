"""The title of a message, for services that show one in their lists of chats."""

from __future__ import annotations

import re

MAX_TITLE_CHARS = 60
"""Of the title, which the list of chats shows."""

_MARKS = re.compile(
    r"\\(?P<plain>[!-/:-@\[-`{-~])|&#(?P<code>\d{2,3});|<[^<>]*>|!?\[(?P<words>[^\]]*)\]\([^)]*\)|^[\s#>]+|[*`]+"
)
"""Of markdown: what stands for a plain character, and what is none."""


def make_title(markdown: str) -> str:
    """Give the first line with something in it, without its marks: what the list of chats and a lock screen show."""
    for line in markdown.splitlines():
        bare = " ".join(_MARKS.sub(_without_mark, line).split()).strip("- ")
        if bare:
            return bare if len(bare) <= MAX_TITLE_CHARS else f"{bare[: MAX_TITLE_CHARS - 1]}…"
    return "wxbridge"


def _without_mark(found: re.Match[str]) -> str:
    return found["plain"] or (chr(int(found["code"])) if found["code"] else found["words"] or "")
