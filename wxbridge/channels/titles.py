"""The title of a message, for services that show one in their lists of chats."""

from __future__ import annotations

import re

MAX_TITLE_CHARS = 60
"""Of the title, which the list of chats shows."""


def make_title(markdown: str) -> str:
    """Give the first line with something in it, without its marks: what the list of chats and a lock screen show."""
    for line in markdown.splitlines():
        bare = re.sub(r"<[^<>]*>|!?\[([^\]]*)\]\([^)]*\)|[*`#>]+", lambda found: found[1] or "", line)
        bare = " ".join(bare.split()).strip("- ")
        if bare:
            return bare if len(bare) <= MAX_TITLE_CHARS else f"{bare[: MAX_TITLE_CHARS - 1]}…"
    return "wxbridge"
