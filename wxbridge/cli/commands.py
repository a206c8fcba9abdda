"""`wxbridge`: the commands by name."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import wxbridge
from wxbridge.cli import (
    alerts,
    chart,
    doctor,
    host,
    jobs,
    outbox,
    people,
    pictures,
    routes,
    service,
    silences,
    templates,
)
from wxbridge.cli.common import FAILED, WRONG_USAGE, print_problems, say
from wxbridge.core.errors import ConfigError, WxbridgeError

app = typer.Typer(
    name="wxbridge",
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


for _command in (
    service.run,
    service.demo,
    service.check,
    service.status,
    doctor.doctor,
    people.rooms,
    people.contacts,
    alerts.send,
    pictures.render,
    chart.chart,
    host.host,
    service.simulator,
    service.schema,
):
    app.command()(_command)
app.add_typer(alerts.alert, name="alert")
app.add_typer(routes.routes, name="routes")
app.add_typer(silences.app, name="silences")
app.add_typer(templates.app, name="template")
app.add_typer(jobs.app, name="jobs")
app.add_typer(outbox.app, name="outbox")


def main() -> None:
    """Run a command; errors become a sentence and an exit code: 1 failed, 2 wrong configuration or usage."""
    try:
        app()
    except ConfigError as error:
        print_problems(error)
        sys.exit(WRONG_USAGE)
    except WxbridgeError as error:
        say(f"wxbridge: {error}")
        sys.exit(FAILED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing to say, nobody to say it to
        sys.exit(FAILED)
