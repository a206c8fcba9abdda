"""A whole bridge with the shipped simulator, and something of everything that a page of the console shows."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support import wait_until
from wxbridge import app, registry
from wxbridge.cli.sample_alerts import SAMPLES
from wxbridge.config.schema import Config, load
from wxbridge.core.model import MessageState
from wxbridge.simulator import Simulator

TOKEN = "a-t0ken-of-ours"
READ_TOKEN = "a-read-t0ken"
EVIL = "<script>alert('x')</script>"

SETTINGS = """\
language: en
timezone: Asia/Shanghai
server:
  listen: "127.0.0.1:0"
  public_url: https://bridge.example.com
  token: {token}
  read_token: {read_token}
  proxies: [10.0.0.0/8]
wechat:
  endpoint: "{endpoint}"
  token: "{gateway_token}"
  master: 主人
  greeting: ""
  pace: {{chat: 20/s, total: 30/min, day: 600}}
host: {{measure: false, every: 60s}}
alertmanager: {{url: "{monitors}"}}
prometheus: {{url: "{monitors}"}}
targets:
  ops: {{channel: wechat, room: 技术讨论群, fallback: robot}}
  duty: {{channel: wechat, room: 运维值班, pace: {{total: 25/min}}}}
  robot: {{channel: wecom_robot, key: 11111111-2222-3333-4444-555555555555}}
  spare: {{channel: wecom_robot, key: 66666666-7777-8888-9999-000000000000, digest_count: 1000}}
routes:
  - {{match: {{severity: critical}}, to: [ops, duty]}}
  - {{match: {{team: nobody}}, to: []}}
  - {{to: [ops]}}
jobs:
  - {{id: hello, every: 2h, kind: text, text: "it is {{{{ now }}}}", to: [ops]}}
  - {{id: inspection, cron: 5 9-18 * * *, kind: text, text: "looked at", to: [duty]}}
"""


def group(*alerts: dict[str, Any], key: str = "g") -> bytes:
    """What Alertmanager posts."""
    return json.dumps({
        "version": "4", "groupKey": key, "status": "firing", "receiver": "wxbridge", "groupLabels": {},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am.example", "truncatedAlerts": 0,
        "alerts": [
            {"status": "firing", "startsAt": "2026-02-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
             "generatorURL": "http://prom.example/graph", "fingerprint": f"{key}{index}", "annotations": {}, **alert}
            for index, alert in enumerate(alerts)
        ],
    }).encode()  # fmt: skip


def alert(name: str, severity: str = "warning", **labels: str) -> dict[str, Any]:
    summary = labels.pop("summary", f"{name} on {labels.get('instance', 'db-1')}")
    return {
        "labels": {"alertname": name, "severity": severity, "instance": "db-1:9100", **labels},
        "annotations": {"summary": summary},
    }


class Monitors:
    """An Alertmanager and a Prometheus, as far as they are asked."""

    def __init__(self) -> None:
        self.down = False
        self.alerts: list[dict[str, Any]] = []
        self.silences: dict[str, dict[str, Any]] = {}
        self.app = web.Application(middlewares=[self._gate])
        self.app.router.add_get("/api/v2/alerts", self._list)
        self.app.router.add_get("/api/v2/silences", self._kept)
        self.app.router.add_post("/api/v2/silences", self._silence)
        self.app.router.add_get("/api/v2/silence/{id}", self._one)
        self.app.router.add_delete("/api/v2/silence/{id}", self._end)
        self.app.router.add_route("*", "/api/v1/rules", self._rules)
        self.app.router.add_route("*", "/api/v1/{query:.*}", self._range)

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> Any:
        return web.Response(status=403, text="not for you") if self.down else await handler(request)

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(self.alerts)

    async def _kept(self, _: web.Request) -> web.Response:
        return web.json_response(list(self.silences.values()))

    async def _silence(self, request: web.Request) -> web.Response:
        made = await request.json()
        name = f"{len(self.silences):08x}-1111-2222-3333-444444444444"
        self.silences[name] = made | {"id": name, "status": {"state": "active"}}
        return web.json_response({"silenceID": name})

    async def _one(self, request: web.Request) -> web.Response:
        return web.json_response(self.silences[request.match_info["id"]])

    async def _end(self, request: web.Request) -> web.Response:
        self.silences[request.match_info["id"]]["status"] = {"state": "expired"}
        return web.json_response({})

    async def _rules(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": {"groups": []}})

    async def _range(self, _: web.Request) -> web.Response:
        values = [[time.time() - 60 * minute, str(50 + minute % 7)] for minute in range(60, 0, -1)]
        result = [{"metric": {"__name__": "disk_used", "instance": "kafka-3:9100"}, "values": values}]
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": result}})


@dataclass
class ConsoleBridge:
    """A running bridge."""

    bridge: app.App
    monitors: Monitors
    simulator: Simulator
    file: Path
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.bridge.url

    async def post(self, body: bytes, to: str = "") -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        address = f"{self.url}/hooks/alertmanager" + (f"?to={to}" if to else "")
        async with self.session.post(address, data=body, headers=headers) as response:
            assert response.status == 202, await response.text()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something of the bridge, which may be a coroutine function."""
        return await wait_until(condition)

    async def settled(self) -> bool:
        return not await self.bridge.outbox.count_backlog()

    async def push(self, host: str, minutes: int = 30) -> None:
        """What a machine measures, posted as one that pushes."""
        now = time.time()
        samples = [
            {"at": now - 60 * minute, "figures": {"cpu": 91.0, "memory": 40.0, "disk:/": 12.0, "load1": 2.5}}
            for minute in range(minutes, -1, -1)
        ]
        body = {"host": host, "every": 60, "now": now, "samples": samples, "about": {"cores": 8}}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.session.post(f"{self.url}/hooks/host", json=body, headers=headers) as response:
            assert response.status == 202, await response.text()

    async def fill(self) -> None:
        """Have alerts come in, be sent, and fail."""
        await self.post(group(alert("DiskFull", "critical", instance="kafka-3:9100", mount="/data"), key="disk"))
        await self.post(group(alert(EVIL, team="x", summary=EVIL), key="evil"))
        await self.post(group(alert("Watchdog", "none", team="nobody"), key="nobody"))
        await self.post(group(alert("HighLoad"), alert("HighLoad", instance="db-2:9100"), key="load"))
        await self.until(self.settled)
        await self.dead_message()

    async def dead_message(self) -> int:
        """Give the number of a message that could not be sent; somebody may have sent the last such one again."""
        outbox = self.bridge.outbox
        if not await outbox.list_messages(states=["dead"], limit=1):
            found = await outbox.list_messages(target="duty")
            await outbox.close(
                [found[0].id], MessageState.DEAD, now=time.time(), error="the room is gone", code="room_gone"
            )
        return (await outbox.list_messages(states=["dead"], limit=1))[0].id


@asynccontextmanager
async def running(folder: Path, *, logged_in: bool = True) -> AsyncIterator[ConsoleBridge]:
    """A bridge over a folder of its own."""
    monitors = Monitors()
    async with (
        Simulator(auto_scan=logged_in) as simulator,
        aiohttp.ClientSession() as session,
        TestServer(monitors.app) as server,
    ):
        file = folder / "jobs.yaml"
        file.write_text(
            SETTINGS.format(
                token=TOKEN,
                read_token=READ_TOKEN,
                endpoint=simulator.endpoint,
                gateway_token=simulator.token,
                monitors=str(server.make_url("")).rstrip("/"),
            ),
            encoding="utf-8",
        )

        def read() -> Config:
            return load(file, registry.plugin_settings(), {})

        async with app.running(read(), read, samples=lambda: SAMPLES) as bridge:
            bench = ConsoleBridge(bridge, monitors, simulator, file, session)
            if logged_in:
                await bench.until(lambda: bridge.channels.statuses()["wechat"].state == "online")
            yield bench
