"""Text that UTF-8 can hold."""

from __future__ import annotations


def storable(text: str) -> str:
    """Text that UTF-8 can hold: monitors do send halves of surrogate pairs, and no database takes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
