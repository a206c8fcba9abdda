"""A process that serves until it is told to stop: the bridge, the simulator. It needs nothing of the command line."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wxbridge.cli.exits import say
from wxbridge.cli.settings import read_config
from wxbridge.core import logging
from wxbridge.core.memory import return_large_blocks
from wxbridge.core.output import write_in_background

if TYPE_CHECKING:
    from wxbridge.app import App
    from wxbridge.config.schema import Config
    from wxbridge.web.services import SampleBody


@dataclass(frozen=True)
class LogOptions:
    """What `--log-format` and `--log-level` say; whether that is allowed tells `are_known`."""

    format: str = "auto"
    level: str = "info"

    def are_known(self) -> bool:
        """Tell whether there are such a format and such a level."""
        return self.format in ("auto", "text", "json") and self.level in ("debug", "info", "warning", "error")


def read_run_options(words: Sequence[str]) -> tuple[Path | None, LogOptions] | None:
    """Read the words of a plain `run [-c FILE] [--log-format F] [--log-level L]`.

    None for all else, such as `--help` and what is wrong: the command line knows what to say. A bridge that is started
    without it has 3 MB and a twentieth of its start less to carry.
    """
    if words[:1] != ["run"] or len(words) % 2 == 0:
        return None
    path, options = None, LogOptions()
    for name, value in zip(words[1::2], words[2::2], strict=True):
        if value.startswith("-") or not value:
            return None
        if name in ("-c", "--config"):
            path = Path(value)
        elif name == "--log-format":
            options = replace(options, format=value)
        elif name == "--log-level":
            options = replace(options, level=value)
        else:
            return None
    return (path, options) if options.are_known() else None


def begin_service(options: LogOptions) -> None:
    """Have a process be a service: its log, and its outputs."""
    from wxbridge.core import lean_http  # noqa: F401 - before a channel imports aiohttp

    return_large_blocks()
    write_in_background()
    logging.configure(options.format, options.level, is_final=True)  # type: ignore[arg-type]


def stop_signals() -> asyncio.Event:
    """Give what is set by SIGTERM and by Ctrl-C."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # Ctrl-C ends the browser's driver as well, which it then complains of to nobody in particular.
        if not stop.is_set():
            loop.default_exception_handler(context)

    loop.set_exception_handler(complain)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _on_hangup(act: Callable[[], None]) -> None:
    """Say what SIGHUP does, which by default would end the bridge, also while it starts."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, act)


def run_bridge(path: Path | None, options: LogOptions) -> None:
    """Run the bridge of a configuration file until it is told to stop. Raises `WxbridgeError` where it cannot start."""
    begin_service(options)
    settings = read_config(path)
    logging.speak(settings.reader_language)
    asyncio.run(_run(settings, lambda: read_config(path)))


async def _run(settings: Config, load: Callable[[], Config]) -> None:
    stop = stop_signals()
    async with AsyncExitStack() as stack:
        if await start(stack, settings, load, stop):
            await stop.wait()
        say("stopping")


def _load_samples() -> Mapping[str, SampleBody]:
    from wxbridge.cli import sample_alerts  # brings PIL

    return sample_alerts.SAMPLES


async def start(stack: AsyncExitStack, settings: Config, load: Callable[[], Config], stop: asyncio.Event) -> App | None:
    """Start a bridge; None where it was told to stop before it could, as a start waits for a disk that is full."""
    from wxbridge import app

    _on_hangup(lambda: None)
    starting = asyncio.create_task(stack.enter_async_context(app.running(settings, load, samples=_load_samples)))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        return None
    bridge = starting.result()
    _on_hangup(bridge.reloader.ask)
    return bridge
