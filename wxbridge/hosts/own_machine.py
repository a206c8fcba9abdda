"""Measuring this machine in threads: a sensor may hang, such as on a disk that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from wxbridge.config.hosts import HostSettings
from wxbridge.hosts.timed_calls import begin_call
from wxbridge.hosts.warnings import Busiest


class HostSensor(Protocol):
    """What measures this machine; see `sensors.Sensors`."""

    def sample(self) -> dict[str, float]:
        """Measure, in a thread."""

    def about(self) -> dict[str, float | str]:
        """What does not change."""


def _import_sensors() -> Any:
    from wxbridge.hosts import sensors  # brings psutil

    return sensors


def sensors_of(settings: HostSettings) -> HostSensor:
    """What measures this machine, as configured."""
    own: HostSensor = _import_sensors().Sensors(settings.disks, skipped=settings.skip_sensors)
    return own


def busiest_processes() -> Busiest:
    """The processes that use most; see `sensors.busiest`."""
    busiest: Busiest = _import_sensors().busiest()
    return busiest


def start_sensors(
    make: Callable[[HostSettings], HostSensor], settings: HostSettings
) -> tuple[HostSensor, dict[str, float | str]]:
    """Make sensors, and have them measure once, since rates are differences; gives also what does not change."""
    sensors = make(settings)
    sensors.sample()
    return sensors, sensors.about()


def in_thread(work: Callable[[], Any]) -> asyncio.Future[Any]:
    """Run something in a thread of its own, which the end of the process does not wait for."""
    return asyncio.wrap_future(begin_call(work, "sensors"))
