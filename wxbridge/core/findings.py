"""What a check of something outside the bridge found: the lines of `wxbridge doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FindingState(StrEnum):
    """How a thing is. `warn`: the bridge works, but something is missing or cannot be told."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and what to do about it (empty where nothing)."""

    name: str
    state: FindingState
    found: str
    advice: str = ""
