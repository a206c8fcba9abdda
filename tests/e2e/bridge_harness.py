"""A real bridge process against the simulator over real sockets.

Bridges and commands are forked by a launcher, which has imported everything: they start in a tenth of a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from wxbridge.simulator import Simulator

WAIT = 60.0
"""Seconds within which anything that is waited for must happen."""


class Launcher:
    """A process that has imported everything and forks a bridge when asked: a start takes a tenth of a second."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._one_at_a_time = threading.Lock()
        with theirs:
            command = [sys.executable, str(Path(__file__).with_name("launcher.py")), str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._socket.settimeout(4 * WAIT)

    def fork(self, request: Mapping[str, Any], out: int, err: int, code: int) -> int:
        """Fork a `wxbridge`; gives its process id. See launcher.py for the request and the descriptors."""
        message = json.dumps({"environment": dict(os.environ), "directory": str(Path.cwd()), **request}).encode()
        with self._one_at_a_time:
            socket.send_fds(self._socket, [message], [out, err, code])
            return int(self._socket.recv(64))

    def run(
        self, *arguments: str, directory: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a `wxbridge` command in a directory to its end, with nothing on standard input."""
        request = {
            "arguments": arguments, "directory": str(directory), "environment": dict(environment or os.environ)
        }  # fmt: skip
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            ended, theirs = os.pipe()
            with os.fdopen(ended, "rb", 0) as code:
                try:
                    self.fork(request, out.fileno(), err.fileno(), theirs)
                finally:
                    os.close(theirs)
                assert select.select((code,), (), (), 4 * WAIT)[0], f"{arguments} does not end"
                written = code.read(1)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(
                arguments, written[0] if written else -signal.SIGKILL, out.read().decode(), err.read().decode()
            )

    def close(self) -> None:
        """End it; whatever it forked and still runs is killed with it."""
        self._socket.close()
        self._process.wait(WAIT)


class ForkedProcess:
    """A `wxbridge` that the launcher forked, with what `asyncio.subprocess.Process` has and is used here."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader, code: int) -> None:
        self.pid, self.stdout, self.stderr, self._code = pid, stdout, stderr, code
        self.returncode = 0
        self._over = asyncio.Event()
        self._descriptor = -1
        with suppress(ProcessLookupError):
            self._descriptor = os.pidfd_open(pid)
            asyncio.get_running_loop().add_reader(self._descriptor, self._ended)
            return
        self._over.set()

    @classmethod
    async def start(cls, launcher: Launcher, request: Mapping[str, Any]) -> ForkedProcess:
        (out, their_out), (err, their_err), (code, their_code) = os.pipe(), os.pipe(), os.pipe()
        try:
            pid = await asyncio.to_thread(launcher.fork, request, their_out, their_err, their_code)
        finally:
            for descriptor in (their_out, their_err, their_code):
                os.close(descriptor)
        return cls(pid, await _reader(out), await _reader(err), code)

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._over.set()

    def send_signal(self, number: int) -> None:
        if not self._over.is_set():
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for the end, and give the exit code. What was killed has written none."""
        await self._over.wait()
        if self._code >= 0:
            written = os.read(self._code, 1)
            os.close(self._code)
            self._code, self.returncode = -1, written[0] if written else -signal.SIGKILL
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """Read both outputs to their end, and wait for the process's."""
        outputs = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return outputs


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=2**22)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader


@dataclass
class BridgeProcess:
    """A `wxbridge run` in its own process, or another command that runs a bridge."""

    config: Path
    launcher: Launcher | None = None
    constants: Mapping[str, Any] = field(default_factory=dict)
    """For a launcher's forks."""
    clock: Path | None = None
    """For a launcher's forks: the file that holds how wrong their wall clock is; see `set_clock`."""
    log_level: str = "info"
    command: Sequence[str] = ("run",)
    logs: list[dict[str, Any]] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    url: str = ""
    _process: asyncio.subprocess.Process | ForkedProcess | None = None
    _readers: list[asyncio.Task[None]] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def start(self) -> BridgeProcess:
        """Start it and wait until it serves."""
        await self.spawn()
        self.url = (await self.event("serving"))["url"]
        return self

    async def spawn(self) -> None:
        """Start it and wait for nothing."""
        self.logs.clear()
        self.output.clear()
        arguments = [*self.command, "-c", str(self.config), "--log-format", "json", "--log-level", self.log_level]
        if self.launcher:
            request = {"arguments": arguments, "constants": dict(self.constants)}
            if self.clock:
                request["clock"] = str(self.clock)
            self._process = await ForkedProcess.start(self.launcher, request)
        else:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "wxbridge", *arguments,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        self._readers = [
            asyncio.create_task(self._read(self._process.stdout, self.output.append)),
            asyncio.create_task(self._read(self._process.stderr, self._take_log)),
        ]

    async def _read(self, stream: asyncio.StreamReader | None, take: Callable[[str], None]) -> None:
        assert stream
        while line := await stream.readline():
            async with self._news:
                take(line.decode().rstrip("\n"))
                self._news.notify_all()

    def _take_log(self, line: str) -> None:
        try:
            self.logs.append(json.loads(line))
        except json.JSONDecodeError:
            self.logs.append({"event": line})

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until its log lines fulfil something."""
        async with asyncio.timeout(WAIT), self._news:
            while not condition():
                await self._news.wait()

    async def event(self, name: str, **fields: Any) -> dict[str, Any]:
        """Wait for a log line with this event and these fields."""

        def find() -> dict[str, Any] | None:
            for line in self.logs:
                if line["event"] == name and all(line.get(key) == value for key, value in fields.items()):
                    return line
            return None

        try:
            async with asyncio.timeout(WAIT), self._news:
                while not (found := find()):
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {name} {fields} in\n" + "\n".join(map(str, self.logs))) from None
        return found

    async def printed(self, words: str) -> None:
        """Wait until standard output holds some words."""
        async with asyncio.timeout(WAIT), self._news:
            while not any(words in line for line in self.output):
                await self._news.wait()

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def strike(self) -> None:
        """SIGKILL this instant; `kill` then waits for the end."""
        assert self._process
        with suppress(ProcessLookupError):
            self._process.kill()

    async def kill(self) -> None:
        """SIGKILL."""
        self.strike()
        await self._ended()

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        return await self._ended()

    async def _ended(self) -> int:
        assert self._process
        code = await asyncio.wait_for(self._process.wait(), WAIT)
        await asyncio.gather(*self._readers)
        return code

    async def post(self, body: Any, path: str = "/hooks/grafana", **kwargs: Any) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with aiohttp.ClientSession() as session, session.post(self.url + path, data=data, **kwargs) as answer:
            return answer.status, await answer.json()

    def set_clock(self, seconds: float) -> None:
        """Set the wall clock that this bridge sees, running or not, to so many seconds from the real one."""
        self.clock = self.clock or self.config.with_suffix(".clock")
        with self.clock.open("r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("<d", seconds))

    async def counted(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels, as `/metrics` has them."""
        samples = [
            sample
            for family in text_string_to_metric_families((await self.get("/metrics"))[1])
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(sample.value for sample in samples)

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status, await answer.text()


@dataclass
class BridgeHarness:
    """The simulator, and a maker of bridges against it, and of commands beside them."""

    simulator: Simulator
    directory: Path
    processes: list[BridgeProcess] = field(default_factory=list)
    launcher: Launcher | None = None
    """Without one each process is a start of Python, as people have it."""
    constants: dict[str, Any] = field(default_factory=dict)
    """What the launcher's forks take instead of the real constants."""

    def write(
        self,
        extra: str = "",
        *,
        endpoint: str | None = None,
        wechat: str = "pace: none",
        ops: str = "",
        targets: str = "",
        name: str = "jobs.yaml",
        port: int = 0,
    ) -> Path:
        """Write a configuration; `ops` is more keys of that target, `targets` is more of them."""
        path = self.directory / name
        path.write_text(
            f"""\
timezone: Asia/Shanghai
server: {{listen: "127.0.0.1:{port}"}}
wechat:
  endpoint: "{endpoint or self.simulator.endpoint}"
  token: "{self.simulator.token}"
  master: 主人
  {wechat}
targets:
  ops: {{channel: wechat, room: 技术讨论群{ops and ", "}{ops}}}
  boss: {{channel: wechat, contact: 张三}}
  {targets}
routes:
  - {{match: {{severity: critical}}, to: [ops, boss]}}
  - {{match: {{team: nobody}}, to: []}}
  - {{match: ['severity!="unrouted"'], to: [ops]}}
{extra}
""",
            encoding="utf-8",
        )
        return path

    async def bridge(self, *args: Any, **kwargs: Any) -> BridgeProcess:
        return await self.process(*args, **kwargs).start()

    def process(self, *args: Any, **kwargs: Any) -> BridgeProcess:
        """Make a bridge that is not started yet; it is killed in the end."""
        process = BridgeProcess(self.write(*args, **kwargs), self.launcher, self.constants)
        self.processes.append(process)
        return process

    async def command(self, *words: str, config: Path | None = None) -> tuple[int, str, str]:
        """Run another `wxbridge` command to its end: exit code, standard output, standard error."""
        arguments = [*words, "-c", str(config or self.directory / "jobs.yaml")]
        process: asyncio.subprocess.Process | ForkedProcess
        if self.launcher:
            process = await ForkedProcess.start(self.launcher, {"arguments": arguments})
        else:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "wxbridge", *arguments,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        # A whole start of Python: on a machine that others use too it takes as long as the launcher's.
        out, err = await asyncio.wait_for(process.communicate(), 4 * WAIT)
        return process.returncode or 0, out.decode(), err.decode()

    def room(self, topic: str = "技术讨论群") -> list[str]:
        """What the bot has written into a room: texts, and `[name]` for pictures."""
        return [
            message.text or f"[{message.media.name}]"
            for message in self.simulator.world.messages(room=topic, sent_by_bot=True)
        ]

    def chat(self, contact: str = "主人") -> list[str]:
        return [
            message.text or f"[{message.media.name}]"
            for message in self.simulator.world.messages(contact=contact, sent_by_bot=True)
        ]

    async def until(self, condition: Callable[[], Any]) -> Any:
        try:
            return await self.simulator.wait_for(condition, timeout=WAIT)
        except TimeoutError:
            logs = "\n".join(str(line) for process in self.processes for line in process.logs[-40:])
            raise AssertionError(f"room: {self.room()}\nmaster: {self.chat()}\n{logs}") from None
