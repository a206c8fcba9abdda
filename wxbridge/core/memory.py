"""How much memory there is, and what the process does with memory that it no longer needs."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""glibc's names for them, in malloc.h."""
_LARGE_BYTES = 512 * 1024
"""More than a socket is read at once (256 KiB), and less than a picture takes."""
_FREE_BYTES = 1024 * 1024
"""What may be kept: more than the database frees after a commit, to take it again for the next."""


def return_large_blocks() -> None:
    """Have large blocks given back to the system as soon as they are freed.

    By default glibc raises its thresholds with each large block that is freed: after ten pictures 16,000 pixels tall,
    in several threads, it kept 500 MB to 900 MB for good. Threads share one arena: they hold Python's lock most of the
    time, and each arena keeps what is freed in it for itself.
    """
    with suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _FREE_BYTES)
        libc.mallopt(_M_ARENA_MAX, 1)


def give_back_freed() -> None:
    """Give the memory back to the system that is free by now, as after a start."""
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def read_free_bytes() -> int:
    """Read how much memory is free, for this machine and for the container (cgroup v2) it may be; 0 where nothing says.

    What the system keeps of files counts as free.
    """
    free = []
    with suppress(OSError):
        found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text("ascii"))
        free += [int(found[1]) * 1024] if found else []
    with suppress(OSError, ValueError):  # no limit is the word "max"
        most, used = (int(Path("/sys/fs/cgroup", name).read_text("ascii")) for name in ("memory.max", "memory.current"))
        free.append(max(0, most - used))
    return min(free, default=0)
