"""Many things, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

MAX_VALUES_PER_STATEMENT = 500
"""How many keys one statement names: SQLite takes so many values only."""

T = TypeVar("T")


def in_chunks(items: Iterable[T], most: int = MAX_VALUES_PER_STATEMENT) -> Iterator[list[T]]:
    """Cut things into lists of at most `most`, in their order."""
    left = iter(items)
    while chunk := list(islice(left, most)):
        yield chunk
