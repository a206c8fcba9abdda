"""One bridge for a state directory: locks that the kernel lets go of when the process dies, however it dies.

Two of them: the directory itself, as a file in it can be deleted, and a file that says who holds it, also where the
file system locks no directories (NFS).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wxbridge.core.errors import AlreadyRunning, StorageError, UnusableState

_LOCK_FILE = "bridge.lock"
PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600


class StateLock:
    """Holds a state directory. Raises `AlreadyRunning` where another does, `OSError` where that cannot be told."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir
        self._directory = -1
        self._file = -1
        self.take()

    def take(self) -> None:
        """Take the locks of the directory and the file that are there now, and let go of those before."""
        self._path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        held: list[int] = []
        try:
            held.append(os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            if not _is_same(self._path, self._directory):
                _lock(held[0], optional=True)
            held.append(os.open(self._path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE))
            if not _is_same(self._path / _LOCK_FILE, self._file):
                _lock(held[1])
                os.ftruncate(held[1], 0)
                os.write(held[1], str(os.getpid()).encode())
        except BlockingIOError:
            self._close(held)
            raise AlreadyRunning(
                f"another bridge (process {find_holder(self._path) or 'unknown'}) runs on {self._path}; "
                "stop it, or give this one a `state_dir` of its own",
            ) from None
        except OSError:
            self._close(held)
            raise
        # What is locked already stays: another handle on it holds nothing.
        for new, name, path in ((held[0], "_directory", self._path), (held[1], "_file", self._path / _LOCK_FILE)):
            old = getattr(self, name)
            stays = _is_same(path, old)
            setattr(self, name, old if stays else new)
            self._close([new if stays else old])

    def is_in_place(self) -> bool:
        """Tell whether what is held is what stands at its path; cheap."""
        return _is_same(self._path, self._directory) and _is_same(self._path / _LOCK_FILE, self._file)

    def release(self) -> None:
        """Let go."""
        self._close([self._directory, self._file])

    @staticmethod
    def _close(handles: list[int]) -> None:
        for handle in handles:
            if handle >= 0:
                os.close(handle)


def _is_same(path: Path, handle: int) -> bool:
    if handle < 0:
        return False
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False


def _lock(handle: int, *, optional: bool = False) -> None:
    """Lock what is open for ourselves. Raises `BlockingIOError` where another holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        if not optional:
            raise BlockingIOError from None


def find_holder(state_dir: Path) -> int:
    """Give the process that holds this state directory, or held it last; 0 where that is not known."""
    try:
        return int((state_dir / _LOCK_FILE).read_text())
    except (OSError, ValueError):
        return 0


def explain_state_error(state_dir: Path, error: OSError) -> StorageError:
    """Make the error of a state directory that cannot be used; a full disk may have room again."""
    kind = StorageError if error.errno in (errno.ENOSPC, errno.EDQUOT) else UnusableState
    return kind(f"cannot use the state directory {state_dir}: {error.strerror}")


@contextmanager
def hold_state_dir(state_dir: Path) -> Iterator[StateLock]:
    """Hold the state directory for the length of a `with` block.

    Raises:
        AlreadyRunning: another bridge holds it.
        UnusableState: it cannot be written to.
        StorageError: it cannot be written to now, as the disk is full.
    """
    try:
        lock = StateLock(state_dir)
    except OSError as error:
        raise explain_state_error(state_dir, error) from error
    try:
        # Somebody else's directory (a volume, say) may be used all the same.
        with suppress(OSError):
            state_dir.chmod(PRIVATE_DIRECTORY)
        yield lock
    finally:
        lock.release()


def is_held(state_dir: Path) -> bool:
    """Tell whether a bridge holds this state directory."""
    return any(_is_locked(path) for path in (state_dir / _LOCK_FILE, state_dir))


def _is_locked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno == errno.EACCES
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(handle)
    return False
