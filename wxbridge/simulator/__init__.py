"""The WeChat that ships with wxbridge: a Wechaty gateway to connect to and a page to look at and talk in."""

from __future__ import annotations

from wxbridge.simulator.simulator import DEFAULT_TOKEN, Simulator, serve
from wxbridge.simulator.world import Contact, LoginState, Media, Message, MessageKind, Room, World, WorldError

__all__ = [
    "DEFAULT_TOKEN",
    "Contact",
    "LoginState",
    "Media",
    "Message",
    "MessageKind",
    "Room",
    "Simulator",
    "World",
    "WorldError",
    "serve",
]
