"""Standard output and standard error of a service: writing to them never blocks and never raises.

Whoever reads the log may stop to read, go away, or have a full disk; alerts are carried all the same.
"""

from __future__ import annotations

import atexit
import io
import os
import queue
import select
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

MAX_QUEUED_BYTES = 4 * 1024 * 1024
"""That wait to be written; what comes then is dropped, and counted."""
_MAX_BYTES_PER_WRITE = 64 * 1024
GATHER_SECONDS = 0.02
"""Between two writes: what comes meanwhile is written together, without waking the thread for each line."""
_MAX_SECONDS_AT_EXIT = 1.0


class BackgroundOutput(io.TextIOBase):
    """Text for a file descriptor, written by a thread of its own.

    Args:
        like: The stream in whose place it stands; it must have a descriptor.
    """

    def __init__(self, like: TextIO) -> None:
        super().__init__()
        self._like = like
        self._descriptor = like.fileno()
        self._lock = threading.Lock()
        self._hurry = threading.Event()
        """Set where somebody waits for what was put."""
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        """Whole lines, and what is to be set once all before it is written or dropped."""
        self._queued_bytes = 0
        self._unfinished = ""
        self._is_torn = False
        self.dropped_lines = 0
        """Lines that were not written: the queue was full, or the descriptor did not take them."""
        threading.Thread(target=self._write_queued, name=f"output {self._descriptor}", daemon=True).start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream in whose place it stands."""
        return self._like.encoding

    def fileno(self) -> int:
        """Tell the descriptor, for child processes."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._like.isatty()

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True

    def write(self, text: str) -> int:
        """Take a text; its whole lines are written by the thread."""
        with self._lock:
            lines, end, self._unfinished = (self._unfinished + text).rpartition("\n")
            if end or len(self._unfinished) > _MAX_BYTES_PER_WRITE:
                self._put_bytes(lines + end)
        return len(text)

    def flush(self) -> None:
        """Have a line that has no end yet written too; waits for nothing."""
        with self._lock:
            text, self._unfinished = self._unfinished, ""
            self._put_bytes(text)

    def _put_bytes(self, text: str) -> None:
        data = text.encode(self.encoding, "backslashreplace")
        if not data:
            return
        if self._queued_bytes + len(data) > MAX_QUEUED_BYTES:
            self.dropped_lines += _count_lines(data)
            return
        self._queue.put(data)
        self._queued_bytes += len(data)

    def drain(self, seconds: float) -> bool:
        """Wait until all that was put so far is written or dropped; False where that takes longer."""
        self.flush()
        done = threading.Event()
        self._queue.put(done)
        self._hurry.set()
        return done.wait(seconds)

    def _write_queued(self) -> None:
        while True:
            data, waiters = self._take()
            if data:
                left = self._write_bytes(b"\n" + data if self._is_torn else data)
                self._is_torn = 0 < len(left) < len(data) and not data.endswith(b"\n" + left)
                with self._lock:
                    self._queued_bytes -= len(data)
                    self.dropped_lines += _count_lines(left)
            for each in waiters:
                each.set()
            if self._queued_bytes < _MAX_BYTES_PER_WRITE:
                self._hurry.wait(GATHER_SECONDS)
                self._hurry.clear()

    def _take(self) -> tuple[bytes, list[threading.Event]]:
        """Wait for something, and give what is to be written together, and who waits for it."""
        chunks: list[bytes] = []
        waiters: list[threading.Event] = []
        size = 0
        while not (chunks or waiters) or (size < _MAX_BYTES_PER_WRITE and not self._queue.empty()):
            one = self._queue.get()
            if isinstance(one, bytes):
                chunks.append(one)
                size += len(one)
            else:
                waiters.append(one)
        return b"".join(chunks), waiters

    def _write_bytes(self, data: bytes) -> bytes:
        """Write to the descriptor, however long that takes; gives what it did not take."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Somebody else who has it, such as a shell's child, made it non-blocking.
                select.select((), (self._descriptor,), ())
            except OSError:
                return data
        return data


def _count_lines(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def write_in_background() -> None:
    """Put a `BackgroundOutput` in the place of standard output and of standard error, for the rest of the process."""
    sys.stdout = _in_background(sys.stdout)
    sys.stderr = _in_background(sys.stderr)
    atexit.register(drain)


def _in_background(stream: TextIO | None) -> TextIO:
    if stream is None:
        # It was closed before the start.
        return Path(os.devnull).open("w", encoding="utf-8", errors="replace")
    try:
        stream.fileno()
    except (OSError, ValueError):
        return stream  # not of the system: a test's
    return BackgroundOutput(stream)  # type: ignore[return-value] # io's own classes are no TextIO to mypy either


def drain(seconds: float = _MAX_SECONDS_AT_EXIT) -> None:
    """Wait at most so long until both are written; where nobody reads them, what is left is lost."""
    deadline = time.monotonic() + seconds
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, BackgroundOutput):
            stream.drain(max(0.0, deadline - time.monotonic()))


def count_dropped_lines() -> int:
    """Count the lines of standard output and standard error that were dropped since the start."""
    return sum(stream.dropped_lines for stream in (sys.stdout, sys.stderr) if isinstance(stream, BackgroundOutput))
