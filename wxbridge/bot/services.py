"""What chat commands work with: the services of a running bridge, and what one configuration says of the chat."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from zoneinfo import ZoneInfo

from wxbridge.alerts.render import Destination
from wxbridge.alerts.service import AlertService
from wxbridge.channels.manager import ChannelManager
from wxbridge.config.graphs import GraphSettings
from wxbridge.config.schema import Config
from wxbridge.config.types import ChatSettings
from wxbridge.core.audit import AuditLog
from wxbridge.core.database import Database
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import PictureDrawer
from wxbridge.core.text.i18n import Language
from wxbridge.delivery.lanes import LaneTable
from wxbridge.delivery.outbox import Outbox
from wxbridge.hosts.monitor import HostMonitor
from wxbridge.jobs.scheduler import JobScheduler
from wxbridge.monitors.dashboards import Dashboards
from wxbridge.monitors.grafana import Grafana
from wxbridge.pictures.store import PictureStore

MAX_FAILED_DRAWINGS = 200
"""That are remembered."""


@dataclass(frozen=True)
class FailedDrawing:
    """A picture that somebody asked for and that could not be drawn."""

    at: float
    """Seconds since the epoch."""
    what: str
    """As it was written in the chat."""
    error: str


@dataclass(frozen=True)
class CommandServices:
    """What commands ask and change; it stays for as long as a bridge runs."""

    database: Database
    outbox: Outbox
    alerts: AlertService
    channels: ChannelManager
    lanes: LaneTable
    jobs: JobScheduler
    hosts: HostMonitor
    metrics: Metrics
    picture_store: PictureStore
    drawer: PictureDrawer
    failed_drawings: deque[FailedDrawing] = field(default_factory=lambda: deque(maxlen=MAX_FAILED_DRAWINGS))
    """The latest pictures that were asked for in a chat and could not be drawn, since the bridge was started."""
    audit: AuditLog = field(default_factory=AuditLog)


@dataclass(frozen=True)
class CommandSettings:
    """What one configuration says of the chat; it is exchanged when another takes over."""

    chat: ChatSettings
    language: Language
    timezone: ZoneInfo
    destinations: Mapping[str, Destination]
    """By target, `master` among them where there is one."""
    graphs: Mapping[str, GraphSettings] = field(default_factory=dict)
    """The shortcuts of jobs.yaml."""
    dashboards: Dashboards | None = None
    """Of the configured Grafana; None where there is none."""
    prometheus_url: str | None = None
    """The address of the configured Prometheus, for links; None where there is none."""

    @classmethod
    def of(cls, config: Config, destinations: Mapping[str, Destination], grafana: Grafana | None = None) -> Self:
        """Take what the configuration says; `grafana` is asked for dashboards."""
        return cls(
            chat=config.chat,
            language=config.language,
            timezone=config.timezone,
            destinations=destinations,
            graphs=config.section("graphs") or {},
            dashboards=Dashboards(grafana) if grafana else None,
            prometheus_url=config.prometheus.url if config.prometheus else None,
        )
