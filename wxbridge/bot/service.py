"""What answers in chats: the command table of a configuration, and whom its commands ask."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from wxbridge.alerts.pipeline import MASTER
from wxbridge.bot.command import Command
from wxbridge.bot.commands.alerts import alert_commands
from wxbridge.bot.commands.graphs import graph_commands
from wxbridge.bot.commands.host import host_commands
from wxbridge.bot.commands.jobs import job_commands
from wxbridge.bot.commands.status import status_command
from wxbridge.bot.dispatcher import Around, Chat, ChatSetting
from wxbridge.bridge import Bridge, Generation
from wxbridge.hosts.monitor import HostMonitor
from wxbridge.jobs.scheduler import JobScheduler
from wxbridge.monitors.dashboards import Dashboards
from wxbridge.pictures.store import PictureStore


@dataclass
class Answering:
    """The commands of the present configuration, answered in the chats of the present channels."""

    bridge: Bridge
    jobs: JobScheduler
    hosts: HostMonitor
    chat: Chat = field(init=False)

    @classmethod
    def begin(cls, bridge: Bridge, generation: Generation, jobs: JobScheduler, hosts: HostMonitor) -> Answering:
        """Make it for a bridge's first configuration."""
        made = cls(bridge, jobs, hosts)
        around = Around(bridge.database, bridge.outbox, bridge.target_of, bridge.is_master, bridge.metrics)
        made.chat = Chat(around, made._setting(generation))
        return made

    def take(self, generation: Generation) -> None:
        """Answer by another configuration from now on; what is being answered goes on by the old one."""
        self.chat.take(self._setting(generation))

    async def settled(self) -> None:
        """Wait until nothing is answered by an old configuration, and let go of its connections."""
        await self.chat.settled()
        await self.bridge.alerts.close_retired()

    async def close(self) -> None:
        """Stop answering; what is open is answered at the next start, if that is soon."""
        await self.chat.close()
        await self.bridge.alerts.close()

    def _setting(self, generation: Generation) -> ChatSetting:
        config = generation.config
        return ChatSetting(
            settings=config.chat,
            commands=self._commands(generation),
            language=config.language,
            timezone=config.timezone,
            destinations=generation.destinations,
            picture_store=PictureStore.below(config.state_dir),
            draw=generation.pictures.draw,
            master=MASTER if MASTER in generation.targets else None,
        )

    def _commands(self, generation: Generation) -> list[Command]:
        config, jobs, grafana = generation.config, self.jobs, generation.pictures.grafana
        return [
            *graph_commands(
                shortcuts=config.section("graphs") or {},
                dashboards=Dashboards(grafana) if grafana else None,
                prometheus=config.prometheus.url if config.prometheus else None,
            ),
            *alert_commands(self.bridge.alerts),
            *job_commands(jobs),
            status_command(self.bridge.statuses, self._budgets, self.bridge.outbox),
            *host_commands(self.hosts.list_hosts),
        ]

    def _budgets(self) -> dict[str, dict[str, int]]:
        now = time.monotonic()
        return {lane.name: dict(lane.pacer.windows_left(now)) for lane in self.bridge.lanes}
