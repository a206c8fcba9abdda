"""Small fakes for tests, shipped so that plug-ins can be tested against the same ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from wxbridge.core.model import (
    Capabilities,
    ChannelState,
    ChannelStatus,
    OnInbound,
    OnStatus,
    Outgoing,
    PictureFile,
    Receipt,
    Text,
)


@dataclass
class FakeClock:
    """A clock that moves when it is told to. Both faces show the same seconds unless `jump` parts them."""

    wall_now: float = 1_800_000_000.0
    monotonic_now: float = 1000.0
    slept: float = 0.0

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self.wall_now

    def monotonic(self) -> float:
        """Seconds since whenever."""
        return self.monotonic_now

    def boot(self) -> float:
        """Seconds since the machine started."""
        return self.monotonic_now + self.slept

    def sleep(self, seconds: float) -> None:
        """Let the machine sleep: time passes, and the monotonic clock does not notice."""
        self.wall_now += seconds
        self.slept += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_now += seconds
        self.monotonic_now += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP would; the monotonic one does not notice."""
        self.wall_now += seconds


@dataclass
class FakeChannel:
    """A channel that keeps what it is sent.

    `faults` are raised by the next sends, one each, None for none; `faults_of` likewise for one address.
    """

    capabilities: Capabilities = field(default_factory=lambda: Capabilities(text_limit=2000))
    state: ChannelState = ChannelState.ONLINE
    sent: list[tuple[Any, str]] = field(default_factory=list)
    """Address, and the text or the picture's name."""
    tried: list[tuple[Any, str]] = field(default_factory=list)
    """Like `sent`, with the attempts that failed."""
    faults: list[BaseException | None] = field(default_factory=list)
    faults_of: dict[Any, list[BaseException | None]] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    """Where set, sends wait for it."""
    gates: dict[Any, asyncio.Event] = field(default_factory=dict)
    """The same for one address each."""

    @property
    def status(self) -> ChannelStatus:
        """The state, as of now."""
        return ChannelStatus(self.state, datetime.now(UTC))

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:  # noqa: ARG002 - the protocol's
        """Say that it is up, and stay."""
        on_status(self.status)
        await asyncio.Event().wait()

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:  # noqa: ARG002
        """Keep the message, or raise the next fault."""
        what = body.text if isinstance(body, Text) else _name(body)
        self.tried.append((address, what))
        for gate in (self.gate, self.gates.get(address)):
            if gate:
                await gate.wait()
        faults = self.faults_of.get(address) or self.faults
        fault = faults.pop(0) if faults else None
        if fault:
            raise fault
        self.sent.append((address, what))
        return Receipt(f"fake-{len(self.sent)}")

    @property
    def texts(self) -> list[str]:
        """What was sent, without the addresses."""
        return [what for _, what in self.sent]

    def to(self, address: Any) -> list[str]:
        """What was sent to one address."""
        return [what for where, what in self.sent if where == address]


def _name(body: PictureFile) -> str:
    return f"[{body.name}]"
