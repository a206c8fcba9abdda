"""Owns the channels: makes and runs them, keeps what a reload does not change, greets, and shows login codes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import structlog
from sqlalchemy import Connection

from wxbridge.channels import ChannelContext, ChannelPlugin, announcements, qr_code
from wxbridge.config.schema import Config
from wxbridge.config.types import TargetSettings
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody, StorageError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import (
    Channel,
    ChannelState,
    ChannelStatus,
    Inbound,
    Notification,
    NotificationSink,
    OnInbound,
    Picture,
    RememberingChannel,
    WantedDigits,
)
from wxbridge.core.schema import forget_facts, read_fact, read_facts, remember_fact
from wxbridge.core.tasks import NamedTasks
from wxbridge.core.text.i18n import Language, say

log = structlog.get_logger()


@runtime_checkable
class LastingChannel(Protocol):
    """A channel that can go on with another configuration, which spares a login. Others are made anew."""

    def keeps(self, context: ChannelContext) -> bool:
        """Whether the connection can stay. It changes nothing."""

    def adopt(self, context: ChannelContext) -> None:
        """Take over targets and settings; called where it `keeps`, while nothing is being sent. It never fails."""


@runtime_checkable
class LogoutChannel(Protocol):
    """A channel that can be logged out."""

    def log_out(self) -> Awaitable[None]:
        """End the login; somebody has to log in again. Raises `SendError`."""


@runtime_checkable
class DigitsChannel(Protocol):
    """A channel whose login may want digits that the phone shows."""

    @property
    def wanted_digits(self) -> WantedDigits:
        """Whether it waits for them."""

    def type_digits(self, digits: str) -> bool:
        """Take them; False where nobody waits for any."""


class MessageQueue(NotificationSink, Protocol):
    """Where the channels' own messages go, and who is woken when a channel can send."""

    def wake(self) -> None:
        """Have what waits looked at again."""


class PictureSaver(Protocol):
    """Where the picture of a login code is kept."""

    async def save(self, content: bytes, name: str) -> Picture:
        """Store a picture's bytes. Raises `StorageError`."""


@dataclass(frozen=True)
class ChannelSetup:
    """The channels of one configuration, by lane."""

    contexts: Mapping[str, ChannelContext] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    """Those of an earlier configuration whose connection can stay are among them."""
    targets: Mapping[str, TargetSettings] = field(default_factory=dict)
    """By name, of all lanes."""
    language: Language = "en"


def list_lanes(
    plugins: Mapping[str, ChannelPlugin], config: Config, targets: Mapping[str, TargetSettings]
) -> list[str]:
    """List the lanes that have a target or a section of their own."""
    lanes: dict[str, None] = {}
    for name in filter(config.may_use, plugins):
        plugin = plugins[name]
        section = config.section(plugin.section) if plugin.section else None
        own = plugin.lanes(section) if plugin.lanes else (name,) if section else ()
        used = (target.lane() for target in targets.values() if target.channel == name)
        lanes.update(dict.fromkeys([*own, *used]))
    return list(lanes)


def find_plugin(plugins: Mapping[str, ChannelPlugin], lane: str) -> ChannelPlugin:
    """Give the plug-in of a lane (`wechat`, `wecom_bot:NAME`)."""
    return plugins[lane.partition(":")[0]]


def settings_of_lane(plugins: Mapping[str, ChannelPlugin], config: Config, lane: str) -> Any:
    """Give a lane's own section of jobs.yaml. May raise `WxbridgeError`."""
    plugin = find_plugin(plugins, lane)
    section = config.section(plugin.section) if plugin.section else plugin.settings()
    return plugin.of_lane(section, lane)


class ChannelManager:
    """The channels in use, their states, greetings and login codes.

    Args:
        plugins: The channels that there are, by name.
        database: Where states are kept, for other processes.
        state_dir: Where `login.png` is written.
        queue: Takes greetings and login codes, and is woken when a channel changes.
        tell_master: Queues a line for the person in charge; one that cannot be stored is logged.
        pictures: Keeps the pictures of login codes.
        metrics: Counts what people write.
        operator_target: The name of the target of the person in charge, who is greeted.
        tasks: Where the channels run.
    """

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        plugins: Mapping[str, ChannelPlugin],
        *,
        database: Database,
        state_dir: Path,
        queue: MessageQueue,
        tell_master: Callable[[str], Awaitable[None]],
        pictures: PictureSaver,
        metrics: Metrics,
        operator_target: str,
        tasks: NamedTasks,
    ) -> None:
        self._plugins, self._database, self._state_dir = plugins, database, state_dir
        self._queue, self._tell_master, self._pictures, self._metrics = queue, tell_master, pictures, metrics
        self._operator_target, self._tasks = operator_target, tasks
        self._setup = ChannelSetup()
        self._background: set[asyncio.Task[None]] = set()
        self._greeted: set[str] = set()
        """The targets that were greeted or announced to; once is enough for as long as the bridge runs."""
        self._code_sent_at: dict[str, float] = {}
        """When a channel's login code last went to the fallback; monotonic seconds."""
        self._code_shown: set[str] = set()
        """The lanes whose login code was shown since they were last logged in."""
        self._few_told: set[str] = set()
        """Those of which the readers were told who can be told little."""
        self.take_inbound: OnInbound | None = None
        """Who takes the messages that people write."""
        self._elsewhere: Mapping[str, ChannelStatus] | None = None
        """The states of the channels where another bridge runs them."""
        self.url = ""
        """Where the bridge is served: the login page is below it."""

    # ------------------------------------------------ what is asked

    @property
    def channels(self) -> Mapping[str, Channel]:
        """The channels in use, by lane."""
        return self._setup.channels

    @property
    def targets(self) -> Mapping[str, TargetSettings]:
        """The targets in use, by name."""
        return self._setup.targets

    def statuses(self) -> dict[str, ChannelStatus]:
        """Give the state of every channel, by lane; where another bridge has them, as it was last read."""
        if self._elsewhere is not None:
            stopped = ChannelStatus(ChannelState.STOPPED, datetime.now(UTC))
            return {name: self._elsewhere.get(name, stopped) for name in self.channels}
        return {name: channel.status for name, channel in self.channels.items()}

    def show_elsewhere(self, statuses: Mapping[str, ChannelStatus] | None) -> None:
        """Show these states, of channels that another bridge runs; None for our own."""
        self._elsewhere = statuses

    def list_logout_channels(self) -> list[str]:
        """List the channels that can be logged out."""
        return [name for name, channel in self.channels.items() if isinstance(channel, LogoutChannel)]

    async def log_out(self, name: str) -> None:
        """End a channel's login. Raises `BadBody` where it has none, or `SendError`."""
        channel = self.channels.get(name)
        if not isinstance(channel, LogoutChannel):
            raise BadBody(f"{name} cannot be logged out from here.")
        await channel.log_out()

    def wanted_digits(self, name: str) -> WantedDigits:
        """Tell whether a channel's login waits for digits that the phone shows."""
        channel = self.channels.get(name)
        return channel.wanted_digits if isinstance(channel, DigitsChannel) else WantedDigits.NONE

    def type_digits(self, name: str, digits: str) -> None:
        """Hand a channel's login the digits. Raises `BadBody` where they are none, or none are waited for."""
        channel = self.channels.get(name)
        if not (digits.isascii() and digits.isdecimal()):
            raise BadBody("The phone shows digits, and nothing else.")
        if not isinstance(channel, DigitsChannel) or not channel.type_digits(digits):
            raise BadBody(f"{name} does not wait for digits any more.")

    # ------------------------------------------------ configurations

    def prepare(self, config: Config, targets: Mapping[str, TargetSettings]) -> ChannelSetup:
        """Make the channels of a configuration without starting them; those that can stay are kept.

        Nothing in use changes.

        Raises:
            WxbridgeError: one cannot be made.
        """
        contexts = {lane: self._context(config, targets, lane) for lane in list_lanes(self._plugins, config, targets)}
        channels = {
            lane: self._kept(lane, context) or find_plugin(self._plugins, lane).create(context)
            for lane, context in contexts.items()
        }
        return ChannelSetup(contexts, channels, targets, config.language)

    def _context(self, config: Config, targets: Mapping[str, TargetSettings], lane: str) -> ChannelContext:
        return ChannelContext(
            settings=settings_of_lane(self._plugins, config, lane),
            state_dir=config.state_dir,
            database=self._database,
            targets={name: target for name, target in targets.items() if target.lane() == lane},
            tell_master=self._tell_master,
            lane=lane,
            language=config.language,
        )

    def _kept(self, lane: str, context: ChannelContext) -> Channel | None:
        channel, before = self._setup.channels.get(lane), self._setup.contexts.get(lane)
        if isinstance(channel, LastingChannel):
            return channel if channel.keeps(context) else None
        return channel if before == context else None

    def use(self, setup: ChannelSetup) -> ChannelSetup:
        """Answer for other channels from now on, in one step; give those that were in use. `switch` follows."""
        before, self._setup = self._setup, setup
        return before

    async def switch(self, before: ChannelSetup) -> None:
        """Stop the channels that `before` had alone, start those that are new, and hand the others their targets."""
        for lane, channel in before.channels.items():
            if self.channels.get(lane) is not channel:
                await self._tasks.end(f"channel {lane}")
            if lane not in self.channels:
                await self._forget(lane)
        for lane, channel in self.channels.items():
            if before.channels.get(lane) is not channel:
                await self._recall(lane, channel, before.channels.get(lane))
                work = channel.run(self.on_inbound, partial(self._on_status, lane))
                self._tasks.start(f"channel {lane}", work)
            elif isinstance(channel, LastingChannel):
                channel.adopt(self._setup.contexts[lane])
        for lane, status in self.statuses().items():
            if status.state is ChannelState.ONLINE:
                self._greet(lane)

    async def retire(self) -> None:
        """Stop all channels, and have `prepare` make each anew."""
        for lane in self.channels:
            await self._tasks.end(f"channel {lane}")
        self._setup = ChannelSetup(targets=self._setup.targets, language=self._setup.language)

    # ------------------------------------------------ what channels report

    async def on_inbound(self, inbound: Inbound) -> None:
        """Take a message that somebody wrote."""
        self._metrics.inbound.labels(inbound.channel).inc()
        if self.take_inbound is not None:
            await self.take_inbound(inbound)

    def _on_status(self, lane: str, status: ChannelStatus) -> None:
        """Take a channel's new state: show its login code, greet, wake the delivery, tell other processes."""
        if status.state is ChannelState.WAITING_FOR_SCAN and status.qrcode:
            self._show_code(lane, status.qrcode)
        elif status.state.is_well:
            self._code_sent_at.pop(lane, None)
            self._picture_of_code(lane).unlink(missing_ok=True)
            if status.state is ChannelState.ONLINE:
                self._greet(lane)
            elif lane in self._code_shown:
                who = lane.partition(":")[2] or lane
                print(f"{who} is logged in. Now write any word to the bot in WeChat.", flush=True)  # noqa: T201
            self._code_shown.discard(lane)
            self._few_told.discard(lane)
        self._queue.wake()
        self._start_background(self._record(lane, status))

    async def _recall(self, lane: str, channel: Channel, before: Channel | None) -> None:
        """Hand a channel what the one before it, or the bridge before this one, found wrong with its services."""
        if not isinstance(channel, RememberingChannel):
            return
        if isinstance(before, RememberingChannel):
            channel.recall_troubles(before.list_troubles())
            return
        with suppress(StorageError):
            noted = await self._database.read(lambda c: read_fact(c, f"channel:{lane}")) or {}
            channel.recall_troubles(noted.get("troubles", ()))

    async def _record(self, lane: str, status: ChannelStatus) -> None:
        value: dict[str, Any] = {"state": status.state.value, "detail": status.detail, "account": status.account}
        if self._database.is_server and status.qrcode:
            # For whoever looks at a bridge that does not lead.
            value["qrcode"] = status.qrcode
        channel = self.channels.get(lane)
        if isinstance(channel, RememberingChannel):
            value["troubles"] = channel.list_troubles()
        with suppress(StorageError):
            at = status.since.timestamp()
            await self._database.run(lambda c: remember_fact(c, f"channel:{lane}", value, at), is_leaders=True)

    async def _forget(self, lane: str) -> None:
        """Have nobody told any more of a channel that is no longer configured."""
        with suppress(StorageError):
            await self._database.run(lambda c: forget_facts(c, [f"channel:{lane}"]), is_leaders=True)

    def _greet(self, lane: str) -> None:
        """Greet the person in charge, and announce the bridge, on a channel that is up: each target once an hour."""
        context = self._setup.contexts.get(lane)
        greeting = getattr(context.settings, "greeting", "") if context else ""
        found = announcements.make_greetings(self.targets, lane, master=self._operator_target, greeting=greeting)
        items = [item for item in found if item.target not in self._greeted]
        self._greeted |= {item.target for item in items}
        if items:
            self._start_background(self._put_greetings(items))

    async def _put_greetings(self, items: Sequence[Notification]) -> None:
        try:
            now = time.time()
            due = await self._database.read(lambda c: announcements.select_due_greetings(c, items, now))
            if due:
                await self._queue.put(due, also=announcements.GivenGreetings(due))
        except StorageError as error:
            log.error("could not be stored", error=str(error))  # noqa: TRY400 - a trace says no more

    def _picture_of_code(self, lane: str) -> Path:
        """Tell where the picture of a login code is kept; each account of a channel has its own."""
        account = "".join(each if each.isalnum() else "_" for each in lane.partition(":")[2])
        return self._state_dir / (f"login-{account}.png" if account else "login.png")

    def _show_code(self, lane: str, code: str) -> None:
        png = self._picture_of_code(lane)
        self._code_shown.add(lane)
        try:
            qr_code.print_code(code, sys.stdout)
            with suppress(OSError):
                qr_code.save_png(code, png)
        except ValueError:
            log.error("the gateway's login code is too long for a QR code", length=len(code))  # noqa: TRY400
            return
        language = self._setup.language
        print(say("channels.code_shown", language, channel=lane, url=f"{self.url}/login", file=png), flush=True)  # noqa: T201
        if link := _link_of(code):
            print(say("channels.code_link", language, link=link), flush=True)  # noqa: T201
        now, interval = time.monotonic(), announcements.CODE_INTERVAL_SECONDS
        if now - self._code_sent_at.get(lane, -interval) >= interval:
            self._code_sent_at[lane] = now
            self._start_background(self._send_code(lane, code))

    async def _send_code(self, lane: str, code: str) -> None:
        try:
            picture = await self._pictures.save(qr_code.draw_png(code), "login.png")
        except StorageError as error:
            log.error("the login code could not be stored", error=str(error))  # noqa: TRY400
            return
        found = announcements.list_code_readers(self.targets, lane, master=self._operator_target)
        readers = [replace(reader, is_scarce=self._is_scarce(reader.target)) for reader in found]
        # Whoever can be told little is told once, and not of each further code.
        readers = [reader for reader in readers if not (reader.is_scarce and lane in self._few_told)]
        self._few_told.add(lane)
        await self._put(
            announcements.make_login_codes(readers, lane, picture, self._setup.language, link=_link_of(code))
        )

    def _is_scarce(self, target: str) -> bool:
        """Tell whether each message to a target costs one of a few."""
        return find_plugin(self._plugins, self.targets[target].lane()).capabilities.is_scarce

    async def _put(self, items: Sequence[Notification]) -> None:
        try:
            if items:
                await self._queue.put(items)
        except StorageError as error:
            log.error("could not be stored", error=str(error))  # noqa: TRY400 - a trace says no more

    def _start_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that nobody waits for; it is kept alive until it ends."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def read_statuses(connection: Connection) -> dict[str, ChannelStatus]:
    """Read the states that the bridge that leads has noted of its channels, by lane."""
    return {
        lane: ChannelStatus(
            ChannelState(value["state"]),
            datetime.fromtimestamp(at, UTC),
            value["detail"],
            value["account"],
            value.get("qrcode"),
        )
        for lane, (value, at) in read_facts(connection, "channel:").items()
    }


def _link_of(code: str) -> str:
    """Give a login code as an address that WeChat opens; empty for one that has to be scanned."""
    # A gateway's begins with http://weixin.qq.com/x/, which opens nothing.
    is_link = code.startswith(("https://", "http://")) and not code.startswith("http://weixin.qq.com/")
    return code if is_link else ""
