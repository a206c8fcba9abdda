"""One bridge for a state directory: a lock that the kernel lets go of when the process dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wxbridge.core.errors import AlreadyRunning, StorageError

_LOCK_FILE = "bridge.lock"


@contextmanager
def hold_state_dir(state_dir: Path) -> Iterator[None]:
    """Hold the state directory for the length of a `with` block.

    Raises:
        AlreadyRunning: another bridge holds it.
        StorageError: it cannot be written to.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        handle = (state_dir / _LOCK_FILE).open("a+")
    except OSError as error:
        raise StorageError(f"cannot use the state directory {state_dir}: {error.strerror}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            raise AlreadyRunning(
                f"another bridge (process {handle.read().strip() or 'unknown'}) runs on {state_dir}; "
                "stop it, or give this one a `state_dir` of its own",
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def is_held(state_dir: Path) -> bool:
    """Tell whether a bridge holds this state directory."""
    try:
        with (state_dir / _LOCK_FILE).open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    return False
