"""Copies a bridge's state into one file, also while it runs, and back into a state directory that is empty.

The file is the database itself, by SQLite's online backup API (https://www.sqlite.org/backup.html), with two tables
more: what the backup is of, with a checksum, and the pictures. A plain copy of the database is taken back too, without
pictures.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import wxbridge
from wxbridge.core.database import DATABASE_FILE, SIDE_FILES, sync_to_disk
from wxbridge.core.errors import WxbridgeError
from wxbridge.core.schema import SCHEMA_VERSION
from wxbridge.core.state_lock import PRIVATE_DIRECTORY, PRIVATE_FILE, hold_state_dir

PATIENCE_SECONDS = 30.0
"""How long another process that has the database to itself is waited for."""
_TABLES = """
CREATE TABLE backup_about (version TEXT NOT NULL, created_at REAL NOT NULL, pictures INTEGER NOT NULL, sha256 TEXT);
CREATE TABLE backup_pictures (name TEXT PRIMARY KEY, modified_at REAL NOT NULL, content BLOB NOT NULL);
"""


class BackupError(WxbridgeError):
    """A backup that cannot be made or taken back; nothing was changed."""


@dataclass(frozen=True)
class BackupSummary:
    """What a backup holds."""

    messages: int
    pictures: int
    size: int
    """In bytes."""


def write_backup(state_dir: Path, pictures_dir: Path, file: Path) -> BackupSummary:
    """Copy the database and the pictures into a file that only its owner may read (0600).

    All that was acknowledged before this began is in it; a running bridge goes on. The file appears whole or not at
    all, and takes the place of an older backup of that name.

    Raises:
        BackupError: there is no state, the file cannot be written, or it is something else than a backup.
    """
    source = state_dir / DATABASE_FILE
    if not source.is_file():
        raise BackupError(f"there is no database in {state_dir}: nothing to back up")
    if (file.exists() or file.is_symlink()) and not _is_backup(file):
        raise BackupError(f"{file} is there already and is no backup: it stays as it is; name another file")
    copy = file.with_name(f".{file.name[:100]}.{secrets.token_hex(4)}")
    try:
        copy.touch(PRIVATE_FILE, exist_ok=False)
        try:
            summary = _fill(source, pictures_dir, copy)
            sync_to_disk(copy)
            copy.replace(file)
            sync_to_disk(file.parent)
        finally:
            for ending in ("", "-journal", *SIDE_FILES):
                copy.with_name(copy.name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}") from None
    except sqlite3.Error as error:
        raise BackupError(f"the database cannot be copied to {file}: {error}") from None
    return summary


def _fill(source: Path, pictures_dir: Path, copy: Path) -> BackupSummary:
    with closing(_connect(copy)) as target:
        with closing(_connect(source)) as database:
            # In one step: a reader holds up nobody in WAL mode, and the copy is of one moment.
            database.backup(target)
        # One file, that needs none beside it.
        target.execute("PRAGMA journal_mode=DELETE")
        target.executescript(_TABLES)
        count = 0
        # After the database: a picture is on disk before the message that names it.
        for picture in _list_pictures(pictures_dir):
            with suppress(FileNotFoundError):  # thrown away meanwhile, with its message
                row = (picture.name, picture.stat().st_mtime, picture.read_bytes())
                target.execute("INSERT INTO backup_pictures VALUES (?, ?, ?)", row)
                count += 1
        target.commit()
        about = (wxbridge.__version__, time.time(), count, _hash_content(copy))
        target.execute("INSERT INTO backup_about VALUES (?, ?, ?, ?)", about)
        target.commit()
        (messages,) = target.execute("SELECT count(*) FROM messages").fetchone()
    return BackupSummary(messages, count, copy.stat().st_size)


def read_backup(file: Path, state_dir: Path, pictures_dir: Path) -> BackupSummary:
    """Take a backup back into a state directory that has no state; messages keep their ids and states.

    Raises:
        AlreadyRunning: a bridge runs on the state directory.
        BackupError: there is a state already, or the file is no backup, is damaged, or of a newer wxbridge.
        StorageError: the state directory cannot be written to.
    """
    _check_backup(file)
    with hold_state_dir(state_dir):
        database = state_dir / DATABASE_FILE
        if not _is_empty(database) or _list_pictures(pictures_dir):
            raise BackupError(
                f"there is a state in {state_dir} already, and it stays as it is: move the folder away first, "
                "or set `state_dir` to another"
            )
        copy = state_dir / f".{DATABASE_FILE}.restored"
        try:
            with _removed_on_failure(copy, pictures_dir):
                summary = _unpack(file, copy, pictures_dir)
                # Last: who finds a database finds all of it.
                for ending in SIDE_FILES:
                    database.with_name(database.name + ending).unlink(missing_ok=True)
                copy.rename(database)
                sync_to_disk(state_dir)
        except OSError as error:
            raise BackupError(f"{error.filename or state_dir} cannot be written: {error.strerror}") from None
        except sqlite3.Error as error:
            raise BackupError(f"{file} cannot be copied to {state_dir}: {error}") from None
    return summary


def _unpack(file: Path, copy: Path, pictures_dir: Path) -> BackupSummary:
    copy.unlink(missing_ok=True)
    copy.touch(PRIVATE_FILE, exist_ok=False)
    count = 0
    with closing(_connect(file, readonly=True)) as source, closing(_connect(copy)) as target:
        stored = "SELECT name, modified_at, content FROM backup_pictures ORDER BY name"
        for name, modified_at, content in source.execute(stored) if _has_table(source, "backup_pictures") else ():
            pictures_dir.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
            path = pictures_dir / Path(name).name
            path.touch(PRIVATE_FILE, exist_ok=False)
            path.write_bytes(content)
            sync_to_disk(path)
            os.utime(path, (modified_at, modified_at))
            count += 1
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
        target.executescript("DROP TABLE IF EXISTS backup_pictures; DROP TABLE IF EXISTS backup_about;")
        target.execute("VACUUM")
        (messages,) = target.execute("SELECT count(*) FROM messages").fetchone()
    sync_to_disk(copy)
    return BackupSummary(messages, count, copy.stat().st_size)


def _check_backup(file: Path) -> None:
    """Look whether a file is a backup, whole, and not of a newer wxbridge. Raises `BackupError`."""
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror}") from None
    try:
        with closing(_connect(file, readonly=True)) as source:
            (pages,), (page_size,) = (
                source.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
            )
            # What waits beside a plain copy counts as pages too.
            if file.stat().st_size < pages * page_size and not _has_log(file):
                raise BackupError(f"{file} is damaged: its end is missing")
            (verdict,) = source.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise BackupError(f"{file} is damaged: {verdict}")
            (version,) = source.execute("SELECT version_num FROM alembic_version").fetchone()
            if str(version) > SCHEMA_VERSION:
                raise BackupError(
                    f"{file} has schema {version}, this wxbridge knows {SCHEMA_VERSION}: use the newer wxbridge "
                    "that wrote it"
                )
            if _has_table(source, "backup_about"):
                _, _, count, *checksum = source.execute("SELECT * FROM backup_about").fetchone()
                if count != source.execute("SELECT count(*) FROM backup_pictures").fetchone()[0]:
                    raise BackupError(f"{file} is damaged: pictures are missing")
                # Backups of earlier versions have none.
                if checksum and checksum[0] != _hash_content(file):
                    raise BackupError(f"{file} is damaged: what it holds is not what was written")
    except (sqlite3.Error, TypeError) as error:
        raise BackupError(f"{file} is no backup of wxbridge, or is damaged: {error}") from None


def _hash_content(file: Path) -> str:
    """Give a checksum (SHA-256) of all rows of a backup, but those that tell of the backup itself."""
    found = hashlib.sha256()
    with closing(_connect(file, readonly=True)) as source:
        source.text_factory = bytes
        tables = source.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        for name in [name.decode() for (name,) in tables if name != b"backup_about"]:
            # In the order in which they are stored, which no other version of SQLite sees differently.
            for row in source.execute(f'SELECT * FROM "{name}" NOT INDEXED'):  # noqa: S608 - names of our own tables
                for value in row:
                    data = value if isinstance(value, bytes) else repr(value).encode()
                    found.update(b"%d:" % len(data))
                    found.update(data)
    return found.hexdigest()


def _is_backup(file: Path) -> bool:
    """Whether a file is a backup of ours, or empty: what may be replaced by another."""
    if not file.is_file():
        return False
    try:
        if file.stat().st_size == 0:
            return True
        with closing(_connect(file, readonly=True)) as source:
            return _has_table(source, "backup_about")
    except (OSError, sqlite3.Error):
        return False


def _connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    # Where nothing waits beside it, the file is read as it is: its folder may be read-only.
    alone = "" if _has_log(path) else "&immutable=1"
    uri = f"{path.absolute().as_uri()}?mode={f'ro{alone}' if readonly else 'rw'}"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE_SECONDS)


def _has_log(path: Path) -> bool:
    return path.with_name(f"{path.name}-wal").exists()


def _is_empty(database: Path) -> bool:
    """Whether nothing was ever stored in a database, as where only `status` was asked for."""
    if not database.exists():
        return True
    try:
        with closing(_connect(database)) as source:
            tables = [name for (name,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return not any(
                source.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()  # noqa: S608 - names of our own tables
                for name in tables
                if name != "alembic_version" and not name.startswith("sqlite_")
            )
    except sqlite3.Error:
        return False


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


def _list_pictures(folder: Path) -> list[Path]:
    """The files of a folder that are whole; those that are just written have a dot before their names."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())


@contextmanager
def _removed_on_failure(copy: Path, pictures_dir: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for path in (copy, *_list_pictures(pictures_dir)):
            with suppress(OSError):
                path.unlink()
        raise
