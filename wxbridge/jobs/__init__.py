"""Scheduled work. A job kind is its settings and one function; the scheduler runs it and queues what it makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from wxbridge.config.types import JobSettings, Rate
from wxbridge.core.model import Picture, PictureSpec, Text
from wxbridge.core.text.i18n import Language
from wxbridge.delivery.outbox_queries import OutboxQueries

Bodies = Sequence[Text | Picture]
Made = Bodies | Mapping[str, Bodies]
"""What a job sends: the same to each of its targets, or to each, by its name, something of its own."""
Read = Callable[[Callable[[Connection], Any]], Awaitable[Any]]
"""Call a function that only reads with the bridge's database; raises `StorageError`."""


@dataclass(frozen=True)
class LaneBudget:
    """How much the lane of a target may send."""

    lane: str
    """The channel's account, which the target shares with others: `wechat`, or `wecom_bot:NAME`."""
    rates: tuple[Rate, ...] = ()
    """Over the whole lane; none where it is not paced."""


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
    read: Read
    """Read the bridge's database."""
    outbox: OutboxQueries
    targets: tuple[str, ...] = ()
    """Who gets what this run makes: the job's targets, and the chat where somebody asked for it."""
    budgets: Mapping[str, LaneBudget] = field(default_factory=dict)
    """By target."""


@dataclass(frozen=True)
class JobKind:
    """A job kind as the registry knows it."""

    settings: type[JobSettings]
    run: Callable[[JobContext, Any], Awaitable[Made]]
    """Do it, and return what to send. Raises `WxbridgeError` with a sentence where it cannot be done."""
    needs_browser: bool = False
    """Whether its pictures are made by a browser: `wxbridge doctor` then looks for one, and for its fonts."""
