"""Answers commands by the configuration in use: the command table, and what its commands work with."""

from __future__ import annotations

from collections.abc import Mapping

from wxbridge.alerts.pipeline import MASTER
from wxbridge.alerts.render import Destination
from wxbridge.alerts.service import AlertService
from wxbridge.bot import permissions
from wxbridge.bot.command import Command
from wxbridge.bot.commands.alerts import alert_commands
from wxbridge.bot.commands.graphs import graph_commands
from wxbridge.bot.commands.host import host_commands
from wxbridge.bot.commands.jobs import job_commands
from wxbridge.bot.commands.status import status_command
from wxbridge.bot.dispatcher import Around, Chat, ChatSetting
from wxbridge.channels.manager import ChannelManager
from wxbridge.config.schema import Config
from wxbridge.core.database import Database
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Inbound, PictureDrawer
from wxbridge.delivery.lanes import LaneTable
from wxbridge.delivery.outbox import Outbox
from wxbridge.hosts.monitor import HostMonitor
from wxbridge.jobs.scheduler import JobScheduler
from wxbridge.monitors.dashboards import Dashboards
from wxbridge.monitors.grafana import Grafana
from wxbridge.pictures.store import PictureStore


class ChatService:
    """The commands of the configuration in use, answered in the chats of the channels in use."""

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        *,
        config: Config,
        database: Database,
        outbox: Outbox,
        alerts: AlertService,
        channels: ChannelManager,
        lanes: LaneTable,
        jobs: JobScheduler,
        hosts: HostMonitor,
        metrics: Metrics,
        picture_store: PictureStore,
        drawer: PictureDrawer,
    ) -> None:
        self._outbox, self._alerts, self._channels, self._lanes = outbox, alerts, channels, lanes
        self._jobs, self._hosts = jobs, hosts
        self._picture_store, self._drawer = picture_store, drawer
        around = Around(database, outbox, self.target_of, self.is_master, metrics)
        self.chat = Chat(around, self.settings_of(config, {}, None))

    def settings_of(
        self, config: Config, destinations: Mapping[str, Destination], grafana: Grafana | None
    ) -> ChatSetting:
        """Make what `reconfigure` takes. `grafana` is asked for dashboards."""
        return ChatSetting(
            settings=config.chat,
            commands=self._commands(config, grafana),
            language=config.language,
            timezone=config.timezone,
            destinations=destinations,
            picture_store=self._picture_store,
            draw=self._drawer.draw,
            master=MASTER if MASTER in destinations else None,
        )

    def reconfigure(self, setting: ChatSetting) -> None:
        """Answer by another configuration from now on; what is being answered goes on by the old one."""
        self.chat.take(setting)

    async def wait_idle(self) -> None:
        """Wait until the commands that run now are over."""
        await self.chat.settled()

    async def close(self) -> None:
        """Stop answering; what is open is answered at the next start, if that is soon."""
        await self.chat.close()

    def target_of(self, message: Inbound) -> str | None:
        """Find the target whose chat a message was written in, where commands are answered there.

        Raises:
            Offline: it cannot be told yet.
        """
        channel = self._channels.channels.get(message.channel)
        return permissions.target_of(channel, message, self._channels.targets, MASTER)

    def is_master(self, message: Inbound) -> bool:
        """Tell whether a message's sender is the person in charge. Raises `Offline` where it cannot be told yet."""
        return permissions.is_master(self._channels.channels.get(message.channel), message, MASTER)

    def _commands(self, config: Config, grafana: Grafana | None) -> list[Command]:
        return [
            *graph_commands(
                shortcuts=config.section("graphs") or {},
                dashboards=Dashboards(grafana) if grafana else None,
                prometheus=config.prometheus.url if config.prometheus else None,
            ),
            *alert_commands(self._alerts),
            *job_commands(self._jobs),
            status_command(self._channels.statuses, self._lanes.budgets, self._outbox),
            *host_commands(self._hosts.list_hosts),
        ]
