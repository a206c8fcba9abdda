"""What the HTTP server asks of the rest of the bridge, as callables: it imports none of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wxbridge.alerts.service import AlertService
from wxbridge.alerts.sources.host import NAME as HOST
from wxbridge.core.errors import BadBody, PictureError
from wxbridge.core.model import Accepted, ChannelStatus, Picture, Text
from wxbridge.core.pictures import fetch_spec
from wxbridge.delivery.backlog import describe_backlog
from wxbridge.pictures.store import PictureStore
from wxbridge.web.push import Push
from wxbridge.web.services import WebServices


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


def neighbours_of(services: WebServices) -> Neighbours:
    """Make what the server calls."""

    async def accept(source: str, body: bytes, headers: Mapping[str, str], to: Sequence[str]) -> Accepted:
        if source == HOST:
            taken = await services.hosts.receive(body)  # samples; None where these are alerts
            if taken is not None:
                return taken
        return await services.alerts.accept(source, body, headers, to)

    async def push(asked: Push) -> Accepted:
        bodies: list[Text | Picture] = []
        if asked.text.strip():
            bodies.append(Text(asked.text, asked.mentions))
        if asked.image is not None:
            try:
                bodies.append(await services.picture_store.save_checked(asked.image))
            except PictureError as error:
                raise BadBody(f"`image`: {error}") from None
        if asked.image_url is not None:
            bodies.append(Picture(spec=fetch_spec(asked.image_url)))
        return await services.alerts.push(asked.to, bodies)

    async def outbox() -> Mapping[str, Any]:
        oldest = services.state.config.watch.oldest
        return await describe_backlog(services.outbox, oldest=oldest, now=time.time())

    return Neighbours(
        accept=accept,
        push=push,
        refresh_gauges=services.health.refresh_gauges,
        database_ok=services.health.is_database_well,
        channels=services.channels.statuses,
        outbox=outbox,
        sources=services.alerts.settings.sources,
        picture_store=services.picture_store,
        alerts=services.alerts,
    )
