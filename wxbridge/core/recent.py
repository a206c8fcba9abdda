"""What was put in last, and no more than so much of it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentDict(OrderedDict[K, V]):
    """Keeps the entries that were put in last, at most `most`, the oldest first; one that is put in again is new."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)

    def touch(self, key: K, new: V) -> V:
        """Give what is kept under a key, else `new`; from now on it counts as the newest."""
        value = self[key] = self.get(key, new)
        return value
