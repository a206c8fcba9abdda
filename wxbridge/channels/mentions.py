"""Mentions that mean everybody, however they are written."""

from __future__ import annotations

EVERYONE = "所有人"
"""What WeChat and its kin write for everybody in a room."""


def is_everyone(wanted: str) -> bool:
    """Tell whether a mention means everybody."""
    return wanted.strip().removeprefix("@").casefold() in ("all", EVERYONE)
