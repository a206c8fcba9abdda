from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from wxbridge.alerts.service import SilenceMade, SilenceRequest
from wxbridge.alerts.silences import Silence
from wxbridge.alerts.store import SeenAlert
from wxbridge.core.json_values import read_json
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Accepted, Alert, AlertGroup, AlertStatus
from wxbridge.pictures.store import PictureStore
from wxbridge.web.neighbours import Neighbours
from wxbridge.web.push import Push
from wxbridge.web.server import Clock, Limits, Runner, make_app

TOKEN = "a-t0ken-of-ours"
HOOKS = ("grafana", "alertmanager", "openfalcon", "generic", "generic/uptime-kuma")


@dataclass
class Time:
    """A clock that is set by hand."""

    now: float = 1_700_000_000.0

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now, monotonic=lambda: self.now)


@dataclass
class Alone:
    """The HTTP server on a real socket, with neighbours that only write down what they are asked."""

    app: web.Application
    session: aiohttp.ClientSession
    metrics: Metrics
    port: int = 0
    taken: list[tuple[str, bytes, list[str]]] = field(default_factory=list)
    pushed: list[Push] = field(default_factory=list)
    silences: dict[str, Silence] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else await response.text()

    async def post(self, path: str, body: Any = b"{}", **headers: str) -> tuple[int, Any]:
        """Post with headers; `_` in a header's name is a dash."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("POST", path, data=body, headers=named)

    async def raw(self, *parts: bytes) -> bytes:
        """Send bytes on a connection of their own; all that comes back until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    def refused(self, reason: str) -> float:
        """How many requests were counted as refused."""
        return self.metrics.registry.get_sample_value("wxbridge_refused_total", {"reason": reason}) or 0.0


@dataclass
class _Alerts:
    """What the server asks of alerts."""

    silences: Callable[[], dict[str, Silence]]

    async def list_own_silences(self) -> list[Silence]:
        return list(self.silences().values())

    async def silence(self, asked: SilenceRequest) -> SilenceMade:
        name = str(len(self.silences()) + 1)
        made = Silence(
            name, tuple(asked.matchers), asked.starts_at, asked.ends_at, asked.starts_at,
            asked.created_by, asked.comment,
        )  # fmt: skip
        self.silences()[name] = made
        return SilenceMade(made)

    async def unsilence_here(self, name: str) -> bool:
        return self.silences().pop(name, None) is not None

    async def list_firing(self) -> list[SeenAlert]:
        alert = Alert("generic", AlertStatus.FIRING, "disk full", {"severity": "critical"})
        return [SeenAlert("k", AlertGroup("generic", "", "disk full", (alert,)), 0.0, 0.0)]


@asynccontextmanager
async def alone(
    tmp_path: Path, *, token: str | None = TOKEN, limits: Limits | None = None, max_body: int = 100_000, **options: Any
) -> AsyncIterator[Alone]:
    """`options` go to `make_app`."""
    metrics = Metrics()

    async def accept(source: str, body: bytes, headers: Mapping[str, str], to: Sequence[str]) -> Accepted:
        if "form" not in headers.get("Content-Type", ""):
            read_json(body)
        server.taken.append((source, body, list(to)))
        return Accepted(1, 0)

    async def push(asked: Push) -> Accepted:
        server.pushed.append(asked)
        return Accepted(len(asked.to), 0)

    async def nothing() -> None: ...

    async def yes() -> bool:
        return True

    neighbours = Neighbours(
        accept=accept,
        push=push,
        refresh_gauges=nothing,
        database_ok=yes,
        channels=dict,
        sources=frozenset(HOOKS),
        picture_store=PictureStore(tmp_path),
        alerts=_Alerts(lambda: server.silences),  # type: ignore[arg-type]
    )
    app = make_app(neighbours, token=token, max_body=max_body, metrics=metrics, limits=limits, **options)
    async with aiohttp.ClientSession() as session:
        server = Alone(app, session, metrics)
        runner = Runner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            server.port = runner.addresses[0][1]
            yield server
        finally:
            await runner.cleanup()


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
