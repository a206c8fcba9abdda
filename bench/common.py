"""What the figures share: rows of the table, processes that are always cleaned up, waiting for HTTP, disk facts."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

ROOT = Path(__file__).parent.parent
TOKEN = "bench_00000000-0000-4000-8000-000000000000"
"""The gateway's token."""
POLL = 0.01
"""Seconds between two looks at a server that is starting: the resolution of the `start` figure."""
STOP_LIMIT = 6.0
"""Seconds in which a process has to end after SIGTERM; then it is killed with all its children."""


# ---------------------------------------------------------------- the table


@dataclass
class Row:
    """One line of the table. Without a `limit` it is there for comparison and has no verdict."""

    figure: str
    values: list[float]
    unit: str = "ms"
    limit: float | None = None
    at_least: bool = False
    """Whether the limit is a lower one."""
    note: str = ""
    digits: int = 1

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def goal(self) -> str:
        """The goal in words."""
        if self.limit is None:
            return ""
        return f"{'≥' if self.at_least else '<'} {self.limit:g} {self.unit}"

    @property
    def measured(self) -> str:
        """Median, range and number of runs."""
        if not self.values:
            return "not measured"
        low, high = min(self.values), max(self.values)
        number = f".{self.digits}f"
        text = f"{self.median:{number}} {self.unit}"
        return f"{text} ({low:{number}}–{high:{number}}, {len(self.values)})" if len(self.values) > 1 else text

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if not self.values:
            return "NOT MEASURED"
        if self.limit is None:
            return ""
        met = self.median >= self.limit if self.at_least else self.median < self.limit
        return "met" if met else "MISSED"


def skipped(figure: str, why: str) -> Row:
    """A row for what could not be measured."""
    return Row(figure, [], note=why)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# ---------------------------------------------------------------- processes


def free_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Process:
    """A process in a session of its own, so that a Ctrl-C is ours to pass on and nothing of it can be left behind."""

    child: asyncio.subprocess.Process
    log: Path
    began: float
    """`time.perf_counter()` just before it was started."""

    @property
    def pid(self) -> int:
        """Its id, which is also the session's."""
        return self.child.pid

    def tree(self) -> list[psutil.Process]:
        """It and all that it has started."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def memory(self) -> tuple[float, float]:
        """RSS and PSS of the whole tree, in MB (2**20 bytes)."""
        infos = [process.memory_full_info() for process in self.tree()]
        return sum(info.rss for info in infos) / 2**20, sum(info.pss for info in infos) / 2**20

    def cpu(self) -> float:
        """Seconds of CPU time it has used: other people's load on the machine does not lengthen them by much."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def last_words(self) -> str:
        """The end of what it wrote."""
        with suppress(OSError):
            return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        return ""

    async def stop(self) -> None:
        """End it and everything that it has started, also what has lost its parent."""
        family = self.tree()
        with suppress(ProcessLookupError):
            self.child.send_signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.child.wait(), STOP_LIMIT)
        for process in {*family, *self.tree(), *_session(self.pid)}:
            with suppress(psutil.Error):
                process.kill()  # psutil makes sure that the id has not been given to another
        await self.child.wait()


def _session(leader: int) -> list[psutil.Process]:
    """The processes of a session that we opened."""
    members = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader:
                members.append(process)
    return members


class Place:
    """A directory on the repository's disk, and processes in it; both are gone after the `async with` block."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix=".bench-", dir=ROOT, ignore_cleanup_errors=True)
        self.path = Path(self._directory.name)
        self._processes: list[Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await asyncio.gather(*(process.stop() for process in self._processes), return_exceptions=True)
        finally:
            self._directory.cleanup()

    async def spawn(self, *command: str, environment: dict[str, str] | None = None, **pipes: Any) -> Process:
        """Start a process; what it writes goes to a file unless `stdin` or `stdout` are given."""
        log = self.path / f"process-{len(self._processes)}.log"
        with log.open("wb") as file:
            began = time.perf_counter()
            child = await asyncio.create_subprocess_exec(
                *command,
                cwd=ROOT,
                env=os.environ | (environment or {}),
                stdin=pipes.get("stdin", asyncio.subprocess.DEVNULL),
                stdout=pipes.get("stdout", file),
                stderr=file,
                start_new_session=True,
            )
        process = Process(child, log, began)
        self._processes.append(process)
        return process

    async def stop(self, process: Process) -> None:
        """End a process before the others."""
        await process.stop()
        self._processes.remove(process)


def wxbridge(*words: str) -> tuple[str, ...]:
    """The command line of a wxbridge command, as a user would start it."""
    script = Path(sys.executable).with_name("wxbridge")
    return (str(script), *words) if script.exists() else (sys.executable, "-m", "wxbridge", *words)


def write_config(directory: Path, *, port: int, gateway: str, state: str = "state") -> Path:
    """Write a jobs.yaml with a bit of everything and nothing that becomes due during a measurement."""
    path = directory / f"jobs-{port}.yaml"
    path.write_text(
        f"""\
timezone: Asia/Shanghai
state_dir: {directory / state}
server: {{listen: "127.0.0.1:{port}"}}
wechat: {{endpoint: "{gateway}", token: "{TOKEN}", master: 主人, pace: none}}
grafana: {{url: "http://127.0.0.1:1", user: wx, password: secret}}
targets:
  ops: {{channel: wechat, room: 技术讨论群}}
  boss: {{channel: wechat, contact: 张三}}
routes:
  - {{match: {{severity: critical}}, to: [ops, boss]}}
  - {{to: [ops], pictures: [image]}}
jobs:
  - {{id: inspection, kind: screenshot, url: /d/kafka/overview, cron: "0 0 29 2 *", to: [ops]}}
  - {{id: hello, kind: text, text: "it is {{{{ now }}}}", cron: "0 0 29 2 *", to: [ops]}}
""",
        encoding="utf-8",
    )
    return path


async def start_simulator(place: Place) -> str:
    """Run `wxbridge simulator` in a process of its own; gives the gateway's `host:port`."""
    gateway, page = free_port(), free_port()
    process = await place.spawn(
        *wxbridge("simulator", "--auto-scan", "--token", TOKEN),
        *("--gateway-port", str(gateway), "--page-port", str(page)),
    )
    await until_answers(process, page, "/api/state", limit=20)
    return f"127.0.0.1:{gateway}"


OLDER_BOTS = {
    "a bot of python-wechaty (Room.say)": "wechaty_bot.py",
    "the least such bot (the gateway's stub alone)": "bot.py",
}
"""What stood in the bridge's place, and the least that it could be; by the script in `older_design`."""


@dataclass(frozen=True)
class OlderBot:
    """What stood in the bridge's place, as it runs."""

    process: Process
    url: str


async def start_older(place: Place, script: str, gateway: str) -> OlderBot:
    """Run one of `OLDER_BOTS` at a gateway that it has for itself."""
    port = free_port()
    path = Path(__file__).parent / "older_design" / script
    environment = {"PYTHONPATH": str(ROOT)}
    process = await place.spawn(sys.executable, str(path), str(port), gateway, TOKEN, environment=environment)
    await until_answers(process, port, "/", limit=20)
    return OlderBot(process, f"http://127.0.0.1:{port}/")


# ---------------------------------------------------------------- waiting


async def get_status(port: int, path: str) -> int:
    """The status of a GET, 0 where nobody listens. Written by hand: it runs often while something else starts."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        words = (await reader.readline()).split()
        return int(words[1]) if len(words) > 1 else 0
    except (OSError, ValueError):
        return 0
    finally:
        writer.close()


async def until_answers(process: Process, port: int, path: str, *, limit: float) -> float:
    """Wait for a 200; gives the seconds since the process was started.

    Raises:
        RuntimeError: the process ended, or did not answer in time; the text has its last words.
    """
    while time.perf_counter() - process.began < limit:
        if await get_status(port, path) == 200:
            return time.perf_counter() - process.began
        if process.child.returncode is not None:
            raise RuntimeError(f"it ended with exit code {process.child.returncode}: {process.last_words()}")
        await asyncio.sleep(POLL)
    raise RuntimeError(f"no 200 from {path} within {limit:g} s: {process.last_words()}")


# ---------------------------------------------------------------- the machine


def time_fsync(file: Any) -> float:
    """Seconds for writing 4 KiB at the end of an unbuffered file and having them on disk."""
    began = time.perf_counter()
    file.write(b"x" * 4096)
    os.fsync(file.fileno())
    return time.perf_counter() - began


def _depth(partition: Any) -> int:
    return len(partition.mountpoint)


def machine(directory: Path) -> str:
    """One line about where this was measured."""
    with (directory / "fsync").open("wb", buffering=0) as file:
        fsync = [time_fsync(file) * 1000 for _ in range(50)]
    kind = next(
        (part.fstype for part in sorted(psutil.disk_partitions(all=True), key=_depth, reverse=True)
         if directory.is_relative_to(part.mountpoint)),
        "?",
    )  # fmt: skip
    load = os.getloadavg()[0]
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores (load {load:.1f}), {memory:.0f} GB, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()}, {kind} with a 4 KiB fsync in {statistics.median(fsync):.2f} ms "
        f"({min(fsync):.2f}–{max(fsync):.2f})"
        + ("; THIS IS NO DISK: durable figures mean nothing" if kind in ("tmpfs", "ramfs") else "")
    )


async def commit() -> str:
    """Which wxbridge this is."""
    command = ("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*")
    try:
        git = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return "unknown"
    said, _ = await git.communicate()
    return said.decode().strip() or "unknown"


Measure = Callable[[Place], Awaitable[list[Row]]]


@dataclass(frozen=True)
class Figure:
    """A named measurement with its limit in seconds."""

    name: str
    measure: Measure
    limit: float
    about: str = field(default="")
