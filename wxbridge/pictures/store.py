"""Where picture bytes are kept below the state directory: one file each, under a name that nobody can guess."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from wxbridge.core import imaging
from wxbridge.core.errors import StorageError
from wxbridge.core.model import Picture

DIRECTORY = "pictures"
"""Below the state directory."""
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

    What the outbox no longer names is deleted by `delete` and `sweep`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def below(cls, state_dir: Path) -> PictureStore:
        """The store of a state directory."""
        return cls(state_dir / DIRECTORY)

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
        try:
            return Picture(file=await asyncio.to_thread(self.write, content), name=name)
        except OSError as error:
            raise StorageError(f"the picture could not be stored: {error}") from error

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
        if len(file) > MAX_NAME_CHARS or file.startswith(".") or "/" in file or "\x00" in file:
            return None
        path = self.path_of(file)
        return path if path.is_file() else None

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
