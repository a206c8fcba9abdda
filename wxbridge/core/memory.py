"""What the process does with memory that it no longer needs."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""glibc's names for them, in malloc.h."""
_THRESHOLD_BYTES = 128 * 1024


def return_large_blocks() -> None:
    """Have large blocks given back to the system as soon as they are freed.

    By default glibc raises its thresholds with each large block that is freed: after ten pictures 16,000 pixels tall,
    in several threads, it kept 500 MB to 900 MB for good.
    """
    with suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _THRESHOLD_BYTES)
