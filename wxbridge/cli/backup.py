"""`backup FILE` and `restore FILE`: the state in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wxbridge.cli.common import ConfigOption, fail, read_config, read_config_in_use, say
from wxbridge.config.schema import Config
from wxbridge.core.backup import BackupSummary, read_backup, write_backup
from wxbridge.pictures.store import PictureStore

BackupFile = Annotated[Path, typer.Argument(metavar="FILE")]


def backup(file: BackupFile, config: ConfigOption = None) -> None:
    """Copy the state into one file, also while the bridge runs: the database and the pictures.

    All that was acknowledged before it began is in it. Only its owner may read the file (0600).
    """
    settings = read_config_in_use(config)
    _refuse_postgresql(settings)
    say(f"{file}: {_words(write_backup(settings.state_dir, PictureStore.below(settings.state_dir).directory, file))}")


def restore(file: BackupFile, config: ConfigOption = None) -> None:
    """Take a backup back into a state directory that is empty; messages keep their ids and states.

    What waited is sent by the next `wxbridge run`, what was sent is not sent again. A running bridge, and a state that
    is there already, are left alone.
    """
    settings = read_config(config)
    _refuse_postgresql(settings)
    summary = read_backup(file, settings.state_dir, PictureStore.below(settings.state_dir).directory)
    say(f"{settings.state_dir}: {_words(summary)}. Now: wxbridge run")


def _refuse_postgresql(settings: Config) -> None:
    if settings.database:
        raise fail("the state lies in PostgreSQL, with the pictures: `pg_dump` and `pg_restore` copy it")


def _words(summary: BackupSummary) -> str:
    return f"{summary.messages} messages, {summary.pictures} pictures, {summary.size / 1e6:.1f} MB"
