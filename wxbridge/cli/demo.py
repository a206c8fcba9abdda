"""`demo`: the bridge against the simulator that ships with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from wxbridge.cli import demo_setup
from wxbridge.cli.common import WRONG_USAGE, ConfigOption, fail, say
from wxbridge.cli.demo_setup import DemoSetup
from wxbridge.cli.service import LogFormatOption, LogLevelOption, read_log_options
from wxbridge.cli.serving import begin_service, start, stop_signals
from wxbridge.config.schema import Config
from wxbridge.config.server import LOOPBACK, ServerSettings
from wxbridge.core import logging
from wxbridge.core.errors import AddressTaken


def demo(
    config: ConfigOption = None,
    listen: Annotated[str | None, typer.Option(metavar="HOST:PORT")] = None,
    auto_scan: Annotated[bool, typer.Option("--auto-scan")] = False,  # noqa: FBT002
    page_port: Annotated[int, typer.Option(min=0, max=65535)] = 8789,
    gateway_port: Annotated[int, typer.Option(min=0, max=65535)] = 8788,
    channel: str = "wechat",
    log_format: LogFormatOption = "auto",
    log_level: LogLevelOption = "info",
) -> None:
    """Run the bridge against the simulator that ships with it. A real gateway is never touched."""
    if channel not in ("wechat", "ilink"):
        raise fail(f"--channel {channel}: it is `wechat` or `ilink`", WRONG_USAGE)
    if listen is not None:
        _check_listen(listen)
    begin_service(read_log_options(log_format, log_level))
    setup = DemoSetup(channel, listen, gateway_port, page_port, demo_setup.read_environment(), os.getpid())
    asyncio.run(_serve(config, setup, auto_scan=auto_scan))


def _check_listen(listen: str) -> None:
    token = os.environ.get("WXBRIDGE_TOKEN")
    try:
        server = ServerSettings.model_validate({"listen": listen, "token": token or "any"})
    except ValidationError:
        raise fail(f"--listen {listen}: that is no address; write one like 127.0.0.1:8080", WRONG_USAGE) from None
    if server.host not in LOOPBACK and not token:
        raise fail(
            f"--listen {listen} without a token would let anybody in: set WXBRIDGE_TOKEN, or listen on 127.0.0.1",
            WRONG_USAGE,
        )


async def _serve(path: Path | None, setup: DemoSetup, *, auto_scan: bool) -> None:
    settings = setup.configure(path)
    logging.speak(settings.reader_language)
    stop = stop_signals()
    async with AsyncExitStack() as stack:
        if setup.channel == "ilink":
            from wxbridge.cli import ilink_demo

            page, page_port = await ilink_demo.start(stack, setup.page_port, auto_scan=auto_scan)
            known = replace(setup, page_port=page_port)
            lines = [f"phone          {page}/"]
            log_in = "log in         open the phone, scan, confirm, and write any word"
        else:
            simulator = await _start_simulator(stack, setup, settings, auto_scan=auto_scan)
            known = replace(setup, gateway_port=simulator.gateway_port, page_port=simulator.page_port)
            lines = [f"chat page      {simulator.url}/"]
            log_in = "log in         open the chat page and confirm the scan there"

        def load() -> Config:
            return known.configure(path)

        settings = load()
        try:
            bridge = await start(stack, settings, load, stop)
        except AddressTaken as error:
            raise fail(f"{error.what}; free the port, or choose another with --listen HOST:PORT") from None
        if bridge is None:
            return
        demo_setup.record(settings.state_dir, known)
        # As it is called from the folder it was started in, for somebody to copy.
        program = "wxbridge" if shutil.which("wxbridge") else sys.argv[0]
        lines += [f"bridge         {bridge.url}/", f"an alert       {program} alert test   (in another shell)"]
        for line in [*lines, *([] if auto_scan else [log_in])]:
            say(line)
        await stop.wait()


async def _start_simulator(stack: AsyncExitStack, setup: DemoSetup, settings: Config, *, auto_scan: bool) -> Any:
    """Start the pretend WeChat, with the rooms and contacts that the file names; what the bot sends is printed."""
    from wxbridge import parts
    from wxbridge.simulator import DEFAULT_TOKEN, PortTakenError, Simulator

    targets = parts.all_targets(settings).values()
    rooms = [name for target in targets if (name := getattr(target, "room", None))]
    contacts = [name for target in targets if (name := getattr(target, "contact", None))]

    def tell(message: Any) -> None:
        what = message.text or f"[{message.kind.value} {message.media.name if message.media else ''}]"
        print(f"[WeChat] {simulator.world.conversation_name(message)}: {what}", flush=True)  # noqa: T201

    simulator = Simulator(
        token=DEFAULT_TOKEN, gateway_port=setup.gateway_port, page_port=setup.page_port,
        rooms=rooms, contacts=contacts, auto_scan=auto_scan, on_message=tell,
    )  # fmt: skip
    try:
        await simulator.start()
    except PortTakenError as error:
        raise fail(str(error)) from None
    stack.push_async_callback(simulator.stop)
    return simulator
