"""The channel `console`: prints on standard output; for trying, and as a fallback that a terminal shows."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.config.types import TargetSettings
from wxbridge.core.model import (
    Capabilities,
    Channel,
    ChannelState,
    ChannelStatus,
    OnInbound,
    OnStatus,
    Outgoing,
    Receipt,
    Text,
)

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
        print(f"[wxbridge] {called}{text}", file=self._out or sys.stdout, flush=True)
        return Receipt(f"console-{self._sent}")


def _create(context: ChannelContext) -> Channel:  # noqa: ARG001 - it needs nothing
    return ConsoleChannel()


PLUGIN = ChannelPlugin(target=ConsoleTarget, create=_create, capabilities=CAPABILITIES)
