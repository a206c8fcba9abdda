"""The built-in texts as markdown: headlines stand out, in the colour of their state, and links are short."""

from __future__ import annotations

import re

from wxbridge.alerts.severity import EMOJI
from wxbridge.core.model import AlertStatus

_COLOURS = {AlertStatus.FIRING: "warning", AlertStatus.RESOLVED: "info", AlertStatus.NO_DATA: "comment"}
"""WeCom's names: orange, green, grey."""
_LEVELS = {"🟢": "info", "🟡": "comment", "🔴": "warning"}
"""The colours of a measured figure's level, by the mark in front of it."""
_LINK = re.compile(r"🔗 (https?://([^/?#\s)]+)\S*)")


def in_markdown(text: str, *, colours: bool, hard_breaks: bool) -> str:
    """Dress a plain text up.

    `colours`: with WeCom's `<font color>`. `hard_breaks`: for a reader that takes a line end alone for a blank.
    """
    lines = [_line(line, colours=colours) for line in text.split("\n")]
    # Two blanks at its end make a line end where markdown is read strictly.
    return ("  \n" if hard_breaks else "\n").join(lines)


def _line(line: str, *, colours: bool) -> str:
    link = _LINK.fullmatch(line)
    if link and ")" not in link[1]:
        return f"🔗 [{link[2]}]({link[1]})"
    level = next((colour for mark, colour in _LEVELS.items() if colours and line.startswith(f"{mark} ")), None)
    if level is not None and "**" not in line:
        return f'{line[0]} <font color="{level}">{line[2:].rstrip()}</font>'
    status = next((status for status, emoji in EMOJI.items() if line.startswith(f"{emoji} ")), None)
    words = line.rstrip()
    if status is None or "**" in words:
        return line
    return f'**<font color="{_COLOURS[status]}">{words}</font>**' if colours else f"**{words}**"
