"""`wxbridge`: the commands by name. The module of a command is imported when that command is called."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command, get_group

import wxbridge
from wxbridge.cli.help_texts import CommandSet, TranslatedCommand, TranslatedGroup, describe, translated_mistakes

COMMANDS = {
    "run": "service:run",
    "demo": "demo:demo",
    "init": "init:init",
    "check": "service:check",
    "status": "service:status",
    "doctor": "doctor:doctor",
    "rooms": "people:rooms",
    "contacts": "people:contacts",
    "login": "login:login",
    "send": "alerts:send",
    "sendmail": "sendmail:sendmail",
    "render": "pictures:render",
    "chart": "chart:chart",
    "host": "host:host",
    "simulator": "service:simulator",
    "schema": "service:schema",
    "alerts": "alerts:alerts",
    "alert": "alerts:alert",
    "routes": "routes:routes",
    "silences": "silences:app",
    "template": "templates:app",
    "jobs": "jobs:app",
    "outbox": "outbox:app",
    "token": "token:token",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "migrate": "migrate:migrate",
}
"""By name: where the command stands (`MODULE:ATTRIBUTE` below wxbridge.cli; a function, or a `CommandSet`)."""
SENDMAIL = "sendmail"
"""The command whose options are another program's; called by its name alone, the program is it."""


def load_command(name: str) -> Any:
    """Import a command, as what typer makes of it."""
    from wxbridge.core import logging  # noqa: F401 - before anything else imports structlog

    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(importlib.import_module(f"wxbridge.cli.{module}"), attribute)
    if isinstance(found, CommandSet):
        command: Any = get_group(found)
    else:
        single = CommandSet(add_completion=False)
        # Its options are for itself to read: none of them is typer's.
        own = {"ignore_unknown_options": True, "allow_extra_args": True} if name == SENDMAIL else None
        single.command(context_settings=own)(found)
        command = get_command(single)
    command.name = name
    describe(command, f"{name}.")
    return command


class _CommandList(TranslatedGroup):
    """The commands as the list of them shows them; the one that is called is loaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "commands": {name: TranslatedCommand(name) for name in COMMANDS}})

    def make_context(self, *words: Any, **options: Any) -> Any:
        """Read what stands before the command."""
        # Not before: typer adds its own options last.
        describe(self)
        with translated_mistakes():
            return super().make_context(*words, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is called."""
        with translated_mistakes():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the words begin with."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name else None, rest


app = typer.Typer(
    name="wxbridge",
    cls=_CommandList,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        print(wxbridge.__version__)  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,  # noqa: FBT002
) -> None:
    """Carries what a team's monitoring sees into WeChat, and answers there."""


def main() -> None:
    """Run the command that the words name."""
    if Path(sys.argv[0]).name == SENDMAIL:
        sys.argv.insert(1, SENDMAIL)
    app()
