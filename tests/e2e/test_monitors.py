"""A real Prometheus and a real Alertmanager: a rule fires, its alert arrives where it should, and resolves."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.fakes.real_monitors import needs_both, run_alertmanager, run_prometheus
from tests.support import free_port, wait_until

from .bridge_harness import BridgeHarness, BridgeProcess

pytestmark = needs_both

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


@dataclass
class Monitors:
    """A Prometheus that scrapes this test, and an Alertmanager that posts to a bridge through a relay."""

    directory: Path
    hook: str
    figures: dict[str, float] = field(default_factory=dict)
    """What is scraped: sample → value."""
    answers: list[int] = field(default_factory=list)
    """The statuses that Alertmanager's next posts are answered with, though the bridge has taken them."""
    posts: int = 0
    relay_url: str = ""
    alertmanager_port: int = field(default_factory=free_port)
    _alertmanager: AsyncExitStack = field(default_factory=AsyncExitStack)

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

    async def start_alertmanager(self) -> None:
        config = f"""\
route: {{receiver: wxbridge, group_by: [alertname], group_wait: 100ms, group_interval: 500ms, repeat_interval: 1s}}
receivers:
  - name: wxbridge
    webhook_configs:
      - url: {self.relay_url}
        http_config: {{authorization: {{credentials: a-token-of-its-own}}}}
"""
        await self._alertmanager.enter_async_context(
            run_alertmanager(self.directory, config, port=self.alertmanager_port)
        )

    async def end_alertmanager(self) -> None:
        await self._alertmanager.aclose()


@asynccontextmanager
async def monitors(
    harness: BridgeHarness, bridge: BridgeProcess, prometheus_port: int | None = None
) -> AsyncIterator[Monitors]:
    directory = harness.directory / "monitors"
    directory.mkdir()
    made = Monitors(directory, f"{bridge.url}/hooks/alertmanager")
    app = web.Application()
    app.router.add_get("/metrics", made.metrics)
    app.router.add_post("/relay", made.relay)
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        here = f"127.0.0.1:{runner.addresses[0][1]}"
        made.relay_url = f"http://{here}/relay"
        stack.push_async_callback(made.end_alertmanager)
        await made.start_alertmanager()
        (directory / "rules.yml").write_text(RULES, encoding="utf-8")
        config = f"""\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
rule_files: [{directory / "rules.yml"}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{made.alertmanager_port}"]}}]}}]}}
scrape_configs: [{{job_name: node, static_configs: [{{targets: ["{here}"], labels: {{instance: db-1}}}}]}}]
"""
        resend = "--rules.alert.resend-delay=500ms"
        await stack.enter_async_context(run_prometheus(directory, config, resend, port=prometheus_port))
        yield made


async def test_a_rule_fires_takes_its_route_arrives_and_resolves(harness: BridgeHarness) -> None:
    bridge = await harness.bridge(ROUTES)
    async with monitors(harness, bridge) as made:
        made.figures['disk_used_ratio{mount="/data"}'] = 0.97
        made.figures["queue_length"] = 3
        await harness.until(lambda: len(harness.room()) == 1 and len(harness.chat("张三")) == 1)
        made.figures['disk_used_ratio{mount="/data"}'] = 0.5
        await harness.until(lambda: len(harness.room()) == 2 and len(harness.chat("张三")) == 2)
    fired, resolved = harness.room()
    assert fired.startswith("🔴")
    assert "DiskAlmostFull" in fired
    assert "/data on db-1 is almost full" in fired
    assert resolved.startswith("✅")
    assert "DiskAlmostFull" in resolved


async def test_a_restarted_and_repeating_alertmanager_tells_nobody_twice(harness: BridgeHarness) -> None:
    bridge = await harness.bridge(ROUTES)
    async with monitors(harness, bridge) as made:
        made.figures["queue_length"] = 40
        await harness.until(lambda: len(harness.room()) == 1)
        await made.end_alertmanager()
        shutil.rmtree(made.directory / "alertmanager")  # it forgets what it has told
        before = made.posts
        await made.start_alertmanager()
        await wait_until(lambda: made.posts >= before + 2)
        _, metrics = await bridge.get("/metrics")
    assert len(harness.room()) == 1
    assert 'wxbridge_deduplicated_total{source="alertmanager"}' in metrics


async def test_what_was_answered_with_500_is_sent_again_by_alertmanager_and_told_once(harness: BridgeHarness) -> None:
    bridge = await harness.bridge(ROUTES)
    async with monitors(harness, bridge) as made:
        made.answers += [500, 503]
        made.figures["queue_length"] = 40
        await wait_until(lambda: made.posts >= 3)
        await harness.until(lambda: len(harness.room()) == 1)
        made.figures["queue_length"] = 4
        await harness.until(lambda: len(harness.room()) == 2)
    assert [text[0] for text in harness.room()] == ["🟡", "✅"]
