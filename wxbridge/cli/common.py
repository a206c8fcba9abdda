"""What the commands share: the configuration option, tables and JSON, exit codes."""

from __future__ import annotations

import errno
import getpass
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from wxbridge.cli.exits import FAILED as FAILED  # noqa: PLC0414 - commands take these from here
from wxbridge.cli.exits import WRONG_USAGE as WRONG_USAGE  # noqa: PLC0414
from wxbridge.cli.exits import say as say  # noqa: PLC0414
from wxbridge.cli.reader import name_state, phrase, tell
from wxbridge.cli.settings import config_path as config_path  # noqa: PLC0414
from wxbridge.cli.settings import read_config as read_config  # noqa: PLC0414

if TYPE_CHECKING:  # `--help` needs none of it
    from wxbridge.config.schema import Config
    from wxbridge.core.audit import AuditAction
    from wxbridge.core.database import Database

T = TypeVar("T")

_STATES = ("state", "status")
_SENTENCES = ("detail", "error", "found", "advice")
"""Columns whose cells are told in the reader's language."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

ConfigOption = Annotated[Path | None, typer.Option("-c", "--config")]
JsonOption = Annotated[bool, typer.Option("--json")]


def read_config_in_use(path: Path | None) -> Config:
    """Load the configuration that the bridge beside this command runs on: a running demo's, or the file's.

    Raises:
        ConfigError: with everything that is wrong; it makes the exit code 2.
    """
    from wxbridge.cli import demo_setup

    return demo_setup.find_config(path) or read_config(path)


def command_to_start(config: Config) -> str:
    """Give the command that starts the bridge of a configuration: a demo's where no other file says what it is."""
    from wxbridge.cli.demo_setup import DEMO_STATE

    return "wxbridge demo" if config.path.parent == Path.cwd() / DEMO_STATE else "wxbridge run"


def fail(text: str, code: int = FAILED) -> typer.Exit:
    """Say what is wrong; raise what is returned."""
    say(text)
    return typer.Exit(code)


def reach_here(url: str) -> str:
    """Give the address of a bridge on this machine as it can be asked for, where it listens on all of them."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def is_resolved(status: str) -> bool:
    """Read what `--status` says of a sample: firing or resolved."""
    if status not in ("firing", "resolved"):
        raise fail(f"--status is firing or resolved, not {status!r}", WRONG_USAGE)
    return status == "resolved"


@contextmanager
def database_of(config: Config) -> Iterator[Database]:
    """The bridge's database, also beside a running bridge."""
    from wxbridge.parts import open_database

    database = open_database(config)
    try:
        yield database
    finally:
        database.close()


def with_database(path: Path | None, work: Callable[[Config, Database], Awaitable[T]]) -> T:
    """Run something on the configured database to its end."""
    import asyncio

    config = read_config_in_use(path)

    async def run() -> T:
        with database_of(config) as database:
            return await work(config, database)

    return asyncio.run(run())


def print_json(data: Any) -> None:
    """Print JSON on standard output; what its encoding (GBK, say) does not have is escaped."""
    can_all = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    print(json.dumps(data, ensure_ascii=not can_all, indent=1, default=str))  # noqa: T201


def write_file(path: Path, content: bytes) -> None:
    """Write a file that somebody asked for. Exit code 1, and its name, where that cannot be."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise fail(f"{path} cannot be written: {error.strerror}") from None


def check_writable(path: Path) -> None:
    """Look whether a file can be written, before the work for it is done. Exit code 1, and its name, where not."""
    folder = path.parent
    why = (
        errno.EISDIR if path.is_dir()
        else errno.ENOENT if not folder.is_dir()
        else errno.EACCES if not os.access(path if path.exists() else folder, os.W_OK)
        else 0
    )  # fmt: skip
    if why:
        raise fail(f"{path} cannot be written: {os.strerror(why)}")


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, columns: Sequence[str], empty: str) -> None:
    """Print rows as a table of some columns, or all of them as JSON."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        say(empty)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(phrase(f"terminal.heading.{column}"), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(column, row.get(column)) for column in columns))
    # Piped into a file or a grep, a row stays one line. What people wrote is no markup and no emoji code of ours.
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width, markup=False, emoji=False, highlight=False).print(table, crop=False)


def _cell(column: str, value: Any) -> str:
    return "" if value is None else plain(tell_value(column, value).replace("\n", "⏎ "))


def tell_value(name: str, value: Any) -> str:
    """Write a value of a row for a person; `name` is the row's key."""
    if isinstance(value, bool):
        return phrase("terminal.yes" if value else "terminal.no")
    if name in _STATES:
        return name_state(str(value))
    return tell(str(value)) if name in _SENTENCES else str(value)


def plain(text: str) -> str:
    """A text without what would steer a terminal; line ends stay."""
    return _CONTROL.sub("\ufffd", text)


def who(by: str | None) -> str:
    """Whose doing something is: as it was said, else the user of this machine; empty where that has no name."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container may run as a number without a name.
        return ""


async def record(config: Config, database: Database, action: AuditAction, what: str, by: str | None = None) -> None:
    """Keep that somebody has done something, for the console; `by` as in `who`. It raises nothing."""
    from wxbridge.core.audit import AuditDoor, AuditLog

    await AuditLog(database, lambda: config.keep).record(action, what, by=who(by), via=AuditDoor.SHELL)


def local(when: float | str | None, config: Config) -> str | None:
    """A time, in seconds or as ISO 8601, in the configured zone; None for none."""
    if not when:
        return None
    moment = datetime.fromisoformat(when) if isinstance(when, str) else datetime.fromtimestamp(when, UTC)
    return moment.astimezone(config.timezone).isoformat(sep=" ", timespec="seconds")
