"""`host`: the figures of machines now; `host --push URL`: the sampler alone."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wxbridge.cli.common import (
    ConfigOption,
    JsonOption,
    fail,
    plain,
    print_json,
    say,
    with_database,
)
from wxbridge.cli.reader import reader_language
from wxbridge.config.types import parse_duration
from wxbridge.core import logging
from wxbridge.core.output import write_in_background

if TYPE_CHECKING:
    from wxbridge.hosts.samples import Host

_STOP = (signal.SIGTERM, signal.SIGINT)
BETWEEN = 1.0
"""Seconds between the two samples that are taken where no bridge measures."""
_PERIOD = 900.0
"""Seconds that are told of what a bridge has measured."""


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not 1 <= seconds <= 600:  # noqa: PLR2004 - as in the settings
        raise typer.BadParameter("from 1s to 10m")
    return seconds


def host(  # noqa: PLR0913, PLR0917 - each by its name
    name: Annotated[str | None, typer.Argument()] = None,
    push: Annotated[str | None, typer.Option(metavar="URL")] = None,
    token: Annotated[str | None, typer.Option(envvar="WXBRIDGE_TOKEN", show_envvar=True)] = None,
    called: Annotated[str | None, typer.Option("--name")] = None,
    every: str = "10s",
    skip_sensor: Annotated[list[str] | None, typer.Option(metavar="NAME")] = None,
    disk: Annotated[list[str] | None, typer.Option(metavar="MOUNT")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Show how the machines are that the bridge watches; without a configuration, how this one is."""
    if push is not None:
        write_in_background()
    logging.configure("auto", "info" if push else "warning")
    options = {"disks": tuple(disk or ()), "skipped": tuple(skip_sensor or ())}
    if push is not None:
        _push(push, token, called, _seconds(every), options)
        return
    watched = _kept(config)
    if watched is None or (not watched and name is None):
        found = [_measured(options)]
        if name is not None and name != found[0].name:
            raise fail(f"no bridge watches {name!r} here: its jobs.yaml has no `host:` section, or there is none", 2)
    else:
        found = [each for each in watched if name is None or each.name == name]
        if not found:
            raise fail(f"no machine is called {name!r}; there are {', '.join(each.name for each in watched)}", 2)
    _show(found, config, as_json=as_json)


def _push(url: str, token: str | None, name: str | None, every: float, options: Mapping[str, Any]) -> None:
    from wxbridge.config.hosts import host_name, safe_name

    try:
        called = host_name(name) if name is not None else safe_name(socket.gethostname())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--name") from None
    asyncio.run(_pushing(url, token, called, every, options))


async def _pushing(url: str, token: str | None, name: str, every: float, options: Mapping[str, Any]) -> None:
    import aiohttp

    from wxbridge.hosts.push import Pusher, hook_url, poster
    from wxbridge.hosts.sensors import Sensors

    hook = hook_url(url)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in one

    def stop() -> None:
        for number in _STOP:
            # A second one must not interrupt the end that the first has begun, nor what comes after the loop.
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        task.cancel()

    for number in _STOP:
        loop.add_signal_handler(number, stop)
    say(f"{name}: measuring every {every:g} s, posting to {hook.partition('?')[0]}")
    async with aiohttp.ClientSession() as session:
        with suppress(asyncio.CancelledError):
            await Pusher(name, every, Sensors(**options), poster(session, hook, token)).run()


def _kept(config: Path | None) -> list[Host] | None:
    """What the bridge has measured; None where there is no configuration with `host:`."""
    from wxbridge.cli import demo_setup

    if getattr(demo_setup.find_config(config), "host", None) is None:
        return None
    from wxbridge.hosts import store

    return with_database(config, lambda _, database: database.read(lambda c: store.read_hosts(c, time.time())))


def _measured(options: Mapping[str, Any]) -> Host:
    """This machine, by two samples."""
    from wxbridge.config.hosts import safe_name
    from wxbridge.hosts.samples import Host, Sample, make_history
    from wxbridge.hosts.sensors import Sensors

    sensors = Sensors(**options)
    sensors.sample()
    time.sleep(BETWEEN)
    sample = Sample(time.time(), sensors.sample())
    return Host(safe_name(socket.gethostname()), make_history([sample], BETWEEN), sensors.about())


def _show(found: list[Host], config: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json([_plain(each) for each in found])
        return
    from wxbridge.cli import demo_setup
    from wxbridge.hosts import figures

    settings = demo_setup.find_config(config)
    zone = settings.timezone if settings else datetime.now().astimezone().tzinfo
    assert zone is not None  # noqa: S101 - a local time has one
    texts = []
    for each in found:
        last = each.history.last
        end = time.time()
        # A machine of one sample is told by it, however long ago a busy processor took that.
        start = end - _PERIOD if last is None or len(each.history.raw.at) > 1 else last.at
        lines = figures.describe_host(each, start, end, settings.language if settings else reader_language(), zone)
        texts.append(plain("\n".join(lines)))
    print("\n\n".join(texts))  # noqa: T201


def _plain(host: Host) -> dict[str, Any]:
    last = host.history.last
    return {
        "name": host.name,
        "at": last.at if last else None,
        "figures": {name: round(value, 2) for name, value in last.figures.items()} if last else {},
        "about": dict(host.about),
        "silent_since": host.silent_since,
    }
