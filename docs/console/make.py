# ruff: noqa: INP001 - a script, in no package
"""Takes the pictures of the console's pages: `python docs/console/make.py [FOLDER [PAGE…]]`.

It runs a bridge with the shipped simulator, has things happen that look like an ordinary night's, and looks at its
pages in Chromium on a phone and at a desk, light and dark. Without a folder it writes the few that the docs show.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

import wxbridge
from wxbridge import app, registry
from wxbridge.alerts.service import SilenceRequest
from wxbridge.cli.sample_alerts import SAMPLES
from wxbridge.config.schema import load
from wxbridge.core.matchers import parse_matchers
from wxbridge.core.model import MessageState
from wxbridge.simulator import Simulator

HERE = Path(__file__).parent
SIGNS = Path(wxbridge.__file__).parent / "simulator" / "static"
TOKEN = "shown-to-nobody"  # noqa: S105 - of a bridge that lives for a minute
PHONE, DESK = (390, 844), (1280, 800)
PAGES = {
    "timeline": "/", "login": "/console/login", "alerts": "/console/alerts", "silence": "/console/alerts?silence=KEY",
    "targets": "/console/targets", "routes": "/console/routes?labels=severity%3Dcritical%0Ateam%3Ddb",
    "senders": "/console/senders", "templates": "/console/templates",
    "jobs": "/console/jobs", "machines": "/console/host", "rooms": "/console/rooms",
    "configuration": "/console/configuration", "doctor": "/console/doctor", "message": "/console/message?id=ID",
    "alert": "/console/alert?key=KEY", "audit": "/console/audit", "gone": "/console/nowhere",
    "sign-in": "/console/sign-in", "link": "/s/LINK",
}  # fmt: skip
SHOWN = (
    ("timeline", PHONE, "light", "en-US"), ("timeline", DESK, "light", "en-US"), ("machines", PHONE, "dark", "zh-CN"),
    ("alerts", PHONE, "dark", "en-US"), ("login", PHONE, "light", "zh-CN"), ("machines", DESK, "dark", "en-US"),
    ("jobs", DESK, "light", "zh-CN"), ("alert", DESK, "dark", "en-US"), ("templates", DESK, "light", "zh-CN"),
    ("routes", PHONE, "light", "zh-CN"),
)  # fmt: skip
"""What the docs show: the page, its size, the ground, the language."""
_LOOKS = (
    (PHONE, "light", "en-US"), (PHONE, "dark", "zh-CN"), (DESK, "light", "zh-CN"), (DESK, "dark", "en-US"),
)  # fmt: skip
SETTINGS = """\
language: {language}
timezone: Asia/Shanghai
server: {{listen: "127.0.0.1:0", token: {token}, public_url: "https://bridge.example.com"}}
wechat: {{endpoint: "{endpoint}", token: "{gateway}", master: 主人, greeting: ""}}
host: {{name: bridge, measure: false, every: 60s}}
targets:
  ops: {{channel: wechat, room: 技术讨论群, fallback: robot, commands: true}}
  duty: {{channel: wechat, room: 运维值班, fallback: ops, pace: {{total: 20/min}}}}
  zhang: {{channel: wechat, contact: 张三}}
  robot: {{channel: wecom_robot, key: 11111111-2222-3333-4444-555555555555, base_url: "http://127.0.0.1:9"}}
routes:
  - {{match: {{team: nobody}}, to: []}}
  - {{match: {{severity: critical}}, to: [ops, duty]}}
  - {{match: {{team: db}}, to: [ops, zhang]}}
  - {{to: [ops]}}
jobs:
  - {{id: morning-report, cron: 30 8 * * mon-fri, kind: host_report, to: [ops]}}
  - {{id: kafka-inspection, cron: 5 9-18 * * *, kind: picture, path: "{picture}", to: [ops]}}
  - {{id: standup, cron: 55 9 * * mon-fri, kind: text, text: "早会 5 分钟后开始", to: [ops, duty]}}
  - {{id: heartbeat, every: 2h, kind: text, text: "all quiet", to: [zhang]}}
"""


def alert(name: str, severity: str, summary: str, since: float, **labels: str) -> dict[str, Any]:
    """An alert as Alertmanager posts it; `since` is how many minutes ago it began."""
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - since * 60))
    return {
        "status": "firing", "startsAt": began, "endsAt": "0001-01-01T00:00:00Z", "fingerprint": f"{name}{labels}",
        "generatorURL": "http://prometheus.example:9090/graph?g0.expr=up",
        "labels": {"alertname": name, "severity": severity, **labels}, "annotations": {"summary": summary},
    }  # fmt: skip


ALERTS = (
    (alert("Watchdog", "none", "the pipeline is alive", 900, team="nobody"),),
    (alert("CertificateExpires", "warning", "api.example.com 的证书将在 9 天后过期", 400, instance="edge-2:443"),),
    (
        alert("ReplicaLags", "warning", "db-2 lags 48 s behind db-1", 95, team="db", instance="db-2:9104"),
        alert("ReplicaLags", "warning", "db-3 lags 61 s behind db-1", 94, team="db", instance="db-3:9104"),
    ),
    (alert("磁盘空间不足", "critical", "kafka-3 的 /data 仅剩 4.1 %,约 2 小时后写满", 31, team="kafka",
           instance="kafka-3:9100", mountpoint="/data", device="/dev/nvme1n1"),),
    (alert("CheckoutErrors", "critical", "6.2 % of checkouts answer 5xx; usual is 0.1 %", 7, team="shop",
           instance="shop-1:8080", namespace="prod"),),
)  # fmt: skip


def samples(load_of: Callable[[float], float], now: float) -> list[dict[str, Any]]:
    """A day of a machine that is as busy as `load_of` tells by the share of the day that has passed."""
    noise, found = random.Random(7), []  # noqa: S311 - it is no secret
    for minute in range(1400, -1, -1):
        share, jitter = 1 - minute / 1400, noise.uniform(-4, 4)
        cpu = min(99.0, max(1.0, load_of(share) + jitter))
        found.append({
            "at": now - minute * 60,
            "figures": {
                "cpu": cpu, "memory": 48 + 12 * share + jitter / 4, "memory_used": (48 + 12 * share) / 100 * 34e9,
                "disk:/": 41.0, "disk_free:/": 61e9, "disk:/data": 70 + 22 * share,
                "disk_free:/data": 8e11 * (0.3 - 0.22 * share), "load1": cpu / 12, "load5": cpu / 13,
                "load15": cpu / 14, "net_in": 2e6 + cpu * 9e4, "net_out": 8e5 + cpu * 5e4,
                "disk_read": 3e5, "disk_write": 2e6 + cpu * 1e4, "temperature": 41 + cpu / 5,
            },
        })  # fmt: skip
    return found


async def _until(look: Callable[[], Any], *, wanted: bool = True) -> None:
    """Look, a few times a second, until there is something, or nothing."""
    for _ in range(200):
        found = look()
        if bool(await found if asyncio.iscoroutine(found) else found) is wanted:
            return
        await asyncio.sleep(0.2)


async def fill(bridge: app.App, session: aiohttp.ClientSession, *, machines: int = 2) -> None:
    """Have an ordinary night happen."""
    headers = {"Authorization": f"Bearer {TOKEN}"}

    async def post(path: str, body: Any) -> None:
        async with session.post(bridge.url + path, json=body, headers=headers) as answer:
            assert answer.ok, await answer.text()  # noqa: S101 - a script

    now = time.time()
    shapes: tuple[Callable[[float], float], ...] = (
        lambda share: 34 + 30 * math.sin(share * 9) + (38 if share > 0.97 else 0),  # noqa: PLR2004
        lambda share: 14 + 6 * math.sin(share * 5),
    )
    for number in range(machines):
        found = samples(shapes[number % 2], now)
        for start in range(0, len(found), 500):
            await post("/hooks/host", {
                "host": ("kafka-3", "shop-1")[number] if number < 2 else f"web-{number}", "every": 60, "now": now,  # noqa: PLR2004
                "samples": found[start : start + 500], "about": {"cores": 16, "memory": 34e9, "system": "Debian 12"},
            })  # fmt: skip
    for job in ("kafka-inspection", "standup"):
        bridge.jobs.run_now(job)
    await _until(bridge.outbox.count_backlog)
    await _until(bridge.outbox.count_backlog, wanted=False)
    for number, group in enumerate(ALERTS):
        body = {"version": "4", "groupKey": f"g{number}", "status": "firing", "alerts": group}
        await post("/hooks/alertmanager", body)
    await _until(bridge.outbox.count_backlog, wanted=False)
    listed = await bridge.outbox.list_messages(target="duty")
    error = "no room is called 运维值班. `wxbridge rooms` lists the 2 known."
    await bridge.outbox.close([listed[-1].id], MessageState.DEAD, now=time.time(), error=error, code="room_gone")
    matchers = parse_matchers(['alertname="CertificateExpires"', 'instance="edge-2:443"'])
    await bridge.alerts.silence(SilenceRequest(matchers, now, now + 28800, "李四", "renewal is ordered"))
    overview = await bridge.alerts.overview()
    lagging = next((each for each in overview.alerts if each.alert.title == "ReplicaLags"), None)
    if lagging:
        await bridge.alerts.acknowledge(lagging.keys, "张三", "rebuilding the index")


_PICTURES_ARE_THERE = """Promise.all([...document.images]
  .filter((image) => !image.complete && image.checkVisibility() && image.getBoundingClientRect().top < innerHeight)
  .map((image) => new Promise((done) => { image.onload = image.onerror = done; })))"""
_DRAW_SIGNS = """
;(() => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) if (EMOJI_PATTERN.test(walk.currentNode.data)) found.push(walk.currentNode);
  globalThis.svg = svg;
  for (const each of found) each.replaceWith(...withEmoji(each.data));
  for (const sign of document.querySelectorAll(".emoji")) {
    sign.firstChild.remove();
    sign.firstChild.style.cssText = "width:1.15em;height:1.15em;vertical-align:-.2em";
  }
  function svg(box, ...shapes) {
    const make = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);
    const made = make("svg");
    made.setAttribute("viewBox", box);
    for (const [name, its] of shapes) {
      const shape = make(name);
      for (const [key, value] of Object.entries(its)) shape.setAttribute(key, value);
      made.append(shape);
    }
    return made;
  }
})()"""


async def shoot(browser: Any, url: str, path: str, folder: Path, how: tuple[str, tuple[int, int], str, str]) -> Path:
    """One page, as it is seen."""
    name, (width, height), scheme, locale = how
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale=locale,
        device_scale_factor=2 if width < DESK[0] else 1,
    )  # fmt: skip
    page = await context.new_page()
    if name != "sign-in":
        await page.goto(f"{url}/?token={TOKEN}")
    await page.goto(url + path)
    # The stream of events never ends, so there is no idle network to wait for.
    await page.wait_for_timeout(1500)
    await page.evaluate(_PICTURES_ARE_THERE)
    # Servers often have no font with these; the simulator's page draws them.
    await page.evaluate((SIGNS / "emoji.js").read_text(encoding="utf-8") + _DRAW_SIGNS)
    size = "phone" if width < DESK[0] else "desk"
    file = folder / f"{name}-{size}-{scheme}{'-zh' if locale == 'zh-CN' else ''}.png"
    await page.screenshot(path=file)
    await context.close()
    # 256 colours are enough for what is flat, and a third of the size.
    with Image.open(file) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
    return file


async def main(folder: Path, wanted: list[str]) -> None:
    """Take them all."""
    from playwright.async_api import async_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        async with (
            Simulator(auto_scan=True) as simulator,
            aiohttp.ClientSession() as session,
            async_playwright() as driver,
        ):
            file = place / "jobs.yaml"
            file.write_text(
                SETTINGS.format(
                    language="en", token=TOKEN, endpoint=simulator.endpoint, gateway=simulator.token,
                    picture=HERE.parent / "charts" / "queue.png",
                ),
                encoding="utf-8",
            )  # fmt: skip
            config = load(file, registry.plugin_settings(), {})
            async with app.running(config, samples=lambda: SAMPLES) as bridge:
                browser = await driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                await _until(lambda: bridge.channels.statuses()["wechat"].state == "online")
                await fill(bridge, session)
                overview = await bridge.alerts.overview()
                key = overview.alerts[0].key if overview else ""
                newest = (await bridge.outbox.list_messages(target="duty"))[-1]
                pages = bridge.alerts.pages
                link = pages.silence([key], "robot", time.time()).rpartition("/")[2] if pages else ""
                paths = {
                    name: path.replace("KEY", key).replace("ID", str(newest.id)).replace("LINK", link)
                    for name, path in PAGES.items()
                }
                every = [
                    (name, size, scheme, locale)
                    for name in wanted or paths
                    for size, scheme, locale in _LOOKS
                ]  # fmt: skip
                for how in sorted(every if folder != HERE else SHOWN, key=lambda each: each[0] == "login"):
                    if how[0] == "login" and simulator.world.state == "logged_in":
                        simulator.gateway.auto_scan = False
                        simulator.world.logout()
                        await _until(lambda: bridge.channels.statuses()["wechat"].state == "waiting_for_scan")
                    made = await shoot(browser, bridge.url, paths[how[0]], folder, how)
                    print(f"{made.name}: {made.stat().st_size // 1000} kB")  # noqa: T201 - a script
                await browser.close()


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    print(json.dumps({"to": str(where)}))  # noqa: T201 - a script
    asyncio.run(main(where, sys.argv[2:]))
