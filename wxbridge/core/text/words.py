"""Words within texts, without a pattern for each: what is looked for comes from outside, and is another each time."""

from __future__ import annotations

import string

_LATIN = frozenset(string.ascii_letters + string.digits)


def has_word(text: str, word: str, also: str = "") -> bool:
    """Tell whether a word stands in a text by itself: no Latin letter, no digit and none of `also` is at it."""
    at = text.find(word)
    while at >= 0:
        neighbours = (text[at - 1 : at], text[at + len(word) : at + len(word) + 1])
        if not any(sign in _LATIN or (sign and sign in also) for sign in neighbours):
            return True
        at = text.find(word, at + 1)
    return False
