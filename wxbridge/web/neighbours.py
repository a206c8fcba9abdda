"""What the HTTP server asks of the rest of the bridge, as callables: it imports none of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wxbridge.alerts.service import AlertService
from wxbridge.core.model import Accepted, ChannelStatus
from wxbridge.pictures.store import PictureStore
from wxbridge.web.push import Push


@dataclass(frozen=True)
class Neighbours:
    """What the server calls."""

    accept: Callable[[str, bytes, Mapping[str, str], Sequence[str]], Awaitable[Accepted]]
    """Store what a source's body and headers say, for these targets or by the routes. Raises `BadBody`,
    `StorageError`."""
    push: Callable[[Push], Awaitable[Accepted]]
    """Store what somebody pushed. Raises `BadBody`, `StorageError`."""
    refresh_gauges: Callable[[], Awaitable[None]]
    """Set what `/metrics` shows of this moment."""
    database_ok: Callable[[], Awaitable[bool]]
    channels: Callable[[], Mapping[str, ChannelStatus]]
    sources: Collection[str]
    """The hooks there are: `grafana`, `generic`, `generic/uptime-kuma`, … Looked up at every post, so a mapping
    or a set; what is added to it later is a hook at once."""
    picture_store: PictureStore
    outbox: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    """What waits, for `/readyz`."""
    alerts: AlertService | None = None
    """What fires and what is silenced; without it there is no API for that."""
