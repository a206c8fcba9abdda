# ruff: noqa: INP001 - a script, in no package
"""Draw how one alert reads in each channel: `python docs/renderings/make.py`.

A bridge in this process takes an alert and sends it to the fakes of the tests; what they received is laid out
as a chat and drawn by `wxbridge render`. The looks are a likeness, the words and marks are what is on the wire.
"""

from __future__ import annotations

import asyncio
import base64
import html
import io
import json
import re
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from aiohttp import web
from markdown_it import MarkdownIt
from PIL import Image

import wxbridge
from wxbridge import app, registry
from wxbridge.cli.sample_alerts import chart_png
from wxbridge.config.schema import load

HERE = Path(__file__).parent
# The tests are no part of the package: they are found where pytest finds them.
sys.path.insert(0, str(HERE.parent.parent))

from tests.fakes.dingtalk import FakeDingtalk  # noqa: E402
from tests.fakes.wecom import FakeWecom  # noqa: E402
from tests.fakes.wecom_bot import WecomBotServer  # noqa: E402

CONFIG = """\
timezone: Asia/Shanghai
language: zh
server: {{listen: "127.0.0.1:0"}}
state_dir: {state}
wecom: {{corp_id: ww1, base_url: "{wecom}"}}
bots: {{main: {{bot_id: bot-1, secret: secret-1, ws_url: "{bot}"}}}}
pictures: {{publish: {{url: "http://bridge"}}}}
targets:
  markdown: {{channel: wecom_robot, key: k1, base_url: "{wecom}", format: markdown}}
  text: {{channel: wecom_robot, key: k2, base_url: "{wecom}"}}
  app: {{channel: wecom_app, secret: s1, agent_id: 1000002, to: zhangsan, format: markdown}}
  bot: {{channel: wecom_bot, bot: main, chat: g1}}
  ding: {{channel: dingtalk, base_url: "{ding}", access_token: t1}}
routes: [{{to: [markdown, text, app, bot, ding]}}]
"""
ALERT = {
    "receiver": "wxbridge",
    "status": "firing",
    "groupKey": "cpu",
    "commonLabels": {"alertname": "CPU 过高", "severity": "critical"},
    "groupLabels": {"alertname": "CPU 过高"},
    "version": "1",
    "orgId": 1,
    "title": "CPU 过高",
    "state": "alerting",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "CPU 过高", "severity": "critical", "instance": "host-1:9100"},
            # What the sender wrote is seen as it was written, in every markdown.
            "annotations": {
                "summary": "5 分钟内一直高于 90 %",
                "description": "# __probe_failed__: <none> of *_exporter*",
            },
            "startsAt": "2026-11-20T02:18:00Z",
            "fingerprint": "a1",
            "values": {"CPU": 92.25},
            "panelURL": "https://grafana.example.com/d/hosts?viewPanel=4",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "CPU 过高", "severity": "critical", "instance": "host-2:9100"},
            "annotations": {"summary": "已恢复到 35 %"},
            "startsAt": "2026-11-20T01:02:00Z",
            "endsAt": "2026-11-20T02:10:00Z",
            "fingerprint": "a2",
        },
    ],
}
COLOURS = {"info": "#07a35a", "comment": "#8c8c8c", "warning": "#e8710a"}
STYLE = """
body{margin:0;padding:14px;background:#ececec;width:412px;
font:15px/1.5 "Noto Sans CJK SC","WenQuanYi Micro Hei",sans-serif}
.m{display:flex;gap:9px;margin:0 0 10px}.f{flex:none;width:38px;height:38px;border-radius:6px;background:#3a76c4;
color:#fff;text-align:center;line-height:38px;font-size:13px}.b{background:#fff;border-radius:6px;padding:8px 11px;
max-width:340px;
overflow-wrap:anywhere}.b img{display:block;max-width:318px;border-radius:3px}.t{white-space:pre-wrap}
.b p{margin:0 0 6px}.b p:last-child{margin:0}.b ul{margin:0;padding-left:18px}a{color:#2f6fbd;text-decoration:none}
blockquote{margin:4px 0;padding-left:9px;border-left:3px solid #ddd;color:#777}
h1,h2,h3,h4{font-size:16px;margin:0 0 4px}
.emoji{position:relative;display:inline-block;width:1.15em;height:1.15em;vertical-align:-.2em}
.emoji span{display:none}.emoji svg{width:100%;height:100%}
"""
SIGNS = """
function svg(box, ...shapes) {
  const make = (name, given) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
    return made;
  };
  const drawn = make("svg", {viewBox: box});
  drawn.append(...shapes.map(([name, given]) => make(name, given)));
  return drawn;
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const texts = [];
while (walker.nextNode()) texts.push(walker.currentNode);
for (const text of texts) text.replaceWith(...withEmoji(text.data));
"""
"""Signs are drawn as in the simulator's page: there may be no font with coloured ones."""
Bubble = str


def words(text: str) -> Bubble:
    """A text, as it stands in the chat."""
    return f'<div class="b t">{html.escape(text)}</div>'


def picture(data: bytes) -> Bubble:
    """A picture."""
    return f'<div class="b"><img src="data:image/png;base64,{base64.b64encode(data).decode()}"></div>'


def marked(text: str, *, breaks: bool) -> Bubble:
    """Markdown, with WeCom's colours; `breaks` where a line end alone is one."""
    body = MarkdownIt("commonmark", {"breaks": breaks, "html": True}).render(text)
    body = re.sub(r'color="(\w+)"', lambda found: f'color="{COLOURS.get(found[1], found[1])}"', body)
    return f'<div class="b">{body}</div>'


def page(name: str, bubbles: list[Bubble]) -> str:
    """A chat."""
    rows = "".join(f'<div class="m"><div class="f">{name}</div>{bubble}</div>' for bubble in bubbles)
    script = (Path(wxbridge.__file__).parent / "simulator/static/emoji.js").read_text(encoding="utf-8")
    head = f'<!doctype html><html lang="zh"><meta charset="utf-8"><style>{STYLE}</style>'
    return f"{head}<body>{rows}<script>{script}{SIGNS}</script></body></html>"


async def received() -> dict[str, str]:
    """The pages, by the name of their picture."""
    async with AsyncExitStack() as stack:
        wecom = await stack.enter_async_context(FakeWecom())
        ding = await stack.enter_async_context(FakeDingtalk())
        bot = await stack.enter_async_context(WecomBotServer())
        wecom.add_robot("k1")
        wecom.add_robot("k2")
        wecom.add_application("ww1", "s1", 1000002)
        ding.add_robot("t1")
        bot.chats.add("g1")
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = state / "jobs.yaml"
        file.write_text(CONFIG.format(state=state, wecom=wecom.url, ding=ding.url, bot=bot.url), encoding="utf-8")
        bridge = await stack.enter_async_context(app.running(load(file, registry.plugin_settings())))
        chart = chart_png()
        alert = json.loads(json.dumps(ALERT))
        alert["alerts"][0]["embeddedImage"] = base64.b64encode(chart).decode()
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{bridge.url}/hooks/grafana", json=alert) as answer,
        ):
            print(await answer.json())  # noqa: T201
        async with asyncio.timeout(30):
            while len(wecom.messages) < 6 or len(ding.messages) < 2 or len(bot.sent) < 2:  # noqa: ASYNC110, PLR2004
                await asyncio.sleep(0.05)

        def from_wecom(sender: str, *, source: bool = False) -> list[Bubble]:
            return [
                picture(m.data) if m.kind == "image"
                else words(m.content) if m.kind == "text" or source
                else marked(m.content, breaks=True)
                for m in wecom.messages if m.sender == sender
            ]  # fmt: skip

        dings = [
            picture(chart) if m.content.startswith("![") else marked(m.content, breaks=False) for m in ding.messages
        ]
        bots = [picture(s.media) if s.kind == "image" else marked(s.text, breaks=True) for s in bot.sent]
        return {
            "wecom_robot_markdown": page("群", from_wecom("k1")),
            "wecom_robot_markdown_in_wechat": page("群", from_wecom("k1", source=True)),
            "wecom_robot_text": page("群", from_wecom("k2")),
            "wecom_app": page("应用", from_wecom("1000002")),
            "wecom_bot": page("AI", bots),
            "dingtalk": page("钉钉", dings),
        }


async def draw(pages: dict[str, str], colours: int = 64) -> None:
    """Draw the pages through the command, and store them with few colours."""

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=pages[request.match_info["name"]], content_type="text/html")

    served = web.Application()
    served.router.add_get("/{name}", show)
    runner = web.AppRunner(served)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    for name in pages:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/{name}"
        file = HERE / f"{name}.png"
        options = ["--width", "440", "--height", "100", "--scale", "1.5", "--selector", "body"]
        command = [sys.executable, "-m", "wxbridge", "render", url, "-o", str(file), *options]
        process = await asyncio.create_subprocess_exec(*command)
        if await process.wait():
            raise SystemExit(f"{name} could not be drawn")
        drawn = Image.open(io.BytesIO(file.read_bytes())).convert("RGB").quantize(colours)
        drawn.save(file, optimize=True)
        print(file.name, file.stat().st_size)  # noqa: T201
    await runner.cleanup()


async def main() -> None:
    """Make all."""
    await draw(await received())


if __name__ == "__main__":
    asyncio.run(main())
