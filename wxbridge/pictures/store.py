"""Where picture bytes are kept below the state directory: one file each, under a name that nobody can guess.

Where bridges on several machines share a database, the bytes lie there too, in parts, and a file is what one of them
has fetched from it: what one machine took, another can send.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core import imaging
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.model import Picture
from wxbridge.core.schema import picture_parts

DIRECTORY = "pictures"
"""Below the state directory."""
PART_BYTES = 512 * 1024
"""Of a picture in the database: no more of it is in memory at a time."""
_NAME_BYTES = 18
"""Random bytes of a name: whoever knows it may fetch the picture from `/pictures/`."""
MAX_NAME_CHARS = 60
"""The longest name that is looked for; our own have 28."""
_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif"}
_CONTENT_TYPES = {suffix: content_type for content_type, suffix in _SUFFIXES.items()}


def content_type_of(file: str) -> str:
    """Tell the content type of a stored picture by its suffix."""
    return _CONTENT_TYPES.get(Path(file).suffix, "image/png")


def write_atomically(path: Path, content: bytes, *, modified: float | None = None) -> None:
    """Write a file in one step, through to the disk (fsync); a file of that name is replaced.

    `modified` is the time that it gets, in seconds since the epoch. Raises `OSError` where the disk refuses it, and
    leaves nothing behind.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if modified is not None:
            os.utime(temporary, (modified, modified))
        temporary.replace(path)
        _sync_directory(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _sync_directory(directory: Path) -> None:
    """Have a new name itself on the disk, where the file system can do that."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class PictureStore:
    """The pictures of the outbox, below one directory, which is made with the first of them.

    What the outbox no longer names is deleted by `forget` and `tidy`.

    Args:
        directory: Where the files are.
        database: Has them too where it is a server, which other machines share.
    """

    def __init__(self, directory: Path, database: Database | None = None) -> None:
        self.directory = directory
        self._shared = database if database is not None and database.is_server else None

    @classmethod
    def below(cls, state_dir: Path, database: Database | None = None) -> PictureStore:
        """The store of a state directory."""
        return cls(state_dir / DIRECTORY, database)

    def write(self, content: bytes) -> str:
        """Store a picture's bytes and return the file's name. Blocks; raises `OSError` where the disk refuses them."""
        self.directory.mkdir(parents=True, exist_ok=True)
        suffix = _SUFFIXES.get(imaging.sniff(content) or "", ".png")
        name = f"{secrets.token_urlsafe(_NAME_BYTES)}{suffix}"
        write_atomically(self.directory / name, content)
        return name

    async def save(self, content: bytes, name: str = Picture.name) -> Picture:
        """Store a picture's bytes, as a body of a message that shows `name`.

        Raises:
            StorageError: the disk refuses them.
        """
        return Picture(file=await self.keep(content), name=name)

    async def keep(self, content: bytes) -> str:
        """Store a picture's bytes and return the file's name. Raises `StorageError` where they are refused."""
        try:
            name = await asyncio.to_thread(self.write, content)
        except OSError as error:
            raise StorageError(f"the picture could not be stored: {error}") from error
        if self._shared is not None:
            await self._shared.run(partial(_store_parts, file=name, content=content, now=time.time()))
        return name

    async def save_checked(self, content: bytes) -> Picture:
        """Store bytes that came from outside, if they are a whole picture that WeChat can show; WebP becomes PNG.

        Raises:
            PictureError: they are none.
            StorageError: the disk refuses them.
        """
        checked, _ = await asyncio.to_thread(imaging.checked, content, "the picture")
        return await self.save(checked)

    def path_of(self, file: str) -> Path:
        """The path of a stored picture, which may be gone by now. `file` is a name that `write` gave."""
        return self.directory / file

    def find(self, file: str) -> Path | None:
        """The path of a stored picture by a name that somebody else gave; None where there is no such picture."""
        if not _may_be_name(file):
            return None
        path = self.path_of(file)
        return path if path.is_file() else None

    async def share(self) -> int:
        """Put every file into the database, once it is shared; returns how many. Raises `StorageError`."""
        assert self._shared is not None, "there is nobody to share with"  # noqa: S101
        count = 0
        for path in sorted(self.directory.glob("[!.]*")) if self.directory.is_dir() else ():
            content = await asyncio.to_thread(path.read_bytes)
            store = partial(_store_parts, file=path.name, content=content, now=path.stat().st_mtime)
            await self._shared.run(store)
            count += 1
        return count

    async def fetch(self, file: str) -> Path:
        """Give the path of a stored picture, which is fetched from the database where another machine took it.

        It may be gone by now: then there is no such file. Raises `StorageError`.
        """
        path = self.path_of(file)
        if self._shared is not None and not path.is_file():
            try:
                await asyncio.to_thread(self.directory.mkdir, parents=True, exist_ok=True)
                await self._shared.read(partial(_load_parts, file=file, path=path))
            except OSError as error:
                raise StorageError(f"the picture could not be stored: {error}") from error
        return path

    async def look_up(self, file: str) -> Path | None:
        """Like `find`, also for what another machine took. Raises `StorageError`."""
        if self._shared is None or not _may_be_name(file):
            return self.find(file)
        path = await self.fetch(file)
        return path if path.is_file() else None

    async def forget(self, files: Collection[str]) -> None:
        """Delete stored pictures. Raises `StorageError`."""
        await asyncio.to_thread(self.delete, files)
        if self._shared is not None and files:
            gone = sa.delete(picture_parts).where(picture_parts.c.file.in_(files))
            await self._shared.run(lambda c: c.execute(gone))

    async def tidy(self, known: Collection[str], *, older_than: float) -> int:
        """Delete what is older than a moment and not among `known`; returns how many files. Raises `StorageError`."""
        swept = await asyncio.to_thread(self.sweep, known, older_than=older_than)
        if self._shared is not None:
            old = sa.select(picture_parts.c.file).where(picture_parts.c.at < older_than, picture_parts.c.part == 0)
            stored = await self._shared.read(lambda c: set(c.execute(old).scalars()))
            await self.forget(stored - set(known))
        return swept

    def delete(self, files: Iterable[str]) -> None:
        """Delete stored pictures; those that cannot be deleted are left for `sweep`. Blocks."""
        for file in files:
            with suppress(OSError):
                self.path_of(file).unlink()

    def sweep(self, known: Collection[str], *, older_than: float) -> int:
        """Delete the files older than a moment that are not among `known`; returns how many. Blocks.

        A crash between drawing and storing leaves such files. `older_than` is in seconds since the epoch.
        """
        swept = 0
        for path in self.directory.glob("*") if self.directory.is_dir() else ():
            with suppress(OSError):
                if path.name not in known and path.stat().st_mtime < older_than:
                    path.unlink()
                    swept += 1
        return swept


def _may_be_name(file: str) -> bool:
    return not (len(file) > MAX_NAME_CHARS or file.startswith(".") or "/" in file or "\x00" in file)


def _store_parts(connection: Connection, *, file: str, content: bytes, now: float) -> None:
    """Store a picture in parts, in one transaction."""
    view = memoryview(content)
    for part, start in enumerate(range(0, len(content), PART_BYTES)):
        values = {"file": file, "part": part, "at": now, "content": bytes(view[start : start + PART_BYTES])}
        connection.execute(sa.insert(picture_parts).values(values))


def _load_parts(connection: Connection, *, file: str, path: Path) -> None:
    """Write a stored picture to a file, part by part; nothing where there is none. Raises `OSError`."""
    query = sa.select(picture_parts.c.content).where(picture_parts.c.file == file)

    def read(part: int) -> bytes | None:
        return connection.execute(query.where(picture_parts.c.part == part)).scalar()

    content = read(0)
    if content is None:
        return
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as to:
            part = 0
            while content is not None:
                to.write(content)
                part += 1
                content = read(part)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
