"""A real bridge process against the simulator over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from wxbridge.simulator import Simulator

WAIT = 20.0
"""Seconds within which anything that is waited for must happen."""


@dataclass
class Process:
    """A `wxbridge run` in its own process."""

    config: Path
    logs: list[dict[str, Any]] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    url: str = ""
    _process: asyncio.subprocess.Process | None = None
    _readers: list[asyncio.Task[None]] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def start(self) -> Process:
        self.logs.clear()
        self.output.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wxbridge", "run", "-c", str(self.config), "--log-format", "json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self._readers = [
            asyncio.create_task(self._read(self._process.stdout, self.output.append)),
            asyncio.create_task(self._read(self._process.stderr, self._take_log)),
        ]
        self.url = (await self.event("serving"))["url"]
        return self

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

    async def kill(self) -> None:
        """SIGKILL."""
        assert self._process
        self._process.kill()
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

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status, await answer.text()


@dataclass
class Bench:
    """The simulator, and a maker of bridges against it."""

    simulator: Simulator
    directory: Path
    processes: list[Process] = field(default_factory=list)

    def write(
        self, extra: str = "", *, endpoint: str | None = None, wechat: str = "pace: none", name: str = "jobs.yaml"
    ) -> Path:
        path = self.directory / name
        path.write_text(
            f"""\
timezone: Asia/Shanghai
server: {{listen: "127.0.0.1:0"}}
wechat:
  endpoint: "{endpoint or self.simulator.endpoint}"
  token: "{self.simulator.token}"
  master: 主人
  {wechat}
targets:
  ops: {{channel: wechat, room: 技术讨论群}}
  boss: {{channel: wechat, contact: 张三}}
routes:
  - {{match: {{severity: critical}}, to: [ops, boss]}}
  - {{match: {{team: nobody}}, to: []}}
  - {{match: ['severity!="unrouted"'], to: [ops]}}
{extra}
""",
            encoding="utf-8",
        )
        return path

    async def bridge(self, *args: Any, **kwargs: Any) -> Process:
        process = Process(self.write(*args, **kwargs))
        self.processes.append(process)
        return await process.start()

    async def command(self, *words: str, config: Path | None = None) -> tuple[int, str, str]:
        """Run another `wxbridge` command to its end: exit code, standard output, standard error."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wxbridge", *words, "-c", str(config or self.directory / "jobs.yaml"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 40)
        return process.returncode or 0, out.decode(), err.decode()

    def room(self, topic: str = "技术讨论群") -> list[str]:
        """What the bot has written into a room: texts, and `[name]` for pictures."""
        return [
            message.text or f"[{message.media.name}]"
            for message in self.simulator.messages(room=topic, sent_by_bot=True)
        ]

    def chat(self, contact: str = "主人") -> list[str]:
        return [
            message.text or f"[{message.media.name}]"
            for message in self.simulator.messages(contact=contact, sent_by_bot=True)
        ]

    async def until(self, condition: Callable[[], Any]) -> Any:
        try:
            return await self.simulator.wait_for(condition, timeout=WAIT)
        except TimeoutError:
            logs = "\n".join(str(line) for process in self.processes for line in process.logs[-40:])
            raise AssertionError(f"room: {self.room()}\nmaster: {self.chat()}\n{logs}") from None


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Simulator(auto_scan=True) as simulator:
        bench = Bench(simulator, tmp_path)
        try:
            yield bench
        finally:
            for process in bench.processes:
                with suppress(Exception):
                    await process.kill()
