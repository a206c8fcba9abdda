"""Mentions: those that mean everybody, however they are written, and those by a mobile number."""

from __future__ import annotations

import re

EVERYONE = "所有人"
"""What WeChat and its kin write for everybody in a room."""
_MOBILE = re.compile(r"1\d{10}", re.ASCII)


def is_everyone(wanted: str) -> bool:
    """Tell whether a mention means everybody."""
    return wanted.strip().removeprefix("@").casefold() in ("all", EVERYONE)


def is_mobile(name: str) -> bool:
    """Tell whether this is a mobile number of 11 digits."""
    return bool(_MOBILE.fullmatch(name))
