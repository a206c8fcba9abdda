"""What the HTTP server asks of the rest of the bridge, as callables: it imports none of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wxbridge.core.errors import BadBody
from wxbridge.core.model import Accepted, ChannelStatus
from wxbridge.pictures.store import PictureStore
from wxbridge.web.push import Push


async def _no_list() -> list[Mapping[str, Any]]:
    return []


async def _no_silence(
    _matchers: Sequence[str], _starts_at: float, _ends_at: float, _by: str, _comment: str
) -> Mapping[str, Any]:
    raise BadBody("This bridge keeps no silences.")


async def _no_expiry(_silence: str) -> bool:
    return False


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
    silences: Callable[[], Awaitable[list[Mapping[str, Any]]]] = _no_list
    """The silences that are not over, as plain JSON."""
    add_silence: Callable[[Sequence[str], float, float, str, str], Awaitable[Mapping[str, Any]]] = _no_silence
    """Keep a silence: matchers, start and end in seconds since the epoch, by whom, comment. Gives it as plain JSON.
    Raises `BadBody` for a bad matcher."""
    expire_silence: Callable[[str], Awaitable[bool]] = _no_expiry
    """End a silence now; False where there is none of that id."""
    firing: Callable[[], Awaitable[list[Mapping[str, Any]]]] = _no_list
    """The alerts that fire now, as plain JSON."""
