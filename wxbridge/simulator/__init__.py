"""The WeChat that ships with wxbridge: a Wechaty gateway to connect to and a page to look at and talk in."""

from __future__ import annotations

from wxbridge.simulator.simulator import DEFAULT_TOKEN, PortTakenError, Simulator, serve
from wxbridge.simulator.world import (
    LoginState,
    MessageKind,
    SimulatedContact,
    SimulatedFile,
    SimulatedMessage,
    SimulatedRoom,
    World,
    WorldError,
)

__all__ = [
    "DEFAULT_TOKEN",
    "LoginState",
    "MessageKind",
    "PortTakenError",
    "SimulatedContact",
    "SimulatedFile",
    "SimulatedMessage",
    "SimulatedRoom",
    "Simulator",
    "World",
    "WorldError",
    "serve",
]
