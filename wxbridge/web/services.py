"""The objects that the HTTP server and the console work with. They outlast a configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from wxbridge.bot.services import CommandServices
from wxbridge.config.watcher import ConfigState, Reloader
from wxbridge.core.findings import Finding
from wxbridge.core.leadership import Leadership
from wxbridge.delivery.health import BridgeHealth
from wxbridge.delivery.operators import OperatorReports
from wxbridge.delivery.roles import Orders


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


@dataclass(frozen=True, kw_only=True)
class WebServices(CommandServices):
    """What the pages and the API show and change: all that a chat does, and more.

    `state.config` is the configuration in use.
    """

    state: ConfigState
    reloader: Reloader
    health: BridgeHealth
    examine: Callable[[], Awaitable[Sequence[Finding]]]
    """Looks at everything that the bridge needs from outside; raises nothing."""
    operators: OperatorReports
    leadership: Leadership = field(default_factory=Leadership)
    orders: Orders = field(default_factory=Orders)
    """What the bridge that leads is to do."""
    samples: SampleLoader = dict


SERVICES: web.AppKey[WebServices] = web.AppKey("services")
"""Where an application keeps what its handlers ask."""
