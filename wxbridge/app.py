"""Puts the parts together, runs them, and takes them down last in, first out."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

import wxbridge
from wxbridge import outbox, registry, routing, watch
from wxbridge.bridge import Bridge
from wxbridge.channels import ChannelContext
from wxbridge.channels.wechat import WechatTarget
from wxbridge.config import Config
from wxbridge.database import Database, remember_fact, sqlite_url
from wxbridge.delivery import Clock, Delivery, Lane, Shared
from wxbridge.errors import AlreadyRunning, StorageError, WxbridgeError
from wxbridge.intake import MASTER, Intake
from wxbridge.jobs.scheduler import Jobs, JobSetting
from wxbridge.model import Accepted, Notification
from wxbridge.notify import Destination
from wxbridge.pace import Pacer
from wxbridge.pictures import Pictures
from wxbridge.settings import Pace, TargetSettings
from wxbridge.web.server import Neighbours, make_app

log = structlog.get_logger()

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


def destinations_of(targets: Mapping[str, TargetSettings]) -> dict[str, Destination]:
    """What composing for each target needs to know."""
    return {
        name: Destination(registry.CHANNELS[target.channel].capabilities, target.expires_after)
        for name, target in targets.items()
    }


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
        destinations=destinations_of(targets),
        on_error=(MASTER,) if MASTER in targets else (),
    )
    return Jobs(setting, database, put=put, draw=pictures.draw)


async def put(database: Database, items: Sequence[Notification]) -> Accepted:
    """Store notifications durably from another process; the running bridge notices. Raises `StorageError`."""
    return await database.run(lambda c: outbox.put(c, items, now=time.time()))


# ---------------------------------------------------------------- the running bridge


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
        targets = all_targets(config)
        bridge = Bridge(config, database, targets, destinations_of(targets))
        pictures = make_pictures(config)
        stack.push_async_callback(pictures.close)
        intake = _intake(bridge)
        lanes = bridge.lanes = [_lane(bridge, name) for name in _used_channels(bridge)]
        bridge.wakers = [asyncio.Event() for _ in range(len(lanes) + 1)]
        shared = Shared(
            database=database,
            lanes=lanes,
            pictures_dir=config.state_dir / "pictures",
            draw=pictures.draw,
            tell=bridge.tell,
            recompose=intake.recompose,
            language=config.language,
            metrics=bridge.metrics,
            clock=Clock(),
            wake=bridge.wake,
        )
        delivery = Delivery(shared, bridge.wakers, keep=config.keep)
        jobs = make_jobs(config, database, pictures, bridge.put)
        services = [_start(name, work, stack) for name, work in _services(bridge, delivery, jobs)]
        bridge.url = await _serve(bridge, intake, stack)
        await database.run(lambda c: remember_fact(c, "bridge", _about(bridge), time.time()))
        log.info("serving", url=bridge.url, version=wxbridge.__version__, state_dir=str(config.state_dir))
        # The last to start and the first to stop: it tells systemd of both.
        _start("watch", watch.run(_watched(bridge, services), config.watch), stack)
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
    pace = getattr(settings, "pace", None) or Pace()
    pacer = Pacer(pace, jitter=plugin.jitter if pace != Pace() else 0.0)
    for target in targets.values():
        if target.pace:
            pacer.give_own(target.chat_key(), target.pace)
    return Lane(name, channel, targets, pacer)


def _intake(bridge: Bridge) -> Intake:
    config = bridge.config
    return Intake(
        registry.SOURCES, routes_of(config), bridge.destinations, config.language, config.timezone, bridge.put
    )


def _services(bridge: Bridge, delivery: Delivery, jobs: Jobs) -> Iterator[tuple[str, Any]]:
    yield "delivery", delivery.run()
    yield "jobs", jobs.run()
    for name, channel in bridge.channels.items():
        yield f"channel {name}", channel.run(bridge.on_inbound, partial(bridge.on_status, name))


def _start(name: str, work: Any, stack: AsyncExitStack) -> asyncio.Task[None]:
    task: asyncio.Task[None] = asyncio.create_task(work, name=name)
    task.add_done_callback(_complain)
    stack.push_async_callback(_end, task)
    return task


def _watched(bridge: Bridge, services: Sequence[asyncio.Task[None]]) -> watch.Watched:
    async def trouble() -> watch.Trouble | None:
        died = [task.get_name() for task in services if task.done() and not task.cancelled() and task.exception()]
        if died:
            return watch.Trouble(f"{', '.join(died)} died")
        try:
            await bridge.probe()
        except StorageError as error:
            # It answers, and recovers by itself once there is room again; meanwhile hooks are told to come back.
            return watch.Trouble(str(error), restart_helps=False)
        except TimeoutError:
            return watch.Trouble("the database does not answer")
        return None

    return watch.Watched(
        database=bridge.database,
        trouble=trouble,
        channels=bridge.statuses,
        targets=bridge.targets,
        destinations=bridge.destinations,
        master=MASTER,
        put=bridge.put,
        metrics=bridge.metrics,
        language=bridge.config.language,
        timezone=bridge.config.timezone,
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
        refresh_gauges=bridge.refresh_gauges,
        database_ok=bridge.database_ok,
        channels=bridge.statuses,
        outbox=lambda: watch.outbox_part(bridge.database, oldest=bridge.config.watch.oldest, now=time.time()),
        sources=list(registry.SOURCES),
        pictures_dir=bridge.config.state_dir / "pictures",
    )
    token = server.token.get_secret_value() if server.token else None
    app = make_app(neighbours, token=token or None, max_body=server.max_body, metrics=bridge.metrics)
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
