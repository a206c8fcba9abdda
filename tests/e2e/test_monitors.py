"""A real Prometheus and a real Alertmanager: a rule fires, its alert arrives where it should, and resolves."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from .conftest import WAIT, Bench, Process

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

pytestmark = pytest.mark.skipif(
    not (PROMETHEUS and ALERTMANAGER), reason="needs Debian's packages prometheus and prometheus-alertmanager"
)

RULES = """\
groups:
  - name: disks
    interval: 200ms
    rules:
      - alert: DiskAlmostFull
        expr: disk_used_ratio > 0.9
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.mount }} on {{ $labels.instance }} is almost full"}
      - alert: QueueLong
        expr: queue_length > 10
        labels: {severity: warning, team: nights}
"""
ROUTES = """\
dedupe_window: 10m
hooks: {alertmanager: {token: a-token-of-its-own}}
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Monitors:
    """A Prometheus that scrapes this test, and an Alertmanager that posts to a bridge."""

    directory: Path
    hook: str
    figures: dict[str, float] = field(default_factory=dict)
    """What is scraped: sample → value."""
    answers: list[int] = field(default_factory=list)
    """The statuses that Alertmanager's next posts are answered with, though the bridge has taken them."""
    posts: int = 0
    prometheus_port: int = field(default_factory=free_port)
    alertmanager_port: int = field(default_factory=free_port)
    _processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text="".join(f"{sample} {value}\n" for sample, value in self.figures.items()))

    async def relay(self, request: web.Request) -> web.Response:
        """Hand a post on to the bridge, and perhaps lose its answer."""
        self.posts += 1
        headers = {"Authorization": request.headers["Authorization"], "Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.hook, data=await request.read(), headers=headers) as answer,
        ):
            text = await answer.text()
        return web.Response(status=self.answers.pop(0) if self.answers else answer.status, text=text)

    async def spawn(self, name: str, *command: str) -> None:
        log = (self.directory / f"{name}.log").open("ab")
        self._processes[name] = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        log.close()

    async def end(self, name: str) -> None:
        process = self._processes.pop(name)
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()

    async def start_alertmanager(self, relay: str) -> None:
        config = self.directory / "alertmanager.yml"
        config.write_text(
            f"""\
route: {{receiver: wxbridge, group_by: [alertname], group_wait: 100ms, group_interval: 500ms, repeat_interval: 1s}}
receivers:
  - name: wxbridge
    webhook_configs:
      - url: {relay}
        http_config: {{authorization: {{credentials: a-token-of-its-own}}}}
""",
            encoding="utf-8",
        )
        await self.spawn(
            "alertmanager", str(ALERTMANAGER), f"--config.file={config}",
            f"--storage.path={self.directory / 'alertmanager'}", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{self.alertmanager_port}",
        )  # fmt: skip

    async def start_prometheus(self, scraped: str) -> None:
        (self.directory / "rules.yml").write_text(RULES, encoding="utf-8")
        config = self.directory / "prometheus.yml"
        config.write_text(
            f"""\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
rule_files: [{self.directory / "rules.yml"}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{self.alertmanager_port}"]}}]}}]}}
scrape_configs: [{{job_name: node, static_configs: [{{targets: ["{scraped}"], labels: {{instance: db-1}}}}]}}]
""",
            encoding="utf-8",
        )
        await self.spawn(
            "prometheus", str(PROMETHEUS), f"--config.file={config}",
            f"--storage.tsdb.path={self.directory / 'prometheus'}", "--rules.alert.resend-delay=500ms",
            f"--web.listen-address=127.0.0.1:{self.prometheus_port}",
        )  # fmt: skip

    async def until(self, condition: Callable[[], bool | Awaitable[bool]]) -> None:
        async with asyncio.timeout(WAIT):
            while True:
                found = condition()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        for name in list(self._processes):
            await self.end(name)


@asynccontextmanager
async def monitors(bench: Bench, bridge: Process, prometheus_port: int | None = None) -> AsyncIterator[Monitors]:
    (bench.directory / "monitors").mkdir()
    made = Monitors(bench.directory / "monitors", f"{bridge.url}/hooks/alertmanager")
    made.prometheus_port = prometheus_port or made.prometheus_port
    app = web.Application()
    app.router.add_get("/metrics", made.metrics)
    app.router.add_post("/relay", made.relay)
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        here = f"127.0.0.1:{runner.addresses[0][1]}"
        stack.push_async_callback(made.close)
        await made.start_alertmanager(f"http://{here}/relay")
        await made.start_prometheus(here)
        yield made


async def test_a_rule_fires_takes_its_route_arrives_and_resolves(bench: Bench) -> None:
    bridge = await bench.bridge(ROUTES)
    async with monitors(bench, bridge) as made:
        made.figures['disk_used_ratio{mount="/data"}'] = 0.97
        made.figures["queue_length"] = 3
        await bench.until(lambda: len(bench.room()) == 1 and len(bench.chat("张三")) == 1)
        made.figures['disk_used_ratio{mount="/data"}'] = 0.5
        await bench.until(lambda: len(bench.room()) == 2 and len(bench.chat("张三")) == 2)
    fired, resolved = bench.room()
    assert fired.startswith("🔥")
    assert "DiskAlmostFull" in fired
    assert "/data on db-1 is almost full" in fired
    assert resolved.startswith("✅")
    assert "DiskAlmostFull" in resolved


async def test_a_restarted_and_repeating_alertmanager_tells_nobody_twice(bench: Bench) -> None:
    bridge = await bench.bridge(ROUTES)
    async with monitors(bench, bridge) as made:
        made.figures["queue_length"] = 40
        await bench.until(lambda: len(bench.room()) == 1)
        await made.end("alertmanager")
        shutil.rmtree(made.directory / "alertmanager")  # it forgets what it has told
        before = made.posts
        await made.start_alertmanager(f"http://127.0.0.1:{_relay_port(made)}/relay")
        await made.until(lambda: made.posts >= before + 2)
        _, metrics = await bridge.get("/metrics")
    assert len(bench.room()) == 1
    assert 'wxbridge_deduplicated_total{source="alertmanager"}' in metrics


async def test_what_was_answered_with_500_is_sent_again_by_alertmanager_and_told_once(bench: Bench) -> None:
    bridge = await bench.bridge(ROUTES)
    async with monitors(bench, bridge) as made:
        made.answers += [500, 503]
        made.figures["queue_length"] = 40
        await made.until(lambda: made.posts >= 3)
        await bench.until(lambda: len(bench.room()) == 1)
        made.figures["queue_length"] = 4
        await bench.until(lambda: len(bench.room()) == 2)
    assert [text[0] for text in bench.room()] == ["🔥", "✅"]


def _relay_port(made: Monitors) -> int:
    text = (made.directory / "alertmanager.yml").read_text(encoding="utf-8")
    return int(text.partition("/relay")[0].rpartition(":")[2])
