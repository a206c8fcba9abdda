"""How the bridge is: whether its database and its services work, and the gauges of `/metrics`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.leadership import Leadership
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import ChannelState, ChannelStatus, WindowedChannel
from wxbridge.core.schema import remember_fact
from wxbridge.delivery.lanes import LaneTable
from wxbridge.delivery.outbox import Outbox

log = structlog.get_logger()

PROBE_LIMIT_SECONDS = 6.0
"""Longer than a lock of another process is waited for."""
_OUTCOMES = ("sent", "retried", "waited", "unknown", "merged", "failed_over", "expired", "dead")


@dataclass(frozen=True)
class Trouble:
    """What is wrong with the bridge itself. `restart_helps` is false for a full disk, say: it would stay full."""

    text: str
    restart_helps: bool = True


class ChannelStatuses(Protocol):
    """What knows the states of the channels."""

    def statuses(self) -> Mapping[str, ChannelStatus]:
        """Give the state of every channel, by name."""


class BridgeHealth:
    """Tells whether the bridge is well, and sets its gauges. An offline channel is a state, and no trouble.

    Args:
        database: Is probed by a write.
        outbox: Whose backlog is counted.
        metrics: Where the gauges are set.
        channels: The states of the channels.
        lanes: Whose targets and paces are shown.
        services: The tasks that must not die.
        leadership: Who leads.
    """

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        metrics: Metrics,
        channels: ChannelStatuses,
        lanes: LaneTable,
        services: Iterable[asyncio.Task[Any]],
        leadership: Leadership | None = None,
    ) -> None:
        self._leadership = leadership or Leadership()
        self._database, self._outbox, self._metrics = database, outbox, metrics
        self._channels, self._lanes, self._services = channels, lanes, services

    async def find_trouble(self) -> Trouble | None:
        """Find what is wrong with the bridge itself; None where all is well."""
        died = [task.get_name() for task in self._services if task.done() and not task.cancelled() and task.exception()]
        if died:
            return Trouble(f"{', '.join(died)} died")
        try:
            await self.probe()
        except StorageError as error:
            # It answers, and recovers by itself once there is room again; meanwhile hooks are told to come back.
            return Trouble(str(error), restart_helps=False)
        except TimeoutError:
            return Trouble("the database does not answer")
        return None

    async def is_database_well(self) -> bool:
        """Whether alerts can be stored now."""
        try:
            await self.probe()
        except (StorageError, TimeoutError):
            return False
        return True

    async def probe(self) -> None:
        """Store something. Raises `StorageError`, or `TimeoutError` after `PROBE_LIMIT_SECONDS`."""
        async with asyncio.timeout(PROBE_LIMIT_SECONDS):
            await self._database.run(lambda c: remember_fact(c, "probe", {}, time.time()))

    def count_storage_error(self) -> None:
        """Count an access to the database that failed."""
        self._metrics.storage_errors.inc()

    async def refresh_gauges(self) -> None:
        """Set the gauges of `/metrics` to what holds now."""
        metrics, now = self._metrics, time.time()
        # What the configuration has no more must not stay at its last value.
        of_windows = (metrics.window_messages_left, metrics.window_seconds_left, metrics.not_shown)
        for gauge in (
            metrics.backlog, metrics.backlog_oldest, metrics.channel_state, metrics.pace_left, *of_windows
        ):  # fmt: skip
            gauge.clear()
        for name in (target for lane in self._lanes.lanes for target in lane.targets):
            metrics.backlog.labels(name).set(0)
            metrics.backlog_oldest.labels(name).set(0)
            for outcome in _OUTCOMES:
                # A counter that first appears at 1 is no increase to Prometheus.
                metrics.messages.labels(name, outcome)
        try:
            for each in await self._outbox.count_backlog():
                metrics.backlog.labels(each.target).set(each.waiting)
                metrics.backlog_oldest.labels(each.target).set(max(0.0, now - each.oldest_at))
        except StorageError:
            log.warning("the backlog cannot be counted now")
        self._show_leader()
        metrics.database_up.set(await self.is_database_well())
        for name, status in self._channels.statuses().items():
            for state in ChannelState:
                metrics.channel_state.labels(name, state.value).set(status.state is state)
        self._show_windows()
        for lane, windows in self._lanes.budgets().items():
            for window, left in windows.items():
                metrics.pace_left.labels(lane, window).set(left)

    def _show_windows(self) -> None:
        """Set the gauges of channels that may send little until they are written to."""
        for lane in self._lanes.lanes:
            if isinstance(lane.channel, WindowedChannel):
                window = lane.channel.describe_window()
                self._metrics.window_messages_left.labels(lane.name).set(window.messages_left)
                self._metrics.window_seconds_left.labels(lane.name).set(window.seconds_left)
                self._metrics.not_shown.labels(lane.name).set(window.not_shown)

    def _show_leader(self) -> None:
        self._metrics.leader.set(self._leadership.is_leading)
        self._metrics.leader_since.clear()
        if leader := self._leadership.leader:
            self._metrics.leader_since.labels(leader.name).set(leader.since)
