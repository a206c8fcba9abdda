"""The commands: each is a function, and a line here. Their words and help stand in the catalogue of texts.

A function's module is imported when somebody asks for the command.
"""

from __future__ import annotations

import importlib
from functools import partial

from wxbridge.bot.command import Command, CommandKind, Permission, Reply

_COMMANDS = (
    ("graphs", "graphs:list_graphs", Permission.EVERYONE),
    ("graph", "graphs:show_graph", Permission.EVERYONE),
    ("promql", "promql:show_chart", Permission.PROMQL),
    ("alerts", "alerts:list_alerts", Permission.EVERYONE),
    ("silence", "alerts:silence", Permission.ADMINS),
    ("unsilence", "alerts:unsilence", Permission.ADMINS),
    ("silences", "alerts:list_silences", Permission.EVERYONE),
    ("ack", "alerts:acknowledge", Permission.EVERYONE),
    ("jobs", "jobs:list_jobs", Permission.EVERYONE),
    ("run", "jobs:run", Permission.ADMINS),
    ("mute", "jobs:mute", Permission.ADMINS),
    ("unmute", "jobs:unmute", Permission.ADMINS),
    ("status", "status:show_status", Permission.EVERYONE),
    ("host", "host:show_host", Permission.EVERYONE),
)
"""In the order in which `help` lists them: a name, `MODULE:FUNCTION` in this package, and who may."""


def list_command_kinds() -> list[CommandKind]:
    """List the commands that every bridge has, besides `help`, `whoami` and `here`."""
    return [CommandKind.from_catalogue(name, partial(_run, place), permission) for name, place, permission in _COMMANDS]


async def _run(place: str, command: Command) -> Reply | str:
    module, _, function = place.partition(":")
    reply: Reply | str = await getattr(importlib.import_module(f"{__name__}.{module}"), function)(command)
    return reply
