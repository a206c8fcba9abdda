"""Notifies systemd of this process: ready, reloading, stopping, alive (sd_notify(3)); nothing without its socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

log = structlog.get_logger()


def notify_systemd(state: str, address: str) -> None:
    """Send systemd a state, such as `READY=1`; nothing where there is no `address` ($NOTIFY_SOCKET).

    It never waits and never fails: what systemd cannot take now is logged and left out.
    """
    if not address:
        return
    # An @ stands for the zero byte of Linux' abstract sockets.
    path = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.settimeout(0)
            speaker.connect(path)
            speaker.send(state.encode())
    except OSError as error:
        log.warning("systemd could not be told", state=state, error=str(error))


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Read within how many seconds systemd wants to hear from this process; None where it does not ask."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None


@contextmanager
def announced_to_systemd(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Notify systemd that the service is ready, and in the end that it stops."""
    address = environment.get("NOTIFY_SOCKET", "")
    notify_systemd("READY=1", address)
    try:
        yield
    finally:
        notify_systemd("STOPPING=1", address)


@contextmanager
def reload_announced() -> Iterator[None]:
    """Notify systemd that a configuration is being loaded, and that it was (systemd.service(5), `notify-reload`)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", address)
    try:
        yield
    finally:
        notify_systemd("READY=1", address)
