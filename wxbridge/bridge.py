"""The running bridge: what its parts ask of each other."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog

from wxbridge.alerts import render
from wxbridge.alerts.pipeline import MASTER, AlertSettings
from wxbridge.alerts.render import Destination
from wxbridge.alerts.service import AlertMonitors, AlertService
from wxbridge.bot import permissions
from wxbridge.bot.dispatcher import Chat
from wxbridge.channels import announcements, qr_code
from wxbridge.config import watcher as reload
from wxbridge.config.schema import Config
from wxbridge.config.types import TargetSettings
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody, ConfigError, PictureError, StorageError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import (
    Accepted,
    Channel,
    ChannelState,
    ChannelStatus,
    Inbound,
    Notification,
    Picture,
    PictureSpec,
    Priority,
    Text,
)
from wxbridge.core.pictures import fetch_spec
from wxbridge.core.schema import facts, remember_fact
from wxbridge.delivery.context import Lane
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.service import Delivery
from wxbridge.hosts.monitor import HostMonitor
from wxbridge.jobs.scheduler import JobScheduler
from wxbridge.pictures.pages.missing_fonts import warn_of_missing_fonts
from wxbridge.pictures.renderer import PictureRenderer
from wxbridge.pictures.store import PictureStore
from wxbridge.web.listener import Listener
from wxbridge.web.push import Push

log = structlog.get_logger()

PROBE_LIMIT = 6.0
"""Seconds; longer than a lock of another process is waited for."""
_OUTCOMES = ("sent", "retried", "waited", "unknown", "merged", "failed_over", "expired", "dead")


@dataclass(frozen=True)
class Generation:
    """Everything that is made from one configuration, and is exchanged together when another takes over."""

    config: Config
    targets: Mapping[str, TargetSettings]
    destinations: Mapping[str, Destination]
    """By target."""
    alert_settings: AlertSettings
    alert_monitors: AlertMonitors
    pictures: PictureRenderer
    channels: Mapping[str, Channel]
    """By name. Those of an earlier generation whose connection can stay are among them."""
    lanes: Sequence[Lane]
    delivery: Delivery


@dataclass
class FilesRead:
    """How reading the configuration went: what people want to know of it beside its contents."""

    started_at: float = field(default_factory=time.time)
    loaded_at: float = field(default_factory=time.time)
    """When the present configuration took over. Both in seconds since the epoch."""
    problems: tuple[str, ...] = ()
    """What was wrong the last time, each with its line; empty where nothing was."""
    later: tuple[str, ...] = ()
    """What takes effect at the next start."""

    def loading(self, load: Callable[[], Config]) -> Callable[[], Config]:
        """The same function, which notes here what is wrong."""

        def noting() -> Config:
            try:
                config = load()
                reload.refuse_empty(config)
            except ConfigError as error:
                self.problems = tuple(str(problem) for problem in error.problems)
                raise
            self.problems = ()
            return config

        return noting


@dataclass
class Bridge:
    """A running bridge: the callables that its services meet through, and what they share.

    Database, metrics and the HTTP server stay as long as it runs. The rest is of the present generation: look it up
    here whenever it is needed, and keep no copy.
    """

    config: Config
    database: Database
    targets: Mapping[str, TargetSettings]
    destinations: Mapping[str, Destination]
    """By target."""
    metrics: Metrics = field(default_factory=Metrics)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    lanes: Sequence[Lane] = ()
    url: str = ""
    """Where the HTTP server listens."""
    outbox: Outbox = field(init=False)
    alerts: AlertService = field(init=False)
    """Takes alerts in, and knows what fires; it outlasts a configuration."""
    listener: Listener = field(default_factory=Listener)
    hosts: HostMonitor | None = None
    """Watches machines; None until the bridge runs."""
    chat: Chat | None = None
    """Answers commands; None until the bridge runs."""
    reload: Callable[[], None] = lambda: None
    """Have the configuration read again."""
    files: FilesRead = field(default_factory=FilesRead)
    jobs: JobScheduler | None = None
    """None until the bridge runs."""
    draw: Callable[[PictureSpec], Awaitable[bytes]] | None = None
    """Draws a picture with the present painters, `PictureRenderer.draw`; None until the bridge runs."""
    _greeted: set[str] = field(default_factory=set)
    """The targets that were greeted or announced to; once is enough for as long as the bridge runs."""
    _code_sent: dict[str, float] = field(default_factory=dict)
    """When a channel's login code last went to the fallback; monotonic seconds."""
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.database, dedupe_window=self.config.dedupe_window)
        self.alerts = AlertService(self.database, self.outbox, metrics=self.metrics)

    def turn_to(self, generation: Generation) -> None:
        """Make a generation the present one, all of it in one step of the event loop."""
        self.outbox.dedupe_window = generation.config.dedupe_window
        self.config = generation.config
        self.files.loaded_at = time.time()
        self.targets, self.destinations = generation.targets, generation.destinations
        self.alerts.configure(generation.alert_settings, generation.alert_monitors)
        self.channels = generation.channels
        self.lanes = generation.lanes
        self.draw = generation.pictures.draw

    def ask_reload(self) -> None:
        """`reload`, as it is by then."""
        self.reload()

    async def tell(self, line: str, about: str | None = None) -> None:
        """Queue a line for the master; what is about the master goes to the master's fallback, else into the log.

        Raises:
            StorageError: it could not be stored.
        """
        master = self.targets.get(MASTER)
        names = (MASTER,) if about != MASTER else master.fallback if master else ()
        items = [
            render.make_notification(
                "wxbridge", name, [Text(line)], self.destinations[name], self.config.language, Priority.SYSTEM
            )
            for name in names
            if name in self.targets
        ]
        if not items:
            log.warning("nobody to tell", line=line)
            return
        await self.outbox.put(items)

    async def tell_master(self, line: str) -> None:
        """`tell`, for those who can do nothing where it cannot be stored."""
        try:
            await self.tell(line)
        except StorageError as error:
            log.error("could not be told", line=line, error=str(error))  # noqa: TRY400 - a trace says no more

    # -------------------------------------------------------- what channels report

    async def on_inbound(self, message: Inbound) -> None:
        """Take a message that somebody wrote; the channel has logged it."""
        self.metrics.inbound.labels(message.channel).inc()
        if self.chat is not None:
            await self.chat.on_inbound(message)

    def target_of(self, message: Inbound) -> str | None:
        """The target whose chat a message was written in, where commands are answered there. May raise `Offline`."""
        return permissions.target_of(self.channels.get(message.channel), message, self.targets, MASTER)

    def is_master(self, message: Inbound) -> bool:
        """Whether a message's sender is the person in charge. May raise `Offline`."""
        return permissions.is_master(self.channels.get(message.channel), message, MASTER)

    def on_status(self, name: str, status: ChannelStatus) -> None:
        """Take a channel's new state: show the QR code, greet, wake the delivery, tell other processes."""
        if status.state is ChannelState.WAITING_FOR_SCAN and status.qrcode:
            self._show_code(name, status.qrcode)
        elif status.state is ChannelState.ONLINE:
            self._code_sent.pop(name, None)
            (self.config.state_dir / "login.png").unlink(missing_ok=True)
            self.greet(name)
        self.outbox.wake()
        self._in_background(self._note(name, status))

    def greet(self, name: str) -> None:
        """Greet the master, and announce the bridge, on a channel that is up: each target once."""
        wechat = self.config.section("wechat")
        greeting = wechat.greeting if wechat and name == "wechat" else ""
        found = announcements.make_greetings(self.targets, name, master=MASTER, greeting=greeting)
        items = [item for item in found if item.target not in self._greeted]
        self._greeted |= {item.target for item in items}
        if items:
            self._in_background(self._say(items))

    def look_for_fonts(self) -> None:
        """Have the master told, once, where Chinese letters become boxes in pictures that are made here."""
        config = self.config
        if config.grafana or config.prometheus or any(job.kind == "screenshot" for job in config.jobs):
            self._in_background(warn_of_missing_fonts(self.database, config.language, self.tell))

    async def forget_channel(self, name: str) -> None:
        """Have nobody told any more of a channel that is no longer configured."""
        with suppress(StorageError):
            await self.database.run(lambda c: c.execute(sa.delete(facts).where(facts.c.key == f"channel:{name}")))

    def _show_code(self, name: str, code: str) -> None:
        png = self.config.state_dir / "login.png"
        try:
            qr_code.print_code(code, sys.stdout)
            with suppress(OSError):
                qr_code.save_png(code, png)
        except ValueError:
            log.error("the gateway's login code is too long for a QR code", length=len(code))  # noqa: TRY400
            return
        print(f"Scan this QR code with WeChat (also at {self.url}/login and in {png}).", flush=True)  # noqa: T201
        now = time.monotonic()
        if now - self._code_sent.get(name, -announcements.CODE_INTERVAL_SECONDS) >= announcements.CODE_INTERVAL_SECONDS:
            self._code_sent[name] = now
            self._in_background(self._send_code(name, code))

    async def _send_code(self, name: str, code: str) -> None:
        try:
            picture = await PictureStore.below(self.config.state_dir).save(qr_code.draw_png(code), "login.png")
        except StorageError as error:
            log.error("the login code could not be stored", error=str(error))  # noqa: TRY400
            return
        await self._say(announcements.make_login_codes(self.targets, name, picture, self.config.language))

    async def _say(self, items: Sequence[Notification]) -> None:
        try:
            if items:
                await self.outbox.put(items)
        except StorageError as error:
            log.error("could not be stored", error=str(error))  # noqa: TRY400 - a trace says no more

    async def _note(self, name: str, status: ChannelStatus) -> None:
        value = {"state": status.state.value, "detail": status.detail, "account": status.account}
        with suppress(StorageError):
            await self.database.run(lambda c: remember_fact(c, f"channel:{name}", value, status.since.timestamp()))

    def _in_background(self, work: Any) -> None:
        """Run a coroutine that nobody waits for; it is kept alive until it ends."""
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # -------------------------------------------------------- what the HTTP server asks for

    async def push(self, push: Push) -> Accepted:
        """Queue what somebody pushed; an uploaded picture is checked and stored first.

        Raises:
            BadBody: a target is unknown, or the picture is none.
            StorageError: it could not be stored.
        """
        bodies: list[Text | Picture] = []
        if push.text.strip():
            bodies.append(Text(push.text, push.mentions))
        if push.image is not None:
            try:
                bodies.append(await PictureStore.below(self.config.state_dir).save_checked(push.image))
            except PictureError as error:
                raise BadBody(f"`image`: {error}") from None
        if push.image_url is not None:
            bodies.append(Picture(spec=fetch_spec(push.image_url)))
        return await self.alerts.push(push.to, bodies)

    def statuses(self) -> dict[str, ChannelStatus]:
        """The state of every channel."""
        return {name: channel.status for name, channel in self.channels.items()}

    async def database_ok(self) -> bool:
        """Whether alerts can be stored now."""
        try:
            await self.probe()
        except (StorageError, TimeoutError):
            return False
        return True

    async def probe(self) -> None:
        """Store something. Raises `StorageError`, or `TimeoutError` after `PROBE_LIMIT` seconds."""
        async with asyncio.timeout(PROBE_LIMIT):
            await self.database.run(lambda c: remember_fact(c, "probe", {}, time.time()))

    async def refresh_gauges(self) -> None:
        """Set the gauges for `/metrics`."""
        metrics, now = self.metrics, time.time()
        # What the configuration has no more must not stay at its last value.
        for gauge in (metrics.backlog, metrics.backlog_oldest, metrics.channel_state, metrics.pace_left):
            gauge.clear()
        for name in self.targets:
            metrics.backlog.labels(name).set(0)
            metrics.backlog_oldest.labels(name).set(0)
            for outcome in _OUTCOMES:
                # A counter that first appears at 1 is no increase to Prometheus.
                metrics.messages.labels(name, outcome)
        try:
            for target, count, created_at in await self.outbox.count_backlog():
                metrics.backlog.labels(target).set(count)
                metrics.backlog_oldest.labels(target).set(max(0.0, now - created_at))
        except StorageError:
            log.warning("the backlog cannot be counted now")
        metrics.database_up.set(await self.database_ok())
        for name, status in self.statuses().items():
            for state in ChannelState:
                metrics.channel_state.labels(name, state.value).set(status.state is state)
        for lane in self.lanes:
            for window, left in lane.pacer.windows_left(time.monotonic()).items():
                metrics.pace_left.labels(lane.name, window).set(left)
