"""A whole bridge with the shipped simulator, and something of everything that a page of the console shows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from wxbridge import app, outbox, registry
from wxbridge.bridge import Bridge
from wxbridge.config import Config, load
from wxbridge.model import MessageState
from wxbridge.simulator import Simulator

TOKEN = "a-t0ken-of-ours"
READ_TOKEN = "a-read-t0ken"
EVIL = "<script>alert('x')</script>"

SETTINGS = """\
language: en
timezone: Asia/Shanghai
server: {{listen: "127.0.0.1:0", token: {token}, read_token: {read_token}, proxies: [10.0.0.0/8]}}
wechat:
  endpoint: "{endpoint}"
  token: "{gateway_token}"
  master: 主人
  greeting: ""
targets:
  ops: {{channel: wechat, room: 技术讨论群, fallback: robot}}
  duty: {{channel: wechat, room: 运维值班}}
  robot: {{channel: wecom_robot, key: 11111111-2222-3333-4444-555555555555}}
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


@dataclass
class Bench:
    """A running bridge."""

    bridge: Bridge
    simulator: Simulator
    file: Path
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.bridge.url

    async def post(self, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.session.post(f"{self.url}/hooks/alertmanager", data=body, headers=headers) as response:
            assert response.status == 202, await response.text()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something of the bridge, which may be a coroutine function."""
        async with asyncio.timeout(15):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.02)

    async def settled(self) -> bool:
        return not await self.bridge.database.read(outbox.backlog)

    async def fill(self) -> None:
        """Have alerts come in, be sent, and fail."""
        await self.post(group(alert("DiskFull", "critical", instance="kafka-3:9100", mount="/data"), key="disk"))
        await self.post(group(alert(EVIL, team="x", summary=EVIL), key="evil"))
        await self.post(group(alert("Watchdog", "none", team="nobody"), key="nobody"))
        await self.post(group(alert("HighLoad"), alert("HighLoad", instance="db-2:9100"), key="load"))
        await self.until(self.settled)
        found = await self.bridge.database.read(lambda c: outbox.listing(c, target="duty"))
        await self.bridge.database.run(
            lambda c: outbox.settle(
                c, found[0].id, MessageState.DEAD, now=time.time(), error="the room is gone", code="room_gone"
            )
        )


@asynccontextmanager
async def running(folder: Path, *, logged_in: bool = True) -> AsyncIterator[Bench]:
    """A bridge over a folder of its own."""
    async with Simulator(auto_scan=logged_in) as simulator, aiohttp.ClientSession() as session:
        file = folder / "jobs.yaml"
        file.write_text(
            SETTINGS.format(
                token=TOKEN, read_token=READ_TOKEN, endpoint=simulator.endpoint, gateway_token=simulator.token
            ),
            encoding="utf-8",
        )

        def read() -> Config:
            return load(file, registry.plugin_settings(), {})

        async with app.running(read(), read) as bridge:
            bench = Bench(bridge, simulator, file, session)
            if logged_in:
                await bench.until(lambda: bridge.statuses()["wechat"].state == "online")
            yield bench
