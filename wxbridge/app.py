"""Puts the parts together, runs them, and takes them down last in, first out."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import structlog
from aiohttp import web

import wxbridge
from wxbridge import registry, watchdog
from wxbridge.alerts.pictures import AlertPictureOptions
from wxbridge.alerts.pipeline import MASTER, AlertSettings
from wxbridge.alerts.reminders import Reminders
from wxbridge.alerts.render import Destination
from wxbridge.alerts.routing import compile_settings
from wxbridge.alerts.service import AlertMonitors
from wxbridge.alerts.sources.host import NAME as HOST
from wxbridge.alerts.templates import Templates
from wxbridge.bot.service import Answering
from wxbridge.bridge import Bridge, Generation
from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.channels.wechat.settings import WechatTarget
from wxbridge.config.schema import LOOPBACK, Config
from wxbridge.config.types import Pace, TargetSettings
from wxbridge.config.watcher import Around, Failed, Reloader, Taken
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.errors import AlreadyRunning, StorageError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import (
    Accepted,
    Channel,
    NotificationSink,
    PictureDrawer,
)
from wxbridge.core.schema import remember_fact
from wxbridge.core.tasks import NamedTasks
from wxbridge.core.text.i18n import say
from wxbridge.delivery.context import DeliveryClock, DeliveryContext, Lane
from wxbridge.delivery.rate_limit import Pacer
from wxbridge.delivery.service import Delivery
from wxbridge.hosts.monitor import HostMonitor
from wxbridge.jobs import LaneBudget
from wxbridge.jobs.scheduler import JobScheduler, SchedulerSettings
from wxbridge.pictures.publish import make_publisher
from wxbridge.pictures.renderer import PictureRenderer
from wxbridge.pictures.store import PictureStore
from wxbridge.web.console import services as desk
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


def destinations_of(
    targets: Mapping[str, TargetSettings], people: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Destination]:
    """What composing for each target needs to know. `people` tells how those that alerts name are known."""
    return {
        name: Destination(
            target.capabilities(registry.CHANNELS[target.channel].capabilities),
            target.expires_after,
            target.template,
            partial(target.recipients, people=people or {}),
            getattr(target, "format", "text"),
        )
        for name, target in targets.items()
    }


def make_pictures(config: Config, metrics: Metrics | None = None) -> PictureRenderer:
    """The painters, as configured; what becomes of pictures is counted where there are metrics."""
    return PictureRenderer(
        config.pictures,
        config.grafana,
        prometheus=config.prometheus,
        timezone=str(config.timezone),
        language=say("language.locale", config.language),
        fonts=config.state_dir / "fonts",
        count=(lambda kind, outcome: metrics.pictures.labels(kind, outcome).inc()) if metrics else None,
    )


def alert_settings_of(config: Config) -> AlertSettings:
    """What the configuration says of alerts."""
    return AlertSettings(
        routes=compile_settings(config.routes),
        targets=destinations_of(all_targets(config), config.people),
        language=config.language,
        timezone=config.timezone,
        intervals=config.time_intervals,
        templates=Templates(config.templates, config.language, config.timezone),
        pictures=AlertPictureOptions(
            grafana=config.grafana is not None,
            prometheus=config.prometheus is not None,
            timezone=str(config.timezone),
            language=config.language,
            theme=config.pictures.alerts.theme,
            storm=config.pictures.alerts.storm,
            published=config.pictures.publish is not None,
        ),
        sources=registry.sources(config.hooks.generic.mappings),
        keep=config.keep,
    )


def scheduler_settings(config: Config) -> SchedulerSettings:
    """What the configured jobs are run with."""
    targets = all_targets(config)
    return SchedulerSettings(
        jobs=config.jobs,
        kinds=registry.JOBS,
        timezone=config.timezone,
        language=config.language,
        base=config.base,
        picture_store=PictureStore.below(config.state_dir),
        destinations=destinations_of(targets),
        on_error=(MASTER,) if MASTER in targets else (),
        budgets={name: _budget(config, target.lane()) for name, target in targets.items()},
        keep=config.keep,
    )


def _budget(config: Config, lane: str) -> LaneBudget:
    """How much a lane may send."""
    plugin = _plugin_of(lane)
    section = config.section(plugin.section) if plugin.section else plugin.settings()
    pace = getattr(plugin.of_lane(section, lane), "pace", None) or Pace()
    return LaneBudget(lane, tuple(rate for rate in (pace.total, pace.day) if rate))


def make_scheduler(config: Config, database: Database, sink: NotificationSink, drawer: PictureDrawer) -> JobScheduler:
    """The configured jobs."""
    return JobScheduler(scheduler_settings(config), database, sink, drawer)


def make_hosts(bridge: Bridge) -> HostMonitor:
    """What measures this machine, and those that push, where the configuration says so."""
    config = bridge.config

    async def accept(source: str, body: bytes, headers: Mapping[str, str]) -> Accepted:
        return await bridge.alerts.accept(source, body, headers)

    return HostMonitor(config.host, bridge.database, accept, language=config.language, timezone=config.timezone)


# ---------------------------------------------------------------- the running bridge


@asynccontextmanager
async def running(config: Config, load: Callable[[], Config] | None = None) -> AsyncIterator[Bridge]:
    """Run a bridge for the length of a `with` block; hooks are taken when it begins.

    With `load`, which reads the configuration again, the files are watched and a change is taken over.

    Raises:
        WxbridgeError: it cannot start; the text says why and what to do.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one(config.state_dir))
        database = open_database(config)
        stack.callback(database.close)
        targets = all_targets(config)
        bridge = Bridge(config, database, targets, destinations_of(targets))
        await bridge.alerts.load()
        whole = Running(bridge, _build(bridge, config))
        stack.push_async_callback(whole.close)
        await whole.answering.chat.recover()
        whole.start()
        bridge.url = await _serve(bridge, stack)
        await database.run(lambda c: remember_fact(c, "bridge", _about(bridge), time.time()))
        log.info("serving", url=bridge.url, version=wxbridge.__version__, state_dir=str(config.state_dir))
        bridge.look_for_fonts()
        # The last to start and the first to stop: systemd is told of both.
        stack.push_async_callback(whole.look_away)
        stack.enter_context(watchdog.known_to_systemd())
        whole.look_on(load)
        # What was imported stays for good: walking over it again and again costs more than an alert does.
        gc.collect()
        gc.freeze()
        yield bridge


def _build(bridge: Bridge, config: Config, before: Generation | None = None) -> Generation:
    """Make all that comes from a configuration, without starting it; what of `before` can stay is part of it.

    Whatever is wrong shows here: once this has returned, nothing stands in the way of the exchange.
    """
    targets = all_targets(config)
    destinations = destinations_of(targets)
    painted_alike = before and not _differ(before.config, config, _PAINTED_BY)
    pictures = before.pictures if before and painted_alike else make_pictures(config, bridge.metrics)
    alert_settings = alert_settings_of(config)
    lanes = [_lane(bridge, config, name, before) for name in _used_lanes(config)]
    context = DeliveryContext(
        outbox=bridge.outbox,
        lanes=lanes,
        picture_store=PictureStore.below(config.state_dir),
        drawer=pictures,
        operators=bridge,
        composer=bridge.alerts,
        language=config.language,
        metrics=bridge.metrics,
        clock=DeliveryClock(),
        read_again=bridge.alerts.reload_silences,
        publisher=make_publisher(config.pictures.publish),
    )
    return Generation(
        config=config,
        targets=targets,
        destinations=destinations,
        alert_settings=alert_settings,
        alert_monitors=AlertMonitors.of(config),
        pictures=pictures,
        channels={lane.name: lane.channel for lane in lanes},
        lanes=lanes,
        delivery=Delivery(context, keep=config.keep),
    )


_PAINTED_BY = ("pictures", "grafana", "prometheus", "timezone", "language")
"""The sections that painters are made from."""
_SERVED_BY = ("server", "hooks")
"""The sections that the HTTP application is made from."""


def _differ(old: Config, new: Config, names: Iterable[str]) -> list[str]:
    """The sections that two configurations do not have in common."""
    return [name for name in names if getattr(old, name, None) != getattr(new, name, None)]


def _used_lanes(config: Config) -> list[str]:
    """The accounts that have a target or a section of their own."""
    targets = all_targets(config).values()
    found: dict[str, None] = {}
    for name, plugin in registry.CHANNELS.items():
        section = config.section(plugin.section) if plugin.section else None
        own = plugin.lanes(section) if plugin.lanes else (name,) if section else ()
        found.update(dict.fromkeys([*own, *(target.lane() for target in targets if target.channel == name)]))
    return list(found)


def _plugin_of(lane: str) -> ChannelPlugin:
    return registry.CHANNELS[lane.partition(":")[0]]


def _context(bridge: Bridge, config: Config, lane: str) -> ChannelContext:
    plugin = _plugin_of(lane)
    section = config.section(plugin.section) if plugin.section else plugin.settings()
    return ChannelContext(
        settings=plugin.of_lane(section, lane),
        state_dir=config.state_dir,
        database=bridge.database,
        targets={key: target for key, target in all_targets(config).items() if target.lane() == lane},
        tell_master=bridge.tell_master,
        lane=lane,
    )


@runtime_checkable
class Lasting(Protocol):
    """A channel that can go on with another configuration, which spares a login. Others are made anew."""

    def keeps(self, context: ChannelContext) -> bool:
        """Whether the connection can stay. It changes nothing."""

    def adopt(self, context: ChannelContext) -> None:
        """Take over targets and settings; called where it `keeps`, while nothing is being sent. It never fails."""


def _lane(bridge: Bridge, config: Config, name: str, before: Generation | None = None) -> Lane:
    plugin = _plugin_of(name)
    context = _context(bridge, config, name)
    channel = before.channels.get(name) if before else None
    if channel is None or before is None or not _stays(channel, _context(bridge, before.config, name), context):
        channel = plugin.create(context)
    pace = getattr(context.settings, "pace", None) or Pace()
    pacer = Pacer(pace, jitter=plugin.jitter if pace != Pace() else 0.0)
    for target in context.targets.values():
        if target.pace:
            pacer.give_own(target.chat_key(), target.pace)
    return Lane(name, channel, context.targets, pacer)


def _stays(channel: Channel, old: ChannelContext, new: ChannelContext) -> bool:
    return channel.keeps(new) if isinstance(channel, Lasting) else old == new


class Running:
    """A bridge at work: its tasks, and how one generation follows another."""

    def __init__(self, bridge: Bridge, generation: Generation) -> None:
        self._bridge = bridge
        self._present = generation
        self._jobs = make_scheduler(generation.config, bridge.database, bridge.outbox, generation.pictures)
        self._tasks = NamedTasks()
        self._retiring: set[asyncio.Task[None]] = set()
        bridge.turn_to(generation)
        bridge.hosts = self._hosts = make_hosts(bridge)
        self.answering = Answering.begin(bridge, generation, self._jobs, self._hosts)
        bridge.chat = self.answering.chat
        bridge.jobs = self._jobs

    def start(self) -> None:
        """Start everything but what looks on."""
        self._tasks.start("jobs", self._jobs.run())
        for name in self._present.channels:
            self._start_channel(name)
        self._tasks.start("delivery", self._present.delivery.run())
        self._tasks.start("host", self._hosts.run())
        self._tasks.start("reminders", Reminders(self._bridge.alerts).run())

    def look_on(self, load: Callable[[], Config] | None) -> None:
        """Start to watch the bridge and, with `load`, its configuration; alerts are taken by then."""
        self._start_watch()
        if load is None:
            return
        bridge = self._bridge
        around = Around(
            bridge.files.loading(load), self.take, bridge.tell_master, bridge.metrics, lambda: bridge.config.language
        )
        reloader = Reloader(around, bridge.config)
        bridge.reload = reloader.ask
        self._tasks.start("reload", reloader.run())

    async def look_away(self) -> None:
        """End what `look_on` has started."""
        await self._tasks.end("reload")
        await self._tasks.end("watch")

    async def close(self) -> None:
        """End everything: first what sends, while the channels are still there to be heard."""
        await self._tasks.end("delivery")
        await self._tasks.end_all()
        await self.answering.close()
        for task in self._retiring:
            task.cancel()
        await self._present.pictures.close()

    def _start_channel(self, name: str) -> None:
        bridge, channel = self._bridge, self._present.channels[name]
        self._tasks.start(f"channel {name}", channel.run(bridge.on_inbound, partial(bridge.on_status, name)))

    def _start_watch(self) -> None:
        config = self._present.config
        self._tasks.start("watch", watchdog.look_on(_watched(self._bridge, self._tasks), config.watch))

    # ------------------------------------------------------------ another configuration

    async def take(self, config: Config) -> Taken:
        """Go on with another configuration, and cut nothing off.

        Alerts are taken all the while: by the old routes until the moment of the exchange, by the new ones from
        then on, and into the same outbox. What is being sent is sent to its end, by the old settings, before the
        new delivery begins. A job keeps its times unless they change. A channel that can stay stays connected.

        Raises:
            Failed: it cannot be made; everything goes on as before.
        """
        bridge, old = self._bridge, self._present
        config, later = _as_far_as_it_goes(old.config, config)
        bridge.files.later = later
        changed = _differ(old.config, config, (name for name in type(config).model_fields if name != "path"))
        if not changed:
            return Taken((), later)
        try:
            new = _build(bridge, config, old)
            http = _http(bridge, config) if _differ(old.config, config, _SERVED_BY) else None
        except Exception as error:
            log.exception("a new configuration cannot be used")
            bridge.files.problems = (f"{type(error).__name__}: {error}",)
            raise Failed(f"{type(error).__name__}: {error}") from error
        bridge.turn_to(new)
        self._present = new
        self._jobs.reconfigure(scheduler_settings(config), new.pictures)
        self._hosts.reconfigure(config.host, language=config.language, timezone=config.timezone)
        self.answering.take(new)
        if http is not None:
            await bridge.listener.serve(http)
        await self._exchange(old, new)
        return Taken(tuple(changed), later, await self._orphans(old, new))

    async def _exchange(self, old: Generation, new: Generation) -> None:
        bridge, tasks = self._bridge, self._tasks
        await old.delivery.drain()
        await tasks.end("watch")
        await tasks.end("delivery")
        for name, channel in old.channels.items():
            if new.channels.get(name) is not channel:
                await tasks.end(f"channel {name}")
            if name not in new.channels:
                await bridge.forget_channel(name)
        for name, channel in new.channels.items():
            if old.channels.get(name) is not channel:
                self._start_channel(name)
            elif isinstance(channel, Lasting):
                channel.adopt(_context(bridge, new.config, name))
        new.delivery.go_on_from(old.delivery)
        tasks.start("delivery", new.delivery.run())
        self._start_watch()
        for lane in new.lanes:
            if lane.is_online:
                bridge.greet(lane.name)
        if new.pictures is not old.pictures:
            task = asyncio.create_task(self._retire(old.pictures), name="old painters")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _retire(self, pictures: PictureRenderer) -> None:
        """Close painters once the jobs that still use them are over."""
        try:
            await self._jobs.wait_idle()
            await self.answering.settled()
        finally:
            await pictures.close()

    async def _orphans(self, old: Generation, new: Generation) -> tuple[tuple[str, int], ...]:
        """The targets that are gone, and how much still waits for them: it is kept, as it is at a restart."""
        gone = old.targets.keys() - new.targets.keys()
        try:
            waiting = await self._bridge.outbox.count_backlog() if gone else []
        except StorageError:
            return ()
        return tuple((name, count) for name, count, _ in waiting if name in gone)


def _as_far_as_it_goes(old: Config, new: Config) -> tuple[Config, tuple[str, ...]]:
    """A new configuration with what cannot change while the bridge runs as it was, and what that is."""
    update: dict[str, Any] = {}
    later = []
    if new.state_dir != old.state_dir:
        update["state_dir"] = old.state_dir
        later.append("state_dir")
    if new.server.listen != old.server.listen:
        # Beyond loopback nobody is let in without a token, so what is fit for another address may not be for this.
        open_door = old.server.host not in LOOPBACK and not (new.server.token and new.server.token.get_secret_value())
        update["server"] = old.server if open_door else new.server.model_copy(update={"listen": old.server.listen})
        later.append("server" if open_door else "server.listen")
    return (new.model_copy(update=update) if update else new), tuple(later)


def _watched(bridge: Bridge, services: Iterable[asyncio.Task[Any]]) -> watchdog.Watched:
    async def trouble() -> watchdog.Trouble | None:
        died = [task.get_name() for task in services if task.done() and not task.cancelled() and task.exception()]
        if died:
            return watchdog.Trouble(f"{', '.join(died)} died")
        try:
            await bridge.probe()
        except StorageError as error:
            # It answers, and recovers by itself once there is room again; meanwhile hooks are told to come back.
            return watchdog.Trouble(str(error), restart_helps=False)
        except TimeoutError:
            return watchdog.Trouble("the database does not answer")
        return None

    return watchdog.Watched(
        database=bridge.database,
        trouble=trouble,
        channels=bridge.statuses,
        targets=bridge.targets,
        destinations=bridge.destinations,
        master=MASTER,
        outbox=bridge.outbox,
        metrics=bridge.metrics,
        language=bridge.config.language,
        timezone=bridge.config.timezone,
    )


async def _serve(bridge: Bridge, stack: AsyncExitStack) -> str:
    """Begin to answer; gives the address."""
    server = bridge.config.server
    port = bridge.listener.bind(server.host, server.port)
    stack.push_async_callback(bridge.listener.close)
    await bridge.listener.serve(_http(bridge, bridge.config))
    return f"http://{f'[{server.host}]' if ':' in server.host else server.host}:{port}"


def _http(bridge: Bridge, config: Config) -> web.Application:
    """The HTTP application of a configuration. It asks the bridge who takes alerts in, at each request."""
    server = config.server

    async def accept(source: str, body: bytes, *given: Any) -> Accepted:
        if source == HOST and bridge.hosts is not None:
            taken = await bridge.hosts.receive(body)  # samples; None where these are alerts
            if taken is not None:
                return taken
        return await bridge.alerts.accept(source, body, *given)

    neighbours = Neighbours(
        accept=accept,
        push=bridge.push,
        refresh_gauges=bridge.refresh_gauges,
        database_ok=bridge.database_ok,
        channels=bridge.statuses,
        outbox=lambda: watchdog.outbox_part(bridge.outbox, oldest=bridge.config.watch.oldest, now=time.time()),
        sources=registry.sources(config.hooks.generic.mappings),
        picture_store=PictureStore.below(config.state_dir),
        alerts=bridge.alerts,
    )
    token = server.token.get_secret_value() if server.token else None
    return make_app(
        neighbours,
        token=token or None,
        max_body=server.max_body,
        metrics=bridge.metrics,
        hooks={name: getattr(config.hooks, name) for name in type(config.hooks).model_fields},
        rate=server.rate,
        console=desk.console_of(bridge),
        read_token=(server.read_token.get_secret_value() if server.read_token else "") or None,
        proxies=server.proxies,
    )


def _about(bridge: Bridge) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "url": bridge.url,
        "version": wxbridge.__version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
