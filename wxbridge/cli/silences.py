"""`silences list|add|expire`: what is to be quiet for a while."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from wxbridge.alerts import silences as table
from wxbridge.alerts.silences import Silence
from wxbridge.cli.common import (
    FAILED,
    WRONG_USAGE,
    ConfigOption,
    JsonOption,
    fail,
    local,
    record,
    say,
    show,
    who,
    with_database,
)
from wxbridge.cli.help_texts import CommandSet
from wxbridge.config.schema import Config
from wxbridge.config.types import parse_duration
from wxbridge.core.audit import AuditAction
from wxbridge.core.database import Database
from wxbridge.core.matchers import parse_matchers

app = CommandSet(invoke_without_command=True)

AllOption = Annotated[bool, typer.Option("--all")]


def _row(silence: Silence, config: Config, now: float) -> dict[str, Any]:
    return {
        "id": silence.id,
        "state": silence.state(now),
        "matchers": [str(matcher) for matcher in silence.matchers],
        "starts": local(silence.starts_at, config),
        "ends": local(silence.ends_at, config),
        "by": silence.created_by,
        "comment": silence.comment,
        "created": local(silence.created_at, config),
    }


@app.callback()
def _default(
    context: typer.Context,
    config: ConfigOption = None,
    everything: AllOption = False,  # noqa: FBT002
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """List, make and end silences. Alone it lists them."""
    if context.invoked_subcommand is None:
        list_(config, everything, as_json)
        return
    given = {"config": config, "everything": everything, "as_json": as_json}
    context.default_map = {context.invoked_subcommand: {name: value for name, value in given.items() if value}}
    if context.invoked_subcommand != "list" and (everything or as_json):
        raise typer.BadParameter(f"{'--all' if everything else '--json'} belongs to `silences list`")


@app.command("list")
def list_(
    config: ConfigOption = None,
    everything: AllOption = False,  # noqa: FBT002
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """List the silences, those that end first at the top."""

    async def work(settings: Config, database: Database) -> list[dict[str, Any]]:
        now = time.time()
        found = await database.read(lambda c: table.list_silences(c, now=now, expired=everything))
        return [_row(silence, settings, now) for silence in found]

    rows = with_database(config, work)
    if not as_json:
        rows = [row | {"matchers": ", ".join(row["matchers"])} for row in rows]
    columns = ("id", "state", "matchers", "starts", "ends", "by", "comment")
    show(rows, as_json=as_json, columns=columns, empty="no silences")


@app.command("add")
def add(
    matchers: Annotated[list[str], typer.Argument(metavar="MATCHER...")],
    length: Annotated[str | None, typer.Option("--for")] = None,
    until: str | None = None,
    comment: str = "",
    by: str | None = None,
    config: ConfigOption = None,
) -> None:
    """Silence the alerts that fulfil all matchers, from now on; a running bridge notices within a second."""
    if (length is None) == (until is None):
        raise fail("say how long: either --for 2h or --until 18:00", WRONG_USAGE)

    async def work(settings: Config, database: Database) -> Silence:
        now = time.time()
        try:
            wanted = parse_matchers(matchers)
            ends_at = now + parse_duration(length) if length is not None else _moment(until or "", settings, now)
            made = await database.run(
                lambda c: table.add(c, wanted, ends_at=ends_at, now=now, created_by=who(by), comment=comment)
            )
        except ValueError as error:
            raise fail(str(error), WRONG_USAGE) from None
        await record(settings, database, AuditAction.SILENCED, ", ".join(map(str, wanted)), by)
        return made

    print(with_database(config, work).id)  # noqa: T201


@app.command("expire")
def expire(ids: Annotated[list[str], typer.Argument(metavar="ID...")], config: ConfigOption = None) -> None:
    """End silences now: what still fires is told."""

    async def work(settings: Config, database: Database) -> list[str]:
        def all_of_them(connection: Any) -> list[str]:
            now = time.time()
            return [each for each in dict.fromkeys(ids) if not table.expire(connection, each, now=now)]

        missed = await database.run(all_of_them)
        if ended := [each for each in dict.fromkeys(ids) if each not in missed]:
            await record(settings, database, AuditAction.UNSILENCED, ", ".join(ended))
        return missed

    missed = with_database(config, work)
    for each in missed:
        say(f"there is no silence {each!r} that is not over; see `wxbridge silences list --all`")
    say(f"{len(set(ids)) - len(missed)} of {len(set(ids))} ended")
    if missed:
        raise typer.Exit(FAILED)


def _moment(text: str, config: Config, now: float) -> float:
    """A time as people write it, in the configured zone unless it says another; a bare one is the next such time.

    Raises:
        ValueError: it is none.
    """
    example = f"{text!r} is no time; write one like 18:00 or 2026-12-31 18:00"
    present = datetime.fromtimestamp(now, config.timezone)
    try:
        if len(text) <= len("18:00") and ":" in text:
            clock = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 - only its hour and minute are used
            found = present.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
            # By the clock, also where a day has 23 hours.
            return (found if found > present else found + timedelta(days=1)).timestamp()
        given = datetime.fromisoformat(text)
        return (given if given.tzinfo else given.replace(tzinfo=config.timezone)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(example) from None
