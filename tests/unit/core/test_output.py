from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from wxbridge.channels.console import ConsoleChannel
from wxbridge.core import output
from wxbridge.core.errors import Transient, Unknown
from wxbridge.core.model import Text
from wxbridge.core.output import BackgroundOutput

SECONDS = 10.0


class Pipe:
    """A small pipe; what was written to it is read when the test asks."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.read_end, False)
        self.out = BackgroundOutput(os.fdopen(self.write_end, "w", closefd=False, encoding="utf-8"))

    def read(self, until: str) -> str:
        """Read until a text has come."""
        found, deadline = b"", time.monotonic() + SECONDS
        while until.encode() not in found:
            assert time.monotonic() < deadline, found
            with suppress(BlockingIOError):
                found += os.read(self.read_end, 65536)
        return found.decode()

    def close(self) -> None:
        for descriptor in (self.read_end, self.write_end):
            with suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def full() -> Iterator[BackgroundOutput]:
    with open("/dev/full", "w", encoding="utf-8") as stream:  # noqa: PTH123 - no path of a file
        yield BackgroundOutput(stream)


def test_lines_come_in_their_order_and_whole(pipe: Pipe) -> None:
    print("one", "告警", 2, file=pipe.out)
    pipe.out.write("half ")
    pipe.out.write("and half\nthree\n")
    assert pipe.read("three\n") == "one 告警 2\nhalf and half\nthree\n"
    assert pipe.out.dropped_lines == 0


def test_a_line_without_an_end_is_written_when_it_is_flushed(pipe: Pipe) -> None:
    print("password: ", end="", flush=True, file=pipe.out)
    assert pipe.read("password: ") == "password: "


def test_what_does_not_fit_is_dropped_and_counted_and_the_rest_is_whole(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "MAX_QUEUED_BYTES", 20_000)
    began = time.monotonic()
    for index in range(3000):
        pipe.out.write(f"{index:04} {'x' * 94}\n")
    assert time.monotonic() - began < 1
    assert 2700 < pipe.out.dropped_lines < 3000
    kept = 3000 - pipe.out.dropped_lines
    assert not pipe.out.drain(0.05)
    pipe.out.write("")
    read = pipe.read(f"{kept - 1:04} {'x' * 94}\n").splitlines()
    assert read == [f"{index:04} {'x' * 94}" for index in range(kept)]
    assert pipe.out.drain(SECONDS), "what was read may still be counted as waiting"
    print("read again", file=pipe.out)
    assert pipe.read("read again\n") == "read again\n"


def test_a_full_disk_costs_lines_and_nothing_else(full: BackgroundOutput) -> None:
    for index in range(10):
        print(index, file=full)
    assert full.drain(SECONDS)
    assert full.dropped_lines == 10


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    os.close(pipe.read_end)
    print("nobody", file=pipe.out)
    assert pipe.out.drain(SECONDS)
    assert pipe.out.dropped_lines == 1


def test_letters_that_the_encoding_lacks_are_written_as_escapes(pipe: Pipe) -> None:
    print("a\ud800b", file=pipe.out)
    assert pipe.read("b\n") == "a\\ud800b\n"


async def test_a_message_that_standard_output_does_not_take_was_not_sent(full: BackgroundOutput) -> None:
    with pytest.raises(Transient, match="takes nothing"):
        await ConsoleChannel(full).send(None, Text("x"))  # type: ignore[arg-type]


async def test_a_message_that_nobody_reads_may_have_been_sent(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxbridge.channels.console.MAX_SECONDS_UNREAD", 0.1)
    channel = ConsoleChannel(pipe.out)  # type: ignore[arg-type]
    assert (await channel.send(None, Text("read"))).id == "console-1"
    pipe.out.write("x" * 10_000 + "\n")
    with pytest.raises(Unknown, match="nobody reads"):
        await channel.send(None, Text("unread"))
