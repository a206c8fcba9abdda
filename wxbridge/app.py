"""Makes the objects of a bridge, runs them, hands them another configuration, and takes them down in the end."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

import wxbridge
from wxbridge import registry
from wxbridge.alerts.pipeline import MASTER, AlertSettings
from wxbridge.alerts.reminders import Reminders
from wxbridge.alerts.render import Destination
from wxbridge.alerts.service import AlertMonitors, AlertService
from wxbridge.bot.late import LateDispatcher
from wxbridge.bot.services import CommandServices, CommandSettings
from wxbridge.channels.manager import ChannelManager, ChannelSetup, read_statuses
from wxbridge.config.schema import Config
from wxbridge.config.types import TargetSettings
from wxbridge.config.watcher import (
    SERVED_BY,
    ConfigState,
    Reloader,
    ReloadFailed,
    Taken,
    list_differing,
    restrict_to_running,
    sections_of,
)
from wxbridge.core.audit import AuditLog
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.findings import Finding
from wxbridge.core.leadership import Leadership, fact_of_bridge
from wxbridge.core.memory import give_back_freed
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import PictureSpec
from wxbridge.core.schema import remember_fact
from wxbridge.core.state_lock import StateLock, hold_state_dir
from wxbridge.core.systemd import announced_to_systemd
from wxbridge.core.tasks import NamedTasks
from wxbridge.delivery.backlog import BacklogWarner
from wxbridge.delivery.context import DeliveryContext, Lane
from wxbridge.delivery.health import BridgeHealth
from wxbridge.delivery.lanes import LaneTable
from wxbridge.delivery.operators import OperatorReports
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.roles import BridgeDuties, Orders, RoleKeeper
from wxbridge.delivery.service import Delivery
from wxbridge.delivery.state_guard import StateGuard
from wxbridge.delivery.unrouted import route_waiting_again
from wxbridge.delivery.watchdog import Watchdog
from wxbridge.hosts.monitor import HostMonitor
from wxbridge.jobs.scheduler import SchedulerSettings
from wxbridge.parts import (
    alert_settings_of,
    all_targets,
    destinations_of,
    make_lane,
    make_leadership,
    make_renderer,
    make_scheduler,
    open_database,
    operators_of,
    scheduler_settings,
)
from wxbridge.pictures.pages.missing_fonts import warn_of_missing_fonts
from wxbridge.pictures.publish import make_publisher
from wxbridge.pictures.renderer import PictureRenderer
from wxbridge.pictures.store import PictureStore
from wxbridge.web.listener import HttpListener
from wxbridge.web.server import make_app
from wxbridge.web.services import SampleLoader, WebServices
from wxbridge.web.waiting import WaitingStart

log = structlog.get_logger()

PRIVATE_UMASK = 0o077

# ---------------------------------------------------------------- the running bridge


class CurrentRenderer:
    """Draws with the renderer of the configuration in use."""

    def __init__(self) -> None:
        self.renderer: PictureRenderer | None = None

    async def draw(self, spec: PictureSpec) -> bytes:
        """Draw a picture. Raises `PictureError`."""
        assert self.renderer is not None, "pictures are drawn once the bridge is open"  # noqa: S101
        return await self.renderer.draw(spec)


@dataclass(frozen=True)
class _ConfiguredParts:
    """What is made anew from each configuration, and put to use in one step of the event loop."""

    config: Config
    targets: Mapping[str, TargetSettings]
    destinations: Mapping[str, Destination]
    """By target."""
    alert_settings: AlertSettings
    alert_monitors: AlertMonitors
    renderer: PictureRenderer
    channels: ChannelSetup
    lanes: Sequence[Lane]
    delivery: Delivery
    jobs: SchedulerSettings
    bot: CommandSettings


class App:
    """A bridge: its objects and their lifecycle.

    They last as long as it does; another configuration is handed to them (`take`). Only what sends, what draws and the
    channels that changed are made anew.

    Args:
        config: The configuration to begin with.
        database: Is not closed here.
        load: Reads the configuration again; None where it is not to be watched.
        listener: Where to answer; one that is not bound yet is bound by `serve`. It is closed here.
        leadership: Whether it leads, of the bridges that share the database; it is closed here.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        load: Callable[[], Config] | None = None,
        listener: HttpListener | None = None,
        leadership: Leadership | None = None,
        samples: SampleLoader = dict,
    ) -> None:
        self.state = ConfigState(config)
        self._samples = samples
        self.leadership = leadership or Leadership()
        self.orders = Orders(database, self.leadership)
        self.database = database
        self.audit = AuditLog(database, lambda: self.state.config.keep)
        self._load = load
        self.url = ""
        """Where the HTTP server listens."""
        self.metrics = Metrics()
        self.outbox = Outbox(database, dedupe_window=config.dedupe_window)
        self.picture_store = PictureStore.below(config.state_dir, database)
        self.drawer = CurrentRenderer()
        self.operators = OperatorReports(self.outbox)
        self.alerts = AlertService(database, self.outbox, metrics=self.metrics)
        self._tasks = NamedTasks()
        self.channels = ChannelManager(
            registry.CHANNELS,
            database=database,
            state_dir=config.state_dir,
            queue=self.outbox,
            tell_master=self.operators.tell_or_log,
            pictures=self.picture_store,
            metrics=self.metrics,
            operator_target=MASTER,
            tasks=self._tasks,
        )
        self.lanes = LaneTable()
        self.health = BridgeHealth(
            database, self.outbox, self.metrics, self.channels, self.lanes, self._tasks, self.leadership
        )
        self.jobs = make_scheduler(config, database, self.outbox, self.drawer)
        self.hosts = HostMonitor(
            config.host, database, self.alerts.accept, language=config.language, timezone=config.timezone
        )
        self._services = CommandServices(
            database=database,
            outbox=self.outbox,
            alerts=self.alerts,
            channels=self.channels,
            lanes=self.lanes,
            jobs=self.jobs,
            hosts=self.hosts,
            metrics=self.metrics,
            picture_store=self.picture_store,
            drawer=self.drawer,
            audit=self.audit,
        )
        self.bot = LateDispatcher(self._services, CommandSettings.of(config, {}))
        self.channels.take_inbound = self.bot.on_inbound
        self.reloader = Reloader(self, self.state, self.metrics)
        self._listener = listener or HttpListener()
        self._retiring: set[asyncio.Task[None]] = set()
        self._parts: _ConfiguredParts | None = None
        self._is_on_duty = False
        """Whether what only who leads does is being done."""
        self._changing = asyncio.Lock()
        """Held while the role or the configuration changes."""
        duties = BridgeDuties(self._begin_to_lead, self._step_down, self._renew, self._refresh, self._list_orders())
        self._roles = RoleKeeper(self.leadership, database, self.orders, duties)

    # ------------------------------------------------ start and end

    async def open(self) -> None:
        """Read what is remembered, and make what the configuration says; nothing runs yet.

        Raises:
            WxbridgeError: the configuration cannot be used, or the database cannot be read.
        """
        await self.alerts.load()
        self._use(self._build(self.state.config))

    async def start(self) -> None:
        """Start everything but the HTTP server and what watches; where others may lead, `take_part` does.

        Raises:
            StorageError: nothing can be stored; nothing was started.
        """
        if not self.leadership.is_shared:
            await self._lead()

    def take_part(self) -> None:
        """Begin to take part in the choice of who leads, where several share the database; it answers by then."""
        if self.leadership.is_shared:
            self._roles.start(self.url)
            self._tasks.start("roles", self._roles.run())

    # ------------------------------------------------ leading and following

    async def _lead(self) -> None:
        """Begin what only one bridge does. Raises `StorageError`; nothing was started then."""
        await self.bot.recover()
        await route_waiting_again(self.outbox, self.alerts)
        self._is_on_duty = True
        self._tasks.start("jobs", self.jobs.run())
        await self.channels.switch(ChannelSetup())
        self._tasks.start("delivery", self._present.delivery.run())
        self._tasks.start("host", self.hosts.run())
        self._tasks.start("reminders", Reminders(self.alerts).run())

    async def _begin_to_lead(self) -> None:
        """Take over from another bridge, with what it has left. Raises `StorageError`."""
        async with self._changing:
            await self.alerts.load()
            self.channels.show_elsewhere(None)
            await self._lead()

    async def _step_down(self) -> None:
        """End what only one bridge does: another may do it by now. What is on the wire gets a moment to be answered."""
        async with self._changing:
            self._is_on_duty = False
            for name in ("delivery", "jobs", "host", "reminders"):
                await self._tasks.end(name)
            await self.bot.close()
            await self.channels.retire()
            # Made anew, and not yet started: for the next time.
            old = self._present
            self._use(self._build(old.config))
            self._start_background(self._retire(old.renderer))

    async def _renew(self, keys: Collection[str]) -> Collection[str]:
        """Read again what other bridges have written. Raises `StorageError`."""
        again = await self.alerts.renew(keys)
        if self._is_on_duty:
            self.outbox.wake()
        return again

    async def _refresh(self) -> None:
        """Read again what is shown of the bridge that leads. Raises `StorageError`."""
        self.channels.show_elsewhere(await self.database.read(read_statuses))
        await self.hosts.look_elsewhere()

    def _list_orders(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        async def run_job(job: str) -> None:
            self.jobs.run_now(job)

        async def log_out(channel: str) -> None:
            await self.channels.log_out(channel)

        async def take_samples(body: str, sender: str) -> None:
            await self.hosts.receive(body.encode(), sender)

        return {"job": run_job, "log_out": log_out, "samples": take_samples}

    async def serve(self) -> None:
        """Begin to answer. Raises `WxbridgeError` where the address cannot be had."""
        server = self.state.config.server
        port = self._listener.port or self._listener.bind(server.host, server.port)
        self.url = f"http://{f'[{server.host}]' if ':' in server.host else server.host}:{port}"
        self.channels.url = self.url
        await self._listener.serve(make_app(self._web_services(), server, self.state.config.hooks))

    def watch(self) -> None:
        """Start to watch the bridge and, where it can be read again, its configuration; alerts are taken by then."""
        self._start_watchdog()
        if self._load is not None:
            self._tasks.start("reload", self.reloader.run())

    def guard_state(self, lock: StateLock) -> None:
        """Start to look whether the state stays where it is."""
        guard = StateGuard(lock, self.database, self.tell_operators, lambda: self.state.config.language)
        self._tasks.start("state", guard.run())

    async def stop_watching(self) -> None:
        """End what `watch` has started."""
        await self._tasks.end("reload")
        await self._tasks.end("watch")

    async def close(self) -> None:
        """End everything: first what sends, while the channels are still there to be heard."""
        await self._listener.close()
        await self._tasks.end("roles")
        await self._tasks.end("delivery")
        await self._tasks.end_all()
        # Once nothing is sent any more: another may begin at once.
        await asyncio.to_thread(self.leadership.close)
        await self.bot.close()
        await self.alerts.close()
        for task in self._retiring:
            task.cancel()
        if self._parts is not None:
            await self._parts.renderer.close()

    @property
    def _present(self) -> _ConfiguredParts:
        assert self._parts is not None, "open it first"  # noqa: S101
        return self._parts

    def _start_watchdog(self) -> None:
        parts, config = self._present, self.state.config
        backlog = BacklogWarner(
            self.database,
            self.outbox,
            parts.targets,
            parts.destinations,
            operators=operators_of(config),
            language=config.language,
            timezone=config.timezone,
            oldest=config.watch.oldest,
        )
        watchdog = Watchdog(
            self.health, self.channels, backlog, config.watch, may_warn=lambda: self.leadership.is_leading
        )
        self._tasks.start("watch", watchdog.run())

    def look_for_fonts(self) -> None:
        """Report, once, where Chinese letters become boxes in pictures that are made here."""
        config = self.state.config
        if config.prometheus or registry.needs_browser(config):
            self._start_background(warn_of_missing_fonts(self.database, config.language, self.operators.tell))

    def _start_background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine that nobody waits for; it is kept alive until it ends."""
        task = asyncio.create_task(work)
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    # ------------------------------------------------ configurations

    def _build(self, config: Config) -> _ConfiguredParts:
        """Make all that comes from a configuration, without starting it.

        Whatever is wrong shows here: once this has returned, nothing stands in the way of the exchange.
        """
        targets = all_targets(config)
        destinations = destinations_of(targets)
        renderer = make_renderer(config, self.metrics)
        channels = self.channels.prepare(config, targets)
        lanes = [make_lane(name, channels) for name in channels.channels]
        context = DeliveryContext(
            outbox=self.outbox,
            lanes=lanes,
            picture_store=self.picture_store,
            drawer=renderer,
            operators=self.operators,
            composer=self.alerts,
            language=config.language,
            metrics=self.metrics,
            clock=SystemClock(),
            read_again=self.alerts.reload_silences,
            shift_alerts=self.alerts.shift_times,
            publisher=make_publisher(config.pictures.publish),
            may_send=self.leadership.may_send,
        )
        return _ConfiguredParts(
            config=config,
            targets=targets,
            destinations=destinations,
            alert_settings=alert_settings_of(config),
            alert_monitors=AlertMonitors.of(config),
            renderer=renderer,
            channels=channels,
            lanes=lanes,
            delivery=Delivery(context, keep=config.keep),
            jobs=scheduler_settings(config, self.database),
            bot=CommandSettings.of(config, destinations, renderer.grafana),
        )

    def _use(self, parts: _ConfiguredParts) -> ChannelSetup:
        """Go by a configuration from now on, in one step; give the channels that were in use."""
        config = parts.config
        self._parts = parts
        self.state.config, self.state.loaded_at = config, time.time()
        self.outbox.dedupe_window = config.dedupe_window
        self.operators.reconfigure(operators_of(config), parts.targets, parts.destinations, config.language)
        self.alerts.configure(parts.alert_settings, parts.alert_monitors)
        self.lanes.lanes = parts.lanes
        self.drawer.renderer = parts.renderer
        self.jobs.reconfigure(parts.jobs)
        self.hosts.reconfigure(config.host, language=config.language, timezone=config.timezone)
        self.bot.configure(parts.bot)
        return self.channels.use(parts.channels)

    def read_config(self) -> Config:
        """Read the configuration again. Raises `ConfigError`."""
        return self._load() if self._load else self.state.config

    async def tell_operators(self, line: str) -> None:
        """Queue a line for the person in charge; raises nothing."""
        await self.operators.tell_or_log(line)

    async def take(self, config: Config) -> Taken:
        """Go on with another configuration, and cut nothing off.

        Alerts are taken all the while: by the old routes until the moment of the exchange, by the new ones from
        then on, and into the same outbox. What is being sent is sent to its end, by the old settings, before the
        new delivery begins. A job keeps its times unless they change. A channel that can stay stays connected.

        Raises:
            ReloadFailed: it cannot be made; everything goes on as before.
        """
        async with self._changing:
            return await self._take(config)

    async def _take(self, config: Config) -> Taken:
        old = self._present
        config, later = restrict_to_running(old.config, config)
        changed = list_differing(old.config, config, sections_of(old.config, config))
        if not changed:
            return Taken((), later)
        try:
            new = self._build(config)
            services = self._web_services()
            http = (
                make_app(services, config.server, config.hooks)
                if list_differing(old.config, config, SERVED_BY)
                else None
            )
        except Exception as error:
            log.exception("a new configuration cannot be used")
            raise ReloadFailed(f"{type(error).__name__}: {error}") from error
        channels = self._use(new)
        if http is not None:
            await self._listener.serve(http)
        await self._exchange(old, new, channels)
        if self._is_on_duty:
            await route_waiting_again(self.outbox, self.alerts)
            with suppress(StorageError):  # it is tried again every minute
                await new.delivery.hand_over_orphans()
        return Taken(tuple(changed), later, await self._list_orphans(old, new))

    async def _exchange(self, old: _ConfiguredParts, new: _ConfiguredParts, channels: ChannelSetup) -> None:
        if self._is_on_duty:
            await old.delivery.drain()
        await self._tasks.end("watch")
        if self._is_on_duty:
            await self._tasks.end("delivery")
            await self.channels.switch(channels)
            new.delivery.go_on_from(old.delivery)
            self._tasks.start("delivery", new.delivery.run())
        self._start_watchdog()
        self._start_background(self._retire(old.renderer))

    async def _retire(self, renderer: PictureRenderer) -> None:
        """Close a renderer once the jobs and commands that still use it are over."""
        try:
            await self.jobs.wait_idle()
            await self.bot.wait_idle()
            await self.alerts.close_retired()
        finally:
            await renderer.close()

    async def _list_orphans(self, old: _ConfiguredParts, new: _ConfiguredParts) -> tuple[tuple[str, int], ...]:
        """List the targets that are gone, and how much still waits for them: it is kept, as it is at a restart."""
        gone = old.targets.keys() - new.targets.keys()
        try:
            waiting = await self.outbox.count_backlog() if gone else []
        except StorageError:
            return ()
        return tuple((each.target, each.waiting) for each in waiting if each.target in gone)

    async def _examine(self) -> list[Finding]:
        """Run every check of the doctor on the configuration in use. It raises nothing."""
        from wxbridge import doctor  # with the checks of every channel

        return await doctor.examine(self.state.config, self.database)

    def _web_services(self) -> WebServices:
        return WebServices(
            **vars(self._services),
            state=self.state,
            health=self.health,
            reloader=self.reloader,
            examine=self._examine,
            operators=self.operators,
            leadership=self.leadership,
            orders=self.orders,
            samples=self._samples,
        )


@asynccontextmanager
async def running(
    config: Config, load: Callable[[], Config] | None = None, *, samples: SampleLoader = dict
) -> AsyncIterator[App]:
    """Run a bridge for the length of a `with` block; hooks are taken when it begins.

    `samples` are what its console can send to try a route.

    With `load`, which reads the configuration again, the files are watched and a change is taken over. While the disk
    is full or the database locked it waits, and tells senders to come again.

    Raises:
        WxbridgeError: it cannot start; the text says why and what to do.
    """
    async with AsyncExitStack() as stack:
        # Whatever is written below the state directory is for us alone.
        os.umask(PRIVATE_UMASK)
        listener = HttpListener()
        stack.push_async_callback(listener.close)
        waiting = WaitingStart(listener, config.server, config.reader_language)
        held = partial(hold_state_dir, config.state_dir)
        lock = await waiting.insist(lambda: asyncio.to_thread(stack.enter_context, held()))
        database = await waiting.insist(partial(asyncio.to_thread, open_database, config))
        stack.callback(database.close)
        app = App(config, database, load, listener, make_leadership(config, database), samples)
        stack.push_async_callback(app.close)
        await waiting.insist(app.open)
        await waiting.insist(app.start)
        app.guard_state(lock)
        await app.serve()
        app.take_part()
        about = {
            "pid": os.getpid(),
            "url": app.url,
            "version": wxbridge.__version__,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        # Where the disk is full again by now, other processes do without.
        with suppress(StorageError):
            await database.run(
                lambda c: remember_fact(
                    c, fact_of_bridge(config.state_dir, is_shared=database.is_server), about, time.time()
                )
            )
        log.info("serving", url=app.url, version=wxbridge.__version__, state_dir=str(config.state_dir))
        app.look_for_fonts()
        # The last to start and the first to stop: systemd is told of both.
        stack.push_async_callback(app.stop_watching)
        stack.enter_context(announced_to_systemd())
        app.watch()
        # What was imported stays for good: walking over it again and again costs more than an alert does.
        gc.collect()
        gc.freeze()
        give_back_freed()
        yield app
