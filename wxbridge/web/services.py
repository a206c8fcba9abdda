"""The objects that the HTTP server and the console work with. They outlast a configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from wxbridge.alerts.service import AlertService
from wxbridge.channels.manager import ChannelManager
from wxbridge.config.watcher import ConfigState, Reloader
from wxbridge.core.audit import AuditLog
from wxbridge.core.database import Database
from wxbridge.core.findings import Finding
from wxbridge.core.leadership import Leadership
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import PictureDrawer
from wxbridge.delivery.health import BridgeHealth
from wxbridge.delivery.lanes import LaneTable
from wxbridge.delivery.operators import OperatorReports
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.roles import Orders
from wxbridge.hosts.monitor import HostMonitor
from wxbridge.jobs.scheduler import JobScheduler
from wxbridge.pictures.store import PictureStore


class SampleBody(Protocol):
    """A body as a monitor posts it."""

    @property
    def hook(self) -> str:
        """The path below `/hooks/`."""

    @property
    def content_type(self) -> str:
        """Of the body."""

    def body(self, *, resolved: bool = False) -> bytes:
        """Make it."""


SampleLoader = Callable[[], Mapping[str, SampleBody]]
"""Gives the samples of all senders, by the name of what raises the alert."""


@dataclass(frozen=True)
class WebServices:
    """What the pages and the API show and change; `state.config` is the configuration in use."""

    state: ConfigState
    reloader: Reloader
    database: Database
    outbox: Outbox
    alerts: AlertService
    channels: ChannelManager
    lanes: LaneTable
    jobs: JobScheduler
    hosts: HostMonitor
    drawer: PictureDrawer
    picture_store: PictureStore
    health: BridgeHealth
    metrics: Metrics
    examine: Callable[[], Awaitable[Sequence[Finding]]]
    """Looks at everything that the bridge needs from outside; raises nothing."""
    operators: OperatorReports
    leadership: Leadership = field(default_factory=Leadership)
    orders: Orders = field(default_factory=Orders)
    """What the bridge that leads is to do."""
    samples: SampleLoader = dict
    audit: AuditLog = field(default_factory=AuditLog)


SERVICES: web.AppKey[WebServices] = web.AppKey("services")
"""Where an application keeps what its handlers ask."""
