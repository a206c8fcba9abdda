"""Puts the parts together, runs them, and takes them down last in, first out."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from aiohttp import web
from sqlalchemy import Connection

import wxbridge
from wxbridge import login, outbox, registry, routing
from wxbridge.channels import ChannelContext
from wxbridge.channels.wechat import WechatTarget
from wxbridge.config import Config
from wxbridge.database import Database, facts, sqlite_url
from wxbridge.delivery import Delivery, Lane
from wxbridge.errors import AlreadyRunning, BadBody, PictureError, StorageError, WxbridgeError
from wxbridge.intake import MASTER, Destination, Intake
from wxbridge.jobs.scheduler import Jobs, JobSetting
from wxbridge.model import (
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
from wxbridge.pace import Pacer
from wxbridge.pictures import Pictures
from wxbridge.settings import Pace, TargetSettings
from wxbridge.web.metrics import Intaken, Snapshot
from wxbridge.web.push import Push
from wxbridge.web.server import Neighbours, make_app

log = structlog.get_logger()

GREETING_EXPIRES = 3600.0
"""Seconds in which a greeting is worth sending."""


# ---------------------------------------------------------------- what is there, from the configuration


def all_targets(config: Config) -> dict[str, TargetSettings]:
    """The configured targets, and `master` where the wechat section names one."""
    targets = dict(config.targets)
    wechat = config.section("wechat")
    if MASTER not in targets and wechat and wechat.master:
        targets[MASTER] = WechatTarget(contact=wechat.master)
    return targets


def open_database(config: Config) -> Database:
    """Open the configured database. Raises `StorageError` where it cannot be."""
    try:
        return Database.open(sqlite_url(config.state_dir))
    except OSError as error:
        raise StorageError(f"cannot use the state directory {config.state_dir}: {error.strerror}") from error


@contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Hold the state directory. The kernel lets go of it when the process dies, however it dies.

    Raises:
        AlreadyRunning: another bridge holds it.
        StorageError: it cannot be written to.
    """
    path = state_dir / "bridge.lock"
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except OSError as error:
        raise StorageError(f"cannot use the state directory {state_dir}: {error.strerror}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            raise AlreadyRunning(
                f"another bridge (process {handle.read().strip() or 'unknown'}) runs on {state_dir}; "
                "stop it, or give this one a `state_dir` of its own",
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def is_running(state_dir: Path) -> bool:
    """Whether a bridge holds this state directory."""
    try:
        with (state_dir / "bridge.lock").open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    return False


def make_pictures(config: Config) -> Pictures:
    """The painters, as configured."""
    return Pictures(
        config.pictures,
        config.grafana,
        timezone=str(config.timezone),
        language="zh-CN" if config.language == "zh" else "en-US",
    )


def routes_of(config: Config) -> list[routing.Route]:
    """The configured routes, for `routing`."""
    return [
        routing.Route(routing.parse_matchers(route.match), route.to, goes_on=route.continue_) for route in config.routes
    ]


def make_jobs(config: Config, database: Database, pictures: Pictures, put: Any) -> Jobs:
    """The configured jobs."""
    targets = all_targets(config)
    setting = JobSetting(
        jobs=config.jobs,
        kinds=registry.JOBS,
        timezone=config.timezone,
        language=config.language,
        base=config.base,
        pictures_dir=config.state_dir / "pictures",
        expires_after={name: target.expires_after for name, target in targets.items()},
        on_error=(MASTER,) if MASTER in targets else (),
    )
    return Jobs(setting, database, put=put, draw=pictures.draw)


async def put(
    database: Database,
    items: Sequence[Notification],
    dedupe_window: float = 0,
    wake: Callable[[], None] | None = None,
) -> Accepted:
    """Store notifications durably, then wake whoever delivers. Raises `StorageError`."""
    accepted = await database.run(lambda c: outbox.put(c, items, now=time.time(), dedupe_window=dedupe_window))
    if wake:
        wake()
    return accepted


def remember_fact(connection: Connection, key: str, value: Any, now: float) -> None:
    """Keep a small fact for other processes (`wxbridge status`)."""
    connection.execute(sa.delete(facts).where(facts.c.key == key))
    connection.execute(sa.insert(facts).values(key=key, value=value, at=now))


def read_facts(connection: Connection, prefix: str) -> dict[str, tuple[Any, float]]:
    """The facts whose key begins with a prefix: value, and when it was noted (seconds since the epoch)."""
    rows = connection.execute(sa.select(facts).where(facts.c.key.startswith(prefix, autoescape=True)))
    return {row.key.removeprefix(prefix): (row.value, row.at) for row in rows}


# ---------------------------------------------------------------- the running bridge


@dataclass
class Bridge:
    """A running bridge."""

    config: Config
    database: Database
    targets: Mapping[str, TargetSettings]
    channels: dict[str, Channel] = field(default_factory=dict)
    delivery: Delivery | None = None
    url: str = ""
    """Where the HTTP server listens."""
    greeted: set[str] = field(default_factory=set)
    intaken: Intaken = field(default_factory=Intaken)
    heard: dict[str, int] = field(default_factory=dict)
    """Messages that people wrote, by channel."""
    background: set[asyncio.Task[None]] = field(default_factory=set)

    def wake(self) -> None:
        """Have the delivery look at the outbox."""
        if self.delivery:
            self.delivery.wake()

    async def put(self, items: Sequence[Notification]) -> Accepted:
        """Store notifications durably and have them delivered."""
        return await put(self.database, items, self.config.dedupe_window, self.wake)

    async def tell(self, line: str, about: str | None = None) -> None:
        """Queue a line for the master; what is about the master itself is only logged."""
        if MASTER not in self.targets or about == MASTER:
            log.warning("nobody to tell", line=line)
            return
        with suppress(StorageError):
            await self.put([Notification("wxbridge", MASTER, (Text(line),), Priority.SYSTEM)])

    async def tell_master(self, line: str) -> None:
        """`tell`, for channels."""
        await self.tell(line)

    def in_background(self, work: Any) -> None:
        """Run a coroutine that nobody waits for; it is kept alive until it ends."""
        task: asyncio.Task[None] = asyncio.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    # -------------------------------------------------------- what channels report

    async def on_inbound(self, message: Inbound) -> None:
        """Take a message that somebody wrote; the channel has logged it."""
        self.heard[message.channel] = self.heard.get(message.channel, 0) + 1

    def on_status(self, name: str, status: ChannelStatus) -> None:
        """Take a channel's new state: show the QR code, greet, wake the delivery, tell other processes."""
        png = self.config.state_dir / "login.png"
        if status.state is ChannelState.WAITING_FOR_SCAN and status.qrcode:
            with suppress(OSError):
                login.save_png(status.qrcode, png)
            login.in_terminal(status.qrcode, sys.stdout)
            print(f"Scan this QR code with WeChat (also at {self.url}/login and in {png}).", flush=True)  # noqa: T201
        elif status.state is ChannelState.ONLINE:
            png.unlink(missing_ok=True)
            if name not in self.greeted:
                self.greeted.add(name)
                self.in_background(self._greet(name))
        self.wake()
        self.in_background(self._note(name, status))

    async def _note(self, name: str, status: ChannelStatus) -> None:
        value = {"state": status.state.value, "detail": status.detail, "account": status.account}
        with suppress(StorageError):
            await self.database.run(
                lambda c: remember_fact(c, f"channel:{name}", value, status.since.timestamp()),
            )

    async def _greet(self, channel: str) -> None:
        """The greeting to the master and the announcements, once per start."""
        items = []
        wechat = self.config.section("wechat")
        if channel == "wechat" and wechat and wechat.master and wechat.greeting and MASTER in self.targets:
            items.append(self._greeting(MASTER, wechat.greeting))
        for name, target in self.targets.items():
            if target.channel == channel and target.announce:
                items.append(self._greeting(name, target.announce))
        try:
            await self.put(items)
        except StorageError as error:
            log.error("the greeting could not be stored", error=str(error))  # noqa: TRY400

    def _greeting(self, target: str, text: str) -> Notification:
        return Notification("wxbridge", target, (Text(text),), Priority.SYSTEM, expires_after=GREETING_EXPIRES)

    # -------------------------------------------------------- what the HTTP server asks for

    async def push(self, push: Push, intake: Intake) -> Accepted:
        """Queue what somebody pushed; an uploaded picture is checked and stored first."""
        bodies: list[Text | Picture] = []
        if push.text.strip():
            bodies.append(Text(push.text, push.mentions))
        if push.image is not None:
            bodies.append(await self._uploaded(push.image))
        if push.image_url is not None:
            link = push.image_url if push.image_url.startswith("http") else None
            bodies.append(Picture(spec=PictureSpec("fetch", {"url": push.image_url}, link=link)))
        return await intake.push(push.to, bodies)

    async def _uploaded(self, content: bytes) -> Picture:
        from wxbridge.pictures import imaging

        try:
            checked, _ = await asyncio.to_thread(imaging.checked, content, "the picture")
            suffix = outbox.suffix_of(checked)
            name = await asyncio.to_thread(
                outbox.save_picture,
                self.config.state_dir / "pictures",
                checked,
                suffix,
            )
        except PictureError as error:
            raise BadBody(f"`image`: {error}") from None
        except OSError as error:
            raise StorageError(f"the picture could not be stored: {error}") from error
        return Picture(file=name)

    def statuses(self) -> dict[str, ChannelStatus]:
        """The state of every channel."""
        return {name: channel.status for name, channel in self.channels.items()}

    async def database_ok(self) -> bool:
        """Whether alerts can be stored now: tried by storing something."""
        try:
            await asyncio.wait_for(
                self.database.run(lambda c: remember_fact(c, "probe", {}, time.time())),
                6,
            )
        except (StorageError, TimeoutError):
            return False
        return True

    async def snapshot(self) -> Snapshot:
        """The figures for `/metrics`."""
        try:
            backlog = await self.database.read(outbox.backlog)
            database_ok = True
        except StorageError:
            backlog, database_ok = [], False
        return Snapshot(
            outcomes=dict(self.delivery.counters.outcomes) if self.delivery else {},
            accepted=self.intaken.accepted,
            duplicates=self.intaken.duplicates,
            refused=self.intaken.refused,
            backlog=backlog,
            channels=self.statuses(),
            now=time.time(),
            database_ok=database_ok,
        )


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Bridge]:
    """Run a bridge for the length of a `with` block; hooks are taken when it begins.

    Raises:
        WxbridgeError: it cannot start; the text says why and what to do.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one(config.state_dir))
        database = open_database(config)
        stack.callback(database.close)
        bridge = Bridge(config, database, all_targets(config))
        pictures = make_pictures(config)
        stack.push_async_callback(pictures.close)
        intake = _intake(bridge)
        lanes = [_lane(bridge, name) for name in _used_channels(bridge)]
        bridge.delivery = Delivery(
            database,
            lanes,
            pictures_dir=config.state_dir / "pictures",
            draw=pictures.draw,
            tell=bridge.tell,
            language=config.language,
            keep=config.keep,
        )
        jobs = make_jobs(config, database, pictures, bridge.put)
        for name, work in _services(bridge, bridge.delivery, jobs):
            task = asyncio.create_task(work, name=name)
            task.add_done_callback(_complain)
            stack.push_async_callback(_end, task)
        bridge.url = await _serve(bridge, intake, stack)
        await database.run(lambda c: remember_fact(c, "bridge", _about(bridge), time.time()))
        log.info("serving", url=bridge.url, version=wxbridge.__version__, state_dir=str(config.state_dir))
        yield bridge


def _used_channels(bridge: Bridge) -> list[str]:
    """The channels that have a target or a section of their own."""
    used = {target.channel for target in bridge.targets.values()}
    return [
        name for name, plugin in registry.CHANNELS.items()
        if name in used or (plugin.section and bridge.config.section(plugin.section))
    ]  # fmt: skip


def _lane(bridge: Bridge, name: str) -> Lane:
    plugin = registry.CHANNELS[name]
    settings = bridge.config.section(plugin.section) if plugin.section else plugin.settings()
    targets = {key: target for key, target in bridge.targets.items() if target.channel == name}
    channel = plugin.create(
        ChannelContext(
            settings=settings,
            state_dir=bridge.config.state_dir,
            database=bridge.database,
            targets=targets,
            tell_master=bridge.tell_master,
        ),
    )
    bridge.channels[name] = channel
    pacer = Pacer(getattr(settings, "pace", None) or Pace())
    for target in targets.values():
        if target.pace:
            pacer.give_own(target.chat_key(), target.pace)
    return Lane(name, channel, targets, pacer)


def _intake(bridge: Bridge) -> Intake:
    targets = {}
    for name, target in bridge.targets.items():
        capabilities = registry.CHANNELS[target.channel].capabilities
        targets[name] = Destination(capabilities, target.expires_after)
    return Intake(registry.SOURCES, routes_of(bridge.config), targets, bridge.config.language, bridge.put)


def _services(bridge: Bridge, delivery: Delivery, jobs: Jobs) -> Iterator[tuple[str, Any]]:
    yield "delivery", delivery.run()
    yield "jobs", jobs.run()
    for name, channel in bridge.channels.items():
        yield (
            f"channel {name}",
            channel.run(bridge.on_inbound, lambda status, name=name: bridge.on_status(name, status)),
        )


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a service died", service=task.get_name(), exc_info=task.exception())


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=4)


async def _serve(bridge: Bridge, intake: Intake, stack: AsyncExitStack) -> str:
    server = bridge.config.server
    neighbours = Neighbours(
        accept=intake.accept,
        push=lambda push: bridge.push(push, intake),
        snapshot=bridge.snapshot,
        database_ok=bridge.database_ok,
        channels=bridge.statuses,
        sources=list(registry.SOURCES),
        pictures_dir=bridge.config.state_dir / "pictures",
    )
    token = server.token.get_secret_value() if server.token else None
    app = make_app(neighbours, token=token or None, max_body=server.max_body, intaken=bridge.intaken)
    # No access log: the addresses in it could hold `?token=`.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        site = web.TCPSite(runner, server.host, server.port, reuse_address=True)
        await site.start()
    except OSError as error:
        raise WxbridgeError(
            f"cannot listen on {server.listen}: {os.strerror(error.errno or 0)}; "
            "free the port, or set `server.listen` to another",
        ) from error
    port = runner.addresses[0][1]
    return f"http://{f'[{server.host}]' if ':' in server.host else server.host}:{port}"


def _about(bridge: Bridge) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "url": bridge.url,
        "version": wxbridge.__version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
