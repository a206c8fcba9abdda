"""The channel `console`: prints on standard output; for trying, and as a fallback that a terminal shows."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from wxbridge.channels import ChannelPlugin
from wxbridge.config.types import TargetSettings
from wxbridge.core.errors import Transient, Unknown
from wxbridge.core.model import (
    Capabilities,
    ChannelState,
    ChannelStatus,
    OnInbound,
    OnStatus,
    Outgoing,
    Receipt,
    Text,
)
from wxbridge.core.output import BackgroundOutput

MAX_SECONDS_UNREAD = 2.0
"""For which a message may wait to be read."""
CAPABILITIES = Capabilities(text_limit=100_000)


class ConsoleTarget(TargetSettings):
    """The terminal."""

    channel: Literal["console"] = "console"

    def chat_key(self) -> str:
        """There is one terminal."""
        return "console"


class ConsoleChannel:
    """Writes every message to a stream; always online."""

    capabilities = CAPABILITIES

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._status = ChannelStatus(ChannelState.ONLINE, datetime.now(UTC))
        self._sent = 0

    @property
    def status(self) -> ChannelStatus:
        """Online, since the start."""
        return self._status

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:  # noqa: ARG002 - nobody writes back
        """Say that it is up, and stay until cancelled."""
        on_status(self._status)
        await asyncio.Event().wait()

    async def send(self, address: object, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:  # noqa: ARG002
        """Print it; a picture as its path."""
        self._sent += 1
        text = body.text if isinstance(body, Text) else f"[picture {body.name}: {body.path}]"
        called = "".join(f"@{name} " for name in mentions)
        await _print_line(f"[wxbridge] {called}{text}", self._out or sys.stdout)
        return Receipt(f"console-{self._sent}")


async def _print_line(line: str, out: TextIO) -> None:
    """Print a line; of a service's output, wait until it is out.

    Raises:
        Transient: it was not taken.
        Unknown: it still waits.
    """
    dropped = out.dropped_lines if isinstance(out, BackgroundOutput) else 0
    print(line, file=out, flush=True)
    if not isinstance(out, BackgroundOutput):
        return
    if not await asyncio.to_thread(out.drain, MAX_SECONDS_UNREAD):
        raise Unknown("nobody reads standard output")
    if out.dropped_lines > dropped:
        raise Transient("standard output takes nothing: its reader is gone, or its disk is full")


PLUGIN = ChannelPlugin(
    target=ConsoleTarget, create=lambda _context: ConsoleChannel(), capabilities=CAPABILITIES, people="wechat"
)
