"""`wxbridge`: the commands by name. The module of a command is imported when that command is called."""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

import wxbridge
from wxbridge.cli.common import FAILED, WRONG_USAGE, print_problems, say
from wxbridge.core.errors import ConfigError, WxbridgeError

COMMANDS = {
    "run": (
        "service:run",
        "Run the bridge until SIGTERM or Ctrl-C. A changed configuration is taken over; SIGHUP has it read at once.",
    ),
    "demo": (
        "demo:demo",
        "Run the bridge against the simulator that ships with it. A real gateway is never touched.",
    ),
    "init": (
        "init:init",
        "Write a first jobs.yaml, by a few questions or by options. One that is there stays as it is.",
    ),
    "check": ("service:check", "Check the configuration; says everything that is wrong, each with its line."),
    "status": (
        "service:status",
        "Tell how the bridge is: running or not, each channel's state, what waits. Exit code 1 where it is not well.",
    ),
    "doctor": (
        "doctor:doctor",
        "Look at all that the bridge needs: state directory, gateway, rooms, Grafana, Prometheus, browser, font.",
    ),
    "rooms": ("people:rooms", "List the rooms that the account is in, with their ids."),
    "contacts": ("people:contacts", "List the account's contacts, with their ids."),
    "login": ("login:login", "Have a person scan a QR code, so that the bridge may write to them in personal WeChat."),
    "send": (
        "alerts:send",
        "Send a text, a picture, or both, through the outbox, and wait until the bridge has delivered it.",
    ),
    "sendmail": (
        "sendmail:sendmail",
        "Hand a mail on standard input to the bridge, in the place of `/usr/sbin/sendmail -t`.",
    ),
    "render": (
        "pictures:render",
        "Take a screenshot of a page, whole, once it has settled. Works without a configuration file.",
    ),
    "chart": (
        "chart:chart",
        "Draw the chart that an alert would bring. Without a configuration file: `--prometheus`, or `--explain`.",
    ),
    "host": (
        "host:host",
        "Show how the machines are that the bridge watches; without a configuration, how this one is.",
    ),
    "simulator": (
        "service:simulator",
        "Run the WeChat that ships with wxbridge: a gateway, and a page to look at and to talk in.",
    ),
    "schema": ("service:schema", "Print the JSON Schema of jobs.yaml, for editors."),
    "alerts": (
        "alerts:alerts",
        "List what fires, the worst first: in Alertmanager, in Grafana, and of what was posted here.",
    ),
    "alert": ("alerts:alert", "Test alerts."),
    "routes": ("routes:routes", "Where alerts go."),
    "silences": ("silences:app", "What is to be quiet for a while."),
    "template": ("templates:app", "Templates of what people read."),
    "jobs": ("jobs:app", "Scheduled jobs."),
    "outbox": ("outbox:app", "Messages: queued, sent, dead."),
    "token": (
        "token:token",
        "Make a token and its hash for server.tokens: the hash goes into jobs.yaml, the token to its owner.",
    ),
    "backup": (
        "backup:backup",
        "Copy the state into one file, also while the bridge runs: the database and the pictures.",
    ),
    "restore": (
        "backup:restore",
        "Take a backup back into a state directory that is empty; messages keep their ids and states.",
    ),
    "migrate": (
        "migrate:migrate",
        "Move a state from SQLite to PostgreSQL, with its pictures. Stop the bridge before; the old state stays.",
    ),
}
"""By name: where the command stands (`MODULE:ATTRIBUTE` below wxbridge.cli; a function, or a `Typer` of several), and
what the list of commands says of it."""
SENDMAIL = "sendmail"
"""The command whose options are another program's; called by its name alone, the program is it."""


INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""


def load_command(name: str) -> Any:
    """Import a command, as what typer makes of it."""
    from wxbridge.core import logging  # noqa: F401 - before anything else imports structlog

    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(importlib.import_module(f"wxbridge.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
    else:
        single = typer.Typer(add_completion=False)
        # Its options are for itself to read: none of them is typer's.
        own = {"ignore_unknown_options": True, "allow_extra_args": True} if name == SENDMAIL else None
        single.command(context_settings=own)(found)
        command = get_command(single)
    command.name = name
    return command


class _CommandList(TyperGroup):
    """The commands as the list of them shows them; the one that is called is loaded."""

    def __init__(self, **options: Any) -> None:
        listed = {name: TyperCommand(name, help=about) for name, (_, about) in COMMANDS.items()}
        super().__init__(**{**options, "commands": listed})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the words begin with."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name else None, rest


app = typer.Typer(
    name="wxbridge",
    cls=_CommandList,
    help="Carries what a team's monitoring sees into WeChat, and answers there.",
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
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,  # noqa: FBT002
) -> None:
    """Carries what a team's monitoring sees into WeChat, and answers there."""


def main() -> None:
    """Run a command; errors become a sentence and an exit code: 1 failed, 2 wrong configuration or usage."""
    if Path(sys.argv[0]).name == SENDMAIL:
        sys.argv.insert(1, SENDMAIL)
    for stream in (sys.stdout, sys.stderr):
        # A terminal of GBK, or of no encoding that there is, has not every sign.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except ConfigError as error:
        print_problems(error)
        sys.exit(WRONG_USAGE)
    except WxbridgeError as error:
        say(f"wxbridge: {error}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing to say, nobody to say it to
        sys.exit(FAILED)
    except OSError as error:
        # No right, a read-only or full disk: where it was is all that helps.
        say(f"wxbridge: {error.filename or 'the system'}: {error.strerror or error}")
        sys.exit(FAILED)
