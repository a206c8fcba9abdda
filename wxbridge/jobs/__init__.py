"""Scheduled work. A job kind is its settings and one function; the scheduler runs it and queues what it makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from wxbridge.compose import Language
from wxbridge.model import Picture, PictureSpec, Text
from wxbridge.settings import JobSettings


@dataclass(frozen=True)
class JobContext:
    """What a job may use while it runs."""

    now: datetime
    """When the run began, in the job's time zone."""
    language: Language
    base: Path
    """The directory that relative paths in jobs.yaml are relative to."""
    draw: Callable[[PictureSpec], Awaitable[bytes]]
    """Make a picture; raises `PictureError`."""
    keep: Callable[[bytes, str], Awaitable[Picture]]
    """Store picture bytes under a name that the chat shows."""


@dataclass(frozen=True)
class JobKind:
    """A job kind as the registry knows it."""

    settings: type[JobSettings]
    run: Callable[[JobContext, Any], Awaitable[Sequence[Text | Picture]]]
    """Do it, and return what to send. Raises `WxbridgeError` with a sentence where it cannot be done."""
