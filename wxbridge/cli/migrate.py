"""`migrate`: moves a state from SQLite to PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from wxbridge.cli.common import WRONG_USAGE, ConfigOption, fail, read_config, say
from wxbridge.config.types import reveal
from wxbridge.core.database import DATABASE_FILE, Database
from wxbridge.core.state_lock import is_held
from wxbridge.core.transfer import transfer
from wxbridge.pictures.store import DIRECTORY, PictureStore


def migrate(
    config: ConfigOption = None,
    source: Annotated[str, typer.Option("--from", metavar="URL")] = "",
    target: Annotated[str, typer.Option("--to", metavar="URL")] = "",
) -> None:
    """Move a state from SQLite to PostgreSQL, with its pictures. Stop the bridge before; the old state stays."""
    if not (source and target):
        settings = read_config(config)
        source = source or f"sqlite:///{settings.state_dir / DATABASE_FILE}"
        target = target or reveal(settings.database)
    if not source.startswith("sqlite:///"):
        raise fail("--from: write sqlite:///FILE, with a fourth slash where it begins at the root", WRONG_USAGE)
    if not target.startswith(("postgresql://", "postgres://")):
        raise fail("--to: write postgresql://host/name, or set `database:` in jobs.yaml", WRONG_USAGE)
    state_dir = Path(source.removeprefix("sqlite:///")).parent
    if is_held(state_dir):
        raise fail(f"a bridge runs on {state_dir}: stop it first")
    counts = transfer(source, target)
    pictures = asyncio.run(_share_pictures(state_dir, target))
    say(f"{counts['messages']} messages, {counts['alerts']} alerts, {pictures} pictures moved; {source} stays as it is")


async def _share_pictures(state_dir: Path, target: str) -> int:
    database = Database.open(target)
    try:
        return await PictureStore(state_dir / DIRECTORY, database).share()
    finally:
        database.close()
