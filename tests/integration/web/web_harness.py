"""The HTTP server on a real socket: over a real database, or over fakes that write down what they are asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import SecretStr
from sqlalchemy import Connection

from wxbridge import app, parts
from wxbridge.alerts.firing import FiringOverview
from wxbridge.alerts.kept_silences import SilenceMade, SilenceRequest
from wxbridge.alerts.silences import Silence
from wxbridge.alerts.store import SeenAlert
from wxbridge.channels.manager import ChannelSetup
from wxbridge.config.hooks import HookSettings, HooksSettings
from wxbridge.config.schema import Config
from wxbridge.config.server import ServerSettings
from wxbridge.config.watcher import ConfigState
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.json_values import read_json
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Accepted, Alert, AlertGroup, AlertStatus, Body, ChannelStatus, Message, Picture, Text
from wxbridge.pictures.store import PictureStore
from wxbridge.web.limits import HttpLimits
from wxbridge.web.listener import HttpListener
from wxbridge.web.server import make_app
from wxbridge.web.services import WebServices

TOKEN = "a-t0ken-of-ours"
HOOKS = ("grafana", "alertmanager", "openfalcon", "generic", "generic/uptime-kuma")

SETTINGS = """\
server: {listen: "127.0.0.1:0", token: a-t0ken-of-ours, max_body: 6000000}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops}
  dba: {channel: wechat, room: DBA}
routes:
  - {match: {team: db}, to: [dba, ops]}
  - {match: {team: nobody}, to: []}
  - {to: [ops]}
"""


@dataclass
class WebClient:
    """Asks a server."""

    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        raise NotImplementedError

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """The status and the JSON of an answer, or its text where it is none."""
        async with self.session.request(method, self.url + path, **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else await response.text()


# ---------------------------------------------------------------- over a real database


@dataclass
class StoredWeb(WebClient):
    """A bridge's HTTP server on a real socket over a real database, without anything that delivers."""

    bridge: app.App

    @property
    def url(self) -> str:
        return self.bridge.url

    async def ask(self, method: str, path: str, *, token: bool = True, **options: Any) -> tuple[int, Any]:
        """Ask with the token, or without."""
        headers = {"Authorization": f"Bearer {TOKEN}"} if token else {}
        return await super().ask(method, path, headers=headers | options.pop("headers", {}), **options)

    async def post(self, path: str, data: Any, **options: Any) -> tuple[int, Any]:
        return await self.ask("POST", path, data=data, **options)

    async def messages(self) -> list[Message]:
        """What is stored, the oldest first."""
        return (await self.bridge.outbox.list_messages(limit=1000))[::-1]

    async def room_messages(self) -> list[Message]:
        """What is stored for others than the person in charge, who hears of refusals."""
        return [message for message in await self.messages() if message.target != "master"]

    async def texts(self) -> list[tuple[str, str]]:
        """The target and the text of every message; pictures by their name."""
        return [(item.target, getattr(item.body, "text", "[picture]")) for item in await self.messages()]

    async def pragma(self, text: str) -> Any:
        """Say something to SQLite on the very connection that the bridge writes with."""

        def say(connection: Connection) -> Any:
            result = connection.exec_driver_sql(f"PRAGMA {text}")
            return result.scalar() if result.returns_rows else None

        return await self.bridge.database.read(say)

    def show_channel(self, status: ChannelStatus) -> None:
        """Have the bridge believe that it has a channel in this state."""
        channel: Any = SimpleNamespace(status=status)
        self.bridge.channels.use(ChannelSetup(channels={"wechat": channel}))


async def start(stack: AsyncExitStack, config: Config) -> StoredWeb:
    database = parts.open_database(config)
    stack.callback(database.close)
    bridge = app.App(config, database)
    stack.push_async_callback(bridge.close)
    await bridge.open()
    bridge.channels.use(ChannelSetup())
    await bridge.serve()
    session = await stack.enter_async_context(aiohttp.ClientSession())
    return StoredWeb(session, bridge)


# ---------------------------------------------------------------- over fakes


@dataclass
class Time:
    """A clock that is set by hand."""

    now: float = 1_700_000_000.0

    def clock(self) -> SystemClock:
        return SystemClock(wall=lambda: self.now, monotonic=lambda: self.now)


@dataclass(frozen=True)
class Pushed:
    """What was pushed."""

    to: tuple[str, ...]
    text: str
    image: bytes | None = None
    mentions: tuple[str, ...] = ()


class FakePictureStore(PictureStore):
    """A folder that takes whatever is called a picture."""

    saved: dict[str, bytes]

    async def save_checked(self, content: bytes) -> Picture:
        self.saved[name := f"{len(self.saved)}.png"] = content
        return Picture(file=name)


class EveryTarget(dict[str, object]):
    """Targets among which every name is."""

    def __contains__(self, name: object) -> bool:
        return True


@dataclass
class FakeAlerts:
    """What the server asks of alerts."""

    pictures: Mapping[str, bytes]
    taken: list[tuple[str, bytes, list[str]]] = field(default_factory=list)
    pushed: list[Pushed] = field(default_factory=list)
    silences: dict[str, Silence] = field(default_factory=dict)
    settings: Any = field(default_factory=lambda: SimpleNamespace(sources=HOOKS, targets=EveryTarget()))

    async def accept(
        self, source: str, body: bytes, headers: Mapping[str, str], to: Sequence[str], instance: str = ""
    ) -> Accepted:
        if "form" not in headers.get("Content-Type", ""):
            read_json(body)
        self.taken.append((source, body, list(to)))
        return Accepted(1, 0)

    async def push(self, to: Sequence[str], bodies: Sequence[Body]) -> Accepted:
        text = next((body for body in bodies if isinstance(body, Text)), Text(""))
        files = [body.file for body in bodies if isinstance(body, Picture)]
        image = self.pictures[files[0]] if files and files[0] else None
        self.pushed.append(Pushed(tuple(to), text.text, image, text.mentions))
        return Accepted(len(to), 0)

    async def list_own_silences(self) -> list[Silence]:
        return list(self.silences.values())

    async def silence(self, asked: SilenceRequest) -> SilenceMade:
        name = str(len(self.silences) + 1)
        made = Silence(
            name, tuple(asked.matchers), asked.starts_at, asked.ends_at, asked.starts_at,
            asked.created_by, asked.comment,
        )  # fmt: skip
        self.silences[name] = made
        return SilenceMade(made)

    async def unsilence_here(self, name: str) -> bool:
        return self.silences.pop(name, None) is not None

    async def read_change_mark(self) -> int:
        return 0

    async def count_firing(self) -> int:
        return 0

    async def overview(self, _patience: float | None = None) -> FiringOverview:
        return FiringOverview(())

    async def list_firing(self) -> list[SeenAlert]:
        alert = Alert("generic", AlertStatus.FIRING, "disk full", {"severity": "critical"})
        return [SeenAlert("k", AlertGroup("generic", "", "disk full", (alert,)), 0.0, 0.0)]


class FakeParts:
    """All else that the server asks: nothing is there, and all is well."""

    targets: Mapping[str, Any] = {}
    lanes: Sequence[Any] = ()

    def statuses(self) -> dict[str, ChannelStatus]:
        return {}

    def list_hosts(self) -> list[Any]:
        return []

    async def tell_or_log(self, line: str) -> None: ...

    async def is_database_well(self) -> bool:
        return True

    async def refresh_gauges(self) -> None: ...

    async def count_backlog(self) -> list[Any]:
        return []

    async def count_settled(self, **_: Any) -> dict[Any, int]:
        return {}

    async def read_change_mark(self) -> int:
        return 0

    async def list_jobs(self) -> list[Any]:
        return []

    async def list_ended_runs(self, _limit: int) -> dict[str, Any]:
        return {}

    def upcoming(self, *_: Any) -> dict[str, Any]:
        return {}

    async def read_timeline(self, *_: Any) -> Any:
        return SimpleNamespace(entries=(), next=None, searched_to=None)


@dataclass
class FakedWeb(WebClient):
    """The HTTP server on a real socket, with services that only write down what they are asked."""

    app: web.Application
    metrics: Metrics
    alerts: FakeAlerts
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def taken(self) -> list[tuple[str, bytes, list[str]]]:
        return self.alerts.taken

    @property
    def pushed(self) -> list[Pushed]:
        return self.alerts.pushed

    @property
    def silences(self) -> dict[str, Silence]:
        return self.alerts.silences

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
            async with asyncio.timeout(60):
                return await reader.read()
        finally:
            writer.close()

    def refused(self, reason: str) -> float:
        """How many requests were counted as refused."""
        return self.metrics.registry.get_sample_value("wxbridge_refused_total", {"reason": reason}) or 0.0


def fake_services(tmp_path: Path, database: Database) -> WebServices:
    """Services that only write down what they are asked, over a real database for the console's sessions."""
    parts: Any = FakeParts()
    pictures = FakePictureStore(tmp_path)
    pictures.saved = {}
    alerts: Any = FakeAlerts(pictures.saved)
    return WebServices(
        state=ConfigState(Config()),
        reloader=parts,
        database=database,
        outbox=parts,
        alerts=alerts,
        channels=parts,
        lanes=parts,
        jobs=parts,
        hosts=parts,
        drawer=parts,
        picture_store=pictures,
        health=parts,
        metrics=Metrics(),
        examine=parts,
        operators=parts,
    )


def server_settings(token: str | None, **more: Any) -> ServerSettings:
    """The section `server:`, unchecked."""
    return ServerSettings().model_copy(update={"token": SecretStr(token) if token else None, **more})


@asynccontextmanager
async def alone(
    tmp_path: Path,
    *,
    token: str | None = TOKEN,
    hooks: Mapping[str, HookSettings] | None = None,
    limits: HttpLimits | None = None,
    clock: SystemClock | None = None,
    **settings: Any,
) -> AsyncIterator[FakedWeb]:
    """`settings` are of the section `server:`."""
    async with AsyncExitStack() as stack:
        database = Database.open(sqlite_url(tmp_path))
        stack.callback(database.close)
        services = fake_services(tmp_path, database)
        made = make_app(
            services, server_settings(token, **{"max_body": 100_000, **settings}),
            HooksSettings().model_copy(update=dict(hooks or {})),
            limits=limits, clock=clock,
        )  # fmt: skip
        session = await stack.enter_async_context(aiohttp.ClientSession())
        alerts: Any = services.alerts
        server = FakedWeb(session, made, services.metrics, alerts)
        listener = HttpListener()
        stack.push_async_callback(listener.close)
        server.port = listener.bind("127.0.0.1", 0)
        await listener.serve(made)
        yield server


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
