"""Keeping drawn pictures on disk under dated names, and clearing out the old ones.

A pattern is a path with strftime directives: `res/%Y/%m/%d/%H.png`, also `%-m` for no leading zero.
The functions block on the disk: call them in a thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from wxbridge.core.errors import PictureError, describe_error
from wxbridge.pictures.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_DIRECTIVE = re.compile(r"%([-_0^#]?)([A-Za-z%])")
_DIGITS = {"Y": 4, "G": 4, "y": 2, "m": 2, "d": 2, "H": 2, "I": 2, "M": 2, "S": 2, "j": 3,
           "U": 2, "W": 2, "V": 2, "f": 6, "w": 1, "u": 1}  # fmt: skip
_WHOLE = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y"}


def archive_picture(pattern: str, when: datetime, png: bytes) -> Path:
    """Write a picture to the path that `pattern` gives for `when` (in its own time zone); return that path.

    Directories are made, a file of that name is replaced in one step, and its time is set to `when`,
    which is what `prune_archive` goes by.

    Raises:
        PictureError: the disk did not take it; `retry` is True, since space may come back.
    """
    path = Path(when.strftime(pattern))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, png, modified=when.timestamp())
    except OSError as error:
        raise PictureError(f"cannot keep a picture as {path}: {describe_error(error)}", retry=True) from None
    return path


def prune_archive(pattern: str, keep_seconds: float, now: datetime) -> list[Path]:
    """Delete the files older than `keep_seconds` that `archive_picture` could have written under `pattern`.

    A file that does not match the pattern is never touched, nor is anything behind a symbolic link.
    Directories that become empty go too. Files that cannot be deleted are left for the next time.

    Returns:
        What was deleted.
    """
    if not _has_directive(pattern):
        return []
    oldest = now.timestamp() - keep_seconds
    root, parts = _split_pattern(pattern)
    deleted = [path for path in _find_matching(root, parts) if _delete_if_older(path, oldest)]
    for folder in sorted({parent for path in deleted for parent in path.parents}, reverse=True):
        if folder != root and folder.is_relative_to(root):
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
    return deleted


def _has_directive(pattern: str) -> bool:
    return any(match[2] != "%" for match in _DIRECTIVE.finditer(pattern))


def _split_pattern(pattern: str) -> tuple[Path, list[re.Pattern[str]]]:
    """Take a pattern apart: the directory before the first directive, an expression for each part after."""
    for directive, longer in _WHOLE.items():
        pattern = re.sub(rf"(?<!%)((?:%%)*)%{directive}", rf"\g<1>{longer}", pattern)
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if _has_directive(part))
    root = Path(*(part.replace("%%", "%") for part in parts[:first]))
    return root, [re.compile(_expression_of(part)) for part in parts[first:]]


def _expression_of(part: str) -> str:
    out, end = "", 0
    for match in _DIRECTIVE.finditer(part):
        out += re.escape(part[end : match.start()])
        flag, letter = match.groups()
        if letter == "%":
            out += "%"
        elif letter in _DIGITS:
            digits = _DIGITS[letter]
            out += rf"\d{{1,{digits}}}" if flag == "-" else rf"[\d ]{{{digits}}}"
        elif letter == "s":
            out += r"\d+"
        elif letter in "zZ":
            out += r"[-+:\w]*"
        else:  # a name of a month, a day or a half of the day
            out += r"[^/\d]+"
        end = match.end()
    return out + re.escape(part[end:])


def _find_matching(folder: Path, parts: list[re.Pattern[str]]) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not parts[0].fullmatch(entry.name):
            continue
        if len(parts) == 1:
            yield Path(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            yield from _find_matching(Path(entry.path), parts[1:])


def _delete_if_older(path: Path, oldest: float) -> bool:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_mtime >= oldest:
            return False
        path.unlink()
    except OSError:
        return False
    return True
