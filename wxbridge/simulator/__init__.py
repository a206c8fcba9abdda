"""The WeChat that ships with wxbridge: a Wechaty gateway to connect to and a page to look at and talk in."""

from __future__ import annotations

from wxbridge.simulator.simulator import DEFAULT_TOKEN, PortTakenError, Simulator, serve
from wxbridge.simulator.world import MessageKind, SimulatedFile, SimulatedMessage

__all__ = [
    "DEFAULT_TOKEN",
    "MessageKind",
    "PortTakenError",
    "SimulatedFile",
    "SimulatedMessage",
    "Simulator",
    "serve",
]
